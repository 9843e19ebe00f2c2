"""Sessions and batches shared and handed over, the names by which they are found, and acting as others
(faults.md: S6, S7, S8)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Iterator
from urllib.parse import quote

import pytest
from harness.api import Api, Session
from harness.fake import Fake
from harness.processes import wait_until
from harness.roles import ADMIN, OWNER, STRANGER, USERS, VIEWER, by_basic, settings, users_file
from harness.server import Server, command, free_port, toml
from harness.stub import Stub

QUEUED = {"limits.sessions": 1, "limits.batches": 1}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the users and a job are."""
    directory = tmp_path_factory.mktemp("shares")
    (directory / "job.py").touch()
    return directory


@pytest.fixture(scope="module")
def own_settings(directory: Path) -> dict[str, Any]:
    """A server with groups, where all but one session wait for their turn."""
    return {
        **Stub(directory / "spark").settings,
        **settings(directory),
        **QUEUED,
        "access.groups": {"ops": [STRANGER], "auditors": []},
        "files.allow": [str(directory)],
    }


@pytest.fixture(scope="module")
def server(own_settings: dict[str, Any]) -> Iterator[Server]:
    """One for this file."""
    server = Server(own_settings)
    by_basic(server, ADMIN).create(name="plug")
    yield server
    server.stop()


@pytest.fixture
def users(server: Server) -> Iterator[dict[str, Api]]:
    """Everybody; what they leave is deleted."""
    apis = {name: by_basic(server, name) for name in USERS}
    yield apis
    for session in apis[ADMIN].sessions():
        if session["name"] != "plug":
            apis[ADMIN].delete(f"/sessions/{session['id']}")
    for batch in apis[ADMIN].get("/batches").json()["sessions"]:
        apis[ADMIN].delete(f"/batches/{batch['id']}")


def share(api: Api, path: str, access: str, kind: str = "users", name: str = VIEWER) -> Any:
    """Give a right; the answer's body."""
    answer = api.request("PUT", f"{path}/shares/{kind}/{name}", {"access": access})
    assert answer.status_code == 200, answer.text
    return answer.json()


def hand_over(api: Api, path: str, user: str) -> tuple[int, Any]:
    """Make it another's, or ask for that."""
    answer = api.post(f"{path}/owner", {"user": user})
    return answer.status_code, answer.json()


def batch(api: Api, directory: Path, **body: Any) -> str:
    """A batch's path."""
    answer = api.post("/batches", {"file": str(directory / "job.py"), **body})
    assert answer.status_code == 201, answer.text
    return f"/batches/{answer.json()['id']}"


@pytest.mark.parametrize("kind", ["sessions", "batches"])
def test_given_and_taken_back(users: dict[str, Api], directory: Path, kind: str) -> None:
    """A right counts at once, and is gone at once; lists and counts have what is shared, and nothing
    else."""
    alice, vera = users[OWNER], users[VIEWER]
    path = alice.create().path if kind == "sessions" else batch(alice, directory)
    nothing = vera.get(f"/{kind}").json()
    assert nothing == {"from": 0, "total": 0, "sessions": []}
    shown = share(alice, path, "view")
    assert shown["shares"] == [{"user": VIEWER, "access": "view"}]
    assert vera.get(f"/{kind}").json()["total"] == 1
    assert vera.get(f"{path}/log").status_code == 200
    assert (vera.delete(path).status_code, vera.delete(path).json()) == (403, {})
    shown = share(alice, path, "modify")
    assert shown["shares"] == [{"user": VIEWER, "access": "modify"}], "one right each"
    share(alice, path, "view", "groups", "auditors")
    assert alice.get(f"{path}/shares").json()["shares"] == [
        {"user": VIEWER, "access": "modify"},
        {"group": "auditors", "access": "view"},
    ]
    # Who was given it gives it to nobody.
    assert vera.get(f"{path}/shares").status_code == 403
    assert vera.request("PUT", f"{path}/shares/users/{STRANGER}", {"access": "view"}).status_code == 403
    gone = alice.delete(f"{path}/shares/users/{VIEWER}")
    assert (gone.status_code, gone.json()) == (200, {"msg": "deleted"})
    again = alice.delete(f"{path}/shares/users/{VIEWER}")
    assert (again.status_code, again.json()) == (404, {"msg": "There is no such share."})
    assert vera.get(path).status_code == 404
    assert vera.get(f"/{kind}").json() == nothing


def test_groups(users: dict[str, Api]) -> None:
    """Everybody in a group has what it was given; a user of a group's name has nothing."""
    session = users[OWNER].create()
    share(users[OWNER], session.path, "modify", "groups", "ops")
    assert users[STRANGER].post(f"{session.path}/statements", {"code": "1"}).status_code == 201
    assert users[VIEWER].get(session.path).status_code == 404


@pytest.mark.parametrize(
    ("tail", "body", "status", "words"),
    [
        ("users/bob", {"access": "all"}, 400, "access"),
        ("users/bob", {}, 400, "access"),
        ("users/bob%00", {"access": "view"}, 400, "Invalid user name"),
        ("users/bob.", {"access": "view"}, 400, "Invalid user name"),
        ("users/%20bob", {"access": "view"}, 400, "Invalid user name"),
        ("users/@ops", {"access": "view"}, 400, "Invalid user name"),
        ("users/%EF%BD%82ob", {"access": "view"}, 400, "Invalid user name"),
        ("users/%ff", {"access": "view"}, 400, "Invalid user name"),
        ("groups/%0a", {"access": "view"}, 400, "Invalid group name"),
        ("everybody/bob", {"access": "view"}, 404, "no such share"),
    ],
)
def test_what_makes_no_sense(
    users: dict[str, Api], tail: str, body: dict[str, str], status: int, words: str
) -> None:
    """Is refused, and gives nobody anything."""
    session = users[OWNER].create()
    answer = users[OWNER].request("PUT", f"{session.path}/shares/{tail}", body)
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert users[OWNER].get(f"{session.path}/shares").json()["shares"] == []


def test_offered_and_taken(users: dict[str, Api]) -> None:
    """An owner offers, and who was offered it takes it: nobody gets what they did not ask for."""
    alice, vera, sam = users[OWNER], users[VIEWER], users[STRANGER]
    session = alice.create(name="work")
    share(alice, session.path, "view", name=STRANGER)
    assert hand_over(sam, session.path, STRANGER) == (403, {})
    assert hand_over(alice, session.path, VIEWER) == (202, {"msg": "offered"})
    assert alice.get(session.path).json()["owner"] == OWNER
    assert hand_over(vera, session.path, STRANGER) == (403, {}), "it was not offered to be passed on"
    etag = vera.get(session.path).headers["ETag"]
    assert hand_over(vera, session.path, VIEWER) == (200, {"msg": "handed over"})
    shown = vera.get(session.path, headers={"If-None-Match": etag})
    assert (shown.status_code, shown.json()["owner"]) == (200, VIEWER)
    assert vera.get("/sessions/work").json()["id"] == session.id
    # As whom it runs is as it was: that user still may.
    assert shown.json()["proxyUser"] == OWNER
    assert alice.get("/sessions/work").json()["id"] == session.id
    assert any("was handed over to vera" in line for line in Session(vera, {"id": session.id}).log())
    assert sam.get(session.path).status_code == 200, "other shares stay"
    assert alice.create(name="work").id != session.id, "the name is free again"


def test_without_impersonation_the_old_owner_is_a_stranger(
    own_settings: dict[str, Any], serve: Callable[..., Server]
) -> None:
    """Where no session runs as another, handing over leaves nothing behind. Restarts change nothing."""
    server = serve(
        {**own_settings, "access.impersonation": False, "shutdown.sessions": "keep"}, port=free_port()
    )
    alice, vera, admin = (by_basic(server, name) for name in (OWNER, VIEWER, ADMIN))
    admin.create(name="plug")
    session, other = alice.create(name="work"), alice.create(name="other")
    job = batch(alice, Path(own_settings["files.allow"][0]), name="job")
    assert hand_over(alice, session.path, VIEWER)[0] == 202
    assert hand_over(vera, session.path, VIEWER)[0] == 200
    assert hand_over(admin, job, VIEWER)[0] == 200
    share(vera, session.path, "view", "groups", "ops")
    share(alice, other.path, "modify")

    def check() -> None:
        alice, vera, sam = (by_basic(server, name) for name in (OWNER, VIEWER, STRANGER))
        for path in (session.path, "/sessions/work", job, "/batches/job"):
            assert alice.get(path).status_code == 404, path
            assert vera.get(path).json()["owner"] == VIEWER, path
        assert [found["id"] for found in sam.sessions()] == [session.id]
        assert sam.delete(session.path).status_code == 403
        assert sorted(found["id"] for found in vera.sessions()) == [session.id, other.id]
        assert vera.get(f"{session.path}/shares").json()["shares"] == [{"group": "ops", "access": "view"}]
        assert vera.post("/sessions", {"kind": "pyspark", "name": "work"}).status_code == 400

    check()
    server.restart()
    check()
    vera = by_basic(server, VIEWER)
    vera.delete(session.path), vera.delete(job), vera.delete(other.path)
    assert by_basic(server, OWNER).create(name="work").id not in (session.id, other.id)
    # What has ended stays shared.
    history = by_basic(server, STRANGER).get("/history").json()
    assert ([one["id"] for one in history["sessions"]], history["total"]) == ([session.id], 1)
    assert by_basic(server, STRANGER).get(f"/history/{session.id}/log").status_code == 200
    assert [one["id"] for one in by_basic(server, OWNER).get("/history").json()["sessions"]] == [other.id]
    for one in by_basic(server, ADMIN).sessions():
        by_basic(server, ADMIN).delete(f"/sessions/{one['id']}")


def test_a_name_that_is_taken(users: dict[str, Api]) -> None:
    """Who has one of this name takes no other: told to them alone."""
    alice, vera, admin = users[OWNER], users[VIEWER], users[ADMIN]
    session, own = alice.create(name="same"), vera.create(name="same")
    assert hand_over(alice, session.path, VIEWER) == (202, {"msg": "offered"})
    for api in (vera, admin):
        status, body = hand_over(api, session.path, VIEWER)
        assert (status, body) == (409, {"msg": "vera has one of this name already."})
    assert vera.get("/sessions/same").json()["id"] == own.id
    own.delete()
    assert hand_over(vera, session.path, VIEWER)[0] == 200
    assert vera.get("/sessions/same").json()["id"] == session.id


def test_taken_by_many_at_once(users: dict[str, Api]) -> None:
    """Of two sessions of one name, one becomes theirs; each name leads to its owner's."""
    alice, vera, admin = users[OWNER], users[VIEWER], users[ADMIN]
    for turn in range(10):
        name = f"race-{turn}"
        mine, theirs = alice.create(name=name), admin.create(name=name)
        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(hand_over, admin, one.path, VIEWER) for one in (mine, theirs)]
            jobs.append(pool.submit(lambda path=mine.path: (admin.delete(path).status_code, None)))
            answers = [job.result()[0] for job in jobs]
        assert set(answers[:2]) <= {200, 404, 409, 410}, answers
        left = {one["id"]: one["owner"] for one in admin.sessions() if one["name"] == name}
        found = vera.get(f"/sessions/{name}")
        hers = [number for number, owner in left.items() if owner == VIEWER]
        if hers:
            assert [found.json()["id"]] == hers
        else:
            assert found.status_code == 404
        for number in left:
            admin.delete(f"/sessions/{number}")
        # No name stays taken by what is gone.
        for api in (alice, vera, admin):
            api.create(name=name).delete()


def test_limit(own_settings: dict[str, Any], serve: Callable[..., Server]) -> None:
    """`limits.shares`; what is there can be changed."""
    server = serve({**own_settings, "limits.shares": 2})
    alice = by_basic(server, OWNER)
    session = alice.create()
    for name in ("a", "b"):
        share(alice, session.path, "view", name=name)
    share(alice, session.path, "modify", name="a")
    over = alice.request("PUT", f"{session.path}/shares/users/c", {"access": "view"})
    assert over.status_code == 400 and "limits.shares" in over.text


def test_without_authentication_there_is_nobody(
    make_stub: Callable[..., Stub], serve: Callable[..., Server]
) -> None:
    """To share with, or to hand over to."""
    server = serve(make_stub().settings)
    session = server.api.create()
    for answer in (
        server.api.request("PUT", f"{session.path}/shares/users/a", {"access": "view"}),
        server.api.post(f"{session.path}/owner", {"user": "a"}),
    ):
        assert answer.status_code == 400 and "access.mode" in answer.text
    assert server.api.get(f"{session.path}/shares").json() == {"owner": None, "proxyUser": None, "shares": []}


def test_gpus_are_the_new_owners(tmp_path: Path, serve: Callable[..., Server]) -> None:
    """They count for who has the session, held or waited for, and nobody gets more than their quota so."""
    own = {**Fake(tmp_path / "fake").settings, **settings(tmp_path)}
    devices = ["GPU-1 80GiB NVIDIA H100", "GPU-2 80GiB NVIDIA H100"]
    server = serve({**own, "gpu.devices": devices, "gpu.owner_limit": 1}, port=free_port())
    alice, vera, admin = (by_basic(server, name) for name in (OWNER, VIEWER, ADMIN))
    one = {"firesteel.gpus": "1"}
    hers = alice.create(conf=one)
    hers.wait("idle")
    waits = alice.create(conf=one)
    assert hand_over(admin, hers.path, VIEWER)[0] == 200
    # Her quota is free again.
    waits.wait("idle")
    full = hand_over(admin, waits.path, VIEWER)
    assert full[0] == 409 and "gpu.owner_limit" in full[1]["msg"]
    assert alice.get(waits.path).json()["owner"] == OWNER
    shown = {gpu["held"][0]["by"] for gpu in vera.get("/gpus").json()["gpus"]}
    assert shown == {f"session {hers.id}", "another user"}
    hers.delete()
    waits.delete()


# S6: what another's is, and what was never there, are the same.


def test_what_is_anothers_is_as_if_it_were_not(users: dict[str, Api], directory: Path) -> None:
    """The same status, body and headers for another's id or name as for one that never was; nothing is
    counted."""
    alice, sam = users[OWNER], users[STRANGER]

    def counted() -> list[Any]:
        return [sam.get(path).json()["total"] for path in ("/sessions", "/batches", "/history")]

    before = counted()
    session = alice.create(name="hers")
    session.post("1", "pyspark")
    work = batch(alice, directory, name="hers")
    ended = alice.create()
    ended.delete()
    never = 999_999
    pairs = [
        *(
            (f"/sessions/{session.id}{tail}", f"/sessions/{never}{tail}")
            for tail in ("", "/log", "/statements/0")
        ),
        (f"/sessions/{'0' * 300}{session.id}", f"/sessions/{'0' * 300}{never}"),
        ("/sessions/hers", "/sessions/none"),
        ("/sessions/hers?owner=alice", "/sessions/none?owner=alice"),
        ("/sessions/hers?owner=alice", "/sessions/hers?owner=nobody"),
        (work, f"/batches/{never}"),
        ("/batches/hers/log", "/batches/none/log"),
        (f"/history/{ended.id}", f"/history/{never}"),
        (f"/history/{ended.id}/log", f"/history/{never}/log"),
    ]

    def told(path: str, ids: tuple[str, ...]) -> Any:
        answer = sam.get(path)
        headers = {
            name: value for name, value in answer.headers.items() if name not in ("date", "content-length")
        }
        text = answer.text
        for own in ids:
            text = text.replace(own, "ID")
        return answer.status_code, text, sorted(headers.items())

    for theirs, none in pairs:
        own = (str(session.id), str(ended.id), work.removeprefix("/batches/"), "hers")
        assert told(theirs, own)[0] == 404
        names = [(part.rsplit("?")[0].split("/")[2],) for part in (theirs, none)]
        assert told(theirs, names[0]) == told(none, names[1]), f"{theirs} and {none}"
    assert counted() == before
    assert (before[:2], sam.get("/sessions?from=0&size=1").json()["sessions"]) == ([0, 0], [])
    assert "hers" not in sam.get("/ui").text


def test_only_who_asks_keeps_a_session_alive(
    own_settings: dict[str, Any], serve: Callable[..., Server]
) -> None:
    """A stranger who looks at a list of Livy's kind is no heartbeat."""
    server = serve({**own_settings, "access.lists": "livy", "session.watch_interval": "50ms"})
    alice, sam = by_basic(server, OWNER), by_basic(server, STRANGER)
    session = alice.create(heartbeatTimeoutInSecond=1)
    # Each look is one that would keep it alive.
    wait_until("it ends all the same", lambda: sam.get(session.path).json()["state"] == "dead", 15)


# S8: a name leads to nobody else's session.


@pytest.mark.parametrize("right", ["view", "modify", "own"])
def test_a_name_is_ones_own(users: dict[str, Api], right: str) -> None:
    """A shared session is found by its id, and by its name where the query says whose; never in place of
    one's own that has ended."""
    alice, vera, admin = users[OWNER], users[VIEWER], users[ADMIN]
    hers, own = alice.create(name="etl"), vera.create(name="etl")
    share(alice, hers.path, right)
    assert vera.get("/sessions/etl").json()["id"] == own.id
    assert vera.get("/sessions/etl?owner=alice").json()["id"] == hers.id
    own.delete()
    for api in (vera, admin, users[STRANGER]):
        for method, tail, body in (
            ("GET", "", None),
            ("POST", "/statements", {"code": "1"}),
            ("DELETE", "", None),
        ):
            assert api.request(method, f"/sessions/etl{tail}", body).status_code == 404
    assert vera.get(hers.path).json()["id"] == hers.id
    assert admin.get("/sessions/etl?owner=alice").json()["id"] == hers.id
    assert users[STRANGER].get("/sessions/etl?owner=alice").status_code == 404


def test_odd_names_lead_nowhere(users: dict[str, Api]) -> None:
    """Confusables, numbers, climbing paths and long names: each finds its own session, or none."""
    alice, vera = users[OWNER], users[VIEWER]
    names = [
        "etl",
        "\u0435tl",
        "ETL",
        "etl.",
        "\uff45tl",
        "e\u0301tl",
        "\u00e9tl",
        "1e3",
        "a/b",
        "...",
        "x" * 256,
        "%65tl",
    ]
    made = {name: alice.create(name=name).id for name in names}
    assert len(set(made.values())) == len(names)
    for name, number in made.items():
        path = f"/sessions/{quote(name, safe='')}"
        assert alice.get(path).json()["id"] == number, name
        assert vera.get(path).status_code == 404, name
    for name in ("12", "٣", "..", ".", "", "etl\0", "etl\u200b", " etl", "etl ", "x" * 10_000):
        assert alice.post("/sessions", {"kind": "pyspark", "name": name}).status_code == 400, name
    shortest = min(made.values())
    for path in (
        f"/sessions/{quote('x' * 10_000)}",
        "/sessions/%00etl",
        "/sessions/etl%00",
        "/sessions/%2e%2e%2fsessions",
    ):
        assert alice.get(path).status_code == 404, path
    assert vera.get(f"/sessions/{shortest}").status_code == 404


# S7: nobody acts as whom they may not.


def test_who_acts_as_whom(
    own_settings: dict[str, Any], serve: Callable[..., Server], directory: Path
) -> None:
    """Every caller, every target, each way to ask: who runs it is who may, letter by letter."""
    allowed = {
        ADMIN: {ADMIN, OWNER, VIEWER, STRANGER, "mo", "anybody"},
        OWNER: {OWNER},
        VIEWER: {VIEWER, STRANGER},
        "mo": {"mo", OWNER, VIEWER, STRANGER, "anybody"},
        STRANGER: {STRANGER, ADMIN},
    }
    rules = {VIEWER: ["@ops"], "mo": ["*"], "@ops": [ADMIN]}
    server = serve({**own_settings, "access.impersonate": rules})
    targets = [ADMIN, OWNER, VIEWER, STRANGER, "mo", "anybody"]
    odd = [
        "Alice",
        "alice ",
        " alice",
        "alice.",
        "alice\0",
        "alice\n",
        "\uff41lice",
        "\u0430lice\u0301",
        "@ops",
        "*",
        "-x",
        "../x",
    ]
    by_basic(server, ADMIN).create(name="plug")
    for user, may in allowed.items():
        api = by_basic(server, user)
        for target in [*targets, *odd]:
            for ask in ("doAs", "proxyUser", "batch"):
                path = "/batches" if ask == "batch" else "/sessions"
                body = {"file": str(directory / "job.py")} if ask == "batch" else {"kind": "pyspark"}
                params = {"doAs": target} if ask == "doAs" else {}
                if ask != "doAs":
                    body["proxyUser"] = target
                answer = api.post(path, body, params=params)
                told = f"{user} as {target!r} by {ask}: {answer.text}"
                if target in may or (target == "Alice" and may >= set(targets) - {ADMIN}):
                    assert answer.status_code == 201, told
                    assert (answer.json()["owner"], answer.json()["proxyUser"]) == (user, target), told
                    assert api.delete(f"{path}/{answer.json()['id']}").status_code == 200, told
                elif target in targets or target == "Alice":
                    assert answer.status_code == 403, told
                    words = f"User '{user}' not allowed to impersonate 'Some({target})'."
                    assert answer.json() == {"msg": words}, told
                else:
                    assert answer.status_code == 400, told
                    assert "Invalid user name" in answer.text, told
    admin = by_basic(server, ADMIN)
    # Who acts as another has that user's rights, and no other.
    hers = by_basic(server, OWNER).create()
    assert by_basic(server, "mo").get(f"{hers.path}?doAs={OWNER}").status_code == 200
    assert by_basic(server, "mo").get(hers.path).status_code == 404
    assert admin.get(f"{hers.path}?doAs={STRANGER}").status_code == 404
    assert by_basic(server, STRANGER).get(f"{hers.path}?doAs={ADMIN}").status_code == 200
    assert by_basic(server, STRANGER).get(f"/pool?doAs={ADMIN}").status_code == 200
    assert admin.get(f"/pool?doAs={STRANGER}").status_code == 403
    assert by_basic(server, VIEWER).get(f"/sessions?doAs={OWNER}").status_code == 403
    # No header does what the query may.
    for header in ("X-Forwarded-User", "Remote-User", "X-Remote-User", "doAs", "X-Forwarded-For"):
        shown = by_basic(server, OWNER).get("/sessions", headers={header: ADMIN})
        assert {one["owner"] for one in shown.json()["sessions"]} == {OWNER}
        assert Api(server.url, headers={header: ADMIN}).get("/sessions").status_code == 401


def test_who_may_call(own_settings: dict[str, Any], serve: Callable[..., Server]) -> None:
    """`access.allowed_users`, `view_users`, `modify_users`: as Livy's keys."""
    lists = {
        "access.allowed_users": [OWNER],
        "access.view_users": ["@ops"],
        "access.modify_users": ["mo"],
    }
    server = serve({**own_settings, **lists})
    alice, vera, sam, mo = (by_basic(server, name) for name in (OWNER, VIEWER, STRANGER, "mo"))
    refused = vera.get("/sessions")
    assert (refused.status_code, refused.json()) == (403, {"msg": "User not authorised to use Livy."})
    assert Api(server.url).get("/ping").status_code == 200
    session = alice.create()
    assert sam.get(f"{session.path}/log").status_code == 200
    assert sam.sessions()[0]["id"] == session.id
    assert sam.delete(session.path).status_code == 403
    assert mo.post(f"{session.path}/statements", {"code": "1"}).status_code == 201
    assert mo.get(f"{session.path}/shares").status_code == 403
    assert by_basic(server, ADMIN).get("/sessions").json()["total"] == 1
    # A right on one session lets nobody in who may not call.
    share(alice, session.path, "view")
    assert vera.get(session.path).status_code == 403


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ({"access.superusers": ["*"]}, "everybody a superuser"),
        ({"access.view_users": [" ada"]}, "blanks around"),
        ({"access.groups": {"ops": ["@dev"]}}, "users by name"),
        ({"access.groups": {"@ops": ["ada"]}}, "without `@`"),
        ({"access.impersonate": {"*": ["ada"]}}, "can't act as others"),
        ({"access.impersonate": {"ada": ["@nobody"]}}, "access.groups"),
        ({"access.user_case": "lower", "access.superusers": ["Root"]}, "nobody's name"),
    ],
)
def test_a_list_that_makes_no_sense(tmp_path: Path, lines: dict[str, Any], words: str) -> None:
    """Is refused before anything is served."""
    config = tmp_path / "firesteel.toml"
    config.write_text(toml(lines))
    checked = command("check", "--config", str(config), "--set", f"server.state_dir={tmp_path}")
    said = checked.stdout + checked.stderr
    assert checked.returncode != 0 and words in said, said


def test_names_in_lower_case(tmp_path: Path, serve: Callable[..., Server]) -> None:
    """`access.user_case = "lower"`: one user, however the name is written."""
    own = {
        **Stub(tmp_path / "spark").settings,
        "access.mode": "basic",
        "access.basic_file": users_file(tmp_path, ("Ada", "bob")),
        "access.user_case": "lower",
        "access.superusers": ["bob"],
        "access.impersonation": True,
    }
    server = serve(own)
    ada, bob = by_basic(server, "Ada"), by_basic(server, "bob")
    session = ada.create(name="one")
    assert session.created["owner"] == "ada"
    assert bob.get("/sessions/one?doAs=ADA").json()["id"] == session.id
    assert bob.create(proxyUser="ADA").created["proxyUser"] == "ada"
    assert share(ada, session.path, "view", name="BOB")["shares"] == [{"user": "bob", "access": "view"}]
