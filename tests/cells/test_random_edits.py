"""Code that nobody means: random characters, and random edits of the corpus, in each kind of one session.

After each of them the session is idle, the statement has ended, and its answer is JSON that every strict
parser reads. `make fuzz` plays 5,000 rounds of each Spark, `make test` fewer.
"""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
from cells import corpus
from harness.api import DONE, Session
from harness.chance import seeded
from harness.server import Server
from harness.spark import newest
from harness.volume import SCALE

KINDS = {"pyspark": "python", "spark": "scala", "sql": "sql", "sparkr": "r"}
ROUNDS = {"pyspark": 120, "spark": 30, "sql": 60, "sparkr": 40}
"""In `make test`; 5,000 in all with FIRESTEEL_TEST_SCALE=20."""

SECONDS = 5.0
"""An edit may wait or loop without end: then it is cancelled."""

CANCELLED_WITHIN = 30.0
"""Seconds until a cancelled statement must have ended, on a machine that does other work, too."""

LEAVE_OUT = re.compile(
    r"exit|quit|halt|kill|abort|stop|signal|fork|system|subprocess|Popen|Process|remove|unlink|rmtree|open\(|"
    r"write|sleep|range\(10 ?\*\*|1e[0-9]|0{5}|DROP|shutdown|q\(|Runtime|Files",
    re.IGNORECASE,
)
"""Cells whose edits could end the driver by its own will, or harm what is around it."""

INSERTED = [
    "\0",
    "\n",
    "\t",
    "(",
    ")",
    "[",
    "{",
    "'",
    '"',
    "%",
    "\\",
    ";",
    ".",
    "`",
    "é",
    "\u202e",
    "\U0001f600",
    "  ",
]


def cells(directory: str) -> list[str]:
    """The code of the corpus' cells of one language."""
    files = sorted((Path(__file__).parent / directory).glob("*.cells"))
    found = [cell.code for file in files for cell in corpus.read(file).cells]
    return [code for code in found if not LEAVE_OUT.search(code) and len(code) < 2000]


def noise(chance: random.Random) -> str:
    """Any characters, of all planes but the surrogates'."""
    planes = [(0, 128), (0, 128), (0x80, 0xD800), (0xE000, 0x110000)]
    return "".join(chr(chance.randrange(*chance.choice(planes))) for _ in range(chance.randrange(60)))


def edited(chance: random.Random, codes: list[str]) -> str:
    """A cell with some characters dropped, doubled, put in or exchanged, or with a piece of another one."""
    code = chance.choice(codes)
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.randrange(len(code) + 1)
        upto = min(len(code), at + chance.choice([1, 1, 3, 20]))
        way = chance.randrange(5)
        if way == 0:
            code = code[:at] + code[upto:]
        elif way == 1:
            code = code[:upto] + code[at:upto] + code[upto:]
        elif way == 2:
            code = code[:at] + chance.choice(INSERTED) + code[at:]
        elif way == 3:
            other = chance.choice(codes)
            begin = chance.randrange(len(other) + 1)
            code = code[:at] + other[begin : begin + 30] + code[at:]
        else:
            code = code[:at] + chr(chance.randrange(32, 127)) + code[upto:]
    return "1" if LEAVE_OUT.search(code) else code


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """One session for all kinds."""
    server = Server(
        {
            **newest().plain_settings,
            "spark.master": "local[2]",
            "spark.conf": {"spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse"))},
            "output.max_bytes": "1MiB",
            "sql.max_rows": 100,
            "statement.kept": 10_000,
        }
    )
    try:
        session = server.api.create(kind="shared")
        session.wait("idle")
        yield session
    finally:
        server.stop()


def strict(answer: Any) -> dict:
    """An answer's JSON, which has no lone surrogate and no number that JSON lacks."""

    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is not JSON")

    answer.content.decode("utf-8")
    parsed = answer.json(parse_constant=refuse)
    str(parsed).encode("utf-8")
    return parsed


def play(session: Session, kind: str, code: str) -> str:
    """One statement to its end: how it ended."""
    answer = session.api.post(f"{session.path}/statements", {"code": code, "kind": kind})
    assert answer.status_code == 201, answer.text
    statement = strict(answer)
    path = f"{session.path}/statements/{statement['id']}"
    deadline, cancelled = time.monotonic() + SECONDS, False
    while statement["state"] not in DONE:
        assert session.state() in ("idle", "busy")
        if time.monotonic() > deadline:
            assert not cancelled, "a cancelled statement did not end"
            session.cancel(statement["id"])
            deadline, cancelled = time.monotonic() + CANCELLED_WITHIN, True
        answer = session.api.get(path)
        assert answer.status_code == 200, answer.text
        statement = strict(answer)
    return statement["state"] if cancelled else statement["output"]["status"]


@pytest.mark.parametrize("kind", KINDS)
def test_random_edits(session: Session, kind: str) -> None:
    """The session lives on, and runs what is right."""
    chance = seeded()
    codes = cells(KINDS[kind])
    assert len(codes) >= 10
    ended: dict[str, int] = {}
    for _ in range(int(ROUNDS[kind] * SCALE)):
        code = noise(chance) if chance.randrange(5) == 0 else edited(chance, codes)
        try:
            how = play(session, kind, code)
        except BaseException:
            print(f"the code, in {kind}: {code!r}")
            raise
        ended[how] = ended.get(how, 0) + 1
    print(f"{kind}: {ended}")
    assert ended.get("ok", 0) + ended.get("error", 0) > ended.get("cancelled", 0)
    session.wait("idle")
    right = session.ok("SELECT 1 + 1 AS x" if kind == "sql" else "1 + 1", kind)
    if kind == "sql":
        assert right["application/json"]["data"] == [[2]]
    else:
        assert "2" in right["text/plain"]
