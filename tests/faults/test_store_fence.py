"""Two servers on one state directory, because somebody removed the lock file: from its start on, the second
owns the store, and nothing that the first writes counts (R25 for SQLite)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from harness.processes import wait_until
from harness.server import Server
from harness.spark import newest
from harness.stub import Stub

SWAPS = 20
TOLD = "another server has taken over the state directory"


def contents(database: Path) -> dict[str, list[tuple]]:
    """Every row of every table."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
        names = [name for (name,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: sorted(store.execute(f"SELECT * FROM {name}"), key=repr) for name in names}


@pytest.mark.timeout(240)
def test_the_first_of_two_writes_nothing(tmp_path: Path) -> None:
    """Twenty swaps: whatever the first is asked, it answers 503 or 404 and changes no row; the second works;
    the first says so in one line."""
    stub = Stub(tmp_path / "spark")
    settings = {**stub.settings, "spark.python": newest().python, "shutdown.sessions": "keep"}
    state = tmp_path / "state"
    first = Server(settings, state_dir=state)
    started = [first]
    refused = 0
    try:
        for swap in range(SWAPS):
            session = first.api.create(name=f"kept {swap}")
            session.post("1")
            # Else the second takes its launch away, and the first finds it dead.
            wait_until("its driver runs", lambda calls=swap + 1: len(stub.argvs()) >= calls, 20)
            (state / "lock").unlink()
            second = Server(settings, state_dir=state)
            started.append(second)
            before = contents(second.database)
            tried = [
                first.api.post("/sessions", {"kind": "pyspark", "name": "never"}),
                first.api.post(f"{session.path}/statements", {"code": "never"}),
                first.api.post(f"{session.path}/statements/0/cancel"),
                first.api.delete(session.path),
            ]
            for answer in tried:
                assert answer.status_code == 503, answer.text
                assert answer.headers["Retry-After"]
                assert "taken over" in answer.text
            refused += len(tried)
            assert first.api.get("/readiness").status_code == 503
            assert contents(second.database) == before
            told = [line for line in first.log().splitlines() if "ERROR" in line]
            assert len(told) == 1, told
            assert TOLD in told[0]
            epoch = dict(before["server"])["epoch"]
            assert epoch == swap + 2
            ours = second.api.get(session.path)
            assert ours.status_code == 200, ours.text
            assert second.api.delete(session.path).status_code == 200
            first.kill9()
            assert first.log().count("panicked") == 0
            first = second
        print(f"{SWAPS} swaps, {refused} writes refused, 0 stored")
    finally:
        for server in started:
            if server is not first:
                server.kill9()
                server.discard(drivers=False)
        first.stop()
