"""The session's Python: runs statements in an interpreter's process, cancels them, and replaces what died.

Runs on the loop. Calls interpreter_process, output, and the JVM through a worker.
"""

import collections
import json
import os
import time
from typing import TYPE_CHECKING, Callable, Deque, NamedTuple, Optional, Tuple

from .background import BackgroundLog
from .config import Config
from .frames import BadFrame, Header
from .interpreter_process import InterpreterProcess
from .loop import Loop, Timer
from .output import Composer, dumps, error, too_large
from .worker import Worker

if TYPE_CHECKING:
    from .spark import Gateway, Spark

MAX_FAILED_STARTS = 3
"""Interpreters in a row that ended before they were attached; then Python is given up."""

COMPLETION_SECONDS = 2.0
"""How long a completion may take; then there are no candidates."""

REPLACED = (
    "A new one runs on the same SparkContext: cached data and temporary views are there, "
    "Python variables are gone."
)


class Events(NamedTuple):
    """What the interpreter tells."""

    attached: Callable[[str], None]
    """The first interpreter is ready: its Python's version."""
    failed: Callable[[str], None]
    """Python can't be started: one sentence."""
    started: Callable[[int, int], None]
    """A statement runs: its number, the time in epoch milliseconds."""
    finished: Callable[[int, str, int, bytes], None]
    """A statement has ended: its number, state, the time it started, the output object or nothing."""
    completed: Callable[[Header, bytes], None]
    """A completion's header and candidates."""
    notice: Callable[[str], None]
    """A line for the session's log."""


class Statement:
    """The statement that runs, or waits for an interpreter."""

    def __init__(self, number: int, code: bytes):
        self.number = number
        self.code = code
        self.secret = os.urandom(16).hex()
        self.started = 0
        self.cancelled = False
        self.timers: Tuple[Timer, ...] = ()


class PythonInterpreter:
    """One interpreter at a time; a dead one is replaced at once on the same SparkContext."""

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog, events: Events):
        self._loop = loop
        self._config = config
        self._log = log
        self._events = events
        self._composer = Composer(config.output_max_bytes, config.max_frame)
        self._process: Optional[InterpreterProcess] = None
        self._spark: Optional[Spark] = None
        self._worker: Optional[Worker] = None
        self._gateway: Optional[Gateway] = None
        self._attached = False
        self._failed_starts = 0
        self._broken = ""
        self._told = False
        self._statement: Optional[Statement] = None
        self._completions: Deque[Tuple[Header, Timer]] = collections.deque()
        self._stopped = False

    def start(self) -> None:
        """Start an interpreter, unless there is one; it attaches when the SparkContext is there."""
        if self._process is not None or self._stopped:
            return
        try:
            self._process = InterpreterProcess(self._loop, self._config, self._log, self._frame, self._ended)
        except OSError as failure:
            self._give_up(
                f"The Python interpreter {self._config.python} can't be started: {failure.strerror}."
            )
            return
        if self._spark is not None:
            self._open_gateway()

    def attach(self, spark: "Spark", worker: Worker) -> None:
        """The SparkContext is there."""
        self._spark, self._worker = spark, worker
        if self._process is not None:
            self._open_gateway()

    def run(self, number: int, code: bytes) -> None:
        """Run a statement; there must be no other. It waits for an interpreter where there is none yet."""
        self._statement = Statement(number, code)
        if self._broken:
            self._finish("available", error(number, "InterpreterError", self._broken))
        elif self._attached:
            self._begin()
        else:
            self.start()

    def cancel(self, number: int) -> None:
        """Stop the statement: an interrupt, another, and then the interpreter is replaced."""
        statement = self._statement
        if statement is None or statement.number != number or statement.cancelled:
            return
        statement.cancelled = True
        if not statement.started:
            self._finish("cancelled", b"")
            return
        self._interrupt()
        statement.timers = (
            self._loop.later(self._config.interrupt_again_ms / 1000, self._interrupt),
            self._loop.later(self._config.cancel_grace_ms / 1000, self._replace),
        )

    def complete(self, header: Header, code: bytes) -> None:
        """Ask for candidates; there are none while no interpreter is attached."""
        if self._process is None or not self._attached:
            self._events.completed(header, b"[]")
            return
        timer = self._loop.later(COMPLETION_SECONDS, lambda: self._completed(header["request"], b"[]"))
        self._completions.append((header, timer))
        asked = {"type": "complete", "request": header["request"], "cursor": header["cursor"]}
        self._process.complete(asked, code)

    def stop(self) -> None:
        """Kill the interpreter and start no other."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    # Starting

    def _open_gateway(self) -> None:
        process, spark, worker = self._process, self._spark, self._worker
        assert process is not None and spark is not None and worker is not None

        def opened(gateway: Optional["Gateway"], failure: Optional[Exception]) -> None:
            if gateway is None:
                self._give_up(f"The JVM opens no gateway for the interpreter: {type(failure).__name__}.")
            elif process is not self._process:
                worker.submit(lambda: spark.close_gateway(gateway))
            else:
                self._gateway = gateway
                process.send({"type": "attach", "port": gateway.port, "gateway_secret": gateway.secret})

        worker.submit(spark.open_gateway, opened)

    def _attach_done(self, header: Header) -> None:
        assert self._process is not None
        self._attached = True
        self._failed_starts = 0
        self._process.finish()
        self._log.write(self._process.err.first(self._config.output_max_bytes // 2))
        if not self._told:
            self._told = True
            self._events.attached(str(header.get("python_version", "")))
        if self._statement is not None:
            self._begin()

    def _give_up(self, reason: str) -> None:
        self._broken = reason
        statement = self._statement
        if statement is not None:
            self._finish("available", error(statement.number, "InterpreterError", reason))
        self._events.failed(reason)

    # A statement

    def _begin(self) -> None:
        statement, process = self._statement, self._process
        assert statement is not None and process is not None
        process.begin()
        statement.started = now_ms()
        process.send({"type": "run", "id": statement.number, "secret": statement.secret}, statement.code)
        statement.code = b""
        self._events.started(statement.number, statement.started)

    def _frame(self, header: Header, body: bytes) -> None:
        """A frame of the child's.

        User code may have written it: only the statement's secret makes it a result.
        """
        kind, statement = header["type"], self._statement
        if kind == "attached" and not self._attached and self._gateway is not None:
            self._attach_done(header)
        elif kind == "completion":
            self._completed(header.get("request"), body)
        elif (
            kind == "done"
            and statement is not None
            and statement.started
            and header.get("id") == statement.number
            and header.get("secret") == statement.secret
        ):
            self._done(statement, header, body)

    def _done(self, statement: Statement, header: Header, body: bytes) -> None:
        process = self._process
        assert process is not None
        process.finish()
        status = header.get("status")
        if header.get("context_replaced") is True:
            self._events.notice("The SparkContext had been stopped; a new one was made.")
        number, out, err = statement.number, process.out, process.err
        if statement.cancelled:
            self._finish("cancelled", b"")
        elif status == "ok":
            mime = header.get("mime")
            self._finish(
                "available", self._composer.ok(number, out, err, mime if isinstance(mime, str) else "", body)
            )
        elif status == "too_large":
            limit, seen = self._config.output_max_bytes, header.get("seen")
            if not isinstance(seen, int):
                raise BadFrame("a result without its size")
            self._finish("available", too_large(number, "The result", seen, limit))
        else:
            self._finish("available", self._composer.failed(number, out, err, _failure(body)))

    def _finish(self, state: str, output: bytes) -> None:
        statement = self._statement
        assert statement is not None
        for timer in statement.timers:
            timer.cancel()
        self._statement = None
        if statement.cancelled:
            self._cancel_jobs(statement.number, again=True)
        if self._process is not None:
            self._process.forget()
        self._events.finished(statement.number, state, statement.started or now_ms(), output)

    # Cancelling

    def _interrupt(self) -> None:
        if self._statement is not None and self._process is not None:
            self._process.interrupt(self._statement.number)
            self._cancel_jobs(self._statement.number)

    def _cancel_jobs(self, number: int, again: bool = False) -> None:
        """Cancel the statement's Spark jobs; again later, for one that the JVM was about to submit."""
        spark, worker = self._spark, self._worker
        if spark is None or worker is None:
            return
        worker.submit(lambda: spark.cancel_group(number))
        for seconds in (0.5, 2.0, 5.0) if again else ():
            self._loop.later(seconds, lambda: worker.submit(lambda: spark.cancel_group(number)))

    def _replace(self) -> None:
        if self._process is not None:
            self._process.kill()

    # The interpreter's end

    def _ended(self) -> None:
        process, spark, worker, gateway = self._process, self._spark, self._worker, self._gateway
        assert process is not None
        was_attached, self._attached = self._attached, False
        self._process = self._gateway = None
        for header, _timer in list(self._completions):
            self._completed(header["request"], b"[]")
        if gateway is not None and spark is not None and worker is not None:
            worker.submit(lambda: spark.close_gateway(gateway))
        if self._stopped:
            return
        statement = self._statement
        if statement is not None and statement.started:
            self._end_of_statement(statement, process)
        elif was_attached:
            self._events.notice(f"The Python interpreter ended ({process.how_it_ended()}). {REPLACED}")
        if not was_attached:
            self._failed_starts += 1
            tail = process.stderr_tail()
            print("\n".join(tail), flush=True)
            if self._failed_starts >= MAX_FAILED_STARTS:
                why = f"{process.how_it_ended()}: {tail[-1]}" if tail else process.how_it_ended()
                self._give_up(f"The Python interpreter does not start ({why}).")
                return
        self.start()

    def _end_of_statement(self, statement: Statement, process: InterpreterProcess) -> None:
        number, how = statement.number, process.how_it_ended()
        if statement.cancelled:
            sentence = (
                f"The statement did not stop when interrupted, so its interpreter was ended. {REPLACED}"
            )
            self._events.notice(f"Statement {number}: {sentence}")
            self._finish("cancelled", error(number, "InterpreterReplaced", sentence))
            return
        self._events.notice(f"Statement {number}: the Python interpreter died ({how}). {REPLACED}")
        evalue = "\n".join([f"Interpreter died:\n{how}. {REPLACED}", *process.stderr_tail()])
        self._cancel_jobs(number)
        failure = {"ename": "Error", "evalue": evalue, "traceback": []}
        self._finish("available", self._composer.failed(number, process.out, process.err, failure))

    def _completed(self, request: object, body: bytes) -> None:
        for entry in self._completions:
            header, timer = entry
            if header["request"] == request:
                timer.cancel()
                self._completions.remove(entry)
                self._events.completed(header, _candidates(body))
                return


def now_ms() -> int:
    """The time in epoch milliseconds."""
    return int(time.time() * 1000)


def _failure(body: bytes) -> dict:
    """The error that the interpreter describes, checked: user code shares its process."""
    try:
        given = json.loads(body)
        entries = [str(entry) for entry in given["traceback"]]
        return {"ename": str(given["ename"]), "evalue": str(given["evalue"]), "traceback": entries}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {
            "ename": "Error",
            "evalue": "The interpreter gave an error that can't be read.",
            "traceback": [],
        }


def _candidates(body: bytes) -> bytes:
    try:
        return dumps([name for name in json.loads(body) if isinstance(name, str)])
    except (ValueError, TypeError, RecursionError):
        return b"[]"
