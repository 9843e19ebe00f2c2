"""What the running statement prints, told to the server in pieces while it runs. Calls capture and the loop.

A piece is of use only now: none waits for a slow link, and of what is printed meanwhile only the end is kept.
The result has all of it anyway, within its own limit.
"""

import collections
from typing import Callable, Deque, Optional

from .capture import character_start
from .loop import Loop, Timer

PIECE_BYTES = 64 << 10
"""The most bytes of one piece. What is printed beyond it within one interval is skipped, oldest first."""

MANY = 256
"""Small prints are joined when there are more of them than this."""


class Live:
    """Gathers while a statement runs. `tell(statement, from, piece)` is called at most once in an interval.

    `from` counts the bytes that the statement has printed before the piece. A statement that ends within its
    first interval has no piece; of one that had any, the rest comes before its result.
    """

    def __init__(
        self,
        loop: Loop,
        interval_ms: int,
        may_tell: Callable[[], bool],
        tell: Callable[[int, int, bytes], None],
    ):
        self._loop = loop
        self._seconds = interval_ms / 1000
        self._may_tell = may_tell
        self._tell = tell
        self._statement: Optional[int] = None
        self._timer: Optional[Timer] = None
        self._gathered: Deque[bytes] = collections.deque()
        self._bytes = 0
        self._end = 0
        self._told = 0

    def begin(self, statement: int) -> None:
        """A statement runs."""
        self._clear()
        if self._seconds > 0:
            self._statement = statement

    def add(self, data: bytes) -> None:
        """It has printed this."""
        if self._statement is None or not data:
            return
        self._gathered.append(data)
        self._bytes += len(data)
        self._end += len(data)
        while self._bytes - len(self._gathered[0]) >= PIECE_BYTES:
            self._bytes -= len(self._gathered.popleft())
        if len(self._gathered) > MANY:
            self._gathered = collections.deque([b"".join(self._gathered)])
        if self._timer is None:
            self._timer = self._loop.later(self._seconds, self._due)

    def finish(self) -> None:
        """It has ended, and its result comes next."""
        if self._told and self._bytes:
            self._send(is_last=True)
        self._clear()

    def _clear(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._statement = None
        self._gathered.clear()
        self._bytes = self._end = self._told = 0

    def _due(self) -> None:
        self._timer = None
        if self._may_tell():
            self._send(is_last=False)
        if self._bytes:
            self._timer = self._loop.later(self._seconds, self._due)

    def _send(self, is_last: bool) -> None:
        """All that is gathered, but for a character whose end has not come yet."""
        assert self._statement is not None
        data = b"".join(self._gathered)
        begin = self._end - len(data)
        skipped = max(begin - self._told, len(data) - PIECE_BYTES, 0)
        start = _line_start(data, max(len(data) - PIECE_BYTES, 0)) if skipped else 0
        end = len(data) if is_last else character_start(data, len(data))
        self._gathered = collections.deque([data[end:]] if end < len(data) else [])
        self._bytes = len(data) - end
        if start < end:
            self._told = begin + end
            self._tell(self._statement, begin + start, data[start:end])


def _line_start(data: bytes, least: int) -> int:
    """Where a line begins, after a line feed or a carriage return, soon after `least`; else a character."""
    ends = [at for at in (data.find(end, least, least + len(data) // 2) for end in (b"\n", b"\r")) if at >= 0]
    if ends:
        return min(ends) + 1
    start = least
    while start < min(least + 4, len(data)) and data[start] & 0xC0 == 0x80:
        start += 1
    return start
