"""The session's R: a process of its own, with SparkR on the SparkContext where SPARK_HOME has it.

Calls process_interpreter, process, and the JVM through a worker.
"""

import shutil
from typing import TYPE_CHECKING, Optional

from ..frames import Header
from ..process_interpreter import ProcessInterpreter
from .process import RProcess

if TYPE_CHECKING:
    from ..spark import RBackend

DEFAULT_COMMANDS = ("R", "Rscript")
"""What is looked for on the PATH where the conf names none."""

NOT_INSTALLED = (
    "R is not installed where this session's driver runs: install it there (on Debian: apt-get install "
    "r-base-core), or name it with spark.r.shell.command."
)


class RInterpreter(ProcessInterpreter):
    """One R process at a time. It is started when the SparkContext is there, whose conf names the program."""

    LANGUAGE = "R"
    _command = ""
    _wanted = False
    _backend: "Optional[RBackend]" = None

    def start(self) -> None:
        """Start R once its program is known."""
        self._wanted = True
        if self._command:
            super().start()

    def attach(self, spark, worker) -> None:
        """The SparkContext is there: ask its conf for the program."""
        super().attach(spark, worker)

        def asked(named: Optional[str], _failure: Optional[Exception]) -> None:
            found = [path for path in map(shutil.which, [named] if named else DEFAULT_COMMANDS) if path]
            if found:
                self._command = found[0]
            elif named:
                self._broken = f"There is no program {named}, which the conf names for R."
            else:
                self._broken = NOT_INSTALLED
            if self._wanted and self._broken:
                self._give_up(self._broken)
            elif self._wanted:
                self.start()

        worker.submit(spark.r_command, asked)

    def complete(self, header: Header, code: bytes) -> None:
        """Ask for candidates; R can't give any while it runs a statement."""
        if self._statement is None:
            super().complete(header, code)
        else:
            self._events.completed(header, b"[]")

    def _make_process(self) -> RProcess:
        return RProcess(self._loop, self._config, self._log, self._command, self._frame, self._ended)

    def _open(self) -> None:
        """R says by itself whether there is SparkR: see `_frame`."""

    def _frame(self, header: Header, body: bytes) -> None:
        kind = header["type"]
        if kind == "hello" and not self._ready:
            self._version = str(header["text"])
            if header["status"] == "sparkr":
                self._open_backend()
            else:
                self._attach_done(self._version)
        elif kind == "attached" and not self._ready:
            if header["status"] != "ok":
                self._events.notice(f"SparkR can't be attached: {header['text']}")
            self._attach_done(self._version)
        elif kind in ("done", "completion"):
            super()._frame(header, body)

    def _open_backend(self) -> None:
        process, spark, worker = self._process, self._spark, self._worker
        assert isinstance(process, RProcess) and spark is not None and worker is not None

        def opened(backend: "Optional[RBackend]", failure: Optional[Exception]) -> None:
            if backend is None:
                self._give_up(f"The JVM opens no backend for SparkR: {type(failure).__name__}.")
            elif process is not self._process:
                worker.submit(backend.server.close)
            else:
                self._backend = backend
                process.attach(backend.port, backend.secret)

        worker.submit(spark.open_r_backend, opened)

    def _close(self) -> None:
        backend, worker = self._backend, self._worker
        self._backend = None
        if backend is not None and worker is not None:
            worker.submit(backend.server.close)
