"""Warm drivers of users (`run_as.mode = "owner"`, docs/pool.md) without Spark: whose they are, who takes
them, who loses them. With a real one: tests/sessions/test_pool_users.py."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import signal
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from harness.api import Api, Session
from harness.drivers import driver_of, pids_of, uids_of
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import Server
from harness.unix import PASSWORD, is_root, open_directory, run_as_server, users

pytestmark = pytest.mark.skipif(not is_root(), reason="only root runs processes as others")

WARM = {
    "pool.size": 1,
    "pool.refill_delay": "0s",
    "pool.memory_available": "0B",
    "statement.answer_within": "10s",
    "access.superusers": ["root"],
    "access.impersonation": True,
}
MAPPED = "ada@EXAMPLE.COM"
"""Another name of the first user's."""


@pytest.fixture(scope="module")
def three() -> Iterator[list[pwd.struct_passwd]]:
    """Three users of this host."""
    with users(3) as made:
        yield made


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A driver without Spark, whose ledger every user can write."""
    with open_directory() as directory:
        fake = Fake(directory / "fake")
        fake.ledger.chmod(0o666)
        yield fake


@pytest.fixture
def pair() -> Iterator[list[pwd.struct_passwd]]:
    """Two more, to be changed."""
    with users(2, skip=3) as made:
        yield made


@pytest.fixture
def start(tmp_path: Path, fake: Fake) -> Iterator[Callable[..., Server]]:
    """A server for these users, and for another name of the first."""
    with contextlib.ExitStack() as ending:

        def begin(own: list[pwd.struct_passwd], **settings: Any) -> Server:
            mapped = {MAPPED: own[0].pw_name}
            names = [*(user.pw_name for user in own), MAPPED, "root"]
            given = {**fake.settings, **WARM, "run_as.users": mapped, **settings}
            server = run_as_server(given, names, tmp_path)
            server.start()
            ending.callback(server.stop)
            return server

        yield begin


def of(server: Server, user: pwd.struct_passwd) -> Api:
    """The server as this user sees it."""
    return server.user(user.pw_name, PASSWORD)


def stock(server: Server) -> dict[str, dict[str, Any]]:
    """What `GET /pool` says, by user."""
    answer = server.user("root", PASSWORD).get("/pool")
    assert answer.status_code == 200, answer.text
    told = answer.json()["pool"]
    assert len({one["user"] for one in told}) == len(told)
    return {one["user"]: one for one in told}


def has(server: Server, user: str, **numbers: int) -> None:
    """Wait until these are the user's numbers."""

    def are() -> bool:
        told = stock(server).get(user)
        return told is not None and all(told[name] == number for name, number in numbers.items())

    wait_until(f"{user} has {numbers}", are)


def is_cold(session: Session) -> bool:
    """Whether it has to wait for a driver of its own, which it gets."""
    was_starting = session.created["state"] == "starting"
    session.wait("idle")
    return was_starting


def warmed(fake: Fake) -> list[str]:
    """The drivers that were started warm."""
    return [line.driver for line in fake.lines() if line.what == "warm"]


def test_each_has_their_own(start: Callable[..., Server], three: list[pwd.struct_passwd], fake: Fake) -> None:
    """The first session of a user's starts cold and is followed by a warm driver, which the second takes; no
    other user's session does, nor one under another name of the same Unix user's."""
    first, second, _ = three
    server = start(three)
    assert stock(server) == {}
    ada, bob, root = of(server, first), of(server, second), server.user("root", PASSWORD)
    assert is_cold(ada.create())
    has(server, first.pw_name, ready=1, claimed=0, missed=1, size=1)
    (warm,) = warmed(fake)
    assert uids_of(pids_of(warm)) == {first.pw_uid}
    assert is_cold(bob.create())
    assert is_cold(server.user(MAPPED, PASSWORD).create())
    assert is_cold(root.create(proxyUser=second.pw_name, conf={"spark.x": "1"}))
    for name in (first.pw_name, second.pw_name, MAPPED):
        has(server, name, ready=1, claimed=0)
    taken = ada.create()
    assert taken.created["state"] == "idle"
    assert driver_of(taken) == warm
    assert taken.text("ledger n") == "n"
    # Whoever acts as the user has the user's.
    acted = root.create(proxyUser=second.pw_name)
    assert acted.created["state"] == "idle"
    assert uids_of(pids_of(driver_of(acted))) == {second.pw_uid}
    has(server, first.pw_name, ready=1, claimed=1, started=2)
    has(server, second.pw_name, ready=1, claimed=1, started=2)
    has(server, MAPPED, ready=1, claimed=0)
    assert set(stock(server)) == {first.pw_name, second.pw_name, MAPPED}
    # The others see nothing of it.
    assert ada.get("/pool").status_code == 403


def test_so_many_users(start: Callable[..., Server], three: list[pwd.struct_passwd]) -> None:
    """Over `pool.owners`, who had a session longest ago loses theirs; a refused user takes nobody's."""
    server = start(three, **{"pool.owners": 2, "profile.team.conf": {"spark.x": "1"}, "profile.team.pool": 1})

    def names() -> list[str]:
        told = server.user("root", PASSWORD).get("/pool").json()["pool"]
        return [one["user"] for one in told if one["profile"] is None and one["ready"]]

    def are(*wanted: pwd.struct_passwd) -> None:
        own = [user.pw_name for user in wanted]
        wait_until(f"{own} have warm drivers", lambda: names() == own)

    def kept(count: int) -> None:
        wait_until(f"{count} drivers are kept", lambda: len(server.running_drivers()) == count)

    for user in three:
        session = of(server, user).create()
        session.wait("idle")
        session.delete()
        are(*reversed(three[max(0, three.index(user) - 1) : three.index(user) + 1]))
    kept(4)
    # One who has a new session is the last to lose them.
    of(server, three[1]).create().delete()
    are(three[1], three[2])
    of(server, three[0]).create().delete()
    are(three[0], three[1])
    assert server.user("root", PASSWORD).post("/sessions", {"kind": "pyspark"}).status_code == 403
    are(three[0], three[1])
    kept(4)


def test_who_has_had_no_session_for_long(
    start: Callable[..., Server], three: list[pwd.struct_passwd]
) -> None:
    """`pool.owner_idle`."""
    server = start(three, **{"pool.owner_idle": "2s"})
    session = of(server, three[0]).create()
    has(server, three[0].pw_name, ready=1)
    wait_until("nobody has any", lambda: stock(server) == {})
    driver = driver_of(session)
    wait_until("only the session's lives", lambda: server.running_drivers() == {driver})


def test_users_who_change(pair: list[pwd.struct_passwd], start: Callable[..., Server], fake: Fake) -> None:
    """A driver that was started before its user got another group is nobody's any more. Whom the host does
    not know any more gets no session and no driver."""
    member, gone = pair
    server = start(pair)
    for user in pair:
        session = of(server, user).create()
        session.wait("idle")
        session.delete()
        has(server, user.pw_name, ready=1)
    before, of_gone = warmed(fake)
    changed = subprocess.run(["usermod", "-aG", "games", member.pw_name], capture_output=True, check=False)
    assert changed.returncode == 0, changed.stderr
    session = of(server, member).create()
    session.wait("idle")
    assert driver_of(session) != before
    games = str(grp.getgrnam("games").gr_gid)
    (pid,) = pids_of(driver_of(session))
    groups = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "Groups:" in line)
    assert games in groups.split()
    has(server, member.pw_name, ready=1, claimed=0, failed=1)
    assert of(server, member).create().created["state"] == "idle"
    # Its driver lives, which only -f overlooks.
    deleted = subprocess.run(["userdel", "-f", gone.pw_name], capture_output=True, check=False)
    assert deleted.returncode == 0, deleted.stderr
    assert of(server, gone).post("/sessions", {"kind": "pyspark"}).status_code == 403
    for pid in pids_of(of_gone):
        os.kill(pid, signal.SIGKILL)
    wait_until("the user has none", lambda: gone.pw_name not in stock(server))
    wait_until("its driver has gone", lambda: of_gone not in server.running_drivers())
    has(server, member.pw_name, ready=1)


def test_a_restart(start: Callable[..., Server], three: list[pwd.struct_passwd]) -> None:
    """Those of a killed server are ended by the next one, which has nobody's until there is a session."""
    server = start(three, **{"shutdown.sessions": "keep"})
    session = of(server, three[0]).create()
    has(server, three[0].pw_name, ready=1)
    session.wait("idle")
    driver = driver_of(session)
    server.kill9()
    server.start()
    wait_until("only the session's lives", lambda: server.running_drivers() == {driver})
    assert stock(server) == {}
    session.api = of(server, three[0])
    session.wait("idle")
    session.delete()
    again = of(server, three[0]).create()
    assert is_cold(again)
    has(server, three[0].pw_name, ready=1)
    again.delete()
    wait_until("only the warm one lives", lambda: len(server.running_drivers()) == 1)
