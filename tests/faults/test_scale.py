"""R26 in small: a store with many ended sessions. `make bench` has the figures with 10,000, 100,000 and a
million statements; here what is shown is right, and a start ends."""

from __future__ import annotations

from pathlib import Path

from harness.filled import KEEP, fill
from harness.processes import wait_until
from harness.server import serving
from harness.stub import Stub

SESSIONS = 3_000
STATEMENTS = 10_000


def test_a_store_that_has_seen_much(tmp_path: Path) -> None:
    """Pages of the history from both ends and the middle, statements of an old session, ids that go on."""
    stub = Stub(tmp_path / "stub")
    state_dir = tmp_path / "state"
    fill(state_dir, SESSIONS, STATEMENTS, stub.settings)
    with serving({**stub.settings, **KEEP}, state_dir=state_dir) as server:
        assert server.api.sessions() == []
        for start in (0, SESSIONS // 2, SESSIONS - 10):
            page = server.api.get("/history", params={"from": start, "size": 10}).json()
            assert page["total"] == SESSIONS
            newest = SESSIONS - 1 - start
            assert [session["id"] for session in page["sessions"]] == list(range(newest, newest - 10, -1))
        statements = server.api.get("/history/0/statements").json()
        assert statements["total_statements"] == 4
        assert statements["statements"][3]["output"]["status"] == "ok"
        assert server.api.create().id == SESSIONS


def test_retention_of_much(tmp_path: Path) -> None:
    """All but the newest go in the background; what stays is whole."""
    stub = Stub(tmp_path / "stub")
    state_dir = tmp_path / "state"
    fill(state_dir, 500, 2_000, stub.settings)
    with serving({**stub.settings, "retention.sessions": 50}, state_dir=state_dir) as server:

        def left() -> int:
            return server.api.get("/history").json()["total"]

        wait_until("50 are left", lambda: left() == 50, 60)
        assert server.api.get("/history/450/statements").json()["total_statements"] == 4
        assert server.api.get("/history/449").status_code == 404
