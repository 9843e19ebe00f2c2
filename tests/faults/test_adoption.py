"""A real PySpark session through twenty kills of the server: its statement goes on, finishes once and has all
that it printed; and what each way of ending under a dead server looks like to the next one."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
from harness.api import Session
from harness.chance import seeded
from harness.fake import Fake
from harness.processes import look, wait_until
from harness.server import Server, serving
from harness.spark import Spark

KILLS = 20
ENDS_SECONDS = 60

SMALL = {"spark.ui.enabled": "false"}
COUNTS = """
import os, time
kept = 'from before'
while not os.path.exists(LEDGER + '.enough'):
    print(f'{time.time():.3f}')
    _ = open(LEDGER, 'a').write('tick\\n')
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def server(default_spark: Spark) -> Iterator[Server]:
    """A server for the file."""
    server = Server({**default_spark.settings, "spark.master": "local[1]"})
    yield server
    server.stop()


def again(server: Server, session: Session) -> Session:
    """The session, by the server as it is now."""
    return Session(server.api, session.created)


def stored(server: Server, query: str) -> Any:
    """One value of the store, read beside the server."""
    with contextlib.closing(sqlite3.connect(server.database)) as store:
        return store.execute(query).fetchone()[0]


def test_a_statement_goes_on_through_twenty_kills(server: Server, tmp_path: Path) -> None:
    """One run, one result with the prints of the time without a server, by the same processes."""
    chance = seeded()
    session = server.api.create(conf=SMALL)
    session.wait("idle")
    session.text(f"LEDGER = {str(tmp_path / 'ledger')!r}")
    before = {process.pid for process in server.driver_processes()}
    statement = session.post(COUNTS)
    following = session.post("print(kept)")
    down = []
    states = set()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.1, 0.6))
        killed = time.time()
        server.kill9()
        time.sleep(chance.uniform(0, 0.3))
        server.start()
        down.append((killed, time.time()))
        session = again(server, session)
        states.add(session.state())
        session.wait("idle", "busy", limit=30)
    assert states & {"recovering", "busy"}, states
    assert session.statement(statement["id"])["state"] == "running"
    (tmp_path / "ledger.enough").touch()
    done = session.wait_statement(statement["id"], limit=ENDS_SECONDS)
    assert done["output"]["status"] == "ok", done
    printed = [float(line) for line in done["output"]["data"]["text/plain"].split()]
    assert printed == sorted(printed)
    assert len(printed) == len((tmp_path / "ledger").read_text().split()), "run once, and nothing lost"
    for killed, up in down:
        assert any(killed < at < up for at in printed), (killed, up)
    assert session.wait_statement(following["id"])["output"]["data"]["text/plain"] == "from before"
    assert before <= {process.pid for process in server.driver_processes()}
    assert session.text("spark.range(10).count()") == "10"
    session.delete()


def test_a_driver_that_died_meanwhile(server: Server) -> None:
    """The session is dead with a sentence, its statements have ended, and nothing is left."""
    session = server.api.create(conf=SMALL)
    session.wait("idle")
    driver = session.text("print(__import__('os').environ['FIRESTEEL_DRIVER_ID'])").strip()
    done = session.run("'kept'")
    running, waiting = session.post("import time; time.sleep(600)"), session.post("1")
    session.wait_statement(running["id"], "running")
    server.kill9()
    jvm = [process for process in server.driver_processes(driver) if "SparkSubmit" in " ".join(process.argv)]
    for process in jvm:
        if "java" in process.argv[0]:
            os.kill(process.pid, signal.SIGKILL)
    wait_until("the driver is gone", lambda: not server.driver_processes(driver), 30)
    server.start()
    session = again(server, session)
    assert session.wait("dead", limit=30) == "dead"
    ended = session.wait_statement(running["id"])
    assert ended["output"]["ename"] == "DriverDied", ended
    assert session.wait_statement(waiting["id"])["state"] == "cancelled"
    assert session.statement(done["id"])["output"]["data"] == {"text/plain": "'kept'"}
    log = session.log()
    assert log[0] == log[-1]
    assert len(log[0]) > 20
    # Killed once more, it is still shown with its log and its statements.
    server.restart()
    session = again(server, session)
    assert session.state() == "dead"
    assert session.log() == log
    assert session.statement(done["id"])["output"]["data"] == {"text/plain": "'kept'"}
    session.delete()


def test_results_of_a_driver_that_ended_meanwhile(tmp_path: Path) -> None:
    """What the agent could only leave in its outbox is taken from there."""
    fake = Fake(tmp_path / "fake")
    with serving(fake.settings) as server:
        session = server.api.create(kind="pyspark")
        session.wait("idle")
        statement = session.post("sleep 0.3 late")
        session.wait_statement(statement["id"], "running")
        server.kill9()
        outbox = next(path for path in server.run_files() if path.name == "outbox")
        wait_until("its result is there", lambda: b'"result"' in outbox.read_bytes(), 10)
        for process in server.driver_processes():
            if process.environ.get("FIRESTEEL_DRIVER_ID"):
                os.kill(process.pid, signal.SIGKILL)
        wait_until("the driver is gone", lambda: not server.driver_processes(), 10)
        server.start()
        session = again(server, session)
        session.wait("dead")
        assert session.statement(statement["id"])["output"]["data"] == {"text/plain": "late"}


def test_a_session_that_waits_for_its_turn(tmp_path: Path) -> None:
    """A queued session is queued again, and gets its driver once there is room."""
    fake = Fake(tmp_path / "fake")
    with serving({**fake.settings, "limits.sessions": 1}) as server:
        first = server.api.create(kind="pyspark")
        first.wait("idle")
        second = server.api.create(kind="pyspark", name="next")
        early = second.post("ledger early")
        server.restart()
        first, second = again(server, first), again(server, second)
        first.wait("idle", "busy")
        assert second.state() == "starting"
        assert server.api.post("/sessions", {"kind": "pyspark", "name": "next"}).status_code == 400
        first.delete()
        second.wait("idle", "busy")
        assert second.wait_statement(early["id"])["output"]["data"] == {"text/plain": "early"}


def test_a_deleted_session_stays_deleted(tmp_path: Path) -> None:
    """Its driver, which was still ending when the server was killed, is ended by the next one."""
    fake = Fake(tmp_path / "fake")
    with serving({**fake.settings, "driver.stop_grace": "60s"}) as server:
        session = server.api.create(kind="pyspark")
        session.wait("idle")
        session.post("hang")
        session.delete()
        server.kill9()
        assert server.driver_processes()
        server.start()
        assert server.api.get(session.path).status_code == 404
        wait_until("its driver is gone", lambda: not server.driver_processes(), 30)
        wait_until("its directory is gone", lambda: not server.run_files(), 10)


def test_an_ended_name_is_free(tmp_path: Path) -> None:
    """Names are unique among what has not ended."""
    fake = Fake(tmp_path / "fake")
    with serving(fake.settings) as server:
        session = server.api.create(kind="pyspark", name="mine")
        session.wait("idle")
        session.post("die")
        session.wait("dead")
        other = server.api.create(kind="pyspark", name="mine")
        assert server.api.get("/sessions/mine").json()["id"] == other.id
        server.restart()
        assert server.api.get("/sessions/mine").json()["id"] == other.id


def test_a_cancel_that_was_answered_holds(tmp_path: Path) -> None:
    """A waiting statement whose cancel was answered never runs, though the server is killed at once."""
    fake = Fake(tmp_path / "fake")
    with serving(fake.settings) as server:
        session = server.api.create(kind="pyspark")
        session.wait("idle")
        running, waiting = session.post("sleep 1 first"), session.post("ledger never")
        session.cancel(waiting["id"])
        session.cancel(running["id"])
        server.restart()
        session = again(server, session)
        last = session.post("ledger last")
        session.wait_statement(last["id"])
        assert session.statement(waiting["id"])["state"] == "cancelled"
        assert session.statement(running["id"])["state"] == "cancelled"
        assert "never" not in [line.nonce for line in fake.lines()]


def test_a_result_that_came_with_the_end(tmp_path: Path) -> None:
    """A driver that dies right after its result: the result stands."""
    fake = Fake(tmp_path / "fake")
    with serving(fake.settings) as server:
        for number in range(20):
            session = server.api.create(kind="pyspark")
            session.wait("idle")
            statement = session.post(f"ledger kept{number}")
            for process in server.driver_processes():
                if look(process.pid) and process.argv[1:2] == ["keeper"]:
                    os.kill(process.pid, signal.SIGTERM)
            session.wait("dead")
            assert session.statement(statement["id"])["output"]["data"] == {"text/plain": f"kept{number}"}


def test_a_driver_that_does_not_call(tmp_path: Path) -> None:
    """An agent that is stopped when the server comes back: the session ends with a sentence, in time."""
    fake = Fake(tmp_path / "fake")
    with serving({**fake.settings, "session.recover_timeout": "1s", "driver.kill_grace": "200ms"}) as server:
        session, other = server.api.create(kind="pyspark"), server.api.create(kind="pyspark")
        for one in (session, other):
            one.wait("idle")
        agents = [process for process in server.driver_processes() if "keeper" not in process.argv]
        by_session = {line.driver: line for line in fake.lines() if line.what == "up"}
        assert len(by_session) == 2
        stopped = next(p for p in agents if p.environ["FIRESTEEL_DRIVER_ID"] == next(iter(by_session)))
        os.kill(stopped.pid, signal.SIGSTOP)
        server.restart()
        states = {one.id: again(server, one).wait("idle", "dead", limit=20) for one in (session, other)}
        assert sorted(states.values()) == ["dead", "idle"]
        dead = next(one for one in (session, other) if states[one.id] == "dead")
        assert "session.recover_timeout" in again(server, dead).log()[0]
        wait_until("its processes are gone", lambda: look(stopped.pid) is None, 10)


def test_an_ending_session_ends(tmp_path: Path) -> None:
    """A session that a time-out was ending is ended by the next server, for the same reason."""
    fake = Fake(tmp_path / "fake")
    settings = {"session.watch_interval": "50ms", "driver.stop_grace": "60s", "driver.kill_grace": "200ms"}
    with serving({**fake.settings, **settings}) as server:
        session = server.api.create(kind="pyspark", ttl="2s")
        session.wait("idle")
        session.post("hang")
        session.wait("shutting_down", limit=20)
        # Shown before it is stored: only from then on does another server know that its time was over.
        wait_until(
            "it is stored", lambda: stored(server, "SELECT state FROM sessions") == "shutting_down", 20
        )
        server.restart()
        session = again(server, session)
        session.wait("dead", limit=20)
        assert "session.ttl" in session.log()[0]


def test_an_end_that_was_stored_by_half(tmp_path: Path) -> None:
    """A session whose end was stored and its statement's was not: the next server ends that too."""
    fake = Fake(tmp_path / "fake")
    with serving(fake.settings) as server:
        session = server.api.create(kind="pyspark")
        session.wait("idle")
        statement = session.run("ledger half")
        session.post("die")
        session.wait("dead")
        wait_until("it is stored", lambda: stored(server, "SELECT state FROM sessions") == "dead", 20)
        server.kill9()
        with contextlib.closing(sqlite3.connect(server.database)) as store, store:
            store.execute("UPDATE statements SET completed = 0, state = 'waiting', output = NULL")
        server.start()
        ended = again(server, session).wait_statement(statement["id"])
        assert ended["output"]["ename"] == "DriverDied", ended
