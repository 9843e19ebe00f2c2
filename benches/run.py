"""Runs the parts of the benchmark, one after the other, and makes one report of their figures.

    benches/run.py --binary target/release/firesteel [PART...] [-- OPTION...]

A part is the name of a script here. Without any, all but the long ones run; options after `--` go to each
part. Writes benches/report.md and benches/report.json. The exit status is 1 when a part failed; a missed
aim is no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import ROOT, parser
from harness.server import environment
from harness.spark import sparks
from report import QUIET, Figure, page

HERE = Path(__file__).resolve().parent
PARTS: dict[str, list[str]] = {
    "gets": [],
    "trips": [],
    "kinds": [],
    "start": [],
    "pool": [],
    "storm": [],
    "crowd": [],
    "flood": [],
    "footprint": [],
    "scale": [],
    "outputs": ["--sessions", "20", "--statements", "50", "--seconds", "10"],
    "output": [
        "--gigabytes",
        "0.5",
        "--shapes",
        "lines of 100 bytes",
        "lines of 64 KiB",
        "Scala, 64 KiB",
        "R, 64 KiB",
    ],
    "results": ["--mb", "500"],
}
"""Each with its options when all of them run."""

LONG = {"soak": []}
"""Those that run when they are asked for."""

SETTLE_SECONDS = 30.0
"""How long a part waits for the load that the one before has left."""


def settle(seconds: float) -> None:
    """Wait until the machine is quiet, at most so long."""
    deadline = time.monotonic() + seconds
    while os.getloadavg()[0] > QUIET * 0.7 and time.monotonic() < deadline:
        time.sleep(1)


def read_proc(path: str, key: str) -> str:
    """The value of the first line that begins with a key."""
    lines = Path(path).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "unknown")


def machine() -> dict[str, Any]:
    """What the figures were taken on, without names or paths."""
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    memory = int(read_proc("/proc/meminfo", "MemTotal").split()[0]) / (1 << 20)
    return {
        "time": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, {read_proc('/proc/cpuinfo', 'model name')}, {memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Java": java.splitlines()[0] if java else "unknown",
        "Spark": ", ".join(spark.version for spark in sparks()),
    }


def run(part: str, options: list[str], binary: Path, home: Path) -> tuple[list[Figure], bool]:
    """A part's figures, and whether it ended well."""
    told = home / f"{part}.json"
    argv = [sys.executable, str(HERE / f"{part}.py"), "--binary", str(binary), "--json", str(told), *options]
    status = subprocess.run(argv, check=False, env=environment(**keep())).returncode
    entries = json.loads(told.read_text()) if told.is_file() else []
    return [Figure.read({"section": part.capitalize(), **entry}) for entry in entries], status == 0


def keep() -> dict[str, str]:
    """Variables that choose what is tested."""
    return {name: value for name, value in os.environ.items() if name.startswith("FIRESTEEL_TEST_")}


def chosen_parts(given: argparse.Namespace) -> dict[str, list[str]]:
    """Those to run, with their options."""
    known = {**PARTS, **LONG}
    unknown = sorted(set(given.parts) - set(known))
    if unknown:
        sys.exit(f"unknown part {', '.join(unknown)}: there are {', '.join(known)}")
    if not given.parts:
        return {part: options for part, options in PARTS.items() if (HERE / f"{part}.py").is_file()}
    return dict.fromkeys(given.parts, given.options)


def main() -> None:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("parts", nargs="*", metavar="PART")
    made.add_argument("--settle", type=float, default=SETTLE_SECONDS, help="seconds a part waits for quiet")
    ours, _, options = " ".join(sys.argv[1:]).partition(" -- ")
    given = made.parse_args(ours.split())
    given.options = options.split()
    out = given.json or HERE / "report.json"
    figures: list[Figure] = []
    failed = []
    with tempfile.TemporaryDirectory(prefix="firesteel-bench-") as home:
        for part, own in chosen_parts(given).items():
            settle(given.settle)
            begun = time.monotonic()
            found, is_well = run(part, own, given.binary.resolve(), Path(home))
            print(f"  ({time.monotonic() - begun:.0f} s)", flush=True)
            figures += found
            failed += [] if is_well else [part]
            write(out, figures, failed)
    print(f"the report: {os.path.relpath(out.with_suffix('.md'), ROOT)}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def write(out: Path, figures: list[Figure], failed: list[str]) -> None:
    """What there is so far, as JSON and as a page."""
    about = machine()
    entries = [vars(figure) for figure in figures]
    out.write_text(json.dumps({"machine": about, "failed": failed, "figures": entries}, indent=2) + "\n")
    out.with_suffix(".md").write_text(page(figures, about, failed))


if __name__ == "__main__":
    main()
