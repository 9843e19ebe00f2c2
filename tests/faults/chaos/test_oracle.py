"""The oracle complains about each fault that it is there for, and about nothing else."""

from __future__ import annotations

import pytest
from faults.chaos import oracle
from faults.chaos.history import ACCEPTED, REFUSED, UNKNOWN, Asked, Posted
from harness.fake import Line


def session() -> Asked:
    """One that was accepted."""
    return Asked("s", {}, None, ACCEPTED, 201, 7)


def posted(outcome: str = ACCEPTED, number: int | None = 3, **more: object) -> Posted:
    """A statement with the nonce n."""
    return Posted("ledger n", None, outcome, 201, number if outcome == ACCEPTED else None, **more)


def shown(state: str = "available", text: str = "n", code: str = "ledger n", number: int = 3) -> dict:
    """What the API lists when it has ended well."""
    output = {"status": "ok", "data": {"text/plain": text}} if state == "available" else None
    return {number: {"id": number, "code": code, "state": state, "output": output}}


RAN = Line("ran", "s", "driver", 3, "n")
STOPPED = RAN._replace(what="interrupted")
FAILED = {3: {"code": "ledger n", "state": "available", "output": {"status": "error", "ename": "X"}}}

# name -> the statement, what is shown, the ledger, words of the complaint (None: all is well)
STATEMENTS: dict[str, tuple[Posted, dict, list[Line], str | None]] = {
    "well": (posted(), shown(), [RAN], None),
    "lost": (posted(), {}, [RAN], "is lost"),
    "run twice": (posted(), shown(), [RAN, RAN], "ran 2 times"),
    "not run": (posted(), shown(), [], "did not run"),
    "another's output": (posted(), shown(text="m"), [RAN], "another's output"),
    "another's code": (posted(), shown(code="ledger m"), [RAN], "another's code"),
    "stored twice": (posted(), {**shown(), **shown(number=4)}, [RAN], "is there 2 times"),
    "run as another number": (posted(), shown(), [RAN._replace(statement=4)], "ran as another"),
    "run in another session": (posted(), shown(), [RAN._replace(token="t")], "ran as another"),
    "hangs": (posted(), shown("running"), [RAN], "has not ended"),
    "cancelled before it ran": (posted(cancelled=True), shown("cancelled"), [], None),
    "cancelled": (posted(cancelled=True), shown("cancelled"), [RAN, STOPPED], None),
    "cancelled too late": (posted(cancelled=True), shown(), [RAN], None),
    "cancelled, but ran to its end": (posted(cancelled=True), shown("cancelled"), [RAN], "ran to its end"),
    "interrupted, but well": (posted(cancelled=True), shown(), [RAN, STOPPED], "was interrupted"),
    "cancelled by nobody": (posted(), shown("cancelled"), [], "cancelled by nobody"),
    "failed": (posted(), FAILED, [RAN], "ended in an error"),
    "changed": (posted(seen=("cancelled", "None")), shown(), [RAN], "changed after its end"),
    "refused": (posted(REFUSED), {}, [], None),
    "refused and stored": (posted(REFUSED), shown(), [], "was refused"),
    "refused and run": (posted(REFUSED), {}, [RAN], "was refused"),
    "unknown and never stored": (posted(UNKNOWN), {}, [], None),
    "unknown and stored": (posted(UNKNOWN), shown(), [RAN], None),
    "unknown, run and not stored": (posted(UNKNOWN), {}, [RAN], "not shown"),
    "unknown and hangs": (posted(UNKNOWN), shown("waiting"), [], "has not ended"),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_statement(name: str) -> None:
    """A dropped, repeated, swapped or forged statement is seen."""
    statement, listed, lines, words = STATEMENTS[name]
    ran = [line for line in lines if line.what == "ran"]
    numbers = oracle.numbers_of(listed)
    complaints = oracle.of_statement(session(), statement, listed, numbers, ran, STOPPED in lines)
    assert (words is None) == (complaints == []), complaints
    assert words is None or any(words in complaint for complaint in complaints), complaints


UP = Line("up", "s", "driver", -1, "")
CLAIMED = UP._replace(what="claimed")

# name -> the statement, the ledger, words of the complaint (None: all is well)
LEDGERS: dict[str, tuple[Posted, list[Line], str | None]] = {
    "well": (posted(), [UP, RAN], None),
    "posted by nobody": (posted(), [RAN._replace(nonce="m")], "nobody posted"),
    "interrupted": (posted(cancelled=True), [RAN, RAN._replace(what="interrupted")], None),
    "interrupted by nobody": (posted(), [RAN._replace(what="interrupted")], "nobody cancelled"),
    "two drivers": (posted(), [UP, UP._replace(driver="another")], "had drivers"),
    "claimed in vain": (posted(), [CLAIMED, UP._replace(driver="another")], None),
    "two drivers, one warm": (posted(), [CLAIMED, RAN, UP._replace(driver="another")], "had drivers"),
    "run twice": (posted(), [RAN, RAN], "ran 2 times"),
    "refused": (posted(REFUSED), [RAN], "was refused"),
}


@pytest.mark.parametrize("name", LEDGERS)
def test_ledger(name: str) -> None:
    """What drivers did and nobody asked for is seen, and so is a session with two drivers."""
    statement, lines, words = LEDGERS[name]
    ledger = oracle.Ledger()
    complaints = [one for line in lines for one in ledger.take([line], {"n": statement})]
    assert (words is None) == (complaints == []), complaints
    assert words is None or words in complaints[0]


def test_listing() -> None:
    """A statement that nobody posted is seen, and a number that was given twice."""
    asked = session()
    asked.posted.append(posted())
    assert oracle.of_listing(asked, shown()) == []
    assert "nobody posted" in oracle.of_listing(asked, shown(code="ledger m"))[0]
    asked.posted.append(Posted("ledger m", None, ACCEPTED, 201, 3))
    assert "was given to" in oracle.of_listing(asked, shown())[0]


@pytest.mark.parametrize(
    ("change", "status", "state", "words"),
    [
        ({}, 200, "idle", None),
        ({}, 404, None, "is lost"),
        ({}, 200, "dead", "died"),
        ({"lives": False}, 200, "dead", None),
        ({"deleted": True}, 404, None, None),
        ({"deleted": True}, 200, "idle", "is back"),
        ({"delete_asked": True}, 404, None, None),
        ({"outcome": UNKNOWN}, 404, None, None),
        ({"outcome": REFUSED}, 200, "idle", "was refused"),
    ],
)
def test_session(change: dict, status: int, state: str | None, words: str | None) -> None:
    """One that is lost, dead or back from the dead is seen."""
    asked = session()
    for name, value in change.items():
        setattr(asked, name, value)
    complaints = oracle.of_session(asked, status, state)
    assert (words is None) == (complaints == []), complaints
    assert words is None or words in complaints[0]
