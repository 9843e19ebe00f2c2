"""The server's log with `log.format = "json"`: each line is an object, those about sessions and statements
have their ids, and none has code, output or a secret. The driver is none of Spark's."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any, Callable

from harness.api import Api
from harness.fake import Fake
from harness.server import Server, command

PASSWORD = f"marker-password-{uuid.uuid4().hex}"
MARKERS = {
    name: f"marker-{name}-{uuid.uuid4().hex}"
    for name in (
        "code",
        "error",
        "cancelled",
        "job",
        "completion",
        "bad-code",
        "conf-value",
        "conf-password",
        "env",
        "header",
        "trace-state",
        "agent",
        "cookie",
        "bearer",
        "query",
        "wrong-password",
    )
}
ABOUT_STATEMENT = re.compile(r"\b(statement|result)\b")
ABOUT_SESSION = re.compile(r"\bsession\b")


def spread(server: Server, api: Api) -> tuple[int, dict[int, str], str]:
    """Send each marker in its way; the session's id, its statements with their ends, and an output whose text
    is in no code."""
    api.http.headers.update({"X-Something": MARKERS["header"], "User-Agent": MARKERS["agent"]})
    api.http.headers["tracestate"] = f"vendor={MARKERS['trace-state']}"
    conf = {"spark.some.key": MARKERS["conf-value"], "spark.some.password": MARKERS["conf-password"]}
    session = api.create(conf=conf)
    session.wait("idle")
    ends = {}
    first = session.run(f"ledger {MARKERS['code']}")
    ends[first["id"]] = "ok"
    assert first["output"]["data"]["text/plain"] == MARKERS["code"]
    failed = session.run(f"error {MARKERS['error']}")
    ends[failed["id"]] = "error"
    assert MARKERS["error"] in failed["output"]["evalue"]
    noise = session.run("noise 2000 7")
    ends[noise["id"]] = "ok"
    running = session.post(f"sleep 600 {MARKERS['cancelled']}")
    waiting = session.post(f"ledger {MARKERS['cancelled']}")
    session.wait_statement(running["id"], "running")
    for cancelled in (waiting, running):
        session.cancel(cancelled["id"])
        session.wait_statement(cancelled["id"], "cancelled")
        ends[cancelled["id"]] = "cancelled"
    at = session.path
    refused = [
        api.post(f"{at}/statements", {"code": MARKERS["bad-code"], "kind": "cobol"}),
        api.post(f"{at}/statements", data=MARKERS["bad-code"].encode()),
        api.post(f"{at}/submit-job", {"job": MARKERS["job"], "jobType": "pyspark"}),
        api.get(f"/sessions?from=x&token={MARKERS['query']}"),
    ]
    assert [answer.status_code for answer in refused] == [400] * len(refused)
    body = {"code": MARKERS["completion"], "kind": "pyspark", "cursor": 3}
    assert api.post(f"{at}/completion", body).status_code == 200
    strangers = [
        server.user("alice", MARKERS["wrong-password"]).get(at),
        server.bearer(MARKERS["bearer"]).get(at),
        Api(server.url).get(at, headers={"Cookie": f"session={MARKERS['cookie']}"}),
    ]
    assert [answer.status_code for answer in strangers] == [401] * len(strangers)
    session.delete()
    return session.id, ends, noise["output"]["data"]["text/plain"]


def test_lines(serve: Callable[..., Server], tmp_path: Path, figures: Callable[[str], None]) -> None:
    """Whatever is logged, at the levels at which the server's own code logs most."""
    users = tmp_path / "users"
    assert command("passwd", str(users), "alice", stdin=PASSWORD + "\n").returncode == 0
    fake = Fake(tmp_path / "fake")
    settings: dict[str, Any] = {
        **fake.settings,
        "driver.env": {"FAKE_LEDGER": str(fake.ledger), "SOME": MARKERS["env"]},
        "access.mode": "basic",
        "access.basic_file": users,
        "log.format": "json",
        "log.level": "debug,firesteel=trace,hyper=info",
        "log.access": True,
    }
    server = serve(settings)
    session, ends, output = spread(server, server.user("alice", PASSWORD))
    text = server.log()
    for name, marker in {**MARKERS, "password": PASSWORD}.items():
        assert marker not in text, name
    words = [word for word in output.split() if len(word) >= 20]
    assert words
    assert not [word for word in words if word in text]

    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert {"timestamp", "level", "target", "fields"} <= line.keys(), line
    # Other crates' words for what they call sessions and results are not the server's.
    own = [line for line in lines if line["target"].startswith("firesteel")]
    said = [line["fields"] for line in own if line["target"] != "firesteel::access"]
    # Before any session there are sentences about all that will be.
    created = next(at for at, fields in enumerate(said) if fields["message"] == "a session was created")
    said = said[created:]
    for fields in said:
        if ABOUT_STATEMENT.search(fields["message"]):
            assert isinstance(fields["statement.id"], int), fields
            assert fields["session.id"] == session, fields
        elif ABOUT_SESSION.search(fields["message"]):
            assert fields["session.id"] == session, fields
    ended = [fields for fields in said if fields["message"] == "a statement has ended"]
    assert {fields["statement.id"]: fields["outcome"] for fields in ended} == ends
    states = [fields["new"] for fields in said if fields["message"] == "the session's state changed"]
    assert states[0] == "idle"
    assert states.count("busy") == 4
    assert states[-1] in ("shutting_down", "dead")
    access = [line["fields"] for line in own if line["target"] == "firesteel::access"]
    posts = [fields for fields in access if fields["message"] == "POST /sessions/{id}/statements"]
    assert all(fields["user"] == "alice" and fields["session.id"] == session for fields in posts)
    assert [fields["statement.id"] for fields in posts if fields["status"] == 201] == sorted(ends)
    figures(f"JSON log: {len(lines)} lines, {len(MARKERS) + 1} markers in none of them")
