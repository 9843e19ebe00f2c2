"""What may stand at the cursor: names, attributes, modules, arguments, keys and paths. Calls lookup.

A candidate is a whole word that takes the place of the last part before the cursor: of `thing.al` the `al`,
of `d["ke` the `ke`, of `open("data/fi` the `fi`.
"""

import builtins
import keyword
import os
import re
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

from . import lookup

MAX_CANDIDATES = 1000
MAX_CODE = 64 << 10
"""Characters before the cursor that are looked at."""

MAX_EXPRESSION = 1000
"""Characters of the expression before the cursor."""

_DOTTED = re.compile(r"[^\W\d]\w*(?:\s*\.\s*[^\W\d]\w*)*\s*\.?\s*$", re.UNICODE)
_WORD = re.compile(r"\w*$", re.UNICODE)
_NAME = re.compile(r"[^\W\d]\w*$", re.UNICODE)
_IMPORT = re.compile(r"(?:^|;)\s*(?:import\s+(?:[\w.]+(?:\s+as\s+\w+)?\s*,\s*)*|from\s+)([\w.]*)$")
_FROM = re.compile(r"(?:^|;)\s*from\s+([\w.]+)\s+import\s+\(?\s*(?:\w+(?:\s+as\s+\w+)?\s*,\s*)*(\w*)$")
_FROM_WORD = re.compile(r"(?:^|;)\s*from\s+[\w.]+\s+(\w*)$")
_OPENS = re.compile(r"([rRbBuUfF]{0,2})('''|\"\"\"|'|\")")
_BRACKETS = {")": "(", "]": "[", "}": "{"}

_listdir, _isdir, _expand = os.scandir, os.path.isdir, os.path.expanduser


class _Place(NamedTuple):
    """Where the cursor is: inside which string, and after which open brackets."""

    string: Optional[str]
    """What of the string literal stands before the cursor; None outside of one."""
    start: int
    """Where the literal begins, its prefix included."""
    brackets: List[Tuple[str, int]]
    """The brackets that are open, and where."""
    comment: bool


def candidates(code: str, cursor: int, names: Dict[str, Any]) -> List[str]:
    """What the last part before the cursor (in characters) may become."""
    text = code[: max(cursor, 0)]
    if len(text) > MAX_CODE:
        text = text[-MAX_CODE:].partition("\n")[2]
    place = _place(text)
    if place.comment:
        return []
    if place.string is not None:
        return _limited(_in_string(text, place, names))
    tail = text[-MAX_EXPRESSION:]
    line = tail.rpartition("\n")[2]
    found = _FROM.search(line)
    if found:
        return _limited(_starting(found[2], lookup.importable(found[1])))
    if _FROM_WORD.search(line):
        return ["import"] if "import".startswith(_WORD.search(line)[0]) else []
    found = _IMPORT.search(line)
    if found:
        base, _dot, prefix = found[1].rpartition(".")
        return _limited(_starting(prefix, lookup.modules(base)))
    prefix = _WORD.search(tail)[0]
    if tail[: len(tail) - len(prefix)].rstrip().endswith("."):
        match = _DOTTED.search(tail)
        if match is None or _continues(tail, match.start()):
            return []  # An attribute of something that would have to be called or computed.
        base = re.sub(r"\s", "", match[0]).rpartition(".")[0]
        return _limited(_starting(prefix, lookup.attributes(base, names)))
    arguments = _arguments(text, place, prefix, names)
    if not prefix:
        return _limited(arguments)
    known: Iterable[Any] = (*list(names), *dir(builtins), *keyword.kwlist)
    return _limited([*arguments, *_starting(prefix, known)])


def _limited(found: Iterable[str]) -> List[str]:
    return sorted(set(found))[:MAX_CANDIDATES]


def _starting(prefix: str, found: Iterable[Any]) -> List[str]:
    """Those that begin with the prefix; hidden names only where it begins like one."""
    hidden = prefix.startswith("_")
    return [
        name
        for name in found
        if isinstance(name, str) and name.startswith(prefix) and (hidden or not name.startswith("_"))
    ]


def _continues(text: str, start: int) -> bool:
    """Whether the dotted name at `start` is the rest of a longer expression."""
    before = text[:start].rstrip(" \t")
    return before.endswith((".", ")", "]", "}", "'", '"')) and not before.endswith("...")


def _place(text: str) -> _Place:
    """Read the text up to the cursor, as far as strings, comments and brackets go."""
    brackets: List[Tuple[str, int]] = []
    at, end = 0, len(text)
    while at < end:
        char = text[at]
        opens = _OPENS.match(text, at) if char in "'\"rRbBuUfF" else None
        if opens is not None and not (opens[1] and at and (text[at - 1].isalnum() or text[at - 1] == "_")):
            closed = _end_of_string(text, opens.end(), opens[2])
            if closed is None:
                return _Place(text[opens.end() :], at, brackets, False)
            at = closed
            continue
        if char == "#":
            newline = text.find("\n", at)
            if newline < 0:
                return _Place(None, at, brackets, True)
            at = newline
        elif char in "([{":
            brackets.append((char, at))
        elif char in ")]}" and brackets and brackets[-1][0] == _BRACKETS[char]:
            brackets.pop()
        at += 1
    return _Place(None, end, brackets, False)


def _end_of_string(text: str, at: int, quote: str) -> Optional[int]:
    """The place after the literal's end; None where it is still open at the cursor."""
    while at < len(text):
        if text[at] == "\\":
            at += 2
        elif text.startswith(quote, at):
            return at + len(quote)
        elif text[at] == "\n" and len(quote) == 1:
            return at  # It was never closed: the next line is code again.
        else:
            at += 1
    return None


def _in_string(text: str, place: _Place, names: Dict[str, Any]) -> List[str]:
    """Keys where the string is a subscript, paths elsewhere."""
    typed = place.string or ""
    before = text[max(place.start - MAX_EXPRESSION, 0) : place.start].rstrip()
    if before.endswith("["):
        match = _DOTTED.search(before[:-1].rstrip())
        if match is not None and not match[0].rstrip().endswith("."):
            keys = lookup.keys(re.sub(r"\s", "", match[0]), names)
            return [key for key in keys if key.startswith(typed)]
    return _paths(typed)


def _paths(typed: str) -> List[str]:
    """Files and directories, these with a slash."""
    directory, slash, prefix = typed.rpartition("/")
    found = []
    try:
        with _listdir(_expand(directory + slash) if slash else ".") as entries:
            for entry in entries:
                if entry.name.startswith(prefix) and (prefix or not entry.name.startswith(".")):
                    found.append(entry.name + ("/" if entry.is_dir() else ""))
                if len(found) >= MAX_CANDIDATES:
                    break
    except (OSError, ValueError):
        return []
    return found


def _arguments(text: str, place: _Place, prefix: str, names: Dict[str, Any]) -> List[str]:
    """Keyword arguments of the callable whose bracket the cursor is in, as `name=`."""
    if not place.brackets or place.brackets[-1][0] != "(":
        return []
    opened = place.brackets[-1][1]
    before = text[max(opened - MAX_EXPRESSION, 0) : opened].rstrip(" \t")
    since = text[opened + 1 : len(text) - len(prefix)].rstrip()
    if since and not since.endswith(","):
        return []  # In the middle of an argument.
    match = _DOTTED.search(before)
    if match is None or before.endswith(".") or _continues(before, match.start()):
        return []
    line = before[: match.start()].rpartition("\n")[2].strip()
    if line.endswith(("def", "class")):
        return []
    return [
        f"{name}="
        for name in lookup.parameters(re.sub(r"\s", "", match[0]), names)
        if name.startswith(prefix)
    ]
