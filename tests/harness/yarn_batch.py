"""A batch on YARN, and the job that it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.batch import LIMIT, ClusterBatch
from harness.processes import wait_until
from harness.server import Server
from harness.spark import sparks
from harness.yarn import Yarn

SPARK = sparks()[0]

# Says what it computed on an executor, then waits until it is told how to end.
JOB = """\
import os, sys, time
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
where = lambda _: [(os.environ["CONTAINER_ID"], os.environ.get("OF_THE_ARCHIVE"))]
print("driver", os.environ.get("CONTAINER_ID"), os.environ.get("OF_THE_ARCHIVE"), flush=True)
found = spark.sparkContext.parallelize(range(2), 2).mapPartitions(where).distinct().collect()
print("executors", found, flush=True)
print("sum", spark.range(10).groupBy().sum().first()[0], flush=True)
while len(sys.argv) > 1 and not os.path.exists(sys.argv[1]):
    time.sleep(0.2)
if len(sys.argv) > 2:
    raise ValueError("no such table: " + sys.argv[2])
"""


def write_job(jobs: Path) -> None:
    """Put the job where requests may name it."""
    (jobs / "job.py").write_text(JOB)


def server_of(yarn: Yarn, jobs: Path, mode: str, env: dict[str, str] | None = None, **more: Any) -> Server:
    """A server for this YARN."""
    settings = {**yarn.settings(SPARK, mode), "files.allow": [str(jobs)], **more}
    return Server(settings, env={**yarn.environment(), **(env or {})})


class Batch(ClusterBatch):
    """A batch that runs the job."""

    def __init__(self, server: Server, jobs: Path, *args: str, **body: Any):
        super().__init__(server, str(jobs / "job.py"), *args, **body)

    def wait_id(self) -> str:
        """Wait for the application's id."""
        return wait_until("its application is known", lambda: self.get()["appId"], LIMIT, 0.2)
