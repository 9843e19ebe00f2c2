"""R1: kill -9 at each point of a warm driver's way to its session."""

from __future__ import annotations

from typing import Iterator

import pytest
from faults.chaos.points import POOL, Point
from faults.chaos.rounds import kill_at
from faults.chaos.world import World
from harness.server import failpoints_binary

WARM = {"pool.size": 2, "pool.refill_delay": "0s", "pool.memory_available": "0B"}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One for all points; warm drivers are there for the sessions that its clients make."""
    world = World("R1-pool", failpoints_binary(), WARM)
    yield world
    world.kill()
    assert world.start(FIRESTEEL_POOL__SIZE="0") and world.recover()
    world.finish()


@pytest.mark.parametrize("point", POOL, ids=lambda point: point.name)
def test_kill(world: World, point: Point, figures) -> None:
    """Nothing accepted is lost or run twice, no driver serves two, and none is left that is nobody's."""
    figures("R1 " + kill_at(world, point))
