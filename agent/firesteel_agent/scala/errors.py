"""What the Scala REPL wrote about an error, as Livy tells it: the first line is the value. Calls nobody.

Scala 2.13 writes the caret before the message, and not the line that it points to: both stand in the
traceback, and the message is the value, so that the two versions look alike.
"""

import re
from typing import Dict, List, Union

MAX_TEXT = 256 << 10
"""Characters that are kept of the value, and of a line of the traceback."""

MAX_LINES = 1000
"""Lines that are kept of a traceback."""

Failure = Dict[str, Union[str, List[str]]]

INCOMPLETE: Failure = {"ename": "Error", "evalue": "incomplete statement", "traceback": []}

_CARET = re.compile(r"\s+\^\s*$")
_MESSAGE = re.compile(r"\s*(?:On line \d+: |\S+:\d+: )?error: ")
_FIRST_LINE = re.compile(r"( {7})error: ")
"""How 2.13 tells an error in the first line of what it got: the shell's prompt is seven characters wide."""


def describe(echo: str, code: str) -> Failure:
    """The error of a piece of code."""
    lines = echo.splitlines(keepends=True)
    caret = next((number for number, line in enumerate(lines) if _CARET.match(line)), None)
    message = next((number for number, line in enumerate(lines) if _MESSAGE.match(line)), None)
    if caret is not None and message is not None and caret < message:
        rest = _with_source(lines, code)
        message = next(number for number, line in enumerate(rest) if _MESSAGE.match(line))
    else:
        rest = lines
        message = next((n for n, line in enumerate(lines) if not line.startswith("warning:")), 0)
    value = rest.pop(message).strip() if rest else "unknown error"
    return plain("Error", value, rest)


def plain(name: str, value: str, traceback: List[str]) -> Failure:
    """An error from its parts, within the limits."""
    if len(traceback) > MAX_LINES:
        half = MAX_LINES // 2
        cut = f"  [{len(traceback) - 2 * half} lines cut]\n"
        traceback = [*traceback[:half], cut, *traceback[-half:]]
    return {"ename": name, "evalue": _cut(value), "traceback": [_cut(line) for line in traceback]}


def _with_source(lines: List[str], code: str) -> List[str]:
    """With the line that a caret points to, where the shell would have it on the screen."""
    found: List[str] = []
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if _CARET.match(line) and _FIRST_LINE.match(following):
            found.append(f"       {code.splitlines()[0]}\n")
        found.append(line)
    return found


def _cut(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters cut ...]\n{text[-half:]}"
