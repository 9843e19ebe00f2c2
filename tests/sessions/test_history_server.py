"""Where `sparkUiUrl` leads once a session has ended: a real history server, and event logs that a rule
forces."""

from __future__ import annotations

import os
import signal
from typing import Callable, Iterator

import pytest
from harness.history_server import HistoryServer
from harness.processes import wait_until
from harness.server import Server
from harness.spark import Spark


@pytest.fixture(scope="module")
def history_server(default_spark: Spark) -> Iterator[HistoryServer]:
    """A history server."""
    server = HistoryServer(default_spark)
    yield server
    server.stop()


def kill(server: Server) -> None:
    """Kill the drivers' JVMs."""
    for found in server.driver_processes():
        if any("SparkSubmit" in argument for argument in found.argv):
            os.kill(found.pid, signal.SIGKILL)


def test_event_logs_are_forced_and_shown(
    serve: Callable[..., Server], default_spark: Spark, history_server: HistoryServer
):
    """A request can't switch them off, nor put them elsewhere."""
    server = serve(
        {
            **default_spark.settings,
            "spark.history_server": f"{history_server.url}/",
            "policy.rule.event-logs.force": history_server.rule,
        }
    )
    session = server.api.create(
        name="forced",
        conf={"spark.eventLog.enabled": "false", "spark.eventLog.dir": "file:///nowhere"},
    )
    session.wait("idle")
    live = session.get()
    assert not live["appInfo"]["sparkUiUrl"].startswith(history_server.url), "the driver's own"
    log = "\n".join(session.log())
    assert "spark.eventLog.enabled is true, whatever is asked for (policy.rule.event-logs.force)." in log
    assert session.text("spark.range(5).count()") == "5"
    kill(server)
    session.wait("dead")
    url = session.get()["appInfo"]["sparkUiUrl"]
    assert url == f"{history_server.url}/history/{live['appId']}/"
    history_server.wait_page(url, live["appId"])
    session.delete()

    deleted = server.api.create(name="deleted")
    deleted.wait("idle")
    app_id = deleted.get()["appId"]
    deleted.delete()

    def told() -> dict | None:
        found = {row["id"]: row for row in server.api.get("/history").json()["sessions"]}
        return found.get(deleted.id)

    row = wait_until("the history has it", told)
    assert row["sparkUiUrl"] == f"{history_server.url}/history/{app_id}/"
    history_server.wait_page(row["sparkUiUrl"], app_id)


def test_without_an_event_log_there_is_no_link(
    serve: Callable[..., Server], default_spark: Spark, history_server: HistoryServer
):
    server = serve({**default_spark.settings, "spark.history_server": history_server.url})
    session = server.api.create()
    session.wait("idle")
    assert session.get()["appInfo"]["sparkUiUrl"]
    kill(server)
    session.wait("dead")
    assert session.get()["appInfo"]["sparkUiUrl"] is None
