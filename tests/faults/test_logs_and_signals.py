"""Logs that nobody reads or that are removed, storms of signals (faults.md R31), and a cleaner that takes the
directories and sockets of live sessions (R32)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Iterator

import pytest
from harness.api import Api, Session
from harness.chance import seeded
from harness.drivers import (
    again,
    agent_of,
    carrying,
    driver_of,
    keeper_of,
    percentile,
    run_dir,
    start,
    timed,
)
from harness.fake import Fake
from harness.processes import look, wait_until
from harness.server import Server

FLOOD = 64 << 20
SIGNALS = 6000
STALL = 1.0
LOG_MAX = 1 << 20
CLEANED = 20
"""Sessions that a cleaner meets."""


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Fake:
    """A Spark that is none."""
    return Fake(tmp_path_factory.mktemp("fake") / "spark")


@pytest.fixture(scope="module")
def server(fake: Fake) -> Iterator[Server]:
    """One server for all of it."""
    settings = {"log.max_bytes": "1MiB", "session.recover_timeout": "10s"}
    server = Server({**fake.settings, **settings})
    yield server
    server.stop()


@contextlib.contextmanager
def watched(server: Server) -> Iterator[list[float]]:
    """How long another client's reads and statements take meanwhile, in seconds."""
    (other,) = start(server.api, 1)
    other.ok("ledger warm")
    api = Api(server.url)
    session = Session(api, other.created)
    times: list[float] = []
    done = threading.Event()

    def look_on() -> None:
        while not done.is_set():
            times.append(timed(session.state))
            times.append(timed(session.ok, "ledger watched"))

    watcher = threading.Thread(target=look_on)
    watcher.start()
    try:
        yield times
    finally:
        done.set()
        watcher.join(30)
        other.delete()
    assert not watcher.is_alive()


def ran(fake: Fake, nonce: str) -> bool:
    """Whether the ledger has it."""
    return nonce in [line.nonce for line in fake.lines()]


def test_a_flood_that_nobody_reads(server: Server, fake: Fake) -> None:
    """The keeper takes what the driver prints while the server stands still, or is dead."""
    (session,) = start(server.api, 1)
    directory = run_dir(server, driver_of(session))
    first = session.post(f"flood {FLOOD} frozen")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        wait_until("the driver is not held up", lambda: ran(fake, "frozen"), 60)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert session.wait_statement(first["id"])["output"]["data"] == {"text/plain": "frozen"}
    second = session.post(f"flood {FLOOD} dead")
    session.wait_statement(second["id"], "running", "available")
    server.kill9()
    wait_until("the driver is not held up", lambda: ran(fake, "dead"), 60)
    server.start()
    session = again(server, session)
    assert session.wait_statement(second["id"])["output"]["data"] == {"text/plain": "dead"}
    kept = sum(path.stat().st_size for path in directory.glob("std*.0*"))
    assert 0 < kept <= 2 * LOG_MAX
    assert any("log.max_bytes" in line for line in session.log())
    session.delete()


def test_log_files_that_are_removed(server: Server, fake: Fake) -> None:
    """The files go again and again while the driver prints: it goes on, and the log is answered."""
    (session,) = start(server.api, 1)
    directory = run_dir(server, driver_of(session))
    removed = 0
    with watched(server) as times:
        statement = session.post(f"flood {FLOOD} removed")
        while not ran(fake, "removed"):
            for path in directory.glob("std*.0*"):
                path.unlink(missing_ok=True)
                removed += 1
            session.log()
        assert session.wait_statement(statement["id"])["output"]["data"] == {"text/plain": "removed"}
    assert session.text("flood 640000 afterwards") == "afterwards"
    assert look(keeper_of(server, driver_of(session))) is not None
    session.log()
    assert removed >= 4
    assert max(times) < STALL, sorted(times)[-5:]
    print(f"{removed} log files removed under a flood; slowest of {len(times)} calls {max(times):.3f} s")
    session.delete()


def test_signal_storms(server: Server) -> None:
    """Thousands of SIGHUP, SIGPIPE and SIGCHLD: server and keeper serve on, and nobody waits for them."""
    chance = seeded()
    (session,) = start(server.api, 1)
    driver = driver_of(session)
    targets = (server.pid, keeper_of(server, driver))
    agent = agent_of(server, driver)
    statement = session.post("sleep 1 stormed")
    sent = 0
    with watched(server) as times:
        while sent < SIGNALS:
            for pid in targets:
                os.kill(pid, chance.choice([signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD]))
                sent += 1
            if sent % 200 == 0:
                session.state()
        assert session.wait_statement(statement["id"])["output"]["data"] == {"text/plain": "stormed"}
    assert sent >= SIGNALS
    assert len(times) >= 20
    assert session.text("ledger after") == "after"
    assert agent_of(server, driver) == agent
    assert max(times) < STALL, sorted(times)[-5:]
    print(
        f"{sent} signals; of {len(times)} calls p99 {percentile(times, 0.99):.3f} s, most {max(times):.3f} s"
    )
    session.delete()
    wait_until("the keeper still ends it all", lambda: not carrying([driver]), 10)


def remove(path: Path) -> None:
    """As a cleaner of temporary files does."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def test_cleaners(server: Server) -> None:
    """Socket, its directory and run directories vanish under sessions: all go on, or end with a sentence."""
    chance = seeded()
    sessions = start(server.api, CLEANED)
    drivers = [driver_of(session) for session in sessions]
    link = server.state_dir / "link"
    socket = link / "link.sock"

    # The connected ones do not notice, and a new one finds the socket made again.
    for what in (socket, link):
        remove(what)
        for session in sessions:
            assert session.text(f"ledger without-{what.name}") == f"without-{what.name}"
        wait_until(f"{what.name} is there again", socket.exists, 5)
    (fresh,) = start(server.api, 1)
    assert fresh.text("ledger fresh") == "fresh"
    fresh.delete()

    # A break while there is none: they call again once it is.
    running = [session.post(f"sleep 0.5 {session.id}-through") for session in sessions]
    server.kill9()
    remove(link)
    server.start()
    sessions = [again(server, session) for session in sessions]
    for session, statement in zip(sessions, running):
        done = session.wait_statement(statement["id"])
        assert done["output"]["data"] == {"text/plain": f"{session.id}-through"}

    # Their own directories: half of them are ended by this server, half are taken back by the next.
    taken = sessions[: CLEANED // 2], sessions[CLEANED // 2 :]
    for session, driver in zip(sessions, drivers):
        remove(run_dir(server, driver))
        if session in taken[1]:
            assert session.text("flood 64000 on") == "on"
            assert session.log()
    ended = 0
    for session in taken[1]:
        if chance.random() < 0.5:
            session.delete()
            ended += 1
        else:
            session.post("die")
            assert session.wait("dead", limit=10) == "dead"
            assert len(session.log()[0]) > 20
            ended += 1
    wait_until("their processes are gone", lambda: not carrying(drivers[CLEANED // 2 :]), 10)
    server.restart()
    for session in taken[0]:
        session = again(server, session)
        session.wait("idle", limit=20)
        assert driver_of(session) in drivers, "the same driver as before"
        assert session.text("ledger on") == "on"
        session.delete()
        ended += 1
    assert ended == CLEANED
    began = time.monotonic()
    wait_until("nothing is left", lambda: not carrying(drivers), 20)
    print(f"{CLEANED} sessions cleaned under; the last processes gone {time.monotonic() - began:.1f} s later")
