"""SQL cells: their statements run in the JVM on a worker of their own.

Calls completion, completions, rows, text, spark and output.

A cancelled statement's thread is never used again, so that a late interrupt can't hit the next statement.
"""

import re
from typing import Any, List, NamedTuple, Optional, Tuple

from py4j.protocol import Py4JError, Py4JJavaError

from ..background import BackgroundLog
from ..completions import Completions
from ..config import Config
from ..frames import Header
from ..interpreters import COMPLETION_SECONDS, CONTEXT_REPLACED, Events, Interpreter, now_ms
from ..loop import Loop, Timer
from ..output import dumps, error, too_large
from ..say import say
from ..spark import Spark
from ..worker import Worker
from .completion import Catalog, candidates
from .rows import Rows, TooLarge
from .text import Piece, in_place, line_of, split

MAX_ASKED = 8
"""Completions that wait for the catalog; more get no candidates."""

MAX_FRAMES = 100
"""Java frames that are kept of an error."""


NO_ROWS = ({"type": "struct", "fields": []}, "", None)
"""The result of a cell without a statement."""


class Result(NamedTuple):
    """What a cell gives."""

    output: bytes
    rows_cut: Optional[int]


class Failed(Exception):
    """A statement of several failed: the cell, the statement, and the error, which is the cause."""

    def __init__(self, code: str, piece: Piece):
        super().__init__(code, piece)
        self.code = code
        self.piece = piece


class SqlInterpreter(Interpreter):
    """Runs one SQL cell at a time."""

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog, events: Events):
        super().__init__(loop, config, log, events)
        self._queries: Optional[Worker] = None
        self._thread: Any = None
        self._number: Optional[int] = None
        self._started = 0
        self._cancelled = False
        self._timers: Tuple[Timer, ...] = ()
        self._waiting: Optional[Tuple[int, bytes]] = None
        self._completions = Completions(loop, events, "sql-completion", COMPLETION_SECONDS, MAX_ASKED)
        self._catalog = Catalog(None)

    def attach(self, spark: Spark, worker: Worker) -> None:
        """The SparkContext is there, which is all that SQL needs."""
        super().attach(spark, worker)
        self._catalog = Catalog(spark)
        self._events.ready("")
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self.run(*waiting)

    def run(self, number: int, code: bytes) -> None:
        """Run a cell; there must be no other statement. It waits for the SparkContext."""
        if self._spark is None:
            self._waiting = (number, code)
            return
        self._number, self._cancelled = number, False
        self._started = now_ms()
        self._events.started(number, self._started)
        if self._queries is None:
            self._queries = Worker(self._loop, "sql")
        queries, text = self._queries, code.decode("utf-8", "replace")

        def done(rows: Optional[Result], failure: Optional[Exception]) -> None:
            if number == self._number and queries is self._queries:
                self._done(rows, failure)

        queries.submit(lambda: self._cell(number, text), done)

    def cancel(self, number: int) -> None:
        """Cancel the statement's jobs and interrupt its JVM thread, twice; then leave the thread behind."""
        if self._waiting is not None and self._waiting[0] == number:
            self._waiting = None
            self._events.finished(number, "cancelled", now_ms(), b"", None)
            return
        if number != self._number or self._cancelled:
            return
        self._cancelled = True
        self._interrupt()
        self._timers = (
            self._loop.later(self._config.interrupt_again_ms / 1000, self._interrupt),
            self._loop.later(self._config.cancel_grace_ms / 1000, self._abandon),
        )

    def complete(self, header: Header, code: bytes) -> None:
        """Ask the catalog on a thread of its own, so that it answers while a statement runs."""
        text, cursor, catalog = code.decode("utf-8", "replace"), int(header["cursor"]), self._catalog
        if self._spark is None or self._completions.full:
            self._completions.answer(header, candidates(text, cursor, Catalog(None)))
            return
        self._completions.ask(
            header,
            lambda: candidates(text, cursor, catalog),
            late=lambda: candidates(text, cursor, catalog.remembered()),
        )

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
        self._events.notice(f"Statement {number}: {sentence}")
        self._finish("cancelled", error(number, "InterpreterReplaced", sentence), None)

    def _done(self, rows: Optional[Result], failure: Optional[Exception]) -> None:
        number, control = self._number, self._worker
        assert number is not None and control is not None
        if self._cancelled:
            self._finish("cancelled", b"", None)
        elif isinstance(_cause(failure), TooLarge):
            limit = self._config.output_max_bytes
            self._finish(
                "available", too_large(number, "The result", int(_cause(failure).args[0]), limit), None
            )
        elif failure is not None:
            control.submit(
                lambda: _describe(failure),
                lambda told, bad: self._finish(
                    "available", error(number, "Error", *(told or (f"{failure} {bad}", []))), None
                ),
            )
        else:
            assert rows is not None
            self._finish("available", rows.output, rows.rows_cut)

    def _finish(self, state: str, output: bytes, rows_cut: Optional[int]) -> None:
        number = self._number
        if number is None:
            return
        for timer in self._timers:
            timer.cancel()
        self._timers = ()
        if self._cancelled and self._queries is not None and self._spark is not None:
            self._queries.submit(self._spark.release_thread)
            self._queries.close()
            self._queries = self._thread = None
        self._number = None
        self._events.finished(number, state, self._started, output, rows_cut)

    # On the worker

    def _cell(self, number: int, code: str) -> Result:
        """Run the cell's statements, one after another; the last one's rows are the result."""
        spark = self._spark
        assert spark is not None
        if self._thread is None:
            self._thread = spark.jvm.java.lang.Thread.currentThread()
        if spark.context_or_new():
            self._loop.post(lambda: self._events.notice(CONTEXT_REPLACED))
        spark.set_group(number)
        pieces = split(code)
        if not pieces:
            return self._result(number, *NO_ROWS)
        if len(pieces) == 1 and pieces[0].first:
            return self._result(number, *self._rows(code))
        for index, piece in enumerate(pieces):
            if self._cancelled:
                raise InterruptedError
            try:
                last = index + 1 == len(pieces)
                rows = self._rows(in_place(code, piece), last)
            except Exception as failure:
                raise Failed(code, piece) from failure
        return self._result(number, *rows)

    def _rows(self, statement: str, wanted: bool = True) -> Tuple[dict, str, Optional[int]]:
        spark = self._spark
        assert spark is not None
        rows = Rows(spark, self._config.output_max_bytes, self._config.sql_max_rows)
        return rows.run(statement, wanted)

    def _result(self, number: int, schema: dict, rows: str, rows_cut: Optional[int]) -> Result:
        head = b'{"status":"ok","execution_count":%d,"data":{"application/json":{"schema":' % number
        output = b"".join((head, dumps(schema), b',"data":[', rows.encode("utf-8", "replace"), b"]}}}"))
        if len(output) > self._config.output_max_bytes:
            raise TooLarge(len(output))
        return Result(output, rows_cut)


def _describe(failure: Exception) -> Tuple[str, List[str]]:
    """The message and the Java frames of what the JVM raised."""
    if isinstance(failure, Failed) and failure.__cause__ is not None:
        cause = failure.__cause__
        assert isinstance(cause, Exception)
        message, frames = _describe(cause)
        # The text before the statement was made space, to keep its place in the cell.
        message = re.sub(r"(?<=== SQL ==\n)\n+", "", message)
        if not re.search(r"\bline \d", message):
            line = line_of(failure.code, failure.piece)
            message = f"{message.rstrip()}\n(in the statement that begins at line {line})"
        return message, frames
    if not isinstance(failure, Py4JJavaError):
        say(f"a SQL statement failed: {failure!r}")
        return str(failure), []
    thrown = failure.java_exception
    try:
        frames = [frame.toString() for frame in list(thrown.getStackTrace())[:MAX_FRAMES]]
        return thrown.getMessage() or thrown.toString(), frames
    except Py4JError:
        return "The driver's JVM ended.", []


def _cause(failure: Optional[BaseException]) -> Optional[BaseException]:
    return failure.__cause__ if isinstance(failure, Failed) else failure
