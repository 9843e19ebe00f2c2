"""What a real Spark and its Python see of GPUs that are leased to them (docs/gpus.md). They are declared."""

from __future__ import annotations

import json
from typing import Any, Callable

from conftest import SMALL
from harness.api import Session
from harness.server import Server, free_port
from harness.spark import Spark

DEVICES = ["GPU-1 80GiB NVIDIA H100", "GPU-2 80GiB NVIDIA H100"]
ONE = {**SMALL, "firesteel.gpus": "1"}
LOOK = """
import json, os
names = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "FIRESTEEL_GPU_FRACTION")
see = lambda: {name: os.environ.get(name) for name in names}
resources = {name: list(one.addresses) for name, one in sc.resources.items()}
print(json.dumps([see(), sc.parallelize([0], 1).map(lambda _: see()).first(), resources]))
"""
SCALA = """
val mask = sys.env("CUDA_VISIBLE_DEVICES")
val addresses = sc.resources.get("gpu").map(_.addresses.mkString(",")).getOrElse("none")
println(s"$mask $addresses")
"""


def look(session: Session) -> tuple[dict[str, str], dict[str, str], dict[str, list[str]]]:
    """What the driver's Python and an executor's have in their environment, and what Spark says."""
    return json.loads(session.text(LOOK))


def again(server: Server, sessions: list[Session]) -> list[Session]:
    """The same sessions, of a server that was killed."""
    server.kill9()
    server.start()
    return [Session(server.api, session.created) for session in sessions]


def start(serve: Callable[..., Server], spark: Spark, **settings: Any) -> Server:
    """A server with two GPUs."""
    own = {**spark.settings, "spark.master": "local[1]", "gpu.devices": DEVICES}
    return serve({**own, **settings}, port=free_port())


def test_each_sees_its_own(serve: Callable[..., Server], spark: Spark) -> None:
    """Two sessions have a GPU each, a third waits for one; a server that is killed changes nothing."""
    # Keys that make Spark wait for ever where there are no executors of their own.
    executors = {"spark.executor.resource.gpu.amount": "1", "spark.task.resource.gpu.amount": "0.5"}
    profile = {"firesteel.gpus": "1", "spark.sql.shuffle.partitions": "3"}
    server = start(serve, spark, **{"profile.team.conf": profile})
    first = server.api.create(conf={**ONE, **executors})
    second = server.api.create(conf={"firesteel.profile": "team", "spark.ui.enabled": "false"})
    for session in (first, second):
        session.wait("idle")
    third = server.api.create(conf=ONE)
    assert any("spark.executor.resource.gpu.amount is left out" in line for line in first.log())
    assert second.text("spark.conf.get('spark.sql.shuffle.partitions')") == "'3'"
    seen = [look(session) for session in (first, second)]
    masks = [driver["CUDA_VISIBLE_DEVICES"] for driver, _worker, _resources in seen]
    assert sorted(masks) == ["GPU-1", "GPU-2"]
    for driver, worker, resources in seen:
        assert driver["NVIDIA_VISIBLE_DEVICES"] == driver["CUDA_VISIBLE_DEVICES"]
        assert worker == driver and driver["FIRESTEEL_GPU_FRACTION"] is None
        assert resources == {"gpu": ["0"]}
    for session, mask in zip((first, second), masks):
        assert f"{mask} 0" in session.ok(SCALA, "spark")["text/plain"]
    assert third.state() == "starting"
    assert any("Waiting for GPUs: 0 wait before this one" in line for line in third.log())
    first, second, third = again(server, [first, second, third])
    for session, before in zip((first, second), seen):
        session.wait("idle")
        assert tuple(look(session)) == tuple(before)
    assert third.state() == "starting"
    first.delete()
    third.wait("idle")
    assert look(third)[0]["CUDA_VISIBLE_DEVICES"] == masks[0]


def test_a_part_and_none(serve: Callable[..., Server], default_spark: Spark) -> None:
    """A session that shares a GPU has its libraries told; one without sees none."""
    server = start(serve, default_spark, **{"gpu.sharing": True})
    half, none = (server.api.create(conf={**SMALL, **conf}) for conf in ({"firesteel.gpus": "0.5"}, {}))
    for session in (half, none):
        session.wait("idle")
    driver, worker, resources = look(half)
    assert driver["FIRESTEEL_GPU_FRACTION"] == worker["FIRESTEEL_GPU_FRACTION"] == "0.500"
    assert resources == {"gpu": ["0"]}
    key = "spark.rapids.memory.gpu.maxAllocFraction"
    assert half.text(f"sc.getConf().get({key!r})") == "'0.500'"
    # What stands where PyTorch would: the call that PyTorch runs once it starts CUDA.
    half.text(
        "import pathlib, sys, tempfile\n"
        "home = pathlib.Path(tempfile.mkdtemp(), 'torch'); home.mkdir()\n"
        "(home / '__init__.py').write_text('from . import cuda')\n"
        "(home / 'cuda.py').write_text('told = []; calls = []\\n_lazy_call = calls.append\\n'"
        " 'set_per_process_memory_fraction = told.append')\n"
        "sys.path.insert(0, str(home.parent)); import torch"
    )
    assert half.text("for call in torch.cuda.calls: call()\nprint(torch.cuda.told)") == "[0.5]"
    driver, worker, resources = look(none)
    assert (
        driver
        == worker
        == {
            "CUDA_VISIBLE_DEVICES": "",
            "NVIDIA_VISIBLE_DEVICES": "void",
            "FIRESTEEL_GPU_FRACTION": None,
        }
    )
    assert resources == {}


def test_idle_gpus_are_given_back(serve: Callable[..., Server], default_spark: Spark) -> None:
    """Where that is configured a session whose GPUs do nothing goes on without, and another gets them."""
    times = {"gpu.idle_timeout": "3s", "gpu.idle_warning": "1s", "session.watch_interval": "200ms"}
    server = start(serve, default_spark, **times, **{"gpu.idle_action": "give_back"})
    both = server.api.create(conf={**SMALL, "firesteel.gpus": "2"})
    both.wait("idle")
    assert look(both)[0]["CUDA_VISIBLE_DEVICES"] == "GPU-1,GPU-2"
    other = server.api.create(conf=ONE)
    other.wait("idle")
    assert any("were given back (gpu.idle_timeout)" in line for line in both.log())
    assert "gpus" not in both.get()["appInfo"]
    assert both.text("import os; os.environ['CUDA_VISIBLE_DEVICES']") == "''"
    assert other.get()["appInfo"]["gpus"].startswith("GPU-1 ")
    # The next server takes back what is held now.
    both, other = again(server, [both, other])
    other.wait("idle")
    held = {gpu["uuid"]: gpu["held"] for gpu in server.api.get("/gpus").json()["gpus"]}
    assert [one["by"] for one in held["GPU-1"]] == [f"session {other.id}"] and held["GPU-2"] == []
