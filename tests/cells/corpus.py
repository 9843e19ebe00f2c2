"""Files of cells with their expected outputs: reads them, compares, and writes expectations anew.

    # comments may stand before the first cell; `# fresh session`: the file gets one of its own
    >>> a title                   begins a cell; what follows up to a line `---` is the code
    print('hello')
    --- text/plain                a value: its MIME type, then the text; JSON for application/json
    hello
    --- error NameError           instead of values: the name, then evalue; a `text/plain` beside it is what
    name 'x' is not defined       the cell printed before the error
    --- traceback                 the lines of the traceback, joined; without it the traceback may be any
    --- spark 4                   the cell is played on this major version only
    --- cpython                   CPython's own prompt prints the same: test_cpython.py checks it

`...` in an expected text stands for anything, and so does the string "..." in expected JSON. White space at
the end of lines and of texts does not count. A cell without a value or error expects no output. Numbers in
JSON are compared digit by digit. A line of code or text that begins with `>>> `, `--- ` or a backslash before
one of these has a backslash before it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

ANYTHING = "..."
BEGINS = (">>> ", "--- ")


class BadCells(Exception):
    """The file breaks the format: the message names file and line."""


@dataclass
class Cell:
    """One cell: its code and what it must give."""

    file: Path
    line: int
    title: str
    code: str = ""
    values: dict[str, str] = field(default_factory=dict)
    ename: str | None = None
    evalue: str = ""
    traceback: str | None = None
    spark: str | None = None
    cpython: bool = False
    lines: tuple[int, int] = (0, 0)
    """The first and one past the last line of the file, counted from 0, that say what the cell gives."""

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass
class CellFile:
    """One file: its cells in order, and whether it wants a session of its own."""

    path: Path
    cells: list[Cell]
    fresh: bool


def read(path: Path) -> CellFile:
    """Parse a file; raises BadCells."""
    lines = path.read_text(encoding="utf-8").split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    starts = [number for number, line in enumerate(lines) if line.startswith(">>>")]
    first = starts[0] if starts else len(lines)
    for number, line in enumerate(lines[:first]):
        if line.strip() and not line.startswith("#"):
            raise BadCells(f"{path}:{number + 1}: only comments may stand before the first cell")
    fresh = any(line.strip() == "# fresh session" for line in lines[:first])
    cells: list[Cell] = []
    titles: dict[str, int] = {}
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        cell = _cell(path, lines, start, end)
        if cell.title in titles:
            raise BadCells(f"{cell.where}: the title {cell.title!r} is that of line {titles[cell.title]}")
        titles[cell.title] = cell.line
        cells.append(cell)
    if not cells:
        raise BadCells(f"{path}:1: there is no cell (a line that begins with '>>> ')")
    return CellFile(path, cells, fresh)


def _cell(path: Path, lines: list[str], start: int, end: int) -> Cell:
    head = lines[start]
    cell = Cell(path, start + 1, head[4:].strip())
    if not head.startswith(">>> ") or not cell.title:
        raise BadCells(f"{cell.where}: a cell begins with '>>> ' and a title")
    marks = [number for number in range(start + 1, end) if re.match(r"---( |$)", lines[number])]
    code_end = marks[0] if marks else end
    cell.code = _text(lines[start + 1 : code_end]).rstrip("\n")
    body_end = end
    while body_end > code_end and not lines[body_end - 1].strip():
        body_end -= 1
    kept = code_end
    while not marks and kept > start + 1 and not lines[kept - 1].strip():
        kept -= 1
    cell.lines = (kept, body_end if marks else kept)
    for mark, following in zip(marks, [*marks[1:], end]):
        _part(cell, mark + 1, lines[mark][4:].strip(), _text(lines[mark + 1 : following]).rstrip())
    if cell.traceback is not None and cell.ename is None:
        raise BadCells(f"{cell.where}: a traceback needs an error")
    if cell.ename is not None and set(cell.values) - {"text/plain"}:
        raise BadCells(f"{cell.where}: beside an error only text/plain can be expected")
    return cell


def _part(cell: Cell, line: int, name: str, text: str) -> None:
    where = f"{cell.file}:{line}"
    word, _space, rest = name.partition(" ")
    rest = rest.strip()
    if word == "error" and rest and cell.ename is None:
        cell.ename, cell.evalue = rest, text
    elif name == "traceback" and cell.traceback is None:
        cell.traceback = text
    elif word == "spark" and rest in ("3", "4") and not text:
        cell.spark = rest
    elif name == "cpython" and not text:
        cell.cpython = True
    elif re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", name) and name not in cell.values:
        if _is_json(name):
            try:
                _load(text)
            except ValueError as error:
                raise BadCells(f"{where}: what {name} expects is not JSON: {error}") from None
        cell.values[name] = text
    else:
        raise BadCells(
            f"{where}: '--- {name}' is not a part, is there twice, or has text that it can't have; there are "
            "a MIME type, 'error NAME', 'traceback', 'spark 3', 'spark 4' and 'cpython'"
        )


def _text(lines: list[str]) -> str:
    """Lines of code or text without the backslashes before what would begin a cell or a part."""
    return "\n".join(line[1:] if re.match(r"\\+(>>> |--- )", line) else line for line in lines)


# Comparing


def difference(cell: Cell, raw: bytes) -> str | None:
    """What is wrong with an output (JSON, or nothing), in words; None when it is as expected."""
    wrong: list[str] = []
    given = _load(raw) if raw else {"status": "nothing"}
    status = "error" if cell.ename is not None else "ok"
    if given["status"] != status:
        wrong.append(f"the status is {given['status']!r}, not {status!r}")
    elif status == "error":
        if given["ename"] != cell.ename:
            wrong.append(f"ename is {given['ename']!r}, not {cell.ename!r}")
        if not matches(cell.evalue, given["evalue"]):
            wrong.append("evalue differs")
        if cell.traceback is not None and not matches(cell.traceback, "".join(given["traceback"])):
            wrong.append("the traceback differs")
    if not wrong:
        wrong += _differing_values(cell.values, given.get("data", {}))
    if not wrong:
        return None
    expected = "\n".join(_expectation(cell)) or "(no output)"
    told = [f"{cell.where}: {cell.title}", "; ".join(wrong), "", "=== code", cell.code, "", "=== expected"]
    return "\n".join([*told, expected, "", "=== got", *written(raw)])


def _differing_values(expected: dict[str, str], data: dict[str, Any]) -> list[str]:
    wrong = []
    for mime in sorted({*expected, *data, "text/plain"}):
        if mime == "text/plain":
            same = matches(expected.get(mime, ""), data.get(mime, ""))
        elif mime not in expected or mime not in data:
            wrong.append(f"{mime} is {'missing' if mime in expected else 'there'}")
            continue
        elif _is_json(mime):
            same = _same(_load(expected[mime]), data[mime])
        else:
            same = isinstance(data[mime], str) and matches(expected[mime], data[mime])
        if not same:
            wrong.append(f"{mime} differs")
    return wrong


def matches(expected: str, got: str) -> bool:
    """Whether a text is as expected, where `...` stands for anything."""
    pieces = (re.escape(piece) for piece in _stripped(expected).split(ANYTHING))
    return re.fullmatch(".*?".join(pieces), _stripped(got), re.DOTALL) is not None


def _stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip()


def _same(expected: Any, got: Any) -> bool:
    if expected == ANYTHING:
        return True
    if type(expected) is not type(got):
        return False
    if isinstance(expected, dict):
        return expected.keys() == got.keys() and all(_same(expected[key], got[key]) for key in expected)
    if isinstance(expected, list):
        return len(expected) == len(got) and all(map(_same, expected, got))
    return str(expected) == str(got)


def _load(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _is_json(mime: str) -> bool:
    return mime == "application/json" or mime.endswith("+json")


# Writing


def written(raw: bytes) -> list[str]:
    """The lines that would expect this very output."""
    if not raw:
        return ["(no output: it was cancelled)"]
    # Numbers keep all their digits: they are marked strings on the way.
    output = json.loads(raw, parse_float=lambda digits: f"\0{digits}\0")
    lines: list[str] = []
    data = dict(output.get("data", {}))
    if not data.get("text/plain"):
        data.pop("text/plain", None)
    for mime, value in data.items():
        text = str(value)
        if _is_json(mime):
            text = re.sub(r'"\\u0000([^"]*)\\u0000"', r"\1", json.dumps(value, ensure_ascii=False))
        lines += [f"--- {mime}", *_escaped(text)]
    if output["status"] == "error":
        lines += [f"--- error {output['ename']}", *_escaped(output["evalue"])]
        lines += ["--- traceback", *_escaped("".join(output["traceback"]))]
    return lines


def _escaped(text: str) -> list[str]:
    lines = [line.rstrip() for line in _stripped(text).split("\n")]
    return ["\\" + line if re.match(r"\\*(>>> |--- )", line) else line for line in lines if lines != [""]]


def _expectation(cell: Cell) -> list[str]:
    return cell.file.read_text(encoding="utf-8").split("\n")[slice(*cell.lines)]


def rewrite(cells: list[tuple[Cell, bytes]]) -> None:
    """Put these outputs in the place of what the cells of one file expect; conditions stay."""
    path = cells[0][0].file
    lines = path.read_text(encoding="utf-8").split("\n")
    for cell, raw in sorted(cells, key=lambda pair: -pair[0].line):
        new = written(raw)
        if "--- traceback" in new and cell.traceback is None:
            new = new[: new.index("--- traceback")]
        if cell.spark:
            new.append(f"--- spark {cell.spark}")
        if cell.cpython:
            new.append("--- cpython")
        lines[slice(*cell.lines)] = new
    path.write_text("\n".join(lines), encoding="utf-8")
