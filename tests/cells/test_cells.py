"""Plays the corpus: every cell of tests/cells/LANGUAGE/*.cells gives what its file says (corpus.py).

One agent for each language and Spark plays the files one after another, so a cell may use what earlier cells
of its file made; of a file that is played in part, the cells before are run first.

With FIRESTEEL_CELLS_UPDATE=1 the expectation of a cell that differs is written anew, and its test fails all
the same: look at the difference, then run again without.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest
from cells import corpus
from driven import Driver, Result
from harness.spark import Spark

HERE = Path(__file__).parent
KINDS = {"python": "pyspark", "scala": "spark", "sql": "sql", "r": "sparkr"}
UPDATE = os.environ.get("FIRESTEEL_CELLS_UPDATE", "") == "1"
SECONDS = 90
"""How long a cell may take."""

FILES = {path: corpus.read(path) for language in KINDS for path in sorted((HERE / language).glob("*.cells"))}
CELLS = [
    pytest.param(cell, id=f"{path.parent.name}/{path.stem}/{cell.title}")
    for path, file in FILES.items()
    for cell in file.cells
]


class Sessions:
    """One agent at a time, and how far it has come."""

    def __init__(self, spark: Spark):
        self._spark = spark
        self._driver: Driver | None = None
        self._language = ""
        self._file: Path | None = None
        self._played = 0
        self.updates: dict[Path, list[tuple[corpus.Cell, bytes]]] = {}

    def play(self, cell: corpus.Cell) -> Result:
        """Run a cell, after those of its file that come before it."""
        file, language = FILES[cell.file], cell.file.parent.name
        index = file.cells.index(cell)
        again = cell.file == self._file and index < self._played
        if self._driver is not None and self._driver.process.poll() is not None:
            self.close()  # An earlier cell ended it.
        if self._driver is None or language != self._language or again or self._wants_fresh(file):
            self.close()
            self._driver, self._language = Driver(self._spark.python, kind=KINDS[language]), language
            self._driver.ready()
        if cell.file != self._file or again:
            self._file, self._played = cell.file, 0
        for earlier in file.cells[self._played : index]:
            if self.plays(earlier):
                self._run(earlier)
        self._played = index + 1
        return self._run(cell)

    def plays(self, cell: corpus.Cell) -> bool:
        """Whether the cell is for this Spark."""
        return cell.spark in (None, self._spark.version.split(".")[0])

    def close(self) -> None:
        """End the agent."""
        if self._driver is not None:
            self._driver.close()
        self._driver = self._file = None

    def _wants_fresh(self, file: corpus.CellFile) -> bool:
        """A file that wants a session of its own gets one, and the file after it another."""
        before = self._file
        return before != file.path and (file.fresh or (before is not None and FILES[before].fresh))

    def _run(self, cell: corpus.Cell) -> Result:
        assert self._driver is not None
        return self._driver.run(cell.code, KINDS[self._language], SECONDS)


@pytest.fixture(scope="module")
def sessions(spark: Spark) -> Iterator[Sessions]:
    """The sessions of one Spark; what was learnt for FIRESTEEL_CELLS_UPDATE is written at the end."""
    found = Sessions(spark)
    yield found
    found.close()
    for cells in found.updates.values():
        corpus.rewrite(cells)


@pytest.mark.parametrize("cell", CELLS)
def test_cell(sessions: Sessions, cell: corpus.Cell) -> None:
    if not sessions.plays(cell):
        pytest.skip(f"for Spark {cell.spark}")
    result = sessions.play(cell)
    difference = corpus.difference(cell, result.raw)
    if difference is None:
        return
    if UPDATE and result.raw:
        sessions.updates.setdefault(cell.file, []).append((cell, result.raw))
        difference += "\n\nThe file is being rewritten: look at what changes, then run without the update."
    pytest.fail(difference, pytrace=False)
