"""A statement's text as what is to be run, one piece after another. Calls cells.

The text is parsed as a module; all but the last statement are compiled as they are, the last one as at a
prompt, so that a bare expression prints its repr. Only if the parse fails is the text split into chunks at
lines that begin with `%`. A syntax error anywhere means that nothing runs.
"""

import __future__

import ast
from typing import Any, List, Union

from .cells import Cells

_FUTURE_FLAGS = 0
for _name in __future__.all_feature_names:
    _FUTURE_FLAGS |= getattr(__future__, _name).compiler_flag

_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_ONLY_AST = ast.PyCF_ONLY_AST
_compile, _Module, _Interactive = compile, ast.Module, ast.Interactive

Step = Union[str, List[Any]]
"""A magic's line without its `%`, or compiled code."""


class Planner:
    """Compiles the session's statements; `from __future__` holds for those that follow."""

    def __init__(self, cells: Cells):
        self._cells = cells
        self._flags = 0

    def plan(self, statement: int, code: str) -> List[Step]:
        """The steps of a statement."""
        code = code[1:] if code.startswith("\ufeff") else code
        file = self._cells.add(statement, code)
        flags = self._flags
        try:
            return [self._compiled(code, file)]
        except SyntaxError:
            lines = code.replace("\r\n", "\n").replace("\r", "\n").split("\n")
            if not any(line.startswith("%") for line in lines):
                raise
        self._flags = flags
        # What inspect and tracebacks read must parse.
        self._cells.add(statement, "\n".join(f"# {line}" if line.startswith("%") else line for line in lines))
        plan: List[Step] = []
        start = 0
        for number, line in enumerate([*lines, "%"]):
            if line.startswith("%"):
                # Line numbers are those of the whole.
                compiled = self._compiled("\n" * start + "\n".join(lines[start:number]), file)
                if compiled:
                    plan.append(compiled)
                plan.append(line[1:])
                start = number + 1
        plan.pop()  # The end mark.
        return plan

    def _compiled(self, code: str, file: str) -> List[Any]:
        body = _compile(code, file, "exec", _ONLY_AST | self._flags, True).body
        compiled = []
        for index, node in enumerate(body):
            if index < len(body) - 1:
                tree, mode = _Module([node], []), "exec"
            else:
                tree, mode = _Interactive([node]), "single"
            compiled.append(_compile(tree, file, mode, self._flags | _AWAIT, True))
            self._flags |= compiled[-1].co_flags & _FUTURE_FLAGS
        return compiled
