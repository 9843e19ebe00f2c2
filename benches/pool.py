"""Sessions from the pool: how soon they are idle and have a first result, and what making the next warm
driver costs others.

A session is asked for once one is warm, in one exchange or with polls as it needs; beside it a session that
is started for itself. Others' cost: round trips of `1 + 1` in another session, while nothing is started and
while the driver that takes a taken one's place starts.
"""

from __future__ import annotations

import os
import time
from typing import Callable

from common import MASTER, options, parser
from harness.api import Session
from harness.processes import wait_until
from harness.server import Server
from harness.spark import Spark, newest
from peers import OverHttp
from report import Report, at_most

POLL_SECONDS = 0.005
JOB = "spark.range(10**6).count()"
CODES = {"1 + 1": "2", JOB: "1000000"}
COLD = "started for its session"
QUIET_SECONDS = 15.0


def stock(server: Server) -> dict:
    """What `GET /pool` says."""
    (told,) = server.api.get("/pool").json()["pool"]
    return told


def ready(server: Server) -> None:
    """Wait until one is warm and nothing else starts."""
    wait_until("a driver is warm", lambda: stock(server)["ready"] > 0, 300, POLL_SECONDS)


def start(server: Server, code: str, shows: str, **body: object) -> tuple[float, float]:
    """Milliseconds from the request to idle, and to the first result."""
    begun = time.perf_counter()
    session = server.api.create(**body)
    # Most are idle by then.
    while session.created["state"] != "idle" and session.state() != "idle":
        time.sleep(POLL_SECONDS)
    idle = time.perf_counter() - begun
    assert session.text(code) == shows
    first = time.perf_counter() - begun
    session.delete()
    return idle * 1000, first * 1000


def sessions(report: Report, spark: Spark, server: Server, rounds: int) -> None:
    """One after another."""
    for code, shows in CODES.items():
        warm, loads = [], []
        for _ in range(rounds):
            ready(server)
            loads.append(os.getloadavg()[0])
            warm.append(start(server, code, shows))
        cold = [start(server, code, shows, conf={"spark.x": "1"}) for _ in range(3)]
        for at, what in enumerate(("idle", f"first result, `{code}`")):
            ours, theirs = ([[pair[at]] for pair in pairs] for pairs in (warm, cold))
            aims = [at_most(50), at_most(200, "ours_max")] if at == 0 or code == "1 + 1" else []
            told = {"peer_name": COLD, "peer": theirs, "loads": loads}
            report.rounds(f"create to {what}, Spark {spark.version}", "ms", ours, *aims, **told)


def trips(ours: OverHttp, goes_on: Callable[[], bool]) -> list[float]:
    """Milliseconds of each round trip."""
    times = []
    while goes_on():
        begun = time.perf_counter()
        ours()
        times.append((time.perf_counter() - begun) * 1000)
    return times


def others(report: Report, spark: Spark, server: Server, rounds: int) -> None:
    """A session that goes on meanwhile."""
    ready(server)
    session = server.api.create(conf={"spark.x": "1"})
    session.wait("idle")
    session.ok("1 + 1")
    ours = OverHttp(server.port, session.path)
    quiet, filling = [], []
    for _ in range(rounds):
        ready(server)
        until = time.monotonic() + QUIET_SECONDS
        quiet.append(trips(ours, lambda until=until: time.monotonic() < until))
        taken: Session = server.api.create()
        taken.wait("idle")
        started = stock(server)["started"]
        looked = [0.0]

        def starts(started: int = started, looked: list[float] = looked) -> bool:
            # Looking is a request of its own: not too often.
            if time.monotonic() - looked[0] < 0.5:
                return True
            looked[0] = time.monotonic()
            return stock(server)["started"] == started

        filling.append(trips(ours, starts))
        taken.delete()
    p99 = [sorted(one)[int(len(one) * 0.99)] for one in filling]
    theirs = [sorted(one)[int(len(one) * 0.99)] for one in quiet]
    report.rounds(
        f"p99 of another session's `1 + 1` while a driver is made, Spark {spark.version}",
        "ms",
        [[one] for one in p99],
        at_most(1.5, "ratio"),
        peer_name="while none is",
        peer=[[one] for one in theirs],
    )
    session.delete()


def main() -> None:
    """The newest Spark."""
    given = parser(__doc__, rounds=3)
    given.add_argument("--sessions", type=int, default=10, help="sessions for each kind of first result")
    chosen = options(given)
    spark = newest()
    report = Report("Warm drivers", chosen.json)
    settings = {
        **spark.plain_settings,
        "spark.master": MASTER,
        "pool.size": 1,
        "pool.refill_delay": "0s",
        "pool.memory_available": "0B",
        "driver.background_nice": 10,
        "spark.conf": {"spark.ui.enabled": "false"},
    }
    server = Server(settings)
    try:
        sessions(report, spark, server, chosen.sessions)
        others(report, spark, server, chosen.rounds)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
