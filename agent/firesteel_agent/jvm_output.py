"""What the driver's JVM prints: System.out and the Scala REPL's own words, each through a named pipe.

Calls background, capture and loop. The pipes are in the run directory, 0600. The agent holds both ends of
each, so that the JVM never waits for a reader and the agent never sees an end. While no statement captures,
what is printed goes to the driver's log.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Dict

from .background import BackgroundLog
from .capture import Capture, join
from .config import Config
from .loop import READ, Loop

PIPE_BYTES = 1 << 20
READ_BYTES = 64 << 10
LITTLE = 4 << 10
GATHER_SECONDS = 0.002
MANY = 4
"""After MANY reads of fewer than LITTLE bytes a pipe is left alone for this long, to gather more."""

_F_SETPIPE_SZ = 1031


class JvmOutput:
    """Both pipes. `out` is what a statement printed; `echo` is what the REPL said of the latest piece."""

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog):
        self._loop = loop
        self._log = log
        self._limit = config.output_max_bytes
        keep = (config.output_max_bytes + 1) // 2
        self.out, self.echo = Capture(keep), Capture(keep)
        self.out_path = str(Path(config.run_dir, "jvm.out"))
        self.echo_path = str(Path(config.run_dir, "jvm.echo"))
        self.capturing = False
        self._little = 0
        self._out_fd, self._echo_fd = self._open(self.out_path), self._open(self.echo_path)
        self._captures: Dict[int, Capture] = {self._out_fd: self.out, self._echo_fd: self.echo}
        for fd in self._captures:
            self._watch(fd)

    def begin(self) -> None:
        """What is printed belongs to a statement from now on."""
        self._drain(self._out_fd)
        self._drain(self._echo_fd)
        self._log.next_statement()
        self.forget()
        self.capturing = True

    def take_echo(self) -> str:
        """What the REPL said of a piece that has ended; what it printed before is in `out` from now on."""
        self._drain(self._out_fd)
        self._drain(self._echo_fd)
        text = join(self.echo, Capture(1), self._limit, strip=False).text
        self.echo.clear()
        return text

    def finish(self) -> None:
        """Take what the statement printed before it ended; what comes later is not its own."""
        self._drain(self._out_fd)
        self.capturing = False

    def forget(self) -> None:
        """Free what was captured."""
        self._little = 0
        self.out.clear()
        self.echo.clear()

    @staticmethod
    def _open(path: str) -> int:
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
        os.mkfifo(path, 0o600)
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # Some systems allow less.
            fcntl.fcntl(fd, _F_SETPIPE_SZ, PIPE_BYTES)
        return fd

    def _watch(self, fd: int) -> None:
        self._loop.watch(fd, READ, lambda _events: self._readable(fd))

    def _readable(self, fd: int) -> None:
        """Read; after little, let more gather, since a wake-up for every line costs more than the lines."""
        self._little = self._little + 1 if 0 < self._read(fd, READ_BYTES) < LITTLE else 0
        if self._little >= MANY:
            self._loop.unwatch(fd)
            self._loop.later(GATHER_SECONDS, lambda: self._watch(fd))

    def _read(self, fd: int, most: int) -> int:
        try:
            data = os.read(fd, most)
        except BlockingIOError:
            return 0
        if self.capturing:
            self._captures[fd].add(data)
        else:
            self._log.write(data)
        return len(data)

    def _drain(self, fd: int) -> None:
        """Read what is in the pipe now; not more, since something may be writing without end."""
        left = PIPE_BYTES
        while left > 0:
            count = self._read(fd, min(left, READ_BYTES))
            left -= count
            if count < READ_BYTES:
                break
