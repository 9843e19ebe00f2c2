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
from typing import Any

HIGH = 200
"""Our copies of descriptors are at or above this number, out of the way of user code."""

_PR_SET_PDEATHSIG = 1
_IOLBF = 1

_fstat, _dup2, _open, _TextIOWrapper = os.fstat, os.dup2, open, io.TextIOWrapper


class Streams:
    """Text streams on descriptors 1 and 2, and copies of 0, 1 and 2 to repair them with."""

    def __init__(self) -> None:
        self._saved = tuple(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH) for fd in range(3))
        self._identities = tuple(_identity(fd) for fd in self._saved)
        self._libc = ctypes.CDLL(None)
        self._streams = (_text_stream(1), _text_stream(2))
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = self._streams
        with suppress(ValueError, AttributeError):  # So that lines of C's and Python's come in their order.
            self._libc.setvbuf(ctypes.c_void_p.in_dll(self._libc, "stdout"), None, _IOLBF, 0)

    @property
    def out(self) -> io.TextIOWrapper:
        """Our own stdout, whatever user code has put into `sys.stdout`."""
        return self._streams[0]

    def die_with_the_agent(self) -> None:
        """The kernel kills this process when the agent's main thread ends."""
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def flush(self) -> None:
        """Everything written so far goes into the pipes: Python's streams and those of C."""
        found = [getattr(sys, "stdout", None), getattr(sys, "stderr", None)]
        for stream in [*(stream for stream in found if stream not in self._streams), *self._streams]:
            with suppress(Exception):
                stream.flush()
        self._libc.fflush(None)

    def repair(self) -> None:
        """Undo what user code closed or put over the descriptors and the streams."""
        for fd, (saved, identity) in enumerate(zip(self._saved, self._identities)):
            if _identity(fd) != identity:
                _dup2(saved, fd)
        if not all(_usable(stream) and stream.encoding == "utf-8" for stream in self._streams):
            self._streams = (_text_stream(1), _text_stream(2))
        sys.__stdout__, sys.__stderr__ = self._streams
        if not _usable(getattr(sys, "stdout", None)):
            sys.stdout = self._streams[0]
        if not _usable(getattr(sys, "stderr", None)):
            sys.stderr = self._streams[1]
        if not _usable(getattr(sys, "stdin", None)):
            sys.stdin = _open(0, encoding="utf-8", errors="replace", closefd=False)


def _identity(fd: int):
    try:
        found = _fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _usable(stream: Any) -> bool:
    """Whether it is open; user code may have closed it, detached it, or put something else there."""
    try:
        return not stream.closed
    except Exception:
        return False


def _text_stream(fd: int) -> io.TextIOWrapper:
    raw = _open(fd, "wb", closefd=False)
    return _TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
