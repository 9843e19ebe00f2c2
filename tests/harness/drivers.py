"""The processes of one fake session, by its driver's id: cheap to find, so that hundreds can be."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Iterable

from harness import processes
from harness.api import Api, Session
from harness.server import Server


def driver_of(session: Session) -> str:
    """The driver of a fake session that is ready: it tells its id in place of Spark's."""
    return session.get()["appId"].removeprefix("fake-")


def run_dir(server: Server, driver: str) -> Path:
    """The driver's directory."""
    return server.state_dir / "run" / driver


def keeper_of(server: Server, driver: str) -> int:
    """The keeper's pid."""
    return json.loads((run_dir(server, driver) / "keeper.json").read_text())["pid"]


def agent_of(server: Server, driver: str) -> int:
    """The pid of a fake driver, which is its keeper's only child."""
    (child,) = processes.children(keeper_of(server, driver))
    return child


def carrying(drivers: Iterable[str]) -> list[processes.Process]:
    """The processes that carry one of these drivers' ids, keepers too."""
    wanted = set(drivers)
    found = []
    for process in processes.processes():
        named = {process.environ.get("FIRESTEEL_DRIVER_ID"), Path(process.argv[-1]).name}
        if wanted & named:
            found.append(process)
    return found


def pids_of(driver: str) -> list[int]:
    """The processes of a driver, its keeper left out."""
    found = processes.processes()
    return [one.pid for one in found if one.environ.get("FIRESTEEL_DRIVER_ID") == driver]


def uids_of(pids: Iterable[int]) -> set[int]:
    """As which Unix users they run; one that has ended runs as nobody."""
    found = set()
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):
            found.add(Path(f"/proc/{pid}").stat().st_uid)
    return found


def start(api: Api, count: int, **body: object) -> list[Session]:
    """Sessions that are idle, started side by side."""
    started = [api.create(**body) for _ in range(count)]
    for session in started:
        session.wait("idle")
    return started


def again(server: Server, session: Session) -> Session:
    """The session, by the server as it is now."""
    return Session(server.api, session.created)


def percentile(times: list[float], share: float) -> float:
    """The value that so large a share of these is at most."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def timed(what, *words: object) -> float:
    """Seconds that a call takes."""
    began = time.monotonic()
    what(*words)
    return time.monotonic() - began
