"""Whole results: MB/s of an Arrow stream beside Spark Connect's `toPandas` of the same query, and what a slow
client and one that leaves cost the server's memory.

    .venv/test/bin/python benches/results.py --binary target/release/firesteel [--mb 2000] [--pace 20]

Needs .venv/arrow (`scripts/envs arrow`). Times want a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from harness.processes import rss_mib, wait_until  # noqa: E402
from harness.server import Server  # noqa: E402
from harness.spark import newest  # noqa: E402

ROW_BYTES = 1000
PARTITIONS = 100
CONF = {"spark.ui.enabled": "false", "spark.driver.memory": "2g"}
CONNECT = """
import sys, time
from pyspark.sql import SparkSession
spark = SparkSession.builder.remote(sys.argv[1]).getOrCreate()
spark.sql("select 1").toPandas()
begin = time.monotonic()
rows = len(spark.sql(sys.argv[2]).toPandas())
print(rows, time.monotonic() - begin)
"""


def query(megabytes: int) -> str:
    """A result of about so many MB, which is cheap to compute."""
    rows = megabytes * 1_000_000 // ROW_BYTES
    text = f"repeat(cast(id % 10 as string), {ROW_BYTES - 20})"
    return f"select id, {text} as s from range(0, {rows}, 1, {PARTITIONS})"


def read(answer, pace: float = 0, most: float = float("inf")) -> tuple[float, float]:
    """MB read and seconds; `pace` MB/s at most."""
    begin, seen = time.monotonic(), 0
    for piece in answer.iter_content(1 << 18):
        seen += len(piece)
        if pace:
            time.sleep(max(0, begin + seen / (pace * 1e6) - time.monotonic()))
        if seen > most:
            break
    answer.close()
    return seen / 1e6, time.monotonic() - begin


def firesteel(arguments: argparse.Namespace) -> None:
    """The stream, at full speed, slowly, and left half way."""
    spark = newest()
    server = Server(
        {**spark.settings, "spark.master": "local[2]", "sql.max_rows": 1}, program=arguments.binary
    )
    try:
        session = server.api.create(conf=CONF)
        session.wait("idle")
        number = session.run(query(arguments.mb), "sql")["id"]
        path = f"{session.path}/statements/{number}/result"
        fetch = lambda **more: server.api.get(path, params=more, stream=True, timeout=600)  # noqa: E731
        before = rss_mib(server.process.pid)
        megabytes, seconds = read(fetch())
        print(f"arrow at full speed: {megabytes:.0f} MB, {megabytes / seconds:.0f} MB/s")
        for kind in ("csv", "parquet"):
            _got, seconds = read(fetch(format=kind))
            print(f"{kind}: {arguments.mb / seconds:.0f} MB/s of Arrow")
        left = fetch()
        read(left, most=arguments.mb * 5e5)
        megabytes, seconds = read(fetch(), arguments.pace)
        print(f"arrow at {arguments.pace} MB/s beside one that left: {megabytes / seconds:.1f} MB/s")
        print(f"server's memory: {rss_mib(server.process.pid) - before:+.0f} MiB")
    finally:
        server.stop()


def connect(arguments: argparse.Namespace) -> None:
    """Spark Connect's way, with the same Spark."""
    spark = newest()
    home = Path(spark.home)
    port = "15092"
    argv = [
        str(home / "bin/spark-submit"), "--master", "local[2]", "--driver-memory", "2g",
        "--conf", f"spark.connect.grpc.binding.port={port}", "--conf", "spark.ui.enabled=false",
        "--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal",
    ]  # fmt: skip
    env = {**os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
    serving = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        python = str(ROOT / ".venv/arrow/bin/python")

        def ask(sql: str) -> subprocess.CompletedProcess[str]:
            run = [python, "-c", CONNECT, f"sc://127.0.0.1:{port}", sql]
            return subprocess.run(run, capture_output=True, text=True, check=False)

        wait_until("Spark Connect answers", lambda: ask("select 1").returncode == 0, 300)
        done = ask(query(arguments.mb))
        if done.returncode == 0:
            seconds = float(done.stdout.split()[-1])
            print(f"Spark Connect, toPandas: {arguments.mb / seconds:.0f} MB/s")
        else:
            print(f"Spark Connect, toPandas: failed: {done.stderr.strip().splitlines()[-1][:300]}")
    finally:
        serving.terminate()
        serving.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/firesteel")
    parser.add_argument("--mb", type=int, default=2000)
    parser.add_argument("--pace", type=float, default=20)
    arguments = parser.parse_args()
    firesteel(arguments)
    connect(arguments)


if __name__ == "__main__":
    main()
