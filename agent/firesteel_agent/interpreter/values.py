"""Values as JSON that every strict parser reads: no NaN, no lone surrogate, no bottomless nesting.

Calls nobody.
"""

import json
from typing import Any

MAX_DEPTH = 100
"""Levels of nesting; strict parsers stop at 128."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dumps(value: Any) -> bytes:
    """JSON in UTF-8. NaN and infinities are null. Raises TypeError or ValueError for what JSON can't say."""
    return _encode(clean(value)).encode("utf-8")


def clean(value: Any, depth: int = 0) -> Any:
    """A copy of plain dicts, lists and scalars."""
    if isinstance(value, str):
        return _text(value)
    if value is None or value is True or value is False:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        value = float(value)
        return value if value - value == 0 else None
    if depth >= MAX_DEPTH:
        raise ValueError(f"the value is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return {_key(key): clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item, depth + 1) for item in value]
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _text(key)
    if key is None or isinstance(key, (bool, int, float)):
        return _encode(clean(key))
    raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")


def _text(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return str(text)
