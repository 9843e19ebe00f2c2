"""What the driver's JVM prints: System.out and the Scala REPL's own words, each through a named pipe.

Calls capture and captured_pipes. The pipes are in the run directory, 0600. The agent holds both ends of
each, so that the JVM never waits for a reader and the agent never sees an end. While no statement captures,
what is printed goes to the driver's log.
"""

import contextlib
import os
from pathlib import Path

from .background import BackgroundLog
from .capture import Capture, keep
from .captured_pipes import CapturedPipes
from .config import Config
from .loop import Loop


class JvmOutput(CapturedPipes):
    """Both pipes. `out` is what a statement printed; `echo` is what the REPL said of the latest piece."""

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog):
        super().__init__(loop, log, capturing=False)
        self._limit = config.output_max_bytes
        keep = (config.output_max_bytes + 1) // 2
        self.out, self.echo = Capture(keep), Capture(keep)
        self.out_path = str(Path(config.run_dir, "jvm.out"))
        self.echo_path = str(Path(config.run_dir, "jvm.echo"))
        self._out_fd = self._open(self.out_path)
        self._add_pipe(self._out_fd, self.out)
        self._add_pipe(self._open(self.echo_path), self.echo, printed=False)

    def take_echo(self) -> str:
        """What the REPL said of a piece that has ended; what it printed before is in `out` from now on."""
        self._drain_all()
        text = keep(self.echo, Capture(1), self._limit).text()
        self.echo.clear()
        return text

    def print(self, echo: str) -> None:
        """What the REPL said is shown as if the statement had printed it."""
        data = echo.encode("utf-8", "replace")
        self.out.add(data)
        self._log.printed(data)

    def finish(self) -> None:
        """Take what the statement printed before it ended; what comes later is not its own."""
        self._drain(self._out_fd)
        self.capturing = False

    @staticmethod
    def _open(path: str) -> int:
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
        os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
