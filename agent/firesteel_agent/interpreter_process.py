"""An interpreter's process: its output, its signals, its end.

Calls capture, loop and watch. A subclass for each language has the channels.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
from typing import Callable, Dict, List, Optional

from .background import BackgroundLog
from .capture import Capture
from .config import Config
from .frames import Header
from .loop import READ, Loop
from .watch import ProcessWatch

PIPE_BYTES = 1 << 20
READ_BYTES = 64 << 10
LITTLE = 4 << 10
GATHER_SECONDS = 0.002
MANY = 4
"""After MANY reads of fewer than LITTLE bytes the pipe is left alone for this long, to gather more."""

STDERR_TAIL_LINES = 20
SECONDS_TO_END = 0.5
"""How long a process may live on after its channel has ended."""

_F_SETPIPE_SZ = 1031


class InterpreterProcess:
    """A child in its own session. `on_ended` is called once it is dead and reaped."""

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog, on_ended: Callable[[], None]):
        self._loop = loop
        self._log = log
        self._on_ended = on_ended
        self._killed = False
        self._little = 0
        self.capturing = True
        """Whether output is kept: a statement's, or the start's; if not, it goes to the driver's log."""
        keep = (config.output_max_bytes + 1) // 2
        self.out, self.err = Capture(keep), Capture(keep)

    def _launch(
        self, command: List[str], descriptors: List[int], env: Optional[Dict[str, str]] = None
    ) -> None:
        """Start the child with these descriptors; raises OSError when there is no such program."""
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out_write,
                stderr=err_write,
                pass_fds=descriptors,
                start_new_session=True,
                env=env,
            )
        except OSError:
            for fd in (out_read, err_read):
                os.close(fd)
            raise
        finally:
            for fd in (out_write, err_write):
                os.close(fd)
        self.pid = self._process.pid
        self._pipes = {out_read: self.out, err_read: self.err}
        for fd in self._pipes:
            os.set_blocking(fd, False)
            with contextlib.suppress(OSError):  # Some systems allow less.
                fcntl.fcntl(fd, _F_SETPIPE_SZ, PIPE_BYTES)
            self._watch_pipe(fd)
        self._watch = ProcessWatch(self._loop, self.pid, self._ended)

    # A language's channels

    def run(self, statement: int, secret: str, code: bytes) -> None:
        """Hand a statement to the child."""
        raise NotImplementedError

    def complete(self, header: Header, code: bytes) -> None:
        """Ask the child for candidates."""
        raise NotImplementedError

    def _close_channels(self) -> None:
        """The child has ended: let go of what leads to it."""
        raise NotImplementedError

    # Its output and its end

    def begin(self) -> None:
        """Output belongs to a statement from now on."""
        if not self.capturing:
            self._drain()
        self._log.next_statement()
        self.forget()
        self.capturing = True

    def finish(self) -> None:
        """Take what the statement wrote before it ended; what comes later is not its own."""
        self._drain()
        self.capturing = False

    def forget(self) -> None:
        """Free what was captured."""
        self._little = 0
        self.out.clear()
        self.err.clear()

    def interrupt(self, statement: int) -> None:
        """SIGINT for that statement; a child must not take it for another's."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to the interpreter and all of its process group."""
        self._killed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def how_it_ended(self) -> str:
        """The exit code or the signal, in words."""
        code = self._process.returncode
        if code is None:
            return "it did not end"
        if code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        hint = ", perhaps since memory ran out" if name == "SIGKILL" and not self._killed else ""
        return f"signal {name}{hint}"

    def stderr_tail(self) -> List[str]:
        """The last lines of stderr."""
        text = self.err.last(min(16 << 10, self.err.total)).decode("utf-8", "replace")
        return text.rstrip().splitlines()[-STDERR_TAIL_LINES:]

    def _readable(self, fd: int) -> None:
        """Read; after little, let more gather, since a wake-up for every line costs more than the lines."""
        self._little = self._little + 1 if 0 < self._read(fd, READ_BYTES) < LITTLE else 0
        if self._little >= MANY:
            self._loop.unwatch(fd)
            self._loop.later(GATHER_SECONDS, lambda: self._watch_pipe(fd))

    def _watch_pipe(self, fd: int) -> None:
        if fd in self._pipes:
            self._loop.watch(fd, READ, lambda _events: self._readable(fd))

    def _read(self, fd: int, most: int) -> int:
        try:
            data = os.read(fd, most)
        except BlockingIOError:
            return 0
        if not data:
            self._loop.unwatch(fd)
            return 0
        if self.capturing:
            self._pipes[fd].add(data)
        else:
            self._log.write(data)
        return len(data)

    def _drain(self) -> None:
        """Read what is in the pipes now; not more, since something may be writing without end."""
        for fd in self._pipes:
            left = PIPE_BYTES
            while left > 0:
                count = self._read(fd, min(left, READ_BYTES))
                left -= count
                if count < READ_BYTES:
                    break

    def _channel_ended(self, _reason: str) -> None:
        # It is exiting, or it closed or broke its own channel: of no use either way.
        self._loop.later(SECONDS_TO_END, self._kill_late)

    def _kill_late(self) -> None:
        if self._process.returncode is None:
            self.kill()

    def _ended(self) -> None:
        """The leader is dead: end its group while its pid is still ours, then reap it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._drain()
        for fd in self._pipes:
            self._loop.unwatch(fd)
            os.close(fd)
        self._pipes = {}
        self._close_channels()
        self._on_ended()
