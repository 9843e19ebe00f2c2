"""Round trips of a trivial line in each language, each beside its own shell over pipes in the same
run: `python -i`, `spark-shell`, `spark-sql` and `R`, the middle two of the same Spark.
"""

from __future__ import annotations

import shutil
import tempfile

from common import MASTER, options, parser
from harness.server import Server
from harness.spark import Spark, sparks
from peers import Child, OverHttp, python_shell
from report import Report
from turns import Turns, take_turns

LINES = {
    "pyspark": ("1 + 1", "2", 500),
    "spark": ("1 + 1", "Int = 2", 40),
    "sql": ("SELECT 1 + 1", "[[2]]", 100),
    "sparkr": ("1 + 1", "[1] 2", 200),
}
"""The line, what its answer shows, and how many round trips a round has."""


def shell_of(kind: str, spark: Spark, home: str) -> Child:
    """The peer of a kind."""
    env = {"SPARK_HOME": spark.home, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": spark.python}
    quiet = ["--master", MASTER, "--conf", "spark.ui.enabled=false"]
    if kind == "spark":
        argv = [f"{spark.home}/bin/spark-shell", *quiet]
        return Child("spark-shell, pipes", argv, "1 + 1", "Int = 2", home, **env)
    if kind == "sql":
        argv = [f"{spark.home}/bin/spark-sql", *quiet]
        return Child("spark-sql, pipes", argv, "SELECT 1 + 1;", "2", home, **env)
    if kind == "sparkr":
        return Child("R, pipes", ["R", "--no-echo", "--no-save"], "1 + 1", "[1] 2", home)
    return python_shell()


def measure(spark: Spark, server: Server, kind: str, rounds: int) -> Turns:
    """Over HTTP, and the language's shell."""
    line, shows, count = LINES[kind]
    session = server.api.create(kind=kind, conf={"spark.ui.enabled": "false"})
    session.wait("idle")
    with tempfile.TemporaryDirectory() as home:
        peers = [OverHttp(server.port, session.path, line, kind, shows), shell_of(kind, spark, home)]
        found = take_turns(peers, rounds, count, count)
    session.delete()
    return found


def main() -> None:
    """The command line."""
    given = options(parser(__doc__, rounds=3))
    report = Report("Languages", given.json)
    for spark in reversed(sparks()):
        server = Server({**spark.plain_settings, "spark.master": MASTER})
        try:
            for kind, (line, _shows, _count) in LINES.items():
                if kind == "sparkr" and not shutil.which("R"):
                    print("  sparkr: skipped, R is not installed")
                    continue
                found = measure(spark, server, kind, given.rounds)
                found.report(report, f"`{line}`, {kind}, Spark {spark.version}")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
