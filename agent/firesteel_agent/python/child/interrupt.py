"""When a SIGINT becomes a KeyboardInterrupt: only while the very statement runs that was cancelled.

Calls nobody.

The agent writes the cancelled statement's number into shared memory before it sends the signal. A signal
that comes late finds another statement, or none, and does nothing.
"""

import _signal as signal  # Python's own module makes enums, which costs more than the call.
import mmap
import struct
from types import FrameType
from typing import Callable, Optional, Tuple, TypeVar

NUMBER = struct.Struct("<q")
"""The shared memory: the cancelled statement's number, NOBODY at first."""

NOBODY = -(1 << 63)
"""No statement and no job has this number."""

T = TypeVar("T")


class Interrupts:
    """The handler of SIGINT and what it looks at."""

    def __init__(self, cancelled: mmap.mmap):
        self._cancelled = cancelled
        self._running: Optional[int] = None

    def install(self) -> None:
        """Make this the handler; called before every statement, since user code may set its own."""
        if signal.getsignal(signal.SIGINT) != self._handle:
            signal.signal(signal.SIGINT, self._handle)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))

    def _handle(self, _signal: int, _frame: Optional[FrameType]) -> None:
        if self._running is not None and NUMBER.unpack_from(self._cancelled)[0] == self._running:
            raise KeyboardInterrupt

    def guard(self, statement: int, work: Callable[[], T]) -> Tuple[Optional[T], Optional[BaseException]]:
        """`work()` as part of a statement, which can be interrupted: its result, or what it raised."""
        try:
            try:
                self._running = statement
                result = work()
                self._running = None
                return result, None
            finally:
                self._running = None
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: the interpreter lives on.
            self._running = None  # A second signal may have come before the line above had its effect.
            return None, error
