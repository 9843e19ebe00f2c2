"""Two thousand connections (fewer beside other tests) that send or take their bytes as slowly as they can
(S28), and more connections than there may be: others are answered as before, and each is cut at its time."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from faults.chaos.plan import IS_MEASURED
from harness import processes
from harness.fake import Fake
from harness.server import Server, binary
from harness.volume import Connection, p99
from harness.wire import Wire

CROWD = 2000 if IS_MEASURED else 500
SLICE = 50
LATE = 4.0 if IS_MEASURED else 60.0
"""Seconds after a deadline within which a connection is cut; beside other tests, at all."""
HOST = "Host: localhost\r\n"
PING = f"GET /ping HTTP/1.1\r\n{HOST}\r\n".encode()
SETTINGS = {
    "server.header_timeout": "2s",
    "server.body_timeout": "2s",
    "server.keep_alive": "3s",
    "server.write_timeout": "2s",
    "result.stall_timeout": "1s",
}
RESULT = 4 * 2**20
SLOW = {
    "headers": (b"", f"GET /ping HTTP/1.1\r\n{HOST}X-Slow: ".encode(), 2.0),
    # Beside the second ones' own time there is that for which an idle connection is kept.
    "headers of the second request": (PING, b"GET /ping HTTP/1.1\r\nX-Slow: ", 5.0),
    "bodies": (b"", f"POST /sessions HTTP/1.1\r\n{HOST}Content-Length: 1000000\r\n\r\n{{".encode(), 2.0),
    "bodies that nobody reads": (
        b"",
        f"POST /sessions/4242/statements HTTP/1.1\r\n{HOST}Content-Length: 1000000\r\n\r\n{{".encode(),
        3.0,
    ),
}


class Crowd:
    """Connections of which each sends a byte a second, after what it sends at once."""

    def __init__(self, port: int, count: int, first: bytes, receives: int | None = None):
        self.poll = select.epoll()
        self.open: dict[int, socket.socket] = {}
        self.begun: dict[int, float] = {}
        self.cut: list[float] = []
        self.turn: list[int] = []
        self.second = time.monotonic()
        for _ in range(count):
            one = socket.socket()
            if receives:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
            one.connect(("127.0.0.1", port))
            self.open[one.fileno()] = one
            self.begin(one, first)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.open.values():
            one.close()
        self.poll.close()

    def begin(self, one: socket.socket, data: bytes) -> None:
        """What counts as the beginning of what is slow."""
        one.sendall(data)
        self.begun[one.fileno()] = time.monotonic()

    def answers(self, then: bytes) -> None:
        """Wait for an answer on each, and begin anew."""
        for one in self.open.values():
            one.settimeout(30)
            assert one.recv(4096).startswith(b"HTTP/1.1 200")
            self.begin(one, then)

    def watch(self) -> None:
        """From now on it is seen which are closed."""
        for number, one in self.open.items():
            one.setblocking(False)
            self.poll.register(number, select.EPOLLIN | select.EPOLLRDHUP)

    def go_on(self) -> None:
        """A byte each for the next few that are due, and a look at which are closed."""
        now = time.monotonic()
        if not self.turn and now >= self.second:
            self.turn, self.second = list(self.open), self.second + 1
        for number in self.turn[:SLICE]:
            with contextlib.suppress(BlockingIOError, ConnectionError, KeyError):
                self.open[number].send(b"x")
        del self.turn[:SLICE]
        for number, _ in self.poll.poll(0, SLICE):
            self.look(number, now)

    def look(self, number: int, now: float) -> None:
        """Take what has come; forget one that is closed."""
        try:
            while self.open[number].recv(4096):
                pass
        except BlockingIOError:
            return
        except ConnectionError:
            pass
        self.cut.append(now - self.begun[number])
        self.poll.unregister(number)
        self.open.pop(number).close()


class Other:
    """A client that asks and runs code while the crowd is there."""

    def __init__(self, server: Server):
        self.server = server
        self.session = server.api.create()
        self.session.wait("idle")
        self.times: list[float] = []
        self.asked = self.ran = 0
        self.connect()

    def connect(self) -> None:
        """A connection, at a moment from which on it is used all the time."""
        self.connection = Connection(self.server.port)

    def ask(self) -> None:
        """One request, timed; each tenth one runs a statement."""
        begun = time.monotonic()
        self.asked += 1
        if self.asked % 10:
            assert self.connection.request("GET", f"{self.session.path}/state").status == 200
        else:
            code = {"code": f"ledger {self.asked}"}
            assert self.connection.request("POST", f"{self.session.path}/statements", code).status == 201
            self.ran += 1
        self.times.append(time.monotonic() - begun)

    def check(self, what: str, figures: Callable[[str], None]) -> None:
        """All was answered, and soon."""
        limit = p99(self.times)
        figures(f"others beside {CROWD} slow {what}: p99 {limit:.1f} ms of {len(self.times)} requests")
        # Where the suite runs beside it, it is the machine's other work that takes the time.
        assert not IS_MEASURED or limit < 100
        assert len(self.times) > 20
        self.session.text("ledger last")
        listed = self.server.api.get(f"{self.session.path}/statements").json()["statements"]
        assert {statement["state"] for statement in listed[-self.ran - 1 :]} == {"available"}
        self.connection.close()
        self.session.delete()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all attacks, with short times."""
    server = Server({**Fake(tmp_path_factory.mktemp("fake") / "spark").settings, **SETTINGS})
    yield server
    server.stop()


@pytest.mark.parametrize("what", SLOW)
def test_slow_senders(server: Server, figures: Callable[[str], None], what: str) -> None:
    """A byte a second from each of 2,000 connections."""
    first, begins, deadline = SLOW[what]
    files = processes.open_files(server.pid)
    other = Other(server)
    sessions = len(server.api.sessions())
    with Crowd(server.port, CROWD, first or begins) as crowd:
        if first:
            crowd.answers(begins)
        crowd.watch()
        other.connect()
        end = time.monotonic() + deadline + LATE + 5
        while crowd.open and time.monotonic() < end:
            other.ask()
            crowd.go_on()
        assert not crowd.open, f"{len(crowd.open)} are still open"
        figures(f"slow {what}: {CROWD} cut after {min(crowd.cut):.1f} to {max(crowd.cut):.1f} s")
        assert max(crowd.cut) < deadline + LATE
    assert len(server.api.sessions()) == sessions
    other.check(what, figures)
    processes.wait_until("all is closed", lambda: processes.open_files(server.pid) <= files + 10, 20)


def test_slow_readers(server: Server, figures: Callable[[str], None]) -> None:
    """2,000 who ask for a result of 4 MiB and take a little of it: memory holds a piece for each, and each is
    cut when it has taken nothing for the time allowed."""
    files = processes.open_files(server.pid)
    other = Other(server)
    assert len(other.session.text(f"print {RESULT}")) == RESULT
    before = processes.rss_mib(server.pid)
    processes.forget_peak(server.pid)
    ask = f"GET {other.session.path}/statements/0 HTTP/1.1\r\n{HOST}\r\n".encode()
    begun = time.monotonic()
    with Crowd(server.port, CROWD, ask, receives=4096):
        asked = time.monotonic()
        other.connect()
        most = processes.open_files(server.pid) - files
        while (now := processes.open_files(server.pid)) > files + 20:
            other.ask()
            patience = 2 + (LATE if IS_MEASURED else 60)
            assert time.monotonic() < asked + patience, f"{now - files} are still open"
        took = time.monotonic() - begun
    assert most > 100, "there was no crowd"
    risen = processes.rss_mib(server.pid, peak=True) - before
    figures(f"slow reads: {CROWD} cut within {took:.1f} s; memory rose by {risen:.0f} MiB")
    assert risen < CROWD * 0.6, "some pieces of each, not the whole result"
    other.check("reads", figures)


def connect(server: Server, address: str) -> Wire:
    """A connection from one of loopback's addresses."""
    wire = Wire.__new__(Wire)
    wire.port = server.port
    wire.socket = socket.create_connection(("127.0.0.1", server.port), 10, source_address=(address, 0))
    return wire


def is_served(wire: Wire) -> bool:
    """Whether it was taken in; one that was not is closed without an answer."""
    try:
        wire.send("GET /ping HTTP/1.1")
        return wire.answer().status == 200
    except (BrokenPipeError, ConnectionResetError):
        return False


def test_too_many(serve: Callable[..., Server], make_stub: Callable[..., Any]) -> None:
    """One address takes its share and leaves the rest to others; all together take what there is."""
    bounds = {"server.connections": 60, "server.connections_per_address": 40}
    server = serve({**make_stub().settings, **bounds})
    with contextlib.ExitStack() as stack:

        def opened(address: str, count: int) -> list[Wire]:
            wires = [stack.enter_context(connect(server, address)) for _ in range(count)]
            return [wire for wire in wires if is_served(wire)]

        mine = opened("127.0.0.1", 60)
        assert len(mine) == 40
        others = opened("127.0.0.2", 30)
        assert len(others) == 20
        assert not opened("127.0.0.3", 1)
        # Who has a place keeps it, and a place that is left goes to the next.
        assert all(is_served(wire) for wire in mine + others)
        others[0].socket.close()
        processes.wait_until("a place is free", lambda: opened("127.0.0.3", 1), 10)
    told = [line for line in server.log().splitlines() if "server.connections_per_address" in line]
    assert len(told) == 1, "it is said once a minute"


def test_few_descriptors(serve: Callable[..., Server], make_stub: Callable[..., Any], tmp_path: Path) -> None:
    """Where the process may have few files open there are fewer connections: a flood of them leaves
    enough for sessions."""
    program = tmp_path / "firesteel"
    program.write_text(f"#!/bin/sh\nulimit -n 400\nexec '{binary()}' \"$@\"\n")
    program.chmod(0o755)
    # Connections are taken before they can be refused: for a moment a flood of them may take what there is.
    server = serve({**make_stub().settings}, program=program, allowed=("Too many open files",))
    assert "instead of server.connections" in server.log()
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(connect(server, "127.0.0.1"))
        assert is_served(first)
        crowd = [stack.enter_context(connect(server, "127.0.0.2")) for _ in range(500)]
        served = sum(is_served(wire) for wire in crowd)
        assert 50 <= served < 200, served
        processes.wait_until("those are closed", lambda: processes.open_files(server.pid) < 250, 10)
        body = b'{"kind": "pyspark"}'
        first.send("POST /sessions HTTP/1.1", f"Content-Length: {len(body)}", body=body)
        answer = first.answer()
        assert answer.status == 201, answer.data
    assert len(server.api.sessions()) == 1
