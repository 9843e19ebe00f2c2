"""How quickly printed output is drained, beside a plain reader and `cat` of the same code's in the same run,
and what it costs the server's memory. A statement counts from its POST until its result is there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

from bench import MASTER, QUIET, ROOT
from harness.api import Session
from harness.processes import forget_peak, rss_mib
from harness.server import Server, environment
from harness.spark import newest

LIMIT = 3600.0
"""Seconds that a statement may take."""

READ_BYTES = 64 << 10


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


def drained(server: Server, size: int, rounds: int, shapes: list[str]) -> dict[str, Any]:
    """Each shape by each of the peers in turn, for each round; other languages by themselves."""
    session = server.api.create(conf={"spark.ui.enabled": "false"})
    session.wait("idle")
    session.text("1")
    found: dict[str, Any] = {}
    for shape in (shape for shape in SHAPES if shape in shapes):
        source = code(shape, size)
        peers: dict[str, Callable[[], Any]] = {
            "firesteel": lambda source=source: statement(session, source),
            "plain reader": lambda source=source: read_by_us(source),
            "| cat": lambda source=source: through_cat(source),
        }
        found[shape] = in_turn(server, peers, size, rounds)
        print(row(shape, found[shape]), flush=True)
    for name, kind, source in (language for language in LANGUAGES if language[0] in shapes):
        source = source.format(pieces=size // 65536)
        session.run("1", kind)
        peers = {"firesteel": lambda source=source, kind=kind: statement(session, source, kind)}
        found[name] = in_turn(server, peers, size, rounds)
        print(row(name, found[name]), flush=True)
    session.delete()
    return found


def in_turn(server: Server, peers: dict[str, Callable[[], Any]], size: int, rounds: int) -> dict[str, Any]:
    """The rates of each, and the most that the server's memory has risen by."""
    before = rss_mib(server.pid)
    forget_peak(server.pid)
    rates: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, once in peers.items():
            rates[name].append(rate(size, once))
    return {"rates": rates, "server_rise_mib": rss_mib(server.pid, peak=True) - before}


def heading(size: int) -> str:
    """What stands above the rows."""
    return (
        f"output of {size / 1e9:g} GB, drained, MB/s\n"
        f"{'':22} {'firesteel':>10} {'reader':>8} {'| cat':>8} {'ours/reader':>12} {'server':>10}"
    )


def row(shape: str, found: dict[str, Any]) -> str:
    """The figures of one shape: medians in MB/s, ours to the plain reader's, and memory."""
    rates = {name: statistics.median(each) for name, each in found["rates"].items()}
    reader, cat = rates.get("plain reader"), rates.get("| cat")
    cells = [f"{reader:8.0f} {cat:8.0f}" if reader and cat else " " * 17]
    cells.append(f"{rates['firesteel'] / reader:12.2f}" if reader else " " * 12)
    return f"{shape:22} {rates['firesteel']:10.0f} {' '.join(cells)} {found['server_rise_mib']:+8.1f} MiB"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/firesteel")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="how much is printed, such as 10")
    every = [*SHAPES, *(name for name, _kind, _source in LANGUAGES)]
    parser.add_argument("--shapes", nargs="+", choices=every, default=every)
    parser.add_argument("--json", type=Path, default=ROOT / "target/bench-output.json")
    given = parser.parse_args()
    os.environ["FIRESTEEL_TEST_BIN"] = str(given.binary.resolve())
    size = int(given.gigabytes * 1e9)
    load = os.getloadavg()[0]
    print(heading(size), flush=True)
    server = Server({**newest().plain_settings, "spark.master": MASTER})
    try:
        found = drained(server, size, given.rounds, given.shapes)
    finally:
        server.stop()
    if load > QUIET:
        print(f"load {load:.2f} at the start: trust the ratios only")
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps({"bytes": size, "load": load, "drained": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
