"""The example notebooks of sparkmagic_config, as they stand, cell by cell on the real server and Spark."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Iterator

import nbformat
import pytest
from harness.notebook import Notebook, errors, texts
from harness.server import ROOT, Server
from harness.spark import Spark
from nbformat import NotebookNode

HERE = ROOT / "sparkmagic_config/notebooks"
DRIVER = ROOT / ".venv/driver/bin/python"


@pytest.fixture(scope="module")
def server(default_spark: Spark) -> Iterator[Server]:
    """A server whose sessions' Python has NumPy and matplotlib, and none of Spark's own packages."""
    assert DRIVER.exists(), "scripts/envs driver makes the sessions' Python"
    settings = {**default_spark.settings, "spark.master": "local[2]", "spark.python": str(DRIVER)}
    made = Server(settings)
    yield made
    made.stop()


def run(name: str, server: Server, home: Path) -> list[NotebookNode]:
    """Run a notebook in the kernel that it names, and give its code cells; none shows an error."""
    book = nbformat.read(HERE / f"{name}.ipynb", as_version=4)
    nbformat.validate(book)
    ran = []
    with Notebook(book.metadata.kernelspec.name, home, server.url) as notebook:
        for cell in book.cells:
            if cell.cell_type == "code":
                assert cell.outputs == [], "an example is kept without outputs"
                ran.append(notebook.run(cell.source))
                assert not errors(ran[-1]), f"{cell.source}\n{texts(ran[-1])}"
    return ran


def shown_after(cells: list[NotebookNode], start: str) -> str:
    """What the one cell with this text shows."""
    (cell,) = [cell for cell in cells if start in cell.source]
    return texts(cell)


def pictures(cells: list[NotebookNode]) -> list[bytes]:
    """The PNGs of all cells."""
    data = [output.get("data", {}) for cell in cells for output in cell.outputs]
    return [base64.b64decode(each["image/png"]) for each in data if "image/png" in each]


def plotted(cells: list[NotebookNode]) -> list[dict]:
    """Plotly's figures of all cells."""
    kind = "application/vnd.plotly.v1+json"
    return [o.data[kind] for cell in cells for o in cell.outputs if kind in o.get("data", {})]


def test_dataframes(server: Server, tmp_path: Path) -> None:
    """`-o`, `-n`, `-q`, samples, `%%send_to_spark`, whole frames."""
    cells = run("dataframes", server, tmp_path)
    assert "price: double" in shown_after(cells, "printSchema")
    kind = shown_after(cells, "type(by_hour)")
    assert "pandas" in kind
    assert "(24, 3)" in kind
    # 10000 rows over 24 hours: hours 0 to 15 have one more.
    assert "417" in shown_after(cells, "by_hour.head()")
    count = shown_after(cells, "a sample of").split()
    assert count[0] == "5"
    assert 700 < int(count[-1]) < 1300
    # Of each seven prices only the highest, 8.5.
    assert "1428 dear trips in 24 hours" in shown_after(cells, "dear trips in")
    (quiet,) = [cell for cell in cells if cell.source.startswith("%%sql -q")]
    assert "dear_trips" not in texts(quiet)
    joined = shown_after(cells, "trips.join(names")
    assert "|evening|  417|" not in joined
    assert "|morning|  417|" in joined
    assert "|evening|  416|" in joined
    whole = shown_after(cells, "frame(name=")
    assert "10000 rows, 5.499 on average" in whole


def test_sql(server: Server, tmp_path: Path) -> None:
    """The SQL kernel: bare queries, `%%sql -o`, a plot, Python of the session."""
    cells = run("sql", server, tmp_path)
    best = shown_after(cells, "idxmax")
    assert [line.split() for line in best.strip().splitlines()][1:4] == [
        ["Bergen", "10", "5700.0"],
        ["Lisbon", "11", "7500.0"],
        ["Riga", "12", "9300.0"],
    ]
    (figure,) = plotted(cells)
    assert sorted(trace["name"] for trace in figure["data"]) == ["Bergen", "Lisbon", "Riga"]
    assert "3600 sales" in shown_after(cells, "%%spark")


def test_scala(server: Server, tmp_path: Path) -> None:
    """Datasets, SQL and frames of a Scala session."""
    cells = run("scala", server, tmp_path)
    # Over a whole day the cosine is nothing on average.
    shown = shown_after(cells, "val means")
    assert "|    s0|15.0|" in shown
    assert "|    s3|18.0|" in shown
    warm = shown_after(cells, "warm hours")
    assert f"warm hours: {warm_hours()}" in warm
    local = shown_after(cells, "print(hottest")
    assert "s0     20.0" in local
    assert "(96, 3)" in local
    (figure,) = plotted(cells)
    assert len(figure["data"]) == 4


def warm_hours() -> int:
    """How many readings of the Scala notebook are over 20 degrees, sensors and hours alike."""
    import math

    values = [15 - 5 * math.cos(i % 24 * math.pi / 12) + i // 24 for i in range(96)]
    return sum(value > 20 for value in values)


def test_plots(server: Server, tmp_path: Path) -> None:
    """A picture of the driver's matplotlib, and one of the notebook's plotly."""
    cells = run("plots", server, tmp_path)
    (png,) = pictures(cells)
    assert png.startswith(b"\x89PNG")
    assert len(png) > 5000
    assert "50 points" in shown_after(cells, "px.line")
    (figure,) = plotted(cells)
    assert [trace["name"] for trace in figure["data"]] == ["least", "mean", "most"]


def test_the_quick_start(server: Server, tmp_path: Path) -> None:
    """The cells of docs/quick-start.md for the kernel PySpark: a plot here, and one of the driver's."""
    page = (ROOT / "docs/quick-start.md").read_text().split("### With the ordinary Python kernel")[0]
    sources = re.findall(r"```python\n(.*?)\n```", page, re.DOTALL)
    assert len(sources) == 4
    with Notebook("pysparkkernel", tmp_path, server.url) as notebook:
        cells = [notebook.run(source) for source in sources]
    assert [errors(cell) for cell in cells] == [""] * 4
    (figure,) = plotted(cells)
    assert len(figure["data"]) == 1
    (png,) = pictures(cells)
    assert png.startswith(b"\x89PNG")


def test_plots_without_matplotlib(live_server: Server, tmp_path: Path) -> None:
    """The notebook says so, and draws its own picture."""
    cells = run("plots", live_server, tmp_path)
    assert "no matplotlib" in shown_after(cells, "import matplotlib")
    assert pictures(cells) == []
    assert len(plotted(cells)) == 1


def test_gpu_training(server: Server, tmp_path: Path) -> None:
    """Here without a GPU and without PyTorch: it learns the line all the same, and says what with."""
    cells = run("gpu_training", server, tmp_path)
    shown = shown_after(cells, "train(xs, ys")
    assert "trained with plain Python" in shown
    # The noise is even around 0, within 0.1.
    slope, start = shown.split("y = ")[1].split(";")[0].split("x ")
    assert abs(float(slope) - 3) < 0.05
    assert abs(float(start) + 0.5) < 0.05
    first, last = shown.split("loss ")[1].split()[0:3:2]
    assert float(first) > 100 * float(last)
    (figure,) = plotted(cells)
    assert "Loss" in json.dumps(figure["layout"])
