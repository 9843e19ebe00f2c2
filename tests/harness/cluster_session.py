"""What a session in a cluster must stand, whatever the cluster."""

from __future__ import annotations

from harness.api import Session
from harness.batch import LIMIT
from harness.server import Server


def survives_a_kill(session: Session, server: Server) -> None:
    """The server is killed while a statement runs: the next one has its result, and what was kept."""
    session.text("kept = 40")
    statement = session.post("import time\ntime.sleep(8)\nkept + 2")
    session.wait_statement(statement["id"], "running")
    app_id = session.get()["appId"]
    server.kill9()
    server.start()
    assert session.wait_statement(statement["id"], limit=LIMIT)["output"]["data"] == {"text/plain": "42"}
    assert session.get()["appId"] == app_id
    assert session.text("kept") == "40"
