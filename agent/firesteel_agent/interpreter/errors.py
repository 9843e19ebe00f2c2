"""Exceptions as Livy tells them: name, value, and the traceback without our frames. Calls values."""

import traceback
from typing import List, Optional

from .values import dumps

MAX_TEXT = 256 << 10
"""Characters that are kept of an exception's value, and of an entry of its traceback."""

MAX_ENTRIES = 1000


class UnknownMagic(Exception):
    """A line `%name` that names no magic."""


def describe(error: BaseException) -> bytes:
    """The JSON of `ename`, `evalue` and `traceback`."""
    name = type(error).__name__
    return plain(name, str(error), _entries(error))


def plain(name: str, value: str, entries: Optional[List[str]] = None) -> bytes:
    """The same from its parts."""
    entries = [f"{name}: {value}\n"] if entries is None else entries
    return dumps({"ename": name, "evalue": _cut(value), "traceback": [_cut(entry) for entry in entries]})


def _entries(error: BaseException) -> List[str]:
    """The header, the frames below the statement's own, and the exception itself; no chained causes."""
    if isinstance(error, UnknownMagic):
        return [f"UnknownMagic: {error}\n"]
    frames = error.__traceback__
    ours = frames
    while ours is not None and not _is_statement(ours):
        ours = ours.tb_next
    below = ours.tb_next if ours is not None else None
    if ours is None or (below is None and isinstance(error, SyntaxError)):
        # The text did not parse, or a magic failed: no frame is the user's.
        return traceback.format_exception_only(type(error), error)
    entries = ["Traceback (most recent call last):\n"]
    entries += traceback.extract_tb(below).format()
    entries += traceback.format_exception_only(type(error), error)
    if len(entries) > MAX_ENTRIES:
        half = MAX_ENTRIES // 2
        entries = [*entries[:half], f"  [{len(entries) - 2 * half} entries cut]\n", *entries[-half:]]
    return entries


def _is_statement(frame) -> bool:
    code = frame.tb_frame.f_code
    return code.co_filename == "<stdin>" and code.co_name == "<module>"


def _cut(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters cut ...]\n{text[-half:]}"
