"""Drivers that take more than they may: ended with a sentence, while others go on (faults.md R19, R20). The
driver is a script here; real ones are in tests/sessions/test_isolation.py."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Callable

import pytest
from harness import processes
from harness.api import Session
from harness.processes import wait_until
from harness.stub import Stub

MEMORY = "import time\nheld = []\nwhile True:\n    held.append(b'x' * (16 << 20))\n    time.sleep(0.01)\n"
# The child takes it, and its parent only waits: an interpreter and its agent.
IN_A_CHILD = f"import os, time\nif os.fork() == 0:\n{textwrap.indent(MEMORY, '    ')}time.sleep(1000)\n"
CHILDREN = (
    "import os, time\nwhile True:\n    if os.fork() == 0:\n        time.sleep(1000)\n    time.sleep(0.001)\n"
)
# Bounded by its cgroup alone, before anything could be counted.
FORKS = (
    "import os, time\n"
    "while True:\n    try:\n        os.fork()\n    except OSError:\n        time.sleep(0.01)\n"
)
THREADS = (
    "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(1000,)).start()\n"
)
DISK = "import time\nwhile True:\n    open(f'file{time.time()}', 'wb').write(b'x' * (8 << 20))\n"

BOUNDS = {"driver.memory_max": "256MiB", "driver.pids_max": 200, "driver.disk_max": "64MiB"}
BOMBS = {
    "memory": (MEMORY, "ran out of memory", "driver.memory_max of 256.0 MiB"),
    "memory of a child": (IN_A_CHILD, "ran out of memory", "driver.memory_max of 256.0 MiB"),
    "children": (CHILDREN, "processes and threads", "driver.pids_max of 200"),
    "forks": (FORKS, "processes and threads", "driver.pids_max of 200"),
    "threads": (THREADS, "processes and threads", "driver.pids_max of 200"),
    "disk": (DISK, "on the disk", "driver.disk_max of 64.0 MiB"),
}


def ended(session: Session) -> str:
    """The sentence of a session that its driver's keeper has ended."""
    assert session.wait("dead", limit=60) == "dead"
    log = session.log()
    assert log[0] == log[-1]
    assert log[0].startswith("The driver was ended: it"), log[0]
    return log[0]


@pytest.mark.parametrize(
    ("bomb", "cgroups"),
    [(bomb, cgroups) for bomb in BOMBS for cgroups in (True, False) if cgroups or bomb != "forks"],
)
def test_a_bomb(
    serve: Callable[..., object],
    make_stub: Callable[..., Stub],
    tmp_path: Path,
    bomb: str,
    cgroups: bool,
) -> None:
    """It is ended soon, its session says why, nothing is left of it, and others go on."""
    code, *words = BOMBS[bomb]
    script = tmp_path / "bomb.py"
    script.write_text(code)
    # The second session's driver does nothing.
    stub = make_stub(
        f"[ -e {tmp_path}/armed ] && rm {tmp_path}/armed && exec python3 -S {script}\nexec sleep 1000000\n"
    )
    settings = {**BOUNDS, "driver.watch_interval": "100ms", "driver.cgroups": cgroups}
    server = serve({**stub.settings, **settings})
    if bomb == "forks" and "pids" not in server.log():
        pytest.skip("nothing bounds what forks faster than it can be counted: there are no cgroups")
    (tmp_path / "armed").touch()
    session = server.api.create()
    wait_until("its driver runs", lambda: not (tmp_path / "armed").exists())
    other = server.api.create()
    sentence = ended(session)
    for word in words:
        assert word in sentence
    wait_until("only the other one is left", lambda: len(server.running_drivers()) == 1)
    assert other.state() == "starting"
    assert server.api.get("/ping").status_code == 200
    (keeper,) = [process for process in server.driver_processes() if process.argv[1:2] == ["keeper"]]
    assert processes.look(keeper.pid)


def test_a_batch_that_takes_too_much(
    serve: Callable[..., object], make_stub: Callable[..., Stub], tmp_path: Path
) -> None:
    """It is dead, and its log says why."""
    script = tmp_path / "bomb.py"
    script.write_text(MEMORY)
    stub = make_stub(f"exec python3 -S {script}\n")
    server = serve({**stub.settings, **BOUNDS, "driver.watch_interval": "100ms"})
    batch = server.api.post("/batches", {"file": "hdfs:///job.py"}).json()
    path = f"/batches/{batch['id']}"
    wait_until("it is dead", lambda: server.api.get(path).json()["state"] == "dead")
    log = server.api.get(f"{path}/log", params={"size": -1}).json()["log"]
    assert any("driver.memory_max of 256.0 MiB" in line for line in log), log


def test_a_driver_that_keeps_to_its_limits(
    serve: Callable[..., object], make_stub: Callable[..., Stub]
) -> None:
    """Limits cost it nothing, and its group goes with it."""
    server = serve({**make_stub().settings, **BOUNDS, "driver.cpu_percent": 50})
    session = server.api.create()
    wait_until("it runs", lambda: len(server.driver_processes()) == 2)
    (driver,) = server.running_drivers()
    groups = list(Path("/sys/fs/cgroup").rglob(f"firesteel-driver-{driver}"))
    if "cgroups for drivers: none" not in server.log():
        assert groups
        (sleep,) = [one for one in server.driver_processes() if one.argv[0] == "sleep"]
        for group in groups:
            assert (group / "cgroup.procs").read_text().split() == [str(sleep.pid)]
    session.delete()
    wait_until("nothing is left", lambda: not server.driver_processes())
    wait_until("no group is left", lambda: not any(group.exists() for group in groups))
