"""The examples of the OpenAPI document are true: each is asked of a real server with a real Spark, and what
comes is like what is written there. `UPDATE=1` writes them anew."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import requests
from harness.api import DONE, Session
from harness.batch import LIMIT
from harness.processes import wait_until
from harness.server import Server, command
from harness.spark import Spark

EXAMPLES = Path(__file__).parents[2] / "openapi/examples.json"
DOCUMENT = EXAMPLES.with_name("openapi.json")
SMALL = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2"}
SESSION = {
    "kind": "pyspark",
    "name": "sales",
    "driverMemory": "1g",
    "heartbeatTimeoutInSecond": 3600,
    "conf": SMALL,
}
JOB = b"import sys\nprint('hello', *sys.argv[1:])\n"
# What is another's on every machine, and how it is written in an example.
PLACES = [
    (re.compile(r"local-\d+"), "local-1795943100000"),
    (re.compile(r"\S+:\d+/"), "driver:35000/"),
    (re.compile(r"fst_\S+"), "fst_..."),
]
# Objects whose keys are users' own.
OPEN = {"conf", "data", "limits", "environmentVariables"}


class Recorder:
    """Asks, and keeps what was answered under the operation's name."""

    def __init__(self, server: Server):
        self.server = server
        self.found: dict[str, dict] = {}

    def ask(
        self, operation: str, method: str, path: str, body: Any = None, user: str = "ada", **more: Any
    ) -> requests.Response:
        """One exchange; one that fails is an example of its status, for all operations."""
        auth = (user, user) if user else None
        answer = requests.request(
            method, self.server.url + path, json=body, auth=auth, timeout=60, allow_redirects=False, **more
        )
        example = self.found.setdefault(operation, {"responses": {}})
        if body is not None and answer.ok:
            example["request"] = body
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        if answer.status_code >= 400:
            assert operation == "errors", (operation, answer.status_code, answer.text)
        if is_json:
            example["responses"][str(answer.status_code)] = answer.json()
        return answer


@pytest.fixture(scope="module")
def recorder(default_spark: Spark, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """A server with users and tokens."""
    home = tmp_path_factory.mktemp("examples")
    users = home / "users"
    for name in ("ada", "bob", "chief"):
        assert command("passwd", str(users), name, stdin=f"{name}\n").returncode == 0
    server = Server(
        {
            **default_spark.settings,
            "spark.master": "local[2]",
            "access.mode": ["basic", "token"],
            "access.basic_file": str(users),
            "access.superusers": ["chief"],
            "audit.file": str(home / "audit"),
            "limits.request_body": "1MiB",
        }
    )
    yield Recorder(server)
    server.stop()


@pytest.fixture(scope="module")
def recorded(recorder: Recorder) -> dict[str, dict]:
    """All examples, as they are now."""
    ask, server = recorder.ask, recorder.server
    server.api.http.auth = ("ada", "ada")
    session_and_statements(ask, server)
    shares(ask)
    batches(ask)
    ask("deleteSession", "DELETE", "/sessions/0")
    wait_until("it is in the history", lambda: server.api.get("/history/0").status_code == 200, 60)
    history(ask)
    tokens_and_service(ask)
    errors(ask)
    return {name: example for name, example in recorder.found.items() if any(example.values())}


Ask = Callable[..., requests.Response]


def session_and_statements(ask: Ask, server: Server) -> None:
    created = ask("createSession", "POST", "/sessions", SESSION)
    session = Session(server.api, created.json())
    session.wait("idle")
    for operation, path in [("getSession", ""), ("getSessionState", "/state")]:
        ask(operation, "GET", session.path + path)
    ask("listSessions", "GET", "/sessions?size=1")
    wait_until("it has written something", lambda: len(session.log()) > 8, 60)
    ask("getSessionLog", "GET", f"{session.path}/log?from=1&size=2")
    posted = ask(
        "runStatement", "POST", f"{session.path}/statements", {"code": "print(spark.range(10).count())"}
    )
    session.wait_statement(posted.json()["id"])
    ask("getStatement", "GET", f"{session.path}/statements/0")
    ask("getStatementText", "GET", f"{session.path}/statements/0/output")
    ask("listStatements", "GET", f"{session.path}/statements?size=1")
    question = {"code": "spark.ra", "kind": "pyspark", "cursor": 8}
    ask("completeCode", "POST", f"{session.path}/completion", question)
    statement = session.post("import time\ntime.sleep(600)")["id"]
    session.wait_statement(statement, "running")
    ask("cancelStatement", "POST", f"{session.path}/statements/{statement}/cancel")
    session.wait_statement(statement, *DONE)
    ask("interruptSession", "POST", f"{session.path}/interrupt")
    ask("connectSession", "POST", f"{session.path}/connect")


def shares(ask: Ask) -> None:
    ask("shareSession", "PUT", "/sessions/0/shares/users/bob", {"access": "view"})
    ask("listSessionShares", "GET", "/sessions/0/shares")
    ask("unshareSession", "DELETE", "/sessions/0/shares/users/bob")


def batches(ask: Ask) -> None:
    sent = ask("createUpload", "POST", "/uploads", files={"file": ("job.py", JOB)})
    upload = sent.json()
    ask("listUploads", "GET", "/uploads")
    ask("getUpload", "GET", f"/uploads/{upload['id']}")
    ask(
        "createBatch",
        "POST",
        "/batches",
        {"file": upload["uri"], "args": ["world"], "name": "hello", "conf": SMALL},
    )

    def ended() -> bool:
        return ask("getBatchState", "GET", "/batches/0/state").json()["state"] == "success"

    wait_until("it has ended", ended, LIMIT)
    ask("getBatch", "GET", "/batches/0")
    ask("listBatches", "GET", "/batches?size=1")
    ask("getBatchLog", "GET", "/batches/0/log?from=1&size=1")
    ask("shareBatch", "PUT", "/batches/0/shares/users/bob", {"access": "view"})
    ask("listBatchShares", "GET", "/batches/0/shares")
    ask("unshareBatch", "DELETE", "/batches/0/shares/users/bob")
    ask("deleteBatch", "DELETE", "/batches/0")
    ask("deleteUpload", "DELETE", f"/uploads/{upload['id']}")


def history(ask: Ask) -> None:
    ask("listHistory", "GET", "/history?size=1")
    ask("getEndedSession", "GET", "/history/0")
    ask("getEndedSessionLog", "GET", "/history/0/log?from=1&size=1")
    ask("listEndedStatements", "GET", "/history/0/statements?size=1")


def tokens_and_service(ask: Ask) -> None:
    made = ask("createToken", "POST", "/tokens", {"name": "notebook", "scopes": ["read", "sessions"]}).json()
    ask("listTokens", "GET", "/tokens")
    ask("deleteToken", "DELETE", f"/tokens/{made['id']}")
    ask("listQuotas", "GET", "/quotas")
    ask("changeQuota", "PUT", "/quotas/ada", {"sessions": 4}, user="chief")
    ask("listGpus", "GET", "/gpus")
    ask("showPool", "GET", "/pool", user="chief")
    ask("listAudit", "GET", "/audit?size=1", user="chief")
    ask("changeDrain", "PUT", "/drain", {"draining": False}, user="chief")
    ask("showDrain", "GET", "/drain", user="chief")
    ask("version", "GET", "/version")


def errors(ask: Ask) -> None:
    """One for each status that needs no trouble to be had."""
    for method, path, body, more in [
        ("POST", "/sessions", {"kind": "cobol"}, {}),
        ("GET", "/sessions", None, {"user": ""}),
        ("PUT", "/quotas/ada", {"sessions": 4}, {}),
        ("GET", "/sessions/99", None, {}),
        ("GET", "/sessions", None, {"headers": {"Accept": "application/vnd.livy.v9+json"}}),
        ("POST", "/sessions", {"kind": "pyspark", "name": "x" * (1 << 20)}, {}),
    ]:
        ask("errors", method, path, body, **more)


def alike(one: Any, other: Any, key: str = "") -> bool:
    """Whether both have the same fields, and values of the same kinds where both have one."""
    if one is None or other is None or key in OPEN:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key], key) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return all(alike(*pair) for pair in zip(one, other))
    numbers = (int, float)
    return type(one) is type(other) or (isinstance(one, numbers) and isinstance(other, numbers))


def plain(value: Any, key: str = "") -> Any:
    """Without what is of one machine alone, and without a whole token."""
    if isinstance(value, dict):
        return {key: plain(found, key) for key, found in value.items()}
    if isinstance(value, list):
        return [plain(found) for found in (value[-2:] if key == "log" else value)]
    if isinstance(value, str):
        for pattern, written in PLACES:
            value = pattern.sub(written, value)
    return value


def test_each_example_is_true(recorded: dict[str, dict]) -> None:
    if "UPDATE" in os.environ:
        EXAMPLES.write_text(json.dumps(plain(recorded), indent=2, ensure_ascii=False) + "\n")
    written = json.loads(EXAMPLES.read_text())
    assert written.keys() == recorded.keys()
    for name, example in written.items():
        assert alike(example, recorded[name]), (name, example, recorded[name])


# They need Livy's client, a browser's login, a session that ended by itself, or another owner.
WITHOUT = {
    "submitJob",
    "runJob",
    "getJob",
    "logIn",
    "logOut",
    "getEndedStatement",
    "handOverSession",
    "handOverBatch",
}


def test_operations_have_examples() -> None:
    document = json.loads(DOCUMENT.read_text())
    lacking = {
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
        for status, response in operation["responses"].items()
        for kind, content in response.get("content", {}).items()
        if kind == "application/json" and "example" not in content and status in ("200", "201", "400", "404")
    }
    assert lacking == WITHOUT
