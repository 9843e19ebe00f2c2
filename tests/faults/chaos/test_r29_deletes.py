"""R29: DELETE in every state, twice, while the session starts, while the store is held by another: it is gone, and a
restart brings nothing back."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Callable, Iterator

import pytest
from faults.chaos.client import Client
from faults.chaos.history import Asked
from faults.chaos.plan import tier
from faults.chaos.traffic import send_session, send_statement
from faults.chaos.world import World
from harness import processes
from harness.server import binary

RUNNING = 12
"""Sessions that run at the same time; further ones wait for their turn."""

TIMES = 30
"""Deletes in each of ten states."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One for all states."""
    settings = {"limits.sessions": RUNNING, "session.ended_shown": "1h", "statement.answer_within": "0s"}
    world = World("R29", binary(), settings)
    yield world
    world.finish()


def create(world: World, **conf: str) -> Asked:
    """A session, just accepted; what becomes of it is the test's."""
    session = world.history.session({f"spark.fake.{name}": value for name, value in conf.items()})
    session.settles = False
    assert send_session(world.client, session).status == 201
    return session


def wait(world: World, session: Asked, *states: str) -> None:
    """Until it is in one of these states."""
    processes.wait_until(
        f"{session.token} is {states}",
        lambda: world.client.get(f"{session.path}/state").body["state"] in states,
        pause=0.005,
    )


def post(world: World, session: Asked, command: str) -> int:
    """A statement, and its number."""
    posted = world.history.statement(session, command)
    assert send_statement(world.client, session, posted).status == 201
    return posted.number


def is_running(world: World, session: Asked, number: int) -> None:
    """Until a statement runs."""
    processes.wait_until(
        "it runs",
        lambda: world.client.get(f"{session.path}/statements/{number}").body["state"] == "running",
        pause=0.005,
    )


def accepted(world: World) -> list[Asked]:
    """The driver may not even have been asked for."""
    return [create(world)]


def starting(world: World) -> list[Asked]:
    """The driver is there and takes its time."""
    session = create(world, start="60")
    processes.wait_until("its driver is up", lambda: world.fake.has(f"up {session.token} "), pause=0.005)
    return [session]


def queued(world: World) -> list[Asked]:
    """There is no room: it waits for its turn."""
    others = [create(world, start="60") for _ in range(RUNNING)]
    return [create(world), *others]


def idle(world: World) -> list[Asked]:
    """It has nothing to do."""
    session = create(world)
    wait(world, session, "idle")
    return [session]


def busy(world: World) -> list[Asked]:
    """A statement runs and others wait."""
    (session,) = idle(world)
    number = post(world, session, "sleep 60")
    post(world, session, "ledger")
    is_running(world, session, number)
    return [session]


def cancelling(world: World) -> list[Asked]:
    """A statement has been cancelled and does not listen."""
    (session,) = idle(world)
    number = post(world, session, "ignore-cancel 60")
    is_running(world, session, number)
    session.posted[-1].cancelled = True
    assert world.client.post(f"{session.path}/statements/{number}/cancel").status == 200
    return [session]


def hanging(world: World) -> list[Asked]:
    """Its driver answers nobody."""
    (session,) = idle(world)
    number = post(world, session, "hang")
    is_running(world, session, number)
    return [session]


def ended(world: World) -> list[Asked]:
    """Its driver has died, and it is shown for a while."""
    (session,) = idle(world)
    session.lives = False
    post(world, session, "die")
    wait(world, session, "dead")
    return [session]


def failed(world: World) -> list[Asked]:
    """It has never started."""
    session = create(world, fail="as it must")
    session.lives = False
    wait(world, session, "dead")
    return [session]


def recovering(world: World) -> list[Asked]:
    """A new server has not heard of its driver yet."""
    (session,) = hanging(world)
    world.kill()
    assert world.start()
    assert world.client.get(f"{session.path}/state").body["state"] == "recovering"
    return [session]


STATES: tuple[Callable[[World], list[Asked]], ...] = (
    accepted,
    starting,
    queued,
    idle,
    busy,
    cancelling,
    hanging,
    ended,
    failed,
    recovering,
)


def delete_twice_at_once(world: World, session: Asked) -> list[int]:
    """Two clients delete it at the same time."""
    session.delete_asked = True
    statuses = []
    ready = threading.Barrier(2)

    def delete() -> None:
        client = Client(world.port)
        ready.wait(20)
        statuses.append(client.delete(session.path).status)
        client.close()

    threads = [threading.Thread(target=delete) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    session.deleted = True
    return statuses


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_delete(world: World, state: Callable[[World], list[Asked]], figures) -> None:
    """200 for one, 200 or 404 for the other, 404 from then on, also from the next server; no process is left."""
    times = TIMES * tier().seeds // 25
    count = 0
    begun = time.monotonic()
    while count < times:
        for session in state(world):
            statuses = delete_twice_at_once(world, session)
            assert 200 in statuses, statuses
            assert set(statuses) <= {200, 404}, statuses
            assert world.client.get(session.path).status == 404
            assert world.client.delete(session.path).status == 404
            count += 1
    took = time.monotonic() - begun
    processes.wait_until("no process is left", lambda: not world.server.driver_processes(), 20)
    world.kill()
    assert world.start()
    assert world.recover()
    world.assert_well()
    assert world.client.get("/sessions").body["sessions"] == []
    figures(f"R29: {count} sessions deleted twice while {state.__name__}, none came back ({took:.0f} s)")


def test_delete_while_the_store_is_held(world: World, figures) -> None:
    """Another process holds the database: DELETE waits, or says 503 and nothing has happened; it works afterwards."""
    statuses = []
    for _ in range(10):
        (session,) = idle(world)
        holder = sqlite3.connect(world.server.database, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        answers: list[int] = []
        asking = threading.Thread(
            target=lambda at=session, to=answers: to.append(Client(world.port).delete(at.path).status)
        )
        asking.start()
        asking.join(0.3)
        holder.execute("COMMIT")
        holder.close()
        asking.join(60)
        session.delete_asked = True
        statuses += answers
        assert answers[0] in (200, 503), answers
        if answers == [503]:
            assert world.client.delete(session.path).status == 200
        session.deleted = True
        assert world.client.get(session.path).status == 404
    world.kill()
    assert world.start()
    assert world.recover()
    world.assert_well()
    figures(f"R29: 10 deletes while another process held the database: {sorted(statuses)}")
