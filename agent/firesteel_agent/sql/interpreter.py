"""SQL cells: their statements run in the JVM on a worker of their own.

Calls completion, completions, jvm_interpreter, plans, rows, text, spark and output.
"""

import re
from typing import Any, List, Optional, Tuple

from py4j.protocol import Py4JError, Py4JJavaError

from ..background import BackgroundLog
from ..completions import Completions
from ..config import Config
from ..frames import Header
from ..interpreters import COMPLETION_SECONDS, Events
from ..jvm_interpreter import JvmInterpreter
from ..loop import Loop
from ..output import Output, dumps, error, too_large
from ..plans import Plans
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


class Failed(Exception):
    """A statement of several failed: the cell, the statement, and the error, which is the cause."""

    def __init__(self, code: str, piece: Piece):
        super().__init__(code, piece)
        self.code = code
        self.piece = piece


class SqlInterpreter(JvmInterpreter):
    """Runs one SQL cell at a time."""

    LANGUAGE = "sql"

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog, events: Events):
        super().__init__(loop, config, log, events)
        self._completions = Completions(loop, events, "sql-completion", COMPLETION_SECONDS, MAX_ASKED)
        self._catalog = Catalog(None)
        self._plans = Plans(config.result_kept)

    def attach(self, spark: Spark, worker: Worker) -> None:
        """The SparkContext is there, which is all that SQL needs."""
        self._catalog = Catalog(spark)
        super().attach(spark, worker)

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

    def plan(self, number: int) -> Any:
        """The statement's data frame, while it is kept."""
        return self._plans.find(number)

    def _failed(self, number: int, failure: Exception) -> None:
        control, cause = self._worker, _cause(failure)
        assert control is not None
        if isinstance(cause, TooLarge):
            limit = self._config.output_max_bytes
            self._finish("available", too_large(number, "The result", int(cause.args[0]), limit))
            return
        control.submit(
            lambda: _describe(failure),
            lambda told, bad: self._finish(
                "available", error(number, "Error", *(told or (f"{failure} {bad}", [])))
            ),
        )

    # On the worker

    def _cell(self, number: int, code: bytes) -> Output:
        """Run the cell's statements, one after another; the last one's rows are the result."""
        self._prepare(number)
        return self._statements(number, code.decode("utf-8", "replace"))

    def _context_replaced(self) -> None:
        self._plans.clear()

    def _statements(self, number: int, code: str) -> Output:
        pieces = split(code)
        if not pieces:
            return self._result(number, *NO_ROWS)
        if len(pieces) == 1 and pieces[0].first:
            return self._result(number, *self._rows(number, code))
        for index, piece in enumerate(pieces):
            if self._cancelled:
                raise InterruptedError
            try:
                last = index + 1 == len(pieces)
                rows = self._rows(number, in_place(code, piece), last)
            except Exception as failure:
                raise Failed(code, piece) from failure
        return self._result(number, *rows)

    def _rows(self, number: int, statement: str, wanted: bool = True) -> Tuple[dict, str, Optional[int]]:
        spark = self._spark
        assert spark is not None
        frame = spark.session().sql(statement)
        rows = Rows(spark, self._config.output_max_bytes, self._config.sql_max_rows)
        try:
            found = rows.run(frame, wanted)
        except TooLarge:
            # All of it can be fetched.
            self._plans.keep(number, frame)
            raise
        if wanted:
            self._plans.keep(number, frame)
        return found

    def _result(self, number: int, schema: dict, rows: str, rows_cut: Optional[int]) -> Output:
        head = b'{"status":"ok","execution_count":%d,"data":{"application/json":{"schema":' % number
        output = b"".join((head, dumps(schema), b',"data":[', rows.encode("utf-8", "replace"), b"]}}}"))
        if len(output) > self._config.output_max_bytes:
            raise TooLarge(len(output))
        return Output(output, rows_cut=rows_cut)


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
