"""Tags of answers: a client that has an answer already is told so, and no two answers have the same tag.
Drivers are fake."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Iterator

import pytest
import requests
from harness.api import Api, Session
from harness.chance import seeded
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import Server, command
from harness.wire import Wire

STRANGER = ("bob", "a stranger's")
OWNER = ("alice", "her own")


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Fake:
    """Drivers without Spark."""
    return Fake(tmp_path_factory.mktemp("tags") / "fake")


@pytest.fixture(scope="module")
def server(fake: Fake) -> Iterator[Server]:
    """A server with such drivers."""
    server = Server({**fake.settings, "files.allow": [str(fake.home)]})
    yield server
    server.stop()


@pytest.fixture
def session(server: Server) -> Iterator[Session]:
    """An idle session of its own for each test."""
    session = server.api.create()
    session.wait("idle")
    yield session
    session.delete()


@pytest.fixture
def guarded(fake: Fake, tmp_path: Path) -> Iterator[Server]:
    """A server that shows strangers the outside of a session."""
    users = tmp_path / "users"
    for name, password in (OWNER, STRANGER):
        assert command("passwd", str(users), name, stdin=password + "\n").returncode == 0
    access = {"access.mode": "basic", "access.basic_file": users, "access.lists": "livy"}
    server = Server({**fake.settings, **access})
    yield server
    server.stop()


def again(api: Api, answer: requests.Response, path: str, **more: str) -> requests.Response:
    """The same request of a client that has that answer."""
    return api.get(path, headers={"If-None-Match": answer.headers["ETag"], **more})


def assert_known(api: Api, path: str) -> str:
    """The answer has a strong tag, and who names it gets 304 and nothing else; gives the tag."""
    first = api.get(path)
    tag = first.headers["ETag"]
    assert first.status_code == 200, path
    assert tag.startswith('"') and tag.endswith('"')
    for named in (tag, f"W/{tag}", f'"other" , {tag}', "*"):
        second = api.get(path, headers={"If-None-Match": named})
        assert (second.status_code, second.content) == (304, b""), (path, named)
        assert second.headers["ETag"] == tag
        assert "Content-Length" not in second.headers
        assert "Content-Type" not in second.headers
    for named in ('"other"', tag.strip('"'), ""):
        second = api.get(path, headers={"If-None-Match": named})
        assert (second.status_code, second.content) == (200, first.content), (path, named)
    return tag


def test_every_answer_that_is_polled_has_a_tag(session: Session) -> None:
    """Sessions, states, statements, their lists, logs."""
    session.ok("ledger tagged")
    ways = [
        "",
        "/state",
        "/statements/0",
        "/statements",
        "/statements?from=0&size=1",
        "/log",
        "/log?from=0&size=1",
    ]
    tags = [assert_known(session.api, session.path + way) for way in ways]
    tags.append(assert_known(session.api, "/sessions"))
    assert tags[3] == tags[4], "the same page, however it is asked for"
    assert tags[5] != tags[6]


def test_batches_have_tags(server: Server, fake: Fake) -> None:
    """A batch, its state, its log, and their list; another state is another tag."""
    api = server.api
    made = api.post("/batches", {"file": str(fake.ledger)})
    assert made.status_code == 201, made.text
    path = f"/batches/{made.json()['id']}"
    for way in (path, path + "/state", path + "/log", "/batches"):
        assert "ETag" in api.get(way).headers
    wait_until("the end", lambda: api.get(path + "/state").json()["state"] in ("dead", "success"))
    for way in (path, path + "/state", path + "/log", "/batches"):
        assert_known(api, way)
    api.delete(path)


def test_only_a_get_is_asked_whether_it_is_known(session: Session) -> None:
    """A POST is done whatever the client has; HEAD has GET's tag; an error has none."""
    api, path = session.api, session.path
    posted = api.post(path + "/statements", {"code": "ledger posted"}, headers={"If-None-Match": "*"})
    assert posted.status_code == 201
    assert "ETag" not in posted.headers
    assert api.post(path + "/connect", headers={"If-None-Match": "*"}).status_code == 200
    got = api.get(path + "/state")
    head = api.request("HEAD", path + "/state")
    assert (head.status_code, head.headers["ETag"]) == (200, got.headers["ETag"])
    known = api.request("HEAD", path + "/state", headers={"If-None-Match": got.headers["ETag"]})
    assert known.status_code == 304
    gone = api.get(path + "/statements/4242", headers={"If-None-Match": "*"})
    assert gone.status_code == 404
    assert "ETag" not in gone.headers


def test_a_connection_goes_on_after_a_304(server: Server, session: Session) -> None:
    """It has no body and no length, and the next answer comes right behind it."""
    with Wire(server.port) as wire:
        wire.socket.sendall(
            f"GET {session.path}/state HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: *\r\n\r\n"
            "GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        with wire.socket.makefile("rb") as answers:
            said = answers.read()
    first, second, *_rest = said.split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 304")
    assert b"transfer-encoding" not in first.lower()
    assert second.startswith(b"HTTP/1.1 200")


def test_a_tag_is_as_old_as_its_body(session: Session) -> None:
    """What a client named is not known once anything in the answer has changed: a state, a statement, its
    progress to its end, a line of the log."""
    api, path = session.api, session.path
    before = {way: api.get(path + way) for way in ("", "/state", "/statements", "/log")}
    code = "sleep 1000 changing"
    number = session.post(code)["id"]
    running = api.get(f"{path}/statements/{number}")
    assert running.json()["state"] == "running"
    for way in ("/state", "", "/statements"):
        changed = again(api, before[way], path + way)
        assert changed.status_code == 200, way
        assert changed.headers["ETag"] != before[way].headers["ETag"]
    session.cancel(number)
    session.wait_statement(number)
    ended = again(api, running, f"{path}/statements/{number}")
    assert (ended.status_code, ended.json()["state"]) == (200, "cancelled")
    session.wait("idle")
    assert again(api, before["/state"], path + "/state").status_code == 304
    session.ok("flood 6400 logged")
    wait_until("the log has it", lambda: again(api, before["/log"], path + "/log").status_code == 200)
    assert again(api, before[""], path).status_code == 200


def test_what_is_shown_of_a_log_is_never_old(session: Session) -> None:
    """The session's own lines follow the log, whatever is kept of the answer before: compared with `/log`,
    which reads it."""
    api, path = session.api, session.path
    for round_ in range(20):
        session.ok(f"flood 6400 {round_}")

        def is_shown() -> bool:
            log = api.get(path + "/log?size=10").json()["log"]
            shown = api.get(path).json()["log"]
            # The log may have grown in between, so once more.
            return shown == log or shown == api.get(path + "/log?size=10").json()["log"]

        assert is_shown()


def test_strangers_and_javas_client_have_tags_of_their_own(guarded: Server) -> None:
    """An emptied answer is another answer."""
    owner, stranger = guarded.user(*OWNER), guarded.user(*STRANGER)
    session = owner.create(conf={"spark.secret.word": "hers"})
    session.wait("idle")
    java = {"User-Agent": "livy-client-http/0.8"}
    for path in (session.path, "/sessions"):
        looks = [
            owner.get(path),
            stranger.get(path),
            owner.get(path, headers=java),
            stranger.get(path, headers=java),
        ]
        assert [look.status_code for look in looks] == [200] * 4
        bodies, tags = {look.text for look in looks}, {look.headers["ETag"] for look in looks}
        assert len(bodies) == len(tags), path
        assert "hers" in looks[0].text
        assert not any("hers" in look.text for look in looks[1:])
        # Asked again in another order, each gets its own.
        assert [stranger.get(path).text, owner.get(path).text] == [looks[1].text, looks[0].text]
        assert again(stranger, looks[0], path).status_code == 200
        assert again(stranger, looks[1], path).status_code == 304
    # A tag is no right: who may not see it learns nothing of it.
    assert stranger.get(session.path + "/statements", headers={"If-None-Match": "*"}).status_code == 403
    assert guarded.api.get(session.path, headers={"If-None-Match": "*"}).status_code == 401
    session.delete()


def test_compressed_is_another_body(session: Session) -> None:
    """A long answer has a tag for each coding, and says that it has both."""
    session.ok("print 30000")
    path = f"{session.path}/statements"
    plain = session.api.get(path, headers={"Accept-Encoding": "identity"})
    small = session.api.get(path, headers={"Accept-Encoding": "gzip"}, stream=True)
    assert small.headers.get("Content-Encoding") == "gzip"
    assert gzip.decompress(small.raw.read(decode_content=False)) == plain.content
    if "ETag" in small.headers:
        assert small.headers["ETag"] != plain.headers["ETag"]
    assert small.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"


def test_a_tag_outlives_the_server(server: Server, session: Session) -> None:
    """It is made of the answer alone, so a client that polls over a restart is still told that nothing has
    changed, or else gets what has."""
    session.ok("ledger outlives")
    path = session.path + "/statements/0"
    before = session.api.get(path)
    server.restart()
    server.api.get(session.path)
    assert again(server.api, before, path).status_code == 304
    session.api = server.api
    session.wait("idle")


def test_random_polls_see_what_others_see(server: Server, session: Session) -> None:
    """A client that keeps answers and names their tags has, at each moment, the very bodies that one gets
    that does not; statements run, fail and are cancelled meanwhile. Equal tags are equal bodies."""
    random, bodies, kept = seeded(), {}, {}
    numbers: list[int] = []
    for _ in range(150):
        act = random.choice(["run", "fail", "long", "cancel", "read", "read", "read"])
        if act == "run":
            numbers.append(session.post(f"print {random.randrange(1, 40_000)}")["id"])
        elif act == "fail":
            numbers.append(session.post(f"error {random.random()}")["id"])
        elif act == "long":
            numbers.append(session.post("sleep 0.05 long")["id"])
        elif act == "cancel" and numbers:
            session.cancel(random.choice(numbers))
        ways = ["", "/state", "/statements", "/statements?order=desc&size=2", "/log?size=3"]
        ways += [f"/statements/{number}" for number in numbers[-3:]]
        for path in (session.path + random.choice(ways), "/sessions"):
            headers = {"If-None-Match": kept[path][0]} if path in kept else {}
            answer = server.api.get(path, headers=headers)
            if answer.status_code == 304:
                assert answer.headers["ETag"] == kept[path][0]
                continue
            assert answer.status_code == 200
            tag = answer.headers.get("ETag")
            if tag is None:
                kept.pop(path, None)
                continue
            assert not headers or tag != headers["If-None-Match"]
            kept[path] = (tag, answer.content)
            assert bodies.setdefault(tag, answer.content) == answer.content
    for number in numbers:
        session.cancel(number)
    session.wait("idle")
    for path, (tag, body) in kept.items():
        now = server.api.get(path)
        assert (now.headers.get("ETag") == tag) == (now.content == body), json.dumps(path)


def test_a_poll_that_is_answered_304_is_a_sign_of_life(server: Server) -> None:
    """A client that only ever gets 304 keeps its session."""
    session = server.api.create(heartbeatTimeoutInSecond=2)
    session.wait("idle")
    tag = server.api.get(session.path + "/state").headers["ETag"]
    polls = iter(range(20))

    def over() -> bool:
        answer = server.api.get(session.path + "/state", headers={"If-None-Match": tag})
        assert answer.status_code == 304
        return next(polls, None) is None

    wait_until("twice the heartbeat's time", over, limit=60, pause=0.2)
    session.delete()
