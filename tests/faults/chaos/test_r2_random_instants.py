"""R2: kill -9 at random instants under load; a run with too little of it is void."""

from __future__ import annotations

import time

from faults.chaos.history import ACCEPTED
from faults.chaos.plan import INSTANTS, rng
from faults.chaos.traffic import Canceller, Poster
from faults.chaos.world import World
from harness.chance import SEED
from harness.server import binary

ACCEPTED_LEAST = 50 * INSTANTS
RATE_LEAST = 50.0
"""Accepted in each second that there was a server to take statements."""

POSTERS = 4


def gaps(instants: int) -> list[float]:
    """Seconds from each start to its kill: from 0.2 to 3, short ones more often than long ones."""
    random = rng("R2")
    return [0.2 * 15 ** (random.random() ** 2) for _ in range(instants)]


def test_random_instants(figures) -> None:
    """Of what was accepted nothing is lost, run twice or mixed up; drivers stay, and no session dies."""
    world = World("R2", binary())
    begun, up = time.monotonic(), 0.0
    for _ in range(POSTERS):
        world.act(Poster(world, world.session()))
    world.act(Canceller(world, world.session()))
    kills = 0
    for gap in gaps(INSTANTS):
        world.gate.open()
        opened = time.monotonic()
        time.sleep(gap)
        world.kill()
        up += time.monotonic() - opened
        kills += 1
        assert world.start(), "the server died by itself"
        assert world.recover(), "the server died by itself"
        world.assert_well()
    world.dismiss()
    world.assert_well()
    accepted = world.history.count(ACCEPTED)
    rate = accepted / up
    took = time.monotonic() - begun
    drivers = len(world.ledger.drivers)
    figures(
        f"R2: {kills} kills (seed {SEED}) in {took:.0f} s, {accepted} statements accepted, {rate:.0f} a "
        f"second while there was a server, {drivers} drivers, all the same to the end; {world.times()}"
    )
    world.finish()
    assert kills == INSTANTS
    assert accepted >= ACCEPTED_LEAST, f"void: only {accepted} statements were accepted"
    assert rate >= RATE_LEAST, f"void: only {rate:.0f} statements a second were accepted"
