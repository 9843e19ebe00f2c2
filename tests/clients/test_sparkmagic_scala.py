"""sparkmagic's Scala kernel from PyPI against the real server and Spark: cells, `%%sql`, `-o`."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator

import pytest
from harness.notebook import Notebook, errors, texts
from harness.server import Server


@pytest.fixture
def wrapper(live_server: Server, tmp_path: Path) -> Iterator[Notebook]:
    """sparkmagic's own Scala kernel, with the project's configuration."""
    found = find_spec("sparkmagic")
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin).parent / "kernels/sparkkernel/kernel.json"
    kernel = json.loads(source.read_text())
    kernel["argv"][0] = sys.executable
    target = tmp_path / "data/kernels/sparkkernel/kernel.json"
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps(kernel))
    with Notebook("sparkkernel", tmp_path, live_server.url) as notebook:
        yield notebook


def fine(notebook: Notebook, source: str) -> str:
    """Run a cell that must show no error, and give what it shows."""
    cell = notebook.run(source)
    assert not errors(cell), f"{source!r}: {texts(cell)}"
    return texts(cell)


def test_scala_kernel(wrapper: Notebook, live_server: Server) -> None:
    """Cells as a user of the Scala kernel writes them."""
    others = set(live_server.api.ids())
    fine(wrapper, '%%configure -f\n{"conf": {"spark.x": "y", "spark.ui.enabled": "false"}}')
    shown = fine(wrapper, 'println(spark.conf.get("spark.x") + "z")')
    assert "SparkSession available as 'spark'" in shown
    assert "yz" in shown
    (number,) = set(live_server.api.ids()) - others
    assert live_server.api.get(f"/sessions/{number}").json()["kind"] == "spark"
    assert "Int = 2" in fine(wrapper, "1 + 1")
    assert "héllo ✓ 漢字 🎉" in fine(wrapper, 'println("héllo ✓ 漢字 🎉")')
    fine(wrapper, "case class Person(name: String,\n                  age: Int)")
    fine(wrapper, 'val people = Seq(Person("a\\"b", 1), Person("c\\td", 2)).toDF')
    fine(wrapper, 'people.createOrReplaceTempView("people")')
    fine(wrapper, "%%sql -o odd\nselect * from people order by age")
    assert "['a\"b', 'c\\td'] 3" in fine(wrapper, "%%local\nprint(odd.name.tolist(), odd.age.sum())")
    # A DataFrame of a cell, into the notebook's own Python.
    fine(wrapper, '%%spark -o frame\nval frame = people.filter($"age" > 1)')
    assert "(1, 2)" in fine(wrapper, "%%local\nprint(frame.shape)")
    assert "no_such_table" in errors(wrapper.run("%%sql\nselect * from no_such_table"))
    cell = wrapper.run('println("kept")\nnope')
    assert "not found: value nope" in errors(cell)
    cell = wrapper.run('throw new RuntimeException("boom")')
    assert "java.lang.RuntimeException: boom" in errors(cell)
    assert "incomplete statement" in errors(wrapper.run("foo("))
    fine(wrapper, "%%local\nimport pandas as pd\nup = pd.DataFrame({'a': [1, 2], 'b': ['x', 'ü']})")
    fine(wrapper, "%%send_to_spark -i up -t df -n up")
    assert "ü" in fine(wrapper, 'up.orderBy("a").collect().foreach(println)')
    assert "Int = 6" in fine(wrapper, "3 + 3")
