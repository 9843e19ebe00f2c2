"""A refused batch says why and leaves nothing: no entry in the list, no row, no file, no process."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from harness.processes import wait_until
from harness.server import Server
from harness.stub import Stub

LIMITS = {
    "limits.batches": 1,
    "limits.batches_queued": 1,
    "limits.list_entries": 3,
    "limits.conf_keys": 3,
    "limits.name_bytes": 20,
    "limits.conf_value_bytes": "4 KiB",
    "limits.args_bytes": "8 KiB",
    "limits.request_body": "64 KiB",
}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What requests name: `JOBS` stands for it."""
    jobs = tmp_path_factory.mktemp("jobs")
    (jobs / "ok.py").touch()
    (jobs / "out.py").symlink_to("/etc/hosts")
    return jobs


@pytest.fixture(scope="module")
def server(jobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with low limits, on which one batch runs."""
    stub = Stub(tmp_path_factory.mktemp("stub") / "spark")
    server = Server({**stub.settings, **LIMITS, "files.allow": [str(jobs)]})
    server.api.post("/batches", {"file": str(jobs / "ok.py"), "name": "runs"})
    wait_until("it runs", lambda: server.api.get("/batches/runs/state").json()["state"] == "running")
    wait_until("its script runs", stub.argvs)
    yield server
    server.stop()


def everything(server: Server) -> dict[str, Any]:
    """What there is of batches, wherever it could be."""
    with closing(sqlite3.connect(server.database)) as store:
        tables = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        rows = {table: store.execute(f"SELECT * FROM {table}").fetchall() for (table,) in tables}
    return {
        "list": [(batch["id"], batch["state"]) for batch in server.api.get("/batches").json()["sessions"]],
        "files": server.run_files(),
        "processes": sorted(process.pid for process in server.driver_processes()),
        **rows,
    }


def placed(value: Any, jobs: Path) -> Any:
    """With the directory's name in place of JOBS, wherever it stands."""
    if isinstance(value, str):
        return value.replace("JOBS", str(jobs))
    if isinstance(value, list):
        return [placed(one, jobs) for one in value]
    return {key: placed(one, jobs) for key, one in value.items()} if isinstance(value, dict) else value


OK = {"file": "JOBS/ok.py"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "Rejected, Reason: requirement failed: File is required."),
    ({"file": ""}, "File is required."),
    ({"file": " \t"}, "File is required."),
    ({"file": None}, "File is required."),
    ({"file": ["JOBS/ok.py"]}, "file"),
    ({"file": "/etc/passwd"}, "cannot be added to user sessions"),
    ({"file": "JOBS/../../../../../../etc/passwd"}, "cannot be added"),
    ({"file": "JOBS/out.py"}, "cannot be added"),
    ({"file": "jobs/ok.py"}, "jobs/ok.py"),
    ({"file": "JOBS/none.py"}, "none.py"),
    ({"file": "file://JOBS/none.jar", "className": "a.B"}, "none.jar"),
    ({"file": "JOBS/a,b.py"}, "commas"),
    ({**OK, "pyFiles": ["/etc/hosts"]}, "cannot be added"),
    ({**OK, "pyFiles": ["JOBS/none.py"]}, "none.py"),
    ({**OK, "jars": ["JOBS/none.jar"]}, "none.jar"),
    ({**OK, "files": ["none.txt"]}, "none.txt"),
    ({**OK, "archives": ["JOBS/ok.py#../up"]}, "what follows #"),
    ({**OK, "conf": {"spark.files": "/etc/passwd"}}, "cannot be added"),
    ({**OK, "conf": {"spark.master": "x"}}, "spark.master"),
    ({**OK, "conf": {"a key": "x"}}, "a key"),
    ({**OK, "conf": {f"spark.k{number}": "x" for number in range(4)}}, "conf"),
    ({**OK, "conf": ["x"]}, "conf"),
    ({**OK, "args": ["a", "b", "c", "d"]}, "args"),
    ({**OK, "args": ["a", "b\0"]}, "args[1]"),
    ({**OK, "args": {"a": 1}}, "args"),
    ({**OK, "args": ["x" * 5000, "x" * 5000]}, "args, with file and className, has 1"),
    ({"file": "/" + "x" * 10_000}, "limits.args_bytes"),
    ({**OK, "conf": {"spark.x": "y" * 4097}}, 'conf["spark.x"] has 4097 bytes, and 4096 is the most'),
    ({**OK, "conf": {"k" * 1025: "y"}}, "1025 bytes"),
    ({**OK, "executorMemory": "9" * 4097}, "executorMemory has 4097 bytes"),
    ({**OK, "archives": ["hdfs:///a", "hdfs:///" + "x" * 4096]}, "archives[1] has 4104 bytes"),
    ({**OK, "files": ["JOBS/ok.py"] * 4}, "files"),
    ({**OK, "className": "a b"}, "className"),
    ({**OK, "className": ""}, "className"),
    ({**OK, "className": "--conf"}, "className"),
    ({**OK, "name": "7"}, "name"),
    ({**OK, "name": "x" * 21}, "21 bytes"),
    ({**OK, "name": "runs"}, "Duplicate session name: Some(runs)"),
    ({**OK, "driverCores": "many"}, "driverCores"),
    ({**OK, "numExecutors": -1}, "numExecutors"),
]


@pytest.mark.parametrize(("body", "words"), REFUSED, ids=lambda value: str(value)[:60])
def test_a_bad_request(server: Server, jobs: Path, body: dict, words: str) -> None:
    """400, with the field or the file in its words."""
    before = everything(server)
    answer = server.api.post("/batches", placed(body, jobs))
    assert answer.status_code == 400, answer.text
    told = answer.json()
    assert placed(words, jobs) in (told if isinstance(told, str) else told["msg"])
    assert everything(server) == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b'{"file": "\xff"}'])
def test_no_json_object(server: Server, body: bytes) -> None:
    """400 as well."""
    before = everything(server)
    answer = server.api.post("/batches", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert everything(server) == before


def test_a_body_over_the_limit(server: Server, jobs: Path) -> None:
    """413."""
    before = everything(server)
    answer = server.api.post("/batches", placed({**OK, "args": ["x" * 70_000]}, jobs))
    assert answer.status_code == 413, answer.text
    assert everything(server) == before


def test_a_full_queue(server: Server, jobs: Path) -> None:
    """503 with the time to try again; a key that came with it is free for the next try."""
    waiting = server.api.post("/batches", placed({**OK, "name": "waits"}, jobs))
    assert waiting.status_code == 201
    before = everything(server)
    headers = {"Idempotency-Key": "full"}
    for _ in range(2):
        answer = server.api.post("/batches", placed({**OK, "name": "third"}, jobs), headers=headers)
        assert answer.status_code == 503, answer.text
        assert "limits.batches_queued" in answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert everything(server) == before
    assert server.api.delete("/batches/waits").status_code == 200
    wait_until("there is room", lambda: len(everything(server)["list"]) == 1)
    again = server.api.post("/batches", placed({**OK, "name": "third"}, jobs), headers=headers)
    assert again.status_code == 201, again.text
    assert server.api.delete("/batches/third").status_code == 200


def test_the_longest_arguments(
    serve: Callable[..., Server], make_stub: Callable[..., Stub], jobs: Path
) -> None:
    """What fits the highest limits starts a driver; one byte more, of one or of all, is refused."""
    stub = make_stub()
    server = serve({**stub.settings, "files.allow": [str(jobs)], "limits.args_bytes": "1 MiB"})
    longest, most, file = 131_071, 1 << 20, str(jobs / "ok.py")
    args = ["x" * longest] * 7
    args.append("y" * (most - len(file) - 7 * longest))
    number = server.api.post("/batches", {"file": file, "args": args}).json()["id"]
    wait_until("it runs", stub.argvs)
    assert stub.argvs()[0][-8:] == args
    for over, words in (
        ([*args[:-1], args[-1] + "y"], f"has {most + 1} bytes, and {most} is the most (limits.args_bytes)"),
        (["a", "x" * (longest + 1)], f"args[1] has {longest + 1} bytes, and {longest} is the most"),
    ):
        answer = server.api.post("/batches", {"file": file, "args": over})
        assert answer.status_code == 400, answer.text[:300]
        assert words in answer.text
    assert server.api.delete(f"/batches/{number}").status_code == 200


def test_a_driver_that_cannot_start(
    serve: Callable[..., Server], make_stub: Callable[..., Stub], jobs: Path
) -> None:
    """What shows only then: the batch is dead, its log says why first and last, and it can be deleted."""
    server = serve({**make_stub(None).settings, "files.allow": [str(jobs)]})
    number = server.api.post("/batches", placed(OK, jobs)).json()["id"]
    path = f"/batches/{number}"
    wait_until("it ends", lambda: server.api.get(f"{path}/state").json()["state"] == "dead")
    log = server.api.get(f"{path}/log?from=0&size=100").json()["log"]
    assert log[0] == log[-1]
    assert "spark-submit could not be run" in log[0]
    assert server.api.delete(path).status_code == 200
    wait_until("no file is left", lambda: not server.run_files())
    assert not server.driver_processes()
