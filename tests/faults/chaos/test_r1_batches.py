"""R1: kill -9 at each point of a batch's life."""

from __future__ import annotations

from typing import Iterator

import pytest
from faults.chaos.batches import Batches
from faults.chaos.points import BATCH, Point


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batches]:
    """One for all points: what a kill leaves behind is there for the next."""
    batches = Batches(tmp_path_factory.mktemp("batches"))
    yield batches
    batches.finish()


@pytest.mark.parametrize("point", BATCH, ids=lambda point: point.name)
def test_kill(batches: Batches, point: Point, figures) -> None:
    """What was accepted is there, runs once to its own exit code, and what was deleted stays gone."""
    figures(batches.kill_at(point))
