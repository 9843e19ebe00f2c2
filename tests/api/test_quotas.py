"""Quotas: what each user may use, who waits for what, and what an administrator changes meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest
from harness.api import Api, Session
from harness.processes import wait_until
from harness.server import Server, command
from harness.stub import Stub

MIB = 2**20
GIB = 2**30


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of users."""
    file = tmp_path_factory.mktemp("quotas") / "users"
    for name in ("ada", "bob", "root"):
        assert command("passwd", str(file), name, stdin="secret\n").returncode == 0
    return file


@pytest.fixture
def stub(make_stub: Callable[..., Stub]) -> Stub:
    """A spark-submit that sleeps: what runs keeps running."""
    return make_stub()


@pytest.fixture
def start(serve: Callable[..., Server], stub: Stub, users: Path) -> Callable[..., Server]:
    """Start a server with these quotas."""
    access = {"access.mode": "basic", "access.basic_file": users, "access.superusers": ["root"]}

    def start(settings: dict[str, Any], **more: Any) -> Server:
        return serve({**stub.settings, "spark.master": "local[2]", **access, **settings}, **more)

    return start


def user(server: Server, name: str) -> Api:
    """The server as a user sees it."""
    return server.user(name, "secret")


def waits(session: Session) -> list[str]:
    """What a session's log says of its waiting."""
    return [line for line in session.log() if line.startswith("Waiting ")]


def row(api: Api, name: str | None) -> dict:
    """One user's row of the list of quotas."""
    answer = api.get("/quotas")
    assert answer.status_code == 200, answer.text
    rows = {row["user"]: row for row in answer.json()["quotas"]}
    return rows[name]


def test_sessions_over_the_quota_wait(start: Callable[..., Server], stub: Stub) -> None:
    """They are accepted, their log tells usage and limit, and their turn comes; another does not wait."""
    server = start({"quota.default": {"sessions": 2}})
    ada, bob = user(server, "ada"), user(server, "bob")
    first, second, third = (ada.create(name=str(name)) for name in "abc")
    assert waits(first) == waits(second) == []
    assert third.state() == "starting"
    assert waits(third) == ["Waiting for room in the quota: 2 of 2 sessions run (quota.default)."]
    assert waits(bob.create()) == []
    wait_until("three run", lambda: len(stub.argvs()) == 3)
    # A statement waits with its session.
    assert third.post("1")["state"] == "waiting"
    first.delete()
    wait_until("the third has its turn", lambda: len(stub.argvs()) == 4)


def test_owners_take_turns(start: Callable[..., Server], stub: Stub) -> None:
    """Who asks for much does not keep another waiting behind all of it (S32)."""
    server = start({"limits.sessions": 1})
    ada, bob = user(server, "ada"), user(server, "bob")
    hers = [ada.create() for _ in range(6)]
    his = bob.create()
    assert waits(his) == ["Waiting in the queue: 1 sessions run (limits.sessions), 1 wait before this one."]
    wait_until("the first runs", lambda: len(stub.argvs()) == 1)
    hers[0].delete()
    wait_until("the second runs", lambda: len(stub.argvs()) == 2)
    hers[1].delete()
    wait_until("his runs", lambda: row(bob, "bob")["usage"]["sessions"] == 1)
    assert row(ada, "ada")["usage"]["sessions"] == 0


def test_what_is_handed_over_is_the_new_owners(start: Callable[..., Server], stub: Stub) -> None:
    """What runs is counted for its new owner at once, who must have room for it; what waits does so in their
    line; and so it is after a restart."""
    settings = {
        "quota.default": {"sessions": 2, "cores": 4, "queued": 1},
        "quota.bob": {"users": ["bob"], "sessions": 1},
    }
    server = start({**settings, "files.allow": [str(stub.home)]})
    ada, bob, root = (user(server, name) for name in ("ada", "bob", "root"))

    def usage(name: str) -> tuple[int, int]:
        user(server, name).get("/quotas")
        used = row(root, name)["usage"]
        return used["sessions"], used["cores"]

    def hand(session: Session, name: str) -> tuple[int, str]:
        answer = root.post(f"{session.path}/owner", {"user": name})
        return answer.status_code, answer.json()["msg"]

    first, second, third = (ada.create(name=name) for name in "abc")
    wait_until("two run", lambda: len(stub.argvs()) == 2)
    wait_until("the third waits", lambda: waits(third))
    assert (usage("ada"), usage("bob")) == ((2, 4), (0, 0))
    assert hand(first, "bob") == (200, "handed over")
    wait_until("the third has her room", lambda: len(stub.argvs()) == 3)
    assert (usage("ada"), usage("bob")) == ((2, 4), (1, 2))

    over = "Over quota: 1 of 1 sessions run (quota.bob), and it would be one more of bob."
    assert hand(second, "bob") == (409, over)
    assert ada.get(second.path).json()["owner"] == "ada"
    assert (usage("ada"), usage("bob")) == ((2, 4), (1, 2))
    # Offered and taken by himself it is the same.
    assert ada.post(f"{second.path}/owner", {"user": "bob"}).status_code == 202
    answer = bob.post(f"{second.path}/owner", {"user": "bob"})
    assert (answer.status_code, answer.json()["msg"]) == (409, over)

    # One that waits is his, waits for his room, and comes when there is some.
    fourth = ada.create(name="d")
    wait_until("it waits", lambda: waits(fourth))
    assert hand(fourth, "bob") == (200, "handed over")
    assert (usage("ada"), usage("bob")) == ((2, 4), (1, 2))
    third.delete()
    wait_until("hers has gone", lambda: usage("ada") == (1, 2))
    assert len(stub.argvs()) == 3, "her room is no room of his"
    server.restart()
    ada, bob, root = (user(server, name) for name in ("ada", "bob", "root"))
    assert (usage("ada"), usage("bob")) == ((1, 2), (1, 2))
    assert bob.delete(first.path).status_code == 200
    wait_until("his turn has come", lambda: len(stub.argvs()) == 4)
    wait_until("it is counted for him", lambda: usage("bob") == (1, 2))
    assert bob.delete(fourth.path).status_code == 200
    wait_until("nothing of his is left", lambda: usage("bob") == (0, 0))
    assert usage("ada") == (1, 2)

    # A batch as well.
    job = stub.home / "job.py"
    job.touch()
    number = ada.post("/batches", {"file": str(job)}).json()["id"]
    wait_until("it runs", lambda: row(root, "ada")["usage"]["batches"] == 1)
    assert root.post(f"/batches/{number}/owner", {"user": "bob"}).status_code == 200
    assert [row(root, name)["usage"]["batches"] for name in ("ada", "bob")] == [0, 1]


def test_batches_and_sessions_share_cores(start: Callable[..., Server], stub: Stub) -> None:
    """What a batch gives back a session gets."""
    server = start({"quota.default": {"cores": 4, "batches": 1}, "files.allow": [str(stub.home)]})
    ada = user(server, "ada")
    job = stub.home / "job.py"
    job.touch()
    batches = [ada.post("/batches", {"file": str(job)}).json()["id"] for _ in range(2)]
    first, second = ada.create(), ada.create()
    assert waits(first) == []
    assert waits(second) == [
        "Waiting for room in the quota: 4 of 4 cores are in use, and it asks for 2 (quota.default)."
    ]
    log = ada.get(f"/batches/{batches[1]}/log").json()["log"]
    assert "Waiting for room in the quota: 1 of 1 batches run (quota.default)." in log
    assert row(ada, "ada")["usage"]["cores"] == 4
    # The batch that waits came first, but not in the sessions' line.
    ada.delete(f"/batches/{batches[1]}")
    ada.delete(f"/batches/{batches[0]}")
    wait_until("the second session runs", lambda: row(ada, "ada")["usage"]["sessions"] == 2)


@pytest.mark.parametrize(
    ("quota", "body", "words"),
    [
        (
            {"memory": "2GiB"},
            {"driverMemory": "3g"},
            "3.0 GiB memory are asked for, and 2.0 GiB are the most",
        ),
        ({"memory": "2GiB"}, {"conf": {"spark.driver.memory": "3072"}}, "3.0 GiB memory are asked for"),
        ({"memory": "2GiB"}, {"conf": {"spark.driver.memory": "lots"}}, "its memory have no bound"),
        ({"cores": 1}, {}, "2 cores are asked for, and 1 are the most"),
    ],
    ids=str,
)
def test_what_can_never_run(start: Callable[..., Server], quota: dict, body: dict, words: str) -> None:
    """Is refused, with usage and limit."""
    server = start({"quota.default": quota})
    ada = user(server, "ada")
    answer = ada.post("/sessions", body)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["msg"]
    assert "in use are 0 cores" in answer.json()["msg"]
    assert "quota.default" in answer.json()["msg"]
    assert ada.sessions() == []


def test_those_who_wait_are_bounded(start: Callable[..., Server]) -> None:
    """Each owner's part of the queue: another's is free."""
    server = start({"quota.default": {"sessions": 1, "queued": 2}})
    ada, bob = user(server, "ada"), user(server, "bob")
    for _ in range(3):
        ada.create()
    answer = ada.post("/sessions", {})
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert "2 of your sessions wait" in answer.json()["msg"]
    bob.create()


def test_statements_a_minute(start: Callable[..., Server]) -> None:
    """429 with the time to try again, and nothing is stored; jobs count as well, another user's don't."""
    server = start({"quota.default": {"statements_per_minute": 3}})
    ada, bob = user(server, "ada"), user(server, "bob")
    session, other = ada.create(), bob.create()
    for _ in range(3):
        session.post("1")
    answer = ada.post(f"{session.path}/statements", {"code": "1"})
    assert answer.status_code == 429, answer.text
    assert 1 <= int(answer.headers["Retry-After"]) <= 20
    assert "3 statements a minute (quota.default)" in answer.json()["msg"]
    assert ada.post(f"{session.path}/submit-job", {"job": "AAAA", "jobType": "pyspark"}).status_code == 429
    assert ada.get(f"{session.path}/statements").json()["total_statements"] == 3
    other.post("1")
    # An administrator lifts it at once.
    changed = user(server, "root").request("PUT", "/quotas/ada", {"statementsPerMinute": 0})
    assert changed.status_code == 200, changed.text
    for _ in range(9):
        session.post("1")


def test_uploads(start: Callable[..., Server]) -> None:
    """413 with usage and limit; what is deleted makes room."""
    server = start({"quota.default": {"uploads": "1MiB"}})
    ada, bob = user(server, "ada"), user(server, "bob")

    def send(api: Api, size: int) -> Any:
        return api.post("/uploads", files={"file": ("a", b"x" * size)})

    first = send(ada, 600 << 10)
    assert first.status_code == 201
    over = send(ada, 600 << 10)
    assert over.status_code == 413, over.text
    assert "600.0 KiB of 1.0 MiB" in over.json()["msg"]
    assert send(bob, 600 << 10).status_code == 201
    assert row(ada, "ada")["usage"]["uploads"] == 600 << 10
    assert ada.delete(f"/uploads/{first.json()['id']}").status_code == 200
    assert send(ada, MIB - 1).status_code == 201


def test_seen_and_changed(start: Callable[..., Server], stub: Stub) -> None:
    """Everybody sees their own, an administrator sees and changes all, at once and through a restart."""
    server = start({"quota.default": {"sessions": 1, "memory": "8GiB"}})
    ada, bob, root = (user(server, name) for name in ("ada", "bob", "root"))
    first, second = ada.create(driverMemory="2g"), ada.create(driverMemory="3g")
    assert [row["user"] for row in bob.get("/quotas").json()["quotas"]] == ["bob"]
    assert [row["user"] for row in root.get("/quotas").json()["quotas"]] == ["ada", "bob", "root"]
    shown = row(root, "ada")
    assert shown["quota"] == "default"
    assert shown["changed"] is None
    assert shown["limits"]["sessions"] == 1
    assert shown["limits"]["memory"] == 8 * GIB
    assert shown["limits"]["cores"] is None
    assert (shown["usage"]["sessions"], shown["usage"]["memory"], shown["usage"]["cores"]) == (1, 2 * GIB, 2)

    for other in (ada, bob):
        assert other.request("PUT", "/quotas/ada", {"sessions": 9}).status_code == 403
    assert waits(second)
    changed = root.request("PUT", "/quotas/ada", {"sessions": 2, "memory": "16GiB"})
    assert changed.status_code == 200, changed.text
    assert changed.json()["changed"]["sessions"] == 2
    assert changed.json()["changed"]["cores"] is None
    wait_until("both run", lambda: len(stub.argvs()) == 2)
    third = ada.create()
    assert waits(third) == [
        "Waiting for room in the quota: 2 of 2 sessions run (the quota that an administrator set)."
    ]

    server.restart()
    ada, root = user(server, "ada"), user(server, "root")
    shown = row(ada, "ada")
    assert (shown["limits"]["sessions"], shown["limits"]["memory"]) == (2, 16 * GIB)
    assert (shown["usage"]["sessions"], shown["usage"]["memory"]) == (2, 5 * GIB)
    assert len(stub.argvs()) == 2

    reset = root.request("PUT", "/quotas/ada", {})
    assert reset.json()["changed"] is None
    assert reset.json()["limits"]["sessions"] == 1
    # What runs goes on; the next turn comes once all but its room is free.
    ada.delete(f"/sessions/{first.id}")
    wait_until("one has gone", lambda: row(ada, "ada")["usage"]["sessions"] == 1)
    assert len(stub.argvs()) == 2
    ada.delete(f"/sessions/{second.id}")
    wait_until("the third runs", lambda: len(stub.argvs()) == 3)
    ada.delete(f"/sessions/{third.id}")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/quotas/ada", {"sessions": -1}, 400),
        ("/quotas/ada", {"sessions": "many"}, 400),
        ("/quotas/ada", {"sessions": 2**40}, 400),
        ("/quotas/ada", {"memory": "8"}, 400),
        ("/quotas/ada", {"memory": 8}, 400),
        ("/quotas/ada", {"memory": "9999TiB"}, 400),
        ("/quotas/ada", {"session": 1}, 400),
        ("/quotas/ada", "x", 400),
        ("/quotas/ada", [None, 1], 400),
        ("/quotas/-ada", {}, 400),
        ("/quotas/a%2Fb", {}, 400),
        ("/quotas/a%00", {}, 400),
        (f"/quotas/{'a' * 129}", {}, 400),
    ],
)
def test_changes_that_are_none(stub_api: Api, path: str, body: Any, status: int) -> None:
    """Change nothing."""
    answer = stub_api.request("PUT", path, body)
    assert answer.status_code == status, answer.text
    assert stub_api.get("/quotas").json()["quotas"][0]["changed"] is None


def test_without_authentication_all_are_one(serve: Callable[..., Server], stub: Stub) -> None:
    """The quota that names nobody is for all of them together."""
    server = serve({**stub.settings, "quota.all": {"sessions": 1}, "quota.named": {"users": ["ada"]}})
    server.api.create()
    second = server.api.create()
    assert waits(second) == ["Waiting for room in the quota: 1 of 1 sessions run (quota.all)."]
    assert row(server.api, None)["usage"]["sessions"] == 1
