"""How long a session takes to start, and its first Spark job after that: with the class-data archive, with it
and the start options, and without, beside a bare `spark-submit` of an empty session; in turns, in one run.

    .venv/test/bin/python benches/start.py --binary target/release/firesteel [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from harness.processes import wait_until  # noqa: E402
from harness.server import Server, environment  # noqa: E402
from harness.spark import Spark, sparks  # noqa: E402

CONF = {"spark.ui.enabled": "false"}
MASTER = "local[2]"
BARE = """
import time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print("idle", time.time(), flush=True)
spark.range(10).count()
print("job", time.time(), flush=True)
"""
QUICK = {"driver.quick_jvm": True, "driver.warm_up": True}


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
    idle, job = float(times["idle"]), float(times["job"])
    return idle - begun, job - idle


def compare(spark: Spark, binary: Path, rounds: int, home: Path) -> None:
    """Print what was found for one Spark."""
    script = home / "bare.py"
    script.write_text(BARE)
    settings = {**spark.plain_settings, "spark.master": MASTER}
    without = Server({**settings, "driver.class_archive": False}, program=binary)
    archive = {"driver.class_archive": True, "driver.class_archive_delay": "100ms"}
    with_it = Server({**settings, **archive}, program=binary)
    quick = Server({**settings, **archive, **QUICK}, program=binary)
    try:
        begun = time.time()
        wait_until("the archive is there", lambda: "from now on" in with_it.log(), 300)
        print(f"Spark {spark.version}: the archive took {time.time() - begun:.1f} s", flush=True)
        wait_until("the other is there", lambda: "from now on" in quick.log(), 300)
        ways = {
            "bare spark-submit": lambda: bare(spark, script),
            "a session": lambda: session(without),
            "a session, with the archive": lambda: session(with_it),
            "... and the start options": lambda: session(quick),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                found[name].append(way())
        base = [statistics.median(column) for column in zip(*found["bare spark-submit"])]
        for name, times in found.items():
            idle, job = (statistics.median(column) for column in zip(*times))
            first = f"idle {idle:5.2f} s ({idle / base[0]:.2f})"
            print(f"  {name:28} {first}  first job {job:5.2f} s ({job / base[1]:.2f})", flush=True)
    finally:
        without.stop()
        with_it.stop()
        quick.stop()


def main() -> None:
    """Each Spark in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/firesteel")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="firesteel-start-") as home:
        for spark in sparks():
            compare(spark, options.binary.resolve(), options.rounds, Path(home))


if __name__ == "__main__":
    main()
