"""Random numbers of the tests: the same in each ordinary run, so that a new failure is the change's doing."""

from __future__ import annotations

import os
import random

SEED = int(os.environ.get("FIRESTEEL_TEST_SEED") or 1)
"""`make chaos`, `make fuzz` and `make soak` take another for each run and print it."""


def seeded() -> random.Random:
    """Chance that FIRESTEEL_TEST_SEED sets, and which stands in the test's output."""
    print(f"FIRESTEEL_TEST_SEED={SEED}")
    return random.Random(SEED)
