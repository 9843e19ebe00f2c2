"""SQL statements: run in the JVM on a worker of their own. Calls say, spark, sql_values and output.

A cancelled statement's thread is never used again, so that a late interrupt can't hit the next statement.
"""

import json
from typing import Any, List, NamedTuple, Optional, Tuple

from py4j.protocol import Py4JError, Py4JJavaError

from .background import BackgroundLog
from .config import Config
from .interpreters import Events, Interpreter, now_ms
from .loop import Loop, Timer
from .output import dumps, error, too_large
from .say import say
from .spark import Spark
from .sql_values import row_expression, row_writer
from .worker import Worker

FETCH_BYTES = 4 << 20
"""About how much of a result crosses from the JVM at once."""


MAX_FRAMES = 100
"""Java frames that are kept of an error."""


class TooLarge(Exception):
    """The rows have more bytes than a result may have; the argument is how many were seen."""


class Rows(NamedTuple):
    """A result."""

    output: bytes
    rows_cut: Optional[int]


class SqlInterpreter(Interpreter):
    """Runs one SQL statement at a time."""

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog, events: Events):
        super().__init__(loop, config, log, events)
        self._queries: Optional[Worker] = None
        self._thread: Any = None
        self._number: Optional[int] = None
        self._started = 0
        self._cancelled = False
        self._timers: Tuple[Timer, ...] = ()

    def attach(self, spark: Spark, worker: Worker) -> None:
        """The SparkContext is there, which is all that SQL needs."""
        super().attach(spark, worker)
        self._events.ready("")

    def run(self, number: int, code: bytes) -> None:
        """Run a statement; there must be no other."""
        self._number, self._cancelled = number, False
        self._started = now_ms()
        self._events.started(number, self._started)
        if self._queries is None:
            self._queries = Worker(self._loop, "sql")
        queries, text = self._queries, code.decode("utf-8", "replace")

        def done(rows: Optional[Rows], failure: Optional[Exception]) -> None:
            if number == self._number and queries is self._queries:
                self._done(rows, failure)

        queries.submit(lambda: self._query(number, text), done)

    def cancel(self, number: int) -> None:
        """Cancel the statement's jobs and interrupt its JVM thread, twice; then leave the thread behind."""
        if number != self._number or self._cancelled:
            return
        self._cancelled = True
        self._interrupt()
        self._timers = (
            self._loop.later(self._config.interrupt_again_ms / 1000, self._interrupt),
            self._loop.later(self._config.cancel_grace_ms / 1000, self._abandon),
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

    def _done(self, rows: Optional[Rows], failure: Optional[Exception]) -> None:
        number, control = self._number, self._worker
        assert number is not None and control is not None
        if self._cancelled:
            self._finish("cancelled", b"", None)
        elif isinstance(failure, TooLarge):
            limit = self._config.output_max_bytes
            self._finish("available", too_large(number, "The result", int(failure.args[0]), limit), None)
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

    def _query(self, number: int, code: str) -> Rows:
        spark = self._spark
        assert spark is not None
        jvm = spark.jvm
        if self._thread is None:
            self._thread = jvm.java.lang.Thread.currentThread()
        spark.set_group(number)
        frame = spark.session().sql(code)
        schema = frame.schema().json()
        fields = json.loads(schema)["fields"]
        lines: List[str] = []
        if fields:
            lines = self._fetch(frame, fields)
        most = self._config.sql_max_rows
        cut = len(lines) > most
        write = row_writer(fields)
        rows = ",".join([write(line) for line in lines[:most]])
        head = b'{"status":"ok","execution_count":%d,"data":{"application/json":{"schema":' % number
        output = b"".join(
            (head, dumps(json.loads(schema)), b',"data":[', rows.encode("utf-8", "replace"), b"]}}}")
        )
        if len(output) > self._config.output_max_bytes:
            raise TooLarge(len(output))
        return Rows(output, most if cut else None)

    def _fetch(self, frame: Any, fields: List[dict]) -> List[str]:
        """One row more than the limit, as JSON lines; a row that is too long never leaves the JVM."""
        spark, most = self._spark, self._config.output_max_bytes
        assert spark is not None
        jvm, gateway = spark.jvm, spark.gateway

        def strings(*values: str) -> Any:
            array = gateway.new_array(jvm.java.lang.String, len(values))
            for index, value in enumerate(values):
                array[index] = value
            return array

        numbered = frame.toDF(strings(*(str(index) for index in range(len(fields)))))
        rows = numbered.selectExpr(strings(f"{row_expression(fields)} as row"))
        short = f"if(octet_length(row) > {most}, concat('#', octet_length(row)), row) as row"
        limited = rows.selectExpr(strings(short)).limit(self._config.sql_max_rows + 1)
        found = getattr(limited, "as")(jvm.org.apache.spark.sql.Encoders.STRING()).collectAsList()
        lines: List[str] = []
        size, count, step = found.size(), 0, 1
        while len(lines) < size:
            upto = min(size, len(lines) + step)
            text = jvm.java.lang.String.join("\n", found.subList(len(lines), upto))
            count += len(text)
            if text.startswith("#") or "\n#" in text or count > most:
                long = [int(line[1:]) for line in text.split("\n") if line.startswith("#")]
                raise TooLarge(max([count, *long]))
            lines += text.split("\n")
            step = max(1, min(8 * step, FETCH_BYTES * len(lines) // max(count, 1)))
        return lines


def _describe(failure: Exception) -> Tuple[str, List[str]]:
    """The message and the Java frames of what the JVM raised."""
    if not isinstance(failure, Py4JJavaError):
        say(f"a SQL statement failed: {failure!r}")
        return str(failure), []
    thrown = failure.java_exception
    try:
        frames = [frame.toString() for frame in list(thrown.getStackTrace())[:MAX_FRAMES]]
        return thrown.getMessage() or thrown.toString(), frames
    except Py4JError:
        return "The driver's JVM ended.", []
