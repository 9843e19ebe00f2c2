"""One Python interpreter's process: its two channels, and how its statement is interrupted.

Calls interpreter_process, channel, frames and the child's interrupt.
"""

import mmap
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, List, Optional

from ..background import BackgroundLog
from ..channel import Channel
from ..config import Config
from ..frames import OVERHEAD, Header, encode
from ..interpreter_process import InterpreterProcess
from ..loop import Loop
from .child.interrupt import NOBODY, NUMBER
from .program import PythonProgram

if TYPE_CHECKING:
    from ..spark import Gateway


class PythonProcess(InterpreterProcess):
    """A control channel for the main thread, another for completion, and shared memory that names the
    cancelled statement."""

    def __init__(
        self,
        loop: Loop,
        config: Config,
        program: PythonProgram,
        log: BackgroundLog,
        on_frame: Callable[[Header, bytes], None],
        on_ended: Callable[[], None],
    ):
        super().__init__(loop, config, log, on_ended)
        control, control_child = socket.socketpair()
        completion, completion_child = socket.socketpair()
        cancelled = os.memfd_create("firesteel-cancelled")
        os.ftruncate(cancelled, NUMBER.size)
        self._cancelled = mmap.mmap(cancelled, NUMBER.size)
        NUMBER.pack_into(self._cancelled, 0, NOBODY)
        children = [control_child.fileno(), completion_child.fileno(), cancelled]
        limits = [config.output_max_bytes, config.max_frame, int(config.rich)]
        script = Path(__file__).with_name("child") / "main.py"
        command = [program.path, str(script), *(str(number) for number in children + limits)]
        try:
            self._launch(command, children, program.environment())
        except OSError:
            control.close()
            completion.close()
            raise
        finally:
            control_child.close()
            completion_child.close()
            os.close(cancelled)
        max_reply = config.output_max_bytes + OVERHEAD
        self._control = Channel(loop, control, max_reply, on_frame, self._channel_ended)
        self._completion = Channel(loop, completion, max_reply, on_frame, lambda _reason: None)

    def attach(self, gateway: "Gateway") -> None:
        """The JVM is there."""
        self._send({"type": "attach", "port": gateway.port, "gateway_secret": gateway.secret})

    def include(self, name: str) -> None:
        """Spark has a new Python file."""
        self._send({"type": "include", "name": name})

    def prepare(self, imports: List[str], first_job: bool) -> None:
        """Import modules and run a Spark job; a frame `prepared` answers."""
        self._send({"type": "prepare", "imports": imports, "first_job": first_job})

    def rename(self, app_name: str) -> None:
        """The application has another name."""
        self._send({"type": "rename", "app_name": app_name})

    def set_environment(self, variables: Dict[str, str]) -> None:
        """Set them in `os.environ`."""
        self._send({"type": "environment", "variables": variables})

    def run(self, statement: int, secret: str, code: bytes, trace: Optional[str]) -> None:
        """Run a statement on the main thread."""
        self._send({"type": "run", "id": statement, "secret": secret, "trace": trace}, code)

    def complete(self, header: Header, code: bytes) -> None:
        """Ask the completion thread."""
        self._completion.write(encode(header, code))

    def interrupt(self, statement: int) -> None:
        """SIGINT, which the interpreter heeds only while it runs that statement."""
        NUMBER.pack_into(self._cancelled, 0, statement)
        super().interrupt(statement)

    def _send(self, header: Header, body: bytes = b"") -> None:
        self._control.write(encode(header, body))

    def _close_channels(self) -> None:
        self._control.close()
        self._completion.close()
        self._cancelled.close()
