"""R28: cancels that race with the end of statements, that come twice at once, and that hit what still waits.
The fake driver's ledger tells what ran and what was interrupted."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from pathlib import Path
from random import Random

from harness.chance import seeded
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import Server, serving
from harness.volume import SCALE, Connection

SESSIONS = 5
CANCELS = int(5_000 * SCALE)
BATCH = 8
"""Statements of one round; the last of them is never cancelled."""

PER_ROUND = 10
"""Cancels of one round."""


class Storm:
    """What one session was asked for."""

    def __init__(self, path: str, seed: int, rounds: int):
        self.path = f"{path}/statements"
        self.chance = Random(seed)
        self.rounds = rounds
        self.codes: dict[int, str] = {}
        self.asked: set[int] = set()
        self.cancels = 0
        self.failure: BaseException | None = None

    def code(self, nonce: str) -> str:
        """Mostly quick ones: the shorter a statement, the closer the race."""
        kind = self.chance.random()
        if kind < 0.6:
            return f"ledger {nonce}"
        if kind < 0.97:
            return f"sleep {self.chance.choice((0, 0.001, 0.01, 0.05))} {nonce}"
        return f"ignore-cancel {self.chance.choice((0.005, 0.5))} {nonce}"

    def run(self, port: int) -> None:
        """All rounds, by one connection that posts and two that cancel."""
        try:
            posting, *cancelling = [Connection(port) for _ in range(3)]
            for number in range(self.rounds):
                self.round(number, posting, cancelling)
        except BaseException as failure:
            self.failure = failure

    def round(self, number: int, posting: Connection, cancelling: list[Connection]) -> None:
        """Some statements, cancelled as they are posted and after; then the last one's end is awaited."""
        ids: list[int] = []
        for at in range(BATCH):
            nonce = f"{number}.{at}"
            code = f"ledger {nonce}" if at == BATCH - 1 else self.code(nonce)
            posted = posting.request("POST", self.path, {"code": code})
            assert posted.status == 201, posted
            ids.append(posted.json()["id"])
            self.codes[ids[-1]] = nonce
            if at and at < BATCH - 1 and self.chance.random() < 0.5:
                self.cancel(self.chance.choice(ids[-2:]), cancelling)
        while self.cancels < PER_ROUND * (number + 1):
            self.cancel(self.chance.choice(ids[:-1]), cancelling)
        last = f"{self.path}/{ids[-1]}"
        wait_until("the round is over", lambda: self.state(posting, last) == "available", 20, 0.001)

    def cancel(self, statement: int, cancelling: list[Connection]) -> None:
        """Once, or twice at the same time."""
        self.asked.add(statement)
        used = cancelling[: 1 + (self.chance.random() < 0.3)]
        for connection in used:
            connection.send("POST", f"{self.path}/{statement}/cancel")
        for connection in used:
            answer = connection.receive()
            assert answer.status == 200, answer
            self.cancels += 1

    @staticmethod
    def state(connection: Connection, path: str) -> str:
        """Of a statement."""
        return connection.request("GET", path).json()["state"]


def check(server: Server, fake: Fake, storms: list[Storm]) -> Counter[str]:
    """Compare what was asked for, what the server says, and the ledger."""
    seen: Counter[str] = Counter()
    drivers = {line.token: line.driver for line in fake.lines() if line.what == "up"}
    told: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for line in fake.lines():
        told[line.driver, line.what].append((line.statement, line.nonce))
    connection = Connection(server.port)
    for token, storm in enumerate(storms):
        driver = drivers[str(token)]
        ran, interrupted = dict(told[driver, "ran"]), dict(told[driver, "interrupted"])
        assert len(ran) == len(told[driver, "ran"]), "no statement ran twice"
        assert len(interrupted) == len(told[driver, "interrupted"]), "none was interrupted twice"
        assert set(interrupted) <= storm.asked, "none was interrupted in place of another"
        for number, nonce in {**ran, **interrupted}.items():
            assert storm.codes[number] == nonce
        found = {}
        for start in range(0, len(storm.codes), 1_000):
            page = connection.request("GET", f"{storm.path}?from={start}&size=1000").json()
            found.update({statement["id"]: statement for statement in page["statements"]})
        assert sorted(found) == sorted(storm.codes) == list(range(len(storm.codes)))
        for number, statement in found.items():
            if statement["state"] == "available":
                assert statement["output"]["data"]["text/plain"] == storm.codes[number], statement
                assert number in ran, statement
                assert number not in interrupted, statement
                seen["cancelled too late" if number in storm.asked else "not cancelled"] += 1
            else:
                assert statement["state"] == "cancelled", statement
                assert number in storm.asked, statement
                if statement["started"] == 0:
                    assert number not in ran, statement
                    seen["cancelled while waiting"] += 1
                elif statement["output"] is not None:
                    assert statement["output"]["ename"] == "InterpreterReplaced", statement
                    assert number in interrupted, statement
                    seen["ended by force"] += 1
                else:
                    assert number in interrupted or number not in ran, statement
                    seen["interrupted"] += 1
    return seen


def test_cancel_storms(tmp_path: Path) -> None:
    """Every statement ends as one of the two that it may, and nothing else feels a cancel."""
    chance = seeded()
    fake = Fake(tmp_path / "fake")
    rounds = CANCELS // PER_ROUND // SESSIONS + 1
    settings = {
        # A post that waited for the result would leave nothing to cancel.
        "statement.answer_within": "0s",
        "statement.kept": rounds * BATCH + 1000,
        "statement.cancel_grace": "50ms",
        "statement.interrupt_again": "20ms",
        "log.level": "warn",
    }
    with serving({**fake.settings, **settings}) as server:
        storms = []
        for token in range(SESSIONS):
            session = server.api.create(conf={"spark.sql.fake.token": str(token)})
            session.wait("idle")
            storms.append(Storm(session.path, chance.randrange(1 << 32), rounds))
        threads = [threading.Thread(target=storm.run, args=(server.port,)) for storm in storms]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for storm in storms:
            if storm.failure:
                raise storm.failure
        cancels = sum(storm.cancels for storm in storms)
        seen = check(server, fake, storms)
        print(f"{cancels} cancels, {sum(seen.values())} statements: {dict(seen)}")
        assert cancels >= CANCELS
        assert seen["cancelled too late"] > 20, "there were races"
        assert seen["cancelled while waiting"] > 20
        assert seen["interrupted"] > 20
        assert seen["ended by force"]
        assert seen["not cancelled"] >= rounds * SESSIONS
