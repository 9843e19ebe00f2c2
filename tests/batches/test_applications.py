"""Applications that are no Python: a jar's main class, compiled here, on each Spark, and R."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path
from typing import Any, Iterator

import pytest
from harness.api import Api
from harness.processes import wait_until
from harness.server import Server, environment
from harness.spark import SHORT_LIVED, Spark

MAIN = """\
package sales

import org.apache.spark.sql.SparkSession

object Report {
  def main(args: Array[String]): Unit = {
    println("arguments " + args.mkString("[", "|", "]"))
    args.head match {
      case "sum" =>
        val spark = SparkSession.builder().getOrCreate()
        val partitions = spark.conf.get("spark.sql.shuffle.partitions")
        println("name " + spark.sparkContext.appName + " conf " + partitions)
        println("sum " + spark.range(10).groupBy().sum().first().getLong(0))
      case "exit" => sys.exit(args(1).toInt)
      case "throw" => throw new IllegalStateException("no such table: sales", new RuntimeException("deep"))
    }
  }
}
"""
R = """\
arguments <- commandArgs(trailingOnly = TRUE)
cat("arguments", paste(arguments, collapse = "|"), "\\n")
if (arguments[1] == "spark") library(SparkR)
quit(status = as.integer(arguments[2]))
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that requests may name."""
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def server(spark: Spark, jobs: Path) -> Iterator[Server]:
    """A server for each Spark."""
    server = Server({**spark.settings, "spark.master": "local[1]", "files.allow": [str(jobs)]})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def jar(spark: Spark, jobs: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The main class, compiled by the Scala compiler that this Spark holds."""
    work = tmp_path_factory.mktemp("scala")
    (work / "Report.scala").write_text(MAIN)
    java = ["java", *SHORT_LIVED.split(), "-cp", f"{spark.home}/jars/*"]
    scalac = ["scala.tools.nsc.Main", "-usejavacp", "-d", str(work), str(work / "Report.scala")]
    subprocess.run([*java, *scalac], check=True, timeout=180, env=environment())
    made = jobs / f"report-{spark.short}.jar"
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
        for path in (work / "sales").iterdir():
            archive.write(path, f"sales/{path.name}")
    return str(made)


def run(api: Api, **body: Any) -> tuple[str, str, list[str]]:
    """A batch to its end: state, exit code, log."""
    created = api.post("/batches", body)
    assert created.status_code == 201, created.text
    path = f"/batches/{created.json()['id']}"
    wait_until("it ends", lambda: api.get(f"{path}/state").json()["state"] in ("success", "dead", "killed"))
    ended = api.get(path).json()
    log = api.get(f"{path}/log?from=0&size=10000").json()["log"]
    return ended["state"], ended["appInfo"].get("exitCode"), log


def test_a_main_class(server: Server, jar: str) -> None:
    """It gets its arguments and conf, and does something with Spark."""
    state, code, log = run(
        server.api,
        file=jar,
        className="sales.Report",
        name="report",
        args=["sum", "", "two words", 'a "quoted" $HOME', "é 漢字"],
        conf={"spark.sql.shuffle.partitions": 3},
    )
    assert (state, code) == ("success", "0"), log
    assert 'arguments [sum||two words|a "quoted" $HOME|é 漢字]' in log
    assert "name report conf 3" in log
    assert "sum 45" in log


def test_a_main_class_that_exits(server: Server, jar: str) -> None:
    """Its exit code is told."""
    state, code, log = run(server.api, file=jar, className="sales.Report", args=["exit", "42"])
    assert (state, code) == ("dead", "42")
    assert "exit code 42" in log[0]


def test_a_main_class_that_throws(server: Server, jar: str) -> None:
    """The exception stands first and last in the log, its stack trace in between."""
    state, code, log = run(server.api, file=jar, className="sales.Report", args=["throw"])
    assert (state, code) == ("dead", "1")
    words = "The application ended with exit code 1: java.lang.IllegalStateException: no such table: sales"
    assert (log[0], log[-1]) == (words, words)
    assert "Caused by: java.lang.RuntimeException: deep" in log


def test_a_main_class_that_is_not_there(server: Server, jar: str) -> None:
    """The class is named."""
    state, _, log = run(server.api, file=jar, className="sales.Missing")
    assert state == "dead"
    assert "sales.Missing" in log[0]
    assert log[0] == log[-1]


@pytest.mark.parametrize(
    ("args", "state", "code", "words"),
    [
        (["exit", "0", "two words"], "success", "0", "stdout: "),
        (["exit", "7"], "dead", "7", "exit code 7"),
        (["spark"], "dead", "1", "exit code 1: Error in library(SparkR) : there is no package called"),
    ],
    ids=["success", "an exit code", "SparkR"],
)
def test_r(server: Server, jobs: Path, args: list[str], state: str, code: str, words: str) -> None:
    """R runs; PyPI's pyspark has no SparkR, which the log says first and last."""
    file = jobs / "report.R"
    file.write_text(R)
    told, exit_code, log = run(server.api, file=str(file), args=args)
    assert (told, exit_code) == (state, code), log
    assert "arguments " + "|".join(args) in [line.strip() for line in log]
    assert words in log[0], log[0]
