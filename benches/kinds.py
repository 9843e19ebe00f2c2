"""Round trips of a trivial line in each language, each beside its own shell over pipes in the same
run: `python -i`, `spark-shell`, `spark-sql` and `R`, the middle two of the same Spark.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench import MASTER, ROOT, OverHttp, OverPipes, table, take_turns
from harness.server import Server, environment
from harness.spark import Spark, sparks

START_LIMIT = 120.0
"""Seconds until a shell has answered once."""


class Shell:
    """A language's shell: a line goes in, and an answer that ends in `shows` comes out."""

    def __init__(self, name: str, argv: list[str], line: str, shows: str, home: str, **env: str):
        self.name, self.line, self.shows = name, line.encode() + b"\n", shows.encode() + b"\n"
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(**env),
            cwd=home,
        )

    def __call__(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(self.line)
        self.process.stdin.flush()
        while not (answer := self.process.stdout.readline()).endswith(self.shows):
            assert answer, f"{self.name} ended"

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(START_LIMIT)


def shell_of(kind: str, spark: Spark, home: str) -> Any:
    """The peer of a kind."""
    env = {"SPARK_HOME": spark.home, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": spark.python}
    quiet = ["--master", MASTER, "--conf", "spark.ui.enabled=false"]
    if kind == "spark":
        argv = [f"{spark.home}/bin/spark-shell", *quiet]
        return Shell("spark-shell, pipes", argv, "1 + 1", "Int = 2", home, **env)
    if kind == "sql":
        argv = [f"{spark.home}/bin/spark-sql", *quiet]
        return Shell("spark-sql, pipes", argv, "SELECT 1 + 1;", "2", home, **env)
    if kind == "sparkr":
        return Shell("R, pipes", ["R", "--no-echo", "--no-save"], "1 + 1", "[1] 2", home)
    return OverPipes()


LINES = {
    "pyspark": ("1 + 1", "2", 500),
    "spark": ("1 + 1", "Int = 2", 40),
    "sql": ("SELECT 1 + 1", "[[2]]", 100),
    "sparkr": ("1 + 1", "[1] 2", 200),
}
"""The line, what its answer shows, and how many round trips a round has."""


def measure(spark: Spark, server: Server, kind: str, rounds: int) -> dict[str, Any]:
    """Over HTTP, and the language's shell."""
    line, shows, count = LINES[kind]
    session = server.api.create(kind=kind, conf={"spark.ui.enabled": "false"})
    session.wait("idle")
    with tempfile.TemporaryDirectory() as home:
        peers = [OverHttp(server.port, session, line, kind, shows), shell_of(kind, spark, home)]
        found = take_turns(peers, rounds, count, count)
    session.delete()
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/firesteel")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    os.environ["FIRESTEEL_TEST_BIN"] = str(given.binary.resolve())
    for spark in reversed(sparks()):
        server = Server({**spark.plain_settings, "spark.master": MASTER})
        try:
            for kind, (line, _shows, _count) in LINES.items():
                if kind == "sparkr" and not shutil.which("R"):
                    print("\nsparkr: skipped, R is not installed")
                    continue
                found = measure(spark, server, kind, given.rounds)
                print(table(f"round trip of `{line}`, {kind}, Spark {spark.version}", found), flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
