"""What is asked of YARN, and how often: a small ResourceManager of the test's, and a spark-submit that
ends at once, as in cluster mode."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from harness.api import Api
from harness.processes import wait_until
from harness.resource_manager import ResourceManager, tags_in
from harness.server import Server, free_port
from harness.spark import newest
from harness.stub import Stub

ENDED = ("success", "dead", "killed")
MANY = 2000 if os.environ.get("FIRESTEEL_TEST_CLUSTERS") else 150


@pytest.fixture
def manager() -> Iterator[ResourceManager]:
    """A ResourceManager."""
    manager = ResourceManager()
    yield manager
    manager.stop()


def settings(stub: Stub, *managers: str, **more: Any) -> dict[str, Any]:
    """A server in cluster mode that asks often."""
    return {
        **stub.settings,
        "spark.python": newest().python,
        "spark.master": "yarn",
        "spark.deploy_mode": "cluster",
        "cluster.yarn.resource_manager": list(managers),
        "cluster.poll_interval": "100ms",
        "shutdown.sessions": "keep",
        **{f"cluster.{key}": value for key, value in more.items()},
    }


@pytest.fixture
def job(tmp_path: Path) -> str:
    """A file that nobody runs."""
    path = tmp_path / "job.py"
    path.write_text("")
    return str(path)


class Batch:
    """A batch whose submit has ended."""

    def __init__(self, api: Api, stub: Stub, job: str, **body: Any):
        before = len(stub.properties())
        answer = api.post("/batches", {"file": job, **body})
        assert answer.status_code == 201, answer.text
        self.api, self.path = api, f"/batches/{answer.json()['id']}"
        wait_until("it is submitted", lambda: len(stub.argvs()) > before)
        newest_call = max(stub.calls.glob("properties.*"), key=lambda path: path.stat().st_mtime_ns)
        self.tags = tags_in(newest_call.read_text())

    def get(self) -> dict:
        """The batch."""
        return self.api.get(self.path).json()

    def wait(self, *states: str) -> dict:
        """Wait for one of these states."""
        wait_until(f"it is {states}", lambda: self.get()["state"] in states, 30)
        return self.get()

    def log(self) -> list[str]:
        """Its whole log."""
        return self.api.get(f"{self.path}/log", params={"from": 0, "size": -1}).json()["log"]


@pytest.fixture
def stub(make_stub: Callable[..., Stub]) -> Stub:
    """A spark-submit that has submitted."""
    return make_stub("exit 0\n")


def allowed(job: str) -> dict[str, Any]:
    """What lets requests name the job."""
    return {"files.allow": [str(Path(job).parent)]}


@pytest.mark.parametrize(
    ("state", "final", "expected"),
    [
        ("FINISHED", "SUCCEEDED", "success"),
        ("FINISHED", "FAILED", "dead"),
        ("FAILED", "FAILED", "dead"),
        ("KILLED", "KILLED", "killed"),
    ],
)
def test_yarns_states_are_livys(
    serve: Callable[..., Server],
    manager: ResourceManager,
    stub: Stub,
    job: str,
    state: str,
    final: str,
    expected: str,
):
    server = serve({**settings(stub, manager.url), **allowed(job)})
    batch = Batch(server.api, stub, job)
    app = manager.add(
        batch.tags,
        "ACCEPTED",
        diagnostics="[Sat Nov 28 20:00:00 +0000 2026] Queue's AM resource limit exceeded.  Details : x",
    )
    wait_until("its id is told", lambda: batch.get()["appId"] == app["id"])
    assert batch.get()["state"] == "starting"
    wait_until("the reason is told", lambda: "YARN: Queue's AM resource limit exceeded." in batch.log())
    manager.change(app, state="RUNNING")
    shown = batch.wait("running")
    assert shown["appInfo"]["sparkUiUrl"] == app["trackingUrl"]
    assert shown["appInfo"]["driverLogUrl"] == app["amContainerLogs"]
    manager.change(app, state=state, finalStatus=final, diagnostics="Out of luck")
    ended = batch.wait(*ENDED)
    assert ended["state"] == expected
    assert ended["appId"] == app["id"]
    lines = batch.log()
    assert any(
        line.startswith("The driver's log is not here: ") and app["amContainerLogs"] in line for line in lines
    )
    sentence = {
        "success": None,
        "dead": "The application failed: Out of luck.",
        "killed": "The application was killed in YARN: Out of luck.",
    }
    assert (lines[0], lines[-1]) == (sentence[expected] or lines[0], sentence[expected] or lines[-1])
    asked = len(manager.lists())
    time.sleep(1)
    assert len(manager.lists()) <= asked + 1, "nothing is left to ask for"


def test_the_active_one_of_several_is_found(
    serve: Callable[..., Server], manager: ResourceManager, stub: Stub, job: str
):
    standby = ResourceManager(standby_of=manager.url)
    try:
        addresses = (f"http://127.0.0.1:{free_port()}", standby.url, manager.url)
        server = serve({**settings(stub, *addresses), **allowed(job)})
        batch = Batch(server.api, stub, job)
        app = manager.add(batch.tags)
        batch.wait("running")
        asked = len(standby.lists())
        wait_until("it is asked again", lambda: len(manager.lists()) > 5)
        assert len(standby.lists()) <= asked + 1, "the one that answered is asked first"
        assert server.api.delete(batch.path).status_code == 200
        wait_until("it is killed", lambda: app["state"] == "KILLED")
    finally:
        standby.stop()


def test_one_that_does_not_answer_is_told_and_asked_less_often(
    serve: Callable[..., Server], manager: ResourceManager, stub: Stub, job: str
):
    server = serve({**settings(stub, manager.url, longest_wait="2s", timeout="1s"), **allowed(job)})
    batch = Batch(server.api, stub, job)
    app = manager.add(batch.tags)
    batch.wait("running")
    manager.silent = True
    told = "What has become of the application is not known: the ResourceManager at "
    wait_until("the log tells", lambda: any(line.startswith(told) for line in batch.log()))
    time.sleep(3)
    asked = len(manager.lists())
    time.sleep(4)
    assert len(manager.lists()) - asked <= 5, (
        "each failure doubles the wait, up to 2 s; one request may be sent twice"
    )
    assert batch.get()["state"] == "running"
    manager.change(app, state="FINISHED", finalStatus="SUCCEEDED")
    manager.silent = False
    assert batch.wait(*ENDED)["state"] == "success"
    assert server.log().count("does not answer") == 1


def test_one_that_forgets_an_application_is_not_believed_at_once(
    serve: Callable[..., Server], manager: ResourceManager, stub: Stub, job: str
):
    server = serve({**settings(stub, manager.url, lookup_timeout="3s"), **allowed(job)})
    batch = Batch(server.api, stub, job)
    app = manager.add(batch.tags)
    batch.wait("running")
    manager.apps.clear()
    time.sleep(1.5)
    manager.apps[app["id"]] = app
    time.sleep(2)
    assert batch.get()["state"] == "running"
    manager.apps.clear()
    assert batch.wait(*ENDED)["state"] == "dead"
    assert "YARN does not know the application any more" in batch.log()[0]


def test_a_failed_submit_is_told_by_its_own_words(
    serve: Callable[..., Server], manager: ResourceManager, make_stub: Callable[..., Stub], job: str
):
    stub = make_stub("echo 'org.apache.spark.SparkException: Queue nowhere is unknown' >&2; exit 1\n")
    server = serve({**settings(stub, manager.url), **allowed(job)})
    batch = Batch(server.api, stub, job)
    assert batch.wait(*ENDED)["state"] == "dead"
    assert batch.log()[0] == (
        "The application ended with exit code 1: org.apache.spark.SparkException: Queue nowhere is unknown"
    )


def test_what_a_submit_left_when_it_was_deleted_is_killed(
    serve: Callable[..., Server], manager: ResourceManager, make_stub: Callable[..., Stub], job: str
):
    """It was sent at the very last moment, and turns up after the submit has been killed."""
    stub = make_stub()
    server = serve({**settings(stub, manager.url), **allowed(job)})
    batch = Batch(server.api, stub, job)
    assert server.api.delete(batch.path).status_code == 200
    wait_until("the submit has ended", lambda: not server.driver_processes())
    app = manager.add(batch.tags, "ACCEPTED")
    wait_until("it is killed", lambda: app["state"] == "KILLED")


def test_an_earlier_servers_applications_are_followed_or_ended(
    serve: Callable[..., Server], manager: ResourceManager, stub: Stub, job: str
):
    server = serve({**settings(stub, manager.url), **allowed(job)})
    followed, forgotten = Batch(server.api, stub, job), Batch(server.api, stub, job)
    apps = [manager.add(batch.tags) for batch in (followed, forgotten)]
    group = next(tag for tag in followed.tags.split(",") if tag.startswith("firesteel-server-"))
    stray = manager.add(f"firesteel-00000000-0000-4000-8000-000000000000,{group}")
    others = manager.add("firesteel-00000000-0000-4000-8000-000000000001,firesteel-server-other")
    followed.wait("running")
    forgotten.wait("running")
    manager.silent = True
    assert server.api.delete(forgotten.path).status_code == 200
    server.kill9()
    manager.silent = False
    server.start()
    followed.api = server.api
    assert followed.wait("running")["appId"] == apps[0]["id"]
    wait_until("the deleted one is killed", lambda: apps[1]["state"] == "KILLED")
    wait_until("the stray one is killed", lambda: stray["state"] == "KILLED")
    assert (apps[0]["state"], others["state"]) == ("RUNNING", "RUNNING")
    assert followed.log().count("The server was restarted and takes this batch back.") == 1
    manager.change(apps[0], state="FINISHED", finalStatus="SUCCEEDED")
    followed.wait("success")
    server.restart()
    followed.api = server.api
    assert followed.get()["appId"] == apps[0]["id"], "it is shown after its end as well"


def test_sessions_are_refused_in_words(
    serve: Callable[..., Server], manager: ResourceManager, stub: Stub, job: str
):
    server = serve(settings(stub, manager.url))
    answer = server.api.post("/sessions", {"kind": "pyspark"})
    assert answer.status_code == 400
    assert 'spark.deploy_mode = "cluster"' in answer.json()["msg"]
    assert server.api.sessions() == []
    assert not manager.lists()[2:], (
        "where there is nothing to ask for, nothing is asked but what an earlier server has left"
    )


def test_many_cost_one_request_a_second(
    serve: Callable[..., Server],
    manager: ResourceManager,
    stub: Stub,
    job: str,
    figures: Callable[[str], None],
):
    more = {"limits.batches": MANY, "limits.batches_queued": MANY, "cluster.poll_interval": "1s"}
    server = serve({**settings(stub, manager.url, lookup_timeout="1h"), **more, **allowed(job)})
    for _ in range(MANY):
        assert server.api.post("/batches", {"file": job}).status_code == 201
    wait_until("all are submitted", lambda: len(stub.argvs()) == MANY, 600, 1)
    apps = [manager.add(tags_in(text)) for text in stub.properties()]
    assert len({app["applicationTags"] for app in apps}) == MANY

    def count(state: str) -> int:
        shown = server.api.get("/batches", params={"size": MANY}).json()["sessions"]
        return sum(batch["state"] == state for batch in shown)

    wait_until("all run", lambda: count("running") == MANY, 120, 1)
    ticks = os.sysconf("SC_CLK_TCK")

    def used() -> float:
        fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    seconds = 20.0 if MANY > 1000 else 5.0
    before, begun, asked = used(), time.monotonic(), len(manager.lists())
    time.sleep(seconds)
    passed = time.monotonic() - begun
    requests, cpu = len(manager.lists()) - asked, (used() - before) / passed
    assert 1 <= requests <= passed + 1
    figures(f"{MANY} applications: {requests} requests in {passed:.0f} s, {100 * cpu:.1f} % of a core")
    for app in apps[: MANY // 2]:
        manager.change(app, state="FINISHED", finalStatus="SUCCEEDED")
    wait_until("what has ended is seen, so many at a time", lambda: count("success") == MANY // 2, 180, 1)
    times = [one.at for one in manager.lists()]
    assert len(times) <= times[-1] - times[0] + 2, "one a second"
