"""Clients: each a thread that asks for things, remembers what it was told, and stands still without a server.

What they ask for follows from the plan's seed; how much of it gets done before a kill does not.
"""

from __future__ import annotations

import threading
import time
import traceback
from typing import TYPE_CHECKING

from faults.chaos.client import Answer, Client, NoAnswer, NotSent
from faults.chaos.history import ACCEPTED, REFUSED, Asked, Posted
from faults.chaos.oracle import DONE
from faults.chaos.plan import rng

if TYPE_CHECKING:
    from faults.chaos.world import World

PATIENCE = 15.0
"""Seconds that a client asks again and again, at most: a guard, not a measure."""

QUEUED = 8
"""Statements that a client leaves waiting before it waits itself."""


def send_statement(client: Client, session: Asked, posted: Posted) -> Answer:
    """Post it and remember what was said. Raises what the client raises."""
    answer = client.post(f"{session.path}/statements", {"code": posted.code}, posted.key)
    posted.status = answer.status
    if answer.status == 201:
        posted.outcome, posted.number = ACCEPTED, answer.body["id"]
    else:
        posted.outcome = REFUSED
    return answer


def send_session(client: Client, session: Asked) -> Answer:
    """Ask for it and remember what was said. Raises what the client raises."""
    answer = client.post("/sessions", session.body, session.key)
    session.status = answer.status
    if answer.status == 201:
        session.outcome, session.number = ACCEPTED, answer.body["id"]
    else:
        session.outcome = REFUSED
    return answer


def send_delete(client: Client, session: Asked) -> int:
    """Delete it and remember that it is gone. Raises what the client raises."""
    session.delete_asked = True
    status = client.delete(session.path).status
    if status in (200, 404):
        session.deleted = True
    return status


def send_cancel(client: Client, session: Asked, posted: Posted) -> int:
    """Ask for a statement's end. Raises what the client raises."""
    posted.cancelled = True
    status = client.post(f"{session.path}/statements/{posted.number}/cancel").status
    posted.cancel_answered = posted.cancel_answered or status == 200
    return status


class Actor(threading.Thread):
    """One client. `step` is called again and again while there is a server."""

    def __init__(self, world: World, name: str):
        super().__init__(name=name, daemon=True)
        self.world = world
        self.random = rng(world.name, name)
        self.client = Client(world.port)
        self.failure = ""

    def run(self) -> None:
        """Until the world ends."""
        while self.world.gate.enter():
            try:
                self.step()
            except (NoAnswer, NotSent):
                # Its connection is to a server that is gone, even where it was not in use.
                self.client.close()
                self.world.gate.leave()
            except Exception:
                self.failure = traceback.format_exc()
                self.world.gate.leave()
                return
        self.client.close()

    def step(self) -> None:
        """One thing that a client does."""
        raise NotImplementedError

    def expect(self, answer: Answer, *statuses: int) -> None:
        """An answer that is none of these is a fault of its own."""
        assert answer.status in statuses, f"{self.name}: {answer.status} {answer.body}"

    def wait_for(self, session: Asked, posted: Posted, *states: str) -> dict:
        """Ask until a statement is in one of these states."""
        return self._poll(f"{session.path}/statements/{posted.number}", states, 0.002)

    def wait_for_session(self, session: Asked, *states: str) -> str:
        """Ask until a session is in one of these states."""
        return self._poll(f"{session.path}/state", states, 0.005)["state"]

    def _poll(self, path: str, states: tuple[str, ...], pause: float) -> dict:
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.client.get(path)
            self.expect(answer, 200)
            if answer.body["state"] in states:
                return answer.body
            assert time.monotonic() < deadline, f"{path} is not {states} within {PATIENCE} s: {answer.body}"
            self.world.pause(pause)


class Poster(Actor):
    """Posts statements to one session, most of them quick, and lets a few wait in the queue."""

    def __init__(self, world: World, session: Asked, name: str = "poster"):
        super().__init__(world, f"{name}-{session.token}")
        self.session = session
        self.waiting = 0

    def step(self) -> None:
        """Post one; after some that wait, wait for the last."""
        slow = self.random.random() < 0.1
        command = f"sleep {self.random.uniform(0.01, 0.08):.3f}" if slow else "ledger"
        posted = self.world.history.statement(self.session, command, self.random.random() < 0.5)
        answer = send_statement(self.client, self.session, posted)
        self.expect(answer, 201)
        self.waiting = 0 if answer.body["state"] in DONE else self.waiting + 1
        if self.waiting >= QUEUED:
            self.wait_for(self.session, posted, *DONE)
            self.waiting = 0


class Canceller(Actor):
    """Cancels what runs, what waits and what does not listen, some of it twice, in a session of its own."""

    def __init__(self, world: World, session: Asked):
        super().__init__(world, f"canceller-{session.token}")
        self.session = session

    def step(self) -> None:
        """One statement, or one and another that waits behind it, both cancelled."""
        is_deaf = self.random.random() < 0.3
        running = self._post("ignore-cancel 60" if is_deaf else "sleep 60")
        waiting = self._post("ledger") if self.random.random() < 0.5 else None
        self.wait_for(self.session, running, "running", *DONE)
        if waiting is not None:
            self._cancel(waiting)
        self._cancel(running)
        if self.random.random() < 0.3:
            self._cancel(running)
        self.wait_for(self.session, running, *DONE)

    def _post(self, command: str) -> Posted:
        posted = self.world.history.statement(self.session, command, self.random.random() < 0.5)
        self.expect(send_statement(self.client, self.session, posted), 201)
        return posted

    def _cancel(self, posted: Posted) -> None:
        assert send_cancel(self.client, self.session, posted) == 200


class Creator(Actor):
    """Makes sessions and deletes them: starting, idle, busy, hanging, twice."""

    def __init__(self, world: World, name: str, ends: tuple[str, ...] = ("starting", "idle", "busy", "hang")):
        super().__init__(world, name)
        self.ends = ends
        self.session: Asked | None = None

    def step(self) -> None:
        """One session's life; what a killed server left of the last comes first."""
        if self.session is not None and self._end(self.session):
            return
        end = self.random.choice(self.ends)
        conf = {"spark.fake.start": "0.2"} if end == "starting" else {}
        session = self.world.history.session(conf, self.random.random() < 0.5)
        session.lives, session.settles = end != "hang", end not in ("hang", "busy")
        self.session = session
        self.expect(send_session(self.client, session), 201)
        if end != "starting":
            self.wait_for_session(session, "idle")
            command = {"busy": "sleep 60", "hang": "hang"}.get(end, "ledger")
            posted = self.world.history.statement(session, command, self.random.random() < 0.5)
            self.expect(send_statement(self.client, session, posted), 201)
        self._end(session)

    def _end(self, session: Asked) -> bool:
        """Delete it where it was made. False where nobody knows whether it was."""
        if session.number is None:
            return False
        status = send_delete(self.client, session)
        assert status in (200, 404), f"{self.name}: DELETE {session.path}: {status}"
        if self.random.random() < 0.3:
            assert send_delete(self.client, session) == 404
        self.session = None
        return True


class Ender(Actor):
    """Makes sessions whose drivers die, so that there is something to be forgotten."""

    session: Asked | None = None

    def step(self) -> None:
        """One session's life; what a killed server left of the last is deleted first."""
        if self.session is not None and self.session.number is not None:
            assert send_delete(self.client, self.session) in (200, 404)
        session = self.session = self.world.history.session()
        session.lives = session.settles = False
        # It leaves the list by itself, soon or late.
        session.delete_asked = True
        self.expect(send_session(self.client, session), 201)
        self.wait_for_session(session, "idle")
        posted = self.world.history.statement(session, "die")
        self.expect(send_statement(self.client, session, posted), 201)
        while self.client.get(session.path).status == 200:
            self.world.pause(0.01)
