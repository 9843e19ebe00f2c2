"""Batches in cluster mode on a real API server, scheduler and controllers, with real drivers and executors of
Spark that a kubelet of the tests' own runs."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Iterator

import pytest
import requests
from harness.api import Api, wait_line
from harness.batch import LIMIT, ClusterBatch
from harness.kubelet import Image
from harness.kubernetes import IMAGE, NAMESPACE, Kubernetes, granted, image, manifest, without
from harness.processes import wait_until
from harness.server import Server, binary, free_port, toml
from harness.spark import Spark, sparks

SPARK = sparks()[0]
# Of a server in a pod.
STATE = "/var/lib/firesteel"

# Says what it computed on an executor, then waits until it is told how to end.
JOB = """\
import os, sys, time
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
where = lambda _: [os.environ["HOSTNAME"]]
print("driver", os.environ["HOSTNAME"], flush=True)
found = spark.sparkContext.parallelize(range(2), 2).mapPartitions(where).distinct().collect()
print("executors", found, flush=True)
print("sum", spark.range(10).groupBy().sum().first()[0], flush=True)
while len(sys.argv) > 1 and not os.path.exists(sys.argv[1]):
    time.sleep(0.2)
if len(sys.argv) > 2:
    raise ValueError("no such table: " + sys.argv[2])
"""
# Needs no Spark: it says that it runs, and waits.
PLAIN = """\
import time
print("runs", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def kubernetes() -> Iterator[Kubernetes]:
    """A cluster with one node."""
    kubernetes = Kubernetes({IMAGE: image(SPARK)})
    yield kubernetes
    kubernetes.stop()


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of the image: the node has this directory too."""
    jobs = tmp_path_factory.mktemp("jobs")
    (jobs / "job.py").write_text(JOB)
    (jobs / "plain.py").write_text(PLAIN)
    return jobs


@pytest.fixture
def server(kubernetes: Kubernetes, jobs: Path) -> Iterator[Server]:
    """A server whose drivers run in the cluster, and go on when it ends."""
    more = {"files.allow": [str(jobs)], "shutdown.sessions": "keep"}
    server = Server({**kubernetes.settings(SPARK), **more})
    yield server
    kubernetes.apply(manifest())
    if server.process.poll() is not None:
        server.start()
    for batch in server.api.get("/batches").json()["sessions"]:
        server.api.delete(f"/batches/{batch['id']}")
    wait_until("no pod is left", lambda: not kubernetes.pods() and not kubernetes.pods("executor"), 60)
    server.stop()


class Batch(ClusterBatch):
    """A batch that runs one of the jobs."""

    def __init__(
        self, server: Server | SimpleNamespace, jobs: Path, *args: str, job: str = "job", **body: Any
    ):
        super().__init__(server, f"local://{jobs}/{job}.py", *args, **body)

    def delete(self) -> None:
        """Delete it."""
        assert self.server.api.delete(self.path).status_code == 200


def test_batches_run_and_end(server: Server, kubernetes: Kubernetes, jobs: Path, tmp_path: Path):
    """One that succeeds and one that fails, across kills of the server and of the API server."""
    go = tmp_path / "go"
    good, bad = Batch(server, jobs, str(go)), Batch(server, jobs, str(go), "sales")
    pods = [kubernetes.pod_of(batch)["metadata"] for batch in (good, bad)]
    for batch in (good, bad):
        shown = batch.wait("running")
        assert shown["appId"].startswith("spark-")
        assert shown["appInfo"].get("exitCode") is None
    assert len({pod["labels"]["firesteel-driver"] for pod in pods}) == 2
    assert len({pod["labels"]["firesteel-server"] for pod in pods}) == 1
    wait_until("the submits have ended", lambda: not server.driver_processes())
    wait_line(good, "sum 45")  # Its log is followed while it runs.
    wait_until("executors run", lambda: len(kubernetes.pods("executor")) == 2, LIMIT)
    for pod in kubernetes.pods("executor"):
        assert pod["metadata"]["labels"]["firesteel-server"] == pods[0]["labels"]["firesteel-server"]
    server.kill9()
    kubernetes.restart_api()
    server.start()
    for batch, pod in zip((good, bad), pods):
        assert batch.wait("running")["appId"] == pod["labels"]["spark-app-selector"]
    server.kill9()
    go.touch()
    for pod, phase in zip(pods, ("Succeeded", "Failed")):
        name = pod["name"]

        def ended(name: str = name) -> str | None:
            found = kubernetes.pod(name)["status"]["phase"]
            return found if found in ("Succeeded", "Failed") else None

        assert wait_until(f"{name} ends", ended, LIMIT) == phase
    server.start()
    ended = good.wait("success")
    assert ended["appInfo"]["exitCode"] == "0"
    assert bad.wait("dead")["appInfo"]["exitCode"] == "1"
    log = good.log()
    assert "sum 45" in log
    driver = next(line for line in log if line.startswith("driver "))
    assert driver == f"driver {pods[0]['name']}"
    executors = next(line for line in log if line.startswith("executors "))
    assert "-exec-" in executors, executors
    log = bad.log()
    sentence = "The application failed: ValueError: no such table: sales"
    assert (log[0], log[-1]) == (sentence, sentence)
    assert "Traceback (most recent call last):" in log
    wait_until("their pods and all that was theirs have gone", lambda: not kubernetes.left(), 60)


def test_why_nothing_runs_is_told(server: Server, kubernetes: Kubernetes, jobs: Path):
    """An image that is not there; more cores than the node has. Both are deleted while they wait."""
    unknown = Batch(
        server, jobs, job="plain", conf={"spark.kubernetes.container.image": "registry.test/missing:1"}
    )
    large = Batch(server, jobs, job="plain", conf={"spark.kubernetes.driver.request.cores": "64"})
    line = wait_line(unknown, "ErrImagePull")
    assert line.startswith("Kubernetes: ErrImagePull: ") and "registry.test/missing:1" in line, line
    assert "ImagePullBackOff" in wait_line(unknown, "ImagePullBackOff")
    line = wait_line(large, "Unschedulable")
    assert "Insufficient cpu" in line, line
    for batch in (unknown, large):
        assert batch.get()["state"] == "starting"
        batch.delete()
    wait_until("nothing of them is left", lambda: not kubernetes.left(), 60)


def test_a_quota_is_told(server: Server, kubernetes: Kubernetes, jobs: Path):
    quota = {"kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "0"}}}
    kubernetes.apply([quota])
    path = "/api/v1/namespaces/spark/resourcequotas/few"
    wait_until("the quota holds", lambda: (kubernetes.find(path) or {}).get("status", {}).get("hard"))
    try:
        batch = Batch(server, jobs, job="plain")
        batch.wait("dead")
        assert "exceeded quota: few" in batch.log()[0], batch.log()[0]
    finally:
        kubernetes.delete("resourcequotas/few")


def test_ends_from_outside(server: Server, kubernetes: Kubernetes, jobs: Path):
    """A pod that somebody deletes, one that takes too much memory, and one that its node evicts."""
    assert kubernetes.kubelet
    killed, hungry, evicted = (Batch(server, jobs, job="plain") for _ in range(3))
    names = {}
    for batch in (killed, hungry, evicted):
        batch.wait("running")
        names[batch] = kubernetes.pod_of(batch)["metadata"]["name"]
    kubernetes.delete_pod(names[killed])
    killed.wait("killed")
    assert killed.log()[0] == "The application was killed in Kubernetes: its pod was deleted."
    kubernetes.kubelet.run_out_of_memory(names[hungry])
    hungry.wait("dead")
    assert "(OOMKilled, exit code 137)" in hungry.log()[0], hungry.log()[0]
    kubernetes.kubelet.evict(names[evicted], "The node was low on resource: memory.")
    evicted.wait("dead")
    assert evicted.log()[0] == "The application failed: Evicted: The node was low on resource: memory."


def test_a_deleted_batch_leaves_nothing(server: Server, kubernetes: Kubernetes, jobs: Path, tmp_path: Path):
    batch = Batch(server, jobs, str(tmp_path / "never"))
    batch.wait("running")
    wait_until("it has an executor", lambda: kubernetes.pods("executor"), LIMIT)
    batch.delete()
    assert server.api.get(batch.path).status_code == 404
    wait_until("nothing of it is left", lambda: not kubernetes.left() and not server.run_files(), 60)


def test_one_that_is_deleted_while_it_is_submitted(server: Server, kubernetes: Kubernetes, jobs: Path):
    batch = Batch(server, jobs, job="plain")
    wait_until("its pod is there", kubernetes.pods, LIMIT, 0.02)
    batch.delete()
    wait_until("nothing of it is left", lambda: not server.driver_processes() and not server.run_files(), 60)
    assert not kubernetes.pods()


def test_an_application_whose_batch_is_forgotten_is_ended(server: Server, kubernetes: Kubernetes, jobs: Path):
    batch = Batch(server, jobs, job="plain")
    batch.wait("running")
    wait_until("its submit has ended", lambda: not server.driver_processes(), LIMIT)
    server.forget()
    server.start()
    wait_until("its pod is deleted", lambda: not kubernetes.pods(), 60)
    assert "an application that nobody has is ended" in server.log()


def test_sessions_are_refused_where_they_cannot_call(server: Server):
    answer = server.api.post("/sessions", {"kind": "pyspark"})
    assert answer.status_code == 400
    assert "link.listen" in answer.json()["msg"]


# The roles


@pytest.mark.parametrize("spark", sparks(), ids=lambda spark: spark.short)
def test_the_roles_are_what_is_needed(kubernetes: Kubernetes, spark: Spark, jobs: Path, tmp_path: Path):
    """A server in a pod with the manifest's account, each Spark, and an executor that has to be replaced."""
    assert kubernetes.kubelet
    go, port = tmp_path / "go", free_port()
    named = f"spark:{spark.short}"
    kubernetes.kubelet.images[named] = image(spark)
    kubernetes.kubelet.images["firesteel:test"] = Image(
        [str(binary())], {"PATH": os.environ["PATH"], "HOME": "/root"}
    )
    settings = kubernetes.settings(spark)
    del settings["cluster.kubernetes.kubeconfig"]
    settings["spark.conf"] |= {"spark.kubernetes.container.image": named}
    more = {"driver.class_archive": False, "link.listen": f"127.0.0.1:{free_port()}"}
    config = tmp_path / "firesteel.toml"
    config.write_text(toml({**settings, "files.allow": [str(jobs)], **more}))
    args = ["serve", "--config", str(config), "--listen", f"127.0.0.1:{port}"]
    container = {"name": "firesteel", "image": "firesteel:test", "args": [*args, "--state-dir", STATE]}
    container["volumeMounts"] = [{"name": "data", "mountPath": STATE}]
    pod = {
        "metadata": {"name": "firesteel"},
        "spec": {
            "serviceAccountName": "firesteel",
            "restartPolicy": "Never",
            "containers": [container],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }
    kubernetes.create(f"/api/v1/namespaces/{NAMESPACE}/pods", pod)
    api = Api(f"http://127.0.0.1:{port}")
    try:

        def is_up() -> bool:
            phase = kubernetes.pod("firesteel")["status"]["phase"]
            assert phase in ("Pending", "Running"), kubernetes.log("firesteel")
            return phase == "Running" and answers(api)

        wait_until("the server answers", is_up, 60)
        server = SimpleNamespace(api=api)
        batch = Batch(server, jobs, str(go))
        batch.wait("running")
        first = wait_until("an executor runs", lambda: kubernetes.pods("executor"), LIMIT)[0]["metadata"]
        wait_until(
            "it is started", lambda: kubernetes.pod(first["name"])["status"]["phase"] == "Running", LIMIT
        )
        kubernetes.kubelet.run_out_of_memory(first["name"])

        def replaced() -> bool:
            found = kubernetes.pods("executor")
            return bool(found) and found[0]["metadata"]["name"] != first["name"]

        wait_until("it is replaced", replaced, LIMIT)
        go.touch()
        batch.wait("success")
        assert "sum 45" in batch.log()
        batch.delete()
        session = api.create()
        session.wait("idle", limit=LIMIT)
        assert session.text("spark.range(7).count()") == "7"
        session.delete()
        names = ["pods/firesteel"]
        wait_until("nothing of it is left", lambda: kubernetes.left() == names, 60)
    finally:
        kubernetes.delete_pod("firesteel")
        wait_until("the server is gone", lambda: kubernetes.pod("firesteel") is None, 60)
    if spark != sparks()[-1]:
        return
    # What is made by a patch has to be allowed to be created, which nobody asks for.
    made = {(resource, "create") for resource in ("services", "configmaps")}
    assert kubernetes.used("firesteel") | made == granted("firesteel")
    assert kubernetes.used("driver") == granted("driver")


@pytest.mark.parametrize(
    ("resource", "verb"), sorted(one for one in granted("firesteel") if one[0] != "secrets")
)
def test_a_verb_that_is_missing_is_named(
    server: Server, kubernetes: Kubernetes, jobs: Path, resource: str, verb: str
):
    kubernetes.apply(without(resource, verb))
    wait_until("it holds", lambda: not kubernetes.allowed(resource, verb), 20)
    sentence = f'cannot {verb} resource "{resource}"'
    batch = Batch(server, jobs, job="plain")
    if (resource, verb) == ("pods", "delete"):
        batch.wait("running")
        batch.delete()
        wait_until("it is said", lambda: sentence in server.log(), 60)
    elif (resource, verb) == ("pods/log", "get"):
        batch.wait("running")
        assert kubernetes.kubelet
        kubernetes.kubelet.run_out_of_memory(kubernetes.pod_of(batch)["metadata"]["name"])
        batch.wait("dead")
        assert any(sentence in line for line in batch.log()), batch.log()
    elif resource == "pods" and verb in ("list", "watch"):
        line = wait_line(batch, sentence)
        assert line.startswith("What has become of the application is not known: "), line
    else:
        batch.wait("dead")
        assert sentence in batch.log()[0], batch.log()[0]


def answers(api: Api) -> bool:
    """Whether a server listens."""
    try:
        return api.get("/batches").status_code == 200
    except requests.ConnectionError:
        return False
