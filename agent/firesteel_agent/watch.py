"""Tells when a process has ended: by a pidfd where there is one, else by looking. Calls the loop.

A process is named by its pid and its start time, since pids come back.
"""

import os
from pathlib import Path
from typing import Callable, Optional

from .loop import READ, Loop

LOOK_EVERY = 0.5
"""Seconds between two looks where the kernel or this Python has no pidfd."""


def start_time(pid: int) -> Optional[int]:
    """The process's start in clock ticks since boot, or None when there is none such or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # The name before it may hold spaces and parentheses.
    return None if fields[0] in ("Z", "X") else int(fields[19])


class ProcessWatch:
    """Calls `ended` once, on the loop, when the process has ended."""

    def __init__(self, loop: Loop, pid: int, ended: Callable[[], None]):
        self._loop = loop
        self._pid = pid
        self._ended = ended
        self._start = start_time(pid)
        self._fd = -1
        self._timer = None
        if hasattr(os, "pidfd_open") and self._start is not None:
            try:
                self._fd = os.pidfd_open(pid)
            except OSError:
                self._fd = -1
        if self._fd >= 0:
            loop.watch(self._fd, READ, lambda _events: self._fire())
        else:
            self._look()

    def close(self) -> None:
        """Watch no more."""
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        if self._start is None or start_time(self._pid) != self._start:
            # Through the loop, since this may be the constructor.
            self._timer = self._loop.later(0, self._fire)
        else:
            self._timer = self._loop.later(LOOK_EVERY, self._look)

    def _fire(self) -> None:
        self.close()
        self._ended()
