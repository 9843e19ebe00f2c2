"""An interpreter's process: its output, its signals, its end.

Calls capture, captured_pipes, loop and watch. A subclass for each language has the channels.
"""

import contextlib
import os
import signal
import subprocess
from typing import Callable, Dict, List, Optional

from .background import BackgroundLog
from .capture import Capture
from .captured_pipes import CapturedPipes
from .config import Config
from .frames import Header
from .loop import Loop
from .watch import ProcessWatch

STDERR_TAIL_LINES = 20
SECONDS_TO_END = 0.5
"""How long a process may live on after its channel has ended."""


class InterpreterProcess(CapturedPipes):
    """A child in its own session. `on_ended` is called once it is dead and reaped."""

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog, on_ended: Callable[[], None]):
        super().__init__(loop, log, capturing=True)  # What the start says is kept, too.
        self._on_ended = on_ended
        self._killed = False
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
        self._add_pipe(out_read, self.out)
        self._add_pipe(err_read, self.err)
        self._watch = ProcessWatch(self._loop, self.pid, self._ended)

    # A language's channels

    def run(self, statement: int, secret: str, code: bytes, trace: Optional[str]) -> None:
        """Hand a statement to the child."""
        raise NotImplementedError

    def complete(self, header: Header, code: bytes) -> None:
        """Ask the child for candidates."""
        raise NotImplementedError

    def _close_channels(self) -> None:
        """The child has ended: let go of what leads to it."""
        raise NotImplementedError

    # Its end

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
        self._drain_all()
        self._close_pipes()
        self._close_channels()
        self._on_ended()
