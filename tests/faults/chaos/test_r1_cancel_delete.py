"""R1: kill -9 at each point of a cancel's and of a delete's way."""

from __future__ import annotations

from typing import Iterator

import pytest
from faults.chaos.points import CANCEL, DELETE, Point
from faults.chaos.rounds import kill_at
from faults.chaos.world import World
from harness.server import failpoints_binary


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One for all points: what a kill leaves behind is there for the next."""
    world = World("R1-cancel_delete", failpoints_binary())
    yield world
    world.finish()


@pytest.mark.parametrize("point", CANCEL + DELETE, ids=lambda point: point.name)
def test_kill(world: World, point: Point, figures) -> None:
    """Nothing accepted is lost, run twice or mixed up; no driver changes; sessions are usable again."""
    figures("R1 " + kill_at(world, point))
