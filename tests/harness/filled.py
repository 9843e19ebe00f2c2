"""Stores that have seen much: ended sessions with their drivers and statements, as a server that ran for
months would leave them."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from pathlib import Path
from typing import Any, Iterator

from harness.server import Server

# Nothing is old or much enough to be removed.
KEEP: dict[str, Any] = {"retention.sessions": 10_000_000, "retention.age": "0s"}
HOUR = 3_600_000
OUTPUT = json.dumps({"status": "ok", "execution_count": 0, "data": {"text/plain": "x" * 200}})


def fill(state_dir: Path, sessions: int, statements: int, settings: dict[str, Any]) -> None:
    """Make a state directory with so many ended sessions, which have so many statements in all."""
    with_tables = Server({**settings, **KEEP}, state_dir=state_dir)
    with_tables.stop()
    newest = int(time.time() * 1000) - HOUR
    request = json.dumps({"name": None, "kind": "pyspark", "conf": {"spark.executor.memory": "4g"}})
    each, rest = divmod(statements, sessions)

    def ended() -> Iterator[tuple]:
        for number in range(sessions):
            at = newest - (sessions - number) * 1000
            owner = f"user{number % 10}"
            yield (number, owner, "pyspark", "dead", request, str(uuid.UUID(int=number)), 1, at - HOUR, at)

    def ran() -> Iterator[tuple]:
        for number in range(sessions):
            for statement in range(each + (number < rest)):
                yield (number, statement, "pyspark", "1 + 1", "available", OUTPUT, 1, 1, 2)

    database = sqlite3.connect(state_dir / "firesteel.db", isolation_level=None)
    database.execute("PRAGMA synchronous = OFF")
    database.execute("BEGIN")
    database.executemany(
        "INSERT INTO sessions (id, owner, kind, state, request, driver_id, epoch, created, ended)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ended(),
    )
    database.execute(
        "INSERT INTO drivers (id, session_id, epoch, created, ended)"
        " SELECT driver_id, id, epoch, created, ended FROM sessions"
    )
    database.executemany(
        "INSERT INTO statements (session_id, id, kind, code, state, output, accepted, started, completed)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ran(),
    )
    database.execute("UPDATE server SET value = ? WHERE name = 'next_session_id'", (sessions,))
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
