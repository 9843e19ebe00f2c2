"""Applications on YARN that have ended, in both modes, in Spark's real history server."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest
from harness.history_server import HistoryServer
from harness.processes import wait_until
from harness.yarn import Yarn
from harness.yarn_batch import LIMIT, SPARK, Batch, server_of, write_job


@pytest.fixture(scope="module")
def history_server() -> Iterator[HistoryServer]:
    """A history server."""
    server = HistoryServer(SPARK)
    yield server
    server.stop()


@pytest.mark.parametrize("mode", ["client", "cluster"])
def test_a_batch_that_has_ended_is_shown(
    yarn: Yarn, history_server: HistoryServer, mode: str, tmp_path: Path
):
    """Also after a restart; one without an event log has YARN's page."""
    write_job(tmp_path)
    rule = {"policy.rule.event-logs.default": history_server.rule}
    server = server_of(yarn, tmp_path, mode, **{"spark.history_server": history_server.url}, **rule)
    try:
        batch = Batch(server, tmp_path)
        without = Batch(server, tmp_path, conf={"spark.eventLog.enabled": "false"})
        ended = batch.wait("success")
        url = ended["appInfo"]["sparkUiUrl"]
        assert url == f"{history_server.url}/history/{ended['appId']}/"
        history_server.wait_page(url, ended["appId"])
        other = without.wait("success")
        page = other["appInfo"]["sparkUiUrl"]
        assert f":{yarn.port}/" in page, page
        shown = yarn.http.get(page, timeout=60)
        assert shown.status_code == 200 and other["appId"] in shown.text
        if mode == "client":
            session = server.api.create()
            session.wait("idle", limit=LIMIT)
            app_id = session.get()["appId"]
            session.delete()

            def told() -> list[str]:
                rows = server.api.get("/history").json()["sessions"]
                return [row["sparkUiUrl"] for row in rows if row["appId"] == app_id]

            shown = wait_until("the history has it", told)[0]
            history_server.wait_page(shown, app_id)
        server.restart()
        assert batch.get()["appInfo"]["sparkUiUrl"] == url
    finally:
        server.stop()
