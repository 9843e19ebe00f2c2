"""Every route by every role, in every way to say who one is: what is answered, and with which body.

The table is one for all ways; what differs by way is in its row. A route without a row fails the test.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator

import pytest
from harness.api import Api
from harness.processes import wait_until
from harness.roles import ADMIN, MODIFIER, OWNER, STRANGER, VIEWER, password
from harness.server import Server, command
from harness.stub import Stub
from harness.ways import WAYS, Way

ROLES: dict[str, tuple[str | None, str]] = {
    "nobody": (None, ""),
    "stranger": (STRANGER, ""),
    "viewer": (VIEWER, ""),
    "modifier": (MODIFIER, ""),
    "owner": (OWNER, ""),
    "admin": (ADMIN, ""),
    "admin as the owner": (ADMIN, OWNER),
    "admin as a stranger": (ADMIN, STRANGER),
}
"""Who calls, and as whom they act."""

READ = {"stranger": 0, "viewer": 1, "modifier": 2, "owner": 4, "admin": 4}
"""How far each role's rights reach: 1 sees, 2 changes, 3 takes, 4 shares."""
NEEDED = {"see": 1, "view": 1, "modify": 2, "take": 3, "share": 4}


@dataclass
class Row:
    """What a route answers."""

    needs: str
    """`open`, `caller`, `admin`, `upload`, or what is needed on a session, batch or ended session."""
    status: int = 200
    """For who may."""
    has: str = ""
    """What the body of who may must have: a JSON key, or a text."""
    body: Any = None
    form: tuple[str, str] | None = None
    """The part and the name of a file that is sent."""
    query: str = ""
    by_role: dict[str, int] = field(default_factory=dict)
    """The status for who may, where it is another."""
    by_way: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Status and body for who may, in a way where they are others."""
    fresh: bool = False
    """Whether each role gets one of its own, since the request changes it."""


WITHOUT_PASSWORDS = ("kerberos", "jwt", "proxy")
"""The ways in whose servers nobody logs in by name and password."""
JOB = {"job": "gASVCgAAAAAAAABdlC4=", "jobType": "pyspark"}
# Whoever hands over to a stranger offers it; only an administrator does it at once.
HAND_OVER = Row("take", 202, "msg", {"user": STRANGER}, by_role={"admin": 200}, fresh=True)
SHARE = Row("share", has="shares", body={"access": "view"}, fresh=True)
# It is not shared with the group that the path names.
UNSHARE = Row("share", 404, "There is no such share.", fresh=True)
ROWS: dict[str, Row] = {
    "GET /sessions": Row("caller", has="sessions"),
    "POST /sessions": Row("caller", 201, "id", {"kind": "pyspark"}),
    "GET /sessions/{id}": Row("see", has="owner"),
    "DELETE /sessions/{id}": Row("modify", has="deleted", fresh=True),
    "GET /sessions/{id}/state": Row("see", has="state"),
    "GET /sessions/{id}/log": Row("view", has="log"),
    "GET /sessions/{id}/events": Row("view", has="event:"),
    "POST /sessions/{id}/connect": Row("modify", has="owner"),
    "POST /sessions/{id}/interrupt": Row("modify", has="interrupted"),
    # The session starts for ever: it takes no files, and says so.
    "POST /sessions/{id}/upload-jar": Row("modify", 503, "session.add_timeout", form=("jar", "a.jar")),
    "POST /sessions/{id}/upload-pyfile": Row("modify", 503, "session.add_timeout", form=("file", "a.py")),
    "POST /sessions/{id}/upload-file": Row("modify", 503, "session.add_timeout", form=("file", "a")),
    "POST /sessions/{id}/add-jar": Row("modify", 400, "cannot be added", {"uri": "file:///etc/hosts"}),
    "POST /sessions/{id}/add-pyfile": Row("modify", 400, "cannot be added", {"uri": "file:///etc/hosts"}),
    "POST /sessions/{id}/add-file": Row("modify", 400, "cannot be added", {"uri": "file:///etc/hosts"}),
    "POST /sessions/{id}/completion": Row(
        "modify", has="candidates", body={"code": "s", "kind": "pyspark", "cursor": 1}
    ),
    "GET /sessions/{id}/statements": Row("view", has="statements"),
    "POST /sessions/{id}/statements": Row("modify", 201, "output", {"code": "1", "kind": "pyspark"}),
    "GET /sessions/{id}/statements/{statement}": Row("view", has="output"),
    "POST /sessions/{id}/statements/{statement}/cancel": Row("modify", has="canceled", fresh=True),
    "GET /sessions/{id}/statements/{statement}/output": Row("view", has="state"),
    "GET /sessions/{id}/statements/{statement}/html": Row("view", 404, "Statement not found"),
    "GET /sessions/{id}/statements/{statement}/result": Row("modify", 409, "has not ended"),
    "POST /sessions/{id}/submit-job": Row("modify", 201, "id", JOB),
    "POST /sessions/{id}/run-job": Row("modify", 201, "id", JOB),
    "GET /sessions/{id}/jobs/{job}": Row("view", has="result"),
    "POST /sessions/{id}/jobs/{job}/cancel": Row("modify", fresh=True),
    "GET /sessions/{id}/shares": Row("share", has="shares"),
    "PUT /sessions/{id}/shares/{kind}/{name}": SHARE,
    "DELETE /sessions/{id}/shares/{kind}/{name}": UNSHARE,
    "POST /sessions/{id}/owner": HAND_OVER,
    "GET /batches": Row("caller", has="sessions"),
    "POST /batches": Row("caller", 201, "id", {"file": "FILE"}),
    "GET /batches/{id}": Row("see", has="owner"),
    "DELETE /batches/{id}": Row("modify", has="deleted", fresh=True),
    "GET /batches/{id}/state": Row("see", has="state"),
    "GET /batches/{id}/log": Row("view", has="log"),
    "GET /batches/{id}/shares": Row("share", has="shares"),
    "PUT /batches/{id}/shares/{kind}/{name}": SHARE,
    "DELETE /batches/{id}/shares/{kind}/{name}": UNSHARE,
    "POST /batches/{id}/owner": HAND_OVER,
    "GET /uploads": Row("caller", has="uploads"),
    "POST /uploads": Row("caller", 201, "uri", form=("file", "a.csv")),
    "GET /uploads/{id}": Row("upload", has="uri"),
    "DELETE /uploads/{id}": Row("upload", has="deleted", fresh=True),
    "GET /history": Row("caller", has="sessions"),
    "GET /history/{id}": Row("view", has="owner"),
    "GET /history/{id}/log": Row("view", has="log"),
    "GET /history/{id}/statements": Row("view", has="statements"),
    "GET /history/{id}/statements/{statement}": Row("view", 404, "Statement not found"),
    "GET /history/{id}/statements/{statement}/html": Row("view", 404, "Statement not found"),
    "GET /quotas": Row("caller", has="quotas"),
    "PUT /quotas/{user}": Row("admin", has="limits", body={"sessions": 1000}),
    "GET /tokens": Row("caller", has="tokens"),
    "POST /tokens": Row("caller", 201, "fst_", {"scopes": ["read"], "expiresIn": "1m"}),
    "DELETE /tokens/{id}": Row("caller", 404, "Token 'none' not found."),
    "GET /gpus": Row("caller", has="gpus"),
    "GET /pool": Row("admin", has="pool"),
    "GET /audit": Row("admin", has="entries"),
    "GET /drain": Row("admin", has="draining"),
    "PUT /drain": Row("admin", has="draining", body={"draining": False}),
    "GET /ping": Row("open", has="pong"),
    "GET /healthcheck": Row("open", has="healthy"),
    "GET /readiness": Row("open", has="ready"),
    "GET /metrics": Row("admin", has="firesteel_sessions"),
    "GET /metrics/ping": Row("open", has="pong"),
    "GET /metrics/healthcheck": Row("open", has="healthy"),
    "GET /version": Row("caller", has="version"),
    "GET /openapi.json": Row("caller", has="paths"),
    "GET /": Row("caller", has="<html"),
    "GET /ui": Row("caller", has="<html"),
    # Of another version than this; tests/ui/test_web.py has those of this.
    "GET /ui/assets/{version}/{file}": Row("open", 404),
    # Without the way there is none; tests/api/test_oidc.py has those with it.
    "GET /login/oidc": Row("open", 404),
    "GET /login/oidc/callback": Row("open", 404),
    # Last, since from here on there is a cookie until it is taken back.
    "GET /login": Row("open", has="<form", by_way=dict.fromkeys(WITHOUT_PASSWORDS, (404, ""))),
    "POST /login": Row(
        "open",
        has=OWNER,
        body={"name": OWNER, "password": password(OWNER)},
        by_way=dict.fromkeys(WITHOUT_PASSWORDS, (400, "This server takes no passwords (access.mode).")),
    ),
    "POST /logout": Row("open", has="logged out"),
}


def routes() -> list[str]:
    """Every route that the server describes."""
    document = json.loads(command("openapi").stdout)
    methods = {"get", "post", "put", "delete", "patch"}
    return [
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method in item
        if method in methods
    ]


@dataclass
class Expected:
    """An answer."""

    status: int
    has: str = ""
    """What the body of who may has."""
    refusal: Any = None
    """The whole JSON body of a refusal."""


def expected(role: str, row: Row, named: str, way: str) -> Expected:
    """What a role gets."""
    status, has = row.by_way.get(way, (row.status, row.has))
    answered = Expected(status, has)
    if row.needs == "open":
        return answered
    if role == "nobody":
        return Expected(401, refusal={"msg": "Authentication is required."})
    caller = {"admin as the owner": "owner", "admin as a stranger": "stranger"}.get(role, role)
    if row.needs == "caller":
        return answered
    if row.needs == "admin":
        return answered if caller == "admin" else Expected(403, refusal={})
    if row.needs == "upload":
        # Whoever sends a file has it: nobody acts as another there.
        missing = Expected(404, refusal={"msg": f"Upload '{named}' not found."})
        return answered if role == "owner" else missing
    reach = READ[caller]
    if reach >= NEEDED[row.needs]:
        return Expected(row.by_role.get(caller, status), has)
    return (
        Expected(403, refusal={})
        if reach
        else Expected(404, refusal={"msg": f"Session '{named}' not found."})
    )


class Things:
    """What the routes name: the owner's, shared with the viewer and the modifier."""

    def __init__(self, owner: Api, file: Path):
        self.file = file
        self.owner = owner
        self.numbers = itertools.count()
        self.kept: dict[str, str] = {}
        # What comes after these waits for its turn, and costs nothing.
        self.session(), self.batch()
        ended = self.session()
        self.owner.delete(f"/sessions/{ended}")
        wait_until("it has ended", lambda: self.owner.get(f"/history/{ended}").status_code == 200)
        self.kept = {"/history": ended, "/tokens": "none"}

    def _shared(self, path: str) -> None:
        for user, access in ((VIEWER, "view"), (MODIFIER, "modify")):
            answer = self.owner.request("PUT", f"{path}/shares/users/{user}", {"access": access})
            assert answer.status_code == 200, answer.text

    def session(self) -> str:
        """A session with a statement and a job, which wait."""
        session = self.owner.create(name=f"session-{next(self.numbers)}")
        session.post("1", "pyspark")
        assert self.owner.post(f"{session.path}/submit-job", JOB).status_code == 201
        self._shared(session.path)
        return str(session.id)

    def batch(self) -> str:
        """A batch."""
        answer = self.owner.post("/batches", {"file": str(self.file)})
        assert answer.status_code == 201, answer.text
        self._shared(f"/batches/{answer.json()['id']}")
        return str(answer.json()["id"])

    def upload(self) -> str:
        """An upload."""
        answer = self.owner.post("/uploads", files={"file": ("a.csv", b"a")})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def of(self, path: str, fresh: bool) -> str:
        """The id that a route's path names."""
        kind = "/" + path.split("/")[1]
        if "{id}" not in path:
            return ""
        if fresh or kind not in self.kept:
            make = {"/sessions": self.session, "/batches": self.batch, "/uploads": self.upload}
            made = make[kind]()
            if fresh:
                return made
            self.kept[kind] = made
        return self.kept[kind]


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """Each way in turn, with those who are asked in it."""
    made = WAYS[request.param](request.getfixturevalue, tmp_path_factory.mktemp(request.param))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.env.items():
            patch.setenv(name, value)
        yield made


@dataclass
class Matrix:
    """A server, and what its routes name."""

    way: Way
    server: Server
    things: Things


@pytest.fixture(scope="module")
def matrix(way: Way, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """One for each way."""
    directory = tmp_path_factory.mktemp("matrix")
    (directory / "job.py").touch()
    server = way.server(
        {
            **Stub(directory / "spark").settings,
            "limits.sessions": 1,
            "limits.batches": 1,
            "session.add_timeout": "20ms",
            "files.allow": [str(directory)],
            "gpu.devices": ["GPU-1 80GiB NVIDIA H100"],
        }
    )
    try:
        things = Things(way.client(server, OWNER), directory / "job.py")
        yield Matrix(way, server, things)
    finally:
        server.stop()


def test_every_route_has_a_row() -> None:
    """And every row a route."""
    assert sorted(ROWS) == sorted(routes())


@pytest.mark.parametrize("role", ROLES)
def test_matrix(matrix: Matrix, role: str) -> None:
    """Every route, by this role."""
    way, things = matrix.way, matrix.things
    user, acting_as = ROLES[role]
    api = way.client(matrix.server, user) if user else way.nobody(matrix.server)
    wrong = []
    for route, row in ROWS.items():
        method, path = route.split(" ")
        named = things.of(path, row.fresh)
        due = expected(role, row, named, way.name)
        answer = asked(api, method, path, named, row, things.file, acting_as)
        if answer.status_code != due.status:
            wrong.append(f"{route}: {answer.status_code}, not {due.status}: {answer.text[:200]}")
        elif due.refusal is not None and answer.json() != due.refusal:
            wrong.append(f"{route}: {answer.text[:200]}, not {due.refusal}")
        elif due.refusal is None and due.has not in text_of(answer):
            wrong.append(f"{route}: {due.has!r} is not in {answer.text[:200]}")
        elif due.status == 401 and answer.headers["WWW-Authenticate"] != way.challenge:
            wrong.append(f"{route}: {answer.headers['WWW-Authenticate']}, not {way.challenge}")
        answer.close()
    assert not wrong, "\n".join([f"{role} by {way.name}:", *wrong])


def asked(api: Api, method: str, path: str, named: str, row: Row, file: Path, acting_as: str) -> Any:
    """One request."""
    parts = {"id": named, "statement": "0", "job": "1", "kind": "groups", "name": "ops", "user": "eve"}
    parts |= {"version": "0", "file": "app.js"}
    concrete = re.sub(r"\{(\w+)\}", lambda found: parts[found.group(1)], path)
    query = "&".join(filter(None, [row.query, f"doAs={acting_as}" if acting_as else ""]))
    body = {key: str(file) if value == "FILE" else value for key, value in (row.body or {}).items()}
    more: dict[str, Any] = {"stream": True}
    if row.form:
        part, name = row.form
        more["files"] = {part: (name, b"content")}
    return api.request(method, f"{concrete}?{query}" if query else concrete, body or None, **more)


def text_of(answer: Any) -> str:
    """The body, or the first of one that has no end."""
    if "event-stream" in answer.headers.get("Content-Type", ""):
        return next(line for line in answer.iter_lines() if line.startswith(b"event")).decode()
    return answer.text


def test_livys_lists(way: Way, tmp_path: Path) -> None:
    """With `access.lists = "livy"` a stranger sees that things are there, with Livy's 403 for the rest."""
    server = way.server({**Stub(tmp_path / "spark").settings, "access.lists": "livy"})
    try:
        session = way.client(server, OWNER).create(conf={"spark.x": "secret"})
        stranger = way.client(server, STRANGER)
        for route, row in ROWS.items():
            method, path = route.split(" ")
            if not path.startswith("/sessions/"):
                continue
            answer = asked(stranger, method, path, str(session.id), row, tmp_path, "")
            if row.needs == "see":
                assert answer.status_code == 200, route
                assert "secret" not in answer.text, route
            else:
                assert (answer.status_code, answer.json()) == (403, {}), route
    finally:
        server.stop()
