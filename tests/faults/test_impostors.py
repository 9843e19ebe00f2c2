"""Who calls on the link and is no agent is not let in (faults.md R7); who falls silent costs nothing for long
(R8)."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from typing import Iterator

import pytest
from harness import callers
from harness.chance import seeded
from harness.drivers import agent_of, carrying, driver_of, start
from harness.fake import Fake
from harness.processes import look, open_files, wait_until
from harness.server import Server
from harness.stub import SLEEPS

OUTSIDE = 250
INSIDE = 240
DOUBLES = 10
SILENT = 190
STOPPED = 10
HELLO_SECONDS = 2.0
START_SECONDS = 2.0


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Fake:
    """A Spark that is none."""
    return Fake(tmp_path_factory.mktemp("fake") / "spark")


@pytest.fixture(scope="module")
def server(fake: Fake) -> Iterator[Server]:
    """One server for all of it."""
    server = Server({**fake.settings, "link.hello_timeout": f"{HELLO_SECONDS:.0f}s"})
    yield server
    server.stop()


def socket_of(server: Server) -> str:
    """Where agents call."""
    return str(server.state_dir / "link/link.sock")


def secret_of(server: Server, driver: str) -> str:
    """A driver's right secret."""
    return callers.secret_of((server.state_dir / "link.key").read_text(), driver)


def refused_calls(server: Server) -> int:
    """How many calls the server's log tells of that were not let in."""
    log = server.log()
    return log.count("a call on the link was refused") + log.count("did not complete its hello in time")


def test_impostors(server: Server) -> None:
    """500 calls from outside and inside of a driver: none is let in, each is logged, no session notices."""
    chance = seeded()
    victim, attacker = start(server.api, 2)
    drivers = driver_of(victim), driver_of(attacker)
    agents = [agent_of(server, driver) for driver in drivers]
    before = refused_calls(server)
    running = victim.post("sleep 2 through-it-all")

    # This process descends from no keeper: the right secret is of no use to it.
    kinds = (*callers.KINDS, "right secret", "right secret", "right secret")
    told = Counter()
    for at in range(OUTSIDE):
        kind = kinds[at % len(kinds)]
        told[
            callers.attempt(
                kind, socket_of(server), drivers[0], secret_of(server, drivers[0]), chance
            ).split()[0]
        ] += 1
    # User code descends from its own keeper, and may have found another's secret.
    code = f"attack {chance.randrange(1 << 32)} {INSIDE} {drivers[0]} {secret_of(server, drivers[0])}"
    told += Counter(json.loads(attacker.text(code)))
    print(f"{OUTSIDE} calls from outside, {INSIDE} from inside of a driver: {dict(told)}")
    assert told["welcome"] == 0
    assert told["refused"] + told["closed"] == sum(told.values()) == OUTSIDE + INSIDE
    assert told["refused"] >= 0.8 * sum(told.values()), "each is told why, where it spoke to the end"
    wait_until("each is in the log", lambda: refused_calls(server) - before >= OUTSIDE + INSIDE, 10)
    assert refused_calls(server) - before == OUTSIDE + INSIDE

    assert victim.wait_statement(running["id"])["output"]["data"] == {"text/plain": "through-it-all"}
    assert [agent_of(server, driver) for driver in drivers] == agents
    assert attacker.text("ledger after") == "after"

    # A driver may call twice: the newer connection replaces the older, and no statement is lost by it.
    for at in range(DOUBLES):
        told = json.loads(attacker.text(f"double {at}"))
        assert told == {"welcome": 2, "first ended": True}
        assert attacker.text(f"ledger {at}-after") == f"{at}-after"
    assert OUTSIDE + INSIDE + DOUBLES == 500
    for session in (victim, attacker):
        session.delete()


def test_a_driver_that_never_calls(serve, make_stub) -> None:
    """Its session is dead at `session.start_timeout`, and none of its processes is left."""
    settings = {"session.start_timeout": f"{START_SECONDS:.0f}s", "session.watch_interval": "100ms"}
    server = serve({**make_stub(SLEEPS).settings, **settings, "driver.stop_grace": "100ms"})
    began = time.monotonic()
    sessions = [server.api.create() for _ in range(10)]
    for session in sessions:
        assert session.wait_ended(limit=10) == "dead"
        assert abs(time.monotonic() - began - START_SECONDS) <= 1.5
        assert "session.start_timeout" in session.log()[0]
    wait_until("no process is left", lambda: not server.driver_processes(), 5)


def silent(server: Server, driver: str, at: int) -> callers.Caller:
    """A call that stops somewhere in its hello."""
    caller = callers.Caller(socket_of(server))
    nonce = os.urandom(32).hex()
    hello = callers.encode(
        {"type": "hello", "protocol": 1, "driver": driver, "nonce": nonce, "received": 0, "version": "0"}
    )
    caller.send(hello[: at % len(hello)])
    return caller


def settled(server: Server) -> int:
    """How many descriptors the server has open once that no longer changes."""
    last = [0]

    def same() -> int:
        last.append(open_files(server.pid))
        return last[-1] if len(set(last[-5:])) == 1 and len(last) > 5 else 0

    return wait_until("the server's descriptors settle", same, 20, 0.05)


def test_half_open(server: Server, fake: Fake) -> None:
    """200 peers that fall silent with their connection open: descriptors are as before, others go on."""
    wait_until("no driver is left of before", lambda: not server.driver_processes(), 20)
    (other,) = start(server.api, 1)
    other.ok("ledger warm")
    base = settled(server)
    driver = driver_of(other)
    waiting = [silent(server, driver, at * 2) for at in range(SILENT)]
    wait_until("all are taken", lambda: open_files(server.pid) >= base + SILENT, HELLO_SECONDS)
    assert other.text("ledger meanwhile") == "meanwhile"
    assert all(caller.is_closed() for caller in waiting), "each is hung up on"
    for caller in waiting:
        caller.close()

    stopped = start(server.api, STOPPED)
    pids = [agent_of(server, driver_of(session)) for session in stopped]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    posted = [session.post("ledger never-answered") for session in stopped]
    assert other.text("ledger beside-them") == "beside-them"
    drivers = [driver_of(session) for session in stopped]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for session, statement in zip(stopped, posted):
        session.wait("dead", limit=10)
        assert session.wait_statement(statement["id"])["state"] in ("available", "cancelled")
    wait_until("no process is left", lambda: not carrying(drivers), 5)
    assert len(waiting) + len(pids) == SILENT + STOPPED == 200
    wait_until("the server's descriptors are back", lambda: open_files(server.pid) <= base + 2, 30)
    after = settled(server)
    print(f"{SILENT} silent callers, {STOPPED} stopped agents: {base} descriptors before, {after} after")
    assert other.text("ledger after") == "after"
    assert all(look(pid) is None for pid in pids)
