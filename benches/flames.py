"""Where the server's time goes: `perf` looks on while fake drivers' sessions are flooded with statements, or
while they are polled. Writes target/profile/NAME.svg, a flame graph, where inferno is there, else
target/profile/NAME.txt, the calls by their share.

    benches/flames.py [statements] [gets]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable

from common import ROOT, options, parser
from fakes import Faked, faked
from flood import Rates
from footprint import fill, read

HOME = ROOT / "target/profile"
RESULTS = 20
"""Of each session, where they are read."""


def statements(made: Faked, seconds: float) -> None:
    """Posted one after the other."""
    Rates(made.server, made.sessions, 4, "print 2").round(seconds)


def gets(made: Faked, seconds: float) -> None:
    """Of sessions and statements."""
    read(made, seconds, RESULTS)


LOADS: dict[str, Callable[[Faked, float], None]] = {"statements": statements, "gets": gets}


def profile(name: str, made: Faked, seconds: float) -> Path:
    """Look on while there is load; gives the file that tells."""
    HOME.mkdir(parents=True, exist_ok=True)
    data = HOME / f"{name}.data"
    # Frames are found by the unwind tables: the release build keeps no frame pointers.
    record = [
        "perf",
        "record",
        "--quiet",
        "--freq",
        "499",
        "--call-graph",
        "dwarf,16384",
        "--output",
        str(data),
    ]
    looking = subprocess.Popen([*record, "--pid", str(made.server.pid), "--", "sleep", str(seconds)])
    LOADS[name](made, seconds)
    if looking.wait() != 0:
        sys.exit("perf could not look: it needs root, or a kernel.perf_event_paranoid of 1 or less.")
    script = ["perf", "script", "--no-inline", "--input", str(data)]
    if shutil.which("inferno-flamegraph"):
        told = HOME / f"{name}.svg"
        line = f"{' '.join(script)} | inferno-collapse-perf | inferno-flamegraph > '{told}'"
        subprocess.run(["sh", "-c", line], check=True, stderr=subprocess.DEVNULL)
        return told
    told = HOME / f"{name}.txt"
    print("no flame graph without inferno: 'cargo install inferno' brings it")
    limits = ["--no-children", "--percent-limit", "0.5"]
    report = ["perf", "report", "--stdio", "--no-inline", *limits, "--input", str(data)]
    with told.open("w") as file:
        subprocess.run(report, check=True, stdout=file, stderr=subprocess.DEVNULL)
    return told


def main() -> None:
    """The command line."""
    given = parser(__doc__)
    given.add_argument("loads", nargs="*", choices=[*LOADS, []], help="all of them by default")
    given.add_argument("--sessions", type=int, default=20)
    given.add_argument("--seconds", type=float, default=10.0)
    chosen = options(given)
    with faked(chosen.sessions) as made:
        fill(made, RESULTS)
        for name in chosen.loads or LOADS:
            print(profile(name, made, chosen.seconds).relative_to(ROOT))


if __name__ == "__main__":
    main()
