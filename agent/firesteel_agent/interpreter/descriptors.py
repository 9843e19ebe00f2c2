"""The interpreter's descriptors 0, 1 and 2 and its text streams: kept whole whatever user code does.

Calls libc.
"""

import ctypes
import fcntl
import io
import os
import signal
import sys
from contextlib import suppress

HIGH = 200
"""Our copies of descriptors are at or above this number, out of the way of user code."""

_PR_SET_PDEATHSIG = 1


class Streams:
    """Text streams on descriptors 1 and 2, and copies of 0, 1 and 2 to repair them with."""

    def __init__(self) -> None:
        self._saved = tuple(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH) for fd in range(3))
        self._identities = tuple(_identity(fd) for fd in self._saved)
        self._libc = ctypes.CDLL(None)
        self._streams = (_text_stream(1), _text_stream(2))
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = self._streams

    def die_with_the_agent(self) -> None:
        """The kernel kills this process when the agent's main thread ends."""
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def flush(self) -> None:
        """Everything written so far goes into the pipes: Python's streams and those of C."""
        for stream in {sys.stdout, sys.stderr, *self._streams}:
            with suppress(Exception):
                stream.flush()
        self._libc.fflush(None)

    def repair(self) -> None:
        """Undo what user code closed or put over the descriptors and the streams."""
        for fd, (saved, identity) in enumerate(zip(self._saved, self._identities)):
            if _identity(fd) != identity:
                os.dup2(saved, fd)
        if any(stream.closed for stream in self._streams):
            self._streams = (_text_stream(1), _text_stream(2))
            sys.__stdout__, sys.__stderr__ = self._streams
        if getattr(sys.stdout, "closed", True):
            sys.stdout = self._streams[0]
        if getattr(sys.stderr, "closed", True):
            sys.stderr = self._streams[1]


def _identity(fd: int):
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _text_stream(fd: int) -> io.TextIOWrapper:
    raw = open(fd, "wb", closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
