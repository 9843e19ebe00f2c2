"""Names and passwords that a real OpenLDAP server knows (faults.md S17, S3)."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Callable, Iterator

import pytest
from harness.api import Api
from harness.directory import GROUPS, PASSWORDS, PEOPLE, Directory
from harness.processes import wait_until
from harness.roles import PATIENT
from harness.server import Server, command, free_port
from harness.stub import Stub


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A Spark that sleeps, and a server on which the next try need not wait: many are made here."""
    return {**Stub(tmp_path_factory.mktemp("ldap-stub") / "spark").settings, **PATIENT}


@pytest.fixture(scope="module")
def searching(directory: Directory, stub: dict) -> Iterator[Server]:
    """A server that searches users as the service, and remembers nothing."""
    server = Server({**stub, "access.mode": "ldap", **directory.settings, "access.ldap.cache": "0s"})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def by_name(directory: Directory, stub: dict) -> Iterator[Server]:
    """A server that makes the DN of the name, over StartTLS, with the groups of the user's own entry."""
    settings = {
        "access.ldap.url": directory.url,
        "access.ldap.ca_file": directory.authority.path,
        "access.ldap.user_dn": f"uid={{user}},{PEOPLE}",
        "access.ldap.group_attribute": "memberOf",
        "access.ldap.cache": "0s",
    }
    server = Server({**stub, "access.mode": "ldap", **settings})
    yield server
    server.stop()


@pytest.fixture(params=["searching", "by_name"])
def either(request: pytest.FixtureRequest) -> Server:
    """Each in turn."""
    return request.getfixturevalue(request.param)


def status(server: Server, user: str, password: str) -> int:
    """What a login is answered."""
    return server.user(user, password).get("/sessions").status_code


def test_right_and_wrong(either: Server) -> None:
    """Who is in the directory gets in with the right password, and nobody else."""
    for user, password in PASSWORDS.items():
        assert status(either, user, password) == 200, user
        assert status(either, user, password + "x") == 401, user
    assert status(either, "nobody", "x") == 401
    assert status(either, "alice", PASSWORDS["bob"]) == 401
    answer = Api(either.url).get("/sessions")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_the_directory_spells_the_name(either: Server) -> None:
    """However the name is typed, it is one user, whose sessions are one user's."""
    owners = set()
    for typed in ("alice", "ALICE", "Alice"):
        session = either.user(typed, PASSWORDS["alice"]).create()
        owners.add(session.created["owner"])
    assert owners == {"alice"}
    api = either.user("aLiCe", PASSWORDS["alice"])
    for number in list(api.ids()):
        api.delete(f"/sessions/{number}")


def test_two_names(searching: Server) -> None:
    """Of an entry with two names, the one that was typed counts."""
    for typed, expected in (("erin", "erin"), ("erinthesecond", "ErinTheSecond")):
        session = searching.user(typed, "e").create()
        assert session.created["owner"] == expected
        searching.user(typed, "e").delete(session.path)


def test_one_name_of_two_people_is_nobody_s(searching: Server) -> None:
    """Two entries that the filter finds are let in by no password."""
    assert status(searching, "twin", "t") == 401
    assert "more than one entry" in searching.log()


# 60 names: what filters and DNs are written with, as a name and around one that exists.
PARTS = ["*", "(", ")", "\\", "\0", "&", "|", "!", ",", "+", "=", '"', "<", ">", ";", "#", " ", "/"]
NAMES = [
    "*",
    "a*",
    "alice)(uid=*",
    "alice)(|(uid=*)",
    "*)(uid=*))(|(uid=*",
    "alice)(cn=firesteel",
    "(uid=alice)",
    "alice\\2a",
    "\\61lice",
    "alice\\",
    "alice\0",
    "\0alice",
    f"alice,{PEOPLE}",
    f"uid=alice,{PEOPLE}",
    "alice,ou=people",
    "alice+cn=alice",
    "alice+uid=bob",
    "cn=firesteel",
    "cn=firesteel,dc=example,dc=test",
    "alice\n",
    "alice\r\nx",
    "alice)(objectClass=*",
    "alice)(userPassword=*",
    "admin",
]
NAMES += [f"{part}alice" for part in PARTS] + [f"alice{part}" for part in PARTS]


def test_injection(either: Server, directory: Directory) -> None:
    """S17: no name gets in that is nobody's, with a password that somebody has; none of them is an error of
    the server's, and no wildcard reaches the directory."""
    assert len(NAMES) == 60
    before = len(directory.daemon.said())
    for name in NAMES:
        # A colon would end the name in the header.
        for password in (PASSWORDS["alice"], "", "\0", "*"):
            assert status(either, name, password) == 401, (name, password)
    said = directory.daemon.said()[before:]
    assert "=*)" not in said.replace("(objectClass=*)", ""), "a wildcard was searched"
    assert "userPassword" not in said


def test_empty_passwords_are_not_asked_about(either: Server, directory: Directory) -> None:
    """The directory takes a bind without a password for anonymous and lets it succeed; the server never
    asks."""
    before = len(directory.daemon.said())
    for user in [*PASSWORDS, "nobody", ""]:
        assert status(either, user, "") == 401
    assert "BIND" not in directory.daemon.said()[before:]


def test_odd_names_are_refused(searching: Server) -> None:
    """What can't be a user's name here is not, whatever the directory says."""
    assert status(searching, "odd name", "o") == 401


def test_referrals_are_not_followed(searching: Server, directory: Directory) -> None:
    """A search finds a part of the tree that is somewhere else: nobody goes there, least of all with a
    password."""
    before = len(directory.daemon.said())
    assert status(searching, "nobody", "x") == 401
    assert status(searching, "alice", PASSWORDS["alice"]) == 200
    assert "SRCH" in directory.daemon.said()[before:]
    assert directory.elsewhere.callers == 0


def test_changed_and_removed_at_once(either: Server, directory: Directory) -> None:
    """S3, without remembering: a password that was changed is refused, and so is a user who was removed."""
    assert status(either, "carol", "c") == 200
    directory.set_password("carol", "new")
    assert (status(either, "carol", "c"), status(either, "carol", "new")) == (401, 200)
    directory.set_password("carol", "c")
    gone = f"dn: uid=carol,{PEOPLE}\nchangetype: modrdn\nnewrdn: uid=carol2\ndeleteoldrdn: 1\n"
    directory.modify(gone)
    assert (status(either, "carol", "c"), status(either, "carol2", "c")) == (401, 200)
    directory.modify(
        gone.replace("uid=carol,", "uid=carol2,").replace("newrdn: uid=carol2", "newrdn: uid=carol")
    )
    assert status(either, "carol", "c") == 200


def test_changed_counts_within_its_time(
    directory: Directory, stub: dict, serve: Callable[..., Server]
) -> None:
    """S3, with remembering: the old password counts until access.ldap.cache has passed; the new one at once.
    What is remembered asks nobody."""
    server = serve({**stub, "access.mode": "ldap", **directory.settings, "access.ldap.cache": "2s"})
    assert status(server, "dave", PASSWORDS["dave"]) == 200
    before = len(directory.daemon.said())
    assert [status(server, "dave", PASSWORDS["dave"]) for _ in range(20)] == [200] * 20
    assert "BIND" not in directory.daemon.said()[before:]
    directory.set_password("dave", "new")
    assert status(server, "dave", "new") == 200
    wait_until("the old password is refused", lambda: status(server, "dave", PASSWORDS["dave"]) == 401, 20)
    directory.set_password("dave", PASSWORDS["dave"])


def test_who_guesses_waits(directory: Directory, stub: dict, serve: Callable[..., Server]) -> None:
    """S19: wrong passwords are not asked about for ever; who is remembered to be right goes on."""
    slow = {"access.throttle.free": 2, "access.throttle.first_wait": "30s"}
    server = serve({**stub, "access.mode": "ldap", **directory.settings, **slow})
    assert status(server, "bob", PASSWORDS["bob"]) == 200
    assert [status(server, "bob", f"wrong {number}") for number in range(4)] == [401, 401, 401, 429]
    before = len(directory.daemon.said())
    assert status(server, "bob", "wrong again") == 429
    assert status(server, "bob", PASSWORDS["bob"]) == 200
    assert "BIND" not in directory.daemon.said()[before:]


def test_down_and_up_again(
    directory: Directory, stub: dict, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    """A directory that is down is no wrong password: 503 with a sentence, told once in the log; with a file
    before it, who is in the file gets in all the same."""
    users = tmp_path / "users"
    assert command("passwd", str(users), "admin", stdin="in the file\n").returncode == 0
    settings = {**directory.settings, "access.ldap.cache": "0s", "access.basic_file": users}
    server = serve({**stub, "access.mode": ["basic", "ldap"], **settings})
    assert status(server, "alice", PASSWORDS["alice"]) == 200
    directory.daemon.stop()
    try:
        for _ in range(3):
            answer = server.user("alice", PASSWORDS["alice"]).get("/sessions")
            assert answer.status_code == 503
            assert "does not answer" in answer.json()["msg"]
        assert status(server, "alice", "") == 401
        assert status(server, "admin", "in the file") == 200
        assert server.log().count("until it answers, logins get 503") == 1
    finally:
        directory.daemon.start()
    assert status(server, "alice", PASSWORDS["alice"]) == 200
    assert "answers again" in server.log()
    assert PASSWORDS["alice"] not in server.log()


def test_a_directory_that_says_nothing(
    directory: Directory, stub: dict, serve: Callable[..., Server]
) -> None:
    """One that takes connections and never answers, or answers what is no LDAP, costs access.ldap.timeout at
    most, and only as many connections as are allowed."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ldaps://localhost:{silent.getsockname()[1]}"
        settings = {**directory.settings, "access.ldap.url": url, "access.ldap.timeout": "500ms"}
        server = serve({**stub, "access.mode": "ldap", **settings, "access.ldap.connections": 1})
        answers: list[int] = []
        asking = [
            threading.Thread(target=lambda: answers.append(status(server, "alice", "x"))) for _ in range(5)
        ]
        for one in asking:
            one.start()
        for one in asking:
            one.join(20)
        assert answers == [503] * 5


def test_a_certificate_of_nobody_s(directory: Directory, stub: dict, serve: Callable[..., Server]) -> None:
    """A certificate that no known authority signed, and one for another name: no password is sent."""
    for change in (
        {"access.ldap.ca_file": ""},
        {"access.ldap.url": directory.tls_url.replace("localhost", "127.0.0.2")},
    ):
        before = len(directory.daemon.said())
        server = serve({**stub, "access.mode": "ldap", **directory.settings, **change})
        assert status(server, "alice", PASSWORDS["alice"]) == 503
        assert "BIND" not in directory.daemon.said()[before:]


def test_plain_text_only_where_it_is_said(directory: Directory, stub: dict) -> None:
    """ldap:// without TLS: on this host, or with a key that says so."""

    def ends(**changes: object) -> str:
        settings = {**stub, "access.mode": "ldap", **directory.settings, **changes}
        sets = [
            word
            for key, value in settings.items()
            if key.startswith("access.")
            for word in ("--set", f"{key}={value}")
        ]
        return command("check", *sets).stdout

    off = {"access.ldap.starttls": "false"}
    assert "passwords would go to ldap.example.com" in ends(
        **{**off, "access.ldap.url": "ldap://ldap.example.com"}
    )
    said = {**off, "access.ldap.url": "ldap://ldap.example.com", "access.ldap.plaintext": "true"}
    for fine in ({**off, "access.ldap.url": f"ldap://127.0.0.1:{free_port()}"}, said):
        assert "passwords would go" not in ends(**fine)
        assert "ok    configuration" in ends(**fine)


def test_groups(directory: Directory, stub: dict, serve: Callable[..., Server]) -> None:
    """A user's groups: those that a search finds, and those that the own entry tells, by their names."""
    by_name = {
        "access.ldap.user_dn": f"uid={{user}},{PEOPLE}",
        "access.ldap.user_base": "",
        "access.ldap.group_base": "",
        "access.ldap.group_attribute": "memberOf",
    }
    for changes in ({}, by_name, {**by_name, "access.ldap.group_base": GROUPS}):
        settings = {**stub, "access.mode": "ldap", **directory.settings, **changes}
        server = serve({**settings, "log.level": "info,firesteel::authentication=debug"})
        for user, groups in (
            ("alice", ["analysts", "data team, north"]),
            ("bob", ["analysts"]),
            ("dave", []),
        ):
            assert status(server, user, PASSWORDS[user]) == 200
            assert f"access.ldap: {user} is in {json.dumps(groups)}" in server.log()
