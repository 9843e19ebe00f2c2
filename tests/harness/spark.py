"""The Sparks under test, and a standalone cluster on loopback from the same package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.processes import wait_until
from harness.server import ROOT, environment

SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For the JVMs of tests, which live for a minute: the second compiler would take half of the suite's time and
never earn it back."""


@dataclass(frozen=True)
class Spark:
    """One PySpark in an environment of its own."""

    python: str
    home: str
    version: str

    @property
    def short(self) -> str:
        """`3.5` or `4.1`."""
        return ".".join(self.version.split(".")[:2])

    @property
    def plain_settings(self) -> dict[str, Any]:
        """What a server needs to use it."""
        return {"spark.home": self.home, "spark.python": self.python}

    @property
    def settings(self) -> dict[str, Any]:
        """The same for a test."""
        options = {f"spark.{role}.extraJavaOptions": SHORT_LIVED for role in ("driver", "executor")}
        return {
            **self.plain_settings,
            "spark.conf": options,
            "driver.env": {"SPARK_LAUNCHER_OPTS": SHORT_LIVED},
        }


@lru_cache
def sparks() -> tuple[Spark, ...]:
    """Those that FIRESTEEL_TEST_SPARKS names by their Pythons, or those of the checkout's .venv."""
    default = ":".join(str(ROOT / ".venv" / name / "bin/python") for name in ("spark-3.5", "spark-4.1"))
    found = []
    for python in (os.environ.get("FIRESTEEL_TEST_SPARKS") or default).split(":"):
        script = "import pyspark; print(pyspark.__path__[0]); print(pyspark.__version__)"
        told = subprocess.run(
            [python, "-c", script], capture_output=True, text=True, check=True, env=environment()
        )
        home, version = told.stdout.split()
        found.append(Spark(python, home, version))
    return tuple(found)


def newest() -> Spark:
    """The default Spark: the one for tests that one Spark is enough for."""
    return sparks()[-1]


class Cluster:
    """A standalone master and a worker on loopback, on free ports."""

    def __init__(self, spark: Spark, cores: int = 4, memory: str = "4g"):
        self.home = Path(tempfile.mkdtemp(prefix="firesteel-cluster-"))
        self.spark = spark
        self.running: list[subprocess.Popen] = []
        try:
            master = self._start("master", "org.apache.spark.deploy.master.Master", "--port", "0")
            self.url = self._said(master, "master", r"Starting Spark master at (spark://127\.0\.0\.1:\d+)")
            options = [
                "--port",
                "0",
                "--cores",
                str(cores),
                "--memory",
                memory,
                "--work-dir",
                str(self.home / "work"),
            ]
            worker = self._start("worker", "org.apache.spark.deploy.worker.Worker", *options, self.url)
            self._said(worker, "worker", r"(Successfully registered with master)")
        except BaseException:
            self.stop()
            raise

    def _start(self, name: str, main: str, *options: str) -> subprocess.Popen:
        argv = [
            f"{self.spark.home}/bin/spark-class",
            main,
            "--host",
            "127.0.0.1",
            "--webui-port",
            "0",
            *options,
        ]
        env = environment(
            SPARK_LOCAL_IP="127.0.0.1", SPARK_PUBLIC_DNS="127.0.0.1", SPARK_HOME=self.spark.home
        )
        env |= {"SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": SHORT_LIVED}
        with (self.home / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        self.running.append(process)
        return process

    def _said(self, process: subprocess.Popen, name: str, pattern: str) -> str:
        path = self.home / f"{name}.log"

        def look() -> re.Match | None:
            text = path.read_text(errors="replace")
            assert process.poll() is None, f"the {name} ended:\n{text[-4000:]}"
            return re.search(pattern, text)

        return wait_until(f"the {name} says {pattern!r}", look, 90).group(1)

    def stop(self) -> None:
        """End the worker, then the master."""
        for process in reversed(self.running):
            process.terminate()
        for process in reversed(self.running):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.home, ignore_errors=True)
