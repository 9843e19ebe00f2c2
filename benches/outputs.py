"""Large outputs kept and read: what the server has in memory, and how long one statement's answer takes while
others poll.

    benches/outputs.py --binary target/release/firesteel [--sessions 100] [--statements 100]

The drivers are fake ones: what is measured is the server. A poller asks for a statement of its own each half
second, as notebooks do.
"""

from __future__ import annotations

import os
import random
import selectors
import socket
import threading
import time

from common import options, parser
from fakes import faked
from harness.api import Session
from harness.processes import rss_mib
from report import Report, at_most

SIZE = 1_000_000
"""Bytes of an output, which zstd can't make much smaller."""

P99 = at_most(20, "p99")
POLLERS = 64
EVERY_SECONDS = 0.5
AT_ONCE = 8
"""Sessions whose statements run at the same time: a fake driver takes a core to make an output."""


LAST_CHUNK = b"\r\n0\r\n\r\n"
"""How each answer ends: one from a file comes in chunks. JSON text has no bare line ends."""


def fill(session: Session, count: int) -> None:
    """Run a session's statements."""
    for number in range(count):
        session.post(f"noise {SIZE} {session.id}.{number}")
    session.wait_statement(count - 1)


class Poller:
    """One client, which asks for a statement and reads the answer whole."""

    def __init__(self, port: int, names: list[tuple[int, int]]):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.names = names
        self.due = 0.0
        self.asked = 0.0
        self.seen = 0
        self.tail = b""

    def ask(self) -> None:
        """Send a request for any of the statements."""
        session, number = random.choice(self.names)
        self.seen, self.tail, self.asked = 0, b"", time.perf_counter()
        path = f"/sessions/{session}/statements/{number}"
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def read(self, into: memoryview) -> bool:
        """Take what has come; whether that was the answer's end."""
        count = self.socket.recv_into(into)
        piece = into[:count]
        assert count, "the server closed a connection that was to stay open"
        assert self.seen or bytes(piece[:12]) == b"HTTP/1.1 200", bytes(piece[:200])
        self.seen += count
        self.tail = (self.tail + bytes(piece[-len(LAST_CHUNK) :]))[-len(LAST_CHUNK) :]
        if self.tail != LAST_CHUNK:
            return False
        assert self.seen > SIZE, self.seen
        return True


def poll(port: int, names: list[tuple[int, int]], seconds: float, every: float) -> tuple[list[float], int]:
    """What `POLLERS` clients see that ask each `every` seconds, all in one thread, whose own work would
    otherwise be most of what is measured: the times of their answers, and the bytes read."""
    pollers = [Poller(port, names) for _ in range(POLLERS)]
    ready, into, times, seen = selectors.DefaultSelector(), memoryview(bytearray(1 << 20)), [], 0
    end = time.perf_counter() + seconds
    for at, poller in enumerate(pollers):
        poller.due = time.perf_counter() + every * at / POLLERS
    waiting, asked = list(pollers), 0
    while time.perf_counter() < end or asked:
        now = time.perf_counter()
        for poller in [each for each in waiting if each.due <= now < end]:
            waiting.remove(poller)
            ready.register(poller.socket, selectors.EVENT_READ, poller)
            poller.ask()
            asked += 1
        pause = max(0, min([each.due for each in waiting], default=end) - now)
        for key, _events in ready.select(min(pause, 0.1)):
            poller = key.data
            if poller.read(into):
                times.append(time.perf_counter() - poller.asked)
                seen += poller.seen
                ready.unregister(poller.socket)
                poller.due = poller.asked + every * random.uniform(0.5, 1.5)
                waiting.append(poller)
                asked -= 1
    for poller in pollers:
        poller.socket.close()
    return times, seen


def run_all(sessions: list[Session], statements: int) -> float:
    """Fill all of them, some at a time; the seconds."""
    begun = time.perf_counter()
    for at in range(0, len(sessions), AT_ONCE):
        part = sessions[at : at + AT_ONCE]
        fillers = [threading.Thread(target=fill, args=(one, statements)) for one in part]
        for filler in fillers:
            filler.start()
        for filler in fillers:
            filler.join()
    return time.perf_counter() - begun


def main() -> None:
    """The command line."""
    given = parser(__doc__)
    given.add_argument("--sessions", type=int, default=100)
    given.add_argument("--statements", type=int, default=100)
    given.add_argument("--seconds", type=float, default=20)
    chosen = options(given)
    report = Report("Large outputs", chosen.json)
    with faked(chosen.sessions, settings={"output.total_bytes": "20GiB"}) as made:
        pid, port = made.server.pid, made.server.port
        sessions = [Session(made.server.api, {"id": number}) for number in made.sessions]
        report.value("server's memory, idle", "MiB", rss_mib(pid))
        took = run_all(sessions, chosen.statements)
        size = f"{chosen.sessions} sessions with {chosen.statements} outputs of 1 MB"
        peak = rss_mib(pid, peak=True)
        report.value(f"server's memory, {size}", "MiB", peak, at_most(150), note=f"they ran for {took:.0f} s")
        names = [(session.id, number) for session in sessions for number in range(chosen.statements)]
        load = os.getloadavg()[0]
        times, _seen = poll(port, names, chosen.seconds, EVERY_SECONDS)
        milliseconds = [seconds * 1000 for seconds in times]
        report.rounds(f"an answer of 1 MB to {POLLERS} pollers", "ms", [milliseconds], P99, loads=[load])
        begun = time.perf_counter()
        _times, seen = poll(port, names, chosen.seconds, 0)
        report.value("as fast as it goes", "MB/s", seen / (time.perf_counter() - begun) / 1e6)
        report.value("server's memory, at most", "MiB", rss_mib(pid, peak=True), at_most(150))


if __name__ == "__main__":
    main()
