"""The session's Python: a process that is attached to the JVM through a gateway of its own.

Calls process_interpreter, process, program, and the JVM through a worker.
"""

from typing import TYPE_CHECKING, Callable, Dict, List, Optional

from ..background import BackgroundLog
from ..config import Config
from ..frames import Header
from ..interpreters import Events
from ..loop import Loop
from ..process_interpreter import ProcessInterpreter
from ..worker import Worker
from .process import PythonProcess
from .program import PythonProgram

if TYPE_CHECKING:
    from ..spark import Gateway


class PythonInterpreter(ProcessInterpreter):
    """One Python process at a time."""

    LANGUAGE = "Python"

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog, events: Events):
        super().__init__(loop, config, log, events)
        self._program = PythonProgram(config.python)
        self._gateway: Optional[Gateway] = None
        self._included: List[str] = []
        self._prepared: Optional[Callable[[List[List[str]]], None]] = None

    def start(self) -> None:
        """Start an interpreter, unless its Python is in an archive that Spark has not unpacked yet."""
        if self._program.path:
            super().start()

    def attach(self, spark, worker) -> None:
        """The SparkContext is there."""
        super().attach(spark, worker)
        if not self._program.path:
            worker.submit(lambda: (spark.files_root(), spark.is_local()), self._unpacked)

    def _unpacked(self, place, failure: Optional[Exception]) -> None:
        if place is None:
            self._give_up(f"The archive of {self._config.python} can't be found: {type(failure).__name__}.")
            return
        self._program.unpacked(*place)
        self.start()

    def _make_process(self) -> PythonProcess:
        return PythonProcess(self._loop, self._config, self._program, self._log, self._frame, self._ended)

    def _open(self) -> None:
        process, spark, worker = self._process, self._spark, self._worker
        assert isinstance(process, PythonProcess) and spark is not None and worker is not None

        def opened(gateway: "Optional[Gateway]", failure: Optional[Exception]) -> None:
            if gateway is None:
                self._give_up(f"The JVM opens no gateway for the interpreter: {type(failure).__name__}.")
            elif process is not self._process:
                worker.submit(lambda: spark.close_gateway(gateway))
            else:
                self._gateway = gateway
                process.attach(gateway)
                for name in self._included:
                    process.include(name)

        worker.submit(spark.open_gateway, opened)

    def include(self, name: str) -> None:
        """The statements after this can import it, those of a later process too."""
        self._included.append(name)
        if self._gateway is not None and isinstance(self._process, PythonProcess):
            self._process.include(name)

    def set_environment(self, variables: Dict[str, str]) -> None:
        """A later process has them from the agent's own environment."""
        if isinstance(self._process, PythonProcess):
            self._process.set_environment(variables)

    def prepare(self, imports: List[str], first_job: bool, then: Callable[[List[List[str]]], None]) -> None:
        """Before the first statement."""
        self._prepared = then
        if isinstance(self._process, PythonProcess):
            self._process.prepare(imports, first_job)

    def rename(self, app_name: str) -> None:
        """A later process reads it from the context."""
        if isinstance(self._process, PythonProcess):
            self._process.rename(app_name)

    def _frame(self, header: Header, body: bytes) -> None:
        then = self._prepared
        if header["type"] == "prepared" and then is not None:
            self._prepared = None
            then(header["failed"])
        else:
            super()._frame(header, body)

    def _attach_done(self, version: str) -> None:
        first = not self._told
        super()._attach_done(version)
        if first and self._program.differs():
            looker = Worker(self._loop, "python-version")
            looker.submit(lambda: self._program.mismatch(version), self._compared)
            looker.close()

    def _compared(self, sentence: Optional[str], _failure: Optional[Exception]) -> None:
        if sentence:
            self._events.notice(sentence)

    def _close(self) -> None:
        gateway, spark, worker = self._gateway, self._spark, self._worker
        self._gateway = None
        if gateway is not None and spark is not None and worker is not None:
            worker.submit(lambda: spark.close_gateway(gateway))
