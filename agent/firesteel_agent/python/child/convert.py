"""What values of well-known types are in JSON: dates, decimals, enums, dataclasses, NumPy's and pandas' own.

Calls nobody; imports neither NumPy nor pandas, and knows their types by name.
"""

import dataclasses
import datetime
import enum
import uuid
from typing import Any


def plain(value: Any) -> Any:
    """The value as a dict, list or scalar, perhaps with more to convert inside; itself if unknown."""
    if isinstance(value, enum.Enum):
        return value.value
    if is_missing(value):
        return None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    library, name = library_of(value), type(value).__name__
    if library == "numpy":
        return value.tolist() if hasattr(value, "tolist") else value
    if library == "pandas" and name == "DataFrame":
        return value.to_dict("records")
    if library == "pandas" and hasattr(value, "tolist"):
        return value.tolist()
    return value


def least(value: Any) -> int:
    """The fewest bytes that what NumPy's arrays and pandas' objects hold takes as JSON; 0 for all else."""
    if library_of(value) not in ("numpy", "pandas"):
        return 0
    count = getattr(value, "size", 0)
    return 2 * int(count) if isinstance(count, int) else 0


def library_of(value: Any) -> str:
    """The package that the value's type is from."""
    module = getattr(type(value), "__module__", "")
    return module.partition(".")[0] if isinstance(module, str) else ""


def is_missing(value: Any) -> bool:
    """Whether it is pandas' own mark of a missing value."""
    return type(value).__name__ in ("NaTType", "NAType") and library_of(value) == "pandas"
