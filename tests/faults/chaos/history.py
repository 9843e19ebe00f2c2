"""What the clients know: every session and statement that they asked for, and what they were told."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field

ACCEPTED = "accepted"
REFUSED = "refused"
UNKNOWN = "unknown"


@dataclass
class Posted:
    """One statement."""

    code: str
    key: str | None
    outcome: str = UNKNOWN
    status: int = 0
    number: int | None = None
    cancelled: bool = False
    """Whether anybody has asked for its end, answered or not."""
    cancel_answered: bool = False
    """Whether that was answered: then nobody needs to ask again."""
    seen: tuple | None = None
    """State and output once it was seen ended: they never change again."""

    @property
    def is_endless(self) -> bool:
        """Whether it is there to be cancelled."""
        return self.code.startswith(("sleep 60 ", "ignore-cancel 60 "))

    @property
    def nonce(self) -> str:
        """What it must give, once in the whole test."""
        return self.code.rsplit(" ", 1)[1]


@dataclass
class Asked:
    """One session."""

    token: str
    conf: dict[str, str]
    key: str | None
    outcome: str = UNKNOWN
    status: int = 0
    number: int | None = None
    lives: bool = True
    """Whether it must live until somebody deletes it; false for one whose driver is to hang or die."""
    settles: bool = True
    """Whether all of its statements end by themselves."""
    delete_asked: bool = False
    deleted: bool = False
    """Whether a client was told so."""
    posted: list[Posted] = field(default_factory=list)
    checked: int = 0
    """Statements below this number have been checked in full."""

    @property
    def path(self) -> str:
        """Its path."""
        return f"/sessions/{self.number}"

    @property
    def body(self) -> dict:
        """The request that asks for it."""
        return {
            "kind": "pyspark",
            "name": self.token,
            "conf": {"spark.sql.fake.token": self.token, **self.conf},
        }


class History:
    """All of it. Threads add to it; what they add is theirs to change."""

    def __init__(self, name: str):
        self._name = name
        self._count = itertools.count()
        self._lock = threading.Lock()
        self.sessions: list[Asked] = []
        self.by_nonce: dict[str, Posted] = {}

    def word(self) -> str:
        """One that was never used before."""
        return f"{self._name}{next(self._count)}"

    def session(self, conf: dict[str, str] | None = None, with_key: bool = False) -> Asked:
        """A session that is about to be asked for."""
        word = self.word()
        asked = Asked(f"s-{word}", conf or {}, f"key-{word}" if with_key else None)
        with self._lock:
            self.sessions.append(asked)
        return asked

    def statement(self, session: Asked, command: str, with_key: bool = False) -> Posted:
        """A statement that is about to be posted; `command` lacks its nonce."""
        word = self.word()
        posted = Posted(f"{command} n-{word}", f"key-{word}" if with_key else None)
        with self._lock:
            session.posted.append(posted)
            self.by_nonce[posted.nonce] = posted
        return posted

    def count(self, outcome: str) -> int:
        """Statements of an outcome."""
        return sum(posted.outcome == outcome for posted in self.by_nonce.values())
