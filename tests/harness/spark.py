"""The Sparks under test, and a standalone cluster on loopback from the same package."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.processes import children, wait_until
from harness.server import ROOT, environment, free_port

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


def below(pid: int) -> list[int]:
    """What a process has started, and what that has."""
    try:
        found = children(pid)
    except OSError:
        return []
    return [*found, *(deeper for child in found for deeper in below(child))]


class Cluster:
    """A standalone master and workers on loopback, on free ports. A master that `recovers` remembers what
    runs when it is restarted."""

    def __init__(
        self, spark: Spark, cores: int = 4, memory: str = "4g", workers: int = 1, recovers: bool = False
    ):
        self.home = Path(tempfile.mkdtemp(prefix="firesteel-cluster-"))
        self.spark = spark
        self.running: list[subprocess.Popen] = []
        try:
            self.port = free_port() if recovers else 0
            self.recovers = recovers
            self.master = self._start_master()
            self.url = self._said(
                self.master, "master", r"Starting Spark master at (spark://127\.0\.0\.1:\d+)"
            )
            self.workers = [self._start_worker(number, cores, memory) for number in range(workers)]
            for number, worker in enumerate(self.workers):
                self._said(worker, f"worker{number}", r"(Successfully registered with master)")
        except BaseException:
            self.stop()
            raise

    def _start_master(self) -> subprocess.Popen:
        return self._start("master", "org.apache.spark.deploy.master.Master", "--port", str(self.port))

    def _start_worker(self, number: int, cores: int, memory: str) -> subprocess.Popen:
        options = ["--port", "0", "--cores", str(cores), "--memory", memory]
        options += ["--work-dir", str(self.home / f"work{number}"), self.url]
        return self._start(f"worker{number}", "org.apache.spark.deploy.worker.Worker", *options)

    def worker_of(self, path: str) -> subprocess.Popen:
        """The worker below whose directory a path is."""
        return next(
            worker
            for number, worker in enumerate(self.workers)
            if path.startswith(str(self.home / f"work{number}"))
        )

    def kill_worker(self, worker: subprocess.Popen) -> None:
        """Kill a worker and all executors below it, as a host's failure does."""
        for pid in [worker.pid, *below(worker.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        worker.wait()

    def restart_master(self) -> None:
        """Kill the master and start another that knows what it knew, and wait until the workers are back."""
        self.master.kill()
        self.master.wait()
        self.running.remove(self.master)
        (self.home / "master.log").rename(self.home / "master.log.1")
        self.master = self._start_master()
        self._said(self.master, "master", r"(Recovery complete)")

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
        java = SHORT_LIVED
        if self.recovers:
            java += " -Dspark.deploy.recoveryMode=FILESYSTEM"
            java += f" -Dspark.deploy.recoveryDirectory={self.home}/recovery -Dspark.worker.timeout=20"
        env |= {"SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": java}
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
        """End the workers, then the master."""
        for process in reversed(self.running):
            process.terminate()
        for process in reversed(self.running):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.home, ignore_errors=True)
