"""Two pipes to R, which has no sockets that it can share and no JSON: one question at a time. Calls the loop.

A question is a line of HEADER_BYTES filled with spaces, `TYPE ID SECRET CURSOR SIZE DESCRIPTION`, and SIZE
bytes; an answer is a line `TYPE ID SECRET STATUS SIZE` and SIZE bytes. R closes its end between the two, so
the next question is written only after an answer. The description, of a statement's jobs, may have spaces.
"""

import collections
import contextlib
import fcntl
import os
from typing import Callable, Deque, List, NamedTuple, Optional

from ..loop import READ, WRITE, Loop

HEADER_BYTES = 160
"""A question's first line; both sides know it."""

MAX_LINE = 512
"""An answer's first line is shorter."""

HIGH = 200
"""R's ends are descriptors at or above this number, out of the way of user code."""

READ_BYTES = 64 << 10


class Answer(NamedTuple):
    """What R says."""

    type: str
    id: str
    secret: str
    status: str
    body: bytes


def question(kind: str, number: int, secret: str, cursor: int, body: bytes, description: str = "") -> bytes:
    """A question as bytes."""
    head = f"{kind} {number} {secret} {cursor} {len(body)} {description}".encode("ascii")
    assert len(head) <= HEADER_BYTES
    return head.ljust(HEADER_BYTES) + body


class RChannel:
    """The agent's ends. `on_broken` is called once when R has let go of its own, or has written nonsense."""

    def __init__(
        self,
        loop: Loop,
        max_answer: int,
        on_answer: Callable[[Answer], None],
        on_broken: Callable[[str], None],
    ):
        self._loop = loop
        self._max_answer = max_answer
        self._on_answer = on_answer
        self._on_broken = on_broken
        theirs_read, self._write_fd = os.pipe()
        self._read_fd, theirs_write = os.pipe()
        self._theirs = [_raised(theirs_read), _raised(theirs_write)]
        for fd in (self._read_fd, self._write_fd):
            os.set_blocking(fd, False)
        self._questions: Deque[bytes] = collections.deque()
        self._out = memoryview(b"")
        self._asked = True  # R speaks first.
        self._buffer = bytearray()
        self._open = True
        loop.watch(self._read_fd, READ, self._readable)

    @property
    def descriptors(self) -> List[int]:
        """R's ends, to read and to write: to be given to it, then closed by `started`."""
        return self._theirs

    def started(self) -> None:
        """R has its ends, or could not be started."""
        for fd in self._theirs:
            os.close(fd)

    @property
    def waiting(self) -> int:
        """Questions that wait for an answer to one before."""
        return len(self._questions)

    def ask(self, asked: bytes) -> None:
        """Put a question; it is written when those before are answered."""
        self._questions.append(asked)
        self._next()

    def close(self) -> None:
        """Let go of both pipes."""
        if self._open:
            self._open = False
            for fd in (self._read_fd, self._write_fd):
                self._loop.unwatch(fd)
                os.close(fd)

    def _next(self) -> None:
        if self._open and not self._asked and self._questions:
            self._asked = True
            self._out = memoryview(self._questions.popleft())
            self._writable(WRITE)

    def _writable(self, _events: int) -> None:
        try:
            while self._out:
                self._out = self._out[os.write(self._write_fd, self._out) :]
            self._loop.unwatch(self._write_fd)
        except BlockingIOError:
            self._loop.watch(self._write_fd, WRITE, self._writable)
        except OSError as failure:
            self._break(failure.strerror or str(failure))

    def _readable(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._read_fd, READ_BYTES)
            if not data:
                self._break("R closed it")
                return
            self._buffer += data
        while self._open:
            found = self._cut()
            if found is None:
                return
            self._asked = False
            self._on_answer(found)
            self._next()

    def _cut(self) -> Optional[Answer]:
        """The next answer, or None while it is not complete."""
        line, newline, _rest = self._buffer[:MAX_LINE].partition(b"\n")
        try:
            if not newline:
                if len(line) >= MAX_LINE:
                    raise ValueError("a line without end")
                return None
            kind, number, secret, status, digits = line.decode("ascii").split(" ")
            size = int(digits)
            if not 0 <= size <= self._max_answer:
                raise ValueError(f"{size} bytes")
        except ValueError as failure:
            self._break(f"an answer that can't be read: {failure}")
            return None
        end = len(line) + 1 + size
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[len(line) + 1 : end])
        del self._buffer[:end]
        return Answer(kind, number, secret, status, body)

    def _break(self, reason: str) -> None:
        if self._open:
            self.close()
            self._on_broken(reason)


def _raised(fd: int) -> int:
    """The same descriptor at a high number."""
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH)
    os.close(fd)
    return high
