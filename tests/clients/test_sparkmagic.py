"""sparkmagic 0.23 from PyPI against the real server and Spark: its magics, and its PySpark kernel."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Iterator

import pytest
from harness.api import Session
from harness.notebook import Notebook, errors, texts
from harness.processes import wait_until
from harness.server import Server
from harness.spark import Spark


@pytest.fixture(scope="module")
def spark_server(default_spark: Spark) -> Iterator[Server]:
    """A server of its own, for what touches every session."""
    server = Server({**default_spark.settings, "spark.master": "local[2]"})
    yield server
    server.stop()


@pytest.fixture
def magics(live_server: Server, tmp_path: Path) -> Iterator[Notebook]:
    """An IPython kernel."""
    with Notebook("plain", tmp_path, live_server.url) as notebook:
        yield notebook


@pytest.fixture
def wrapper(live_server: Server, tmp_path: Path) -> Iterator[Notebook]:
    """sparkmagic's PySpark kernel, with the project's configuration."""
    with Notebook("pysparkkernel", tmp_path, live_server.url) as notebook:
        yield notebook


def fine(notebook: Notebook, source: str) -> str:
    """Run a cell that must show no error, and give what it shows."""
    cell = notebook.run(source)
    assert not errors(cell), f"{source!r}: {texts(cell)}"
    return texts(cell)


def newest_session(server: Server, before: set[int]) -> Session:
    """The session that has come since."""
    (number,) = set(server.api.ids()) - before
    return Session(server.api, {"id": number})


def interrupt_when_running(notebook: Notebook, session: Session) -> threading.Thread:
    """Press stop once the server says that a statement runs, and the cell shows its progress bar: until then
    sparkmagic does not know the statement's id, and would cancel nothing."""
    cells = len(notebook.book.cells)

    def running() -> bool:
        shown = len(notebook.book.cells) > cells and notebook.book.cells[cells].get("outputs")
        return bool(shown) and session.state() == "busy"

    def press() -> None:
        wait_until("a statement runs", running, 60)
        notebook.interrupt()

    pressing = threading.Thread(target=press, daemon=True)
    pressing.start()
    return pressing


def test_magics(magics: Notebook, live_server: Server) -> None:
    """`%load_ext`, `%spark add`, `%%spark` with -o and -c sql, `%spark cleanup`."""
    before = set(live_server.api.ids())
    fine(magics, "%load_ext sparkmagic.magics")
    shown = fine(magics, f"%spark add -s one -l python -u {live_server.url}")
    assert "SparkSession available as 'spark'" in shown
    session = newest_session(live_server, before)
    assert "2" in fine(magics, "%%spark -s one\n1 + 1")
    assert "héllo ✓ 漢字 🎉" in fine(magics, "%%spark\nprint('héllo ✓ 漢字 🎉')")
    fine(
        magics,
        "%%spark -o frame\nframe = spark.createDataFrame([(1, 'a\"b'), (2, 'c\\nd'), (3, None)], ['n', 's'])",
    )
    shown = fine(magics, "print(type(frame).__module__, frame.shape, frame.s.tolist(), frame.n.sum())")
    assert "pandas" in shown
    assert "(3, 2)" in shown
    assert "['a\"b', 'c\\nd', nan]" in shown
    fine(magics, "%%spark -c sql -o rows -q\nselect id, id * 0.5 as half from range(4)")
    assert "[0, 1, 2, 3]" in fine(magics, "print(rows['id'].tolist())")
    # More than sparkmagic's own limit of rows, which is told apart from ours.
    fine(magics, "%%spark -c sql -o many -q -n 20000\nselect id, repeat('x', 50) as pad from range(20000)")
    assert "20000" in fine(magics, "print(len(many))")
    cell = magics.run("%%spark\nprint('kept')\n1/0")
    assert "ZeroDivisionError" in texts(cell)
    pressing = interrupt_when_running(magics, session)
    cell = magics.run("%%spark\nimport time\ntime.sleep(600)")
    pressing.join(60)
    assert "nterrupted" in texts(cell), texts(cell)
    assert "21" in fine(magics, "%%spark\n20 + 1")
    assert "stdout" in fine(magics, "%spark logs -s one")
    fine(magics, "%spark cleanup")
    assert session.state() == "gone"


def test_wrapper_kernel(wrapper: Notebook, live_server: Server) -> None:
    """Cells as a user of the PySpark kernel writes them."""
    others = set(live_server.api.ids())
    assert "Current session configs" in fine(wrapper, "%%info")
    configured = (
        '%%configure -f\n{"name": "notebook", "driverMemory": "700m", "conf": {"spark.x": "y", "spark.n": 7}}'
    )
    assert "700m" in fine(wrapper, configured)
    assert "SparkSession available as 'spark'" in fine(wrapper, "spark.conf.get('spark.x') + 'z'")
    session = newest_session(live_server, others)
    assert session.get()["driverMemory"] == "700m"
    assert session.get()["name"] == "notebook"
    assert "yz" in fine(wrapper, "print(spark.conf.get('spark.x') + 'z')")
    assert "'7'" in fine(wrapper, "spark.conf.get('spark.n')")
    shown = fine(wrapper, "%%info")
    assert str(session.id) in shown
    assert "idle" in shown
    # An error, with its name; the session goes on.
    cell = wrapper.run("def f():\n    raise ValueError('bad value')\nf()")
    assert "bad value" in errors(cell)
    assert "Traceback" in errors(cell)
    assert "'on'" in fine(wrapper, "'on'")
    # SQL, with odd characters, into the notebook's own Python.
    fine(
        wrapper,
        "spark.createDataFrame([('a\"b', 1), ('c\\td', 2)], ['s', 'n']).createOrReplaceTempView('odd')",
    )
    fine(wrapper, "%%sql -o odd\nselect * from odd order by n")
    assert "['a\"b', 'c\\td']" in fine(wrapper, "%%local\nprint(odd.s.tolist())")
    assert "no_such_table" in errors(wrapper.run("%%sql\nselect * from no_such_table"))
    # What is local stays local.
    assert "42" in fine(wrapper, "%%local\nhere = 42\nhere")
    assert "NameError" in errors(wrapper.run("here"))
    fine(wrapper, "%%local\nimport pandas as pd\nup = pd.DataFrame({'a': [1, 2], 'b': ['x', 'ü']})")
    fine(wrapper, "%%send_to_spark -i up -t df -n up")
    assert "[Row(a=1, b='x'), Row(a=2, b='ü')]" in fine(wrapper, "up.orderBy('a').collect()")
    assert "stdout" in fine(wrapper, "%%logs")
    # The stop button: the cell ends, the statement is cancelled, the next cell runs.
    pressing = interrupt_when_running(wrapper, session)
    cell = wrapper.run("while True: pass")
    pressing.join(60)
    assert "nterrupted" in texts(cell), texts(cell)
    statements = live_server.api.get(f"{session.path}/statements?order=desc&size=1").json()["statements"]
    assert statements[0]["state"] == "cancelled"
    assert "6" in fine(wrapper, "3 + 3")
    # A new configuration means a new session; the old one ends.
    fine(wrapper, '%%configure -f\n{"conf": {"spark.x": "again"}}')
    assert session.state() == "gone"
    again = newest_session(live_server, others)
    assert "'again'" in fine(wrapper, "spark.conf.get('spark.x')")
    wrapper.run("%%delete -f -s 4242")
    assert again.state() == "idle"


def test_cleanup(spark_server: Server, tmp_path: Path) -> None:
    """`%%cleanup -f` ends every session of the endpoint; without -f it asks, and ends none."""
    other = spark_server.api.create(conf={"spark.ui.enabled": "false"})
    with Notebook("pysparkkernel", tmp_path, spark_server.url) as notebook:
        fine(notebook, "1 + 1")
        assert len(spark_server.api.sessions()) == 2
        other.wait("idle")
        assert "-f" in errors(notebook.run("%%cleanup"))
        assert len(spark_server.api.sessions()) == 2
        fine(notebook, "%%cleanup -f")
        assert spark_server.api.sessions() == []


def test_ending_the_kernel_ends_the_session(spark_server: Server, tmp_path: Path) -> None:
    """As a user closes the notebook."""
    with Notebook("pysparkkernel", tmp_path, spark_server.url) as notebook:
        fine(notebook, "1 + 1")
        (number,) = spark_server.api.ids()
    wait_until("the session is gone", lambda: number not in spark_server.api.ids(), 30)
