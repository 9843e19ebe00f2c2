"""Calls Airflow's hooks in test_airflow.py, with the Python of .venv/airflow. Each line of the input is a
class, a method and its arguments; each line of the output that begins with `answer` what came of it."""

from __future__ import annotations

import asyncio
import enum
import json
import sys
from typing import Any

from airflow.providers.apache.livy.hooks import livy


def call(hook: str, method: str, arguments: dict[str, Any]) -> Any:
    """What it gives, or the exception it raises."""
    try:
        given = getattr(getattr(livy, hook)(), method)(**arguments)
        return asyncio.run(given) if asyncio.iscoroutine(given) else given
    except Exception as error:
        return {"raised": type(error).__name__, "message": str(error)}


def plain(value: Any) -> Any:
    """For JSON."""
    return value.value if isinstance(value, enum.Enum) else str(value)


for line in sys.stdin:
    print("answer", json.dumps(call(*json.loads(line)), default=plain), flush=True)
