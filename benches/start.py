"""How long a session takes to start, with the class-data archive and without, beside a bare `spark-submit` of
an empty session: in turns, in one run.

    .venv/test/bin/python benches/start.py --binary target/release/firesteel [--rounds 5]
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from common import MASTER, options, parser
from harness.processes import wait_until
from harness.server import Server, environment
from harness.spark import Spark, sparks
from report import Aim, Report, at_most

CONF = {"spark.ui.enabled": "false"}
BARE = """
import time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print("idle", time.time(), flush=True)
spark.range(10).count()
print("job", time.time(), flush=True)
"""


def session(server: Server) -> tuple[float, float]:
    """Seconds from the request to idle, and from then to the first job's result."""
    begun = time.time()
    made = server.api.create(conf=CONF)
    made.wait("idle")
    idle = time.time() - begun
    made.text("spark.range(10).count()")
    job = time.time() - begun - idle
    made.delete()
    wait_until("it is gone", lambda: not server.running_drivers())
    return idle, job


def bare(spark: Spark, script: Path) -> tuple[float, float]:
    """The same of a spark-submit with stock flags."""
    submit = f"{spark.home}/bin/spark-submit"
    argv = [submit, "--master", MASTER, "--conf", "spark.ui.enabled=false", str(script)]
    more = {"SPARK_HOME": spark.home, "PYSPARK_PYTHON": spark.python, "PYSPARK_DRIVER_PYTHON": spark.python}
    begun = time.time()
    done = subprocess.run(
        argv,
        env=environment(SPARK_LOCAL_IP="127.0.0.1", **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    times = dict(line.split() for line in done.stdout.splitlines())
    idle, job = float(times["idle"]), float(times["job"])
    return idle - begun, job - idle


class Way(NamedTuple):
    """A server's settings, and the aims for the time to idle and for the first job's."""

    settings: dict[str, Any]
    idle: list[Aim]
    job: list[Aim]


BARE_NAME = "bare spark-submit"
ARCHIVE = {"driver.class_archive": True, "driver.class_archive_delay": "100ms"}
QUICK = {"driver.quick_jvm": True, "driver.warm_up": True}
WAYS = {
    "a session": Way({}, [at_most(1.1, "ratio")], []),
    "a session, with the archive": Way(ARCHIVE, [], []),
    "a session, with the archive and the start options": Way(
        {**ARCHIVE, **QUICK}, [at_most(0.6, "ratio")], [at_most(0.45, "ratio")]
    ),
}


def compare(report: Report, spark: Spark, rounds: int, home: Path) -> None:
    """The figures of one Spark."""
    script = home / "bare.py"
    script.write_text(BARE)
    with contextlib.ExitStack() as ending:
        runs = {BARE_NAME: lambda: bare(spark, script)}
        for name, way in WAYS.items():
            server = Server({**spark.plain_settings, "spark.master": MASTER, **way.settings})
            ending.callback(server.stop)
            runs[name] = lambda server=server: session(server)
            if "driver.class_archive" in way.settings:
                begun = time.time()
                wait_until("the archive is there", lambda server=server: "from now on" in server.log(), 300)
                what = f"{name}, Spark {spark.version}: the archive is made in"
                report.value(what, "s", time.time() - begun)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        loads = []
        for _ in range(rounds):
            loads.append(os.getloadavg()[0])
            for name, run in runs.items():
                found[name].append(run())
    theirs = found[BARE_NAME]
    for name, way in WAYS.items():
        for at, (what, aims) in enumerate((("idle", way.idle), ("first job after that", way.job))):
            ours, peer = ([[pair[at]] for pair in pairs] for pairs in (found[name], theirs))
            told = {"peer_name": BARE_NAME, "peer": peer, "loads": loads}
            report.rounds(f"{name}, Spark {spark.version}: {what}", "s", ours, *aims, **told)


def main() -> None:
    """Each Spark in turn."""
    given = options(parser(__doc__, rounds=5))
    report = Report("Start", given.json)
    with tempfile.TemporaryDirectory(prefix="firesteel-start-") as home:
        for spark in sparks():
            compare(report, spark, given.rounds, Path(home))


if __name__ == "__main__":
    main()
