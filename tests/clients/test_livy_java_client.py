"""Livy's Java client 0.7.1, as Maven Central has it: it creates, connects to, uploads to and stops sessions,
and its jobs run through Livy's own classes where the session has them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Iterator, NamedTuple

import pytest
from conftest import SMALL
from harness.api import Session
from harness.server import ROOT, Server, environment
from harness.spark import SHORT_LIVED, Spark

OPENED = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in ("java.lang.invoke", "java.util")]
"""What Kryo reads of Java's own classes."""
ENDS = 300.0


class Jars(NamedTuple):
    """What the client and the session need."""

    api: Path
    rsc: Path
    client: Path
    jobs: Path


class Client:
    """Runs a command of `livy_java_client.scala`."""

    def __init__(self, spark: Spark, server: Server, jars: Jars):
        self.server = server
        self.jars = jars
        parts = [str(jars.client), str(jars.api), str(jars.jobs), f"{spark.home}/jars/*"]
        self.java = [java(), *SHORT_LIVED.split(), *OPENED, "-cp", ":".join(parts), "Client"]

    def run(self, command: str, path: str = "", *arguments: str) -> dict[str, str]:
        """The outcomes by their names."""
        argv = [*self.java, command, self.server.url + path, *arguments]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=ENDS, env=environment(), check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def java() -> str:
    """The Java that Spark runs on."""
    home = environment().get("JAVA_HOME")
    found = f"{home}/bin/java" if home else shutil.which("java")
    assert found, "Java is missing"
    return found


@pytest.fixture(scope="module")
def jars(spark: Spark, tmp_path_factory: pytest.TempPathFactory) -> Jars:
    """Livy's jars, and the test's own, made by the compiler that the Spark has."""
    script = str(ROOT / "scripts/livy_jars.sh")
    got = subprocess.run([script], capture_output=True, text=True, check=False)
    assert got.returncode == 0, got.stderr
    api, rsc, client = (Path(line) for line in got.stdout.splitlines())
    jobs = tmp_path_factory.mktemp("jobs") / "jobs.jar"
    source = Path(__file__).with_name("livy_java_client.scala")
    path = f"{spark.home}/jars/*:{client}:{api}"
    compiler = [java(), *SHORT_LIVED.split(), "-cp", path, "scala.tools.nsc.Main", "-usejavacp", "-nowarn"]
    done = subprocess.run(
        [*compiler, "-d", str(jobs), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Jars(api, rsc, client, jobs)


@pytest.fixture(scope="module")
def server(spark: Spark, jars: Jars) -> Iterator[Server]:
    """A server whose sessions may have the jars."""
    allowed = {"files.allow": [str(jars.api.parent), str(jars.jobs.parent)]}
    server = Server({**spark.settings, "spark.master": "local[2]", **allowed})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(spark: Spark, server: Server, jars: Jars) -> Client:
    """The client."""
    return Client(spark, server, jars)


def conf(*jars: Path) -> list[str]:
    """A new session's conf as arguments."""
    named = {"spark.jars": ",".join(str(jar) for jar in jars)} if jars else {}
    return [f"{key}={value}" for key, value in {**SMALL, **named}.items()]


@pytest.fixture(scope="module")
def session(client: Client) -> Session:
    """A session that the client made, with Livy's jars and the jobs'."""
    client.run("create", "", *conf(client.jars.api, client.jars.rsc, client.jars.jobs))
    (number,) = client.server.api.ids()
    return Session(client.server.api, {"id": number})


def test_a_session_is_created_with_its_conf(session: Session) -> None:
    made = session.get()
    assert made["kind"] == "shared"
    assert made["conf"]["spark.sql.shuffle.partitions"] == "2"


def test_jobs_run_through_livys_own_classes(client: Client, session: Session) -> None:
    told = client.run("jobs", session.path)
    fails = told.pop("fails")
    assert fails.startswith("failed: ") and "java.lang.IllegalStateException: no such luck" in fails
    assert told == {
        "total": "42",
        "count": "8",
        "share": "shared",
        "shared": "kept",
        "nothing": "null",
        "run": "kept",
        "cancel": "true",
        "state": "CANCELLED",
    }
    assert session.text("1 + 1") == "2"


def test_a_session_without_livys_classes_says_so(client: Client) -> None:
    own = client.server.api.create(kind="pyspark", conf=SMALL)
    own.wait("idle")
    refused = client.run("refused", own.path)["refused"]
    assert "Bad Request" in refused and "lacks livy-api and livy-rsc" in refused
    body = {"job": "AAAA", "jobType": "spark"}
    answer = client.server.api.post(own.path + "/submit-job", body)
    assert answer.status_code == 400
    sentence = answer.json()["msg"]
    assert (
        "the session's class path lacks livy-api and livy-rsc (org.apache.livy, 0.7.1-incubating" in sentence
    )
    own.delete()


def test_a_job_for_a_session_that_starts_fails_where_the_classes_are_missing(client: Client) -> None:
    own = client.server.api.create(kind="pyspark", conf=SMALL)
    answer = client.server.api.post(own.path + "/submit-job", {"job": "AAAA", "jobType": "spark"})
    assert (answer.status_code, answer.json()["state"]) == (201, "SENT")
    own.wait("idle")
    job = client.server.api.get(f"{own.path}/jobs/1").json()
    assert job["state"] == "FAILED"
    assert "lacks livy-api and livy-rsc" in job["error"]
    own.delete()


def test_uploads_and_additions(client: Client, tmp_path: Path) -> None:
    """The jobs' jar is uploaded, Livy's are the session's; files come from the client and from the server."""
    uploaded, added = tmp_path / "uploaded.txt", client.jars.jobs.parent / "added.txt"
    uploaded.write_text("from the client\n")
    added.write_text("from the server\n")
    files = [str(client.jars.jobs), str(uploaded), added.as_uri(), client.jars.client.as_uri()]
    told = client.run("upload", "", *files, *conf(client.jars.api, client.jars.rsc))
    assert told == {"uploaded": "from the client", "added": "from the server"}
    for number in client.server.api.ids():
        session = Session(client.server.api, {"id": number})
        if session.get()["conf"].get("spark.jars", "").count(",") == 1:
            session.delete()


def test_the_session_is_stopped(client: Client, session: Session) -> None:
    client.run("stop", session.path)
    assert session.state() == "gone"
