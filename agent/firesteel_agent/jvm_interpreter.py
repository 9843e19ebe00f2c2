"""An interpreter whose code runs in the driver's JVM, called from a worker of its own.

Calls output and spark. SQL and Java's jobs are its subclasses.

A cancelled statement's thread is never used again, so that a late interrupt can't hit the next statement.
"""

from typing import Any, Optional, Tuple

from .background import BackgroundLog
from .config import Config
from .interpreters import Events, Interpreter, now_ms
from .loop import Loop, Timer
from .numbers import name_of
from .output import NOTHING, Output, error
from .spark import Spark
from .worker import Worker


class JvmInterpreter(Interpreter):
    """Runs one statement or job at a time."""

    LANGUAGE = ""
    """The name of its thread."""

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog, events: Events):
        super().__init__(loop, config, log, events)
        self._calls: Optional[Worker] = None
        self._thread: Any = None
        self._number: Optional[int] = None
        self._started = 0
        self._cancelled = False
        self._timers: Tuple[Timer, ...] = ()
        self._waiting: Optional[Tuple[int, bytes]] = None

    # What a language says

    def _cell(self, number: int, code: bytes) -> Output:
        """On the worker: call `_prepare`, then run the code."""
        raise NotImplementedError

    def _failed(self, number: int, failure: Exception) -> None:
        """The code raised: find out what, and call `_finish`."""
        raise NotImplementedError

    # The common interface

    def attach(self, spark: Spark, worker: Worker) -> None:
        """The SparkContext is there, which is all that is needed."""
        super().attach(spark, worker)
        self._events.ready("")
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self.run(*waiting)

    def run(self, number: int, code: bytes) -> None:
        """Run it; there must be no other. It waits for the SparkContext."""
        if self._spark is None:
            self._waiting = (number, code)
            return
        self._number, self._cancelled = number, False
        self._started = now_ms()
        self._events.started(number, self._started)
        if self._calls is None:
            self._calls = Worker(self._loop, self.LANGUAGE)
        calls = self._calls

        def done(result: Optional[Output], failure: Optional[Exception]) -> None:
            if number == self._number and calls is self._calls:
                self._done(result, failure)

        calls.submit(lambda: self._cell(number, code), done)

    def cancel(self, number: int) -> None:
        """Cancel its jobs and interrupt its JVM thread, twice; then leave the thread behind."""
        if self._waiting is not None and self._waiting[0] == number:
            self._waiting = None
            self._events.finished(number, "cancelled", now_ms(), NOTHING)
            return
        if number != self._number or self._cancelled:
            return
        self._cancelled = True
        self._interrupt()
        self._timers = (
            self._loop.later(self._config.interrupt_again_ms / 1000, self._interrupt),
            self._loop.later(self._config.cancel_grace_ms / 1000, self._abandon),
        )

    # For subclasses

    def _context_replaced(self) -> None:
        """On the worker: what belonged to the last SparkContext is of no use any more."""

    def _prepare(self, number: int) -> Spark:
        """On the worker, before anything runs: the thread is known, and has a context and a job group."""
        spark = self._spark
        assert spark is not None
        if self._thread is None:
            self._thread = spark.jvm.java.lang.Thread.currentThread()
        if spark.context_or_new():
            self._context_replaced()
            self._loop.post(self._events.replaced)
        spark.set_group(number)
        return spark

    def _finish(self, state: str, output: Output) -> None:
        number = self._number
        if number is None:
            return
        for timer in self._timers:
            timer.cancel()
        self._timers = ()
        if self._cancelled and self._calls is not None and self._spark is not None:
            self._calls.submit(self._spark.release_thread)
            self._calls.close()
            self._calls = self._thread = None
        self._number = None
        self._events.finished(number, state, self._started, output)

    def _done(self, result: Optional[Output], failure: Optional[Exception]) -> None:
        assert self._number is not None
        if self._cancelled:
            self._finish("cancelled", NOTHING)
        elif failure is not None:
            self._failed(self._number, failure)
        else:
            assert result is not None
            self._finish("available", result)

    def _interrupt(self) -> None:
        number, thread, spark, control = self._number, self._thread, self._spark, self._worker
        if number is None or spark is None or control is None:
            return
        control.submit(lambda: spark.cancel_group(number))
        if thread is not None:
            control.submit(thread.interrupt)

    def _abandon(self) -> None:
        number = self._number
        if number is None:
            return
        sentence = "The statement did not stop when it was interrupted, so its thread was left behind."
        self._events.notice(f"{name_of(number).capitalize()}: {sentence}")
        self._finish("cancelled", error(number, "InterpreterReplaced", sentence))
