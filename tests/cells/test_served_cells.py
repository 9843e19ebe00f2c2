"""A sample of the corpus, played through the server: what a cell gives there is what its agent gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Iterator

import pytest
from cells import corpus
from harness.server import ELSEWHERE, Server
from harness.spark import Spark

HERE = Path(__file__).parent
SAMPLE = {
    "python/errors": "pyspark",
    "python/spark": "pyspark",
    "scala/definitions": "spark",
    "scala/spark": "spark",
    "sql/queries": "sql",
}
# What is only so where the executors are in the driver's JVM.
OF_A_LOCAL_MASTER = {"the predefined names", "a print in a task on a local master"}
START_SECONDS = 180
SECONDS = 120


@pytest.fixture(scope="module")
def server(default_spark: Spark) -> Iterator[Server]:
    """A server with a real Spark."""
    server = Server({**default_spark.settings, "spark.master": "local[2]"})
    yield server
    server.stop()


@pytest.mark.parametrize("name", SAMPLE)
def test_a_file_of_cells(server: Server, default_spark: Spark, name: str) -> None:
    major = default_spark.version.split(".")[0]
    session = server.api.create(kind=SAMPLE[name], name="firesteel-test")
    session.wait("idle", limit=START_SECONDS)
    differing = []
    for cell in corpus.read(HERE / f"{name}.cells").cells:
        if cell.spark in (None, major) and not (ELSEWHERE and cell.title in OF_A_LOCAL_MASTER):
            statement = session.run(cell.code, limit=SECONDS)
            difference = corpus.difference(cell, json.dumps(statement["output"]).encode())
            differing += [difference] if difference else []
    session.delete()
    assert not differing, "\n\n".join(differing)
