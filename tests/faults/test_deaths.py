"""Who dies when: a process of a driver is killed; the session says so in a sentence, and leaves nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Iterator

import pytest
from harness.api import Session
from harness.processes import Process, wait_until
from harness.server import Server
from harness.spark import Spark

VICTIMS = {"keeper": "keeper", "JVM": "SparkSubmit", "agent": "/main.py"}


@pytest.fixture(scope="module")
def server(default_spark: Spark) -> Iterator[Server]:
    """One server for all the deaths."""
    server = Server({**default_spark.settings, "spark.master": "local[1]"})
    yield server
    server.stop()


def is_victim(process: Process, victim: str) -> bool:
    """Whether this is the keeper, the JVM or the agent of its driver."""
    words = " ".join(process.argv)
    if victim == "agent":
        return process.argv[1].endswith("/main.py") and "/child/" not in process.argv[1]
    return VICTIMS[victim] in words and ("java" in process.argv[0]) == (victim == "JVM")


@pytest.fixture(scope="module")
def sessions(server: Server) -> dict[str, tuple[Session, str]]:
    """A session for each victim, all started at once, with its driver's id and the directories that it writes
    to, a line each."""
    started = {victim: server.api.create(conf={"spark.ui.enabled": "false"}) for victim in VICTIMS}
    for session in started.values():
        session.wait("idle")
    code = (
        "print(__import__('os').environ['FIRESTEEL_DRIVER_ID'])\n"
        "manager = sc._jvm.org.apache.spark.SparkEnv.get().blockManager().diskBlockManager()\n"
        "print(*manager.localDirsString(), sc._jvm.java.lang.System.getProperty('java.io.tmpdir'), sep='\\n')"
    )
    return {victim: (session, session.text(code)) for victim, session in started.items()}


@pytest.mark.parametrize("victim", VICTIMS)
def test_killed(server: Server, sessions: dict[str, tuple[Session, str]], victim: str) -> None:
    """`dead`, the running statement ends, the log's first and last line say why, and no process is left."""
    session, facts = sessions[victim]
    driver, *directories = facts.split()
    assert len(directories) >= 2
    assert all(Path(path).is_dir() for path in directories), directories
    running, waiting = session.post("import time; time.sleep(600)"), session.post("1")
    session.wait_statement(running["id"], "running")
    # The keeper's environment is empty; its argument is the driver's run directory.
    found = [
        *server.driver_processes(driver),
        *(p for p in server.driver_processes() if p.argv[1:2] == ["keeper"]),
    ]
    found = [process for process in found if driver in str(process) + str(process.environ)]
    killed = [process for process in found if is_victim(process, victim)]
    assert len(killed) == 1, found
    os.kill(killed[0].pid, signal.SIGKILL)
    assert session.wait("dead", limit=30) == "dead"
    ended = session.wait_statement(running["id"], limit=30)
    assert ended["state"] == "cancelled" or ended["output"]["status"] == "error", ended
    assert session.wait_statement(waiting["id"], limit=30)["state"] in ("cancelled", "available")
    log = session.log()
    assert log[0] == log[-1]
    assert len(log[0]) > 20
    wait_until("no process is left", lambda: not server.driver_processes(driver), 20)
    answer = session.api.post(f"{session.path}/statements", {"code": "1"})
    assert answer.status_code == 500
    assert "Session is in state dead" in answer.text
    session.delete()
    wait_until("no directory is left", lambda: not any(Path(path).exists() for path in directories), 20)
