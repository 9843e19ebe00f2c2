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
from harness.volume import Connection, p99, share  # noqa: E402

SIZE = 1_000_000
"""Bytes of an output, which zstd can't make much smaller."""

POLLERS = 64
EVERY_SECONDS = 0.5
AT_ONCE = 8
"""Sessions whose statements run at the same time: a fake driver takes a core to make an output."""


def fill(session: Session, count: int) -> None:
    """Run a session's statements."""
    for number in range(count):
        session.post(f"noise {SIZE} {session.id}.{number}")
    for number in range(count):
        session.wait_statement(number)


def poll(server: Server, names: list[tuple[int, int]], over: threading.Event, times: list[float]) -> None:
    """One client: a statement each half second, whole."""
    connection, chance = Connection(server.port), random.Random(threading.get_ident())
    while not over.wait(chance.uniform(0, 2 * EVERY_SECONDS)):
        session, statement = chance.choice(names)
        asked = time.perf_counter()
        answer = connection.request("GET", f"/sessions/{session}/statements/{statement}")
        times.append(time.perf_counter() - asked)
        assert answer.status == 200 and len(answer.body) > SIZE, answer.head
    connection.close()


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
        over, times = threading.Event(), []
        pollers = [threading.Thread(target=poll, args=(server, names, over, times)) for _ in range(POLLERS)]
        for poller in pollers:
            poller.start()
        time.sleep(options.seconds)
        over.set()
        for poller in pollers:
            poller.join()
        times.sort()
        shown = f"p50 {times[len(times) // 2] * 1000:.1f} ms, p99 {p99(times):.1f} ms (aim: 20)"
        peak = rss_mib(server.pid, peak=True)
        print(f"{len(times)} answers to {POLLERS} pollers: {shown}, {peak:.0f} MiB at most")
        begun = time.perf_counter()
        whole = share(
            server.port,
            POLLERS,
            random.sample(names, min(len(names), 2000)),
            lambda connection, name: len(
                connection.request("GET", f"/sessions/{name[0]}/statements/{name[1]}").body
            ),
        )
        rate = sum(whole) / (time.perf_counter() - begun) / 1e6
        peak = rss_mib(server.pid, peak=True)
        print(f"as fast as it goes: {rate:.0f} MB/s, {peak:.0f} MiB at most (aim: 150)")
        for session in sessions:
            session.delete()
        server.stop()


if __name__ == "__main__":
    main()
