"""Cuts a Scala cell into pieces for the REPL: Livy's rule, lines joined while incomplete.

Pure functions of the text; calls nobody. The REPL's parser alone says what is complete. This module knows
only what it can't say cheaply: comments, a next line that no statement can begin with, companions, and
brackets that are open for sure, so that a class of 10,000 lines is not parsed 10,000 times.
"""

import re
from typing import List, NamedTuple, Optional

MAGIC = re.compile(r"%(\w+)\W*(.*)")
"""A magic's line, as Livy has it."""

COMMAND = re.compile(r":(\w+|\?)")
"""The shell's own commands, such as `:help`, which can't begin a Scala statement."""

_CONTINUES = re.compile(
    r"(?:else|catch|finally|yield|extends|with|match|forSome)\b|\.\s*[^\W\d]|\.\s*`|[,#]|=>|<-|<:|>:|=(?![=\w!])"
)
"""By Scala's grammar a new line before these tokens ends no statement, since none begins with them."""

_GOES_ON = re.compile(r"[\s\w)\]}\"'`](?:[-+*/%&|^~:<>=]+|!=+)$")
"""A line that ends with an operator goes on in the next, as in a file; a `!` may stand last: `"ls" !`."""

_DEFINITION = re.compile(
    r"\s*(?:@[\w.]+(?:\([^()]*\))?\s+)*"
    r"(?:(?:abstract|final|sealed|implicit|private|protected|override|case)(?:\[\w+\])?\s+)*"
    r"(?:(class|trait|object)\s+(`[^`]+`|[^\W\d][\w$]*)|def\s)"
)

_CHARACTER = re.compile(r"'(?:\\u+[0-9a-fA-F]{4}|\\[0-7]{1,3}|\\.|[^'\\])'")

FIRST_CHECK = 32
"""A piece whose brackets seem open is parsed all the same when it has so many lines, and at every doubling:
the brackets may be those of something that looks like a string."""

MANY_INCOMPLETE = 200
"""A piece that was found incomplete so many times grows by a tenth each time."""

OPENING = {")": "(", "]": "[", "}": "{"}


MAX_DEPTH = 250
"""How deep brackets may be nested. A compiler that runs out of stack may never compile again: a class of its
own that could not be loaded then is never loaded."""


class Piece(NamedTuple):
    """What the REPL gets next: a magic (its name and the rest of its line), or code."""

    code: str
    magic: Optional[str] = None
    rest: str = ""


class Brackets:
    """Follows strings, comments and brackets over lines. Its answer is a guess: XML literals mislead it."""

    def __init__(self) -> None:
        self._stack: List[str] = []
        self._broken = False
        self.code = False
        """Whether there was anything but comments and white space."""

    @property
    def open(self) -> bool:
        """Whether something is open that must be closed."""
        return bool(self._stack) and not self._broken

    def feed(self, line: str) -> None:
        """Read one line."""
        at = 0
        while at < len(line):
            at = self._step(line, at)
        if self._stack and self._stack[-1] in ('"', 's"'):
            self._broken = True  # No such string goes over the end of a line.

    def _step(self, line: str, at: int) -> int:
        top = self._stack[-1] if self._stack else ""
        if top == "/*":
            return self._comment(line, at)
        if top.endswith('"'):
            return self._string(line, at, top)
        char = line[at]
        if line.startswith("//", at):
            return len(line)
        if line.startswith("/*", at):
            self._stack.append("/*")
            return at + 2
        if not char.isspace():
            self.code = True
        if char == '"':
            prefix = "s" if at and (line[at - 1].isalnum() or line[at - 1] == "_") else ""
            quotes = '"""' if line.startswith('"""', at) else '"'
            self._stack.append(prefix + quotes)
            return at + len(quotes)
        if char == "'":
            match = _CHARACTER.match(line, at)
            return match.end() if match else at + 1
        if char == "`":
            end = line.find("`", at + 1)
            return end + 1 if end > 0 else len(line)
        if char in "([{":
            self._stack.append(char)
        elif char in OPENING:
            if top == OPENING[char]:
                self._stack.pop()
            else:
                self._broken = True
        return at + 1

    def _comment(self, line: str, at: int) -> int:
        """Comments nest."""
        opened, closed = line.find("/*", at), line.find("*/", at)
        if closed < 0 and opened < 0:
            return len(line)
        if closed < 0 or 0 <= opened < closed:
            self._stack.append("/*")
            return opened + 2
        self._stack.pop()
        return closed + 2

    def _string(self, line: str, at: int, top: str) -> int:
        quotes = top.lstrip("s")
        if line.startswith(quotes, at):
            end = at + len(quotes)
            while len(quotes) == 3 and line.startswith('"', end):
                end += 1  # `""""` ends with a quote inside.
            self._stack.pop()
            return end
        if top[0] == "s" and line.startswith("${", at):
            self._stack.append("{")
            return at + 2
        if top[0] == "s" and line.startswith("$$", at):
            return at + 2
        return at + 2 if line[at] == "\\" and len(quotes) == 1 else at + 1


class Pieces:
    """The pieces of one cell, in order."""

    def __init__(self, code: str):
        text = code.strip("".join(map(chr, range(33))))
        self._lines = [line.rstrip("\r") for line in text.split("\n")] if text else []
        self._begin = self._end = 0
        self._brackets = Brackets()
        self._incomplete = 0
        self._header = ""
        self._asked = 0

    def next(self) -> Optional[Piece]:
        """The next piece to run; None after the last."""
        self._begin, self._brackets = self._end, Brackets()
        self._incomplete = self._asked = 0
        while not self._brackets.code:
            if not self._brackets.open:
                self._begin = self._end  # What was read are comments.
            if self._end == len(self._lines):
                return self._piece() if self._brackets.open else None
            self._add()
        self._header = self._lines[self._end - 1]
        if self._end == self._begin + 1:
            match = MAGIC.fullmatch(self._header)
            if match:
                return Piece(self._header, match.group(1), match.group(2).strip())
        self._extend()
        return self._piece()

    def more(self) -> Optional[Piece]:
        """The same piece with what follows, as it was incomplete; None where nothing follows."""
        if self._end == len(self._lines):
            return None
        self._incomplete += 1
        count = 1
        if self._incomplete > MANY_INCOMPLETE:
            count = max(1, (self._end - self._begin) // 10)
        for _ in range(min(count, len(self._lines) - self._end)):
            self._add()
        self._extend()
        return self._piece()

    def _piece(self) -> Piece:
        return Piece("\n".join(self._lines[self._begin : self._end]))

    def _add(self) -> None:
        self._brackets.feed(self._lines[self._end])
        self._end += 1

    def _extend(self) -> None:
        """Take the lines that belong to the piece for sure."""
        while self._end < len(self._lines):
            if self._brackets.open:
                length = self._end - self._begin
                if length >= max(FIRST_CHECK, 2 * self._asked):
                    self._asked = length
                    return
                self._add()
                continue
            following = self._following()
            if following is None or not (self._goes_on() or self._belongs(following)):
                return
            while self._end <= following:
                self._add()

    def _following(self) -> Optional[int]:
        """The next line that is neither blank nor a comment."""
        for number in range(self._end, len(self._lines)):
            line = self._lines[number].strip()
            if line and not line.startswith("//"):
                return number
        return None

    def _goes_on(self) -> bool:
        line = self._lines[self._end - 1].rstrip()
        return "//" not in line and _GOES_ON.search(line) is not None

    def _belongs(self, following: int) -> bool:
        line = self._lines[following].lstrip()
        if _CONTINUES.match(line):
            return True
        mine, other = _DEFINITION.match(self._header), _DEFINITION.match(line)
        if mine is None:
            return False
        if line.startswith("{"):
            # The body of a class, on a line of its own; after anything else it is a block.
            taken = "\n".join(self._lines[self._begin : self._end])
            headless = "{" not in taken and (mine.group(1) is not None or "=" not in taken)
            return headless and following == self._end
        return (
            other is not None
            and mine.group(2) is not None
            and mine.group(2) == other.group(2)
            and (mine.group(1) == "object") != (other.group(1) == "object")
        )


_NO_CODE = re.compile(
    r'""".*?(?:"""|\Z)|"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?(?:\*/|\Z)|' + r"'(?:\\.|[^'\\\n])'", re.DOTALL
)
"""Strings, comments and characters, also such that have no end yet."""


def depth(code: str) -> int:
    """How deep brackets are nested."""
    deepest = level = 0
    for character in _NO_CODE.sub("", code):
        if character in "([{":
            level += 1
            deepest = max(deepest, level)
        elif character in ")]}":
            level = max(level - 1, 0)
    return deepest
