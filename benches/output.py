"""How quickly printed output is drained, beside a plain reader and `cat` of the same code's in the same run,
and what it costs the server's memory. A statement counts from its POST until its result is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import Any, Callable

from common import MASTER, options, parser
from harness.api import Session
from harness.processes import forget_peak, rss_mib
from harness.server import Server, environment
from harness.spark import newest
from report import Report, at_least

OURS = "firesteel"
LIMIT = 3600.0
"""Seconds that a statement may take."""

READ_BYTES = 64 << 10
LEAST = 110.0
"""MB/s: ten times what a Livy does."""


def code(shape: str, size: int) -> str:
    """Python that prints so many bytes."""
    if shape == "lines of 100 bytes":
        return f"line = 'x' * 99\nfor _ in range({size} // 100): print(line)"
    if shape == "lines of 64 KiB":
        return f"line = 'x' * 65535\nfor _ in range({size} // 65536): print(line)"
    if shape == "one line":
        return f"piece = 'x' * 65536\nfor _ in range({size} // 65536): print(piece, end='')"
    assert shape == "binary"
    return (
        "import sys\npiece = bytes(range(256)) * 256\n"
        f"for _ in range({size} // 65536): _n = sys.stdout.buffer.write(piece)"
    )


SHAPES = ("lines of 100 bytes", "lines of 64 KiB", "one line", "binary")
SCALA = 'val line = "x" * 65535; for (_ <- 1 to {pieces}) println(line)'
R = "line <- strrep('x', 65535); for (i in seq_len({pieces})) cat(line, '\\n', sep = '')"
LANGUAGES = (("Scala, 64 KiB", "spark", SCALA), ("R, 64 KiB", "sparkr", R))


def read_by_us(source: str) -> int:
    """A plain reader: the bytes of the same code's output, read from a pipe and dropped."""
    argv = [sys.executable, "-c", source]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        count = 0
        while data := os.read(process.stdout.fileno(), READ_BYTES):
            count += len(data)
    return count


def through_cat(source: str) -> int:
    """The same through `cat` into /dev/null; gives nothing to count."""
    script = f'"{sys.executable}" -c "$1" | cat > /dev/null'
    subprocess.run(["sh", "-c", script, "sh", source], check=True, env=environment())
    return 0


def statement(session: Session, source: str, kind: str = "pyspark") -> None:
    """The same as a statement, which must be cut and end well."""
    told = session.run(source, kind, limit=LIMIT)
    assert told["output"]["status"] == "ok", told["output"]
    assert " cut: output.max_bytes is " in told["output"]["data"]["text/plain"]


def rate(size: int, once: Callable[[], Any]) -> float:
    """MB/s."""
    begun = time.perf_counter()
    once()
    return size / (time.perf_counter() - begun) / 1e6


def drained(report: Report, server: Server, size: int, rounds: int, shapes: list[str]) -> None:
    """Each shape by each of the peers in turn, for each round; other languages by themselves."""
    session = server.api.create(conf={"spark.ui.enabled": "false"})
    session.wait("idle")
    session.text("1")
    for shape in (shape for shape in SHAPES if shape in shapes):
        source = code(shape, size)
        peers: dict[str, Callable[[], Any]] = {
            OURS: lambda source=source: statement(session, source),
            "plain reader": lambda source=source: read_by_us(source),
            "| cat": lambda source=source: through_cat(source),
        }
        in_turn(report, f"{size / 1e9:g} GB, {shape}", server, peers, size, rounds)
    for name, kind, source in (language for language in LANGUAGES if language[0] in shapes):
        if kind == "sparkr" and not shutil.which("R"):
            print(f"  {name}: skipped, R is not installed")
            continue
        source = source.format(pieces=size // 65536)
        session.run("1", kind)
        peers = {OURS: lambda source=source, kind=kind: statement(session, source, kind)}
        in_turn(report, f"{size / 1e9:g} GB, {name}", server, peers, size, rounds)
    session.delete()


def in_turn(
    report: Report, name: str, server: Server, peers: dict[str, Callable[[], Any]], size: int, rounds: int
) -> None:
    """The rates of each, and the most that the server's memory has risen by."""
    before = rss_mib(server.pid)
    forget_peak(server.pid)
    rates: dict[str, list[list[float]]] = {peer: [] for peer in peers}
    loads = []
    for _ in range(rounds):
        loads.append(os.getloadavg()[0])
        for peer, once in peers.items():
            rates[peer].append([rate(size, once)])
    ours = rates.pop(OURS)
    for peer, theirs in rates.items():
        aims = [at_least(LEAST)] if peer == "plain reader" else []
        report.rounds(name, "MB/s", ours, *aims, peer_name=peer, peer=theirs, loads=loads)
    if not rates:
        report.rounds(name, "MB/s", ours, loads=loads)
    rise = rss_mib(server.pid, peak=True) - before
    report.value(f"{name}: server's memory rose by", "MiB", rise)


def main() -> None:
    """The command line."""
    given = parser(__doc__, rounds=3)
    given.add_argument("--gigabytes", type=float, default=1.0, help="how much is printed, such as 10")
    every = [*SHAPES, *(name for name, _kind, _source in LANGUAGES)]
    given.add_argument("--shapes", nargs="+", choices=every, default=every)
    chosen = options(given)
    report = Report("Output, drained", chosen.json)
    server = Server({**newest().plain_settings, "spark.master": MASTER})
    try:
        drained(report, server, int(chosen.gigabytes * 1e9), chosen.rounds, chosen.shapes)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
