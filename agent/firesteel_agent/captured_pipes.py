"""Reads pipes on the loop: into captures while a statement runs, else into the driver's log.

Calls background, capture and loop. An interpreter's process and the JVM's output are its subclasses.
"""

import contextlib
import fcntl
import os
from typing import Dict, Set

from .background import BackgroundLog
from .capture import Capture
from .loop import READ, Loop

PIPE_BYTES = 1 << 20
READ_BYTES = 64 << 10
LITTLE = 4 << 10
GATHER_SECONDS = 0.002
MANY = 4
"""After MANY reads of fewer than LITTLE bytes a pipe is left alone for this long, to gather more."""

_F_SETPIPE_SZ = 1031


class CapturedPipes:
    """Descriptors to read from, and a capture for each."""

    def __init__(self, loop: Loop, log: BackgroundLog, capturing: bool):
        self._loop = loop
        self._log = log
        self._little = 0
        self._pipes: Dict[int, Capture] = {}
        self._unprinted: Set[int] = set()
        self.capturing = capturing
        """Whether output is kept; if not, it goes to the driver's log."""

    def begin(self, capturing: bool = True) -> None:
        """Output belongs to a statement from now on; without `capturing` the log has it all the same."""
        if not self.capturing:
            self._drain_all()
        self._log.next_statement()
        self.forget()
        self.capturing = capturing

    def finish(self) -> None:
        """Take what the statement wrote before it ended; what comes later is not its own."""
        self._drain_all()
        self.capturing = False

    def forget(self) -> None:
        """Free what was captured."""
        self._little = 0
        for capture in self._pipes.values():
            capture.clear()

    def _add_pipe(self, fd: int, capture: Capture, printed: bool = True) -> None:
        """Read from it into the capture; `printed`: what comes is what a statement prints, as it is."""
        if not printed:
            self._unprinted.add(fd)
        os.set_blocking(fd, False)
        with contextlib.suppress(OSError):  # Some systems allow less.
            fcntl.fcntl(fd, _F_SETPIPE_SZ, PIPE_BYTES)
        self._pipes[fd] = capture
        self._watch_pipe(fd)

    def _close_pipes(self) -> None:
        for fd in self._pipes:
            self._loop.unwatch(fd)
            os.close(fd)
        self._pipes = {}
        self._unprinted.clear()

    def _watch_pipe(self, fd: int) -> None:
        if fd in self._pipes:
            self._loop.watch(fd, READ, lambda _events: self._readable(fd))

    def _readable(self, fd: int) -> None:
        """Read; after little, let more gather, since a wake-up for every line costs more than the lines."""
        self._little = self._little + 1 if 0 < self._read(fd, READ_BYTES) < LITTLE else 0
        if self._little >= MANY:
            self._loop.unwatch(fd)
            self._loop.later(GATHER_SECONDS, lambda: self._watch_pipe(fd))

    def _read(self, fd: int, most: int) -> int:
        try:
            data = os.read(fd, most)
        except BlockingIOError:
            return 0
        if not data:
            self._loop.unwatch(fd)
            return 0
        if self.capturing:
            self._pipes[fd].add(data)
            if fd not in self._unprinted:
                self._log.printed(data)
        else:
            self._log.write(data)
        return len(data)

    def _drain_all(self) -> None:
        for fd in self._pipes:
            self._drain(fd)

    def _drain(self, fd: int) -> None:
        """Read what is in the pipe now; not more, since something may be writing without end."""
        left = PIPE_BYTES
        while left > 0:
            count = self._read(fd, min(left, READ_BYTES))
            left -= count
            if count < READ_BYTES:
                break
