"""Runs a statement or a job as Livy does, and tells how it ended.

Calls awaiting, cells, display, errors, interrupt, jobs, magics, plan, shield and values.
"""

import builtins
import sys
from types import ModuleType
from typing import Any, Callable, Dict, List, Optional, Tuple, TypeVar

from . import errors, magics
from .attach import SparkHandle
from .awaiting import SessionLoop, awaits, needs_loop
from .cells import Cells
from .descriptors import Streams
from .display import Display
from .interrupt import Interrupts
from .jobs import Jobs
from .plan import Planner
from .shield import Shield
from .values import TooLarge

LEAST_RECURSION = 1000
"""Our own code has at least this many frames, whatever limit user code sets."""

MAX_ATTEMPTS = 4
"""How often trace functions may fail while they are being turned off."""

_eval, _builtins, _callable = eval, builtins, callable
_getrecursionlimit, _setrecursionlimit = sys.getrecursionlimit, sys.setrecursionlimit
_gettrace, _settrace = sys.gettrace, sys.settrace
_getprofile, _setprofile = sys.getprofile, sys.setprofile

JOB = compile("job()", __file__, "eval")
"""What calls a job: code, so that all that stands around a statement stands around it as well."""

Reply = Tuple[Dict[str, Any], bytes]
T = TypeVar("T")


class Repl:
    """The interpreter's execution of statements."""

    def __init__(
        self,
        module: ModuleType,
        interrupts: Interrupts,
        streams: Streams,
        spark: SparkHandle,
        display: Display,
        max_output: int,
    ):
        self._module = module
        self._names = module.__dict__
        self._interrupts = interrupts
        self._streams = streams
        self._spark = spark
        self._display = display
        self._max_output = max_output
        self._cells = Cells()
        self._cells.teach_inspect()
        self._planner = Planner(self._cells)
        self._shield = Shield()
        self._loop = SessionLoop()
        self._jobs = Jobs(spark)
        self._replaced = False

    def run(self, statement: int, code: str) -> Reply:
        """Run the code; the header's fields and the body of the reply."""

        def describe(failure: BaseException) -> bytes:
            return errors.describe(failure, self._cells)

        ran = self._run(statement, code, lambda: self._execute(statement, code), self._values, describe)
        return self._told(ran)

    def run_job(self, job: int, encoded: bytes) -> Reply:
        """Run a job that came pickled and in base64; the body of the reply is its result, pickled."""
        results: List[bytes] = []

        def execute() -> bytes:
            self._run_compiled([JOB], {"job": lambda: results.append(self._jobs.run(encoded))})
            return results[0]

        return self._told(self._run(job, "", execute, self._result, errors.describe_job))

    def wait_readable(self, descriptor: int) -> None:
        """Between statements: let the tasks of statements go on until the descriptor can be read."""
        self._loop.wait_readable(descriptor)

    def _told(self, reply: Reply) -> Reply:
        """The reply, which says whether the SparkContext is another one than before."""
        header, _body = reply
        header["context_replaced"], self._replaced = self._replaced, False
        return reply

    def _run(
        self,
        statement: int,
        code: str,
        execute: Callable[[], T],
        reply: Callable[[Optional[T]], Reply],
        describe: Callable[[BaseException], bytes],
    ) -> Reply:
        self._streams.repair()
        self._repair_names()
        self._interrupts.install()
        self._replaced = self._spark.prepare(statement, code)
        self._display.begin(self._streams.out)
        result, failure = self._interrupts.guard(statement, execute)
        self._streams.repair()
        if failure is None:
            _flushed, failure = self._interrupts.guard(statement, lambda: (self._streams.flush(), None)[1])
        else:
            self._interrupts.guard(statement, self._streams.flush)
        if failure is None:
            return reply(result)
        if type(failure) is TooLarge:  # The properties of an exception are its own.
            what = "The value, as far as it was read,"
            return {"status": "too_large", "what": what, "seen": failure.seen}, b""
        described, worse = self._interrupts.guard(statement, lambda: describe(failure))
        if worse is not None:  # The exception's own __str__ failed, or was interrupted.
            described = errors.describe_badly(failure, worse)
        return {"status": "error"}, described

    def _repair_names(self) -> None:
        """What statements can't do without: they may have deleted it."""
        self._names["__builtins__"] = _builtins
        self._names.setdefault("__name__", "__main__")
        sys.modules["__main__"] = self._module
        self._names.pop("__warningregistry__", None)  # A line of this cell is another place than before.

    def _values(self, magic: Optional[magics.Result]) -> Reply:
        values = self._display.values
        if magic is not None and values.add(*magic):
            values.clear()
            if values.add(*magic):
                return {"status": "too_large", "seen": len(magic[1])}, b""
        kept, left_out = values.take(), values.left_out
        told = [[mime, len(data)] for mime, data in kept]
        values.clear()
        reply = {"status": "ok", "values": told, "left_out": left_out}
        return reply, b"".join(data for _mime, data in kept)

    def _result(self, pickled: Optional[bytes]) -> Reply:
        self._display.values.clear()  # A job shows nothing.
        assert pickled is not None
        if len(pickled) > self._max_output:
            return {"status": "too_large", "seen": len(pickled)}, b""
        return {"status": "ok"}, pickled

    def _execute(self, statement: int, code: str) -> Optional[magics.Result]:
        """Run all of it; the last magic's value."""
        result = None
        for step in self._planner.plan(statement, code):
            if isinstance(step, str):
                result = magics.run(step, self._names, self._max_output)
            else:
                result = None
                self._run_compiled(step, self._names)
        return result

    def _run_compiled(self, steps: List[Any], names: Dict[str, Any]) -> None:
        shield, loop = self._shield, self._loop
        some_await = any(awaits(compiled) for compiled in steps)
        try:
            shield.lower()
            for compiled in steps:
                if needs_loop(compiled, some_await):
                    loop.run(compiled, names)
                else:
                    _eval(compiled, names)
        finally:
            # Here and not in a function, which trace functions would see. One that raises turns itself off.
            trace = profile = None
            if _getrecursionlimit() < LEAST_RECURSION:
                _setrecursionlimit(LEAST_RECURSION)
            for _attempt in range(MAX_ATTEMPTS):
                try:
                    trace, profile = _gettrace(), _getprofile()
                    if _callable(trace):
                        _settrace(None)
                    if _callable(profile):
                        _setprofile(None)
                    break
                except BaseException:
                    trace = profile = None
            shield.lift(trace, profile)
