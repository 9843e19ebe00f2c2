"""How much is done and in which order: sizes, the seed, and random numbers that follow from it."""

from __future__ import annotations

import os
import random

from harness.chance import SEED
from harness.volume import SCALE

IS_MEASURED = bool(os.environ.get("FIRESTEEL_TEST_MEASURED"))
"""Whether the stated times are asserted, not only told: it takes a quiet machine and a release build."""


def rounds(whole: int, ordinary: int) -> int:
    """How many: the plan's whole number, SCALE times, in `make chaos` and `make soak`; fewer in each
    `make test`."""
    return int((whole if IS_MEASURED or SCALE > 1 else ordinary) * SCALE)


SEEDS = rounds(25, 6)
"""Kills at each point (R1)."""

INSTANTS = rounds(100, 50)
"""Kills at random instants (R2), and rounds of kills on the way back (R3)."""


def rng(*words: object) -> random.Random:
    """Numbers of their own for each purpose, so that no thread's pace changes another's plan.

    The same seed makes the same plan; how far clients get before a kill is the machine's.
    """
    return random.Random("/".join(map(str, (SEED, *words))))


def percentile(values: list[float], share: float) -> float:
    """The value below which that share lies; 0 without values."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0
