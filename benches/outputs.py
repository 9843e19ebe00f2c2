"""Large outputs kept and read: what the server has in memory, and how long one statement's answer takes while
others poll.

    benches/outputs.py --binary target/release/firesteel [--sessions 100] [--statements 100]

The drivers are fake ones: what is measured is the server. A poller asks for a statement of its own each half
second, as notebooks do.
"""

from __future__ import annotations

import argparse
import os
import random
import selectors
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from harness.api import Session  # noqa: E402
from harness.fake import Fake  # noqa: E402
from harness.processes import rss_mib  # noqa: E402
from harness.server import Server  # noqa: E402
from harness.volume import p99  # noqa: E402

SIZE = 1_000_000
"""Bytes of an output, which zstd can't make much smaller."""

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


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/firesteel")
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--statements", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    os.environ["FIRESTEEL_TEST_BIN"] = str(options.binary.resolve())
    print(f"load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="firesteel-outputs-") as home:
        settings = {"limits.sessions": options.sessions, "output.total_bytes": "20GiB"}
        server = Server({**Fake(Path(home)).settings, **settings}, state_dir=Path(home) / "state")
        sessions = [server.api.create() for _ in range(options.sessions)]
        for session in sessions:
            session.wait("idle")
        idle = rss_mib(server.pid)
        begun = time.perf_counter()
        for at in range(0, len(sessions), AT_ONCE):
            part = sessions[at : at + AT_ONCE]
            fillers = [threading.Thread(target=fill, args=(one, options.statements)) for one in part]
            for filler in fillers:
                filler.start()
            for filler in fillers:
                filler.join()
        took = time.perf_counter() - begun
        filled = rss_mib(server.pid, peak=True)
        names = [(session.id, number) for session in sessions for number in range(options.statements)]
        size = f"{options.sessions} sessions with {options.statements} outputs of 1 MB"
        print(f"{size}: {idle:.0f} MiB idle, {filled:.0f} at most while they ran ({took:.0f} s)", flush=True)
        times, _seen = poll(server.port, names, options.seconds, EVERY_SECONDS)
        middle = sorted(times)[len(times) // 2] * 1000
        shown = f"p50 {middle:.1f} ms, p99 {p99(times):.1f} ms (aim: 20)"
        peak = rss_mib(server.pid, peak=True)
        print(f"{len(times)} answers to {POLLERS} pollers: {shown}, {peak:.0f} MiB at most", flush=True)
        begun = time.perf_counter()
        _times, seen = poll(server.port, names, options.seconds, 0)
        rate = seen / (time.perf_counter() - begun) / 1e6
        peak = rss_mib(server.pid, peak=True)
        print(f"as fast as it goes: {rate:.0f} MB/s, {peak:.0f} MiB at most (aim: 150)", flush=True)
        for session in sessions:
            session.delete()
        server.stop()


if __name__ == "__main__":
    main()
