"""The source of statements: what tracebacks, warnings and `inspect.getsource` find under a statement's name.

Puts it into linecache, teaches inspect where classes of `__main__` are. Calls nobody.
"""

import inspect
import linecache
import re
from types import FunctionType
from typing import Any, Dict, List, Optional

STDIN = "<stdin>"
"""Livy's name of what runs. The statement's own frames and syntax errors have it on the wire."""

KEPT_CHARACTERS = 32 << 20
"""How much source is kept; the oldest statement's goes first."""

_NAME = re.compile(r"<cell \d+>")
_line_ends = re.compile("\r\n?")


def is_cell(name: Any) -> bool:
    """Whether it is the name of a statement's code."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


class Cells:
    """The sources of this session's statements."""

    def __init__(self) -> None:
        self._sources: Dict[str, List[str]] = {}
        self._kept = 0
        self.current = ""
        """The name of the statement that runs."""

    def add(self, statement: int, code: str) -> str:
        """Keep a statement's source; the file name for its code."""
        before, name = self.current, f"<cell {statement}>"
        self.current = name
        if before in self._sources and before not in linecache.cache:
            for known, lines in self._sources.items():  # User code has cleared the cache.
                self._register(known, lines)
        lines = [f"{line}\n" for line in _line_ends.sub("\n", code).split("\n")]
        self._kept += _size(lines) - _size(self._sources.get(name, []))
        self._sources[name] = lines
        while self._kept > KEPT_CHARACTERS and len(self._sources) > 1:
            oldest = next(iter(self._sources))
            self._kept -= _size(self._sources.pop(oldest))
            linecache.cache.pop(oldest, None)
        self._register(name, lines)
        return name

    def line(self, number: int) -> Optional[str]:
        """A line of the statement that runs, counted from 1."""
        lines = self._sources.get(self.current, [])
        return lines[number - 1] if 0 < number <= len(lines) else None

    def file_of_class(self, found: type) -> Optional[str]:
        """The name of the statement that made a class."""
        for member in list(vars(found).values()):
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if isinstance(function, FunctionType) and function.__code__.co_filename in self._sources:
                return function.__code__.co_filename
        name = found.__qualname__.partition(".")[0]
        pattern = re.compile(rf"^\s*(class|(async\s+)?def)\s+{re.escape(name)}\b", re.MULTILINE)
        for cell in reversed(list(self._sources)):
            if pattern.search("".join(self._sources[cell])):
                return cell
        return None

    def teach_inspect(self) -> None:
        """Let inspect find the source of classes that statements define."""
        original = inspect.getfile

        def getfile(object: Any) -> str:
            try:
                return original(object)
            except (OSError, TypeError):
                found = None
                if isinstance(object, type) and object.__module__ == "__main__":
                    found = self.file_of_class(object)
                if found is None:
                    raise
                return found

        getfile.__doc__ = original.__doc__
        inspect.getfile = getfile

    def _register(self, name: str, lines: List[str]) -> None:
        # Without a time of modification linecache keeps it until it is cleared.
        linecache.cache[name] = (_size(lines), None, lines, name)


def _size(lines: List[str]) -> int:
    return sum(map(len, lines))
