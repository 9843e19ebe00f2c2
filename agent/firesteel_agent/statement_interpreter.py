"""An interpreter that has to be started: its statement waits until it is ready, and is cancelled in steps.

Calls interpreters and output. Python, R and Scala are its subclasses, SQL needs no start.
"""

from typing import Generic, Optional, Tuple, TypeVar

from .background import BackgroundLog
from .config import Config
from .interpreters import Events, Interpreter
from .loop import Loop, Timer
from .output import NOTHING, Composer, Output, error


class Statement:
    """The statement that runs, or waits for the interpreter."""

    def __init__(self, number: int):
        self.number = number
        self.started = 0
        """When, in epoch milliseconds; 0 while it waits."""
        self.cancelled = False
        self.timers: Tuple[Timer, ...] = ()


Running = TypeVar("Running", bound=Statement)


class StatementInterpreter(Interpreter, Generic[Running]):
    """One statement at a time, of an interpreter that may not be there yet, or for good."""

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog, events: Events):
        super().__init__(loop, config, log, events)
        self._composer = Composer(config.output_max_bytes, config.max_frame)
        self._statement: Optional[Running] = None
        self._broken = ""
        """Why it can't be started, for good."""
        self._ready = False
        """Whether there is an interpreter that takes statements."""
        self._told = False

    # What a language says

    def _new_statement(self, number: int, code: bytes) -> Running:
        raise NotImplementedError

    def _begin(self) -> None:
        """Run the statement, which the interpreter is ready for, and call `_finish`."""
        raise NotImplementedError

    def _interrupt(self, statement: Running) -> None:
        """Interrupt the statement, if it still runs, and cancel its jobs."""
        raise NotImplementedError

    def _overdue(self, statement: Running) -> None:
        """The statement was interrupted twice, and the grace is over."""
        raise NotImplementedError

    def _finish(self, state: str, output: Output) -> None:
        """The statement has ended: tell it, and let go of what is its own."""
        raise NotImplementedError

    # The common interface

    def run(self, number: int, code: bytes) -> None:
        """Run a statement; there must be no other. It waits for an interpreter where there is none yet."""
        self._statement = self._new_statement(number, code)
        if self._broken:
            self._finish("available", error(number, "InterpreterError", self._broken))
        elif self._ready:
            self._begin_when_free()
        else:
            self.start()

    def cancel(self, number: int) -> None:
        """Stop the statement: an interrupt, another, and then the interpreter is replaced."""
        statement = self._statement
        if statement is None or statement.number != number or statement.cancelled:
            return
        statement.cancelled = True
        if not statement.started:
            self._finish("cancelled", NOTHING)
            return
        again, grace = self._config.interrupt_again_ms / 1000, self._config.cancel_grace_ms / 1000
        self._interrupt(statement)
        statement.timers = (
            self._loop.later(again, lambda: self._interrupt(statement)),
            self._loop.later(grace, lambda: self._overdue(statement)),
        )

    # For subclasses

    def _now_ready(self, detail: str) -> None:
        """There is an interpreter: tell it the first time, and begin the statement that waits."""
        self._ready = True
        if not self._told:
            self._told = True
            self._events.ready(detail)
        self._begin_when_free()

    def _begin_when_free(self) -> None:
        """Begin the statement that waits, if one does and the interpreter is ready."""
        statement = self._statement
        if self._ready and statement is not None and not statement.started:
            self._begin()

    def _give_up(self, reason: str) -> None:
        self._broken, self._ready = reason, False
        statement = self._statement
        if statement is not None:
            self._finish("available", error(statement.number, "InterpreterError", reason))
        self._events.failed(reason)

    def _cancel_jobs(self, number: int, again: bool = False) -> None:
        """Cancel the statement's Spark jobs; again later, for one that the JVM was about to submit."""
        spark, worker = self._spark, self._worker
        if spark is None or worker is None:
            return
        worker.submit(lambda: spark.cancel_group(number))
        for seconds in (0.5, 2.0, 5.0) if again else ():
            self._loop.later(seconds, lambda: worker.submit(lambda: spark.cancel_group(number)))
