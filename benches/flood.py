"""Statements a second, stored and answered.

50 sessions of fake drivers, each with some clients that post one statement after the other: with what
survives a crash of the server, and with what survives a loss of power, beside the commits a second that
one writer makes who waits for the disk each time; a statement is two commits or more. Then sessions of a
real Python: what the machine gives.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time

from common import MASTER, options, parser
from fakes import Faked, cpu_seconds, faked
from harness.server import Server, environment
from harness.spark import newest
from load import Client, Loop, request_of
from report import Report, at_least

SECONDS = 3.0
"""Of each round, for each of those that take turns."""

SLOW_SYNC = 0.004
"""Seconds, as of a disk that keeps its word: a virtual machine's may answer at once."""

DONE = b'"state":"available"'


class Flood:
    """Clients that post one statement after the other, on each session of a server."""

    def __init__(self, server: Server, sessions: list[int], each: int, code: str):
        self.server, self.loop, self.done, self.asked_again = server, Loop(), 0, 0
        self.stopping = False
        self.busy = 0
        for session in sessions:
            path = f"/sessions/{session}/statements"
            for _ in range(each):
                self.busy += 1
                self.post(Client(self.loop, server.port), path, request_of("POST", path, {"code": code}))

    def post(self, client: Client, path: str, request: bytes) -> None:
        """The next statement of a client."""

        def told(status: int, body: bytes) -> None:
            assert status in (200, 201), (status, body)
            if DONE not in body:
                self.asked_again += 1
                client.ask(request_of("GET", f"{path}/{json.loads(body)['id']}"), told)
                return
            self.done += 1
            if self.stopping:
                self.busy -= 1
            else:
                client.ask(request, told)

        client.ask(request, told)

    def stop(self) -> None:
        """Let what is under way end."""
        self.stopping = True
        deadline = time.monotonic() + 60
        while self.busy and time.monotonic() < deadline:
            self.loop.run(0.1)
        assert not self.busy, f"{self.busy} statements were not answered: {self.loop.missed[:3]}"
        assert not self.loop.missed, self.loop.missed[:3]
        self.loop.close()


class Rates:
    """A server's figures, round by round."""

    def __init__(self, server: Server, sessions: list[int], each: int, code: str):
        self.server, self.sessions, self.each, self.code = server, sessions, each, code
        self.rates: list[list[float]] = []
        self.cpu: list[list[float]] = []
        self.times: list[list[float]] = []
        self.own: list[float] = []
        self.again: list[float] = []

    def round(self, seconds: float, count: bool = True) -> None:
        """Flood it for so long."""
        flood = Flood(self.server, self.sessions, self.each, self.code)
        flood.loop.run(min(0.5, seconds))
        flood.loop.begin()
        flood.done = flood.asked_again = 0
        before = cpu_seconds(self.server.pid)
        flood.loop.run(seconds)
        if count:
            self.rates.append([flood.done / flood.loop.seconds])
            self.cpu.append([(cpu_seconds(self.server.pid) - before) / max(flood.done, 1) * 1e6])
            self.times.append(flood.loop.times)
            self.own.append(flood.loop.cores)
            self.again.append(flood.asked_again / max(flood.done, 1))
        flood.stop()

    @property
    def note(self) -> str:
        """What the load generator took, and how often a POST did not bring the result."""
        gets = f"{max(self.again):.2f} GETs a statement" if max(self.again) else "each in one exchange"
        return f"{gets}, the load generator took {max(self.own):.2f} of a core"


COMMITS = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("PRAGMA synchronous = FULL")
database.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, text TEXT)")
begun, count = time.perf_counter(), 0
while (took := time.perf_counter() - begun) < float(sys.argv[2]):
    database.execute("INSERT INTO rows (text) VALUES (?)", ("x" * 200,))
    count += 1
print(count / took)
"""


def commits(made: Faked, seconds: float) -> float:
    """Commits a second of one writer who waits for the disk at each, on a server's disk."""
    argv = [sys.executable, "-c", COMMITS, str(made.home / "peer.db"), str(seconds)]
    return float(subprocess.run(argv, env=environment(**made.env), capture_output=True, check=True).stdout)


def stored(report: Report, sessions: int, each: int, rounds: int, seconds: float) -> None:
    """Fake drivers, and each way of storing."""
    ways = {
        "what survives a crash": ({"store.durability": "process"}, 0.0),
        "what survives a loss of power": ({"store.durability": "power"}, 0.0),
        f"the same, each sync {SLOW_SYNC * 1000:g} ms longer": ({"store.durability": "power"}, SLOW_SYNC),
    }
    with contextlib.ExitStack() as ending:
        servers, single, loads = {}, {name: [] for name in ways}, []
        for name, (settings, slow_sync) in ways.items():
            made = ending.enter_context(faked(sessions, slow_sync, settings))
            servers[name] = made, Rates(made.server, made.sessions, each, "print 2")
        for _made, rates in servers.values():
            rates.round(1.0, count=False)
        for _ in range(rounds):
            loads.append(os.getloadavg()[0])
            for name, (made, rates) in servers.items():
                rates.round(seconds)
                single[name].append([commits(made, seconds / 2)])
        crash, *power = ways
        for name, (_made, rates) in servers.items():
            aim = at_least(2000) if name == crash else at_least(8, "ratio")
            peer = {"peer_name": "single commits, synced", "peer": single[name]} if name in power else {}
            told = {"loads": loads, "note": f"{sessions} sessions, {rates.note}"}
            report.rounds(name, "statements/s", rates.rates, aim, **told, **peer)
            report.rounds(f"{name}: each answer", "ms", rates.times, loads=loads)
            report.rounds(f"{name}: server's CPU", "us a statement", rates.cpu, loads=loads)


def real(report: Report, sessions: int, each: int, rounds: int, seconds: float) -> None:
    """Sessions of a real Python."""
    spark = newest()
    server = Server({**spark.plain_settings, "spark.master": MASTER})
    try:
        made = [server.api.create(conf={"spark.ui.enabled": "false"}) for _ in range(sessions)]
        for session in made:
            session.wait("idle")
        rates, loads = Rates(server, [session.id for session in made], each, "1 + 1"), []
        rates.round(2.0, count=False)
        for _ in range(rounds):
            loads.append(os.getloadavg()[0])
            rates.round(seconds)
        name = f"{sessions} sessions of real Pythons, Spark {spark.version}"
        report.rounds(name, "statements/s", rates.rates, loads=loads, note=rates.note)
    finally:
        server.stop()


def main() -> None:
    """The command line."""
    given = parser(__doc__, rounds=5)
    given.add_argument("--sessions", type=int, default=50)
    # More would poll: only a statement that is next in line holds its answer until it is done.
    given.add_argument("--each", type=int, default=1, help="clients of each session")
    given.add_argument("--real", type=int, default=2, help="sessions of real Pythons; 0 for none")
    given.add_argument("--seconds", type=float, default=SECONDS)
    chosen = options(given)
    report = Report("Statements a second", chosen.json)
    stored(report, chosen.sessions, chosen.each, chosen.rounds, chosen.seconds)
    if chosen.real:
        real(report, chosen.real, chosen.each, chosen.rounds, chosen.seconds)


if __name__ == "__main__":
    main()
