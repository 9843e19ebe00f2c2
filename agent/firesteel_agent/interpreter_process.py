"""One Python interpreter's process: its channels, its output, its end.

Calls capture, channel, frames, loop, watch.
"""

import contextlib
import fcntl
import mmap
import os
import signal
import socket
import struct
import subprocess
from pathlib import Path
from typing import Callable, List

from .background import BackgroundLog
from .capture import Capture
from .channel import Channel
from .config import Config
from .frames import OVERHEAD, Header, encode
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
_NUMBER = struct.Struct("<q")


class InterpreterProcess:
    """A child in its own session.

    `on_frame` gets what it says, `on_ended` is called once it is dead and reaped.
    """

    def __init__(
        self,
        loop: Loop,
        config: Config,
        log: BackgroundLog,
        on_frame: Callable[[Header, bytes], None],
        on_ended: Callable[[], None],
    ):
        self._loop = loop
        self._log = log
        self._on_ended = on_ended
        self._killed = False
        self._little = 0
        self.capturing = True
        """Whether output is kept: a statement's, or the start's; if not, it goes to the driver's log."""
        keep = (config.output_max_bytes + 1) // 2
        self.out, self.err = Capture(keep), Capture(keep)
        self._spawn(config, on_frame)

    def _spawn(self, config: Config, on_frame: Callable[[Header, bytes], None]) -> None:
        """Start the child; raises OSError when there is no such Python."""
        control, control_child = socket.socketpair()
        completion, completion_child = socket.socketpair()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        cancelled = os.memfd_create("firesteel-cancelled")
        os.ftruncate(cancelled, _NUMBER.size)
        self._cancelled = mmap.mmap(cancelled, _NUMBER.size)
        children = [control_child.fileno(), completion_child.fileno(), cancelled]
        limits = [config.output_max_bytes, config.max_frame]
        script = Path(__file__).with_name("interpreter") / "main.py"
        try:
            self._process = subprocess.Popen(
                [config.python, str(script), *(str(number) for number in children + limits)],
                stdin=subprocess.DEVNULL,
                stdout=out_write,
                stderr=err_write,
                pass_fds=children,
                start_new_session=True,
            )
        except OSError:
            for fd in (out_read, err_read):
                os.close(fd)
            control.close()
            completion.close()
            raise
        finally:
            control_child.close()
            completion_child.close()
            for fd in (out_write, err_write, cancelled):
                os.close(fd)
        self.pid = self._process.pid
        self._pipes = {out_read: self.out, err_read: self.err}
        for fd in self._pipes:
            os.set_blocking(fd, False)
            with contextlib.suppress(OSError):  # Some systems allow less.
                fcntl.fcntl(fd, _F_SETPIPE_SZ, PIPE_BYTES)
            self._watch_pipe(fd)
        max_reply = config.output_max_bytes + OVERHEAD
        self._control = Channel(self._loop, control, max_reply, on_frame, self._channel_ended)
        self._completion = Channel(self._loop, completion, max_reply, on_frame, lambda _reason: None)
        self._watch = ProcessWatch(self._loop, self.pid, self._ended)

    def send(self, header: Header, body: bytes = b"") -> None:
        """Send a frame to the main thread."""
        self._control.write(encode(header, body))

    def complete(self, header: Header, body: bytes) -> None:
        """Send a frame to the completion thread."""
        self._completion.write(encode(header, body))

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
        """SIGINT, which the interpreter heeds only while it runs that statement."""
        _NUMBER.pack_into(self._cancelled, 0, statement + 1)
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
        self._control.close()
        self._completion.close()
        self._cancelled.close()
        self._on_ended()
