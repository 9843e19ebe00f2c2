"""Sessions in cluster mode on a real API server, scheduler and controllers: their drivers run in pods and
call the server from there."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import tarfile
from pathlib import Path
from typing import Iterator

import pytest
from harness.api import wait_line
from harness.batch import LIMIT
from harness.cluster_session import survives_a_kill
from harness.kubernetes import IMAGE, NAMESPACE, Kubernetes, image, manifest, without
from harness.processes import wait_until
from harness.server import Server, free_port
from harness.spark import sparks

SPARK = sparks()[0]
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"


@pytest.fixture(scope="module")
def kubernetes() -> Iterator[Kubernetes]:
    """A cluster with one node."""
    kubernetes = Kubernetes({IMAGE: image(SPARK)})
    yield kubernetes
    kubernetes.stop()


@pytest.fixture
def server(kubernetes: Kubernetes) -> Iterator[Server]:
    """A server whose drivers run in the cluster, and go on when it ends."""
    more = {"shutdown.sessions": "keep", "link.listen": f"127.0.0.1:{free_port()}"}
    server = Server({**kubernetes.settings(SPARK), **more}, port=free_port())
    yield server
    kubernetes.apply(manifest())
    if server.process.poll() is not None:
        server.start()
    for session in server.api.get("/sessions").json()["sessions"]:
        server.api.delete(f"/sessions/{session['id']}")
    wait_until("nothing of a session is left", lambda: not kubernetes.left(), 60)
    server.stop()


def packed(kubernetes: Kubernetes) -> bytes:
    """The secret in the one Secret that there is."""
    (found,) = kubernetes.call("GET", SECRETS)["items"]
    archive = base64.b64decode(found["data"]["agent.tar.gz"])
    assert sum(len(base64.b64decode(text)) for text in found["data"].values()) < 1 << 19
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        file = opened.extractfile("secret")
        assert file is not None
        return file.read().strip()


def argvs() -> bytes:
    """The arguments and the variables of all processes."""
    found = []
    for process in Path("/proc").iterdir():
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                found.append((process / name).read_bytes())
    return b"\n".join(found)


def test_a_session_runs_in_a_pod(server: Server, kubernetes: Kubernetes):
    """Across a kill of the server; nothing secret is where others look, and nothing stays."""
    session = server.api.create()
    session.wait("idle", limit=LIMIT)
    pod = kubernetes.pod_of(session)
    assert session.text("import os\nos.environ['HOSTNAME']") == repr(pod["metadata"]["name"])
    where = (
        "sc.parallelize(range(2), 2).mapPartitions(lambda _: [os.environ['HOSTNAME']]).distinct().collect()"
    )
    assert "-exec-" in session.text(where)
    sql = session.run("SELECT 1 AS one", "sql")
    assert sql["output"]["data"]["application/json"]["data"] == [[1]], sql
    scala = session.run("(1 to 300).sum", "spark")
    assert "45150" in scala["output"]["data"]["text/plain"], scala

    secret = packed(kubernetes)
    assert len(secret) >= 32
    mounted = {
        made["metadata"]["name"]
        for made in (*kubernetes.pods(), *kubernetes.pods("executor"))
        for volume in made["spec"]["volumes"]
        if "secret" in volume
    }
    assert mounted == {pod["metadata"]["name"]}, "the driver's pod alone has it"
    listed = [
        kubernetes.call("GET", f"/api/v1/namespaces/{NAMESPACE}/{kind}") for kind in ("pods", "configmaps")
    ]
    conf = session.text("sc.getConf().getAll()")
    logs = server.log() + "\n".join(session.log()) + kubernetes.log(pod["metadata"]["name"])
    properties = next(server.state_dir.glob("run/*/own/spark.properties")).read_text()
    for place in (json.dumps(listed), conf, logs, properties):
        assert secret.decode() not in place
    assert secret not in argvs()

    survives_a_kill(session, server)
    session.delete()
    wait_until("nothing of it is left", lambda: not kubernetes.left() and not server.run_files(), 60)


def test_what_the_driver_writes_is_followed(server: Server, kubernetes: Kubernetes):
    """While it runs; each line once, also those that come while there is no server."""
    session = server.api.create()
    session.wait("idle", limit=LIMIT)
    pod = kubernetes.pod_of(session)["metadata"]["name"]
    session.text("say = sc._jvm.org.slf4j.LoggerFactory.getLogger('test').warn")
    session.text("say('line one')")
    wait_line(session, "line one")
    session.post("import time\ntime.sleep(4)\nsay('line two')")
    server.kill9()
    wait_until("it is written", lambda: "line two" in kubernetes.log(pod), 60)
    server.start()
    wait_line(session, "line two")
    session.text("say('line three')")
    wait_line(session, "line three")
    lines = [line for line in session.log() if "WARN test: line" in line]
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["one", "two", "three"], lines
    session.post("import os\nos.kill(os.getppid(), 9)")
    session.wait("dead", limit=LIMIT)
    assert sum("WARN test: line" in line for line in session.log()) == 3


def test_why_nothing_runs_is_told(server: Server, kubernetes: Kubernetes):
    """More cores than the node has; an image that is not there. Both are deleted while they wait."""
    large = server.api.create(conf={"spark.kubernetes.driver.request.cores": "64"})
    unknown = server.api.create(conf={"spark.kubernetes.container.image": "registry.test/missing:1"})
    assert "Insufficient cpu" in wait_line(large, "Unschedulable")
    assert "registry.test/missing:1" in wait_line(unknown, "ErrImagePull")
    for session in (large, unknown):
        assert session.get()["state"] == "starting"
        session.delete()
    wait_until("nothing of them is left", lambda: not kubernetes.left(), 60)


def test_ends_from_outside(server: Server, kubernetes: Kubernetes):
    """A pod that somebody deletes, and one that takes too much memory."""
    assert kubernetes.kubelet
    killed, hungry = server.api.create(), server.api.create()
    for session in (killed, hungry):
        session.wait("idle", limit=LIMIT)
    statement = killed.post("import time\ntime.sleep(600)")
    killed.wait_statement(statement["id"], "running")
    kubernetes.delete_pod(kubernetes.pod_of(killed)["metadata"]["name"])
    killed.wait("dead", "killed", limit=LIMIT)
    assert "its pod was deleted" in killed.log()[0], killed.log()[0]
    assert killed.wait_statement(statement["id"])["output"]["status"] == "error"
    kubernetes.kubelet.run_out_of_memory(kubernetes.pod_of(hungry)["metadata"]["name"])
    hungry.wait("dead", limit=LIMIT)
    assert "OOMKilled" in hungry.log()[0], hungry.log()[0]
    wait_until("nothing of them is left", lambda: not kubernetes.left(), 60)


def test_what_a_forgotten_session_has_is_cleared(server: Server, kubernetes: Kubernetes):
    session = server.api.create()
    session.wait("idle", limit=LIMIT)
    server.forget()
    # Another server's, and one that nobody of ours has made.
    others = {
        name: {"metadata": {"name": name, "labels": labels}, "data": {}}
        for name, labels in (
            ("another", {"firesteel-driver": "x", "firesteel-server": "another"}),
            ("of-users", {"firesteel-server": "none"}),
        )
    }
    for made in others.values():
        kubernetes.create(SECRETS, made)
    server.start()
    left = sorted(f"secrets/{name}" for name in others)
    wait_until("its pod and its Secret are deleted", lambda: kubernetes.left() == left, 60)
    for name in others:
        kubernetes.delete(f"secrets/{name}")


@pytest.mark.parametrize("verb", ["create", "delete", "list"])
def test_a_verb_that_is_missing_is_named(server: Server, kubernetes: Kubernetes, verb: str):
    kubernetes.apply(without("secrets", verb))
    wait_until("it holds", lambda: not kubernetes.allowed("secrets", verb), 20)
    sentence = f'cannot {verb} resource "secrets"'
    if verb == "create":
        session = server.api.create()
        session.wait("dead", limit=LIMIT)
        assert sentence in session.log()[0], session.log()[0]
    elif verb == "delete":
        session = server.api.create()
        kubernetes.pod_of(session)
        session.delete()
        wait_until("it is said", lambda: sentence in server.log(), 60)
        kubernetes.apply(manifest())
        server.kill9()
        server.start()
        wait_until("the next server deletes it", lambda: not kubernetes.left(), 60)
    else:
        server.kill9()
        server.start()
        wait_until("it is said", lambda: sentence in server.log(), 60)
