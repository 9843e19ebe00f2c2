"""The Scala REPL that a session has now, and the statement that it runs: made, cancelled, replaced.

Runs on the loop; what calls the JVM is on workers. Calls completions and repl; interpreter.py has its
subclass, which runs the cell.

A cancelled statement's thread is never used again, so that a late interrupt can't hit the next statement.
"""

from typing import Optional

from ..background import BackgroundLog
from ..completions import Completions
from ..config import Config
from ..frames import Header
from ..interpreters import Events, now_ms
from ..loop import Loop
from ..output import NOTHING, Output, Value, error
from ..statement_interpreter import Statement, StatementInterpreter
from ..worker import Worker
from .lines import Pieces

COMPLETION_SECONDS = 8.0
"""How long an answer may take. The first one loads a compiler, and each reads all that the session has
defined: on a busy machine that takes seconds."""

MAX_COMPLETIONS = 4
"""Questions that wait for the compiler; a further one gets no candidates."""

MAX_ABANDONED = 8
"""Threads that won't stop, in one driver; each keeps a compiler in memory. After them Scala is given up."""

LOOK_SECONDS = 0.1
"""How often a cancel looks whether the compiler has come to the code, which alone may be interrupted."""

MANY_LINES = 10_000
"""Class numbers that an abandoned REPL has not used up, where it can't be asked."""

FINISH_SECONDS = 10.0
"""How long the compiler may go on with what was cancelled, before its REPL is left behind, too."""

REPLACED = (
    "The statement did not stop when it was interrupted, so its thread was left behind. A new interpreter "
    "runs on the same SparkContext: cached data and temporary views are there, Scala variables are gone."
)


class ScalaStatement(Statement):
    """A cell, piece by piece."""

    def __init__(self, number: int, code: bytes):
        super().__init__(number)
        self.code = code.decode("utf-8", "replace")
        self.pieces = Pieces(self.code)
        self.value: Optional[Value] = None


class ScalaSession(StatementInterpreter[ScalaStatement]):
    """One REPL at a time, and the thread that it interprets on."""

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog, events: Events):
        super().__init__(loop, config, log, events)
        self._wanted = False
        self._repl = None
        self._pieces_worker: Optional[Worker] = None
        self._abandoned = 0
        self._leaving: Optional[Worker] = None
        """The worker of a cancelled statement, until its thread has come back."""
        self._first_line = 0
        """Where the class numbers of the next REPL begin."""
        self._counting = False
        """An abandoned REPL is being asked for that; until then no other may be made."""
        self._completions = Completions(loop, events, "scala-completion", COMPLETION_SECONDS, MAX_COMPLETIONS)

    def start(self) -> None:
        """Make the REPL once the SparkContext is there."""
        self._wanted = True
        if self._spark is not None and self._repl is None and not self._broken and not self._counting:
            self._make()

    def attach(self, spark, worker) -> None:
        """The SparkContext is there."""
        super().attach(spark, worker)
        if self._wanted:
            self.start()

    def complete(self, header: Header, code: bytes) -> None:
        """Ask the presentation compiler, which is not the one that runs cells."""
        repl = self._repl if self._ready else None
        if repl is None or self._completions.full:
            self._completions.answer(header, [])
            return
        text = code.decode("utf-8", "replace")
        cursor = max(0, min(int(header["cursor"]), len(text)))
        # Java counts in UTF-16 code units.
        units = len(text[:cursor].encode("utf-16-le")) // 2
        self._completions.ask(header, lambda: sorted(set(repl.complete(text, units, COMPLETION_SECONDS))))

    # The REPL

    def _make(self) -> None:
        from .repl import ScalaRepl

        spark = self._spark
        assert spark is not None
        repl = self._repl = ScalaRepl(spark)
        worker = self._pieces_worker = Worker(self._loop, "scala")
        after = self._first_line

        def made(version: Optional[str], failure: Optional[Exception]) -> None:
            if repl is not self._repl:
                return
            if version is None:
                self._give_up(f"The Scala interpreter can't be started: {failure!s}")
                return
            self._now_ready(version)

        worker.submit(lambda: repl.start(after), made)

    # The statement

    def _new_statement(self, number: int, code: bytes) -> ScalaStatement:
        return ScalaStatement(number, code)

    def _begin_when_free(self) -> None:
        # A cancelled statement's thread may still be in the REPL.
        if self._leaving is None:
            super()._begin_when_free()

    def _finish(self, state: str, composed: Output) -> None:
        statement = self._statement
        assert statement is not None
        self._statement = None
        for timer in statement.timers:
            timer.cancel()
        if statement.started:
            assert self._spark is not None
            self._spark.output.finish()
            self._spark.output.forget()
        if statement.cancelled and statement.started:
            self._cancel_jobs(statement.number, again=True)
            self._leave_thread()
        self._events.finished(statement.number, state, statement.started or now_ms(), composed)

    def _leave_thread(self) -> None:
        """Let the interpreting thread go: what comes next is on another."""
        spark, worker = self._spark, self._pieces_worker
        assert spark is not None
        if worker is None:
            return

        def left(_done: None, _failure: Optional[Exception]) -> None:
            if self._leaving is worker:
                self._leaving = None
                self._begin_when_free()

        self._leaving = worker
        worker.submit(spark.release_thread, left)
        worker.close()
        self._pieces_worker = Worker(self._loop, "scala")

    # Cancelling

    def _interrupt(self, statement: ScalaStatement) -> None:
        """Cancel the jobs, and interrupt the thread as soon as it is in the cell's code.

        An interrupted compiler may lose its class path.
        """
        if statement is self._statement:
            self._cancel_jobs(statement.number)
            self._interrupt_thread(statement)

    def _interrupt_thread(self, statement: ScalaStatement) -> None:
        repl, control = self._repl, self._worker
        if statement is not self._statement or repl is None or control is None:
            return

        def told(interrupted: Optional[bool], _failure: Optional[Exception]) -> None:
            if not interrupted and statement is self._statement:
                self._loop.later(LOOK_SECONDS, lambda: self._interrupt_thread(statement))

        control.submit(repl.interrupt, told)

    def _overdue(self, statement: ScalaStatement) -> None:
        """The grace is over: a compiler will end by itself, a cell's code will not."""
        repl, control = self._repl, self._worker
        if statement is not self._statement or repl is None or control is None:
            return

        def told(in_code: Optional[bool], _failure: Optional[Exception]) -> None:
            if statement is not self._statement:
                return
            if in_code is not False:
                self._events.notice(f"Statement {statement.number}: {REPLACED}")
                self._finish("cancelled", error(statement.number, "InterpreterReplaced", REPLACED))
                self._abandon()
                return
            self._finish("cancelled", NOTHING)
            leaving = self._leaving
            assert leaving is not None
            self._loop.later(FINISH_SECONDS, lambda: self._finish_late(statement.number, leaving))
            self._chase(leaving)

        control.submit(repl.in_user_code, told)

    def _chase(self, leaving: Worker) -> None:
        """The compiler may yet come to the code of a statement that has ended: it is interrupted at once."""
        repl, control = self._repl, self._worker
        if self._leaving is leaving and repl is not None and control is not None:

            def looked(_interrupted: Optional[bool], _failure: Optional[Exception]) -> None:
                self._loop.later(LOOK_SECONDS, lambda: self._chase(leaving))

            control.submit(repl.interrupt, looked)

    def _finish_late(self, number: int, leaving: Worker) -> None:
        if self._leaving is leaving:
            self._events.notice(f"Statement {number}: {REPLACED}")
            self._abandon()

    def _abandon(self) -> None:
        """Leave the thread and its REPL behind, and make another."""
        repl, control = self._repl, self._worker
        assert repl is not None and control is not None
        self._abandoned += 1
        self._ready, self._repl, self._pieces_worker, self._leaving = False, None, None, None
        self._completions.forget()
        if self._abandoned > MAX_ABANDONED:
            self._give_up(
                f"Scala is not started again: {self._abandoned} statements won't stop, and still run."
            )
            return

        def counted(lines: Optional[int], _failure: Optional[Exception]) -> None:
            self._first_line = lines or self._first_line + MANY_LINES
            self._counting = False
            self.start()

        self._counting = True
        control.submit(repl.used_lines, counted)
