"""GETs of a statement and of a session's state beside a bare actix server, which answers the same body from a
map (`benches/peer/bare_actix.rs`), in turns.

    benches/gets.py --binary target/release/firesteel [--rounds 5] [--seconds 3] [--json FILE]

The load comes from `wrk`, else from `oha`, which is built into target/bench-tools when neither is there; it
has the same cores. Drivers are fake. Also: a client that names the answer it has (304).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Iterator, NamedTuple

from common import ROOT, options, parser
from harness.api import Session
from harness.fake import Fake
from harness.server import Server
from report import Report, at_least, at_most

PEER = "bare actix"
WORKERS = 2
CONNECTIONS = (1, 32)
OHA = "1.10.0"
TOOLS = ROOT / "target/bench-tools"
LEAST_SHARE = 0.7
MOST_P99_MS = 3.0
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Load(NamedTuple):
    """What one round gave."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float = 0.0
    """Of the server's, for each answer: what else runs on the machine hardly changes it."""


def with_wrk(program: str, url: str, connections: int, seconds: int, header: str | None) -> Load:
    """One round of wrk, one thread: the server's workers need the cores."""
    headers = ["-H", header] if header else []
    argv = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *headers, url]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    is_304 = header is not None
    assert is_304 or "Non-2xx" not in said, said
    assert "Socket errors" not in said, said

    def latency(share: int) -> float:
        found = re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s)$", said, re.MULTILINE)
        assert found, said
        return float(found[1]) * UNITS[found[2]]

    rate = re.search(r"^Requests/sec:\s+([\d.]+)$", said, re.MULTILINE)
    assert rate, said
    return Load(float(rate[1]), latency(50), latency(99))


def with_oha(program: str, url: str, connections: int, seconds: int, header: str | None) -> Load:
    """One round of oha."""
    headers = ["-H", header] if header else []
    argv = [program, "--no-tui", "--output-format", "json", "-c", str(connections), "-z", f"{seconds}s"]
    ran = subprocess.run([*argv, *headers, url], capture_output=True, text=True, check=True)
    said = json.loads(ran.stdout)
    assert set(said["statusCodeDistribution"]) == {"304" if header else "200"}, said
    latency = said["latencyPercentiles"]
    return Load(said["summary"]["requestsPerSec"], latency["p50"] * 1000, latency["p99"] * 1000)


@functools.cache
def generator():
    """What makes the load: wrk, else oha, which is built where it is missing."""
    wrk, oha = shutil.which("wrk"), shutil.which("oha", path=f"{TOOLS}/bin:{os.environ['PATH']}")
    if wrk:
        return with_wrk, wrk
    if not oha:
        argv = ["cargo", "install", "--locked", "--root", str(TOOLS), f"oha@{OHA}"]
        subprocess.run([*argv, "--no-default-features", "--features", "rustls"], check=True)
        oha = f"{TOOLS}/bin/oha"
    return with_oha, oha


def cpu_seconds(pid: int) -> float:
    """What a process has had of the cores."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Side(NamedTuple):
    """A server under load."""

    pid: int
    url: str
    header: str | None = None


def one_round(side: Side, connections: int, seconds: int) -> Load:
    """One round against a server."""
    load, tool = generator()
    before = cpu_seconds(side.pid)
    seen = load(tool, side.url, connections, seconds, side.header)
    cpu = cpu_seconds(side.pid) - before
    return seen._replace(cpu_us=1e6 * cpu / (seen.per_second * seconds))


@contextlib.contextmanager
def bare_actix(program: Path, body: bytes) -> Iterator[Side]:
    """The peer."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(body)
        peer = subprocess.Popen([program, str(WORKERS), file.name], stdout=subprocess.PIPE, text=True)
        try:
            assert peer.stdout is not None
            address = peer.stdout.readline().strip()
            yield Side(peer.pid, f"http://{address}/sessions/0/statements/0")
        finally:
            peer.terminate()
            peer.wait()


def measure(
    report: Report, server: Server, session: Session, program: Path, rounds: int, seconds: int
) -> None:
    """Every figure."""
    url, pid = session.api.url + session.path, server.pid
    statement = session.api.get(f"{session.path}/statements/0")
    tag = f"If-None-Match: {statement.headers.get('ETag')}"
    ways = {
        "GET of a statement": Side(pid, f"{url}/statements/0"),
        "GET of a session's state": Side(pid, f"{url}/state"),
        "GET of a session": Side(pid, url),
        "GET of a statement, 304": Side(pid, f"{url}/statements/0", tag),
    }
    tool = Path(generator()[1]).name
    print(f"  {tool}, {len(statement.content)} bytes, {WORKERS} workers each, {seconds} s a round")
    with bare_actix(program, statement.content) as peer:
        for connections in CONNECTIONS:
            seen: dict[str, list[Load]] = {name: [] for name in (PEER, *ways)}
            loads = []
            for _ in range(rounds):
                loads.append(os.getloadavg()[0])
                for name, side in {PEER: peer, **ways}.items():
                    seen[name].append(one_round(side, connections, seconds))
            for name in ways:
                tell(report, f"{name}, {connections} connection(s)", seen[name], seen[PEER], loads)


def tell(report: Report, name: str, ours: list[Load], peer: list[Load], loads: list[float]) -> None:
    """One way's figures, each round's beside the peer's of that round."""
    of_both = ("per_second", "p99_ms", "cpu_us")
    mine, theirs = ({of: [[getattr(load, of)] for load in side] for of in of_both} for side in (ours, peer))
    rate, late, cpu = ((mine[of], {"peer_name": PEER, "peer": theirs[of], "loads": loads}) for of in of_both)
    report.rounds(name, "1/s", rate[0], at_least(LEAST_SHARE, "ratio"), **rate[1])
    report.rounds(f"{name}, p99", "ms", late[0], at_most(MOST_P99_MS), **late[1])
    report.rounds(f"{name}, CPU", "us", cpu[0], **cpu[1])


def main() -> None:
    """The command line."""
    given = parser(__doc__, rounds=5)
    given.add_argument("--peer", type=Path, help="the bare server; by default it is built")
    given.add_argument("--seconds", type=int, default=3)
    chosen = options(given)
    program = chosen.peer or ROOT / "target/release/examples/bare_actix"
    if not chosen.peer:
        built = ["cargo", "build", "--release", "--locked", "--example", "bare_actix"]
        subprocess.run(built, cwd=ROOT, check=True)
    report = Report("GETs", chosen.json)
    with tempfile.TemporaryDirectory(prefix="firesteel-gets-") as home:
        fake = Fake(Path(home) / "fake")
        server = Server({**fake.settings, "server.workers": WORKERS})
        try:
            session = server.api.create()
            session.wait("idle")
            session.ok("ledger 2")
            measure(report, server, session, program, chosen.rounds, chosen.seconds)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
