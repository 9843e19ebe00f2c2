"""Exceptions as Livy tells them: name, value, and the traceback without our frames. Calls cells and values.

Frames of the statement that runs are named `<stdin>` and have no source line, as in Livy; those of earlier
statements have theirs, since the reader has not just written it.
"""

import traceback
from types import TracebackType
from typing import Any, List, Optional

from .cells import STDIN, Cells, is_cell
from .values import dumps

MAX_TEXT = 256 << 10
"""Characters that are kept of an exception's value, and of an entry of its traceback."""

MAX_ENTRIES = 1000

_PACKAGE = __file__.rpartition("/")[0] + "/"
_GROUP_HEADER = "  + Exception Group Traceback (most recent call last):\n"

_name_of = type.__dict__["__name__"].__get__
_traceback_of = BaseException.__dict__["__traceback__"].__get__
_extract_tb, _format_only = traceback.extract_tb, traceback.format_exception_only
_FrameSummary, _TracebackException = traceback.FrameSummary, traceback.TracebackException
try:
    _Group: Any = BaseExceptionGroup  # type: ignore[name-defined]
except NameError:  # Before Python 3.11.
    _Group = ()


class UnknownMagic(Exception):
    """A line `%name` that names no magic."""


def describe(error: BaseException, cells: Cells) -> bytes:
    """The JSON of `ename`, `evalue` and `traceback`."""
    if isinstance(error, SyntaxError):
        _complete(error, cells)
    try:
        value = str(error)
    except Exception:
        value = "<exception str() failed>"
    return plain(_name_of(type(error)), value, _entries(error, cells))


def describe_job(error: BaseException) -> bytes:
    """The same for a job, whose frames are all told, with causes, as Livy does."""
    try:
        value = str(error)
    except Exception:
        value = "<exception str() failed>"
    formatted = _TracebackException(type(error), error, _traceback_of(error))
    todo = [formatted]
    while todo:
        part = todo.pop()
        if part.stack is not None:
            part.stack[:] = [frame for frame in part.stack if not frame.filename.startswith(_PACKAGE)]
        todo += [other for other in (part.__cause__, part.__context__) if other is not None]
    return plain(_name_of(type(error)), value, _few(list(formatted.format())))


def describe_badly(error: BaseException, worse: BaseException) -> bytes:
    """The same for an exception whose description failed with another."""
    return plain(_name_of(type(error)), f"<{_name_of(type(worse))} in its __str__>")


def plain(name: str, value: str, entries: Optional[List[str]] = None) -> bytes:
    """The same from its parts."""
    entries = [f"{name}: {value}\n"] if entries is None else entries
    return dumps({"ename": name, "evalue": _cut(value), "traceback": [_cut(entry) for entry in entries]})


def _entries(error: BaseException, cells: Cells) -> List[str]:
    """The header, the frames below the statement's own, and the exception itself; no chained causes."""
    if isinstance(error, UnknownMagic):
        return [f"UnknownMagic: {error}\n"]
    ours: Optional[TracebackType] = _traceback_of(error)
    while ours is not None and not _is_statement(ours):
        ours = ours.tb_next
    below = ours.tb_next if ours is not None else None
    if ours is None or (below is None and isinstance(error, SyntaxError)):
        # The text did not parse, or a magic failed: no frame is the user's.
        return _format_only(type(error), error)
    if _Group and isinstance(error, _Group):
        entries = _group_entries(error, below, cells)
    else:
        entries = ["Traceback (most recent call last):\n"]
        entries += _frames(_extract_tb(below), cells).format()
        entries += _format_only(type(error), error)
    return _few(entries)


def _few(entries: List[str]) -> List[str]:
    if len(entries) <= MAX_ENTRIES:
        return entries
    half = MAX_ENTRIES // 2
    return [*entries[:half], f"  [{len(entries) - 2 * half} entries cut]\n", *entries[-half:]]


def _group_entries(error: BaseException, below: Optional[TracebackType], cells: Cells) -> List[str]:
    """An exception group with its parts, as Python formats it."""
    formatted = _TracebackException(type(error), error, below, limit=MAX_ENTRIES, compact=True)
    todo = [formatted]
    while todo:
        part = todo.pop()
        if part.stack is not None:
            part.stack = _frames(part.stack, cells)
        todo += part.exceptions or []
    entries = list(formatted.format(chain=False))
    return (
        entries
        if below is not None
        else ["  + Exception Group Traceback (most recent call last):\n", *entries]
    )


def _frames(stack: Any, cells: Cells) -> Any:
    """The frames but ours, with the names that the wire has."""
    stack[:] = [frame for frame in stack if not frame.filename.startswith(_PACKAGE)]
    for index, frame in enumerate(stack):
        if frame.filename == cells.current:
            stack[index] = _FrameSummary(STDIN, frame.lineno, frame.name, lookup_line=False, line="")
    return stack


def _complete(error: SyntaxError, cells: Cells) -> None:
    """A syntax error of the statement's own: Livy's file name, and the line if the compiler gave none."""
    if error.filename == cells.current:
        error.filename = STDIN
        if error.text is None and error.lineno is not None:
            error.text = cells.line(error.lineno)


def _is_statement(frame: TracebackType) -> bool:
    code = frame.tb_frame.f_code
    return code.co_name == "<module>" and is_cell(code.co_filename)


def _cut(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters cut ...]\n{text[-half:]}"
