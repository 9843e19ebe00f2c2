"""Round trips of a statement, beside its peers in the same run.

`1 + 1` posted over HTTP until its result is there, in one exchange: beside what no server can be quicker
than (a bare exec loop and two HTTP exchanges), an ipykernel over jupyter_client, jupyter-server's
WebSocket, and an interactive Python. `SELECT 1` and a small job: beside a bare PySpark script and Spark
Connect, each of the same Spark. LIVY_URL names a real Livy, where there is one.
"""

from __future__ import annotations

import contextlib
import os
from typing import Sequence
from urllib.parse import urlsplit

from common import MASTER, options, parser
from harness.api import Api, Session
from harness.server import Server
from harness.spark import Spark, newest
from peers import (
    CODE,
    CONNECT_PYTHON,
    ExecLoop,
    Floor,
    JupyterServer,
    Kernel,
    OverHttp,
    bare_http,
    bare_spark,
    connect_client,
    connect_server,
    python_shell,
)
from report import Report, at_most
from turns import take_turns

COUNT = 200
"""Round trips of each peer in a round."""

SQL_COUNT = 15
JOB = "spark.range(10**6).count()"
SELECT = "spark.sql('SELECT 1').collect()"
SELECTED = "[Row(1=1)]"


def statements(report: Report, server: Server, session: Session, rounds: int, count: int) -> None:
    """`1 + 1`."""
    session.ok(CODE)
    ours = OverHttp(server.port, session.path)
    with bare_http(server.api, f"{session.path}/statements/0") as (port, path):
        floor = Floor(port, path)
        peers = [ours, ExecLoop(), floor, python_shell(), Kernel(), JupyterServer(), *livy()]
        turns = take_turns(peers, rounds, count, 50)
    aims = {
        floor.name: [at_most(4, "ratio"), at_most(3, "p99")],
        Kernel.name: [at_most(1 / 4, "ratio")],
        "livy": [at_most(1 / 8, "ratio")],
    }
    turns.report(report, f"`{CODE}`", aims)
    if ours.asked_again:
        print(f"  results that a POST did not bring, so that a GET had to: {ours.asked_again}")


def livy() -> Sequence[OverHttp]:
    """A real one, where LIVY_URL names it."""
    url = os.environ.get("LIVY_URL")
    if not url:
        print("  a real Livy: skipped, LIVY_URL names none")
        return []
    session = Api(url).create()
    session.wait("idle")
    return [OverHttp(urlsplit(url).port or 8998, session.path, name="livy")]


def queries(report: Report, spark: Spark, server: Server, session: Session, rounds: int) -> None:
    """What Spark has to do something for."""
    with contextlib.ExitStack() as ending:
        url = ending.enter_context(connect_server(spark)) if CONNECT_PYTHON.is_file() else None
        if not url:
            print("  Spark Connect: skipped, .venv/arrow is not there")
        for code, shows, answer in ((SELECT, SELECTED, SELECTED), (JOB, "1000000", "1000000")):
            peers = [OverHttp(server.port, session.path, code, shows=answer), bare_spark(spark, code, shows)]
            peers += [connect_client(url, code, shows)] if url else []
            take_turns(peers, rounds, SQL_COUNT, SQL_COUNT).report(report, f"`{code}`")


def main() -> None:
    """The command line."""
    given = parser(__doc__, rounds=5)
    given.add_argument("--count", type=int, default=COUNT, help="round trips of each peer in a round")
    chosen = options(given)
    spark = newest()
    report = Report(f"Round trips, Spark {spark.version}", chosen.json)
    server = Server({**spark.plain_settings, "spark.master": MASTER})
    try:
        session = server.api.create(conf={"spark.ui.enabled": "false"})
        session.wait("idle")
        statements(report, server, session, chosen.rounds, chosen.count)
        queries(report, spark, server, session, chosen.rounds)
        session.delete()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
