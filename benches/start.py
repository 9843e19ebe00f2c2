"""How long a session takes to start, with the class-data archive and without, beside a bare `spark-submit` of
an empty session: in turns, in one run.

    .venv/test/bin/python benches/start.py --binary target/release/firesteel [--rounds 5]
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

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
    """Seconds from the request to idle, and to the first job's result."""
    begun = time.time()
    made = server.api.create(conf=CONF)
    made.wait("idle")
    idle = time.time() - begun
    made.text("spark.range(10).count()")
    job = time.time() - begun
    made.delete()
    wait_until("it is gone", lambda: not server.running_drivers())
    return idle, job


def bare(spark: Spark, script: Path) -> tuple[float, float]:
    """The same of a spark-submit with stock flags."""
    argv = [
        f"{spark.home}/bin/spark-submit",
        "--master",
        MASTER,
        "--conf",
        "spark.ui.enabled=false",
        str(script),
    ]
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
    return float(times["idle"]) - begun, float(times["job"]) - begun


BARE_NAME = "bare spark-submit"
PLAIN, ARCHIVED = "a session", "a session, with the archive"
AIMS: dict[str, tuple[list[Aim], list[Aim]]] = {
    PLAIN: ([at_most(1.1, "ratio")], []),
    ARCHIVED: ([at_most(0.6, "ratio")], [at_most(0.45, "ratio")]),
}
"""Of the time to idle, and of the first job's own."""


def compare(report: Report, spark: Spark, binary: Path, rounds: int, home: Path) -> None:
    """The figures of one Spark."""
    script = home / "bare.py"
    script.write_text(BARE)
    settings = {**spark.plain_settings, "spark.master": MASTER}
    without = Server({**settings, "driver.class_archive": False}, program=binary)
    archive = {"driver.class_archive": True, "driver.class_archive_delay": "100ms"}
    with_it = Server({**settings, **archive}, program=binary)
    try:
        begun = time.time()
        wait_until("the archive is there", lambda: "from now on" in with_it.log(), 300)
        report.value(f"the archive of Spark {spark.version} is made in", "s", time.time() - begun)
        ways = {
            BARE_NAME: lambda: bare(spark, script),
            PLAIN: lambda: session(without),
            ARCHIVED: lambda: session(with_it),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        loads = []
        for _ in range(rounds):
            loads.append(os.getloadavg()[0])
            for name, way in ways.items():
                found[name].append(way())
        for name, (idle_aims, job_aims) in AIMS.items():
            what = f"{name}, Spark {spark.version}: "
            kinds = (("idle", at_idle, idle_aims), ("first job's result", at_job, []))
            for kind, of, aims in (*kinds, ("first job itself", of_job, job_aims)):
                ours, peer = ([[of(pair)] for pair in found[one]] for one in (name, BARE_NAME))
                theirs = {"peer_name": BARE_NAME, "peer": peer, "loads": loads}
                report.rounds(what + kind, "s", ours, *aims, **theirs)
    finally:
        without.stop()
        with_it.stop()


def at_idle(times: tuple[float, float]) -> float:
    """Seconds until it can be used."""
    return times[0]


def at_job(times: tuple[float, float]) -> float:
    """Until the first job has ended."""
    return times[1]


def of_job(times: tuple[float, float]) -> float:
    """What the first job took."""
    return times[1] - times[0]


def main() -> None:
    """Each Spark in turn."""
    given = options(parser(__doc__, rounds=5))
    report = Report("Start", given.json)
    with tempfile.TemporaryDirectory(prefix="firesteel-start-") as home:
        for spark in sparks():
            compare(report, spark, given.binary, given.rounds, Path(home))


if __name__ == "__main__":
    main()
