"""The session's Scala: runs cells in a REPL inside the driver's JVM, cancels them, replaces what won't stop.

Runs on the loop; what calls the JVM is on workers. Calls jvm_output, output, scala_completion, scala_errors,
scala_lines, scala_magics and scala_repl.

A cell runs piece by piece: each is a job of a worker, whose Python thread has one JVM thread. When it is
done, what it printed and what the REPL said of it are taken from their pipes, in this order. A cancelled
statement's thread is never used again, so that a late interrupt can't hit the next statement.
"""

from typing import Optional, Tuple

from . import scala_errors, scala_magics
from .background import BackgroundLog
from .config import Config
from .frames import Header
from .interpreters import Events, Interpreter, now_ms
from .loop import Loop, Timer
from .output import Composer, Value, error, too_large
from .scala_completion import Completions
from .scala_errors import Failure
from .scala_lines import COMMAND, Piece, Pieces
from .worker import Worker

MAX_ABANDONED = 8
"""Threads that won't stop, in one driver; each keeps a compiler in memory. After them Scala is given up."""

LOOK_SECONDS = 0.1
"""How often a cancel looks whether the compiler has come to the code, which alone may be interrupted."""

REPLACED = (
    "The statement did not stop when it was interrupted, so its thread was left behind. A new interpreter "
    "runs on the same SparkContext: cached data and temporary views are there, Scala variables are gone."
)

CONTEXT_REPLACED = "The SparkContext had been stopped; a new one was made."


class Statement:
    """The statement that runs, or waits for the REPL."""

    def __init__(self, number: int, code: bytes):
        self.number = number
        self.code = code.decode("utf-8", "replace")
        self.pieces = Pieces(self.code)
        self.started = 0
        self.cancelled = False
        self.timers: Tuple[Timer, ...] = ()
        self.value: Optional[Value] = None


class ScalaInterpreter(Interpreter):
    """One REPL at a time, and the thread that it interprets on."""

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog, events: Events):
        super().__init__(loop, config, log, events)
        self._composer = Composer(config.output_max_bytes, config.max_frame)
        self._wanted = False
        self._repl = None
        self._pieces_worker: Optional[Worker] = None
        self._ready = False
        self._told = False
        self._broken = ""
        self._abandoned = 0
        self._first_line = 0
        self._statement: Optional[Statement] = None
        self._completions = Completions(loop, events)

    # The common interface

    def start(self) -> None:
        """Make the REPL once the SparkContext is there."""
        self._wanted = True
        if self._spark is not None and self._repl is None and not self._broken:
            self._make()

    def attach(self, spark, worker) -> None:
        """The SparkContext is there."""
        super().attach(spark, worker)
        if self._wanted:
            self.start()

    def run(self, number: int, code: bytes) -> None:
        """Run a cell; there must be no other. It waits for the REPL where there is none yet."""
        self._statement = Statement(number, code)
        if self._broken:
            self._finish("available", error(number, "InterpreterError", self._broken))
        elif self._ready:
            self._begin()
        else:
            self.start()

    def cancel(self, number: int) -> None:
        """Stop the statement: its jobs and its thread, both again, and then it is left behind."""
        statement = self._statement
        if statement is None or statement.number != number or statement.cancelled:
            return
        statement.cancelled = True
        if not statement.started:
            self._finish("cancelled", b"")
            return
        again, grace = self._config.interrupt_again_ms / 1000, self._config.cancel_grace_ms / 1000
        self._interrupt(statement)
        statement.timers = (
            self._loop.later(again, lambda: self._interrupt(statement)),
            self._loop.later(grace, lambda: self._abandon(statement)),
        )

    def complete(self, header: Header, code: bytes) -> None:
        """Ask the presentation compiler, which is not the one that runs cells."""
        repl = self._repl if self._ready else None
        self._completions.ask(header, code, repl)

    # The REPL

    def _make(self) -> None:
        from .scala_repl import ScalaRepl

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
            self._ready = True
            if not self._told:
                self._told = True
                self._events.ready(version)
            if self._statement is not None:
                self._begin()

        worker.submit(lambda: repl.start(after), made)

    def _give_up(self, reason: str) -> None:
        self._broken, self._ready = reason, False
        statement = self._statement
        if statement is not None:
            self._finish("available", error(statement.number, "InterpreterError", reason))
        self._events.failed(reason)

    # A statement

    def _begin(self) -> None:
        statement, repl, worker, spark = self._statement, self._repl, self._pieces_worker, self._spark
        assert statement is not None and repl is not None and worker is not None and spark is not None
        spark.output.begin()
        statement.started = now_ms()
        self._events.started(statement.number, statement.started)

        def prepared(revived: Optional[bool], failure: Optional[Exception]) -> None:
            if statement is not self._statement:
                return
            if revived:
                self._events.notice(CONTEXT_REPLACED)
            if failure is not None:
                self._fail(statement, scala_errors.plain("Error", str(failure), []))
            else:
                self._next(statement, statement.pieces.next())

        worker.submit(lambda: repl.prepare(statement.number, statement.code), prepared)

    def _next(self, statement: Statement, piece: Optional[Piece]) -> None:
        repl, worker = self._repl, self._pieces_worker
        assert repl is not None and worker is not None
        if statement.cancelled:
            self._finish("cancelled", b"")
        elif piece is None:
            self._succeed(statement)
        elif COMMAND.match(piece.code):
            sentence = f"{piece.code.split()[0]}: the shell's commands are not available here"
            self._fail(statement, scala_errors.plain("Error", sentence, []))
        elif piece.magic is not None:
            self._magic(statement, piece)
        else:

            def done(result: Optional[str], failure: Optional[Exception]) -> None:
                if statement is self._statement and worker is self._pieces_worker:
                    self._piece_done(statement, piece, result, failure)

            worker.submit(lambda: repl.interpret(piece.code), done)

    def _piece_done(
        self, statement: Statement, piece: Piece, result: Optional[str], failure: Optional[Exception]
    ) -> None:
        spark = self._spark
        assert spark is not None
        echo = spark.output.take_echo()
        if statement.cancelled:
            self._finish("cancelled", b"")
        elif result == "Incomplete":
            longer = statement.pieces.more()
            if longer is None:
                self._fail(statement, scala_errors.INCOMPLETE)
            else:
                self._next(statement, longer)
        elif result == "Success":
            before = spark.output.out.total
            spark.output.out.add(echo.encode("utf-8", "replace"))
            if statement.value is not None and (before or echo):
                statement.value = None  # As in Livy, later text takes a magic's place.
            self._next(statement, statement.pieces.next())
        else:
            if failure is not None:
                echo += str(failure) + "\n"
            self._fail(statement, scala_errors.describe(echo, piece.code))

    def _magic(self, statement: Statement, piece: Piece) -> None:
        repl, worker, spark = self._repl, self._pieces_worker, self._spark
        assert repl is not None and worker is not None and spark is not None
        name, variable = piece.magic or "", piece.rest
        if name not in scala_magics.NAMES:
            self._fail(statement, scala_errors.plain("UnknownMagic", f"Unknown magic command {name}", []))
            return
        limit = self._config.output_max_bytes

        def done(text: Optional[str], failure: Optional[Exception]) -> None:
            if statement is not self._statement or worker is not self._pieces_worker:
                return
            echo = spark.output.take_echo()
            if statement.cancelled:
                self._finish("cancelled", b"")
            elif text:
                self._magic_done(statement, name, scala_magics.read(name, text))
            elif failure is None and (not variable or "not found: value" in echo):
                self._fail(statement, scala_errors.plain("NameError", f"Value {variable} does not exist", []))
            else:
                lines = echo.splitlines(keepends=True)
                lines += [str(failure) + "\n"] if failure is not None else []
                self._fail(statement, scala_errors.plain("ValueError", scala_magics.NOT_JSON, lines))

        if variable:
            worker.submit(lambda: repl.magic(name, variable, limit), done)
        else:
            done("", None)

    def _magic_done(self, statement: Statement, name: str, answer: scala_magics.Answer) -> None:
        spark, limit = self._spark, self._config.output_max_bytes
        assert spark is not None
        if answer.value is not None:
            statement.value = answer.value
            spark.output.out.clear()
            self._next(statement, statement.pieces.next())
        elif answer.seen:
            output = too_large(statement.number, f"The value, as far as %{name} read it,", answer.seen, limit)
            self._finish("available", output)
        else:
            reason = [answer.reason + "\n"] if answer.reason else []
            self._fail(statement, scala_errors.plain(answer.ename, answer.evalue, reason))

    def _succeed(self, statement: Statement) -> None:
        output = self._output()
        output.finish()
        values = [] if statement.value is None else [statement.value]
        if values:
            output.out.clear()  # One MIME type only.
        composed = self._composer.ok(statement.number, output.out, output.echo, values, strip=False)
        self._finish("available", composed)

    def _fail(self, statement: Statement, failure: Failure) -> None:
        output = self._output()
        output.finish()
        composed = self._composer.failed(statement.number, output.out, output.echo, failure)
        self._finish("available", composed)

    def _output(self):
        assert self._spark is not None
        return self._spark.output

    def _finish(self, state: str, composed: bytes) -> None:
        statement = self._statement
        assert statement is not None
        self._statement = None
        for timer in statement.timers:
            timer.cancel()
        if statement.started:
            output = self._output()
            output.finish()
            output.forget()
        if statement.cancelled and statement.started:
            self._cancel_jobs(statement.number, again=True)
            self._leave_thread()
        self._events.finished(statement.number, state, statement.started or now_ms(), composed, None)

    def _leave_thread(self) -> None:
        """Let the interpreting thread go: what comes next is on another."""
        spark, worker = self._spark, self._pieces_worker
        assert spark is not None
        if worker is not None:
            worker.submit(spark.release_thread)
            worker.close()
        self._pieces_worker = Worker(self._loop, "scala")

    # Cancelling

    def _interrupt(self, statement: Statement) -> None:
        """Cancel the jobs, and interrupt the thread as soon as it is in the cell's code.

        An interrupted compiler may lose its class path.
        """
        if statement is self._statement:
            self._cancel_jobs(statement.number)
            self._interrupt_thread(statement)

    def _interrupt_thread(self, statement: Statement) -> None:
        repl, control = self._repl, self._worker
        if statement is not self._statement or repl is None or control is None:
            return

        def told(interrupted: Optional[bool], _failure: Optional[Exception]) -> None:
            if not interrupted and statement is self._statement:
                self._loop.later(LOOK_SECONDS, lambda: self._interrupt_thread(statement))

        control.submit(repl.interrupt, told)

    def _cancel_jobs(self, number: int, again: bool = False) -> None:
        """Cancel the statement's Spark jobs; again later, for one that the JVM was about to submit."""
        spark, control = self._spark, self._worker
        assert spark is not None and control is not None
        control.submit(lambda: spark.cancel_group(number))
        for seconds in (0.5, 2.0, 5.0) if again else ():
            self._loop.later(seconds, lambda: control.submit(lambda: spark.cancel_group(number)))

    def _abandon(self, statement: Statement) -> None:
        """Leave the thread and its REPL behind, and make another."""
        repl, control = self._repl, self._worker
        if statement is not self._statement or repl is None or control is None:
            return
        self._abandoned += 1
        self._ready, self._repl, self._pieces_worker = False, None, None
        self._completions.forget()
        self._events.notice(f"Statement {statement.number}: {REPLACED}")
        self._finish("cancelled", error(statement.number, "InterpreterReplaced", REPLACED))
        if self._abandoned > MAX_ABANDONED:
            self._give_up(
                f"Scala is not started again: {self._abandoned} statements won't stop, and still run."
            )
            return

        def counted(lines: Optional[int], _failure: Optional[Exception]) -> None:
            self._first_line = max(self._first_line, lines or 0)
            if self._repl is None and not self._broken:
                self._make()

        control.submit(repl.used_lines, counted)
