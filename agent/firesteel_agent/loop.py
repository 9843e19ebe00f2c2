"""The event loop: descriptors, timers, and closures posted by other threads. Calls its callbacks and say.

One thread runs it. A callback must not block: work that may block (py4j) goes to a `worker.Worker`.
"""

import collections
import contextlib
import heapq
import itertools
import os
import selectors
import time
import traceback
from typing import Callable, Deque, List, Optional, Tuple

from .say import say

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class Timer:
    """A callback in the future. `cancel` may be called at any time, more than once too."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]):
        self.callback: Optional[Callable[[], None]] = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """Runs callbacks until `stop`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: List[Tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._posted: Deque[Callable[[], None]] = collections.deque()
        self._soon: Deque[Callable[[], None]] = collections.deque()
        self._running = True
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.watch(self._wake_read, READ, self._run_posted)

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback(events)` whenever `fd` is ready; a second call for an fd replaces the first."""
        try:
            self._selector.register(fd, events, callback)
        except KeyError:
            self._selector.modify(fd, events, callback)

    def unwatch(self, fd: int) -> None:
        """Forget `fd`; to be called before it is closed. Unknown fds are ignored."""
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            return

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once, after that time."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._count), timer))
        return timer

    def post(self, callback: Callable[[], None]) -> None:
        """Call `callback` soon, on the loop's thread. Any thread and any signal handler may call this."""
        self._posted.append(callback)
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            return  # The pipe is full of wake-ups already.

    def soon(self, callback: Callable[[], None]) -> None:
        """Call `callback` after the present one; the loop's own thread only."""
        self._soon.append(callback)

    def stop(self) -> None:
        """Return from `run` after the present callback."""
        self._running = False

    def run(self) -> None:
        while self._running:
            self._run_soon()
            ready = self._selector.select(self._wait())
            alone = len(ready) == 1
            for key, events in ready:
                # A callback of this round may have let go of a later one's descriptor.
                if alone or self._selector.get_map().get(key.fd) is key:
                    _call(key.data, events)
                    self._run_soon()
            self._run_timers()

    def _run_soon(self) -> None:
        while self._soon:
            _call(self._soon.popleft())

    def _wait(self) -> Optional[float]:
        timers = self._timers
        while timers and timers[0][2].callback is None:
            heapq.heappop(timers)
        return max(0.0, timers[0][0] - time.monotonic()) if timers else None

    def _run_timers(self) -> None:
        timers = self._timers
        while timers and (timers[0][2].callback is None or timers[0][0] <= time.monotonic()):
            callback = heapq.heappop(timers)[2].callback
            if callback is not None:
                _call(callback)

    def _run_posted(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 65536)  # All of the pipe: what is posted from now on writes again.
        while self._posted:
            _call(self._posted.popleft())


def _call(callback: Callable[..., None], *arguments: int) -> None:
    """One callback's failure must not end the driver: it goes to the log."""
    try:
        callback(*arguments)
    except Exception:
        say(traceback.format_exc())
