"""The audit log and the access log (docs/access.md)."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import requests
from harness.api import Api
from harness.processes import wait_until
from harness.roles import ADMIN, OWNER, STRANGER, by_basic, settings
from harness.server import Server
from harness.stub import Stub

SECRET = "canary-4f1e9c"


class Audited:
    """A server with an audit log, and what is in that."""

    def __init__(self, directory: Path, **more: Any):
        self.file = directory / "audit.log"
        audit = {"audit.file": self.file, **{f"audit.{key}": value for key, value in more.items()}}
        allowed = ("the audit log can't be written",)
        own = {**Stub(directory / "spark").settings, **settings(directory), **audit}
        self.server = Server(own, allowed=allowed)

    def lines(self) -> list[dict[str, Any]]:
        """All lines, those of earlier files first. Each is a whole JSON object."""
        files = sorted(self.file.parent.glob("audit.log*"), key=lambda file: (len(file.name), file.name))
        numbered = [file for file in files if file != self.file]
        texts = [file.read_text() for file in [*reversed(numbered), self.file]]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    def line(self, request: str) -> dict[str, Any]:
        """The line of one request, once it is there."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [line for line in self.lines() if line.get("request") == request]
            return bool(found)

        wait_until(f"the line of {request} is there", is_there)
        assert len(found) == 1, found
        return found[0]

    def told(self, answer: Any) -> dict[str, Any]:
        """The line of an answer's request, without what differs each time."""
        line = self.line(answer.headers["X-Request-Id"])
        assert line.pop("from") == "127.0.0.1"
        assert line.pop("status") == answer.status_code
        assert line.pop("ms") >= 0
        assert line.pop("time").endswith("Z")
        line.pop("request")
        return line


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[Callable[..., Audited]]:
    """Start such servers; they end with the test."""
    started: list[Audited] = []

    def start(**more: Any) -> Audited:
        started.append(Audited(tmp_path, **more))
        return started[-1]

    yield start
    for one in started:
        if one.server.home.exists():
            one.server.stop()


def test_who_did_what(audited: Callable[..., Audited]) -> None:
    """Each change and each refusal has its line: who, as whom, how, what, allowed or not; and nothing of
    what was sent."""
    audit = audited()
    alice, sam, admin = (by_basic(audit.server, name) for name in (OWNER, STRANGER, ADMIN))
    conf = {"spark.x": SECRET}
    created = alice.post("/sessions", {"kind": "pyspark", "name": SECRET, "conf": conf})
    number = created.json()["id"]
    by = {"user": OWNER, "by": "basic"}
    assert audit.told(created) == {
        **by,
        "method": "POST",
        "route": "/sessions",
        "session": number,
        "allowed": True,
    }
    path = f"/sessions/{number}"
    posted = alice.post(f"{path}/statements?x={SECRET}", {"code": f"print('{SECRET}')", "kind": "pyspark"})
    assert audit.told(posted) == {
        **by,
        "method": "POST",
        "route": "/sessions/{id}/statements",
        "session": number,
        "statement": 0,
        "allowed": True,
    }
    cancelled = admin.post(f"{path}/statements/0/cancel?doAs={OWNER}")
    assert audit.told(cancelled) == {
        "user": ADMIN,
        "acting_as": OWNER,
        "by": "basic",
        "method": "POST",
        "route": "/sessions/{id}/statements/{statement}/cancel",
        "session": number,
        "statement": 0,
        "allowed": True,
    }
    # It is hidden from the caller, and not from the log.
    refused = {"method": "GET", "route": "/sessions/{id}/log", "session": number, "allowed": False}
    assert audit.told(sam.get(f"{path}/log")) == {"user": STRANGER, "by": "basic", **refused}
    # What is not there was nobody's to refuse: as any other read it has no line.
    assert sam.get("/sessions/9999/log").status_code == 404
    unproved = Api(audit.server.url, auth=(OWNER, SECRET)).delete(path)
    assert audit.told(unproved) == {
        "method": "DELETE",
        "route": "/sessions/{id}",
        "named": str(number),
        "allowed": False,
    }
    impersonated = alice.post(f"/sessions?doAs={STRANGER}", {"kind": "pyspark"})
    assert audit.told(impersonated) == {**by, "method": "POST", "route": "/sessions", "allowed": False}
    foreign = alice.delete(path, headers={"Origin": "https://evil.example"})
    # Nobody was asked who it is, nor what it is about.
    assert audit.told(foreign) == {"method": "DELETE", "route": "/sessions/{id}", "allowed": False}
    shared = alice.request("PUT", f"{path}/shares/users/{STRANGER}", {"access": "view"})
    assert audit.told(shared)["route"] == "/sessions/{id}/shares/{kind}/{name}"
    deleted = alice.delete(path)
    assert audit.told(deleted)["session"] == number
    for open_to_all in ("/ping", "/healthcheck"):
        assert Api(audit.server.url).get(open_to_all).status_code == 200
    reads = [line for line in audit.lines() if line["method"] == "GET" and line["allowed"]]
    assert not reads
    whole = audit.file.read_text()
    assert SECRET not in whole
    assert audit.file.stat().st_mode & 0o777 == 0o600
    assert SECRET not in audit.server.log()


def test_code_and_reads_where_they_are_asked_for(audited: Callable[..., Audited]) -> None:
    """`audit.code`, cut at `audit.code_bytes`; `audit.reads`."""
    audit = audited(code=True, code_bytes="8B", reads=True)
    alice = by_basic(audit.server, OWNER)
    session = alice.create()
    posted = alice.post(f"{session.path}/statements", {"code": "1 + 'ä' * 5", "kind": "pyspark"})
    assert audit.told(posted)["code"] == "1 + 'ä'"
    assert audit.told(alice.get(session.path))["route"] == "/sessions/{id}"
    session.delete()


def test_rotation_loses_nothing(audited: Callable[..., Audited]) -> None:
    """The files stay below their size; what is kept of them has no gap and no torn line."""
    audit = audited(reads=True, max_bytes="4KiB", kept=50)
    apis = [by_basic(audit.server, OWNER) for _ in range(4)]
    answers: list[str] = []

    def ask(api: Api) -> None:
        for _ in range(50):
            answers.append(api.get("/version").headers["X-Request-Id"])

    threads = [threading.Thread(target=ask, args=(api,)) for api in apis]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until("all are there", lambda: len(audit.lines()) >= 200)
    assert sorted(line["request"] for line in audit.lines()) == sorted(answers)
    files = list(audit.file.parent.glob("audit.log*"))
    # A batch of lines is written at once, and is longer than a file of this test's.
    assert len(files) > 3 and all(file.stat().st_mode & 0o777 == 0o600 for file in files)


def test_the_last_lines_are_written(audited: Callable[..., Audited]) -> None:
    """A server that is asked to stop writes what waits."""
    audit = audited()
    alice = by_basic(audit.server, OWNER)
    numbers = [alice.create().created["id"] for _ in range(5)]
    audit.server.stop()
    made = [line["session"] for line in audit.lines() if line["route"] == "/sessions"]
    assert made == numbers


def test_a_client_that_leaves_takes_no_line_along(audited: Callable[..., Audited]) -> None:
    """What it asked for may have been done."""
    audit = audited()
    alice = by_basic(audit.server, OWNER)
    session = alice.create()
    # The session starts for ever: the answer is held, for longer than this client waits.
    with pytest.raises(requests.ReadTimeout):
        alice.post(f"{session.path}/upload-file", files={"file": ("a", b"a")}, timeout=1)
    wait_until("the line is there", lambda: any(line["status"] == "left" for line in audit.lines()))
    left = next(line for line in audit.lines() if line["status"] == "left")
    assert (left["user"], left["method"], left["session"]) == (OWNER, "POST", session.id)
    session.delete()


def break_disk(audit: Audited) -> None:
    """From here on the file can't be written: in its place is a device that is always full."""
    wait_until("its line is there", lambda: len(audit.lines()) == 1)
    audit.file.rename(audit.file.with_name("before"))
    audit.file.symlink_to("/dev/full")


def test_a_full_disk_when_nothing_may_be_missing(audited: Callable[..., Audited]) -> None:
    """What would be recorded is refused, until it can be again; reads go on; nothing is missing."""
    audit = audited(strict=True)
    alice = by_basic(audit.server, OWNER)
    session = alice.create()
    break_disk(audit)
    code = {"code": "1", "kind": "pyspark"}
    assert alice.post(f"{session.path}/statements", code).status_code == 201
    wait_until("the server notices", lambda: "the audit log can't be written" in audit.server.log())
    refused = alice.post(f"{session.path}/statements", code)
    assert refused.status_code == 503 and refused.headers["Retry-After"]
    assert "audit.strict" in refused.json()["msg"]
    assert alice.get(f"{session.path}/statements").json()["total_statements"] == 1
    audit.file.unlink()
    wait_until("it goes on", lambda: alice.post(f"{session.path}/interrupt").status_code == 200)
    wait_until("both are there", lambda: audit.file.exists() and len(audit.lines()) >= 2)
    first, second = audit.lines()[:2]
    assert first["statement"] == 0
    assert second["route"] == "/sessions/{id}/interrupt"
    session.delete()


def test_a_full_disk_when_work_goes_on(audited: Callable[..., Audited]) -> None:
    """Nothing is refused, and a line counts what is missing."""
    audit = audited()
    alice = by_basic(audit.server, OWNER)
    session = alice.create()
    break_disk(audit)
    code = {"code": "1", "kind": "pyspark"}
    assert alice.post(f"{session.path}/statements", code).status_code == 201
    wait_until("the server notices", lambda: "the audit log can't be written" in audit.server.log())
    assert alice.post(f"{session.path}/statements", code).status_code == 201
    audit.file.unlink()
    assert alice.post(f"{session.path}/interrupt").status_code == 200
    wait_until(
        "it is there again",
        lambda: audit.file.exists() and "interrupt" in audit.file.read_text(),
    )
    marker, *others = audit.lines()
    assert set(marker) == {"time", "missing"}
    statements = [line for line in others if line["route"].endswith("/statements")]
    assert marker["missing"] + len(statements) == 2
    session.delete()


def test_a_file_that_cannot_be(tmp_path: Path) -> None:
    """Is told at the start."""
    own = {**Stub(tmp_path / "spark").settings, "audit.file": tmp_path / "no/such/audit.log"}
    server = Server(own, start=False)
    assert server.start_to_die() != 0
    assert "audit.file" in server.log()
    server.discard()


def test_access_log(tmp_path: Path, serve: Callable[..., Server]) -> None:
    """`log.access`: a line for each answer, with no path and nothing that the client sent."""
    own = {**Stub(tmp_path / "spark").settings, **settings(tmp_path)}
    server = serve({**own, "log.access": True})
    alice = by_basic(server, OWNER)
    answer = alice.get(f"/sessions/{SECRET}?x={SECRET}", headers={"User-Agent": SECRET})
    assert answer.status_code == 404
    number = answer.headers["X-Request-Id"]
    lines = [line for line in server.log().splitlines() if f'request="{number}"' in line]
    assert len(lines) == 1, server.log()
    for words in ("GET /sessions/{id}", 'user="alice"', "status=404", 'from="127.0.0.1"'):
        assert words in lines[0]
    assert SECRET not in server.log()
