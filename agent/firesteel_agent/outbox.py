"""The frames that the server has not acknowledged: in memory while there are few, else in `RUN_DIR/outbox`.

Calls frames, output and say. The file holds whole frames in the order of their numbers, all of them older
than those in memory. It survives the death of this process, not a loss of power: nothing is synced. A frame
that was being written when the process died is a torn tail, which readers ignore.
"""

import collections
import contextlib
import errno
import itertools
import os
from typing import Deque, Optional, Set

from .capture import size
from .frames import Header, encode, head
from .output import error
from .say import say

SMALL_FRAME = 4096
"""A frame of fewer bytes is never cut."""

STUCK_FACTOR = 8
"""How many times `keep_bytes` memory may hold while the file can't be written."""


class Kept:
    """A frame. `data` is None once it is in the file, at `offset`."""

    __slots__ = ("data", "header", "offset", "seq", "size")

    def __init__(self, seq: int, header: Header, data: bytes):
        self.seq = seq
        self.header = header
        self.data: Optional[bytes] = data
        self.size = len(data)
        self.offset = -1


class Outbox:
    """Numbers frames, keeps them until they are acknowledged, and gives them out in order.

    While `away` is set everything is in the file, since only a file survives the driver.
    """

    def __init__(self, path: str, keep_bytes: int, file_bytes: int):
        self._path = path
        self._keep_bytes = keep_bytes
        self._file_bytes = file_bytes
        self._frames: Deque[Kept] = collections.deque()
        self._seq = 0
        self._given = 0
        self._memory_bytes = 0
        self._in_file = 0
        self._file_end = 0
        self._file: Optional[int] = None
        self._stuck = False
        self._failure = ""
        self._told: Set[str] = set()
        self.away = True
        """Whether there is no server."""

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, header: Header, body: bytes = b"") -> None:
        """Number a frame and keep it. A result without room loses its output, never its state."""
        self._seq += 1
        header = dict(header, seq=self._seq)
        data = encode(header, body)
        if len(data) >= SMALL_FRAME and header["type"] == "result":
            refusal = self._no_room(len(data))
            if refusal:
                header["cut"] = {"what": "outbox", "limit": self._file_bytes, "seen": len(body)}
                data = _without_output(header, refusal)
        self._frames.append(Kept(self._seq, header, data))
        self._memory_bytes += len(data)
        if self.away or self._memory_bytes > self._keep_bytes:
            self.spill()

    def next(self) -> Optional[bytes]:
        """The oldest frame that was not given out since the last `rewind`; None when there is none."""
        if self._given == len(self._frames):
            return None
        kept = self._frames[self._given]
        self._given += 1
        return self._read(kept) if kept.data is None else kept.data

    def rewind(self) -> None:
        """Give all of them out again."""
        self._given = 0

    def acknowledge(self, upto: int) -> None:
        """Forget the frames up to that number, and empty the file once none of its own is left."""
        frames = self._frames
        while frames and frames[0].seq <= upto:
            kept = frames.popleft()
            self._given = max(0, self._given - 1)
            if kept.data is None:
                self._in_file -= 1
            else:
                self._memory_bytes -= kept.size
        if self._file_end and not self._in_file:
            self._truncate(0)

    def spill(self) -> None:
        """Write what is in memory to the file; what can't be written stays in memory until the next call."""
        try:
            for kept in list(itertools.islice(self._frames, self._in_file, None)):
                self._write(kept)
            self._failure = ""
        except OSError as failure:
            self._failure = failure.strerror or str(failure)
            self._tell(f"the outbox {self._path} can't be written ({self._failure}); results stay in memory")

    def _no_room(self, count: int) -> str:
        """Why a frame of that many bytes has no room; empty when it has."""
        if self._file_end + self._memory_bytes + count > self._file_bytes:
            return f"have over {size(self._file_bytes)} (link.outbox_bytes)"
        most = STUCK_FACTOR * self._keep_bytes
        if self._failure and self._memory_bytes + count > most:
            self.spill()
            if self._failure and self._memory_bytes + count > most:
                return f"can't be written to disk ({self._failure}) and have over {size(most)}"
        return ""

    # The file

    def _write(self, kept: Kept) -> None:
        assert kept.data is not None
        if self._stuck:
            raise OSError(errno.EIO, "it can't be truncated")
        if self._file is None:
            # Exclusive: what else is there is none of ours. User code can write this directory.
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
        left, end = memoryview(kept.data), self._file_end
        try:
            while left:
                written = os.pwrite(self._file, left, end)
                left, end = left[written:], end + written
        except OSError:
            self._truncate(self._file_end)
            raise
        kept.offset, kept.data, self._file_end = self._file_end, None, end
        self._in_file += 1
        self._memory_bytes -= kept.size

    def _truncate(self, end: int) -> None:
        assert self._file is not None
        try:
            os.ftruncate(self._file, end)
        except OSError:
            self._stuck = True  # A reader must find frames up to the end, or to a torn one.
        self._file_end = end

    def _read(self, kept: Kept) -> bytes:
        """A frame from the file. User code can write that too: what is not as it was is replaced."""
        assert self._file is not None
        start = head(kept.header, 0)
        with contextlib.suppress(OSError):
            data = os.pread(self._file, kept.size, kept.offset)
            start = head(kept.header, kept.size - len(start))
            if len(data) == kept.size and data.startswith(start):
                return data
        self._tell(f"the outbox {self._path} can't be read back; a result's output is lost")
        if kept.header["type"] == "result":
            return _without_output(kept.header, "could not be read back from disk")
        return encode(kept.header)

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            say(text)


def _without_output(header: Header, why: str) -> bytes:
    """The result with an error in place of its output."""
    text = f"The results that wait for the server {why}: this one was dropped."
    return encode(header, error(header["id"], "ResultTooLarge", text).json)
