"""Whole results: MB/s of an Arrow stream beside Spark Connect's `toPandas` of the same query, and what a slow
client and one that leaves cost the server's memory.

    .venv/test/bin/python benches/results.py --binary target/release/firesteel [--mb 2000] [--pace 20]

Needs .venv/arrow (`scripts/envs arrow`). Times want a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time

from common import MASTER, options, parser
from harness.processes import rss_mib
from harness.server import Server
from harness.spark import newest
from peers import CONNECT_PYTHON, connect_server
from report import Report

ROW_BYTES = 1000
PARTITIONS = 100
MEMORY = "2g"
CONF = {"spark.ui.enabled": "false", "spark.driver.memory": MEMORY}
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


def ours(report: Report, given: argparse.Namespace, peer: float | None, load: float) -> None:
    """The stream, at full speed, slowly, and left half way."""
    spark = newest()
    server = Server({**spark.settings, "spark.master": MASTER, "sql.max_rows": 1})
    try:
        session = server.api.create(conf=CONF)
        session.wait("idle")
        number = session.run(query(given.mb), "sql")["id"]
        path = f"{session.path}/statements/{number}/result"
        fetch = lambda **more: server.api.get(path, params=more, stream=True, timeout=600)  # noqa: E731
        before = rss_mib(server.pid)
        rates = []
        for _ in range(given.rounds):
            megabytes, seconds = read(fetch())
            rates.append([megabytes / seconds])
        theirs = {"peer_name": "Spark Connect, toPandas", "peer": [[peer]] * len(rates)} if peer else {}
        report.rounds(f"Arrow, {given.mb} MB", "MB/s", rates, loads=[load], **theirs)
        for kind in ("csv", "parquet"):
            _got, seconds = read(fetch(format=kind))
            report.value(f"{kind}, of so many MB of Arrow", "MB/s", given.mb / seconds)
        left = fetch()
        read(left, most=given.mb * 5e5)
        megabytes, seconds = read(fetch(), given.pace)
        report.value(f"Arrow at {given.pace:g} MB/s beside one that left", "MB/s", megabytes / seconds)
        report.value("server's memory rose by", "MiB", rss_mib(server.pid) - before)
    finally:
        server.stop()


def connect(megabytes: int) -> float | None:
    """MB/s of Spark Connect's way, with the same Spark; None where it can't be had."""
    if not CONNECT_PYTHON.is_file():
        print("  Spark Connect: skipped, .venv/arrow is not there")
        return None
    with connect_server(newest(), "--driver-memory", MEMORY) as url:
        run = [str(CONNECT_PYTHON), "-c", CONNECT, url, query(megabytes)]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"  Spark Connect, toPandas: failed: {done.stderr.strip().splitlines()[-1][:300]}")
        return None
    return megabytes / float(done.stdout.split()[-1])


def main() -> None:
    """The command line."""
    given = parser(__doc__, rounds=3)
    given.add_argument("--mb", type=int, default=2000)
    given.add_argument("--pace", type=float, default=20)
    chosen = options(given)
    report = Report("Whole results", chosen.json)
    load = os.getloadavg()[0]
    ours(report, chosen, connect(chosen.mb), load)


if __name__ == "__main__":
    main()
