"""All that a request can bring along and that a local master can use, in one batch."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Iterator

import pytest
from harness.processes import wait_until
from harness.server import Server
from harness.spark import Spark

ARGS = [
    "",
    "two words",
    "-x",
    "--conf",
    "quote\"d 'single' \\back",
    "$HOME `id` ;|&",
    "é 漢字 🎉",
    "a\nb\tc",
    "*",
    "",
]
APPLICATION = """\
import json, sys
from pyspark import SparkFiles
from pyspark.sql import SparkSession

import rates
from tables.names import TABLE

spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext
runtime = context._jvm.java.lang.Runtime.getRuntime()

def on_a_worker(work):
    return context.parallelize([2], 1).map(work).collect()

print("told", json.dumps({
    "args": sys.argv[1:],
    "module": rates.RATE,
    "package": TABLE,
    "module of a worker": on_a_worker(lambda n: __import__("rates").RATE * n),
    "file": open(SparkFiles.get("limits.json")).read(),
    "file with blanks": open(SparkFiles.get("limits with blanks.json")).read(),
    "file of a worker": on_a_worker(lambda _: open(SparkFiles.get("limits.json")).read()),
    "archive": open(SparkFiles.get("seeds/first.txt")).read(),
    "conf": spark.conf.get("spark.sql.shuffle.partitions"),
    "own conf": context.getConf().get("spark.sales.year"),
    "heap in MiB": runtime.maxMemory() >> 20,
    "name": context.appName,
    "user": context.sparkUser(),
}))
"""


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """What the request names."""
    (tmp_path / "app.py").write_text(APPLICATION)
    (tmp_path / "rates.py").write_text("RATE = 7\n")
    with zipfile.ZipFile(tmp_path / "tables.zip", "w") as package:
        package.writestr("tables/__init__.py", "")
        package.writestr("tables/names.py", "TABLE = 'sales'\n")
    (tmp_path / "limits with blanks.json").write_text("[3]")
    (tmp_path / "limits.json").write_text("[1, 2]")
    with zipfile.ZipFile(tmp_path / "seeds.zip", "w") as archive:
        archive.writestr("first.txt", "one")
    return tmp_path


@pytest.fixture
def server(spark: Spark, jobs: Path) -> Iterator[Server]:
    """A server that lets a request say as whom it runs."""
    settings = {
        **spark.settings,
        "spark.master": "local[1]",
        "files.allow": [str(jobs)],
        "access.impersonation": True,
    }
    server = Server(settings)
    yield server
    server.stop()


def test_everything_at_once(server: Server, jobs: Path) -> None:
    """Arguments as they are, modules, files, an archive, conf, memory, a name and a user."""
    body = {
        "file": str(jobs / "app.py"),
        "args": ARGS,
        "pyFiles": [str(jobs / "rates.py"), f"file://{jobs}/tables.zip"],
        "files": [str(jobs / "limits.json"), str(jobs / "limits with blanks.json")],
        "archives": [f"{jobs}/seeds.zip#seeds"],
        "conf": {"spark.sql.shuffle.partitions": 5, "spark.sales.year": "20 26", "spark.ui.enabled": False},
        "driverMemory": "600m",
        "driverCores": 1,
        "executorMemory": "512m",
        "executorCores": 1,
        "numExecutors": 1,
        "queue": "default",
        "name": "all of it",
        "proxyUser": "carol",
    }
    created = server.api.post("/batches", body)
    assert created.status_code == 201, created.text
    assert created.json()["proxyUser"] == "carol"
    path = f"/batches/{created.json()['id']}"
    wait_until("it ends", lambda: server.api.get(f"{path}/state").json()["state"] in ("success", "dead"))
    log = server.api.get(f"{path}/log?from=0&size=10000").json()["log"]
    (line,) = [line for line in log if line.startswith("told ")] or [None]
    assert line, "\n".join(log)
    told = json.loads(line.removeprefix("told "))
    heap = told.pop("heap in MiB")
    assert 500 <= heap <= 600
    assert told == {
        "args": ARGS,
        "module": 7,
        "package": "sales",
        "module of a worker": [14],
        "file": "[1, 2]",
        "file with blanks": "[3]",
        "file of a worker": ["[1, 2]"],
        "archive": "one",
        "conf": "5",
        "own conf": "20 26",
        "name": "all of it",
        "user": "carol",
    }
    assert server.api.get(path).json()["state"] == "success"
    assert server.api.delete(path).status_code == 200
    wait_until("no file is left", lambda: not server.run_files())
    wait_until("no process is left", lambda: not server.driver_processes())
