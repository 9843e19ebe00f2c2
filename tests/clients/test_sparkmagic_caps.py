"""sparkmagic's `-o` and `%%sql` with results around each limit, in Python and Scala: whole frames or a plain
error, never lines that don't parse."""

from __future__ import annotations

from typing import Iterator

import pytest
from harness.notebook import Notebook, errors, texts
from harness.server import Server
from harness.spark import Spark

MAX_BYTES = 64 << 10
ROWS = 10
# A row is {"id":0,"pad":"..."} and a line end.
FRAME = 18
LANGUAGES = ("python", "scala")


@pytest.fixture(scope="module")
def small_server(default_spark: Spark) -> Iterator[Server]:
    """One that keeps little of an output."""
    server = Server(
        {**default_spark.settings, "spark.master": "local[2]", "output.max_bytes": f"{MAX_BYTES}B"}
    )
    yield server
    server.stop()


@pytest.fixture(scope="module")
def notebook(small_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """An IPython kernel with a session of each language."""
    with Notebook("plain", tmp_path_factory.mktemp("home"), small_server.url) as notebook:
        assert not errors(notebook.run("%load_ext sparkmagic.magics"))
        for language in LANGUAGES:
            added = notebook.run(f"%spark add -s {language} -l {language} -u {small_server.url}")
            assert not errors(added), texts(added)
        yield notebook


def pads(total: int) -> list[int]:
    """How long each row's text is, so that all lines have so many bytes."""
    usual = total // ROWS - FRAME
    return [usual] * (ROWS - 1) + [total - (ROWS - 1) * (usual + FRAME) - FRAME]


def make(notebook: Notebook, language: str, sizes: list[int]) -> None:
    """`frame`, and the view `rows`, with texts of these lengths."""
    if language == "python":
        code = (
            f"rows = [(i, 'x' * n) for i, n in enumerate({sizes})]\n"
            "frame = spark.createDataFrame(rows, 'id long, pad string').coalesce(1)\n"
            "frame.createOrReplaceTempView('rows')"
        )
    else:
        code = (
            f"val frame = Seq({', '.join(map(str, sizes))}).zipWithIndex"
            '.map { case (n, i) => (i.toLong, "x" * n) }.toDF("id", "pad").coalesce(1)\n'
            'frame.createOrReplaceTempView("rows")'
        )
    cell = notebook.run(f"%%spark -s {language}\n{code}")
    assert not errors(cell), texts(cell)


def ways(language: str) -> tuple[str, str]:
    """Cells that bring `frame` into the notebook as `got`: by `-o`, and by SQL."""
    rename = "got = frame" if language == "python" else "val got = frame"
    return (
        f"%%spark -s {language} -o got\n{rename}",
        f"%%spark -s {language} -c sql -o got -q\nselect id, pad from rows",
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_bytes(notebook: Notebook, language: str) -> None:
    """Just under the limit, at it and just over it; and rows of which one alone is over half of it."""
    around = [pads(MAX_BYTES + more) for more in (-1, 0, 1)]
    long = [[MAX_BYTES * 6 // 10] * 3, [MAX_BYTES * 2], [10, MAX_BYTES, 10]]
    for sizes in around + long:
        make(notebook, language, sizes)
        fits = sum(sizes) + FRAME * len(sizes) <= MAX_BYTES
        for cell in ways(language):
            shown = notebook.run(cell)
            if fits:
                assert not errors(shown), texts(shown)
                whole = notebook.run("print(got['id'].tolist(), got['pad'].str.len().tolist())")
                assert f"{list(range(len(sizes)))} {sizes}" in texts(whole)
            else:
                assert "output.max_bytes is 64 KiB" in errors(shown), texts(shown)
                assert "fewer rows" in errors(shown)
                assert "JSON:" not in texts(shown)
                assert "parse" not in texts(shown)


@pytest.mark.parametrize("language", LANGUAGES)
def test_rows(notebook: Notebook, language: str) -> None:
    """Just under what sparkmagic asks for, as many, and more."""
    for there in (ROWS - 1, ROWS, ROWS + 1):
        make(notebook, language, [3] * there)
        for cell in ways(language):
            first, _, rest = cell.partition("\n")
            shown = notebook.run(f"{first} -n {ROWS}\n{rest}")
            assert not errors(shown), texts(shown)
            whole = notebook.run("print(len(got), got['pad'].tolist()[-1])")
            assert f"{min(there, ROWS)} xxx" in texts(whole)
