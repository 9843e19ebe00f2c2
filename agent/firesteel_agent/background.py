"""What interpreters write between statements goes to the driver's log, within a limit. Calls nobody.

A thread writes it, since the log's pipe may be full and the loop must not wait.
"""

import queue
import sys
import threading
from typing import Callable, Optional

GAP_BYTES = 256 << 10
"""What is logged between two statements; the rest is dropped and counted."""


class BackgroundLog:
    """Bounded, and started on first use."""

    def __init__(self) -> None:
        self._pieces: queue.Queue[bytes] = queue.Queue(64)
        self._thread: Optional[threading.Thread] = None
        self._left = GAP_BYTES
        self._dropped = 0
        self.printed: Callable[[bytes], None] = lambda _data: None
        """Called with what belongs to a statement instead, and so is not logged."""

    def write(self, data: bytes) -> None:
        """Log it, or drop what is over the limit. Never waits."""
        piece = data[: self._left]
        self._left -= len(piece)
        self._dropped += len(data) - len(piece)
        if piece:
            self._put(piece)

    def next_statement(self) -> None:
        """A new gap begins: tell what was dropped, and start counting anew."""
        if self._dropped:
            self._put(b"\n[... %d bytes of output between statements were dropped ...]\n" % self._dropped)
        self._left, self._dropped = GAP_BYTES, 0

    def _put(self, piece: bytes) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="background-log", daemon=True)
            self._thread.start()
        try:
            self._pieces.put_nowait(piece)
        except queue.Full:
            self._dropped += len(piece)

    def _run(self) -> None:
        while True:
            sys.stderr.buffer.write(self._pieces.get())
            sys.stderr.flush()
