"""A wall clock that jumps (R23): it dates things, and nothing waits by it. The server's own clock is moved
by the file that FIRESTEEL_TEST_CLOCK names."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Iterator

import pytest
from harness.api import Session
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import failpoints_binary
from harness.service import Unit

DAY = 24 * 3600 * 1000
JUMPS = [DAY, -DAY, 30 * DAY, -30 * DAY]
IDLE = 1.5


class Clock:
    """The server's wall clock."""

    def __init__(self, path: Path):
        self.path = path
        self.jump(0)

    def jump(self, milliseconds: int) -> None:
        """Set it so far from the real time, in one step."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(str(milliseconds))
        fresh.replace(self.path)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """At the real time first."""
    return Clock(tmp_path / "clock")


@pytest.fixture
def unit(clock: Clock, tmp_path: Path) -> Iterator[Unit]:
    """A server by that clock."""
    settings = {**Fake(tmp_path / "fake").settings, "session.watch_interval": "50ms"}
    env = {"FIRESTEEL_TEST_CLOCK": str(clock.path)}
    unit = Unit(settings, env=env, program=failpoints_binary())
    yield unit.start()
    unit.clean()


def durations(session: Session) -> list[int]:
    """How long each statement took, by what the wire says."""
    statements = session.api.get(f"{session.path}/statements").json()["statements"]
    return [one["completed"] - one["started"] for one in statements if one["completed"]]


def test_jumps_end_nothing(unit: Unit, clock: Clock) -> None:
    """A session with a time to live of an hour lives on through each jump and a restart in the middle of it,
    works and is shown; one that is idle for its time ends in that time, however far the clock is off."""
    lasting = unit.api.create(ttl="1h", idleTimeout="1h", heartbeatTimeoutInSecond=3600)
    lasting.wait("idle")
    for jump in JUMPS:
        short = unit.api.create(idleTimeout=f"{IDLE * 1000:.0f}ms")
        short.wait("idle")
        began = time.monotonic()
        clock.jump(jump)
        assert lasting.text(f"ledger {jump}") == str(jump)
        wait_until("the idle one has ended", lambda one=short: one.state() == "dead", 10, 0.02)
        took = time.monotonic() - began
        assert IDLE - 0.5 < took < IDLE + 2, f"jump of {jump / DAY:.0f} d: {took:.1f} s"
        assert "idle" in short.log()[0]
        assert lasting.state() == "idle"
        unit.end(signal.SIGKILL)
        unit.start()
        lasting = Session(unit.api, lasting.created)
        lasting.wait("idle", limit=10)
        # And back, which is a jump as well.
        clock.jump(0)
        assert lasting.text(f"ledger back-from-{jump}") == f"back-from-{jump}"
        assert lasting.state() == "idle"
    assert len(durations(lasting)) == 2 * len(JUMPS)
    assert min(durations(lasting)) >= 0
    unit.settings["shutdown.sessions"] = "end"
    assert unit.end() == 0


def test_no_negative_duration(unit: Unit, clock: Clock) -> None:
    """A statement that began before the clock was set back by a month, and whose end the server dates."""
    session = unit.api.create()
    session.wait("idle")
    running = session.post("sleep 600 never")
    session.wait_statement(running["id"], "running")
    clock.jump(-30 * DAY)
    (driver,) = (one for one in unit.driver_processes() if "fake_driver.py" in " ".join(one.argv))
    os.kill(driver.pid, signal.SIGKILL)
    wait_until("it is dead", lambda: session.state() == "dead", 20)
    ended = session.wait_statement(running["id"])
    assert ended["output"]["status"] == "error"
    assert ended["completed"] > 0
    assert durations(session) == [0]
    session.delete()
    assert unit.end() == 0
