"""Several clusters behind one server: one of each Spark, side by side, with sessions and batches in both; who
may use them; and what is left of them after a crash, also where one of them is not configured any more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from conftest import SMALL
from harness.api import Api, Session
from harness.processes import wait_until
from harness.resource_manager import ResourceManager, tags_in
from harness.roles import OWNER, STRANGER, by_basic, settings
from harness.server import Server, command
from harness.spark import SHORT_LIVED, sparks
from harness.stub import Stub

FIRST, SECOND = sparks()[0], sparks()[-1]
CLUSTER = "firesteel.cluster"
PROFILE = "firesteel.profile"
JOB = """\
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print('ran on', spark.version, spark.sparkContext.master, spark.conf.get('spark.mark', 'none'))
"""
WAITS = """\
import os, time
while not os.path.exists({!r}):
    time.sleep(0.1)
print('went on')
"""
ENDED = ("success", "dead", "killed")
SITE = """\
<configuration>
  <property><name>yarn.resourcemanager.webapp.address</name><value>{}</value></property>
</configuration>
"""


def two() -> dict[str, Any]:
    """A local cluster of each Spark; the second has a name, and lets one user in."""
    return {
        **FIRST.settings,
        "spark.master": "local[1]",
        "clusters.new-one.home": SECOND.home,
        "clusters.new-one.python": SECOND.python,
        "clusters.new-one.master": "local[2]",
        "clusters.new-one.conf": {"spark.driver.extraJavaOptions": SHORT_LIVED, "spark.mark": "new"},
        "profile.new.cluster": "new-one",
        "profile.new.conf": {"spark.mark": "profile"},
    }


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that requests may name."""
    jobs = tmp_path_factory.mktemp("jobs")
    (jobs / "where.py").write_text(JOB)
    return jobs


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, jobs: Path) -> Iterator[Server]:
    """Both clusters."""
    own = {
        **two(),
        **settings(tmp_path_factory.mktemp("users")),
        "access.groups": {"team": [OWNER]},
        "clusters.new-one.groups": ["team"],
        "files.allow": [str(jobs)],
        "limits.sessions": 2,
    }
    server = Server(own)
    yield server
    server.stop()


class Batch:
    """A batch, by its answer."""

    def __init__(self, api: Api, job: Path | str, **body: Any):
        answer = api.post("/batches", {"file": str(job), **body})
        assert answer.status_code == 201, answer.text
        self.api, self.path = api, f"/batches/{answer.json()['id']}"

    def get(self) -> dict:
        """As it is now."""
        return self.api.get(self.path).json()

    def log(self) -> str:
        """Its whole log."""
        return "\n".join(self.api.get(f"{self.path}/log", params={"from": 0, "size": -1}).json()["log"])

    def ended(self) -> dict:
        """As it is at its end."""
        wait_until("it ends", lambda: self.get()["state"] in ENDED, 180)
        return self.get()


@pytest.fixture(scope="module")
def both(server: Server) -> tuple[Session, Session]:
    """A session in each, started at the same time."""
    api = by_basic(server, OWNER)
    here = api.create(conf=SMALL)
    there = api.create(conf={**SMALL, PROFILE: "new"})
    for session in (here, there):
        session.wait("idle")
    return here, there


def test_each_session_has_its_clusters_spark(both: tuple[Session, Session]):
    here, there = both
    where = "print(spark.version, sc.master, spark.conf.get('spark.mark', 'none'))"
    assert here.text(where) == f"{FIRST.version} local[1] none"
    assert there.text(where) == f"{SECOND.version} local[2] profile"
    assert "cluster" not in here.get()["appInfo"]
    assert there.get()["appInfo"]["cluster"] == "new-one"
    assert there.get()["conf"][PROFILE] == "new"


def test_batches_in_both_at_the_same_time(server: Server, jobs: Path):
    api = by_basic(server, OWNER)
    here = Batch(api, jobs / "where.py", conf={**SMALL, PROFILE: "new", CLUSTER: "default"})
    there = Batch(api, jobs / "where.py", conf={**SMALL, CLUSTER: "new-one"})
    assert here.ended()["state"] == "success", here.log()
    assert f"ran on {FIRST.version} local[1] profile" in here.log()
    assert there.ended()["state"] == "success", there.log()
    assert f"ran on {SECOND.version} local[2] new" in there.log()
    assert "cluster" not in here.get()["appInfo"]
    assert there.get()["appInfo"]["cluster"] == "new-one"


@pytest.mark.parametrize("conf", [{CLUSTER: "new-one"}, {PROFILE: "new"}])
def test_who_is_on_no_list_is_refused(server: Server, jobs: Path, conf: dict[str, str]):
    """Before anything is started or stored."""
    api, before = by_basic(server, STRANGER), server.running_drivers()
    for path, body in (("/sessions", {"kind": "pyspark"}), ("/batches", {"file": str(jobs / "where.py")})):
        answer = api.post(path, {**body, "conf": conf})
        assert answer.status_code == 403, answer.text
        assert answer.json()["msg"].startswith(f'{STRANGER} may not use the cluster "new-one"'), answer.text
        assert api.get(path).json()["total"] == 0
    assert server.running_drivers() == before


def test_a_cluster_that_there_is_not(server: Server):
    answer = by_basic(server, OWNER).post("/sessions", {"conf": {CLUSTER: "nowhere"}})
    assert answer.status_code == 400
    assert 'there is no cluster "nowhere"; there are new-one' in answer.json()["msg"]


def without(server: Server, name: str) -> None:
    """Take a cluster out of a server's configuration."""
    path = server.home / "firesteel.toml"
    lines = path.read_text().splitlines()
    kept = (line for line in lines if not line.startswith((f"clusters.{name}.", "profile.")))
    path.write_text("\n".join(kept))


def test_a_crash_and_a_cluster_that_is_taken_away(server: Server, both: tuple[Session, Session], jobs: Path):
    """Sessions and batches go on after a crash, also where their cluster is not configured any more; what
    waited for that cluster says why it can't start."""
    api = by_basic(server, OWNER)
    (jobs / "waits.py").write_text(JOB + WAITS.format(str(jobs / "go")))
    batch = Batch(api, jobs / "waits.py", conf={**SMALL, CLUSTER: "new-one"})
    wait_until("it runs", lambda: "ran on" in batch.log(), 180)
    for number, session in enumerate(both):
        session.text(f"kept = {number}")
    server.restart()
    api.url = server.url
    versions = (FIRST.version, SECOND.version)
    for number, (session, version) in enumerate(zip(both, versions)):
        session.api.url = server.url
        session.wait("idle")
        assert session.text("print(kept, spark.version)") == f"{number} {version}"

    waits = api.create(conf={CLUSTER: "new-one"})
    server.kill9()
    without(server, "new-one")
    server.start()
    api.url = server.url
    for session, version in zip(both, versions):
        session.api.url = server.url
        session.wait("idle")
        assert session.text("spark.version").strip("'") == version
    assert both[1].get()["appInfo"]["cluster"] == "new-one"
    waits.api.url = server.url
    assert waits.state() == "starting"
    both[0].delete()
    assert waits.wait_ended() == "dead"
    told = 'its cluster "new-one" is not configured any more (clusters.new-one)'
    assert told in waits.log()[0]
    assert batch.get()["state"] == "running"
    (jobs / "go").touch()
    assert batch.ended()["state"] == "success", batch.log()
    assert "went on" in batch.log() and SECOND.version in batch.log()
    refused = api.post("/sessions", {"conf": {CLUSTER: "new-one"}})
    assert refused.status_code == 400 and "this server has none" in refused.json()["msg"]


def test_a_warm_driver_is_its_clusters(serve: Callable[..., Server]):
    """The default cluster's is taken by none of another's sessions."""
    server = serve({**two(), "pool.size": 1, "pool.first_job": False, "pool.memory_available": "0B"})

    def stock() -> dict:
        return server.api.get("/pool").json()["pool"][0]

    wait_until("a warm driver is ready", lambda: stock()["ready"] == 1, 120)
    there = server.api.create(conf={CLUSTER: "new-one"})
    there.wait("idle")
    assert there.text("spark.version").strip("'") == SECOND.version
    assert (stock()["claimed"], stock()["missed"], stock()["ready"]) == (0, 0, 1)
    here = server.api.create()
    here.wait("idle")
    assert here.text("spark.version").strip("'") == FIRST.version
    assert stock()["claimed"] == 1


@pytest.fixture
def managers() -> Iterator[list[ResourceManager]]:
    """Two ResourceManagers."""
    managers = [ResourceManager(), ResourceManager()]
    yield managers
    for manager in managers:
        manager.stop()


def test_each_cluster_has_its_own_resource_manager(
    serve: Callable[..., Server], make_stub: Callable[..., Stub], managers: list[ResourceManager], jobs: Path
):
    """Batches are followed, and ended, where they are; those of a cluster that is not configured stay as they
    are until it is again, and what is deleted meanwhile is ended then."""
    stubs = [make_stub("exit 0\n"), make_stub("exit 0\n")]
    hadoop = stubs[1].home / "hadoop"
    hadoop.mkdir()
    (hadoop / "yarn-site.xml").write_text(SITE.format(managers[1].url.removeprefix("http://")))
    yarn = {"master": "yarn", "deploy_mode": "cluster"}
    own = {
        **stubs[0].settings,
        "spark.python": FIRST.python,
        **{f"spark.{key}": value for key, value in yarn.items()},
        "cluster.yarn.resource_manager": [managers[0].url],
        "cluster.poll_interval": "100ms",
        **{f"clusters.Far.{key}": value for key, value in yarn.items()},
        "clusters.Far.home": str(stubs[1].home),
        "clusters.Far.hadoop_conf_dir": str(hadoop),
        "shutdown.sessions": "keep",
        "files.allow": [str(jobs)],
    }
    server = serve(own)
    config = (server.home / "firesteel.toml").read_text()
    far = {"conf": {CLUSTER: "Far"}}
    batches, apps = [], []
    for number, more in ((0, {}), (1, far), (1, far)):
        before = set(stubs[number].calls.glob("properties.*"))
        batches.append(Batch(server.api, jobs / "where.py", **more))
        wait_until("it is submitted", lambda n=number, b=before: len(stubs[n].argvs()) > len(b))
        (new,) = set(stubs[number].calls.glob("properties.*")) - before
        apps.append(managers[number].add(tags_in(new.read_text())))
    near, stays, goes = batches
    for batch, app in zip(batches, apps):
        wait_until("it runs", lambda batch=batch: batch.get()["state"] == "running", 30)
        assert batch.get()["appId"] == app["id"]
    tags = [app["applicationTags"].split(",")[1] for app in apps]
    assert tags[1] == tags[2] == f"{tags[0]}-far"
    environ = stubs[1].environs()[0]
    assert (environ["HADOOP_CONF_DIR"], environ["YARN_CONF_DIR"]) == (str(hadoop), str(hadoop))
    assert environ["SPARK_CONF_DIR"] == f"{stubs[1].home}/conf"
    assert "HADOOP_CONF_DIR" not in stubs[0].environs()[0]

    server.kill9()
    without(server, "Far")
    server.start()
    for batch in batches:
        batch.api = server.api
    told = 'its cluster "Far" is not configured any more (clusters.Far)'
    wait_until("it says why", lambda: told in stays.log(), 30)
    assert stays.get()["state"] == "running"
    assert server.api.delete(goes.path).status_code == 200
    managers[0].change(apps[0], state="FINISHED", finalStatus="SUCCEEDED")
    assert near.ended()["state"] == "success"
    assert [app["state"] for app in apps] == ["FINISHED", "RUNNING", "RUNNING"]

    server.kill9()
    (server.home / "firesteel.toml").write_text(config)
    server.start()
    stays.api = server.api
    wait_until("the deleted one is killed", lambda: apps[2]["state"] == "KILLED", 30)
    assert (stays.get()["state"], apps[1]["state"]) == ("running", "RUNNING")
    managers[1].change(apps[1], state="FINISHED", finalStatus="SUCCEEDED")
    assert stays.ended()["state"] == "success"


def test_check_shows_each_cluster(tmp_path: Path):
    """And what is wrong with one."""
    clusters = [
        ("new-one", {"home": SECOND.home, "master": "local[2]"}),
        ("far", {"master": "spark://far:7077", "hadoop_conf_dir": str(tmp_path / "none")}),
    ]
    lines = [f"spark.home = {json.dumps(FIRST.home)}"]
    for name, keys in clusters:
        lines += [f"clusters.{name}.{key} = {json.dumps(value)}" for key, value in keys.items()]
    config = tmp_path / "firesteel.toml"
    config.write_text("\n".join(lines))
    ended = command("check", "--config", str(config), "--state-dir", str(tmp_path / "state"))
    assert f"ok    cluster new-one: local[2], Spark {SECOND.version} in {SECOND.home}" in ended.stdout
    wrong = f"WRONG cluster far: clusters.far.hadoop_conf_dir: there is no directory {tmp_path / 'none'}"
    assert wrong in ended.stdout
    assert ended.returncode == 1
