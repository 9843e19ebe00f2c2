"""A language that runs in a process of its own: runs statements there, cancels them, and replaces what died.

Calls interpreter_process, numbers, output, and the JVM through a worker. Python and R are its subclasses:
they say how their process is made, attached, and let go of.
"""

import base64
import collections
import json
import os
from typing import Deque, List, Optional, Tuple

from .background import BackgroundLog
from .config import Config
from .frames import BadFrame, Header
from .interpreter_process import InterpreterProcess
from .interpreters import COMPLETION_SECONDS, Events, now_ms
from .loop import Loop, Timer
from .numbers import is_job, name_of
from .output import NOTHING, Output, Value, dumps, error, job_result, structured, too_large_failure
from .statement_interpreter import Statement, StatementInterpreter

MAX_FAILED_STARTS = 3
"""Interpreters in a row that ended before they were attached; then the language is given up."""

MAX_VALUES = 64
"""Values of one result: there are fewer MIME types than that in use."""


class ProcessStatement(Statement):
    """One that the process knows by a secret of its own."""

    def __init__(self, number: int, code: bytes):
        super().__init__(number)
        self.code = code
        self.secret = os.urandom(16).hex()


class ProcessInterpreter(StatementInterpreter[ProcessStatement]):
    """One process at a time; a dead one is replaced at once on the same SparkContext."""

    LANGUAGE = ""
    """As people write it."""

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog, events: Events):
        super().__init__(loop, config, log, events)
        self._process: Optional[InterpreterProcess] = None
        self._failed_starts = 0
        self._completions: Deque[Tuple[Header, Timer]] = collections.deque()
        self._stopped = False
        self._replaced = (
            "A new one runs on the same SparkContext: cached data and temporary views are there, "
            f"{self.LANGUAGE} variables are gone."
        )

    # What a language says

    def _make_process(self) -> InterpreterProcess:
        """Start a process that tells `_frame` and `_ended`. Raises OSError when there is no such program."""
        raise NotImplementedError

    def _open(self) -> None:
        """The process and the SparkContext are there: have it attached, then call `_attach_done`."""
        raise NotImplementedError

    def _close(self) -> None:
        """The process has ended: free what `_open` made."""

    # The common interface

    def start(self) -> None:
        """Start an interpreter, unless there is one; it attaches when the SparkContext is there."""
        if self._process is not None or self._stopped or self._broken:
            return
        try:
            self._process = self._make_process()
        except OSError as failure:
            program = failure.filename or self.LANGUAGE
            self._give_up(f"The {self.LANGUAGE} interpreter {program} can't be started: {failure.strerror}.")
            return
        if self._spark is not None:
            self._open()

    def attach(self, spark, worker) -> None:
        """The SparkContext is there."""
        super().attach(spark, worker)
        if self._process is not None:
            self._open()

    def complete(self, header: Header, code: bytes) -> None:
        """Ask for candidates; there are none while no interpreter is attached."""
        if self._process is None or not self._ready:
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

    def _attach_done(self, version: str) -> None:
        assert self._process is not None
        self._failed_starts = 0
        self._process.finish()
        self._log.write(self._process.err.first(self._config.output_max_bytes // 2))
        self._now_ready(version)

    # A statement

    def _new_statement(self, number: int, code: bytes) -> ProcessStatement:
        return ProcessStatement(number, code)

    def _begin(self) -> None:
        statement, process = self._statement, self._process
        assert statement is not None and process is not None
        process.begin(capturing=not is_job(statement.number))
        statement.started = now_ms()
        trace = self._spark.trace if self._spark is not None else None
        process.run(statement.number, statement.secret, statement.code, trace)
        statement.code = b""
        self._events.started(statement.number, statement.started)

    def _frame(self, header: Header, body: bytes) -> None:
        """A frame of the child's.

        User code may have written it: only the statement's secret makes it a result.
        """
        kind, statement = header["type"], self._statement
        if kind == "attached" and not self._ready and self._spark is not None:
            self._attach_done(str(header.get("version", "")))
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

    def _done(self, statement: ProcessStatement, header: Header, body: bytes) -> None:
        process = self._process
        assert process is not None
        process.finish()
        status = header.get("status")
        if header.get("context_replaced") is True:
            self._events.replaced()
        number, out, err = statement.number, process.out, process.err
        if statement.cancelled:
            self._finish("cancelled", NOTHING)
        elif status == "ok" and is_job(number):
            # Python's clients take base64 from the result once more.
            self._finish("available", job_result(base64.b64encode(body)))
        elif status == "ok":
            output = self._composer.ok(number, out, err, _values(header, body))
            left_out = header.get("left_out")
            if isinstance(left_out, int):  # A value that is shown by its text alone.
                output = output._replace(cut=structured(left_out, self._config.output_max_bytes))
            self._finish("available", output)
        elif status == "too_large":
            limit, seen = self._config.output_max_bytes, header.get("seen")
            what = header.get("what", "The result")
            if not isinstance(seen, int) or not isinstance(what, str):
                raise BadFrame("a result without its size")
            failure = too_large_failure(what, seen, limit)
            output = self._composer.failed(number, out, err, failure)
            self._finish("available", output._replace(cut=structured(seen, limit)))
        else:
            self._finish("available", self._composer.failed(number, out, err, _failure(body)))

    def _finish(self, state: str, output: Output) -> None:
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

    def _interrupt(self, statement: ProcessStatement) -> None:
        if self._process is not None:
            self._process.interrupt(statement.number)
            self._cancel_jobs(statement.number)

    def _overdue(self, statement: ProcessStatement) -> None:
        if self._process is not None:
            self._process.kill()

    # The interpreter's end

    def _ended(self) -> None:
        process = self._process
        assert process is not None
        was_attached, self._ready = self._ready, False
        self._process = None
        for header, _timer in list(self._completions):
            self._completed(header["request"], b"[]")
        self._close()
        if self._stopped:
            return
        statement = self._statement
        if statement is not None and statement.started:
            self._end_of_statement(statement, process)
        elif was_attached:
            self._events.notice(
                f"The {self.LANGUAGE} interpreter ended ({process.how_it_ended()}). {self._replaced}"
            )
        if not was_attached:
            self._failed_starts += 1
            tail = process.stderr_tail()
            print("\n".join(tail), flush=True)
            if self._failed_starts >= MAX_FAILED_STARTS:
                why = f"{process.how_it_ended()}: {tail[-1]}" if tail else process.how_it_ended()
                self._give_up(f"The {self.LANGUAGE} interpreter does not start ({why}).")
                return
        self.start()

    def _end_of_statement(self, statement: ProcessStatement, process: InterpreterProcess) -> None:
        number, how = statement.number, process.how_it_ended()
        if statement.cancelled:
            sentence = (
                f"The statement did not stop when interrupted, so its interpreter was ended. {self._replaced}"
            )
            self._events.notice(f"{name_of(number).capitalize()}: {sentence}")
            self._finish("cancelled", error(number, "InterpreterReplaced", sentence))
            return
        self._events.notice(
            f"{name_of(number).capitalize()}: the {self.LANGUAGE} interpreter died ({how}). {self._replaced}"
        )
        evalue = "\n".join([f"Interpreter died:\n{how}. {self._replaced}", *process.stderr_tail()])
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


def _values(header: Header, body: bytes) -> List[Value]:
    """The values that the interpreter gives, checked: user code shares its process."""
    given = header.get("values", [])
    values: List[Value] = []
    at = 0
    if not isinstance(given, list) or len(given) > MAX_VALUES:
        raise BadFrame("a result whose values can't be read")
    for entry in given:
        if not (isinstance(entry, list) and len(entry) == 2):
            raise BadFrame("a result whose values can't be read")
        mime, size = entry
        if not isinstance(mime, str) or not isinstance(size, int) or not 0 <= size <= len(body) - at:
            raise BadFrame("a result whose values can't be read")
        values.append((mime, body[at : at + size]))
        at += size
    return values


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
