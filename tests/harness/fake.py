"""A home of Spark whose `spark-submit` is the fake driver, and the ledger that its statements write to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from harness.server import ROOT

SCRIPT = """#!/bin/sh
exec '{python}' -I -S '{driver}' "$@"
"""


class Line(NamedTuple):
    """One line of the ledger."""

    what: str
    token: str
    driver: str
    statement: int
    nonce: str


class Fake:
    """A directory that `spark.home` can name; `settings` is what a server needs to use it.

    Its kind is `pyspark`, its code the lines that `fake_driver.py` lists, such as `ledger NONCE`.
    """

    def __init__(self, home: Path):
        self.home = home
        self.ledger = home / "ledger"
        self._read = 0
        (home / "bin").mkdir(parents=True)
        self.ledger.touch()
        script = home / "bin/spark-submit"
        # The interpreter itself: what makes an environment of it is of no use here, and takes time.
        python = Path(sys.executable).resolve()
        script.write_text(SCRIPT.format(python=python, driver=ROOT / "tests/harness/fake_driver.py"))
        script.chmod(0o755)

    @property
    def settings(self) -> dict[str, object]:
        """For `Server` and its configuration file."""
        return {"spark.home": str(self.home), "driver.env": {"FAKE_LEDGER": str(self.ledger)}}

    def lines(self) -> list[Line]:
        """The whole ledger, in order."""
        return [read_line(line) for line in self.ledger.read_text().splitlines()]

    def has(self, words: str) -> bool:
        """Whether a line of the ledger has these words."""
        return words in self.ledger.read_text()

    def new_lines(self) -> list[Line]:
        """What has been added since the last call."""
        with self.ledger.open() as ledger:
            ledger.seek(self._read)
            text = ledger.read()
            self._read = ledger.tell()
        # Whole lines only: each is one write.
        return [read_line(line) for line in text.splitlines()]


def read_line(line: str) -> Line:
    """One line of the ledger."""
    what, token, driver, *rest = line.split(" ")
    statement, nonce = (int(rest[0]), rest[1]) if rest else (-1, "")
    return Line(what, token, driver, statement, nonce)
