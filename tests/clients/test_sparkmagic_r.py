"""sparkmagic's R kernel against the real server and R: cells, plots, errors, and what it asks of SparkR."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Iterator

import pytest
from harness.notebook import Notebook, errors, texts
from harness.server import Server

NO_SPARKR = "SparkR is not in this SPARK_HOME"


@pytest.fixture
def notebook(live_server: Server, tmp_path: Path) -> Iterator[Notebook]:
    """The R kernel, with the project's configuration."""
    with Notebook("sparkrkernel", tmp_path, live_server.url) as opened:
        yield opened


def test_r_kernel(notebook: Notebook) -> None:
    """One notebook from its first cell to its end."""

    def fine(source: str) -> str:
        cell = notebook.run(source)
        assert not errors(cell), f"{source!r}: {texts(cell)}"
        return texts(cell)

    assert "[1] 3" in fine("1 + 2")
    assert "héllo ✓ 漢字 🎉" in fine("x <- 'héllo ✓ 漢字 🎉'\ncat(x)")
    assert "[1] 12" in fine("nchar(x)")
    shown = fine("data.frame(n = 1:2, s = c('a\"b', NA))")
    assert '1 1  a"b' in shown
    cell = notebook.run("plot(cars)")
    assert not errors(cell), texts(cell)
    pictures = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 1
    assert base64.b64decode(pictures[0]).startswith(b"\x89PNG")
    assert "bad value" in errors(notebook.run("f <- function() stop('bad value')\nf()"))
    assert "unexpected" in errors(notebook.run("f <- ("))
    assert "Warning message" in fine("as.integer('x')")
    assert NO_SPARKR in fine("spark")
    assert NO_SPARKR in errors(notebook.run("%%sql\nselect 1"))
    assert NO_SPARKR in errors(notebook.run("%%spark -o df\ndf <- data.frame(a = 1)"))
    assert "42" in fine("%%local\nprint(6 * 7)")
    assert "died" in errors(notebook.run("q()"))
    assert "[1] 5" in fine("2 + 3")
