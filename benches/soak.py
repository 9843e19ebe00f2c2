"""A week in small: sessions made, used, deleted and crashed for half an hour, and whether the server stays
flat.

    benches/soak.py --minutes 30

Clients make sessions of fake drivers, run statements of many sizes in them, cancel some, and end them: by
a delete, by SIGKILL to the driver's processes, or in the middle of a statement. Every 10 s the server's
memory, descriptors, threads and disk are written down. Flat means that the median of the last quarter is
not above that of the second by more than a tenth and what is given for chance; else the exit status is 1.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Callable

from common import options, parser
from fakes import cpu_seconds, threads
from harness.fake import Fake
from harness.processes import open_files, processes, rss_mib, wait_until
from harness.server import Server
from harness.volume import Connection
from report import Aim, Report

STEP_SECONDS = 10.0
CLIENTS = 4
KEPT = 50
"""Ended sessions that the server keeps: else its disk would grow for a good reason."""

SETTINGS = {
    "limits.sessions": 100,
    "session.ended_shown": "20s",
    "retention.sessions": KEPT,
    "retention.interval": "10s",
    "output.session_bytes": "32MiB",
    "output.total_bytes": "64MiB",
}
SLACK = {"memory, MiB": 3.0, "descriptors": 6.0, "threads": 3.0, "disk, MiB": 4.0}
"""What may come and go: the allocator's own, clients, a session more or less, a checkpoint that is due."""

SHARE = 1.1
"""Times the earlier median that is still flat."""


class Traffic:
    """The clients, and how often they did what."""

    def __init__(self, server: Server, seed: int):
        self.server, self.ending = server, threading.Event()
        self.failures: list[str] = []
        self.counts = {"sessions": 0, "statements": 0, "deletes": 0, "crashes": 0, "cancels": 0}
        self.lock = threading.Lock()
        self.running = [
            threading.Thread(target=self.work, args=(random.Random(f"{seed} {at}"),), daemon=True)
            for at in range(CLIENTS)
        ]
        for thread in self.running:
            thread.start()

    def count(self, what: str) -> None:
        """One more."""
        with self.lock:
            self.counts[what] += 1

    def work(self, chance: random.Random) -> None:
        """One client, until the end or its first failure."""
        try:
            while not self.ending.is_set():
                self.session(chance)
        except Exception as error:
            self.failures.append(repr(error)[:500])

    def session(self, chance: random.Random) -> None:
        """One session, from its creation to its end."""
        connection = Connection(self.server.port)
        with contextlib.closing(connection):
            token = f"t{chance.randrange(1 << 60)}"
            made = connection.request(
                "POST", "/sessions", {"kind": "pyspark", "conf": {"spark.fake.token": token}}
            )
            assert made.status == 201, made
            path = f"/sessions/{made.json()['id']}"
            self.count("sessions")
            wait_until("it is idle", lambda: self.state(connection, path) == "idle", 60, 0.05)
            for _ in range(chance.randrange(5, 40)):
                self.statement(connection, path, chance)
                if chance.random() < 0.1:
                    time.sleep(chance.uniform(0, 0.5))
            way = chance.random()
            if way < 0.3:
                connection.request("POST", f"{path}/statements", {"code": f"sleep 5 {token}"})
            if way < 0.6:
                self.crash(token)
                wait_until("it is dead", lambda: self.state(connection, path) in ("dead", "gone"), 60, 0.05)
            if way < 0.3 or way >= 0.5:
                assert connection.request("DELETE", path).status in (200, 404)
                self.count("deletes")

    def state(self, connection: Connection, path: str) -> str:
        """A session's."""
        answer = connection.request("GET", f"{path}/state")
        return answer.json()["state"] if answer.status == 200 else "gone"

    def statement(self, connection: Connection, path: str, chance: random.Random) -> None:
        """One, of any size, to its end."""
        size = chance.choice((1, 20, 20, 2_000, 30_000, 300_000))
        is_cancelled = chance.random() < 0.05
        code = "sleep 30 long" if is_cancelled else f"print {size}"
        posted = connection.request("POST", f"{path}/statements", {"code": code})
        assert posted.status == 201, posted
        number = posted.json()["id"]
        self.count("statements")
        if is_cancelled:
            assert connection.request("POST", f"{path}/statements/{number}/cancel").status == 200
            self.count("cancels")
        told = posted.json()
        while told["state"] not in ("available", "cancelled"):
            told = connection.request("GET", f"{path}/statements/{number}").json()
        assert is_cancelled or told["output"]["status"] == "ok", told

    def crash(self, token: str) -> None:
        """SIGKILL to the driver that has this word in its properties."""
        for process in processes():
            if "--properties-file" in process.argv:
                file = Path(process.argv[process.argv.index("--properties-file") + 1])
                with contextlib.suppress(OSError):
                    if token in file.read_text():
                        os.kill(process.pid, signal.SIGKILL)
                        self.count("crashes")

    def stop(self) -> None:
        """Let each client end what it does."""
        self.ending.set()
        for thread in self.running:
            thread.join(120)


def disk_mib(directory: Path) -> float:
    """What the files below it take."""
    total = 0
    for where, _directories, files in os.walk(directory):
        for name in files:
            with contextlib.suppress(OSError):
                total += (Path(where) / name).stat().st_blocks * 512
    return total / (1 << 20)


def looks(server: Server) -> dict[str, Callable[[], float]]:
    """What is written down."""
    return {
        "memory, MiB": lambda: rss_mib(server.pid),
        "descriptors": lambda: open_files(server.pid),
        "threads": lambda: threads(server.pid),
        "disk, MiB": lambda: disk_mib(server.state_dir),
    }


def watch(server: Server, traffic: Traffic, seconds: float) -> dict[str, list[float]]:
    """The figures at each step, printed once a minute."""
    look = looks(server)
    seen: dict[str, list[float]] = {name: [] for name in look}
    begun = time.monotonic()
    step = min(STEP_SECONDS, seconds / 24)
    told = 0.0
    while (passed := time.monotonic() - begun) < seconds and not traffic.failures:
        for name, one in look.items():
            seen[name].append(one())
        if passed >= told:
            told += 60
            figures = ", ".join(f"{name} {values[-1]:.1f}" for name, values in seen.items())
            print(f"  {passed:5.0f} s: {figures}; {traffic.counts['sessions']} sessions", flush=True)
        time.sleep(step)
    return seen


def judge(report: Report, seen: dict[str, list[float]]) -> bool:
    """A figure for each of them; whether all are flat."""
    flat = True
    for name, values in seen.items():
        quarter = len(values) // 4
        early, late = (statistics.median(part) for part in (values[quarter : 2 * quarter], values[-quarter:]))
        aim = Aim(True, round(early * SHARE + SLACK[name], 1), "ours")
        what, _, unit = name.partition(", ")
        told = {"peer_name": "second quarter", "peer": [[early]], "loads": [os.getloadavg()[0]]}
        note = f"least {min(values):.1f}, most {max(values):.1f} at {len(values)} looks"
        figure = report.rounds(f"{what}, last quarter", unit, [[late]], aim, note=note, **told)
        flat = flat and bool(figure.met)
    return flat


def main() -> None:
    """The command line."""
    given = parser(__doc__)
    given.add_argument("--minutes", type=float, default=30.0)
    given.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    chosen = options(given)
    report = Report(f"Soak, {chosen.minutes:g} minutes", chosen.json)
    print(f"  --seed {chosen.seed}")
    with tempfile.TemporaryDirectory(prefix="firesteel-soak-") as name:
        home = Path(name)
        server = Server({**Fake(home).settings, **SETTINGS}, state_dir=home / "state")
        try:
            traffic = Traffic(server, chosen.seed)
            seen = watch(server, traffic, chosen.minutes * 60)
            traffic.stop()
            report.value("server's CPU", "s", cpu_seconds(server.pid), note=json.dumps(traffic.counts))
            flat = judge(report, seen)
        finally:
            server.stop()
    for failure in traffic.failures:
        print(f"  a client failed: {failure}")
    good = flat and not traffic.failures
    print("verdict: flat" if good else "verdict: not flat" if not flat else "verdict: a client failed")
    sys.exit(not good)


if __name__ == "__main__":
    main()
