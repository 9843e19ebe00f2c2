"""The Python of a session: one that comes in an archive, a virtual environment of the host, and one that is
none."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path
from typing import Iterator

import pytest
from harness.server import Server, command
from harness.spark import newest

MARK = "found_in_the_environment"
ON_EXECUTORS = "sorted(set(sc.parallelize(range(4), 2).map(lambda _: __import__('sys').prefix).collect()))"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An allowed directory with a virtual environment and an archive of it, and one that is elsewhere."""
    home = tmp_path_factory.mktemp("places")
    allowed, elsewhere = home / "allowed", home / "elsewhere"
    for place in (allowed / "venv", elsewhere / "venv"):
        # Of the Python that runs Spark, so that its packages are the same.
        subprocess.run([newest().python, "-m", "venv", "--without-pip", str(place)], check=True)
        (site,) = place.glob("lib/python3.*/site-packages")
        (site / f"{MARK}.py").write_text(f"WHERE = {str(place)!r}\n")
    with tarfile.open(allowed / "env.tar.gz", "w:gz") as archive:
        for path in sorted((allowed / "venv").iterdir()):
            archive.add(path, arcname=path.name)
    return home


@pytest.fixture(scope="module")
def server(places: Path) -> Iterator[Server]:
    """One that knows its callers, so that code is not loaded from just anywhere."""
    users = places / "users"
    users.touch(mode=0o600)
    ended = command("passwd", str(users), "ada", stdin="lovelace\n")
    assert ended.returncode == 0, ended.stderr
    settings = {
        **newest().settings,
        "spark.master": "local[2]",
        "files.allow": [places / "allowed"],
        "access.mode": "basic",
        "access.basic_file": users,
    }
    server = Server(settings)
    yield server
    server.stop()


@pytest.fixture
def api(server: Server):
    """The server, as its user sees it."""
    return server.user("ada", "lovelace")


def test_archive(api, places: Path) -> None:
    """The interpreter and the executors run the Python of the unpacked archive."""
    session = api.create(
        archives=[f"{places}/allowed/env.tar.gz#environment"],
        conf={"spark.pyspark.python": "./environment/bin/python"},
    )
    session.wait("idle")
    assert session.text(f"import {MARK}; {MARK}.WHERE") == repr(str(places / "allowed/venv"))
    prefix = session.text("import sys; sys.prefix").strip("'")
    assert prefix.endswith("/environment")
    assert session.text(ON_EXECUTORS) == repr([prefix])
    assert "of another minor version" not in "\n".join(session.log())
    # Another one on the same context finds it, too.
    died = session.error("import os; os._exit(3)")
    assert "exit code 3" in died["evalue"]
    assert session.text("import sys; sys.prefix").strip("'") == prefix
    session.delete()


def test_virtual_environment(api, places: Path) -> None:
    """A directory of the allowed ones; a Python of another minor version for the executors is told."""
    other = places / "allowed/other"
    other.write_text("#!/bin/sh\necho 2.7\n")
    other.chmod(0o755)
    session = api.create(
        conf={
            "spark.pyspark.driver.python": str(places / "allowed/venv"),
            "spark.pyspark.python": str(other),
        },
    )
    session.wait("idle")
    assert session.text("import sys; sys.prefix") == repr(str(places / "allowed/venv"))
    assert session.created["conf"]["spark.pyspark.python"] == str(other)
    # The line comes by itself, after the session is idle.
    for _ in range(50):
        told = [line for line in session.log() if "can't run on executors" in line]
        if told:
            break
        session.text("1")
    assert f"their Python, {other}, is 2.7" in told[0]
    session.delete()


def test_elsewhere(api, places: Path) -> None:
    """What loads code from anywhere else is refused, and nothing stays."""
    for python in (
        str(places / "elsewhere/venv"),
        str(places / "allowed/../elsewhere/venv/bin/python"),
        "./environment/bin/python",
        "python3",
    ):
        answer = api.post("/sessions", {"kind": "pyspark", "conf": {"spark.pyspark.python": python}})
        assert answer.status_code == 400, answer.text
        assert "spark.pyspark.python" in answer.json()["msg"]
    assert api.sessions() == []


def test_none(api, places: Path) -> None:
    """A Python that is not there ends the session with a sentence that names it."""
    missing = places / "allowed/none"
    session = api.create(conf={"spark.pyspark.driver.python": str(missing)})
    session.wait_ended()
    log = session.log()
    assert f"The Python interpreter {missing} can't be started: No such file" in log[0], log[:3]
    session.delete()
