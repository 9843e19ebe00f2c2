"""Who may call, and what callers see of each other's sessions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Iterator

import pytest
from harness.api import Api
from harness.processes import wait_until
from harness.roles import PATIENT
from harness.server import Server, command
from harness.stub import Stub

PASSWORDS = {"alice": "wonder land", "bob": "büilder", "root-of-all": "all and more"}
PROBES = {"/ping", "/healthcheck", "/readiness", "/metrics/ping", "/metrics/healthcheck"}
OPEN = {
    **dict.fromkeys([*PROBES, "/login", "/logout"], 200),
    "/login/oidc": 404,
    "/login/oidc/callback": 404,
    "/ui/assets/{version}/{file}": 404,
}
"""What answers callers who have not said who they are, and how."""
DOCUMENT = Path(__file__).parents[2] / "openapi/openapi.json"


def add_user(file: Path, name: str, password: str) -> None:
    """As an operator does."""
    ended = command("passwd", str(file), name, stdin=password + "\n")
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of users."""
    file = tmp_path_factory.mktemp("access") / "users"
    for name, password in PASSWORDS.items():
        add_user(file, name, password)
    return file


@pytest.fixture(scope="module")
def guarded(users: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants a name and a password."""
    stub = Stub(tmp_path_factory.mktemp("access-stub") / "spark")
    access = {"access.mode": "basic", "access.basic_file": users, "access.superusers": ["root-of-all"]}
    server = Server({**stub.settings, **access, **PATIENT, "access.impersonation": True})
    yield server
    server.stop()


@pytest.fixture
def alice(guarded: Server) -> Iterator[Api]:
    """One user; her sessions end with the test."""
    api = guarded.user("alice", PASSWORDS["alice"])
    yield api
    for number in api.ids():
        api.delete(f"/sessions/{number}")


@pytest.fixture
def bob(guarded: Server) -> Api:
    """Another user."""
    return guarded.user("bob", PASSWORDS["bob"])


@pytest.fixture
def superuser(guarded: Server) -> Api:
    """One who may do everything."""
    return guarded.user("root-of-all", PASSWORDS["root-of-all"])


def routes() -> list[tuple[str, str]]:
    """Every route that the server describes."""
    document = json.loads(command("openapi").stdout)
    methods = {"get", "post", "put", "delete", "patch"}
    return [
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method in methods
    ]


def test_users_file(users: Path) -> None:
    """Hashes, not passwords; only its owner reads it; a user set again has one line."""
    text = users.read_text()
    assert not any(password in text for password in PASSWORDS.values())
    assert users.stat().st_mode & 0o077 == 0
    assert all(re.match(r"[^:]+:\$(argon2id|2[aby])\$", line) for line in text.splitlines())


def test_every_route_wants_credentials(guarded: Server) -> None:
    """Every route of the document, without, with wrong, and with broken credentials: 401 but for the probes
    and the login."""
    wrong = {"no": None, "wrong password": ("alice", "x"), "unknown": ("nobody", "x"), "empty": ("", "")}
    broken = ["Basic", "Basic ###", "Bearer abc", "Basic YWxpY2U=", "Digest x"]
    found = routes()
    assert len(found) > 10
    for method, path in found:
        concrete = re.sub(r"\{[^}]*\}", "0", path)
        for name, auth in wrong.items():
            answer = Api(guarded.url, auth=auth).request(method, concrete, allow_redirects=False)
            if path in OPEN:
                # There is nothing in the body.
                expected = 400 if (method, path) == ("POST", "/login") else OPEN[path]
                assert answer.status_code == expected, f"{method} {path} with {name}"
            else:
                assert answer.status_code == 401, f"{method} {path} with {name} credentials"
                assert answer.headers["WWW-Authenticate"].startswith("Basic")
        for header in broken:
            answer = Api(guarded.url).request(method, concrete, headers={"Authorization": header})
            wanted = 400 if (method, path) == ("POST", "/login") else OPEN.get(path, 401)
            assert answer.status_code == wanted, f"{method} {path} with {header!r}"
    assert Api(guarded.url).get("/no/such/path").status_code in (401, 404)


def test_probes_tell_nothing_more(guarded: Server) -> None:
    """What is open says nothing about sessions."""
    for path in PROBES:
        assert len(Api(guarded.url).get(path).content) < 200


def test_owner(alice: Api) -> None:
    """The session's owner is who created it."""
    assert alice.create().created["owner"] == "alice"


def test_others_sessions_are_hidden(alice: Api, bob: Api) -> None:
    """Another's session is not found, by id or name, and not counted; the answer is that of one that never
    was."""
    session = alice.create(name="hers")
    assert [found["id"] for found in alice.sessions()] == [session.id]
    assert bob.get("/sessions").json() == {"from": 0, "total": 0, "sessions": []}
    for method, tail, body in (
        ("GET", "", None),
        ("GET", "/state", None),
        ("GET", "/log", None),
        ("GET", "/statements", None),
        ("GET", "/statements/0", None),
        ("POST", "/statements", {"code": "1"}),
        ("POST", "/statements/0/cancel", None),
        ("POST", "/interrupt", None),
        ("POST", "/connect", None),
        ("POST", "/completion", {"code": "s", "kind": "pyspark", "cursor": 1}),
        ("DELETE", "", None),
    ):
        for name in (str(session.id), "hers"):
            answer = bob.request(method, f"/sessions/{name}{tail}", body)
            assert answer.status_code == 404, f"{method} {tail}"
            assert answer.json() == {"msg": f"Session '{name}' not found."}
    assert "hers" not in bob.get("/history").text
    assert "hers" not in bob.get("/ui", allow_redirects=True).text
    assert session.state() == "starting"


def test_others_history_is_hidden(alice: Api, bob: Api, superuser: Api) -> None:
    """What is kept of an ended session is its owner's and the superusers'; others get the answer of one that
    never was."""
    session = alice.create(name="hers")
    session.post("secret")
    session.delete()
    path = f"/history/{session.id}"
    wait_until("it has ended", lambda: alice.get(path).status_code == 200, 10)
    for tail in ("", "/log", "/statements", "/statements/0"):
        for stranger in (bob,):
            answer = stranger.get(path + tail)
            assert answer.status_code == 404, tail
            assert answer.json() == {"msg": f"Session '{session.id}' not found."}
        for one in (alice, superuser):
            expected = 404 if tail == "/statements/0" else 200
            assert one.get(path + tail).status_code == expected, "a deleted session has no statements"
        assert bob.get(f"{path}{tail}?doAs=alice").status_code == 403
        assert superuser.get(f"{path}{tail}?doAs=bob").status_code == 404


def test_names_are_each_owners(alice: Api, bob: Api) -> None:
    """Two owners may use one name, and each finds their own."""
    hers, his = alice.create(name="same"), bob.create(name="same")
    assert alice.get("/sessions/same").json()["id"] == hers.id
    assert bob.get("/sessions/same").json()["id"] == his.id
    assert bob.post("/sessions", {"name": "same"}).status_code == 400
    his.delete()


def test_superuser(alice: Api, superuser: Api) -> None:
    """May see and end everything."""
    session = alice.create()
    assert superuser.get(session.path).status_code == 200
    assert superuser.delete(session.path).json() == {"msg": "deleted"}
    assert session.state() == "gone"


def test_impersonation(alice: Api, superuser: Api) -> None:
    """Only a superuser acts as another; Livy's words for the rest."""
    refused = alice.post("/sessions", {"kind": "pyspark", "proxyUser": "bob"})
    assert refused.status_code == 403
    assert refused.json() == {"msg": "User 'alice' not allowed to impersonate 'Some(bob)'."}
    assert alice.post("/sessions?doAs=bob", {"kind": "pyspark"}).status_code == 403
    assert alice.create().created["proxyUser"] == "alice"
    session = superuser.create(proxyUser="bob")
    assert (session.created["owner"], session.created["proxyUser"]) == ("root-of-all", "bob")
    session.delete()


def test_a_changed_file_counts_at_once(guarded: Server, users: Path) -> None:
    """A new user may call, a changed password replaces the old, a removed user is refused."""
    add_user(users, "dave", "one")
    dave = guarded.user("dave", "one")
    wait_until("the new user may call", lambda: dave.get("/sessions").status_code == 200, 10)
    add_user(users, "dave", "two")
    wait_until("the old password is refused", lambda: dave.get("/sessions").status_code == 401, 10)
    assert guarded.user("dave", "two").get("/sessions").status_code == 200
    kept = [line for line in users.read_text().splitlines(keepends=True) if not line.startswith("dave:")]
    users.write_text("".join(kept))
    wait_until(
        "who is removed is refused",
        lambda: guarded.user("dave", "two").get("/sessions").status_code == 401,
        10,
    )


def test_conf_that_loads_code_is_denied(alice: Api) -> None:
    """Where users are told apart, keys that load code into the driver are refused."""
    for key in (
        "spark.driver.extraClassPath",
        "spark.driver.extraJavaOptions",
        "spark.plugins",
        "spark.jars.packages",
    ):
        assert alice.post("/sessions", {"kind": "pyspark", "conf": {key: "x"}}).status_code == 400, key


def test_passwords_stay_out_of_the_log(guarded: Server, alice: Api) -> None:
    """Whatever was called with them."""
    alice.get("/sessions")
    Api(guarded.url, auth=("mallory", "canary-passw0rd")).get("/sessions")
    log = guarded.log()
    assert "canary-passw0rd" not in log
    assert not any(password in log for password in PASSWORDS.values() if len(password) > 5)


def test_livys_lists(users: Path, make_stub) -> None:
    """`access.lists = "livy"`: others' sessions are shown with conf, log and code emptied, all else is 403
    `{}`."""
    from harness.server import serving

    access = {"access.mode": "basic", "access.basic_file": users, "access.lists": "livy"}
    with serving({**make_stub().settings, **access}) as server:
        alice, bob = (server.user(name, PASSWORDS[name]) for name in ("alice", "bob"))
        session = alice.create(conf={"spark.x": "y"})
        shown = bob.get(session.path).json()
        assert (shown["id"], shown["owner"], shown["log"]) == (session.id, "alice", [])
        assert not any(shown["conf"].values())
        assert bob.get("/sessions").json()["total"] == 1
        for method, tail in (("GET", "/log"), ("GET", "/statements"), ("DELETE", ""), ("POST", "/interrupt")):
            answer = bob.request(method, session.path + tail)
            assert (answer.status_code, answer.json()) == (403, {}), tail
        assert alice.get(f"{session.path}/log").status_code == 200


def test_openapi_document_is_the_servers() -> None:
    """The file in the repository is what the binary prints."""
    assert json.loads(DOCUMENT.read_text()) == json.loads(command("openapi").stdout)
