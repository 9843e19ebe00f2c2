"""The session's Python: a process that is attached to the JVM through a gateway of its own.

Calls process_interpreter, python_process, and the JVM through a worker.
"""

from typing import TYPE_CHECKING, Optional

from .process_interpreter import ProcessInterpreter
from .python_process import PythonProcess

if TYPE_CHECKING:
    from .spark import Gateway


class PythonInterpreter(ProcessInterpreter):
    """One Python process at a time."""

    LANGUAGE = "Python"
    _gateway: "Optional[Gateway]" = None

    def _make_process(self) -> PythonProcess:
        return PythonProcess(self._loop, self._config, self._log, self._frame, self._ended)

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

        worker.submit(spark.open_gateway, opened)

    def _close(self) -> None:
        gateway, spark, worker = self._gateway, self._spark, self._worker
        self._gateway = None
        if gateway is not None and spark is not None and worker is not None:
            worker.submit(lambda: spark.close_gateway(gateway))
