"""GETs of a statement and of a session's state beside a bare actix server, which answers the same body from a
map (`benches/peer/bare_actix.rs`), in turns.

    benches/gets.py --binary target/release/firesteel [--rounds 5] [--seconds 3] [--json FILE]

The load comes from `wrk`, else from `oha`, which is built into target/bench-tools when neither is there; it
has the same cores. Drivers are fake. Also: a client that names the answer it has (304).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from harness.api import Session  # noqa: E402
from harness.fake import Fake  # noqa: E402
from harness.processes import rss_mib  # noqa: E402
from harness.server import Server  # noqa: E402

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


def spread(values: list[float], digits: int = 2) -> str:
    """Minimum, median and maximum."""
    figures = (min(values), statistics.median(values), max(values))
    return " / ".join(f"{figure:,.{digits}f}" for figure in figures)


def figure(name: str, unit: str, ours: list[float], peer: list[float], ratio: float, aim: str) -> dict:
    """One entry of the report."""
    return {
        "name": name,
        "unit": unit,
        "ours": statistics.median(ours),
        "ours_min": min(ours),
        "ours_max": max(ours),
        "peer": statistics.median(peer),
        "peer_name": "bare actix",
        "ratio": round(ratio, 3),
        "aim": aim,
        "rounds": len(ours),
    }


def measure(server: Server, session: Session, program: Path, rounds: int, seconds: int) -> Iterator[dict]:
    """Every figure, printed as it comes."""
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
    print(f"{tool}, {len(statement.content)} bytes, {WORKERS} workers each, {seconds} s a round")
    with bare_actix(program, statement.content) as peer:
        for connections in CONNECTIONS:
            seen: dict[str, list[Load]] = {name: [] for name in ("bare", *ways)}
            loads = []
            for _ in range(rounds):
                loads.append(os.getloadavg()[0])
                for name, side in {"bare": peer, **ways}.items():
                    seen[name].append(one_round(side, connections, seconds))
            print(
                f"\n{connections} connection(s), {rounds} rounds, load average {min(loads)} to {max(loads)}"
            )
            yield from told(seen, connections)


def told(seen: dict[str, list[Load]], connections: int) -> Iterator[dict]:
    """What the rounds with so many connections gave."""
    bare = seen["bare"]
    for name, rounds in seen.items():
        rates, late = [each.per_second for each in rounds], [each.p99_ms for each in rounds]
        # Of each round with the peer's own, so that what the machine did meanwhile counts for both.
        share = statistics.median(each.per_second / other.per_second for each, other in zip(rounds, bare))
        p50 = statistics.median(each.p50_ms for each in rounds)
        cpu = [each.cpu_us for each in rounds]
        print(
            f"  {name:26}{spread(rates, 0)} a second, {share:.2f} of bare; p50 {p50:.3f} ms; "
            f"p99 {spread(late)} ms; CPU {spread(cpu, 1)} us each"
        )
        if name == "bare":
            continue
        name = f"{name}, {connections} connection(s)"
        peers = [each.per_second for each in bare]
        yield figure(name, "1/s", rates, peers, share, f">= {LEAST_SHARE} of the peer")
        peers = [each.p99_ms for each in bare]
        ratio = statistics.median(late) / statistics.median(peers)
        yield figure(f"{name}, p99", "ms", late, peers, ratio, f"< {MOST_P99_MS} ms")
        peers = [each.cpu_us for each in bare]
        ratio = statistics.median(cpu) / statistics.median(peers)
        yield figure(f"{name}, CPU", "us", cpu, peers, ratio, "")


def main() -> None:
    """Print what was found, and write it down where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/firesteel")
    parser.add_argument("--peer", type=Path, help="the bare server; by default it is built")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    program = arguments.peer or ROOT / "target/release/examples/bare_actix"
    if not arguments.peer:
        subprocess.run(
            ["cargo", "build", "--release", "--locked", "--example", "bare_actix"], cwd=ROOT, check=True
        )
    with tempfile.TemporaryDirectory(prefix="firesteel-gets-") as home:
        fake = Fake(Path(home) / "fake")
        server = Server({**fake.settings, "server.workers": WORKERS}, program=arguments.binary)
        try:
            session = server.api.create()
            session.wait("idle")
            session.ok("ledger 2")
            figures = list(measure(server, session, program, arguments.rounds, arguments.seconds))
            print(f"\nserver: {rss_mib(server.pid):.1f} MiB resident")
        finally:
            server.stop()
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
