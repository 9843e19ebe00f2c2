"""Programmatic jobs as Livy's Python client sends them, on real drivers."""

from __future__ import annotations

import base64
import re
import time
from pathlib import Path
from typing import Any, Iterator

import cloudpickle
import pytest
from conftest import SMALL
from harness.api import Api, Session
from harness.livy_client import Cancelled, Failed, LivyClient
from harness.processes import wait_until
from harness.server import Server
from harness.spark import Spark

KEPT = 3
KEPT_BYTES = 200 << 10
OUTPUT = 96 << 10


@pytest.fixture(scope="module")
def server(spark: Spark) -> Iterator[Server]:
    """A server with small limits for each Spark."""
    limits = {"job.kept": KEPT, "job.kept_bytes": f"{KEPT_BYTES >> 10}KiB"}
    limits["output.max_bytes"] = f"{OUTPUT >> 10}KiB"
    server = Server({**spark.settings, "spark.master": "local[2]", **limits})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def first(server: Server) -> LivyClient:
    """A session that the client made for itself."""
    return LivyClient(server.api, conf=SMALL)


@pytest.fixture
def api(server: Server) -> Api:
    """The server, which a test may have started anew."""
    return server.api


@pytest.fixture
def client(api: Api, first: LivyClient) -> LivyClient:
    """The session of the file, connected to."""
    return LivyClient(api, int(first.path.rsplit("/", 1)[1]))


@pytest.fixture
def session(api: Api, client: LivyClient) -> Session:
    """The same as a session of statements."""
    return Session(api, {"id": int(client.path.rsplit("/", 1)[1])})


def test_a_job_is_accepted_while_the_session_starts(client: LivyClient) -> None:
    body = {"job": base64.b64encode(cloudpickle.dumps(lambda context: 1)).decode(), "jobType": "pyspark"}
    answer = client.api.post(client.path + "/submit-job", body)
    assert answer.status_code == 201
    assert answer.json() == {"id": 1, "state": "SENT", "result": None, "error": None}
    assert answer.headers["Content-Type"] == "application/json;charset=utf-8"


def test_closures_and_arguments(client: LivyClient) -> None:
    def total(context: Any, numbers: list[int], factor: int = 1) -> int:
        return context.sc.parallelize(numbers, 2).map(lambda number: number * factor).sum()

    assert client.submit(lambda context: total(context, [1, 2, 3], factor=7)).result() == 42
    assert client.run(lambda context: context.spark_session.range(5).count()).result() == 5
    unlike_text = {"bytes": bytes(range(256)), "text": "\u00e4\u2603\0", "set": {1, 2}, "none": None}
    assert client.run(lambda context: unlike_text).result() == unlike_text


def test_a_job_that_raises_fails_with_its_traceback(client: LivyClient) -> None:
    def inner() -> None:
        raise ValueError("no such value")

    def job(context: Any) -> None:
        inner()

    with pytest.raises(Failed) as failed:
        client.submit(job).result()
    text = str(failed.value)
    assert text.startswith("Client job error:Traceback (most recent call last):\n")
    assert "in inner" in text and text.endswith("ValueError: no such value\n")


def test_shared_objects_and_cells(client: LivyClient, session: Session) -> None:
    client.submit(lambda context: context.set_shared_object("frame", context.spark_session.range(9))).result()
    assert client.submit(lambda context: context.get_shared_object("frame").count()).result() == 9

    def register(context: Any) -> None:
        context.get_shared_object("frame").createOrReplaceTempView("shared_frame")

    client.submit(register).result()
    assert session.text("spark.table('shared_frame').count()") == "9"


def test_results_are_read_twice_and_print_goes_to_the_log(client: LivyClient, session: Session) -> None:
    def job(context: Any) -> str:
        print("told by a job")
        return "kept"

    handle = client.submit(job)
    assert handle.result() == handle.result() == "kept"
    assert handle.status() == handle.status()
    wait_until("the log has what the job printed", lambda: "told by a job" in session.log())


def test_jobs_are_no_statements(client: LivyClient, session: Session) -> None:
    before = session.api.get(session.path + "/statements").json()["total_statements"]
    handle = client.submit(lambda context: 1)
    handle.result()
    after = session.post("'after'")["id"]
    assert after == before, "the numbers of statements have no gaps"
    shown = session.api.get(session.path + "/statements").json()
    assert shown["total_statements"] == before + 1
    assert [statement["id"] for statement in shown["statements"]] == list(range(before + 1))
    for path in (f"/statements/{-handle.id}", f"/jobs/{-1}", "/jobs/0", "/jobs/2000000"):
        assert session.api.get(session.path + path).status_code == 404, path
    assert session.api.get(f"{session.path}/jobs/77").json() == {"msg": "Job 77 not found."}


def test_jobs_and_statements_have_their_turns(client: LivyClient, session: Session, tmp_path: Path) -> None:
    go = tmp_path / "go"
    session.ok("import sys, time\nfrom pathlib import Path\nsys.turns = []")
    blocker = session.post(f"while not Path({str(go)!r}).exists():\n    time.sleep(0.01)")["id"]

    def turn(name: str) -> Any:
        def job(context: Any) -> list[str]:
            import sys

            sys.turns.append(name)
            return sys.turns

        return job

    early = client.submit(turn("job"))
    statement = session.post("sys.turns.append('statement')")["id"]
    late = client.submit(turn("late job"))
    assert late.status()["state"] == "QUEUED"
    go.touch()
    assert late.result() == ["job", "statement", "late job"]
    assert early.result() == ["job"]
    assert {session.statement(number)["state"] for number in (blocker, statement)} == {"available"}


def test_a_running_job_is_cancelled(client: LivyClient, session: Session) -> None:
    def endless(context: Any) -> None:
        import time

        context.set_shared_object("endless", True)
        print("an endless job has begun")
        time.sleep(600)

    running, waiting = client.submit(endless), client.submit(lambda context: "never")
    wait_until("the job has begun", lambda: "an endless job has begun" in session.log())
    assert running.status()["state"] == "STARTED"
    waiting.cancel()
    running.cancel()
    for handle in (waiting, running):
        with pytest.raises(Cancelled):
            handle.result()
        handle.cancel()
    assert client.submit(lambda context: context.get_shared_object("endless")).result() is True


def test_a_cancelled_job_stops_its_spark_jobs(client: LivyClient) -> None:
    def slow(context: Any) -> int:
        def wait(number: int) -> int:
            import time

            time.sleep(600)
            return number

        return context.sc.parallelize(range(2), 2).map(wait).count()

    handle = client.submit(slow)
    wait_until("the job runs", lambda: handle.status()["state"] == "STARTED")

    def none_runs(context: Any) -> list[int]:
        import time

        tracker, deadline = context.sc.statusTracker(), time.monotonic() + 30
        while tracker.getActiveJobsIds() and time.monotonic() < deadline:
            time.sleep(0.05)
        return list(tracker.getActiveJobsIds())

    handle.cancel()
    assert client.submit(none_runs).result() == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"jobType": "pyspark"}, "requirement failed: no job provided."),
        ({"job": "", "jobType": "pyspark"}, "requirement failed: no job provided."),
        ({"job": None, "jobType": "pyspark"}, "requirement failed: no job provided."),
        ({"job": "not base64!", "jobType": "pyspark"}, "job: it is not base64"),
        ({"job": [1], "jobType": "pyspark"}, "job: invalid type"),
        ({"job": "AAAA", "jobType": "cobol"}, 'jobType: "pyspark"'),
        ({"job": "AAAA", "jobType": "sql"}, 'jobType: "pyspark"'),
        ({"job": "AAAA"}, 'jobType: "pyspark"'),
    ],
)
def test_what_is_no_job_is_refused(client: LivyClient, body: dict[str, Any], says: str) -> None:
    for command in ("submit-job", "run-job"):
        answer = client.api.post(f"{client.path}/{command}", body)
        assert answer.status_code == 400, answer.text
        said = answer.json()
        assert says in (said["msg"] if isinstance(said, dict) else said)


def test_what_is_no_pickle_fails(client: LivyClient) -> None:
    body = {"job": base64.b64encode(b"no pickle").decode(), "jobType": "pyspark"}
    number = client.api.post(client.path + "/submit-job", body).json()["id"]
    answer: dict[str, Any] = {}

    def has_ended() -> bool:
        answer.update(client.api.get(f"{client.path}/jobs/{number}").json())
        return answer["state"] not in ("QUEUED", "STARTED")

    wait_until("the job ends", has_ended)
    assert answer["state"] == "FAILED"
    assert "UnpicklingError" in answer["error"] and answer["error"].startswith("Client job error:")


def test_results_are_bounded(client: LivyClient) -> None:
    with pytest.raises(Failed, match=re.escape("output.max_bytes is")):
        client.submit(lambda context: bytes(OUTPUT)).result()
    # As they are kept, base64 of base64, two of these are too many.
    large = client.submit(lambda context: bytes(OUTPUT * 2 // 3))
    assert len(large.result()) == OUTPUT * 2 // 3
    larger = client.submit(lambda context: bytes(OUTPUT * 2 // 3))
    larger.result()

    def is_gone() -> bool:
        return client.api.get(large.path).status_code == 404

    wait_until("the older result is gone", is_gone)
    assert len(larger.result()) == OUTPUT * 2 // 3
    kept = [client.submit(lambda context: "x" * 20_000) for _ in range(KEPT + 1)]
    for handle in kept[-KEPT:]:
        handle.result()
    wait_until("the oldest is gone", lambda: client.api.get(kept[0].path).status_code == 404)
    assert all(handle.ended()["state"] == "SUCCEEDED" for handle in kept[-KEPT:])


def test_an_idempotency_key_makes_one_job(client: LivyClient) -> None:
    body = {"job": base64.b64encode(cloudpickle.dumps(lambda context: 1)).decode(), "jobType": "pyspark"}
    headers = {"Idempotency-Key": "one-job"}
    answers = [client.api.post(client.path + "/submit-job", body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotent-Replayed"] == "true"


def test_jobs_survive_the_server(server: Server, client: LivyClient, tmp_path: Path) -> None:
    """One that runs goes on, those that wait run after it, each once; a result that was there stays."""
    runs, path = tmp_path / "runs", client.path
    session = Session(server.api, {"id": int(path.rsplit("/", 1)[1])})

    def job(name: str, seconds: float) -> Any:
        def write(context: Any) -> str:
            import time

            with Path(runs).open("a") as file:
                file.write(name + "\n")
            time.sleep(seconds)
            return name

        return write

    done = client.submit(job("done", 0))
    assert done.result() == "done"
    running, waiting = client.submit(job("running", 3)), client.submit(job("waiting", 0))
    statement = session.post("'between'")["id"]
    last = client.submit(job("last", 0))
    wait_until("the job runs", lambda: "running" in runs.read_text())
    server.restart()
    for handle in (done, running, waiting, last):
        handle.client.api = server.api
    results = [handle.result() for handle in (running, waiting, last)]
    assert results == ["running", "waiting", "last"]
    assert runs.read_text().split() == ["done", "running", "waiting", "last"]
    session.api = server.api
    assert session.wait_statement(statement)["output"]["data"]["text/plain"] == "'between'"
    after = client.submit(lambda context: "after")
    assert (after.result(), after.id) == ("after", last.id + 1)


def test_a_job_whose_driver_dies_fails_and_the_session_takes_no_more(server: Server) -> None:
    own = LivyClient(server.api, conf=SMALL)
    session = Session(server.api, {"id": int(own.path.rsplit("/", 1)[1])})
    session.wait("idle")

    def kill(context: Any) -> None:
        import os
        import signal

        os.kill(int(os.environ["FIRESTEEL_KEEPER_PID"]), signal.SIGTERM)
        time.sleep(60)

    handle, waiting = own.submit(kill), own.submit(lambda context: 1)
    with pytest.raises(Failed, match="DriverDied"):
        handle.result()
    assert waiting.ended()["state"] == "CANCELLED"
    session.wait("dead")
    body = {"job": "AAAA", "jobType": "pyspark"}
    answer = server.api.post(own.path + "/submit-job", body)
    assert (answer.status_code, "Session is in state dead" in answer.text) == (500, True)
    own.stop()


def test_the_session_is_stopped(client: LivyClient) -> None:
    client.stop()
    assert client.api.get(client.path).status_code == 404
    assert client.api.get(client.path + "/jobs/1").status_code == 404
