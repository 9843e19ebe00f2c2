"""50 sessions of fake drivers made at once, and deleted at once: how long each answer takes, how long another
session's state takes meanwhile, and until nothing is left.
"""

from __future__ import annotations

import json
import os
import time

from common import options, parser
from fakes import faked
from harness.processes import wait_until
from load import Client, Loop, request_of
from report import Report, at_most

LOOK_SECONDS = 0.01
"""Between two looks at a session's state."""

LIST_SECONDS = 0.05
"""Between two looks at all."""

AIMS = {
    "create's answer": at_most(100, "p99"),
    "another session's state meanwhile": at_most(10, "p99"),
    "delete's answer": at_most(300, "p99"),
}


class Crowd:
    """What one server's clients see, in ms, round by round."""

    def __init__(self, port: int, watched: int, sessions: int):
        self.port, self.watched, self.sessions = port, watched, sessions
        self.seen: dict[str, list[list[float]]] = {name: [] for name in AIMS}

    def at_once(self, what: str, requests: list[bytes], expected: int) -> list[bytes]:
        """Send all of them, while the watched session is looked at; the answers."""
        loop, bodies, times, looks = Loop(), [], [], []
        watcher = Client(loop, self.port)

        def look() -> None:
            watcher.ask(request_of("GET", f"/sessions/{self.watched}/state"), looked)

        def looked(status: int, _body: bytes) -> None:
            assert status == 200, status
            looks.append((time.perf_counter() - watcher.asked) * 1000)
            loop.later(LOOK_SECONDS, look)

        def ask(request: bytes) -> None:
            client = Client(loop, self.port)

            def answered(status: int, body: bytes) -> None:
                assert status == expected, (status, body)
                times.append((time.perf_counter() - client.asked) * 1000)
                bodies.append(body)

            client.ask(request, answered)

        look()
        for request in requests:
            ask(request)
        while len(bodies) < len(requests):
            assert loop.seconds < 120, loop.missed
            loop.run(0.1)
        if what == "create's answer":
            # Their drivers start now, and take all cores.
            self.until_idle(loop)
            self.seen["another session's state meanwhile"].append(looks)
        loop.close()
        self.seen[what].append(times)
        return bodies

    def until_idle(self, loop: Loop) -> None:
        """Go on until all sessions are, as their list tells."""
        lister, found = Client(loop, self.port), 0

        def ask() -> None:
            lister.ask(request_of("GET", "/sessions?size=1000"), listed)

        def listed(_status: int, body: bytes) -> None:
            nonlocal found
            found = body.count(b'"state":"idle"')
            loop.later(LIST_SECONDS, ask)

        ask()
        while found <= self.sessions:
            assert loop.seconds < 120, f"{found} sessions are idle"
            loop.run(LIST_SECONDS)


def main() -> None:
    """The command line."""
    given = parser(__doc__, rounds=5)
    given.add_argument("--sessions", type=int, default=50)
    given.add_argument("--starting", type=int, default=0, help="limits.starting")
    chosen = options(given)
    report = Report(f"{chosen.sessions} sessions at once", chosen.json)
    limits = {"limits.sessions": chosen.sessions + 1, "limits.starting": chosen.starting}
    with faked(1, settings=limits) as made:
        server = made.server
        crowd = Crowd(server.port, made.sessions[0], chosen.sessions)
        ready, gone, loads = [], [], []
        for _ in range(chosen.rounds):
            loads.append(os.getloadavg()[0])
            begun = time.perf_counter()
            create = request_of("POST", "/sessions", {"kind": "pyspark"})
            answers = crowd.at_once("create's answer", [create] * chosen.sessions, 201)
            ready.append([time.perf_counter() - begun])
            ids = [json.loads(body)["id"] for body in answers]
            begun = time.perf_counter()
            crowd.at_once("delete's answer", [request_of("DELETE", f"/sessions/{one}") for one in ids], 200)
            wait_until("their processes have ended", lambda: len(server.running_drivers()) == 1, 60)
            gone.append([time.perf_counter() - begun])
        for name, aim in AIMS.items():
            report.rounds(name, "ms", crowd.seen[name], aim, loads=loads)
        report.rounds("until all are idle", "s", ready, loads=loads)
        report.rounds("until all processes have ended", "s", gone, at_most(5), loads=loads)


if __name__ == "__main__":
    main()
