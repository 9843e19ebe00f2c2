"""Idempotency-Key: a POST that is sent again is answered with what the first one made, also after the server
was killed."""

from __future__ import annotations

import concurrent.futures
from typing import Iterator

import pytest
from harness.api import Session
from harness.fake import Fake
from harness.server import Server, serving


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Fake:
    """Drivers that keep a ledger of what they ran."""
    return Fake(tmp_path_factory.mktemp("idempotency") / "fake")


@pytest.fixture(scope="module")
def server(fake: Fake) -> Iterator[Server]:
    """A server for the file."""
    server = Server(fake.settings)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def session(server: Server) -> Session:
    """An idle session for the file."""
    session = server.api.create(kind="pyspark")
    session.wait("idle")
    return session


def key(value: str) -> dict[str, str]:
    """The header."""
    return {"Idempotency-Key": value}


def test_a_statement_sent_again_runs_once(session: Session, fake: Fake) -> None:
    """The same id with what became of it, told apart by a header."""
    first = session.api.post(f"{session.path}/statements", {"code": "ledger again"}, headers=key("a"))
    assert first.status_code == 201
    assert "Idempotent-Replayed" not in first.headers
    session.wait_statement(first.json()["id"])
    again = session.api.post(f"{session.path}/statements", {"code": "ledger again"}, headers=key("a"))
    assert again.status_code == 201
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["output"]["data"] == {"text/plain": "again"}
    assert [line.nonce for line in fake.lines()].count("again") == 1


def test_another_body_is_refused(session: Session) -> None:
    """422, and nothing is stored."""
    made = session.api.post(f"{session.path}/statements", {"code": "ledger one"}, headers=key("b")).json()
    refused = session.api.post(f"{session.path}/statements", {"code": "ledger two"}, headers=key("b"))
    assert refused.status_code == 422
    assert "Idempotency-Key" in refused.json()["msg"]
    assert session.api.get(f"{session.path}/statements").json()["total_statements"] == made["id"] + 1


@pytest.mark.parametrize("bad", ["", "x" * 256, "two words", "tab\there"])
def test_a_bad_key_is_refused(session: Session, bad: str) -> None:
    """It names the header."""
    answer = session.api.post(f"{session.path}/statements", {"code": "ledger no"}, headers=key(bad))
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.text


def test_the_same_key_at_once(session: Session, fake: Fake) -> None:
    """Sixteen clients with the same key: one statement, one run."""

    def post(_: int) -> tuple[int, str | None]:
        answer = session.api.post(f"{session.path}/statements", {"code": "ledger race"}, headers=key("race"))
        assert answer.status_code == 201, answer.text
        return answer.json()["id"], answer.headers.get("Idempotent-Replayed")

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(post, range(16)))
    assert len({number for number, _ in answers}) == 1, answers
    assert [replayed for _, replayed in answers].count(None) == 1, answers
    session.wait_statement(answers[0][0])
    assert [line.nonce for line in fake.lines()].count("race") == 1


def test_keys_belong_to_their_session(server: Server, session: Session) -> None:
    """Another session may use the same key."""
    other = server.api.create(kind="pyspark")
    for one in (session, other):
        answer = one.api.post(f"{one.path}/statements", {"code": "ledger mine"}, headers=key("mine"))
        assert "Idempotent-Replayed" not in answer.headers
    other.delete()


def test_a_session_created_again(server: Server) -> None:
    """The same session; another conf is another request; once it is deleted, its key says so."""
    body = {"kind": "pyspark", "name": "keyed"}
    first = server.api.post("/sessions", body, headers=key("s"))
    again = server.api.post("/sessions", body, headers=key("s"))
    assert [first.status_code, again.status_code] == [201, 201]
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert server.api.post("/sessions", {"kind": "sql"}, headers=key("s")).status_code == 422
    server.api.delete("/sessions/keyed")
    gone = server.api.post("/sessions", body, headers=key("s"))
    assert gone.status_code == 404
    assert f"Session '{first.json()['id']}' not found." in gone.text


def test_keys_outlive_the_server(fake: Fake) -> None:
    """Killed and started again, it knows what it answered."""
    with serving(fake.settings) as server:
        made = server.api.post("/sessions", {"kind": "pyspark"}, headers=key("k"))
        path = f"{made.headers['Location']}/statements"
        statement = server.api.post(path, {"code": "ledger kept"}, headers=key("k"))
        server.restart()
        again = server.api.post("/sessions", {"kind": "pyspark"}, headers=key("k"))
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.json()["id"] == made.json()["id"]
        again = server.api.post(path, {"code": "ledger kept"}, headers=key("k"))
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.json()["id"] == statement.json()["id"]
        Session(server.api, made.json()).wait_statement(again.json()["id"])
        assert [line.nonce for line in fake.lines()].count("kept") == 1
