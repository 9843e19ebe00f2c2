"""How much is done and in which order: the tier, the seed, and random numbers that follow from it."""

from __future__ import annotations

import os
import random
from typing import NamedTuple


class Tier(NamedTuple):
    """The sizes of one tier."""

    number: int
    seeds: int
    """Kills at each point (R1)."""
    instants: int
    """Kills at random instants (R2)."""
    is_measured: bool
    """Whether the stated times are asserted, not only told: it takes a quiet machine and a release build."""


TIERS = {
    "1": Tier(1, 25, 100, False),
    "2": Tier(2, 50, 200, True),
    "3": Tier(3, 25, 100, True),
}


def tier() -> Tier:
    """What FIRESTEEL_TEST_TIER asks for; without it, `make test`'s."""
    return TIERS[os.environ.get("FIRESTEEL_TEST_TIER") or "1"]


def seed() -> str:
    """What FIRESTEEL_TEST_SEED says; without it, always the same."""
    return os.environ.get("FIRESTEEL_TEST_SEED") or "1"


def rng(*words: object) -> random.Random:
    """Numbers of their own for each purpose, so that no thread's pace changes another's plan."""
    return random.Random("/".join(map(str, (seed(), *words))))


def percentile(values: list[float], share: float) -> float:
    """The value below which that share lies; 0 without values."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0
