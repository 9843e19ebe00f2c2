"""R1: kill -9 at each point of what a server does by itself: recovery, migration, retention."""

from __future__ import annotations

from typing import Iterator

import pytest
from faults.chaos.older import make_older
from faults.chaos.points import MIGRATION, RECOVERY, RETENTION, Point
from faults.chaos.rounds import kill_at, nothing
from faults.chaos.world import World
from harness.server import failpoints_binary

QUICK_RETENTION = {"retention.sessions": 2, "retention.interval": "50ms", "session.ended_shown": "100ms"}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One for all points: what a kill leaves behind is there for the next."""
    world = World("R1-start", failpoints_binary(), QUICK_RETENTION)
    yield world
    world.finish()


def of_the_first_version(world: World) -> None:
    """What clients don't know is asked for first: the first version remembers no keys."""
    world.revive()
    assert world.recover(), "the server died though nothing was to kill it"
    world.kill()
    make_older(world.server.database)


@pytest.mark.parametrize("point", RECOVERY + MIGRATION + RETENTION, ids=lambda point: point.name)
def test_kill(world: World, point: Point, figures) -> None:
    """Nothing accepted is lost, run twice or mixed up; no driver changes; sessions are usable again."""
    prepare = of_the_first_version if point in MIGRATION else nothing
    figures("R1 " + kill_at(world, point, prepare))
