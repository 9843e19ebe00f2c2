"""Rounds of kills: a start that ends at a point, clients that lead there, a start that recovers."""

from __future__ import annotations

from typing import Callable

from faults.chaos.plan import SEEDS, rng
from faults.chaos.points import Point
from faults.chaos.traffic import Actor, Canceller, Creator, Ender, Poster
from faults.chaos.world import World
from harness.chance import SEED


def nothing(_world: World) -> None:
    """Nothing is to be done before a start."""


def stable_sessions(world: World, count: int) -> list:
    """Sessions that live as long as the world."""
    while len(world.stable) < count:
        world.session()
    return world.stable[:count]


def clients(world: World, traffic: str) -> list[Actor]:
    """Those that lead to a point, and one that only goes on as usual. Sessions outlive the point."""
    first, second, third = stable_sessions(world, 3)
    wanted: list[Actor] = [Poster(world, first)]
    if traffic in ("posters", ""):
        wanted += [Poster(world, second), Canceller(world, third)]
    elif traffic == "cancellers":
        wanted += [Canceller(world, second), Canceller(world, third)]
    elif traffic == "creators":
        wanted += [Creator(world, f"creator-{number}") for number in range(2)]
    elif traffic == "enders":
        wanted += [Ender(world, f"ender-{number}") for number in range(2)]
    return wanted


def kill_at(world: World, point: Point, prepare: Callable[[World], None] = nothing) -> str:
    """`SEEDS` kills at one point, each followed by a start and its checks.

    Gives the figures in words; the last server runs on.
    """
    random = rng("R1", point.name)
    statements, starts = len(world.history.by_nonce), world.server.starts
    world.act(*clients(world, point.traffic))
    try:
        for _ in range(SEEDS):
            # Sessions that come back pass some points too: mostly the plan means those that are made.
            back = world.count_live() if point.comes_back and random.random() < 0.7 else 0
            skip = back + random.randrange(point.most)
            world.kill()
            prepare(world)
            kill_once(world, point, skip)
            if not point.traffic:
                # So that there is something to be taken back the next time.
                world.work(random.uniform(0.02, 0.2))
            world.assert_well()
    finally:
        world.revive()
        world.dismiss()
    assert world.recover(), "the server died though nothing was to kill it"
    world.assert_well()
    statements, starts = len(world.history.by_nonce) - statements, world.server.starts - starts
    counts = f"{SEEDS} kills (seed {SEED}), {statements} statements, {starts} starts"
    return f"{point.name}: {counts}; {world.times()}"


def kill_once(world: World, point: Point, skip: int) -> None:
    """One start that ends at the point, by the server's own hand."""
    lives = world.start(FAILPOINTS=f"{point.name}={skip}*off->return")
    if not point.traffic:
        assert not lives, f"{point.name} was not reached: the run is void"
        world.revive()
        assert world.recover(), "the server died though nothing was to kill it"
    elif lives and world.recover():
        world.gate.open()
        world.await_death(f"{point.name} (after {skip})")
