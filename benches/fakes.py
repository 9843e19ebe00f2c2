"""Servers with many sessions of fake drivers: what is measured is the server, not Spark."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any, Iterator, NamedTuple

from harness.disk import Disk
from harness.fake import Fake
from harness.processes import PROC, wait_until
from harness.server import Server

AT_ONCE = 50
"""Sessions that start at the same time."""

TICKS = 100.0
"""Of /proc's CPU times, a second."""


class Faked(NamedTuple):
    """A server, the ids of its idle sessions, and where its files are."""

    server: Server
    sessions: list[int]
    home: Path
    env: dict[str, str]
    """What makes another process's disk as slow, for files below `home`."""


@contextlib.contextmanager
def faked(
    sessions: int, slow_sync: float = 0.0, settings: dict[str, Any] | None = None, **more: Any
) -> Iterator[Faked]:
    """A server with so many, which ends with the block; on a disk whose syncs take so many seconds longer."""
    with tempfile.TemporaryDirectory(prefix="firesteel-bench-") as name:
        home = Path(name)
        disk = slow_disk(home, slow_sync) if slow_sync else None
        own = {"limits.sessions": max(sessions * 2, 100), "session.idle_timeout": "0s"}
        own |= {**Fake(home).settings, **(settings or {})}
        env = disk.env if disk else {}
        server = Server(own, state_dir=home / "state", env=env, **more)
        try:
            ids: list[int] = []
            while len(ids) < sessions:
                ids += [server.api.create().id for _ in range(min(AT_ONCE, sessions - len(ids)))]
                wait_idle(server, len(ids))
            yield Faked(server, ids, home, env)
        finally:
            server.stop()


def wait_idle(server: Server, sessions: int) -> None:
    """Until so many of its sessions are."""
    wait_until(f"{sessions} sessions are idle", lambda: idle(server) == sessions, 300, 0.1)


def slow_disk(home: Path, seconds: float) -> Disk:
    """Files below here are on a disk of which each sync takes so much longer."""
    disk = Disk(home, home)
    disk.slow(seconds)
    return disk


def idle(server: Server) -> int:
    """How many of its sessions are."""
    return sum(session["state"] == "idle" for session in server.api.sessions())


def cpu_seconds(pid: int) -> float:
    """What a process has used, in user and kernel mode."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_precise(pid: int) -> float:
    """The same by the scheduler's own clock, of the threads that live."""
    tasks = (PROC / str(pid) / "task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def threads(pid: int) -> int:
    """How many a process has."""
    return len(list((PROC / str(pid) / "task").iterdir()))
