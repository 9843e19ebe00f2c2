"""A polling storm: 1,000 clients that do as sparkmagic does, on 200 sessions of fake drivers.

Each looks at its session, posts a statement, polls it in sparkmagic's steps until it is done, thinks, and
does it again; a heartbeat asks for the session each 30 s. A session runs one statement at a time, so most
clients wait, as on a busy afternoon. An answer that is not the expected one, or comes after 10 s, is a
missed one.
"""

from __future__ import annotations

import json
import os
import random

from common import options, parser
from fakes import cpu_seconds, faked
from harness.processes import forget_peak, rss_mib
from load import Client, Loop, request_of
from report import Report, at_most, quantile

LADDER = (0.2, 0.5, 0.5, 1.0, 1.0, 2.0)
"""Seconds before each of sparkmagic's polls; the last again and again."""

HEARTBEAT_SECONDS = 30.0
RUNS = (0.5, 3.0)
"""The least and the most seconds that a statement takes."""

THINKS = (2.0, 10.0)
"""The same from an answer to the next statement."""


class Notebook:
    """One client."""

    def __init__(self, loop: Loop, client: Client, session: int, number: int, chance: random.Random):
        self.loop, self.client, self.chance = loop, client, chance
        self.path, self.number, self.cells = f"/sessions/{session}", number, 0
        self.look_at = request_of("GET", self.path)
        self.polls = 0
        loop.later(chance.uniform(0, THINKS[1]), self.look)
        loop.later(chance.uniform(0, HEARTBEAT_SECONDS), self.beat)

    def expect(self, what: str, ok: bool, status: int, body: bytes) -> None:
        """Count what is not as it should be."""
        if not ok:
            self.loop.missed.append(f"{what}: {status} {body[:200]!r}")

    def beat(self) -> None:
        """The heartbeat."""
        self.client.ask(
            self.look_at, lambda status, body: self.expect("heartbeat", status == 200, status, body)
        )
        self.loop.later(HEARTBEAT_SECONDS, self.beat)

    def look(self) -> None:
        """Before each statement."""
        self.client.ask(self.look_at, self.looked)

    def looked(self, status: int, body: bytes) -> None:
        """Post the next."""
        self.expect("session", status == 200, status, body)
        self.cells += 1
        self.nonce = f"n{self.number}-{self.cells}"
        code = f"sleep {self.chance.uniform(*RUNS):.2f} {self.nonce}"
        self.client.ask(request_of("POST", self.path + "/statements", {"code": code}), self.posted)

    def posted(self, status: int, body: bytes) -> None:
        """It has a number now."""
        self.expect("statement", status == 201, status, body)
        if status != 201:
            self.loop.later(THINKS[1], self.look)
            return
        self.polls = 0
        self.poll_it = request_of("GET", f"{self.path}/statements/{json.loads(body)['id']}")
        self.told(body)

    def polled(self, status: int, body: bytes) -> None:
        """The answer to a poll."""
        self.expect("poll", status == 200, status, body)
        self.told(body)

    def told(self, body: bytes) -> None:
        """Done, or look again later."""
        if b'"state":"available"' in body:
            self.expect("result", self.nonce.encode() in body, 200, body)
            self.loop.later(self.chance.uniform(*THINKS), self.look)
            return
        wait = LADDER[min(self.polls, len(LADDER) - 1)]
        self.polls += 1
        self.loop.later(wait, lambda: self.client.ask(self.poll_it, self.polled))


def main() -> None:
    """The command line."""
    given = parser(__doc__)
    given.add_argument("--clients", type=int, default=1000)
    given.add_argument("--sessions", type=int, default=200)
    given.add_argument("--seconds", type=float, default=60.0)
    given.add_argument("--warm-up", type=float, default=15.0)
    chosen = options(given)
    name = f"{chosen.clients} clients, {chosen.sessions} sessions"
    report = Report("Polling storm", chosen.json)
    with faked(chosen.sessions) as made:
        server, sessions = made.server, made.sessions
        loop, chance = Loop(), random.Random(1)
        for at in range(chosen.clients):
            Notebook(loop, Client(loop, server.port), sessions[at % len(sessions)], at, chance)
        loop.run(chosen.warm_up)
        missed = loop.missed
        loop.begin()
        forget_peak(server.pid)
        load, before = os.getloadavg()[0], cpu_seconds(server.pid)
        loop.run(chosen.seconds)
        cores = (cpu_seconds(server.pid) - before) / loop.seconds
        missed += [*loop.missed, *["no answer"] * loop.late()]
        own, rate = loop.cores, loop.answered / loop.seconds
        note = f"{rate:.0f} requests a second; the load generator took {own:.2f} of a core"
        report.value(f"{name}: server's CPU", "cores", cores, at_most(0.5), note=note)
        report.value(f"{name}: server's memory", "MiB", rss_mib(server.pid, peak=True), at_most(80))
        report.value(f"{name}: missed answers", "", len(missed), at_most(0), note="; ".join(missed[:3]))
        report.rounds(f"{name}: answers", "ms", [loop.times], loads=[load])
        quick = quantile(loop.times, 0.5)
        print(
            f"  {loop.answered} answers, half within {quick:.1f} ms, the last after {max(loop.times):.0f} ms"
        )
        loop.close()


if __name__ == "__main__":
    main()
