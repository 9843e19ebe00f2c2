"""A standalone master that recovers, and two workers, on each Spark: what a session and a batch see of their
failures."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest
from harness.api import Session
from harness.processes import wait_until
from harness.server import Server
from harness.spark import Cluster, Spark, below

LIMIT = 240.0
SLOW = """\
import time
def slow(number):
    time.sleep(8)
    return number
sc.parallelize(range(4), 4).map(slow).sum()
"""
WHERE = "import os\nsc.parallelize(range(8), 8).map(lambda _: os.getcwd()).distinct().collect()"


@pytest.fixture(scope="module")
def cluster(spark: Spark) -> Iterator[Cluster]:
    """A master and two workers of two cores each."""
    cluster = Cluster(spark, cores=2, memory="1g", workers=2, recovers=True)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that requests may name."""
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def server(spark: Spark, cluster: Cluster, jobs: Path) -> Iterator[Server]:
    """A server whose drivers run here, and their executors on the workers."""
    on_loopback = {"SPARK_LOCAL_IP": "127.0.0.1"}
    settings = {
        **spark.settings,
        "spark.master": cluster.url,
        "spark.deploy_mode": "client",
        "files.allow": [str(jobs)],
        "driver.env": {**spark.settings["driver.env"], **on_loopback},
    }
    server = Server(settings)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def session(server: Server) -> Session:
    """A session with an executor on each worker."""
    conf = {"spark.executor.cores": "2", "spark.sql.shuffle.partitions": "2", "spark.cores.max": "4"}
    session = server.api.create(driverMemory="600m", executorMemory="512m", conf=conf)
    session.wait("idle", limit=LIMIT)
    wait_until("both workers have one", lambda: session.text(WHERE, limit=LIMIT).count("work") >= 2, LIMIT)
    return session


def test_a_master_that_comes_back(session: Session, cluster: Cluster):
    """A statement that runs meanwhile goes on, and so does the session."""
    statement = session.post(SLOW)
    session.wait_statement(statement["id"], "running")
    app_id = session.get()["appId"]
    cluster.restart_master()
    ended = session.wait_statement(statement["id"], limit=LIMIT)
    assert ended["output"]["data"] == {"text/plain": "6"}, ended
    assert session.text("spark.range(10).count()", limit=LIMIT) == "10"
    assert session.get()["appId"] == app_id


def test_a_worker_lost_in_mid_statement(session: Session, cluster: Cluster):
    """Its tasks run again on the other."""
    statement = session.post(SLOW)
    session.wait_statement(statement["id"], "running")
    wait_until(
        "the executors compute", lambda: session.statement(statement["id"])["progress"] < 1 and busy(cluster)
    )
    cluster.kill_worker(cluster.workers[0])
    ended = session.wait_statement(statement["id"], limit=LIMIT)
    assert ended["output"]["data"] == {"text/plain": "6"}, ended
    left = session.text(WHERE, limit=LIMIT)
    assert f"{cluster.home}/work1" in left and f"{cluster.home}/work0" not in left, left


def busy(cluster: Cluster) -> bool:
    """Whether each worker's executor has Pythons below it."""
    return all(len(below(worker.pid)) > 2 for worker in cluster.workers if worker.poll() is None)


def test_batches_and_the_end(server: Server, session: Session, jobs: Path):
    """With the worker that is left: once the session has gone, a batch has its cores."""
    session.delete()
    (jobs / "sum.py").write_text(
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "print('sum', spark.range(10).groupBy().sum().first()[0])\n"
    )
    created = server.api.post("/batches", {"file": str(jobs / "sum.py"), "executorMemory": "512m"})
    path = f"/batches/{created.json()['id']}"
    wait_until("it ends", lambda: server.api.get(path).json()["state"] not in ("starting", "running"), LIMIT)
    log = server.api.get(f"{path}/log", params={"from": 0, "size": -1}).json()["log"]
    assert server.api.get(path).json()["state"] == "success", "\n".join(log)
    assert "sum 45" in log
