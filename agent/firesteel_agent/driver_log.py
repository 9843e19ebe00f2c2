"""Sends what the driver writes where it runs in a cluster: its streams are files of its container there.

Runs on the loop; calls nobody. The files are the buffer: the server says from which bytes on it wants them,
each time it is called, so nothing is lost or comes twice.
"""

import os
import stat
from pathlib import Path
from typing import Callable, Dict

from .frames import Header
from .loop import Loop

LOOK_SECONDS = 0.5
"""Between two looks at the files."""

PIECE_BYTES = 64 << 10
"""What is read and sent at once."""

LAST_PIECES = 16
"""How many pieces of each stream are sent at the driver's end, at most."""

STREAMS = {"stdout": 1, "stderr": 2}
"""The JVM's streams, which the agent shares or which have its output copied to them."""

Tell = Callable[[Header, bytes], None]


class DriverLog:
    """Sends the files' bytes with `tell` while the link is `free`."""

    def __init__(self, loop: Loop, pid: int, free: Callable[[], bool], tell: Tell):
        self._loop = loop
        self._free = free
        self._tell = tell
        self._at: Dict[str, int] = {}
        self._files: Dict[str, int] = {}
        self._looks = False
        for stream, number in STREAMS.items():
            file = _opened(f"/proc/{pid}/fd/{number}")
            if file is not None:
                self._files[stream] = file

    def begin(self, header: Header) -> None:
        """Send from these bytes on."""
        self._at = {stream: header[stream] for stream in self._files}
        if not self._looks:
            self._looks = True
            self._look()

    def finish(self) -> None:
        """The driver ends: send what there is."""
        for stream in self._at:
            pieces = 0
            while pieces < LAST_PIECES and self._send(stream):
                pieces += 1

    def _look(self) -> None:
        sent = False
        for stream in self._at:
            if self._free():
                sent = self._send(stream) or sent
        self._loop.later(0.01 if sent else LOOK_SECONDS, self._look)

    def _send(self, stream: str) -> bool:
        data = os.pread(self._files[stream], PIECE_BYTES, self._at[stream])
        if data:
            self._tell({"type": "log", "stream": stream, "from": self._at[stream]}, data)
            self._at[stream] += len(data)
        return bool(data)


def _opened(path: str) -> "int | None":
    """The file, where it is one: a pipe or a terminal can't be read again."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            return None
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
