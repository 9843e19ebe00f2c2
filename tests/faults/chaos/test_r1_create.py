"""R1: kill -9 at each point of a session's making."""

from __future__ import annotations

from typing import Iterator

import pytest
from faults.chaos.points import CREATE, Point
from faults.chaos.rounds import kill_at
from faults.chaos.world import World
from harness.server import failpoints_binary


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One for all points: what a kill leaves behind is there for the next."""
    world = World("R1-create", failpoints_binary())
    yield world
    world.finish()


@pytest.mark.parametrize("point", CREATE, ids=lambda point: point.name)
def test_kill(world: World, point: Point, figures) -> None:
    """Nothing accepted is lost, run twice or mixed up; no driver changes; sessions are usable again."""
    figures("R1 " + kill_at(world, point))
