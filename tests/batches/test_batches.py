"""Batches as scripts and schedulers use them: real applications, their logs, exit codes, and what is left."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
import struct
import termios
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from harness.api import Api
from harness.processes import children, wait_until
from harness.server import Server
from harness.spark import Spark

ENDED = ("success", "dead", "killed")
APPLICATION = """\
import sys
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
print("arguments", sys.argv[1:])
print("name", spark.sparkContext.appName)
print("sum", spark.range(10).groupBy().sum().first()[0])
spark.stop()
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that requests may name."""
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def server(default_spark: Spark, jobs: Path) -> Iterator[Server]:
    """A server for all batches of this file that need a Spark."""
    server = Server({**default_spark.settings, "spark.master": "local[1]", "files.allow": [str(jobs)]})
    yield server
    server.stop()


def script(jobs: Path, name: str, text: str) -> str:
    path = jobs / name
    path.write_text(text)
    return str(path)


def ended(api: Api, number: int | str) -> dict[str, Any]:
    """The batch, once it has ended."""
    wait_until("the batch ends", lambda: api.get(f"/batches/{number}/state").json()["state"] in ENDED, 60)
    return api.get(f"/batches/{number}").json()


def whole_log(api: Api, number: int) -> list[str]:
    """Page by page, as Airflow reads it."""
    lines: list[str] = []
    while True:
        page = api.get(f"/batches/{number}/log?from={len(lines)}&size=100").json()
        assert list(page) == ["id", "from", "total", "log"]
        assert page["from"] == len(lines)
        lines += page["log"]
        if len(lines) >= page["total"]:
            return lines


def test_an_application(server: Server, jobs: Path) -> None:
    """Its arguments are its own, its output is in the log, its exit code is told."""
    api = server.api
    before = server.run_files()
    args = ["one", "two words", "--x=1", "$HOME; `id`", "é"]
    body = {
        "file": script(jobs, "ok.py", APPLICATION),
        "args": args,
        "name": "nightly",
        "conf": {"spark.ui.enabled": False},
    }
    created = api.post("/batches", body)
    assert created.status_code == 201
    batch = created.json()
    assert created.headers["Location"] == f"/batches/{batch['id']}"
    keys = ["id", "name", "owner", "proxyUser", "state", "appId", "appInfo", "log"]
    assert list(batch) == keys
    assert batch["state"] in ("starting", "running")
    done = ended(api, "nightly")
    assert list(done) == keys
    assert (done["id"], done["state"], done["appInfo"]["exitCode"]) == (batch["id"], "success", "0")
    log = whole_log(api, batch["id"])
    assert f"arguments {args}" in log
    assert "name nightly" in log
    assert "sum 45" in log
    assert log[0] == "stdout: "
    assert api.get("/batches").json()["sessions"][0]["id"] == batch["id"]
    assert api.delete(f"/batches/{batch['id']}").json() == {"msg": "deleted"}
    assert api.get(f"/batches/{batch['id']}").status_code == 404
    wait_until("its directory is gone", lambda: server.run_files() == before, 20)


LATE = """\
import pathlib, time
print("ready", flush=True)
while not pathlib.Path({go!r}).exists():
    time.sleep(0.01)
for number in range(2000):
    print(f"line {{number:04}} " + "x" * 40)
raise ValueError("no such table: sales")
"""


def test_nothing_that_a_failed_application_said_is_lost(server: Server, jobs: Path) -> None:
    """It says more than fits on the way while nobody reads, and fails: Spark ends the JVM with the rest."""
    api = server.api
    go = jobs / "go"
    number = api.post("/batches", {"file": script(jobs, "late.py", LATE.format(go=str(go)))}).json()["id"]
    wait_until("it runs", lambda: "ready" in api.get(f"/batches/{number}").json()["log"])
    (named,) = (server.state_dir / "run").glob("*/keeper.json")
    keeper = json.loads(named.read_text())["pid"]
    # The driver's standard output, which it inherited: how much of it waits to be read.
    pipe = os.open(f"/proc/{children(keeper)[0]}/fd/1", os.O_RDONLY | os.O_NONBLOCK)
    os.kill(keeper, signal.SIGSTOP)
    try:
        go.touch()

        def waiting() -> int:
            return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]

        wait_until("no more fits", lambda: waiting() > 60_000)
    finally:
        os.kill(keeper, signal.SIGCONT)
        os.close(pipe)
    assert ended(api, number)["state"] == "dead"
    log = whole_log(api, number)
    assert [line for line in log if line.startswith("line ")] == [
        f"line {number:04} " + "x" * 40 for number in range(2000)
    ]
    assert "exit code 1: ValueError: no such table: sales" in log[0]


@pytest.mark.parametrize(
    ("code", "exit_code", "words"),
    [
        ("1 / 0", "1", "exit code 1: ZeroDivisionError: division by zero"),
        ("import sys; print('bye'); sys.exit(7)", "7", "exit code 7"),
        ("import nosuchmodule", "1", "nosuchmodule"),
    ],
    ids=["an exception", "an exit code", "an import"],
)
def test_a_failure(server: Server, jobs: Path, code: str, exit_code: str, words: str) -> None:
    """The log says first and last what went wrong."""
    number = server.api.post("/batches", {"file": script(jobs, "bad.py", code)}).json()["id"]
    batch = ended(server.api, number)
    assert (batch["state"], batch["appInfo"]["exitCode"]) == ("dead", exit_code)
    log = whole_log(server.api, number)
    assert log[0] == log[-1]
    assert words in log[0], log[0]


def test_deleting_one_that_runs(server: Server, jobs: Path) -> None:
    """Its processes end, and nothing of it is left."""
    before = server.run_files()
    body = {"file": script(jobs, "long.py", "import time; print('here', flush=True); time.sleep(600)")}
    number = server.api.post("/batches", body).json()["id"]
    wait_until("it runs", lambda: "here" in whole_log(server.api, number), 60)
    assert len(server.running_drivers()) == 1
    assert server.api.delete(f"/batches/{number}").status_code == 200
    wait_until("no process is left", lambda: not server.driver_processes(), 30)
    wait_until("no file is left", lambda: server.run_files() == before, 20)
    with closing(sqlite3.connect(server.database)) as store:
        found = store.execute("SELECT count(*) FROM batches WHERE id = ?", (number,)).fetchone()
        assert found == (0,)


def test_batches_wait_their_turn(
    serve: Callable[..., Server], make_stub: Callable[..., Any], tmp_path: Path
) -> None:
    """With room for one, the others wait and say so; each runs in its turn."""
    go = tmp_path / "go"
    stub = make_stub(f"while [ ! -e {go} ]; do sleep 0.05; done; exit 0\n")
    file = script(tmp_path, "any.py", "")
    server = serve({**stub.settings, "files.allow": [str(tmp_path)], "limits.batches": 1})
    numbers = [server.api.post("/batches", {"file": file}).json()["id"] for _ in range(4)]
    wait_until(
        "the first runs", lambda: server.api.get(f"/batches/{numbers[0]}/state").json()["state"] == "running"
    )
    for place, number in enumerate(numbers[1:]):
        batch = server.api.get(f"/batches/{number}").json()
        assert batch["state"] == "starting"
        assert any(f"1 batches run (limits.batches), {place} wait" in line for line in batch["log"]), batch
    assert server.api.delete(f"/batches/{numbers[2]}").status_code == 200
    wait_until("the first is there", lambda: len(stub.argvs()) == 1)
    go.touch()
    for number in (numbers[0], numbers[1], numbers[3]):
        assert ended(server.api, number)["state"] == "success"
    assert len(stub.argvs()) == 3
    again = server.api.post("/batches", {"file": file, "name": "twice"})
    assert again.status_code == 201


def test_a_restart(serve: Callable[..., Server], make_stub: Callable[..., Any], tmp_path: Path) -> None:
    """Killed, the server takes back what runs, what waits and what has ended; none is ever `recovering`."""
    go = tmp_path / "go"
    stub = make_stub(f"echo words; while [ ! -e {go} ]; do sleep 0.05; done; exit 3\n")
    file = script(tmp_path, "any.py", "")
    settings = {
        **stub.settings,
        "files.allow": [str(tmp_path)],
        "limits.batches": 1,
        "shutdown.sessions": "keep",
    }
    server = serve(settings)
    running, waiting = (server.api.post("/batches", {"file": file}).json()["id"] for _ in range(2))
    wait_until("it runs", lambda: "words" in whole_log(server.api, running))
    server.kill9()
    server.start()
    states = [server.api.get(f"/batches/{number}/state").json()["state"] for number in (running, waiting)]
    assert states == ["running", "starting"]
    server.kill9()
    go.touch()
    wait_until("the driver ends", lambda: not server.driver_processes())
    server.start()
    for number in (running, waiting):
        batch = ended(server.api, number)
        assert (batch["state"], batch["appInfo"]["exitCode"]) == ("dead", "3")
        assert whole_log(server.api, number).count("words") == 1
    assert len(stub.argvs()) == 2
    server.kill9()
    server.start()
    for number in (running, waiting):
        assert "words" in whole_log(server.api, number)
        server.api.delete(f"/batches/{number}")
    wait_until("no file is left", lambda: not server.run_files())


def test_a_key_makes_one_batch(server: Server, jobs: Path) -> None:
    """The same Idempotency-Key and body give the first batch again, also once its file has gone; another body
    gives 422."""
    body = {"file": script(jobs, "quick.py", "print('quick')")}
    headers = {"Idempotency-Key": "once"}
    first = server.api.post("/batches", body, headers=headers)
    again = server.api.post("/batches", body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    other = server.api.post("/batches", {**body, "args": ["x"]}, headers=headers)
    assert other.status_code == 422
    assert ended(server.api, first.json()["id"])["state"] == "success"
    Path(body["file"]).unlink()
    late = server.api.post("/batches", body, headers=headers)
    assert (late.status_code, late.json()["id"]) == (201, first.json()["id"])
    assert late.headers["Idempotent-Replayed"] == "true"
    assert server.api.post("/batches", body, headers={"Idempotency-Key": "twice"}).status_code == 400


def test_a_stop_has_nothing_to_wait_for(
    serve: Callable[..., Server], make_stub: Callable[..., Any], tmp_path: Path
) -> None:
    """Once its batches have ended, the server's own work ends with it."""
    server = serve({**make_stub("exit 0\n").settings, "files.allow": [str(tmp_path)]})
    number = server.api.post("/batches", {"file": script(tmp_path, "any.py", "")}).json()["id"]
    assert ended(server.api, number)["state"] == "success"
    server.process.terminate()
    assert server.process.wait(60) == 0
    assert "not all work has ended in time" not in server.log()
