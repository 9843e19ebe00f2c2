"""A driver's log that its node has given away: YARN aggregates logs, and a real log server has them."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest
from harness.processes import wait_until
from harness.yarn import Yarn
from harness.yarn_batch import LIMIT, Batch, server_of, write_job


@pytest.fixture(scope="module")
def yarn() -> Iterator[Yarn]:
    """A YARN with a log server."""
    yarn = Yarn(aggregates_logs=True)
    yield yarn
    yarn.stop()


def test_aggregated_logs_are_read(yarn: Yarn, tmp_path: Path):
    """The application ends while the server is away; when that comes back the node has its log no more."""
    write_job(tmp_path)
    go = tmp_path / "go"
    server = server_of(yarn, tmp_path, "cluster", **{"shutdown.sessions": "keep"})
    try:
        batch = Batch(server, tmp_path, str(go), "sales")
        app_id = batch.wait_id()
        batch.wait("running")
        app = yarn.application(app_id)
        container = next(part for part in app["amContainerLogs"].split("/") if part.startswith("container_"))
        there = f"http://{app['amHostHttpAddress']}/ws/v1/node/containerlogs/{container}/stdout"

        def has_it() -> bool:
            return yarn.http.get(there, timeout=30, allow_redirects=False).status_code == 200

        assert has_it()
        server.kill9()
        go.touch()
        yarn.wait_over(app_id, LIMIT)
        wait_until("the node gives it away", lambda: not has_it(), LIMIT, 0.5)
        server.start()
        batch.wait("dead")
        log = batch.log()
        assert "sum 45" in log, "\n".join(log)
        assert log[0] == "The application failed: ValueError: no such table: sales"
    finally:
        server.stop()
