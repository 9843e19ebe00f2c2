"""Values as JSON that every strict parser reads: no NaN, no lone surrogate, no bottomless nesting.

Calls convert. The text is written here, since user code may have changed the json module.
"""

import decimal
import sys
from json.encoder import encode_basestring
from typing import Any, Callable

from .convert import least, plain

MAX_DEPTH = 100
"""Levels of nesting; strict parsers stop at 128."""

_quote = encode_basestring

HINTS = {
    "set": "make a list of it, as sorted() does",
    "frozenset": "make a list of it, as sorted() does",
    "dict_keys": "make a list of it",
    "dict_values": "make a list of it",
    "generator": "make a list of it",
    "bytes": "decode it to a str",
    "bytearray": "decode it to a str",
    "DataFrame": "take rows of it first, as df.take(100) does",
    "RDD": "take elements of it first, as rdd.take(100) does",
    "PipelinedRDD": "take elements of it first, as rdd.take(100) does",
}
"""What helps with types that are often met and are not JSON."""


class TooLarge(Exception):
    """The JSON is longer than it may be: `seen` bytes, as far as it was written."""

    def __init__(self, seen: int):
        super().__init__(seen)
        self.seen = seen


def dumps(value: Any, limit: int = sys.maxsize) -> bytes:
    """JSON in UTF-8. NaN and infinities are null. Raises TypeError or ValueError for what JSON can't say.

    Raises `TooLarge` as soon as there are more than `limit` bytes: the value may be far larger.
    """
    parts: list = []
    size = 0

    def put(text: str) -> None:
        nonlocal size
        size += len(text)
        if size > limit:
            raise TooLarge(size)
        parts.append(text)

    _write(value, 0, put, limit)
    encoded = "".join(parts).encode("utf-8")
    if len(encoded) > limit:
        raise TooLarge(len(encoded))
    return encoded


def check(value: Any, limit: int) -> None:
    """Raise `TooLarge` for what is over the limit already by its size, before it is copied."""
    seen = len(value) if isinstance(value, (str, bytes, bytearray)) else least(value)
    if seen > limit:
        raise TooLarge(seen)


def _write(value: Any, depth: int, put: Callable[[str], None], limit: int) -> None:
    if isinstance(value, str) and len(value) > limit:
        raise TooLarge(len(value))
    scalar = _scalar(value)
    if scalar is not None:
        put(scalar)
        return
    if depth >= MAX_DEPTH:
        raise ValueError(f"the value is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        mark = "{"
        for key, item in value.items():
            put(f"{mark}{_quote(_key(key))}:")
            _write(item, depth + 1, put, limit)
            mark = ","
        put("}" if mark == "," else "{}")
    elif isinstance(value, (list, tuple)):
        mark = "["
        for item in value:
            put(mark)
            _write(item, depth + 1, put, limit)
            mark = ","
        put("]" if mark == "," else "[]")
    else:
        check(value, limit)
        converted = plain(value)
        if converted is value:
            name = type(value).__name__
            hint = f": {HINTS[name]}" if name in HINTS else ""
            raise TypeError(f"Object of type {name} is not JSON serializable{hint}")
        _write(converted, depth + 1, put, limit)


def _scalar(value: Any):
    """The JSON of a plain scalar; None for anything else."""
    if isinstance(value, str):
        return _quote(_text(value))
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        value = float(value)
        return float.__repr__(value) if value - value == 0 else "null"
    if isinstance(value, decimal.Decimal):  # With all its digits.
        return str(decimal.Decimal(value)) if value.is_finite() else "null"
    return None


def _key(key: Any) -> str:
    if not isinstance(key, str):
        scalar = _scalar(key)
        if scalar is not None:
            return scalar
        converted = plain(key)
        if converted is key or isinstance(converted, (list, dict)):
            raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")
        return _key(converted)
    return _text(key)


def _text(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return str.__str__(text)
