"""docs/examples/yarn.toml on a real YARN: executors come and go with the load, each with a GPU, in the queue
of the user's group."""

from __future__ import annotations

import ast
from typing import Any, Iterator

import pytest
from harness.api import Api
from harness.processes import wait_until
from harness.server import ROOT, Server, command
from harness.yarn import Yarn
from harness.yarn_batch import LIMIT, SPARK

# Of Python 3.11 and later.
tomllib = pytest.importorskip("tomllib")
EXAMPLE = tomllib.loads((ROOT / "docs/examples/yarn.toml").read_text())
CONF = EXAMPLE["profile"]["elastic"]["conf"]
GPUS = 2
WORK = """\
import time
from pyspark import TaskContext
def work(part):
    time.sleep(3)
    yield TaskContext.get().resources()["gpu"].addresses[0]
sc.parallelize(range(40), 40).mapPartitions(work).distinct().collect()
"""


@pytest.fixture(scope="module")
def yarn() -> Iterator[Yarn]:
    """A YARN whose node has GPUs to count."""
    # Of cores and memory there is enough for more executors.
    yarn = Yarn(cores=32, gpus=GPUS)
    yield yarn
    yarn.stop()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a machine of a test has less of than the example's."""
    script = tmp_path_factory.mktemp("gpus") / "discover.sh"
    script.write_text('#!/bin/sh\necho \'{"name": "gpu", "addresses": ["7"]}\'\n')
    script.chmod(0o755)
    return {
        "spark.dynamicAllocation.executorIdleTimeout": "4s",
        "spark.dynamicAllocation.shuffleTracking.timeout": "4s",
        "spark.executor.memory": "512m",
        "spark.executor.memoryOverhead": "128m",
        "spark.yarn.am.memory": "256m",
        "spark.executor.resource.gpu.discoveryScript": str(script),
    }


@pytest.fixture(scope="module")
def server(yarn: Yarn, small: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the example, for two users, one of whom is an analyst."""
    users = tmp_path_factory.mktemp("users") / "users"
    for name in ("ada", "bob"):
        assert command("passwd", str(users), name, stdin="secret\n").returncode == 0
    own = yarn.settings(SPARK, EXAMPLE["spark"]["deploy_mode"])
    conf = dict(own["spark.conf"])
    # Those who ask for a number have no others.
    conf.pop("spark.executor.instances")
    elastic = {**EXAMPLE["profile"]["elastic"], "conf": {**CONF, **small}}
    settings: dict[str, Any] = {
        **own,
        "spark.master": EXAMPLE["spark"]["master"],
        "spark.conf": conf,
        "profile.elastic": elastic,
        **{f"policy.rule.{name}": rule for name, rule in EXAMPLE["policy"]["rule"].items()},
        "access.mode": "basic",
        "access.basic_file": users,
        "access.groups": {"analysts": ["ada"]},
    }
    server = Server(settings, env=yarn.environment())
    yield server
    server.stop()


def api_of(server: Server, user: str) -> Api:
    """A user's."""
    return Api(server.url, auth=(user, "secret"))


def test_executors_come_and_go(server: Server, yarn: Yarn, small: dict[str, str]):
    """As many as there is work for and GPUs, and none when there is no work; the queue can't be chosen."""
    session = api_of(server, "ada").create(queue="default")
    session.wait("idle", limit=LIMIT)
    app_id = session.get()["appId"]
    app = yarn.application(app_id)
    assert app["queue"].split(".")[-1] == "analysts"
    log = "\n".join(session.log())
    assert "spark.yarn.queue is analysts, whatever is asked for (policy.rule.analysts.force)." in log
    told = session.text("sorted(sc.getConf().getAll())", limit=LIMIT)
    assert {**CONF, **small}.items() <= dict(ast.literal_eval(told)).items()

    def containers() -> int:
        """Its executors, beside its master."""
        return yarn.application(app_id)["runningContainers"] - 1

    most = 0
    statement = session.post(WORK)

    def ended() -> bool:
        nonlocal most
        most = max(most, containers())
        return session.statement(statement["id"])["state"] == "available"

    wait_until("the work is done", ended, LIMIT, 0.2)
    output = session.statement(statement["id"])["output"]
    assert output.get("data") == {"text/plain": "['7']"}, output
    assert most == GPUS, "one for each GPU, and no more"
    wait_until("all executors are given back", lambda: containers() == 0, LIMIT, 0.2)
    assert session.text("sc.parallelize(range(4), 2).sum()", limit=LIMIT) == "6"
    session.delete()


def test_others_have_their_own_queue(server: Server, yarn: Yarn):
    session = api_of(server, "bob").create()
    session.wait("idle", limit=LIMIT)
    assert yarn.application(session.get()["appId"])["queue"].split(".")[-1] == "default"
    session.delete()
