"""What is kept of ended sessions, for how long, and what `/history` shows of it."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import ROOT, Server, serving
from harness.spark import newest
from harness.stub import Stub

FAILPOINTS = Path(
    os.environ.get("FIRESTEEL_TEST_FAILPOINTS_BIN") or ROOT / "target/debug/firesteel-failpoints"
)
QUICK = {"retention.interval": "100ms", "session.ended_shown": "1ms", "session.watch_interval": "20ms"}
STEP_SESSIONS = 32


def count(server: Server, query: str) -> int:
    """A number from the database."""
    with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)) as store:
        return store.execute(query).fetchone()[0]


def test_the_history_keeps_what_a_session_had(serve, tmp_path: Path) -> None:
    """Its facts, its log in pages, its statements with their outputs; nothing before it has ended, and
    nothing that was never there."""
    fake = Fake(tmp_path / "fake")
    server = serve({**fake.settings})
    session = server.api.create(name="kept")
    session.wait("idle")
    assert session.text("ledger first") == "first"
    session.error("error so it is")
    path = f"/history/{session.id}"
    for ending in ("", "/log", "/statements", "/statements/0"):
        assert server.api.get(path + ending).status_code == 404, "it has not ended"
    dying = session.post("die")
    session.wait("dead")
    assert session.wait_statement(dying["id"])["output"]["status"] == "error"
    log = session.log()
    statements = server.api.get(f"{session.path}/statements").json()
    shown = wait_until("it is in the history", lambda: server.api.get(path).json().get("id") == session.id, 5)
    assert shown
    shown = server.api.get(path).json()
    assert shown["name"] == "kept"
    assert shown["state"] == "dead"
    assert shown["diagnosis"] == log[0]
    assert server.api.get("/history").json()["sessions"] == [shown]
    assert server.api.get(f"{path}/statements").json() == statements
    assert server.api.get(f"{path}/statements?from=1&size=1&order=desc").json() == {
        "total_statements": 3,
        "statements": [statements["statements"][1]],
    }
    assert server.api.get(f"{path}/statements/0").json() == statements["statements"][0]
    assert server.api.get(f"{path}/statements/9").status_code == 404
    assert server.api.get(f"{path}/statements/x").status_code == 400
    page = server.api.get(f"{path}/log?from=0&size=1000").json()
    assert page["log"] == log
    assert page["total"] == len(log)
    last = server.api.get(f"{path}/log?size=1").json()
    assert last["log"] == [log[-1]]
    assert last["from"] == len(log) - 1
    assert server.api.get("/history/99").status_code == 404
    assert server.api.get("/history/kept").status_code == 400, "names are for what lives"


def test_a_restart_keeps_it(tmp_path: Path) -> None:
    """The log is still there when another server shows it."""
    stub = Stub(tmp_path / "spark", "echo so it was said\nexit 3\n")
    state = tmp_path / "state"
    settings = {**stub.settings, "spark.python": newest().python}
    with serving(settings, state_dir=state) as server:
        session = server.api.create()
        session.wait("dead")
        log = session.log()
        assert "so it was said" in log
    with serving(settings, state_dir=state) as server:
        assert server.api.get(f"/history/{session.id}/log?from=0&size=100").json()["log"] == log


def test_the_oldest_go_beyond_the_count(tmp_path: Path) -> None:
    """With their statements, their drivers' rows and their directories; the newest stay whole."""
    fake = Fake(tmp_path / "fake")
    with serving({**fake.settings, **QUICK, "retention.sessions": 3}) as server:
        sessions = [server.api.create() for _ in range(6)]
        for session in sessions:
            session.wait("idle")
            session.text(f"ledger {session.id}")
            session.post("die")
            wait_until(
                "it has ended", lambda s=session: server.api.get(f"/sessions/{s.id}").status_code == 404, 20
            )
        wait_until("three are left", lambda: server.api.get("/history").json()["total"] == 3, 10)
        kept = [session["id"] for session in server.api.get("/history").json()["sessions"]]
        assert kept == [5, 4, 3]
        for number in range(3):
            assert server.api.get(f"/history/{number}").status_code == 404
            assert server.api.get(f"/history/{number}/statements/0").status_code == 404
        for number in kept:
            answer = server.api.get(f"/history/{number}/statements/0").json()
            assert answer["output"]["data"]["text/plain"] == str(number)
            assert server.api.get(f"/history/{number}/log").json()["total"] > 2
        assert count(server, "SELECT count(*) FROM drivers") == 3
        assert count(server, "SELECT count(*) FROM statements") == 6
        directories = {path.name for path in (server.state_dir / "run").iterdir()}
        assert len(directories) == 3


def test_the_oldest_go_by_age(tmp_path: Path) -> None:
    """A session goes when it is old enough; keys of requests go by theirs."""
    stub = Stub(tmp_path / "spark", "exit 1\n")
    settings = {
        **stub.settings,
        **QUICK,
        "spark.python": newest().python,
        "retention.age": "2s",
        "retention.idempotency": "1s",
    }
    with serving(settings) as server:
        answer = server.api.post("/sessions", {"kind": "pyspark"}, headers={"Idempotency-Key": "once"})
        assert answer.status_code == 201
        assert count(server, "SELECT count(*) FROM idempotency") == 1
        wait_until("it has ended", lambda: server.api.get("/history").json()["total"] == 1, 10)
        begun = time.monotonic()
        wait_until("its key is forgotten", lambda: not count(server, "SELECT count(*) FROM idempotency"), 10)
        wait_until("it is gone", lambda: server.api.get("/history").json()["total"] == 0, 10)
        assert time.monotonic() - begun > 1
        assert not server.run_files()


@pytest.mark.parametrize("point", ["selected", "deleted"])
def test_killed_while_removing(tmp_path: Path, point: str) -> None:
    """Whatever was removed by half goes with the next start; what is kept is whole."""
    stub = Stub(tmp_path / "spark", "exit 1\n")
    state = tmp_path / "state"
    settings = {**stub.settings, "spark.python": newest().python, "session.ended_shown": "1ms"}
    total = STEP_SESSIONS + 8
    with serving(settings, state_dir=state) as server:
        sessions = [server.api.create() for _ in range(total)]
        wait_until("they have ended", lambda: server.api.get("/history").json()["total"] == total, 60)
        newest_first = [session["id"] for session in server.api.get("/history").json()["sessions"]]
    with closing(sqlite3.connect(state / "firesteel.db")) as store:
        for session in sessions:
            for number in range(250):
                store.execute(
                    "INSERT INTO statements (session_id, id, kind, code, state, accepted, started, completed)"
                    " VALUES (?, ?, 'pyspark', '1', 'cancelled', 1, 0, 2)",
                    (session.id, number),
                )
        store.commit()
    server = Server(
        {**settings, **QUICK, "retention.sessions": 3}, state_dir=state, program=FAILPOINTS, start=False
    )
    try:
        server.spawn(FAILPOINTS=f"retention.{point}=1*off->return")
        wait_until("it has died", lambda: server.process.poll() == -9, 30)
        left = count(server, "SELECT count(*) FROM sessions")
        assert 3 < left <= total
        server.start()
        wait_until("three are left", lambda: server.api.get("/history").json()["total"] == 3, 30)
        assert count(server, "SELECT count(*) FROM statements") == 3 * 250
        assert count(server, "SELECT count(*) FROM drivers") == 3
        wait_until("their directories too", lambda: len(list((state / "run").iterdir())) == 3, 10)
        kept = [session["id"] for session in server.api.get("/history").json()["sessions"]]
        assert kept == newest_first[:3]
        for number in kept:
            assert server.api.get(f"/history/{number}/statements?size=1").json()["total_statements"] == 250
            assert server.api.get(f"/history/{number}/log").json()["total"] > 2
    finally:
        server.stop()
