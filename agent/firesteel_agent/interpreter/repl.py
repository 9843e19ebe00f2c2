"""Runs a statement as Livy does, and tells how it ended. Calls errors, interrupt, magics and values.

The text is parsed as a module; all but the last statement are executed, the last is compiled as at a prompt,
so that a bare expression prints its repr. Only if the parse fails is the text split into chunks at lines
that begin with `%`.
"""

import __future__

import ast
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import errors, magics
from .attach import SparkHandle
from .descriptors import Streams
from .interrupt import Interrupts

FILE = "<stdin>"

_FUTURE_FLAGS = 0
for _name in __future__.all_feature_names:
    _FUTURE_FLAGS |= getattr(__future__, _name).compiler_flag

_compile, _exec = compile, exec

Reply = Tuple[Dict[str, Any], bytes]


class Repl:
    """The interpreter's execution of statements."""

    def __init__(
        self,
        names: Dict[str, Any],
        interrupts: Interrupts,
        streams: Streams,
        spark: SparkHandle,
        max_output: int,
    ):
        self._names = names
        self._interrupts = interrupts
        self._streams = streams
        self._spark = spark
        self._max_output = max_output
        self._flags = 0
        self._replaced = False

    def run(self, statement: int, code: str) -> Reply:
        """Run the code; the header's fields and the body of the reply."""
        header, body = self._run(statement, code)
        header["context_replaced"], self._replaced = self._replaced, False
        return header, body

    def _run(self, statement: int, code: str) -> Reply:
        self._streams.repair()
        self._interrupts.install()
        self._replaced = self._spark.prepare(statement, code)
        result, failure = self._interrupts.guard(statement, lambda: self._execute(code))
        self._streams.repair()
        if failure is None:
            _flushed, failure = self._interrupts.guard(statement, lambda: (self._streams.flush(), None)[1])
        else:
            self._interrupts.guard(statement, self._streams.flush)
        if failure is None:
            values = [result] if result else []
            size = sum(len(value) for _mime, value in values)
            if size > self._max_output:
                return {"status": "too_large", "seen": size}, b""
            told = [[mime, len(value)] for mime, value in values]
            return {"status": "ok", "values": told}, b"".join(value for _mime, value in values)
        described, worse = self._interrupts.guard(statement, lambda: errors.describe(failure))
        if worse is not None:  # The exception's own __str__ failed, or was interrupted.
            described = errors.plain(type(failure).__name__, f"<{type(worse).__name__} in its __str__>")
        return {"status": "error"}, described

    def _execute(self, code: str) -> Optional[magics.Result]:
        """Run all of it. A syntax error anywhere means that nothing runs."""
        result = None
        for run in self._plan(code):
            result = run()
        return result

    def _plan(self, code: str) -> List[Callable[[], Optional[magics.Result]]]:
        try:
            return [self._plan_python(code)]
        except SyntaxError:
            if not any(line.startswith("%") for line in code.split("\n")):
                raise
        plan: List[Callable[[], Optional[magics.Result]]] = []
        lines: List[str] = []
        for line in [*code.split("\n"), "%"]:
            if not line.startswith("%"):
                lines.append(line)
                continue
            if lines:
                plan.append(self._plan_python("\n".join(lines)))
                lines = []
            plan.append(lambda line=line: magics.run(line[1:], self._names))
        plan.pop()  # The end mark.
        return plan

    def _plan_python(self, code: str) -> Callable[[], None]:
        body = _compile(code, FILE, "exec", ast.PyCF_ONLY_AST | self._flags, True).body
        return lambda: self._run_nodes(body)

    def _run_nodes(self, body: List[ast.stmt]) -> None:
        for index, node in enumerate(body):
            if index < len(body) - 1:
                tree, mode = ast.Module([node], []), "exec"
            else:
                tree, mode = ast.Interactive([node]), "single"
            compiled = _compile(tree, FILE, mode, self._flags, True)
            self._flags |= compiled.co_flags & _FUTURE_FLAGS
            _exec(compiled, self._names)
