"""Cells that say `--- cpython` show what CPython's own prompt shows: a real `python -i` reads them.

The prompt shows every expression and Livy only a cell's last, the prompt's traceback has a frame of its own,
and it reads line by line: those cells are chosen where that makes no difference, and of an error its last
lines count.
"""

from __future__ import annotations

import ast
import io
import subprocess
import tokenize
from pathlib import Path
from typing import Iterator

import pytest
from cells import corpus
from harness.spark import Spark

FILES = [corpus.read(path) for path in sorted((Path(__file__).parent / "python").glob("*.cells"))]
CHOSEN = {file.path.stem: cells for file in FILES if (cells := [cell for cell in file.cells if cell.cpython])}
MARK = "\x1eend of a cell\x1e"
LEAST = 60
"""There are at least this many: a change of the format must not lose them unseen."""


def pieces(code: str) -> Iterator[str]:
    """The statements as they would be typed: no blank lines inside, and one at the end."""
    inside: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.STRING:
            inside.update(range(token.start[0], token.end[0] + 1))
    lines = code.split("\n")
    starts: list[int] = []
    for node in ast.parse(code).body:
        decorators = getattr(node, "decorator_list", [])
        start = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        if start not in starts:
            starts.append(start)
    for start, following in zip(starts, [*starts[1:], len(lines) + 1]):
        kept = [lines[n - 1] for n in range(start, following) if lines[n - 1].strip() or n in inside]
        yield "\n".join(kept) + "\n\n"


@pytest.fixture(scope="module")
def prompt(default_spark: Spark) -> dict[str, tuple[str, str]]:
    """What CPython wrote to stdout and stderr, for each cell."""
    found = {}
    for cells in CHOSEN.values():
        typed = "import sys; sys.ps1 = sys.ps2 = ''\n"
        for cell in cells:
            typed += "".join(pieces(cell.code))
            typed += f"print({MARK!r}); print({MARK!r}, file=__import__('sys').stderr)\n"
        done = subprocess.run(
            [default_spark.python, "-i", "-q", "-X", "utf8"],
            input=typed.encode("utf-8", "surrogatepass"),
            capture_output=True,
            timeout=120,
        )
        outs = done.stdout.decode("utf-8", "replace").split(f"{MARK}\n")
        errs = done.stderr.decode("utf-8", "replace").split(f"{MARK}\n")
        assert len(outs) == len(errs) == len(cells) + 1, done.stderr.decode("utf-8", "replace")[-2000:]
        # The first prompt came before it was turned off.
        errs[0] = errs[0].removeprefix(">>> ")
        for cell, out, err in zip(cells, outs, errs):
            found[cell.where] = out, err
    return found


@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, id=f"{stem}/{cell.title}") for stem, cells in CHOSEN.items() for cell in cells],
)
def test_like_the_prompt(prompt: dict[str, tuple[str, str]], cell: corpus.Cell) -> None:
    out, err = prompt[cell.where]
    if cell.ename is not None:
        printed, _mark, trace = err.rpartition("Traceback (most recent call last):\n")
        lines = trace.split("\n")
        first = next(number for number, line in enumerate(lines) if not line.startswith(" "))
        told = "\n".join(lines[first:]).removeprefix("__main__.")
        expected = f"{cell.ename}: {cell.evalue}" if cell.evalue else cell.ename
        assert corpus.matches(expected, told), f"{cell.where}: CPython says {told!r}"
        err = printed
    text = cell.values.get("text/plain", "")
    assert corpus.matches(text, out + err), f"{cell.where}: CPython shows {out + err!r}"


def test_there_are_enough() -> None:
    assert sum(map(len, CHOSEN.values())) >= LEAST
