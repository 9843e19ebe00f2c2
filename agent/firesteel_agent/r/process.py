"""One R process: how it is started, what it is asked, and its answers as the frames of other interpreters.

Calls interpreter_process, numbers and channel.
"""

import base64
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Callable, Dict, List, Optional

from ..background import BackgroundLog
from ..capture import Capture
from ..config import Config
from ..frames import Header
from ..interpreter_process import InterpreterProcess
from ..loop import Loop
from ..numbers import description_of
from ..output import dumps
from .channel import Answer, RChannel, question

MAX_WAITING = 8
"""Completions that wait for an answer to one before; more get no candidates."""

ANSWER_ROOM = 1 << 20
"""Bytes of an answer beyond the largest picture: an error's text, candidates."""

_ESCAPES = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]")
_BEGUN = re.compile(rb"\x1b(\[[0-9;]{0,32})?\Z")


class PlainCapture(Capture):
    """A stream without the escapes that colour a terminal, also where one comes in two pieces."""

    _held = b""

    def clear(self) -> None:
        super().clear()
        self._held = b""

    def add(self, data: bytes) -> None:
        if not self._held and b"\x1b" not in data:
            super().add(data)
            return
        data = _ESCAPES.sub(b"", self._held + data)
        begun = _BEGUN.search(data)
        self._held = data[begun.start() :] if begun else b""
        super().add(data[: len(data) - len(self._held)])


class RProcess(InterpreterProcess):
    """A child that runs R. `on_frame` gets what it says."""

    def __init__(
        self,
        loop: Loop,
        config: Config,
        log: BackgroundLog,
        command: str,
        on_frame: Callable[[Header, bytes], None],
        on_ended: Callable[[], None],
    ):
        super().__init__(loop, config, log, on_ended)
        keep = (config.output_max_bytes + 1) // 2
        self.out, self.err = PlainCapture(keep), PlainCapture(keep)
        self._limit = config.output_max_bytes
        self._on_frame = on_frame
        self._requests: Dict[int, object] = {}
        self._asked = 0
        self._directory = _directory(config)
        self._channel = RChannel(loop, self._limit + ANSWER_ROOM, self._answered, self._channel_ended)
        environment = _environment(dict(os.environ), self._directory)
        try:
            self._launch(self._command(command), self._channel.descriptors, environment)
        except OSError:
            self._close_channels()
            raise
        finally:
            self._channel.started()

    def _command(self, command: str) -> List[str]:
        scripts = Path(__file__).with_name("child")
        plots = str(Path(self._directory, "plots"))
        given = [str(scripts), *(str(fd) for fd in self._channel.descriptors), plots, str(self._limit)]
        options = ["--no-save", "--no-restore", "--no-echo"]
        main = str(scripts / "main.R")
        if Path(command).name.startswith("Rscript"):
            program = [command, *options, main, *given]
        else:
            program = [command, *options, "-f", main, "--args", *given]
        return [sys.executable, "-I", "-S", str(scripts / "launch.py"), *program]

    def attach(self, port: int, secret: str) -> None:
        """Have it attach SparkR to the backend of that port."""
        self._channel.ask(question("attach", 0, "-", 0, f"{port}\n{secret}".encode()))

    def run(self, statement: int, secret: str, code: bytes, trace: Optional[str]) -> None:
        """Hand a statement to the child; R takes no bytes that are not UTF-8."""
        text = code.decode("utf-8", "replace").encode()
        self._channel.ask(question("run", statement, secret, 0, text, description_of(statement, trace)))

    def complete(self, header: Header, code: bytes) -> None:
        """Ask the child for candidates."""
        if self._channel.waiting >= MAX_WAITING:
            request = header["request"]
            self._loop.soon(lambda: self._on_frame({"type": "completion", "request": request}, b"[]"))
            return
        self._asked += 1
        self._requests[self._asked] = header["request"]
        text = code.decode("utf-8", "replace").encode()
        self._channel.ask(question("complete", self._asked, "-", max(int(header["cursor"]), 0), text))

    def interrupt(self, statement: int) -> None:
        """SIGINT to R and to what it has started: R itself ignores it while it waits for a program."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGINT)

    def _answered(self, answer: Answer) -> None:
        body = answer.body
        if answer.type == "done":
            header, value = self._done(answer)
            self._on_frame(header, value)
        elif answer.type == "completion":
            names = [name for name in body.decode("utf-8", "replace").split("\n") if name]
            request = self._requests.pop(int(answer.id) if answer.id.isdigit() else -1, None)
            self._on_frame({"type": "completion", "request": request}, dumps(names))
        else:
            text = body.decode("utf-8", "replace")
            self._on_frame({"type": answer.type, "status": answer.status, "text": text}, b"")

    def _done(self, answer: Answer):
        header: Header = {"type": "done", "secret": answer.secret, "status": answer.status}
        header["id"] = int(answer.id) if answer.id.isdigit() else -1
        value = b""
        if answer.status == "ok" and answer.body:
            value = b'"%s"' % base64.b64encode(answer.body)
            header["values"] = [["image/png", len(value)]]
        if len(value) > self._limit:
            return dict(header, status="too_large", seen=len(value)), b""
        if answer.status == "too_large":
            header["seen"] = int(answer.body) if answer.body.isdigit() else 0
        elif answer.status != "ok":
            text = answer.body.decode("utf-8", "replace")
            value = dumps({"ename": "Error", "evalue": text, "traceback": []})
        return header, value

    def _close_channels(self) -> None:
        self._channel.close()
        # It may hold much, and the loop must not wait.
        threading.Thread(target=shutil.rmtree, args=(self._directory, True), daemon=True).start()


def _directory(config: Config) -> str:
    """A directory for this process's temporary files: in the driver's, so that it goes with it."""
    parent = Path(config.outbox).parent
    # R takes no directory that has a space in its path.
    return tempfile.mkdtemp(prefix="r-", dir=None if " " in str(parent) else parent)


def _environment(env: Dict[str, str], directory: str) -> Dict[str, str]:
    """R's environment: UTF-8 where there is no locale."""
    locale = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or "C"
    if locale in ("C", "POSIX"):
        env.pop("LC_ALL", None)
        env.pop("LC_CTYPE", None)
        env["LANG"] = "C.UTF-8"
    env["TMPDIR"] = directory
    return env
