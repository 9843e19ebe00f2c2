"""A batch on YARN, and the job that it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.processes import wait_until
from harness.server import Server
from harness.spark import sparks
from harness.yarn import Yarn

LIMIT = 240.0
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


class Batch:
    """A batch that runs the job."""

    def __init__(self, server: Server, jobs: Path, *args: str, **body: Any):
        self.server = server
        answer = server.api.post("/batches", {"file": str(jobs / "job.py"), "args": list(args), **body})
        assert answer.status_code == 201, answer.text
        self.path = f"/batches/{answer.json()['id']}"

    def get(self) -> dict:
        """The batch."""
        return self.server.api.get(self.path).json()

    def log(self) -> list[str]:
        """Its whole log."""
        return self.server.api.get(f"{self.path}/log", params={"from": 0, "size": -1}).json()["log"]

    def wait(self, *states: str) -> dict:
        """Wait for one of these states; another end fails at once."""

        def there() -> dict | None:
            found = self.get()
            assert found["state"] in (*states, "starting", "running"), "\n".join(self.log())
            return found if found["state"] in states else None

        return wait_until(f"{self.path} is {states}", there, LIMIT, 0.2)

    def wait_id(self) -> str:
        """Wait for the application's id."""
        return wait_until("its application is known", lambda: self.get()["appId"], LIMIT, 0.2)
