"""Warm drivers (docs/pool.md) without Spark: which session gets one, when another is made, how they end."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any, Callable

import pytest
from harness import processes
from harness.api import Session
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import Server, command, free_port

WARM = {
    "pool.size": 1,
    "pool.refill_delay": "0s",
    "pool.memory_available": "0B",
    "statement.answer_within": "10s",
}


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """A driver without Spark."""
    return Fake(tmp_path / "fake")


@pytest.fixture
def start(serve: Callable[..., Server], fake: Fake) -> Callable[..., Server]:
    """A server with it."""
    return lambda **settings: serve({**fake.settings, **WARM, **settings}, port=free_port())


def stock(server: Server, profile: str | None = None) -> dict[str, Any]:
    """What `GET /pool` says of a profile."""
    told = server.api.get("/pool").json()["pool"]
    return next(one for one in told if one["profile"] == profile)


def has(server: Server, profile: str | None = None, **numbers: int) -> None:
    """Wait until these are the numbers."""

    def are() -> bool:
        told = stock(server, profile)
        return all(told[name] == number for name, number in numbers.items())

    wait_until(f"{numbers}", are)


def warm_driver(server: Server, fake: Fake) -> int:
    """The pid of the latest that waits."""
    has(server, ready=1)
    driver = [line.driver for line in fake.lines() if line.what == "warm"][-1]
    found = processes.processes()
    return next(one.pid for one in found if one.environ.get("FIRESTEEL_DRIVER_ID") == driver)


def test_one_after_another(start: Callable[..., Server], fake: Fake) -> None:
    """Each session gets one that nobody has had, and the pool is filled again."""
    server = start()
    for number in range(5):
        has(server, ready=1, claimed=number)
        session = server.api.create(conf={"spark.sql.fake.token": f"t{number}"})
        assert session.created["state"] == "idle"
        assert session.text(f"ledger n{number}") == f"n{number}"
    claimed = [line.driver for line in fake.lines() if line.what == "claimed"]
    assert len(set(claimed)) == 5
    assert [line.driver for line in fake.lines() if line.what == "ran"] == claimed
    assert not [line for line in fake.lines() if line.what == "up"]
    has(server, ready=1, started=6, missed=0, failed=0, retired=0)


@pytest.mark.parametrize(
    "body",
    [
        {"conf": {"spark.driver.memory": "3g"}},
        {"driverMemory": "2g"},
        {"conf": {"spark.driver.extraJavaOptions": "-Dx=1"}},
        {"conf": {"firesteel.profile": "team"}},
        {"conf": {"spark.sql.fake.static": "1"}},
    ],
)
def test_not_for_all(start: Callable[..., Server], fake: Fake, body: dict[str, Any]) -> None:
    """A session that needs another start gets it, and no warm driver is lost."""
    server = start(**{"profile.team.conf": {"spark.x": "1"}})
    has(server, ready=1)
    session = server.api.create(**body)
    session.wait("idle")
    has(server, ready=1, started=1, claimed=0, failed=0)
    assert server.api.create().created["state"] == "idle"


def test_profiles(start: Callable[..., Server], fake: Fake) -> None:
    """A profile has its own; one without a pool has none."""
    profiles = {"profile.team.conf": {"spark.x": "1"}, "profile.team.pool": 2, "profile.rest.conf": {}}
    server = start(**profiles)
    has(server, "team", size=2, ready=2)
    has(server, None, size=1, ready=1)
    session = server.api.create(conf={"firesteel.profile": "team", "spark.sql.x": "1"})
    assert session.created["state"] == "idle"
    has(server, "team", claimed=1)
    has(server, None, claimed=0)
    # A profile that changes nothing.
    assert server.api.create(conf={"firesteel.profile": "rest"}).created["state"] == "idle"
    has(server, None, claimed=1)


def test_dead_ones_are_replaced(start: Callable[..., Server], fake: Fake) -> None:
    """One that dies while it waits, or as it is taken, costs no session."""
    server = start()
    os.kill(warm_driver(server, fake), signal.SIGKILL)
    has(server, failed=1, ready=1, started=2)
    pid = warm_driver(server, fake)
    os.kill(pid, signal.SIGSTOP)
    # It does not answer, and ends before the server gives up.
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(server.api.create()))
    asking.start()
    wait_until("it is asked for", lambda: stock(server)["ready"] == 0)
    os.kill(pid, signal.SIGKILL)
    asking.join(60)
    answers[0].wait("idle")
    has(server, failed=2, ready=1)
    assert answers[0].text("ledger after") == "after"


def test_old_ones_are_replaced(start: Callable[..., Server], fake: Fake) -> None:
    """`pool.max_age`."""
    server = start(**{"pool.max_age": "1s"})
    wait_until("three were too old", lambda: stock(server)["retired"] >= 3)
    session = server.api.create()
    session.wait("idle")
    assert session.text("ledger n") == "n"


def test_one_that_does_not_start(start: Callable[..., Server], fake: Fake) -> None:
    """It is said, and tried again later, ever more slowly; sessions start as they do without."""
    server = start(**{"profile.bad.conf": {"spark.fake.fail": "no such thing"}, "profile.bad.pool": 1})
    has(server, "bad", ready=0, starting=0, failed=1)
    assert "a warm driver did not start" in server.log() and "no such thing" in server.log()
    has(server, None, ready=1)
    assert server.api.create().created["state"] == "idle"


def test_gpus_are_held_and_yielded(start: Callable[..., Server], fake: Fake) -> None:
    """A profile with GPUs has its warm drivers hold some; one that waits in the line gets them first."""
    devices = ["GPU-1 80GiB NVIDIA H100"]
    profile = {"profile.gpu.conf": {"firesteel.gpus": "1"}, "profile.gpu.pool": 1, "pool.size": 0}
    server = start(**{"gpu.devices": devices, **profile})

    def holders() -> list[str]:
        (gpu,) = server.api.get("/gpus").json()["gpus"]
        return [held["by"] for held in gpu["held"]]

    has(server, "gpu", ready=1)
    assert holders() == ["a warm driver"]
    session = server.api.create(conf={"firesteel.profile": "gpu"})
    assert session.created["state"] == "idle"
    assert session.get()["appInfo"]["gpus"] == "GPU-1 (NVIDIA H100, 80.0 GiB)"
    assert holders() == [f"session {session.id}"]
    session.delete()
    has(server, "gpu", ready=1)
    # The profile's conf, and more that is read at the start: not for the warm one.
    other = server.api.create(conf={"firesteel.gpus": "1", "spark.x": "1"})
    other.wait("idle")
    has(server, "gpu", retired=1, ready=0)
    assert holders() == [f"session {other.id}"]
    other.delete()
    has(server, "gpu", ready=1)
    assert not [line for line in fake.lines() if line.what == "conflict"]


def test_none_is_left(start: Callable[..., Server], fake: Fake) -> None:
    """They end with the server, and those of a killed one with the next one's start; sessions live on."""
    server = start(**{"shutdown.sessions": "keep", "pool.size": 2})
    has(server, ready=2)
    session = server.api.create()
    assert session.created["state"] == "idle"
    has(server, ready=2)
    server.restart(FIRESTEEL_POOL__SIZE="0")
    wait_until("one driver lives", lambda: len(server.running_drivers()) == 1)
    server.restart()
    has(server, ready=2)
    server.kill9()
    server.start(FIRESTEEL_POOL__SIZE="0")
    wait_until("one driver lives", lambda: len(server.running_drivers()) == 1)
    session = Session(server.api, session.created)
    session.wait("idle")
    session.delete()
    wait_until("no driver lives", lambda: not server.running_drivers())


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("pool.imports=no-module", 'pool.imports: "no-module" is no module'),
        ("spark.deploy_mode=cluster", "pool.size: warm drivers run on this host"),
    ],
)
def test_bad_configuration(setting: str, words: str) -> None:
    """It is refused by key."""
    told = command("check", "--set", "spark.master=yarn", "--set", "pool.size=1", "--set", setting)
    assert words in told.stdout + told.stderr
