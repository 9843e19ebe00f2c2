"""What runs is known by its number: statements count up from 0, jobs down from -1. Calls nobody."""

from typing import Optional

TRACE_KEY = "firesteel.traceparent"
"""The local property of Spark's jobs that names the trace which they belong to, as a `traceparent`."""


def is_job(number: int) -> bool:
    """Whether it is a job's."""
    return number < 0


def name_of(number: int) -> str:
    """Its name for people: jobs count from 1."""
    return f"job {-number}" if is_job(number) else f"statement {number}"


def group_of(number: int) -> str:
    """The name of its Spark job group."""
    return "firesteel-" + name_of(number).replace(" ", "-")


def description_of(number: int, trace: Optional[str]) -> str:
    """What Spark's UI says of its jobs: its name, and the id of its trace where that has a `traceparent`."""
    return name_of(number) if trace is None else f"{name_of(number)}, trace {trace.split('-')[1]}"
