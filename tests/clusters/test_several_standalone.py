"""A local Spark and a standalone cluster of another behind one server: sessions and batches in both, and a
crash."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator

import pytest
from conftest import SMALL
from harness.processes import wait_until
from harness.server import Server
from harness.spark import SHORT_LIVED, Cluster, sparks

LIMIT = 240.0
MAPPED = """
jvm = sc._gateway.jvm
path = jvm.java.nio.file.Path.of("/proc/self/maps", sc._gateway.new_array(jvm.String, 0))
lines = jvm.java.nio.file.Files.readString(path).splitlines()
print("\\n".join({line.split()[-1] for line in lines if line.endswith(".jsa")}))
"""
ENDED = ("success", "dead", "killed")
FIRST, SECOND = sparks()[0], sparks()[-1]
JOB = """\
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print('ran on', spark.version, spark.sparkContext.master, spark.range(10).groupBy().sum().first()[0])
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A master and a worker."""
    cluster = Cluster(SECOND, cores=2, memory="2g")
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What batches run."""
    job = tmp_path_factory.mktemp("jobs") / "sum.py"
    job.write_text(JOB)
    return job


@pytest.fixture(scope="module")
def server(cluster: Cluster, job: Path) -> Iterator[Server]:
    """Local by default, with the standalone cluster beside it."""
    options = {f"spark.{role}.extraJavaOptions": SHORT_LIVED for role in ("driver", "executor")}
    server = Server(
        {
            **FIRST.settings,
            "spark.master": "local[2]",
            "driver.env": {**FIRST.settings["driver.env"], "SPARK_LOCAL_IP": "127.0.0.1"},
            "clusters.standalone.home": SECOND.home,
            "clusters.standalone.python": SECOND.python,
            "clusters.standalone.master": cluster.url,
            "clusters.standalone.deploy_mode": "client",
            "clusters.standalone.conf": {**options, "spark.executor.memory": "512m", "spark.cores.max": "1"},
            "profile.cluster.cluster": "standalone",
            "files.allow": [str(job.parent)],
        }
    )
    yield server
    server.stop()


def test_sessions_and_batches_in_both_and_a_crash(server: Server, cluster: Cluster, job: Path):
    there_conf = {**SMALL, "firesteel.profile": "cluster"}
    here = server.api.create(conf=SMALL)
    there = server.api.create(conf=there_conf)
    masters = {here: "local[2]", there: cluster.url}
    versions = {here: FIRST.version, there: SECOND.version}
    for session in (here, there):
        session.wait("idle", limit=LIMIT)
        assert session.text("print(spark.version, sc.master)") == f"{versions[session]} {masters[session]}"
        assert session.text("kept = spark.range(10).count(); kept", limit=LIMIT) == "10"
    for conf, session in ((SMALL, here), (there_conf, there)):
        created = server.api.post("/batches", {"file": str(job), "conf": conf}).json()
        path = f"/batches/{created['id']}"
        wait_until("it ends", lambda path=path: server.api.get(path).json()["state"] in ENDED, LIMIT)
        log = server.api.get(f"{path}/log", params={"from": 0, "size": -1}).json()["log"]
        assert f"ran on {versions[session]} {masters[session]} 45" in log, "\n".join(log)
    applications = {session: session.get()["appId"] for session in (here, there)}
    server.restart()
    for session in (here, there):
        session.api.url = server.url
        session.wait("idle", limit=LIMIT)
        assert session.text("print(kept, spark.range(5).count())", limit=LIMIT) == "10 5"
        assert session.get()["appId"] == applications[session]


def test_each_spark_has_its_own_class_archive(serve: Callable[..., Server]):
    """That of a cluster with a name is made once it is used; clusters with the same Spark share one."""
    server = serve(
        {
            **FIRST.settings,
            "spark.master": "local[1]",
            "driver.class_archive": True,
            "driver.class_archive_delay": "1s",
            "clusters.new.home": SECOND.home,
            "clusters.new.python": SECOND.python,
            "clusters.new.master": "local[2]",
            "clusters.same.master": "local[2]",
        }
    )

    def made() -> set[str]:
        return {path.stem for path in Path(server.state_dir, "class-archives").glob("*.sha256")}

    def mapped(cluster: str) -> str:
        session = server.api.create(conf={**SMALL, "firesteel.cluster": cluster})
        session.wait("idle", limit=LIMIT)
        names = [name for name in session.text(MAPPED).splitlines() if "class-archives" in name]
        session.delete()
        return "".join(Path(name).stem for name in names)

    wait_until("the default one is made", made, LIMIT)
    (first,) = made()
    assert mapped("default") == mapped("same") == first
    assert made() == {first}, "the other one is not used yet"
    assert mapped("new") == ""
    wait_until("the other one is made", lambda: len(made()) == 2, LIMIT)
    assert {mapped("new")} == made() - {first}
