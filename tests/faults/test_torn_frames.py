"""Conversations cut after every byte, and frames that are none (faults.md R36)."""

from __future__ import annotations

import json
from typing import Iterator

import pytest
from harness.chance import seeded
from harness.drivers import agent_of, driver_of
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import Server

# Beyond these lie the hello (some 300 bytes each way) and a whole exchange of a statement.
LAST = {"out": 800, "in": 600}
HELLO = 300
FUZZED = 2000
PIECES = 4


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Fake:
    """A Spark that is none."""
    return Fake(tmp_path_factory.mktemp("fake") / "spark")


@pytest.fixture(scope="module")
def server(fake: Fake) -> Iterator[Server]:
    """One server for all of it; its log must hold no panic."""
    server = Server(fake.settings)
    yield server
    server.stop()


@pytest.mark.parametrize("direction", LAST)
def test_cut_after_every_byte(server: Server, fake: Fake, direction: str) -> None:
    """Connection after connection breaks a byte later: each statement runs once and has its own result."""
    last = LAST[direction]
    token = f"cut-{direction}"
    session = server.api.create(
        conf={"spark.sql.fake.token": token, "spark.fake.cut": f"{direction} 0 {last}"}
    )
    session.wait("idle")

    def cuts() -> list[int]:
        return [int(line.nonce) for line in fake.lines() if (line.what, line.token) == ("cuts", token)]

    ran = 0
    while not cuts():
        assert session.text(f"ledger {token}-{ran}", limit=20) == f"{token}-{ran}"
        ran += 1
    assert cuts() == [last], "each was cut once, up to the last"
    assert ran >= (last - HELLO) / 400, "statements went on all the while"
    assert session.text(f"ledger {token}-{ran}") == f"{token}-{ran}"
    nonces = [line.nonce for line in fake.lines() if (line.what, line.token) == ("ran", token)]
    assert nonces == [f"{token}-{number}" for number in range(ran + 1)], "each ran once, in order"
    for number in range(max(0, ran - 50), ran + 1):
        assert session.statement(number)["output"]["data"] == {"text/plain": f"{token}-{number}"}
    print(f"{last + 1} cuts {direction}, {ran} statements meanwhile")
    session.delete()


def test_frames_that_are_none(server: Server) -> None:
    """After a right hello comes nonsense, 2,000 times: each connection ends, and the session goes on."""
    chance = seeded()
    session, other = server.api.create(), server.api.create()
    for one in (session, other):
        one.wait("idle")
    agent = agent_of(server, driver_of(session))
    before = server.log().count("a driver's connection is closed")
    ended = 0
    for at in range(PIECES):
        told = json.loads(session.text(f"fuzz {chance.randrange(1 << 32)} {FUZZED // PIECES}", limit=60))
        assert told == {"welcome": FUZZED // PIECES, "ended": FUZZED // PIECES}, told
        ended += told["ended"]
        assert session.text(f"ledger {at}-after", limit=10) == f"{at}-after"
        assert other.text(f"ledger {at}-other") == f"{at}-other"
    assert ended == FUZZED
    assert agent_of(server, driver_of(session)) == agent, "the same driver all the while"
    malformed = server.log().count("a driver's connection is closed") - before
    assert malformed >= FUZZED / 4, "most were no frames"
    assert "panicked" not in server.log()
    print(f"{FUZZED} connections with nonsense, {malformed} of them closed for what they said")
    for one in (session, other):
        one.delete()
    wait_until("no process is left", lambda: not server.driver_processes(), 20)
