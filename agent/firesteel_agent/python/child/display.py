"""Shows values: the hook that a bare expression's value goes to, and `display`. Calls output and rich.

The text goes to stdout, in order with all that is printed. What an object shows beside it is kept for the
statement's result: of several values of one MIME type the last one counts, but text/html is joined.
"""

import builtins
import io
import sys
import traceback
from typing import Any, Callable, Dict, List, Optional, Tuple

from ...output import TOO_LARGE, too_large_sentence
from . import rich

IPYTHON_DISPLAY = "IPython.core.display_functions"
"""IPython's module that has `display`."""

PIECE = 1 << 20
"""Characters that are written at once."""

MAX_TYPES = 40
"""MIME types of one statement; the agent takes at most 64."""

_repr = repr
_print_exception, _exc_info = traceback.print_exception, sys.exc_info
_write = io.TextIOWrapper.write
_names = builtins.__dict__


class Values:
    """The values of one statement, within a limit in bytes."""

    def __init__(self, limit: int):
        self._limit = limit
        self._kept: Dict[str, bytes] = {}
        self.left_out: Optional[int] = None
        """The bytes of the last value that was over the limit."""

    def clear(self) -> None:
        """Forget those of the statement before."""
        self._kept.clear()
        self.left_out = None

    def refused(self, mime: str, seen: int) -> str:
        """What is said of a value that is left out, as there would be so many bytes with it."""
        self.left_out = seen
        what = f"What the cell shows, with this {mime},"
        return f"[{TOO_LARGE}: {too_large_sentence(what, seen, self._limit)}]\n"

    def add(self, mime: str, data: bytes) -> str:
        """Keep a value (JSON), or say why it is left out."""
        if mime == "text/html" and mime in self._kept:
            data = self._kept[mime][:-1] + b"\\n" + data[1:]
        seen = len(data) + sum(len(kept) for other, kept in self._kept.items() if other != mime)
        if seen > self._limit:
            return self.refused(mime, seen)
        if len(self._kept) >= MAX_TYPES and mime not in self._kept:
            return f"[{mime} is left out: a cell shows at most {MAX_TYPES} types of values]\n"
        self._kept[mime] = data
        return ""

    def take(self) -> List[Tuple[str, bytes]]:
        """All of them."""
        return list(self._kept.items())


class Display:
    """The display hook and `display`."""

    def __init__(self, limit: int, wanted: bool):
        self.values = Values(limit)
        self._limit = limit
        self._wanted = wanted
        self._stream: Any = None
        self._foreign: Any = None
        self.function = self.display
        """What user code calls: always the same object."""
        self._own = self.hook
        sys.displayhook = self._own
        self._guard: Any = self._own

    def begin(self, stream: Any) -> None:
        """A statement begins; `stream` is our own stdout.

        User code's own stdout stays in place, but values are shown all the same; its own display hook stays
        until it fails.
        """
        self.values.clear()
        self._stream = stream
        found = getattr(sys, "stdout", None)
        self._foreign = found if found is not stream else None
        hook = getattr(sys, "displayhook", None)
        if hook is self._own or hook is self._guard:
            return
        sys.displayhook = self._guarded(hook) if callable(hook) else self._own

    def hook(self, value: Any) -> None:
        """Show the value of a bare expression, as at a prompt."""
        if value is None:
            return
        _names["_"] = None
        self._show(value)
        _names["_"] = value

    def display(self, *objects: Any, raw: bool = False, **_options: Any) -> None:
        """Show objects: their text, and what else they know to show. With `raw`, dicts of MIME types."""
        for value in objects:
            self._show(value, raw)

    def _show(self, value: Any, raw: bool = False) -> None:
        if not self._wanted:
            self._write(_repr(value))
            self._write("\n")
            return
        if raw:
            shown = rich.show_bundle(value, self._limit)
            text = shown.text
        else:
            text = _repr(value)
            shown = rich.show(value, self._limit)
            text = text if shown.text is None else shown.text
        if text:
            self._write(text)
            self._write("\n")
        for mime, data in shown.values:
            self._write(self.values.add(mime, data))
        for mime, seen in shown.too_large:
            self._write(self.values.refused(mime, seen))
        for note in shown.notes:
            self._write(f"{note}\n")

    def _write(self, text: str) -> None:
        """In pieces, since the stream makes a copy of each."""
        for start in range(0, len(text), PIECE):
            self._write_piece(text[start : start + PIECE] if len(text) > PIECE else text)

    def _write_piece(self, text: str) -> None:
        stream = getattr(sys, "stdout", None)
        if stream is None or stream is self._foreign:
            stream = self._stream
        try:
            if stream is self._stream:
                _write(stream, text)
            else:
                stream.write(text)
        except UnicodeEncodeError:
            stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))

    def _guarded(self, hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def guarded(value: Any) -> None:
            try:
                hook(value)
            except Exception:
                # The value is shown all the same, and the hook is not asked again.
                _print_exception(*_exc_info(), file=sys.__stderr__)
                sys.displayhook = self._own
                self.hook(value)

        self._guard = guarded
        return guarded
