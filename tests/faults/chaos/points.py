"""The points at which the server kills itself (`src/failpoint.rs`), and the traffic that leads to each."""

from __future__ import annotations

from typing import NamedTuple


class Point(NamedTuple):
    """One of them."""

    name: str
    traffic: str
    """Who is busy: posters, cancellers, creators, enders or batches; nobody where no client is needed."""
    most: int
    """The plan lets fewer than so many pass before the kill."""
    comes_back: bool = False
    """Whether sessions that are taken back pass it as well: then the plan lets so many more pass."""


def _points(stage: str, steps: str, traffic: str, most: int, comes_back: bool = False) -> tuple[Point, ...]:
    return tuple(Point(f"{stage}.{step}", traffic, most, comes_back) for step in steps.split())


CREATE = (
    *_points("create", "parsed inserted spawned named answered", "creators", 3),
    *_points("create", "accepted handshaken idle_stored", "creators", 3, True),
)
STATEMENT = _points(
    "statement",
    "parsed inserted answered sent acked started result_received result_stored result_acked",
    "posters",
    25,
)
CANCEL = _points("cancel", "stored sent confirmed escalated", "cancellers", 6)
DELETE = _points("delete", "marked terminated killed reaped files_removed row_closed", "creators", 3)
RETENTION = _points("retention", "selected deleted", "enders", 3)
MIGRATION = _points("migration", "begun half committed", "", 1)
RECOVERY = _points("recovery", "scanned half", "", 1)
POOL = _points("pool", "claimed bound refilled", "creators", 3)
BATCH = _points("batch", "inserted answered named launched exited end_stored cleared deleted", "batches", 4)

ALL = CREATE + STATEMENT + CANCEL + DELETE + RETENTION + MIGRATION + RECOVERY + POOL + BATCH
