"""What a server takes: its time to listen, its size, its memory; and what an agent takes.

A start is timed from the process's beginning until it says that it listens: with an empty state directory,
and with sessions of fake drivers that it takes back after it was killed. Memory is the resident one: idle,
with sessions that have small results, and after a minute of requests. An agent's is that of a real
session.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from common import MASTER, options, parser
from fakes import Faked, cpu_precise, faked, idle, wait_idle
from harness.processes import children, forget_peak, rss_mib
from harness.server import Server
from harness.spark import newest
from harness.stub import Stub
from harness.volume import Connection, share
from load import Client, Loop, request_of
from peers import ExecLoop, OverHttp
from report import Report, at_most

READERS = 32
"""Connections that ask without a pause."""

STATEMENTS = 2000
"""Over which an agent's CPU is taken."""


def size(report: Report, binary: Path) -> None:
    """The binary's, in millions of bytes."""
    report.value("the binary", "MB", binary.stat().st_size / 1e6, at_most(40))


def listening(server: Server) -> float:
    """Milliseconds of a start."""
    begun = time.perf_counter()
    server.start()
    return (time.perf_counter() - begun) * 1000


def empty(report: Report, rounds: int, home: Path) -> None:
    """Starts that find nothing."""
    stub = Stub(home / "stub")
    times, memory, loads = [], [], []
    for _ in range(rounds):
        loads.append(os.getloadavg()[0])
        server = Server(stub.settings, start=False)
        times.append([listening(server)])
        for _ in range(20):
            assert server.api.get("/sessions").status_code == 200
        memory.append([rss_mib(server.pid)])
        server.stop()
    report.rounds("start to listening, nothing stored", "ms", times, at_most(50), loads=loads)
    report.rounds("memory, idle", "MiB", memory, at_most(30), loads=loads, note="a Livy had 323 MB")


def fill(made: Faked, results: int) -> None:
    """So many small results in each session."""

    def run(connection: Connection, session: int) -> None:
        for _ in range(results):
            answer = connection.request("POST", f"/sessions/{session}/statements", {"code": "print 20"})
            assert answer.status == 201, answer

    share(made.server.port, 8, made.sessions, run)
    wait_idle(made.server, len(made.sessions))


def read(made: Faked, seconds: float, results: int) -> float:
    """Ask without a pause for what sessions and statements there are; the rate."""
    loop, number = Loop(), 0

    def ask(client: Client) -> None:
        nonlocal number
        number += 1
        session = made.sessions[number % len(made.sessions)]
        path = f"/sessions/{session}" + ("", "/state", f"/statements/{number % results}")[number % 3]
        client.ask(request_of("GET", path), lambda status, _body: told(client, status))

    def told(client: Client, status: int) -> None:
        assert status == 200, status
        ask(client)

    for _ in range(READERS):
        ask(Client(loop, made.server.port))
    loop.run(seconds)
    rate = loop.answered / loop.seconds
    assert not loop.missed, loop.missed[:3]
    loop.close()
    return rate


def filled(report: Report, given: argparse.Namespace) -> None:
    """Sessions with results, read for a while, and taken back by the next server."""
    name = f"with {given.sessions} sessions"
    with faked(given.sessions) as made:
        server = made.server
        fill(made, given.results)
        results = f"memory, {name} of {given.results} small results"
        before = report.value(results, "MiB", rss_mib(server.pid), at_most(60)).ours
        assert before
        forget_peak(server.pid)
        rate = read(made, given.seconds, given.results)
        note = f"{rate:.0f} GETs a second; a Livy had 1.84 GB"
        peak, after = rss_mib(server.pid, peak=True), rss_mib(server.pid)
        own = {"peer_name": "before", "peer": [[before]], "loads": [os.getloadavg()[0]]}
        aim = at_most(1.2, "ratio")
        report.rounds(
            f"{results}, most in {given.seconds:g} s of GETs", "MiB", [[peak]], aim, note=note, **own
        )
        report.rounds(f"{results}, after them", "MiB", [[after]], aim, **own)
        listens, back, loads = [], [], []
        for _ in range(given.rounds):
            loads.append(os.getloadavg()[0])
            server.kill9()
            begun = time.perf_counter()
            listens.append([listening(server)])
            while idle(server) < given.sessions:
                assert time.perf_counter() - begun < 60, server.log()[-2000:]
            back.append([(time.perf_counter() - begun) * 1000])
        report.rounds(f"start to listening, {name} that live", "ms", listens, at_most(200), loads=loads)
        report.rounds(f"start to all idle, {name} that live", "ms", back, at_most(1000), loads=loads)


def agent(report: Report, rounds: int) -> None:
    """A real session's processes, and what a statement costs the agent."""
    spark = newest()
    server = Server({**spark.plain_settings, "spark.master": MASTER})
    try:
        session = server.api.create(conf={"spark.ui.enabled": "false"})
        session.wait("idle")
        ours, peer = OverHttp(server.port, session.path), ExecLoop()
        for _ in range(100):
            ours()
        running, home = server.driver_processes(), str(server.state_dir / "run")
        jvm = next(one.pid for one in running if Path(one.argv[0]).name == "java")
        # The agent's arguments are its program and its run directory.
        pid = next(
            one.pid for one in running if one.argv[1].endswith(".py") and one.argv[-1].startswith(home)
        )
        interpreter = children(pid)[0]
        report.value("memory of an agent", "MiB", rss_mib(pid), at_most(25))
        report.value("memory of its Python interpreter", "MiB", rss_mib(interpreter))
        report.value(f"memory of the JVM, Spark {spark.version}", "MiB", rss_mib(jvm))
        agents, others, loads = [], [], []
        for _ in range(rounds):
            loads.append(os.getloadavg()[0])
            agents.append([cpu_of(ours, pid)])
            others.append([cpu_of(peer, peer.process.pid)])
        peer.close()
        ours.close()
        name = "an agent's CPU"
        own = {"peer_name": "bare exec loop", "peer": others, "loads": loads}
        report.rounds(name, "us a statement", agents, at_most(50), **own)
    finally:
        server.stop()


def cpu_of(once: OverHttp | ExecLoop, pid: int) -> float:
    """Microseconds of CPU that a process takes for one of them."""
    before = cpu_precise(pid)
    for _ in range(STATEMENTS):
        once()
    return (cpu_precise(pid) - before) / STATEMENTS * 1e6


def main() -> None:
    """The command line."""
    given = parser(__doc__, rounds=5)
    given.add_argument("--sessions", type=int, default=100)
    given.add_argument("--results", type=int, default=100, help="of each session")
    given.add_argument("--seconds", type=float, default=60.0, help="how long requests come")
    given.add_argument("--no-spark", action="store_true", help="fake drivers only")
    chosen = options(given)
    report = Report("Footprint", chosen.json)
    size(report, chosen.binary)
    with tempfile.TemporaryDirectory(prefix="firesteel-bench-") as home:
        empty(report, chosen.rounds, Path(home))
    filled(report, chosen)
    if not chosen.no_spark:
        agent(report, chosen.rounds)


if __name__ == "__main__":
    main()
