"""Airflow's own provider (apache-airflow-providers-apache-livy) in an Airflow of its own, against the real
server and Spark. What runs operators, triggers, sensors and time-outs is Airflow itself."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any, Iterator

import pytest
from harness.processes import wait_until
from harness.server import ROOT, Server, environment
from harness.spark import Spark

HERE = Path(__file__).parent / "airflow"
PYTHON = ROOT / ".venv/airflow/bin/python"
LIMIT = 240.0
JOBS = {
    "lines.py": """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print("arguments", sys.argv[1:])
for number in range(int(sys.argv[2])):
    print(f"line {number}.")
print("sum", spark.range(100).groupBy().sum().first()[0])
""",
    "quick.py": "print('quick')",
    "fails.py": "for number in range(150): print('working')\nraise ValueError('no such table: sales')",
    "sleeps.py": "import time; print('sleeping', flush=True); time.sleep(600)",
}


class Airflow:
    """A home of Airflow's, with a connection to the server."""

    def __init__(self, home: Path, server: Server, jobs: Path):
        self.home = home
        self.env = environment(
            AIRFLOW_HOME=str(home),
            AIRFLOW_CONN_LIVY_DEFAULT=server.url,
            AIRFLOW__CORE__DAGS_FOLDER=str(HERE),
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
            FIRESTEEL_TEST_JOBS=str(jobs),
            NO_PROXY="127.0.0.1",
            PYTHONDONTWRITEBYTECODE="1",
        )

    @contextlib.contextmanager
    def running(self, script: str, **pipes: Any) -> Iterator[subprocess.Popen]:
        """One of the scripts with its Python, for the length of a block."""
        assert PYTHON.is_file(), f"{PYTHON} is missing: run 'scripts/envs airflow'"
        command = [str(PYTHON), str(HERE / script)]
        process = subprocess.Popen(command, **pipes, text=True, env=self.env, cwd=self.home)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def states(self) -> dict[str, str]:
        """How far each task is."""
        with closing(sqlite3.connect(self.home / "airflow.db")) as store:
            return dict(store.execute("SELECT task_id, state FROM task_instance").fetchall())


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The applications."""
    directory = tmp_path_factory.mktemp("jobs")
    for name, text in JOBS.items():
        (directory / name).write_text(text)
    return directory


@pytest.fixture(scope="module")
def server(default_spark: Spark, jobs: Path) -> Iterator[Server]:
    """A server for this file."""
    server = Server({**default_spark.settings, "spark.master": "local[1]", "files.allow": [str(jobs)]})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def airflow(server: Server, jobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """Airflow, with a connection to the server."""
    return Airflow(tmp_path_factory.mktemp("airflow"), server, jobs)


def batch(server: Server, task: str) -> dict[str, Any] | None:
    """The batch of a task, if it is there."""
    answer = server.api.get(f"/batches/airflow-{task}")
    return answer.json() if answer.status_code == 200 else None


def test_a_dag(server: Server, airflow: Airflow) -> None:
    """Tasks that wait for their batches and that defer: success, failure, time-out, the whole log. The last
    is killed as a scheduler does it, by SIGTERM."""
    log = airflow.home / "said"
    with log.open("w") as said, airflow.running("dags.py", stdout=said, stderr=said) as run:

        def last_runs() -> bool:
            assert run.poll() is None, log.read_text()
            return "sleeping" in (batch(server, "killed") or {"log": []})["log"]

        wait_until("the last task's batch runs", last_runs, 240, 0.2)
        states = airflow.states()
        run.send_signal(signal.SIGTERM)
        wait_until("on_kill deletes it", lambda: batch(server, "killed") is None)
    text = log.read_text()
    assert states == {
        "success": "success",
        "failure": "failed",
        "deferred_success": "success",
        "deferred_failure": "failed",
        "timeout": "failed",
        "deferred_timeout": "failed",
        "submitted": "success",
        "sensed": "success",
        "killed": "running",
    }, text
    # The log comes in pages of a hundred lines: each line once.
    assert re.findall(r"\bline (\d+)\.", text) == [str(number) for number in range(350)], text
    assert "arguments ['in order', '350', '0.5', 'é 🎉']" in text
    assert "sum 4950" in text
    for task, state, exit_code in [
        ("success", "success", "0"),
        ("failure", "dead", "1"),
        ("deferred_success", "success", "0"),
        ("deferred_failure", "dead", "1"),
        ("submitted", "success", "0"),
    ]:
        ended = batch(server, task)
        assert ended is not None, task
        assert (ended["state"], ended["appInfo"]["exitCode"]) == (state, exit_code), task
    # A deferred task shows the first hundred lines only: the reason is among them.
    reason = "exit code 1: ValueError: no such table: sales"
    deferred = text.partition("starting task_id=deferred_failure")[2].partition("end task")[0]
    assert reason in deferred, deferred
    assert reason in text.partition("starting task_id=failure")[2].partition("end task")[0], text
    # A task that took too long has ended its batch.
    assert batch(server, "timeout") is None
    assert batch(server, "deferred_timeout") is None
    assert "AirflowTaskTimeout" in text
    assert re.search(r"AirflowException: Batch \d+ timed out", text), text
    wait_until("no process is left", lambda: not server.driver_processes(), 30)


def test_hooks(server: Server, airflow: Airflow, jobs: Path) -> None:
    """Each method of both hooks, and what they make of a refusal."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with airflow.running("hooks.py", **pipes) as hooks:

        def call(method: str, hook: str = "LivyHook", **arguments: Any) -> Any:
            hooks.stdin.write(json.dumps([hook, method, arguments]) + "\n")
            hooks.stdin.flush()
            answer = next(line for line in hooks.stdout if line.startswith("answer "))
            return json.loads(answer.removeprefix("answer "))

        refused = call("post_batch", file=str(jobs / "none.py"))
        assert refused["raised"] == "AirflowException"
        assert "Status code: 400" in refused["message"]
        assert "none.py" in refused["message"]
        unknown = call("get_batch_state", session_id=4242)
        assert "Session '4242' not found." in unknown["message"]

        made = call("post_batch", file=str(jobs / "fails.py"), args=[1, 2.5, "x"], name="hooked")
        path = f"/batches/{made}"
        wait_until("it ends", lambda: server.api.get(path + "/state").json()["state"] == "dead")
        shown = call("get_batch", session_id=made)
        assert (shown["id"], shown["appId"], shown["appInfo"]["exitCode"]) == (made, None, "1")

        whole = server.api.get(path + "/log?from=0&size=1000").json()
        second = {**whole, "from": 100, "log": whole["log"][100:200]}
        page = {"session_id": made, "log_start_position": 100, "log_batch_size": 100}
        assert call("get_batch_logs", **page) == second
        assert call("get_batch_logs", "LivyAsyncHook", **page)["response"] == second
        assert call("dump_batch_logs", "LivyAsyncHook", session_id=made) == whole["log"][:100]
        assert call("get_batch_state", session_id=made) == "dead"
        assert call("get_batch_state", "LivyAsyncHook", session_id=made)["batch_state"] == "dead"

        assert call("delete_batch", session_id=made) == {"msg": "deleted"}
        assert call("delete_batch", session_id=made)["raised"] == "AirflowException"
