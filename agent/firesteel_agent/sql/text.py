"""Cuts the text of a SQL cell into its statements. Pure functions; calls nobody.

It knows where a semicolon ends nothing for Spark: in strings, quoted names, comments, and in
BEGIN ... END of a script.
"""

import re
from typing import Iterator, List, NamedTuple, Tuple

_TOKEN = re.compile(
    r"""
      (?P<comment> --(?:\\\r?\n|[^\r\n])*)
    | (?P<open> /\*(?!\+))
    | (?P<quoted>
          (?<![\w$])[rR]'[^']*(?:'|\Z)
        | (?<![\w$])[rR]"[^"]*(?:"|\Z)
        | '(?:[^'\\]|\\.|'')*(?:'|\\?\Z)
        | "(?:[^"\\]|\\.|"")*(?:"|\\?\Z)
        | `(?:[^`]|``)*(?:`|\Z)
      )
    | (?P<dollar> (?<![\w$])\$[A-Za-z]*\$)
    | (?P<end> ;)
    | (?P<word> [^\W\d]\w*)
    | (?P<number> \d\w*)
    | (?P<space> \s+)
    | (?P<other> .)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")

_OPENERS = {"BEGIN", "CASE"}
"""Words that END closes; IF, LOOP and their like are closed by END and the same word, by which one knows."""

_CLOSED_BY_TWO = {"IF", "WHILE", "LOOP", "REPEAT", "FOR"}


class Piece(NamedTuple):
    """One statement: its text without what is around it, where it begins (in characters), and whether nothing
    but space and comments stands before it."""

    text: str
    start: int
    first: bool


class Token(NamedTuple):
    """A word, a quoted text or a character that means something, and where it is."""

    kind: str
    text: str
    start: int


def tokens(code: str) -> Iterator[Token]:
    """Everything but space and comments."""
    at = 0
    while at < len(code):
        match = _TOKEN.match(code, at)
        assert match is not None and match.lastgroup is not None
        kind, end = match.lastgroup, match.end()
        if kind == "open":
            end = _comment_end(code, end)
        elif kind == "dollar":
            close = code.find(match.group(), end)
            kind, end = "quoted", len(code) if close < 0 else close + len(match.group())
        if kind not in ("comment", "open", "space"):
            yield Token(kind, code[at:end], at)
        at = end


def split(code: str) -> List[Piece]:
    """The statements, without the semicolons after them; what is empty or only comments is left out."""
    if ";" not in code:  # Most cells; a long one need not be looked through.
        return [Piece(code, 0, True)] if any(True for _token in tokens(code)) else []
    pieces: List[Piece] = []
    piece: List[Token] = []
    first = True
    for token, closes in _closing([*tokens(code), Token("end", ";", len(code))]):
        if not closes and token.start < len(code):
            piece.append(token)
            continue
        if piece:
            start, last = piece[0].start, piece[-1]
            pieces.append(Piece(code[start : last.start + len(last.text)], start, first))
        piece, first = [], False
    return pieces


def in_place(code: str, piece: Piece) -> str:
    """The statement with space before it, so that its lines and positions are those of the whole cell."""
    before = code[: piece.start]
    line = before.rpartition("\n")[2]
    return "\n" * before.count("\n") + " " * len(line) + piece.text


def line_of(code: str, piece: Piece) -> int:
    """The line where the statement begins, from 1."""
    return code.count("\n", 0, piece.start) + 1


def _closing(found: List[Token]) -> Iterator[Tuple[Token, bool]]:
    """Each token, and whether it is a semicolon that ends a statement."""
    first, script, depth, before = True, False, 0, ""
    for index, token in enumerate(found):
        word = token.text.upper() if token.kind == "word" and before != "." else ""
        if first:
            depth = 1 if word == "BEGIN" else 0
            script = depth == 1
        elif script and depth:
            following = found[index + 1].text.upper() if index + 1 < len(found) else ""
            if word in _OPENERS and before.upper() != "END":
                depth += 1
            elif word == "END" and following not in _CLOSED_BY_TWO:
                depth -= 1
        closes = token.kind == "end" and depth == 0
        yield token, closes
        first, before = closes, token.text


def _comment_end(code: str, at: int) -> int:
    """Where the comment ends whose inside begins at `at`: they nest."""
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(code, at)
        if edge is None:
            return len(code)
        depth += 1 if edge.group() == "/*" else -1
        at = edge.end()
    return at
