"""Restarts under clients that never stop asking. The socket is handed in, as systemd does it, so nobody is
refused: what comes while no server runs waits for the next."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

import pytest
from harness.api import Session
from harness.fake import Fake
from harness.processes import wait_until
from harness.service import Unit, listening

RESTARTS = 20
KILLS = 10
LEAST = 2500
"""Fewer requests than these in a run prove nothing."""
BROKEN = (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected, http.client.IncompleteRead)
JSON = {"Content-Type": "application/json"}


class Exchange(NamedTuple):
    """One request: when it was under way, and what came of it."""

    what: str
    begun: float
    ended: float
    status: int
    error: Optional[BaseException]


class Client(threading.Thread):
    """Asks again and again; `step` is one request."""

    def __init__(self, port: int, path: str):
        super().__init__(daemon=True)
        self.port = port
        self.path = path
        self.done: list[Exchange] = []
        self.halt = threading.Event()

    def connection(self) -> http.client.HTTPConnection:
        """A new one."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, connection: http.client.HTTPConnection, method: str, body: Optional[bytes] = None) -> int:
        """One request on it: the status."""
        connection.request(method, self.path, body, JSON if body else {})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def step(self) -> tuple[str, int]:
        """One request."""
        raise NotImplementedError

    def run(self) -> None:
        """Until it is told to stop."""
        while not self.halt.is_set():
            begun = time.monotonic()
            try:
                what, status = self.step()
                error = None
            except Exception as failed:
                what, status, error = type(self).__name__, 0, failed
            self.done.append(Exchange(what, begun, time.monotonic(), status, error))


class Getter(Client):
    """GET, each on a connection of its own."""

    def step(self) -> tuple[str, int]:
        """One request."""
        with contextlib.closing(self.connection()) as connection:
            return "GET", self.ask(connection, "GET")


class Poster(Client):
    """POST of a statement, each on a connection of its own; it knows which were accepted."""

    def __init__(self, port: int, path: str, name: str):
        super().__init__(port, path + "/statements")
        self.label = name
        self.count = 0
        self.accepted: list[str] = []

    def step(self) -> tuple[str, int]:
        """One request."""
        self.count += 1
        nonce = f"{self.label}-{self.count}"
        body = json.dumps({"code": f"ledger {nonce}"}).encode()
        with contextlib.closing(self.connection()) as connection:
            status = self.ask(connection, "POST", body)
        if status == 201:
            self.accepted.append(nonce)
        return "POST", status


class Keeper(Client):
    """GET on one connection that is kept. Where it was closed while it was idle, the request is sent once
    more on a new one, as HTTP has it for requests that change nothing."""

    def __init__(self, port: int, path: str):
        super().__init__(port, path)
        self.kept = self.connection()
        self.used = 0
        self.stale = 0
        self.asked_to_close = 0

    def step(self) -> tuple[str, int]:
        """One request."""
        try:
            status = self.ask(self.kept, "GET")
        except BROKEN:
            self.kept.close()
            if not self.used:
                raise
            self.stale, self.used = self.stale + 1, 0
            status = self.ask(self.kept, "GET")
        self.used += 1
        if self.kept.sock is None:
            # The answer said that it was the connection's last.
            self.asked_to_close, self.used = self.asked_to_close + 1, 0
        return "kept GET", status


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """A Spark that starts in a moment, and its ledger."""
    return Fake(tmp_path / "fake")


@pytest.fixture
def unit(fake: Fake) -> Iterator[Unit]:
    """A service with a socket that is handed in; sessions outlive each of its servers."""
    unit = Unit({**fake.settings, "limits.statements_waiting": 100_000}, sockets=[listening()])
    yield unit
    unit.clean()


def again(unit: Unit, session: Session) -> Session:
    """The session, by the server as it is now."""
    return Session(unit.api, session.created)


@contextlib.contextmanager
def clients(unit: Unit, session: Session) -> Iterator[list[Client]]:
    """Five that ask for the length of the block."""
    port = unit.port
    asking: list[Client] = [
        Getter(port, session.path),
        Getter(port, "/sessions"),
        Poster(port, session.path, "one"),
        Poster(port, session.path, "two"),
        Keeper(port, session.path),
    ]
    for client in asking:
        client.start()
    try:
        yield asking
    finally:
        for client in asking:
            client.halt.set()
        for client in asking:
            client.join(60)


def answered(asking: list[Client], more: int = 25) -> None:
    """Wait until each client has had so many more answers."""
    goals = [(client, len(client.done) + more) for client in asking]
    wait_until(
        "each client is answered",
        lambda: all(len(client.done) >= goal for client, goal in goals),
        30,
        0.005,
    )


def check_ledger(fake: Fake, unit: Unit, session: Session, asking: list[Client]) -> int:
    """What was accepted ran once; what was not ran once at most."""
    accepted = {nonce for client in asking if isinstance(client, Poster) for nonce in client.accepted}
    ran: Counter[str] = Counter()

    def all_ran() -> bool:
        ran.clear()
        ran.update(line.nonce for line in fake.lines() if line.what == "ran")
        return accepted <= set(ran)

    wait_until("all that was accepted has run", all_ran, 60)
    session = again(unit, session)
    session.wait("idle", limit=30)
    assert session.text("ledger last") == "last"
    assert all_ran()
    assert max(ran.values()) == 1, [nonce for nonce, count in ran.items() if count > 1]
    return len(accepted)


def test_nobody_is_refused(unit: Unit, fake: Fake) -> None:
    """Twenty restarts: every request is answered, and with what it asked for."""
    unit.start()
    session = unit.api.create()
    session.wait("idle")
    drivers = {process.pid for process in unit.driver_processes()}
    down = []
    with clients(unit, session) as asking:
        for _ in range(RESTARTS):
            answered(asking)
            begun = time.monotonic()
            assert unit.end() == 0
            unit.start()
            down.append(time.monotonic() - begun)
        answered(asking)
    done = [exchange for client in asking for exchange in client.done]
    wrong = [one for one in done if one.error is not None or one.status not in (200, 201)]
    assert not wrong, wrong[:10]
    assert len(done) >= LEAST
    accepted = check_ledger(fake, unit, session, asking)
    assert {process.pid for process in unit.driver_processes()} == drivers
    assert unit.end() == 0
    (keeper,) = (client for client in asking if isinstance(client, Keeper))
    longest = max(one.ended - one.begun for one in done)
    print(
        f"{len(done)} requests, {accepted} statements accepted, 0 errors; at most {max(down):.2f} s for a "
        f"restart and {longest:.2f} s for an answer; of the ends of the kept connection "
        f"{keeper.asked_to_close} were announced and {keeper.stale} found while it was idle"
    )


def test_killed_servers_lose_what_was_under_way(unit: Unit, fake: Fake) -> None:
    """`kill -9`, ten times: only requests that the server had taken fail, each once; nobody is refused."""
    unit.start()
    session = unit.api.create()
    session.wait("idle")
    drivers = {process.pid for process in unit.driver_processes()}
    kills = []
    with clients(unit, session) as asking:
        for _ in range(KILLS):
            answered(asking)
            kills.append(time.monotonic())
            assert unit.end(signal.SIGKILL) == -signal.SIGKILL
            unit.start()
        answered(asking)
    done = [exchange for client in asking for exchange in client.done]
    failed = [one for one in done if one.error is not None]
    assert not [one for one in done if one.error is None and one.status not in (200, 201)]
    assert not [one for one in failed if not isinstance(one.error, BROKEN)], failed
    assert not [one for one in failed if not any(one.begun <= kill <= one.ended for kill in kills)], failed
    assert len(failed) <= KILLS * len(asking)
    assert len(done) >= LEAST * KILLS / RESTARTS
    accepted = check_ledger(fake, unit, session, asking)
    assert {process.pid for process in unit.driver_processes()} == drivers
    print(f"{len(done)} requests, {accepted} statements accepted, {len(failed)} cut by {KILLS} kills")
    unit.settings["shutdown.sessions"] = "end"
    assert unit.end() == 0


def test_upgrade_leaves_keepers_alone(unit: Unit, fake: Fake, tmp_path: Path) -> None:
    """A driver's keeper runs on from the binary that started it, whatever is in that place now; the new
    server takes its session back and starts others."""
    program = tmp_path / "firesteel"
    shutil.copy2(unit.program, program)
    unit.program = program
    unit.start()
    session = unit.api.create()
    session.wait("idle")
    drivers = {process.pid for process in unit.driver_processes()}
    (keeper,) = unit.keepers()
    shutil.copy2(program, tmp_path / "upgrade")
    (tmp_path / "upgrade").replace(program)
    assert os.readlink(f"/proc/{keeper.pid}/exe").endswith("(deleted)")
    later = unit.api.create()
    later.wait("idle")
    assert unit.end() == 0
    unit.start()
    for one in (again(unit, session), again(unit, later)):
        one.wait("idle", limit=30)
        assert one.text(f"ledger {one.id}") == str(one.id)
    assert drivers <= {process.pid for process in unit.driver_processes()}
    newest = unit.api.create()
    newest.wait("idle")
    for one in (session, later, newest):
        again(unit, one).delete()
    wait_until("no driver is left", lambda: not unit.driver_processes(), 20)
    assert unit.end() == 0


def test_held_answers_are_given(unit: Unit, fake: Fake) -> None:
    """An answer that waits for its statement (`statement.answer_within`) is given at SIGTERM, with the
    statement as it is; the next server has the result."""
    unit.settings["statement.answer_within"] = "60s"
    unit.start()
    session = unit.api.create()
    session.wait("idle")
    answers = []
    posting = threading.Thread(target=lambda: answers.append(session.post("sleep 1 slow")))
    posting.start()
    wait_until("it runs", lambda: any(line.nonce == "slow" for line in fake.lines()), 20)
    begun = time.monotonic()
    assert unit.end() == 0
    assert time.monotonic() - begun < 3
    posting.join(5)
    assert [answer["state"] for answer in answers] == ["running"]
    unit.start()
    assert again(unit, session).wait_statement(answers[0]["id"])["output"]["data"] == {"text/plain": "slow"}
    unit.settings["shutdown.sessions"] = "end"
    assert unit.end() == 0
