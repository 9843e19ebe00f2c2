"""S9: whatever stands in a request's fields, spark-submit is given exactly the arguments that it should be,
and each value as it was or not at all."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any, Iterator

import pytest
from harness.api import Api
from harness.hostile import HOSTILE
from harness.processes import processes, wait_until
from harness.properties import parse
from harness.server import Server
from harness.spark import newest
from harness.stub import Stub

TEXTS = [*HOSTILE, "\0", "a\0b"]


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Stub:
    """A spark-submit that keeps what it was given and ends."""
    return Stub(tmp_path_factory.mktemp("arguments") / "spark", "exit 0\n")


@pytest.fixture(scope="module")
def server(stub: Stub) -> Iterator[Server]:
    """A server with everything that puts a request's text into arguments."""
    jobs = stub.home / "jobs"
    jobs.mkdir()
    (jobs / "job.py").touch()
    (jobs / "a b '$(id).jar").touch()
    settings = {**stub.settings, "spark.python": newest().python, "files.allow": [str(jobs)]}
    server = Server({**settings, "access.impersonation": True, "limits.sessions": 4, "limits.batches": 4})
    yield server
    server.stop()


def no_shell(server: Server) -> None:
    """No process of the server's is a shell, but for spark-submit's own script."""
    for process in server.driver_processes():
        assert "-c" not in process.argv[:3], process


def calls(stub: Stub) -> dict[str, tuple[list[str], dict[str, str]]]:
    """What each call so far was given, by a mark in its conf: arguments, and the conf in its properties."""
    found = {}
    for path in stub.calls.glob("argv.*[0-9]"):
        argv = path.read_bytes().decode().split("\0")[:-1]
        properties = path.with_name(path.name.replace("argv", "properties"))
        conf = parse(properties.read_text())
        found[conf.get("spark.mark", "")] = (argv, conf)
    return found


def made(api: Api, path: str, body: dict[str, Any], fields: list[str]) -> tuple[dict[str, Any], list[str]]:
    """POST, without the fields that are refused: what was sent in the end, which were left out."""
    left_out = []
    body = dict(body)
    for _ in range(len(fields) + 1):
        answer = api.post(path, body)
        if answer.status_code == 201:
            return body, left_out
        assert answer.status_code == 400, answer.text
        text = answer.text.lower()
        # Each refusal names what it is about; one that does not is of the first field that is left.
        names = {
            "name": "session name",
            "proxyUser": "user name",
            "conf": "configuration",
            "className": "classname",
        }
        about = next(
            (field for field in fields if field in body and names.get(field, field.lower()) in text), None
        )
        assert about, f"{answer.text} names none of {[field for field in fields if field in body]}"
        left_out.append(about)
        del body[about]
        if about == "conf":
            body["conf"] = {"spark.mark": body["mark"]} if "mark" in body else {}
    raise AssertionError("it is refused without any of the fields")


def test_fields_of_sessions(server: Server, stub: Stub) -> None:
    """Each string in every field at once: the arguments have none but the proxy user, the properties file
    has it unharmed."""
    fields = ["name", "queue", "driverMemory", "executorMemory", "proxyUser", "conf"]
    sent: dict[str, tuple[str, dict, list[str]]] = {}
    for number, text in enumerate(TEXTS):
        mark = f"session-{number}"
        body = dict.fromkeys(fields, text) | {"conf": {"spark.text": text, "spark.mark": mark}}
        if "\0" in text:
            body["conf"] = {"spark.mark": mark}
        body, left_out = made(server.api, "/sessions", body, fields)
        sent[mark] = (text, body, left_out)
    wait_until("all have been started", lambda: set(sent) <= set(calls(stub)), 120)
    given = calls(stub)
    for mark, (text, body, _) in sent.items():
        argv, conf = given[mark]
        properties = argv[1]
        user = ["--proxy-user", text] if "proxyUser" in body else []
        main, run_dir = argv[-2:]
        assert argv == ["--properties-file", properties, *user, main, run_dir], (text, argv)
        assert properties.startswith(f"{server.state_dir}/run/")
        assert main.startswith(f"{server.state_dir}/agent/")
        assert main.endswith("main.py")
        assert run_dir == properties.rsplit("/", 1)[0]
        assert not [key for key in conf if "evil" in key], conf
        for field, key in (
            ("queue", "spark.yarn.queue"),
            ("driverMemory", "spark.driver.memory"),
            ("executorMemory", "spark.executor.memory"),
            ("name", "spark.app.name"),
        ):
            if field in body and text:
                assert conf[key] == text, (field, text)
        if "\0" not in text:
            assert conf["spark.text"] == text
    # Whom it runs as is never an option or a path: names are looked at.
    users = {text for text, body, _ in sent.values() if "proxyUser" in body}
    assert not [
        text for text in users if text.startswith(("-", ".", "/")) or set(text) & set(" $;&|`'\"\\\n\t")
    ]
    no_shell(server)
    for number in server.api.ids():
        server.api.delete(f"/sessions/{number}")


def test_arguments_of_batches(server: Server, stub: Stub) -> None:
    """They follow the application, as they came; a class is a name, and a file is one that is allowed."""
    job = stub.home / "jobs/job.py"
    jar = stub.home / "jobs/a b '$(id).jar"
    for number, (file, args) in enumerate([(job, HOSTILE), (jar, HOSTILE[::-1]), (job, [])]):
        mark = f"batch-{number}"
        body = {"file": str(file), "args": args, "conf": {"spark.mark": mark}}
        answer = server.api.post("/batches", body)
        assert answer.status_code == 201, answer.text
        wait_until("it was started", lambda mark=mark: mark in calls(stub), 60)
        argv, _ = calls(stub)[mark]
        uri = "file://" + str(file).replace(" ", "%20")
        assert argv == ["--properties-file", argv[1], uri, *args], argv
    for text in TEXTS:
        answer = server.api.post("/batches", {"file": str(job), "className": text})
        if answer.status_code == 201:
            assert all(letter.isalnum() or letter in "._$" for letter in text), text
            continue
        assert answer.status_code == 400, answer.text
        answer = server.api.post("/batches", {"file": text})
        # What has a scheme that is not of this host is Spark's to find, or not.
        remote = re.fullmatch(r"(?!file|jar)[a-z][a-z.]*:[^ ,\\]+", text)
        assert answer.status_code == (201 if remote else 400), (text, answer.text)
    assert server.api.post("/batches", {"file": str(job), "args": ["\0"]}).status_code == 400
    no_shell(server)


LONGEST_KEY = 1024
"""The most bytes of a conf key (docs/policy.md)."""


def test_keys_of_the_conf(server: Server, stub: Stub) -> None:
    """A key is a key to the end, or refused."""
    rng = random.Random(9)
    keys = [f"spark.k{number}.{text}" for number, text in enumerate(TEXTS)]
    rng.shuffle(keys)
    taken = []
    for key in keys:
        answer = server.api.post("/batches", {"file": "hdfs:///none.py", "conf": {key: "1"}, "name": "1"})
        assert answer.status_code == 400
        if "Invalid session name" in answer.json()["msg"]:
            # Nothing but its name was wrong; names are looked at first.
            taken.append(key)
    assert taken == keys
    conf = {}
    for key in keys:
        odd = len(key.encode()) > LONGEST_KEY or any(
            c.isspace()
            or ord(c) < 32
            or 127 <= ord(c) < 160
            or c in "=\u00ad"
            or 0x200B <= ord(c) <= 0x206F
            or c == "\ufeff"
            for c in key
        )
        answer = server.api.post("/batches", {"file": "relative.py", "conf": {key: "1"}})
        assert answer.status_code == 400
        is_key = "is not absolute" in answer.json()["msg"]
        assert is_key == (not odd), (key, answer.text)
        if is_key:
            conf[key] = "1"
    conf["spark.mark"] = "keys"
    assert server.api.post("/batches", {"file": "hdfs:///none.py", "conf": conf}).status_code == 201
    wait_until("it was started", lambda: "keys" in calls(stub), 60)
    _, given = calls(stub)["keys"]
    assert conf.items() <= given.items()
    assert not [key for key in given if key not in conf and "evil" in key]


def test_nothing_was_run(server: Server) -> None:
    """None of the commands in the strings."""
    assert not Path("/tmp/evil").exists()
    assert not [process for process in processes() if process.argv[:1] == ["id"]]
