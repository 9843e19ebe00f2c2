"""Clients that take or give their bytes one by one, and clients that only stay connected: they cost the
others nothing."""

from __future__ import annotations

import contextlib
import select
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest
from harness import processes
from harness.api import Session
from harness.fake import Fake
from harness.service import Unit
from harness.wire import Answer, Wire

MIB = 2**20
RESULT = 40 * MIB
IDLE = 1000
HALF = 200
DEADLINE = 3.0
SETTINGS = {
    "output.max_bytes": "64MiB",
    "link.max_frame": "140MiB",
    "server.body_timeout": f"{DEADLINE:.0f}s",
    # All connect before the first one asks.
    "server.header_timeout": "60s",
}


def timed(session: Session) -> float:
    """How long a request of another client takes."""
    begun = time.monotonic()
    session.state()
    return time.monotonic() - begun


def slowest(found: list[float], percent: int) -> float:
    """The value that so many of a hundred do not exceed."""
    return found[len(found) * percent // 100]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Unit]]:
    """Servers with drivers that start in a moment."""
    made: list[Unit] = []
    fake = Fake(tmp_path / "fake")

    def start() -> Unit:
        made.append(Unit({**fake.settings, **SETTINGS, "shutdown.sessions": "end"}))
        return made[-1].start()

    yield start
    for unit in made:
        assert unit.end() == 0
        assert not unit.driver_processes()
        unit.clean()


def test_slow_clients(start: Callable[[], Unit]) -> None:
    """A 40 MiB result read at 1 kB/s, a thousand idle connections, two hundred bodies at a byte a second:
    memory grows by the one result, others are answered as before, bodies are cut at their deadline."""
    server = start()
    session = server.api.create()
    session.wait("idle")
    # What the machine does to requests meanwhile is seen on a server that has no such clients.
    other = start().api.create()
    other.wait("idle")
    assert len(session.text(f"print {RESULT}")) == RESULT
    before = processes.rss_mib(server.pid)
    files = processes.open_files(server.pid)
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(Wire(server.port))
        reader.send(f"GET {session.path}/statements/0 HTTP/1.1")
        # Once it begins, the answer is made; until then what it is made from takes room as well.
        assert reader.socket.recv(1024)
        idle = [stack.enter_context(Wire(server.port)) for _ in range(IDLE)]
        for wire in idle:
            wire.send("GET /ping HTTP/1.1")
        assert {wire.answer().status for wire in idle} == {200}
        half = [stack.enter_context(Wire(server.port)) for _ in range(HALF)]
        begun = time.monotonic()
        for wire in half:
            wire.send("POST /sessions HTTP/1.1", "Content-Length: 1000000", body=b"{")
        waiting = select.poll()
        for wire in half:
            waiting.register(wire.socket, select.POLLIN)
        assert processes.open_files(server.pid) >= files + IDLE + HALF
        risen = 0.0
        crowded: list[float] = []
        alone: list[float] = []
        cut: dict[int, float] = {}
        second = begun
        while len(cut) < HALF and time.monotonic() < begun + DEADLINE + 10:
            second += 1
            while time.monotonic() < second:
                crowded.append(timed(session))
                alone.append(timed(other))
                risen = max(risen, processes.rss_mib(server.pid) - before)
            assert 0 < len(reader.socket.recv(1024)) <= 1024
            answered = {descriptor for descriptor, _ in waiting.poll(0)}
            for descriptor in answered:
                waiting.unregister(descriptor)
                cut[descriptor] = time.monotonic() - begun
            for wire in half:
                if wire.socket.fileno() not in cut:
                    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                        wire.socket.sendall(b" ")
        answers = [wire.answer() for wire in half]
        # All idle ones still work.
        for wire in idle[::50]:
            wire.send("GET /ping HTTP/1.1")
            assert wire.answer().status == 200
        # The result comes to its end once it is read.
        reader.socket.settimeout(60)
        read, end = 0, b""
        while end != b"0\r\n\r\n":  # The last of its chunks.
            rest = reader.socket.recv(MIB)
            assert rest, f"cut after {read} bytes"
            read, end = read + len(rest), (end + rest)[-5:]
        assert read > RESULT - MIB
    assert len(cut) == HALF
    assert max(cut.values()) < DEADLINE + 3, "one is cut a look after its deadline at the latest"
    assert {answer.status for answer in answers} <= {0, 408}, counts(answers)
    assert len(server.api.sessions()) == 1
    crowded.sort()
    alone.sort()
    print(
        f"memory rose by {risen:.1f} MiB; p99 of {len(crowded)} requests {slowest(crowded, 99) * 1000:.1f} "
        f"ms, alone {slowest(alone, 99) * 1000:.1f} ms; bodies were cut after {min(cut.values()):.1f} to "
        f"{max(cut.values()):.1f} s"
    )
    assert risen <= 64
    assert slowest(crowded, 50) <= 2 * slowest(alone, 50) + 0.001
    # The floor is one turn of the machine's other work; a worker that is held up adds seconds.
    assert slowest(crowded, 99) <= 2 * slowest(alone, 99) + 0.05
    processes.wait_until("all is closed", lambda: processes.open_files(server.pid) <= files + 2, 20)
    assert processes.rss_mib(server.pid) - before <= 32


def counts(answers: list[Answer]) -> dict[int, int]:
    """How often each status came."""
    statuses = [answer.status for answer in answers]
    return {status: statuses.count(status) for status in set(statuses)}
