"""A session on a GPU that is there (docs/gpus.md): seen, masked, its memory and work attributed, given back.
Skipped, with the reason, where there is none."""

from __future__ import annotations

import ctypes
import re
from typing import Any, Callable

import pytest
from conftest import SMALL
from harness.api import Session
from harness.processes import wait_until
from harness.server import Server, free_port
from harness.spark import Spark

ONE = {**SMALL, "firesteel.gpus": "1"}
CUDA = """
import ctypes, os, time
cuda = ctypes.CDLL("libcuda.so.1")
def call(name, *arguments):
    code = getattr(cuda, name)(*arguments)
    assert code == 0, f"{name}: {code}"
def begin():
    global context, memory
    call("cuInit", 0)
    count, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    call("cuDeviceGetCount", ctypes.byref(count))
    call("cuCtxCreate_v2", ctypes.byref(context), 0, 0)
    call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(1 << 30))
    return count.value
def work(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        call("cuMemsetD8_v2", memory, ctypes.c_ubyte(1), ctypes.c_size_t(1 << 30))
        call("cuCtxSynchronize")
"""


def missing() -> str | None:
    """Why these tests can't run here; None where they can."""
    for library in ("libnvidia-ml.so.1", "libcuda.so.1"):
        try:
            loaded = ctypes.CDLL(library)
        except OSError as error:
            return f"no GPU: {error}"
        if library.startswith("libnvidia-ml") and (code := loaded.nvmlInit_v2()) != 0:
            return f"no GPU: nvmlInit says {code}"
    return None


MISSING = missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@pytest.fixture
def start(serve: Callable[..., Server], default_spark: Spark) -> Callable[..., Server]:
    """A server that looks each second at the GPUs that there are."""
    own = {**default_spark.settings, "spark.master": "local[1]", "gpu.look_interval": "1s"}
    return lambda **settings: serve({**own, **settings}, port=free_port())


def gpus(server: Server) -> dict[str, Any]:
    """What the server tells of them, by UUID."""
    return {gpu["uuid"]: gpu for gpu in server.api.get("/gpus").json()["gpus"]}


def holder(server: Server) -> tuple[Session, str]:
    """A session with a GPU of its own, and the GPU."""
    session = server.api.create(conf=ONE)
    session.wait("idle")
    return session, session.get()["appInfo"]["gpus"].partition(" ")[0]


def used(session: Session) -> float:
    """GiB that the session was seen to have had."""
    told = session.get()["appInfo"].get("gpuMemoryPeak", "0 GiB")
    number = re.fullmatch(r"([\d.]+) (\w+)", told)
    assert number, told
    return float(number[1]) * {"B": 0, "KiB": 0, "MiB": 1 / 1024, "GiB": 1}[number[2]]


def test_its_memory_and_work_are_its_own(start: Callable[..., Server]) -> None:
    """What a session allocates and does is seen as its own; when it is killed all of it comes back."""
    server = start()
    session, uuid = holder(server)
    before = gpus(server)[uuid]["used"]
    assert session.text(f"{CUDA}\nprint(begin())") == "1", "it sees no other GPU"
    session.text("work(4)")
    wait_until("its memory is seen", lambda: used(session) >= 1, 30)
    assert int(session.get()["appInfo"]["gpuBusySeconds"]) >= 1
    other = server.api.create(conf=SMALL)
    other.wait("idle")
    assert "gpuMemoryPeak" not in other.get()["appInfo"]
    session.run("import os, signal; os.kill(os.getppid(), signal.SIGKILL)")
    session.wait("dead")
    wait_until("nobody holds it", lambda: not gpus(server)[uuid]["held"], 60)
    wait_until("its memory is free", lambda: gpus(server)[uuid]["used"] < before + (1 << 29), 60)


def test_idle(start: Callable[..., Server]) -> None:
    """Work on the GPU in the background keeps it; once there is none the session ends."""
    server = start(**{"gpu.idle_timeout": "6s", "gpu.idle_warning": "2s", "session.watch_interval": "500ms"})
    session, _uuid = holder(server)
    session.text(f"{CUDA}\nprint(begin())")
    session.text(
        "import threading\ndef there():\n    call('cuCtxSetCurrent', context)\n    work(12)\n"
        "thread = threading.Thread(target=there); thread.start()"
    )
    wait_until("it works", lambda: int(session.get()["appInfo"]["gpuBusySeconds"]) >= 10, 60)
    assert session.state() == "idle"
    session.wait("dead")
    assert any("did nothing for 6s (gpu.idle_timeout)" in line for line in session.log())


def test_a_stray(start: Callable[..., Server]) -> None:
    """Code that puts the mask aside is found, and told in its own log."""
    server = start()
    uuid = next(iter(gpus(server)))
    session = server.api.create(conf=SMALL)
    session.wait("idle")
    session.text(f"{CUDA}\nos.environ['CUDA_VISIBLE_DEVICES'] = {uuid!r}\nprint(begin())")
    told = f"A process of this session uses {uuid}, which the session does not hold."
    wait_until("it is told", lambda: told in session.log(), 60)
