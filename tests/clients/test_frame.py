"""`firesteel_frame` in a sparkmagic notebook: whole results as pandas frames."""

from __future__ import annotations

from pathlib import Path

from harness.notebook import Notebook, errors, texts
from harness.server import Server


def fine(notebook: Notebook, source: str) -> str:
    """Run a cell that must show no error, and give what it shows."""
    cell = notebook.run(source)
    assert not errors(cell), f"{source!r}: {texts(cell)}"
    return texts(cell)


def test_frames_of_the_notebooks_session(live_server: Server, tmp_path: Path) -> None:
    """A query's and a DataFrame's, all of their rows; an error says what Spark said."""
    with Notebook("pysparkkernel", tmp_path, live_server.url) as notebook:
        fine(notebook, "df = spark.range(3000).selectExpr('id', 'cast(id as string) as s')")
        fine(notebook, "%%local\nfrom firesteel_frame import frame")
        assert "(3000, 2)" in fine(notebook, "%%local\nprint(frame(name='df').shape)")
        query = "select id, id % 7 as week from range(2000) order by id desc"
        shown = fine(notebook, f"%%local\nf = frame({query!r}, limit=1500)\nprint(len(f), f.id.iloc[0])")
        assert "1500 1999" in shown
        assert "[]" in fine(notebook, 'spark.sql("show views").collect()')
        wrong = notebook.run("%%local\nframe('select nothing from nowhere')")
        assert "nowhere" in errors(wrong)
