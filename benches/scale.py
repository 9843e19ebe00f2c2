"""R26: a server whose store has seen much, beside one whose store is empty: how long until it listens, what
it has in memory, and how long a page of the history takes.

    benches/scale.py --binary target/release/firesteel
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from harness.filled import KEEP, fill  # noqa: E402
from harness.processes import rss_mib  # noqa: E402
from harness.server import Server  # noqa: E402
from harness.stub import Stub  # noqa: E402

# Sessions, statements, and the aim: seconds within which the server listens.
SIZES = [(1, 1, 1.0), (10_000, 1_000_000, 2.0), (100_000, 1_000_000, 10.0)]
PAGES = 200


def measure(home: Path, stub: Stub, sessions: int, statements: int) -> dict[str, float]:
    """One size: filled, started, asked."""
    state_dir = home / f"state{sessions}"
    fill(state_dir, sessions, statements, stub.settings)
    begun = time.perf_counter()
    server = Server({**stub.settings, **KEEP}, state_dir=state_dir)
    found = {"listening s": time.perf_counter() - begun}
    found["idle MiB"] = rss_mib(server.pid)
    times = []
    for number in range(PAGES):
        start = (0, sessions // 2, max(0, sessions - 20))[number % 3]
        asked = time.perf_counter()
        page = server.api.get("/history", params={"from": start, "size": 20})
        times.append((time.perf_counter() - asked) * 1000)
        assert page.json()["total"] == sessions, page.text
    times.sort()
    found["page p50 ms"] = times[len(times) // 2]
    found["page p99 ms"] = times[int(len(times) * 0.99)]
    found["after MiB"] = rss_mib(server.pid)
    server.stop()
    return found


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/firesteel")
    os.environ["FIRESTEEL_TEST_BIN"] = str(parser.parse_args().binary.resolve())
    print(f"load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="firesteel-scale-") as home:
        stub = Stub(Path(home) / "stub")
        for sessions, statements, limit in SIZES:
            found = measure(Path(home), stub, sessions, statements)
            figures = ", ".join(f"{name} {value:.3g}" for name, value in found.items())
            size = f"{sessions:>7} sessions, {statements:>7} statements"
            print(f"{size}: {figures} (aim: {limit:g} s)", flush=True)


if __name__ == "__main__":
    main()
