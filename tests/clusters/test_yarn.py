"""Real YARN on loopback, with a real PySpark 3.5: sessions and batches in client mode, batches in cluster
mode."""

from __future__ import annotations

import os
import signal
import tarfile
from pathlib import Path
from typing import Iterator

import pytest
from harness.api import Session
from harness.processes import wait_until
from harness.server import Server
from harness.spark import sparks
from harness.yarn import LIVE, Yarn
from harness.yarn_batch import LIMIT, Batch, server_of, write_job

SPARK = sparks()[0]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that requests may name, with the job, and a Python in an archive."""
    jobs = tmp_path_factory.mktemp("jobs")
    write_job(jobs)
    (jobs / "bin").mkdir()
    python = jobs / "bin/python"
    python.write_text(f'#!/bin/sh\nexport OF_THE_ARCHIVE=yes\nexec {SPARK.python} "$@"\n')
    python.chmod(0o755)
    with tarfile.open(jobs / "environment.tar.gz", "w:gz") as archive:
        archive.add(python, "bin/python")
    return jobs


# Client mode


@pytest.fixture(scope="module")
def client(yarn: Yarn, jobs: Path) -> Iterator[Server]:
    """A server whose drivers run here, and their executors in YARN."""
    server = server_of(yarn, jobs, "client")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def session(client: Server, jobs: Path) -> Session:
    """A session whose Python is in an archive."""
    session = client.api.create(
        archives=[f"{jobs}/environment.tar.gz#environment"],
        conf={"spark.pyspark.python": "./environment/bin/python"},
    )
    session.wait("idle", limit=LIMIT)
    return session


WHERE = """\
import os
where = lambda _: [(os.environ["CONTAINER_ID"], os.environ["OF_THE_ARCHIVE"])]
(os.environ.get("CONTAINER_ID"), sc.parallelize(range(2), 2).mapPartitions(where).distinct().collect())
"""


def test_statements_run_on_executors(session: Session, yarn: Yarn):
    app_id = session.get()["appId"]
    told = session.text(WHERE)
    assert told.startswith("(None, [('container_"), told
    assert "_000001" not in told, "that one is the application master's"
    assert told.endswith(", 'yes')])"), "executors run the archive's Python"
    app = yarn.application(app_id)
    assert app["state"] == "RUNNING"
    assert app["applicationTags"].startswith("firesteel-")


def test_a_killed_application_is_replaced(session: Session, yarn: Yarn):
    session.text("kept = 40")
    app_id = session.get()["appId"]
    statement = session.post(
        "import time\nsc.parallelize(range(2), 2).map(lambda _: time.sleep(600)).count()"
    )
    session.wait_statement(statement["id"], "running")
    yarn.kill(app_id)
    yarn.wait_over(app_id)
    ended = session.wait_statement(statement["id"], limit=LIMIT)
    assert ended["output"]["status"] == "error", ended
    assert session.text("kept + sc.parallelize(range(2), 2).count()", limit=LIMIT) == "42"
    assert session.text("spark.range(7).count()", limit=LIMIT) == "7"
    wait_until("the other application is told", lambda: session.get()["appId"] != app_id)
    assert yarn.application(session.get()["appId"])["state"] == "RUNNING"
    assert "The SparkContext had been stopped; a new one was made." in session.log()


def test_a_deleted_session_leaves_no_application(session: Session, yarn: Yarn):
    app_id = session.get()["appId"]
    session.delete()
    assert yarn.wait_over(app_id)["finalStatus"] == "SUCCEEDED"


def test_a_batch_in_client_mode_is_known_in_yarn(client: Server, yarn: Yarn, jobs: Path):
    batch = Batch(client, jobs)
    ended = batch.wait("success")
    assert ended["appInfo"]["exitCode"] == "0"
    assert yarn.application(ended["appId"])["finalStatus"] == "SUCCEEDED"
    assert ended["appInfo"]["sparkUiUrl"].startswith("http://")
    assert "sum 45" in batch.log()


# Cluster mode


@pytest.fixture
def cluster(yarn: Yarn, jobs: Path) -> Iterator[Server]:
    """A server whose drivers run in YARN, and go on when it ends."""
    server = server_of(yarn, jobs, "cluster", **{"shutdown.sessions": "keep"})
    yield server
    for batch in server.api.get("/batches").json()["sessions"]:
        server.api.delete(f"/batches/{batch['id']}")
    wait_until("no application is left", lambda: not yarn.applications(states=LIVE), 60)
    server.stop()


def test_batches_run_and_end_in_the_cluster(cluster: Server, yarn: Yarn, jobs: Path, tmp_path: Path):
    """One that succeeds, with a Python of an archive; one that fails; across a kill -9 of the server and a
    restart of the ResourceManager."""
    go = tmp_path / "go"
    python = {"spark.pyspark.python": "./environment/bin/python"}
    good = Batch(cluster, jobs, str(go), archives=[f"{jobs}/environment.tar.gz#environment"], conf=python)
    bad = Batch(cluster, jobs, str(go), "sales")
    app_ids = [batch.wait_id() for batch in (good, bad)]
    for batch in (good, bad):
        shown = batch.wait("running")
        assert "/containerlogs/container_" in shown["appInfo"]["driverLogUrl"]
        assert shown["appInfo"]["sparkUiUrl"].startswith("http://")
        assert shown["appInfo"].get("exitCode") is None
    wait_until("the submits have ended", lambda: not cluster.driver_processes())
    cluster.kill9()
    yarn.restart_master()
    cluster.start()
    for batch, app_id in zip((good, bad), app_ids):
        assert batch.wait("running")["appId"] == app_id
    cluster.kill9()
    go.touch()
    for app_id, final in zip(app_ids, ("SUCCEEDED", "FAILED")):
        assert yarn.wait_over(app_id, LIMIT)["finalStatus"] == final
    cluster.start()
    assert good.wait("success")["appId"] == app_ids[0]
    assert bad.wait("dead")["appId"] == app_ids[1]
    log = good.log()
    assert "sum 45" in log
    driver = next(line for line in log if line.startswith("driver "))
    assert driver.startswith("driver container_") and driver.endswith("_000001 yes"), driver
    executors = next(line for line in log if line.startswith("executors "))
    assert "container_" in executors and "_000001" not in executors and "'yes'" in executors, executors
    log = bad.log()
    sentence = "The application failed: ValueError: no such table: sales"
    assert (log[0], log[-1]) == (sentence, sentence)
    assert "Traceback (most recent call last):" in log


def test_an_application_killed_from_outside(cluster: Server, yarn: Yarn, jobs: Path, tmp_path: Path):
    """And one that waits in its queue meanwhile says why."""
    batch = Batch(cluster, jobs, str(tmp_path / "never"), queue="narrow")
    batch.wait("running")
    waiting = Batch(cluster, jobs, str(tmp_path / "never"), queue="narrow")
    waits = "Queue's AM resource limit exceeded."
    wait_until("the log says why it waits", lambda: any(waits in line for line in waiting.log()), LIMIT)
    assert waiting.get()["state"] == "starting"
    yarn.kill(batch.wait_id())
    assert batch.wait("killed")["appId"]
    assert batch.log()[0].startswith("The application was killed in YARN: "), batch.log()[0]
    app_id = waiting.wait_id()
    assert cluster.api.delete(waiting.path).status_code == 200
    assert yarn.wait_over(app_id)["finalStatus"] == "KILLED"


SUBMIT = "org.apache.spark.deploy.SparkSubmit"


def test_a_batch_deleted_while_it_uploads(cluster: Server, yarn: Yarn, jobs: Path):
    """Its submit stands still there, and neither listens nor goes on."""
    batch = Batch(cluster, jobs, str(jobs / "never"))

    def submits() -> list[int]:
        return [found.pid for found in cluster.driver_processes() if SUBMIT in found.argv]

    pid = wait_until("its submit runs", submits, LIMIT)[0]

    def said() -> str:
        return "".join(path.read_text() for path in cluster.run_files() if path.name.startswith("stderr."))

    wait_until("it uploads", lambda: "Preparing resources for our AM container" in said(), LIMIT, 0.01)
    os.kill(pid, signal.SIGSTOP)
    assert "Submitted application" not in said()
    ended(batch, yarn)


def test_a_batch_deleted_at_the_last_moment(cluster: Server, yarn: Yarn, jobs: Path):
    """Just when YARN gets it."""
    batch = Batch(cluster, jobs, str(jobs / "never"))
    stage = "Submitting application"
    wait_until("it is sent", lambda: any(stage in line for line in batch.log()), LIMIT, 0.02)
    ended(batch, yarn)


def ended(batch: Batch, yarn: Yarn) -> None:
    """Delete a batch, and look that no application comes of it."""
    server = batch.server
    assert server.api.delete(batch.path).status_code == 200
    assert server.api.get(batch.path).status_code == 404
    wait_until("nothing of it is left", lambda: not server.driver_processes() and not server.run_files())
    assert not yarn.applications(states=LIVE)


def test_an_application_whose_batch_is_forgotten_is_ended(
    cluster: Server, yarn: Yarn, jobs: Path, tmp_path: Path
):
    batch = Batch(cluster, jobs, str(tmp_path / "never"))
    app_id = batch.wait_id()
    wait_until("its submit has ended", lambda: not cluster.driver_processes(), LIMIT)
    cluster.forget()
    cluster.start()
    assert yarn.wait_over(app_id)["finalStatus"] == "KILLED"
    assert "an application that nobody has is ended" in cluster.log()
