"""No kill point of the server is left out of R1, and none of R1's is gone from the server."""

from __future__ import annotations

import re

from faults.chaos.points import ALL
from harness.server import ROOT

PLACED = re.compile(r'(?:kill_point!|answered)\(\s*"([a-z_]+\.[a-z_]+)"')


def test_all_points_are_killed_at() -> None:
    """The 45 of them."""
    placed = {name for path in (ROOT / "src").rglob("*.rs") for name in PLACED.findall(path.read_text())}
    assert placed == {point.name for point in ALL}
    assert len(ALL) == 45
