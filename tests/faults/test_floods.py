"""R27: more statements, sessions and questions than anybody means to send. All that is accepted is done and
found again; what is too much is refused before anything is stored."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Callable

from harness.chance import seeded
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import Server, serving
from harness.volume import SCALE, Connection, p99, share

STATEMENTS = 500
ATTEMPTS = int(10_000 * SCALE)
WAITING = 20
CREATES = 200
GETS = 5_000
# A goal for the release build on a quiet machine is 100 ms; this one shows only that nothing is stuck.
CREATE_LIMIT_MS = 5_000


def idle_session(server: Server) -> str:
    """The path of a new session that is ready."""
    session = server.api.create()
    session.wait("idle")
    return session.path


def all_statements(connection: Connection, path: str, total: int) -> dict[int, dict[str, Any]]:
    """What the list has, in pages; it must have so many."""
    found = {}
    for start in range(0, total, 1_000):
        page = connection.request("GET", f"{path}/statements?from={start}&size=1000").json()
        assert page["total_statements"] == total, page["total_statements"]
        found.update({statement["id"]: statement for statement in page["statements"]})
    return found


def done(connection: Connection, statement: str) -> Callable[[], bool]:
    """Whether this one has its result."""
    return lambda: connection.request("GET", statement).json()["state"] == "available"


def test_five_hundred_statements(tmp_path: Path) -> None:
    """Each is found by its id, with its own output, and ran once."""
    fake = Fake(tmp_path / "fake")
    with serving(fake.settings) as server:
        path = server.api.create(conf={"spark.fake.start": "0.5"}).path

        def post(connection: Connection, nonce: int) -> tuple[int, int]:
            answer = connection.request("POST", f"{path}/statements", {"code": f"ledger n{nonce}"})
            assert answer.status == 201, answer
            return answer.json()["id"], nonce

        posted = dict(share(server.port, 8, range(STATEMENTS), post))
        assert sorted(posted) == list(range(STATEMENTS))
        connection = Connection(server.port)
        wait_until("the last is done", done(connection, f"{path}/statements/{STATEMENTS - 1}"), 60)
        for number, nonce in posted.items():
            statement = connection.request("GET", f"{path}/statements/{number}").json()
            assert statement["output"]["data"]["text/plain"] == f"n{nonce}", statement
        assert sorted(all_statements(connection, path, STATEMENTS)) == list(range(STATEMENTS))
        ran = [(line.statement, line.nonce) for line in fake.lines() if line.what == "ran"]
        assert ran == [(number, f"n{posted[number]}") for number in range(STATEMENTS)], "once, in order"


def test_more_than_may_wait(tmp_path: Path) -> None:
    """The surplus is told to come again later and leaves no trace; what was accepted is done."""
    chance = seeded()
    fake = Fake(tmp_path / "fake")
    settings = {"limits.statements_waiting": WAITING, "statement.kept": ATTEMPTS + 1, "log.level": "warn"}
    with serving({**fake.settings, **settings}) as server:
        path = idle_session(server)
        slow = set(chance.sample(range(ATTEMPTS), ATTEMPTS // 100)) | {0}

        def post(connection: Connection, nonce: int) -> tuple[int, int] | None:
            code = f"sleep 0.01 n{nonce}" if nonce in slow else f"ledger n{nonce}"
            answer = connection.request("POST", f"{path}/statements", {"code": code})
            if answer.status == 503:
                assert b"\r\nretry-after: " in answer.head.lower(), answer
                assert b"limits.statements_waiting" in answer.body, answer
                return None
            assert answer.status == 201, answer
            return answer.json()["id"], nonce

        answers = share(server.port, WAITING + 12, range(ATTEMPTS), post)
        assert len(answers) == ATTEMPTS
        accepted = dict(answer for answer in answers if answer)
        refused = ATTEMPTS - len(accepted)
        print(f"{ATTEMPTS} posted, {len(accepted)} accepted, {refused} refused")
        assert refused > ATTEMPTS // 100
        assert len(accepted) > WAITING, "more than can wait: some were done, and others took their place"
        connection = Connection(server.port)
        last = max(accepted)
        wait_until("the last is done", done(connection, f"{path}/statements/{last}"), 60)
        # One that is refused has no number, so there are as many as were accepted.
        statements = all_statements(connection, path, len(accepted))
        assert sorted(statements) == sorted(accepted) == list(range(len(accepted)))
        for number, nonce in accepted.items():
            assert statements[number]["output"]["data"]["text/plain"] == f"n{nonce}", statements[number]
        ran = [(line.statement, line.nonce) for line in fake.lines() if line.what == "ran"]
        assert ran == [(number, f"n{accepted[number]}") for number in sorted(accepted)]


def test_many_creates_under_many_questions(tmp_path: Path) -> None:
    """All are accepted though most must wait for their turn; no question fails meanwhile; all go again."""
    fake = Fake(tmp_path / "fake")
    settings = {"limits.sessions": 2, "limits.sessions_queued": CREATES, "driver.kill_grace": "500ms"}
    with serving({**fake.settings, **settings}) as server:
        path = idle_session(server)
        assert server.api.post(f"{path}/statements", {"code": "ledger first"}).status_code == 201
        asked = [path, f"{path}/state", f"{path}/statements/0", "/sessions?size=10", f"{path}/log"]
        statuses: list[int] = []

        def get(connection: Connection, number: int) -> int:
            return connection.request("GET", asked[number % len(asked)]).status

        storm = threading.Thread(target=lambda: statuses.extend(share(server.port, 4, range(GETS), get)))
        connections = [Connection(server.port) for _ in range(CREATES)]
        storm.start()
        times, created = [], []
        begun = time.monotonic()
        for connection in connections:
            connection.send("POST", "/sessions", {"kind": "pyspark"})
        for connection in connections:
            answer = connection.receive()
            times.append(time.monotonic() - begun)
            assert answer.status == 201, answer
            created.append(answer.json()["id"])
            connection.close()
        print(
            f"{CREATES} creates at once: p99 {p99(times):.0f} ms, the first after {min(times) * 1000:.0f} ms"
        )
        assert len(set(created)) == CREATES
        assert p99(times) < CREATE_LIMIT_MS
        assert set(server.api.ids()) >= set(created)

        def delete(connection: Connection, number: int) -> int:
            return connection.request("DELETE", f"/sessions/{number}").status

        assert share(server.port, 8, created, delete) == [200] * CREATES
        storm.join()
        assert statuses == [200] * GETS
        assert list(server.api.ids()) == [int(path.rsplit("/", 1)[1])]
        assert server.api.delete(path).status_code == 200
        wait_until("no process is left", lambda: not server.driver_processes(), 30)
        wait_until("no file is left", lambda: not server.run_files(), 10)


def test_those_who_leave_the_queue_make_room(tmp_path: Path) -> None:
    """A waiting session that is deleted waits no more: however many come and go, the next one is accepted."""
    fake = Fake(tmp_path / "fake")
    with serving({**fake.settings, "limits.sessions": 1, "limits.sessions_queued": 3}) as server:
        first = server.api.create()
        first.wait("idle")
        for _ in range(30):
            server.api.create().delete()
        waiting = [server.api.create() for _ in range(3)]
        answer = server.api.post("/sessions", {"kind": "pyspark"})
        assert answer.status_code == 503, answer.text
        assert "Retry-After" in answer.headers
        first.delete()
        waiting[0].wait("idle")
