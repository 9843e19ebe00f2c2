"""R26: a server whose store has seen much, beside one whose store is empty: how long until it listens, what
it has in memory, and how long a page of the history takes.

    benches/scale.py --binary target/release/firesteel
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from common import options, parser
from harness.filled import KEEP, fill
from harness.processes import rss_mib
from harness.server import Server
from harness.stub import Stub
from report import Report, at_most

# Sessions, statements, and the aim: seconds within which the server listens.
SIZES = [(1, 1, 1.0), (10_000, 1_000_000, 2.0), (100_000, 1_000_000, 10.0)]
PAGES = 200


def measure(report: Report, home: Path, stub: Stub, sessions: int, statements: int, limit: float) -> None:
    """One size: filled, started, asked."""
    name = f"{sessions:,} sessions, {statements:,} statements"
    state_dir = home / f"state{sessions}"
    fill(state_dir, sessions, statements, stub.settings)
    begun = time.perf_counter()
    server = Server({**stub.settings, **KEEP}, state_dir=state_dir)
    report.value(f"{name}: listening", "s", time.perf_counter() - begun, at_most(limit))
    report.value(f"{name}: memory, idle", "MiB", rss_mib(server.pid))
    times = []
    for number in range(PAGES):
        start = (0, sessions // 2, max(0, sessions - 20))[number % 3]
        asked = time.perf_counter()
        page = server.api.get("/history", params={"from": start, "size": 20})
        times.append((time.perf_counter() - asked) * 1000)
        assert page.json()["total"] == sessions, page.text
    report.rounds(f"{name}: a page of the history", "ms", [times])
    report.value(f"{name}: memory, after {PAGES} pages", "MiB", rss_mib(server.pid))
    server.stop()


def main() -> None:
    """Each size."""
    given = options(parser(__doc__))
    report = Report("A store that has seen much", given.json)
    with tempfile.TemporaryDirectory(prefix="firesteel-scale-") as home:
        stub = Stub(Path(home) / "stub")
        for sessions, statements, limit in SIZES:
            measure(report, Path(home), stub, sessions, statements, limit)


if __name__ == "__main__":
    main()
