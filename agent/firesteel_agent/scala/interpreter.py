"""The session's Scala: runs cells piece by piece in a REPL inside the driver's JVM.

Runs on the loop; what calls the JVM is on workers. Calls jvm_output, output, errors, lines,
magics and session.

Each piece is a job of a worker, whose Python thread has one JVM thread. When it is done, what it printed and
what the REPL said of it are taken from their pipes, in this order.
"""

from typing import Optional

from ..interpreters import now_ms
from ..output import NOTHING, structured, too_large_failure
from . import errors, magics
from .errors import Failure
from .lines import COMMAND, MAX_DEPTH, Piece, depth
from .session import ScalaSession, ScalaStatement


class ScalaInterpreter(ScalaSession):
    """Runs one cell at a time."""

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
                self._events.replaced()
            if failure is not None:
                self._fail(statement, errors.plain("Error", str(failure), []))
            else:
                self._next(statement, statement.pieces.next())

        worker.submit(lambda: repl.prepare(statement.number, statement.code), prepared)

    def _next(self, statement: ScalaStatement, piece: Optional[Piece]) -> None:
        repl, worker = self._repl, self._pieces_worker
        assert repl is not None and worker is not None
        if statement.cancelled:
            self._finish("cancelled", NOTHING)
        elif piece is None:
            self._succeed(statement)
        elif COMMAND.match(piece.code):
            sentence = f"{piece.code.split()[0]}: the shell's commands are not available here"
            self._fail(statement, errors.plain("Error", sentence, []))
        elif depth(piece.code) > MAX_DEPTH:
            sentence = f"Brackets are nested more than {MAX_DEPTH} deep, for which the compiler has no stack."
            self._fail(statement, errors.plain("Error", sentence, []))
        elif piece.magic is not None:
            self._magic(statement, piece)
        else:

            def done(result: Optional[str], failure: Optional[Exception]) -> None:
                if statement is self._statement and worker is self._pieces_worker:
                    self._piece_done(statement, piece, result, failure)

            worker.submit(lambda: repl.interpret(piece.code), done)

    def _piece_done(
        self, statement: ScalaStatement, piece: Piece, result: Optional[str], failure: Optional[Exception]
    ) -> None:
        spark = self._spark
        assert spark is not None
        echo = spark.output.take_echo()
        if statement.cancelled:
            self._finish("cancelled", NOTHING)
        elif result == "Incomplete":
            longer = statement.pieces.more()
            if longer is None:
                self._fail(statement, errors.INCOMPLETE)
            else:
                self._next(statement, longer)
        elif result == "Success":
            before = spark.output.out.total
            spark.output.print(echo)
            if statement.value is not None and (before or echo):
                statement.value = None  # As in Livy, later text takes a magic's place.
            self._next(statement, statement.pieces.next())
        else:
            if failure is not None:
                echo += str(failure) + "\n"
            self._fail(statement, errors.describe(echo, piece.code))

    def _magic(self, statement: ScalaStatement, piece: Piece) -> None:
        repl, worker, spark = self._repl, self._pieces_worker, self._spark
        assert repl is not None and worker is not None and spark is not None
        name, variable = piece.magic or "", piece.rest
        if name not in magics.NAMES:
            self._fail(statement, errors.plain("UnknownMagic", f"Unknown magic command {name}", []))
            return
        limit = self._config.output_max_bytes

        def done(text: Optional[str], failure: Optional[Exception]) -> None:
            if statement is not self._statement or worker is not self._pieces_worker:
                return
            echo = spark.output.take_echo()
            if statement.cancelled:
                self._finish("cancelled", NOTHING)
            elif text:
                self._magic_done(statement, name, magics.read(name, text))
            elif failure is None and (not variable or "not found: value" in echo):
                self._fail(statement, errors.plain("NameError", f"Value {variable} does not exist", []))
            else:
                lines = echo.splitlines(keepends=True)
                lines += [str(failure) + "\n"] if failure is not None else []
                self._fail(statement, errors.plain("ValueError", magics.NOT_JSON, lines))

        if variable:
            worker.submit(lambda: repl.magic(name, variable, limit), done)
        else:
            done("", None)

    def _magic_done(self, statement: ScalaStatement, name: str, answer: magics.Answer) -> None:
        spark, limit = self._spark, self._config.output_max_bytes
        assert spark is not None
        if answer.value is not None:
            statement.value = answer.value
            spark.output.out.clear()
            self._next(statement, statement.pieces.next())
        elif answer.seen:
            failure = too_large_failure(f"The value, as far as %{name} read it,", answer.seen, limit)
            self._fail(statement, failure, structured(answer.seen, limit))
        else:
            reason = [answer.reason + "\n"] if answer.reason else []
            self._fail(statement, errors.plain(answer.ename, answer.evalue, reason))

    def _succeed(self, statement: ScalaStatement) -> None:
        output = self._output()
        output.finish()
        values = [] if statement.value is None else [statement.value]
        if values:
            output.out.clear()  # One MIME type only.
        composed = self._composer.ok(statement.number, output.out, output.echo, values, strip=False)
        self._finish("available", composed)

    def _fail(self, statement: ScalaStatement, failure: Failure, cut: Optional[dict] = None) -> None:
        output = self._output()
        output.finish()
        composed = self._composer.failed(statement.number, output.out, output.echo, failure)
        self._finish("available", composed._replace(cut=cut or composed.cut))

    def _output(self):
        assert self._spark is not None
        return self._spark.output
