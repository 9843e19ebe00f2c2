"""R29: sessions deleted in every state, by several at once and once more after: found by nobody from then on,
not after a crash either, and nothing of them is left."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.chance import seeded
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import Server, serving
from harness.volume import SCALE, Connection

AT_ONCE = 3
DELETES = int(300 * SCALE)
ROUNDS = max(1, round(6 * SCALE))
"""Sessions of each state but `recovering` and `queued`."""

RECOVERING = max(2, round(12 * SCALE))
QUEUED = max(2, round(24 * SCALE))
STATES = ["launching", "starting", "idle", "busy", "cancelling", "shutting_down", "dead"]
SETTINGS = {
    "driver.stop_grace": "1s",
    "driver.kill_grace": "300ms",
    "session.watch_interval": "50ms",
    "statement.cancel_grace": "60s",
    "statement.answer_within": "0s",
}


class Deletes:
    """What was asked and answered."""

    def __init__(self, server: Server):
        self.server = server
        self.answers: Counter[int] = Counter()
        self.states: Counter[str] = Counter()
        self.paths: list[str] = []

    def delete(self, path: str) -> None:
        """At the same time by some, and again after; its state just before is counted."""
        port = self.server.port
        connections = [Connection(port) for _ in range(AT_ONCE)]
        state = connections[0].request("GET", f"{path}/state").json()["state"]
        for connection in connections:
            connection.send("DELETE", path)
        statuses = [connection.receive().status for connection in connections]
        assert 200 in statuses, statuses
        for method in ("DELETE", "GET"):
            assert connections[0].request(method, path).status == 404
        statuses.append(404)
        self.answers.update(statuses)
        self.states[state] += 1
        self.paths.append(path)
        for connection in connections:
            connection.close()

    def gone(self) -> None:
        """Nobody finds them, whoever asks."""
        assert list(self.server.api.ids()) == []
        connection = Connection(self.server.port)
        for path in self.paths:
            for ending in ("", "/state", "/log", "/statements"):
                assert connection.request("GET", path + ending).status == 404
        connection.close()

    def nothing_left(self) -> None:
        """No process and no file of theirs."""
        wait_until("no process is left", lambda: not self.server.driver_processes(), 30)
        wait_until("no file is left", lambda: not self.server.run_files(), 10)


def state_of(connection: Connection, path: str) -> str:
    """Of a session or a statement."""
    return connection.request("GET", path).json()["state"]


def bring(port: int, state: str, fake: Fake) -> str:
    """A session in this state, by its path."""
    token = str(uuid.uuid4())
    connection = Connection(port)
    body: dict[str, object] = {"kind": "pyspark"}
    if state == "starting":
        body["conf"] = {"spark.fake.start": "600", "spark.sql.fake.token": token}
    if state == "shutting_down":
        body["ttl"] = "2s"
    created = connection.request("POST", "/sessions", body)
    assert created.status == 201, created
    path = f"/sessions/{created.json()['id']}"

    def up() -> set[str]:
        return {line.token for line in fake.lines() if line.what == "up"}

    def reached(path: str, *states: str) -> None:
        wait_until(f"{path} is {states}", lambda: state_of(connection, path) in states, 30, 0.01)

    def post(code: str) -> str:
        posted = connection.request("POST", f"{path}/statements", {"code": code})
        assert posted.status == 201, posted
        return f"{path}/statements/{posted.json()['id']}"

    if state == "launching":
        return path
    if state == "starting":
        # Its agent is there, and far from ready.
        wait_until("it has called", lambda: token in up(), 30)
        return path
    if state == "shutting_down":
        post("hang")
        reached(f"{path}/state", "shutting_down", "dead")
        return path
    reached(f"{path}/state", "idle")
    if state == "busy":
        reached(post("sleep 600 never"), "running")
    elif state == "cancelling":
        statement = post("ignore-cancel 600 never")
        reached(statement, "running")
        assert connection.request("POST", f"{statement}/cancel").status == 200
        reached(statement, "cancelling")
    elif state == "dead":
        post("die")
        reached(f"{path}/state", "dead")
    connection.close()
    return path


def test_delete_in_every_state(tmp_path: Path) -> None:
    """200 for one at least, 404 for whoever comes after; a crash brings none back."""
    chance = seeded()
    fake = Fake(tmp_path / "fake")
    with serving({**fake.settings, **SETTINGS}) as server:
        deletes = Deletes(server)
        wanted = STATES * ROUNDS
        chance.shuffle(wanted)

        def one(state: str) -> None:
            deletes.delete(bring(server.port, state, fake))

        with ThreadPoolExecutor(4) as pool:
            assert len(list(pool.map(one, wanted))) == len(wanted)
        deletes.gone()
        # Some are still ending.
        server.restart()
        deletes.gone()
        deletes.nothing_left()
        recovering(deletes, fake)
        assert deletes.states["recovering"] == RECOVERING
        for state in ("idle", "busy", "shutting_down", "dead"):
            # While the one that deletes looks, another state may have come.
            assert deletes.states[state] >= ROUNDS // 2, deletes.states
        assert deletes.states["starting"] >= 2 * ROUNDS - ROUNDS // 2, deletes.states
    queued(deletes, tmp_path)
    total = sum(deletes.answers.values())
    print(
        f"{total} deletes of {len(deletes.paths)} sessions: {dict(deletes.answers)}, {dict(deletes.states)}"
    )
    assert set(deletes.answers) == {200, 404}
    assert total >= DELETES


def recovering(deletes: Deletes, fake: Fake) -> None:
    """Those whose agents do not call yet are deleted right after a start, before another crash."""
    server = deletes.server
    paths = [bring(server.port, "busy" if at % 3 == 0 else "idle", fake) for at in range(RECOVERING)]
    for process in server.driver_processes():
        if "keeper" not in process.argv:
            os.kill(process.pid, signal.SIGSTOP)
    server.restart()
    threads = [threading.Thread(target=deletes.delete, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.restart()
    deletes.gone()
    deletes.nothing_left()
    server.restart()
    deletes.gone()


def queued(deletes: Deletes, tmp_path: Path) -> None:
    """Those that wait for their turn, before a crash and after."""
    fake = Fake(tmp_path / "queued")
    with serving({**fake.settings, **SETTINGS, "limits.sessions": 1}) as server:
        counted, deletes.server, before = deletes.paths, server, deletes.states["starting"]
        deletes.paths = []
        first = bring(server.port, "idle", fake)
        paths = [bring(server.port, "launching", fake) for _ in range(QUEUED)]
        for path in paths[::2]:
            deletes.delete(path)
        server.restart()
        for path in paths[1::2]:
            deletes.delete(path)
        assert deletes.states["starting"] == before + QUEUED
        deletes.delete(first)
        deletes.nothing_left()
        server.restart()
        deletes.gone()
        assert len([line for line in fake.lines() if line.what == "up"]) == 1, "no other was ever started"
        deletes.paths = counted + deletes.paths


def test_delete_races_with_ends(tmp_path: Path) -> None:
    """A delete while the session dies by itself, at every distance from its death."""
    chance = seeded()
    fake = Fake(tmp_path / "fake")
    with serving({**fake.settings, **SETTINGS}) as server:
        deletes = Deletes(server)
        for _ in range(max(10, round(20 * SCALE))):
            path = bring(server.port, "idle", fake)
            assert server.api.post(f"{path}/statements", {"code": "die"}).status_code == 201
            # The distance is what is tried here.
            time.sleep(chance.uniform(0, 0.05))
            deletes.delete(path)
        deletes.nothing_left()
        server.restart()
        deletes.gone()
