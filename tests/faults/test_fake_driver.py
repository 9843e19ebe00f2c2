"""The fake driver is a driver: what the thousands of rounds of the fault tests stand on."""

from __future__ import annotations

from pathlib import Path

from harness.fake import Fake
from harness.processes import wait_until


def test_fake_driver(serve, tmp_path: Path) -> None:
    """It runs, cancels, fails and dies as told, and its ledger tells what ran."""
    fake = Fake(tmp_path / "fake")
    server = serve({**fake.settings, "statement.cancel_grace": "200ms"})
    session = server.api.create(conf={"spark.sql.fake.token": "one"})
    session.wait("idle")
    assert session.text("ledger first") == "first"
    sleeping = session.post("sleep 60 second")
    session.wait_statement(sleeping["id"], "running")
    session.cancel(sleeping["id"])
    assert session.wait_statement(sleeping["id"], limit=5)["state"] == "cancelled"
    deaf = session.post("ignore-cancel 60 third")
    session.wait_statement(deaf["id"], "running")
    session.cancel(deaf["id"])
    assert session.wait_statement(deaf["id"], limit=5)["output"]["ename"] == "InterpreterReplaced"
    assert session.error("error so it is")["evalue"] == "so it is"
    assert session.text("print 100000") == "x" * 100_000
    dying = session.post("die")
    assert session.wait("dead") == "dead"
    assert session.wait_statement(dying["id"])["output"]["status"] == "error"
    told = [(line.what, line.token, line.statement, line.nonce) for line in fake.lines()]
    assert told == [
        ("up", "one", -1, ""),
        ("ran", "one", 0, "first"),
        ("ran", "one", 1, "second"),
        ("interrupted", "one", 1, "second"),
        ("ran", "one", 2, "third"),
        ("interrupted", "one", 2, "third"),
    ]
    failing = server.api.create(conf={"spark.fake.fail": "because"})
    failing.wait("dead")
    assert failing.log()[0] == "because"
    slow = server.api.create(conf={"spark.fake.start": "600"})
    wait_until("it has started", lambda: fake.lines()[-1].what == "up" and len(fake.lines()) == 8, 20)
    slow.delete()
    wait_until("no process is left", lambda: not server.driver_processes(), 20)
