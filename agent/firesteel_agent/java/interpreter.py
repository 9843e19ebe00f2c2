"""Java's and Scala's jobs: Livy's own classes read them, call them, and write their results.

Calls completions, jobs, jvm_interpreter and output.
"""

from typing import List

from py4j.protocol import Py4JError, Py4JJavaError

from ..background import BackgroundLog
from ..completions import Completions
from ..config import Config
from ..frames import Header
from ..interpreters import COMPLETION_SECONDS, Events
from ..jvm_interpreter import JvmInterpreter
from ..loop import Loop
from ..output import Output, error, job_result, too_large
from ..spark import Spark
from ..worker import Worker
from .jobs import JavaJobs, NoLivy

MAX_ASKED = 8
"""Questions that wait for the JVM; a further one is told that jobs run."""

MAX_TRACE = 256 << 10
"""Characters that are kept of a stack trace."""


class JavaInterpreter(JvmInterpreter):
    """Runs one job at a time. Its one completion is the sentence why it can't."""

    LANGUAGE = "java"

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog, events: Events):
        super().__init__(loop, config, log, events)
        self._questions = Completions(loop, events, "java-classes", COMPLETION_SECONDS, MAX_ASKED)

    def attach(self, spark: Spark, worker: Worker) -> None:
        """The SparkContext is there."""
        self._jobs = JavaJobs(spark)
        super().attach(spark, worker)

    def complete(self, header: Header, code: bytes) -> None:
        """Answer with the sentence why no job runs, or with nothing."""
        if self._spark is None or self._questions.full:
            self._questions.answer(header, [])
        else:
            self._questions.ask(header, self._refusal)

    def _refusal(self) -> List[str]:
        try:
            self._jobs.check()
        except NoLivy as refusal:
            return [str(refusal)]
        return []

    def _cell(self, number: int, code: bytes) -> Output:
        self._prepare(number)
        result, limit = self._jobs.run(code), self._config.output_max_bytes
        if result is not None and len(result) > limit:
            return too_large(number, "The result", len(result), limit)
        return job_result(result)

    def _failed(self, number: int, failure: Exception) -> None:
        control = self._worker
        assert control is not None
        if isinstance(failure, NoLivy):
            self._finish("available", error(number, "NoLivy", str(failure)))
            return

        def described(trace, bad) -> None:
            told = (
                error(number, "Error", str(failure), [trace]) if trace else error(number, "Error", str(bad))
            )
            self._finish("available", told)

        control.submit(lambda: self._trace(failure), described)

    def _trace(self, failure: Exception) -> str:
        """Java's stack trace, as Livy tells it."""
        if not isinstance(failure, Py4JJavaError):
            return f"{type(failure).__name__}: {failure}\n"
        assert self._spark is not None
        text = self._spark.jvm.java.io.StringWriter()
        try:
            failure.java_exception.printStackTrace(self._spark.jvm.java.io.PrintWriter(text))
        except Py4JError:
            return "The driver's JVM ended.\n"
        return text.toString()[:MAX_TRACE]
