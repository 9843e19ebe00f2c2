"""What killed and lost applications leave in YARN's file system is removed, by the real Hadoop's shell."""

from __future__ import annotations

import getpass
from pathlib import Path

from harness.processes import wait_until
from harness.server import Server
from harness.yarn import LIVE, Yarn
from harness.yarn_batch import LIMIT, Batch, server_of


def staged(yarn: Yarn, app_id: str) -> Path:
    """Where an application's staging directory is."""
    return yarn.home / "staging" / getpass.getuser() / ".sparkStaging" / app_id


def run(server: Server, yarn: Yarn, jobs: Path, never: Path, **body: object) -> tuple[Batch, Path]:
    """A batch that runs, and its staging directory, which is there."""
    batch = Batch(server, jobs, str(never), **body)
    path = staged(yarn, batch.wait_id())
    batch.wait("running")
    assert list(path.iterdir()), "Spark has put its files there"
    return batch, path


def test_whatever_ends_it(yarn: Yarn, jobs: Path, tmp_path: Path):
    """Killed from outside, deleted, deleted while the server was away, and ended with the server; one that
    fails by itself has cleared up; another's stays."""
    server = server_of(yarn, jobs, "cluster")
    try:
        never = tmp_path / "never"
        killed, of_killed = run(server, yarn, jobs, never)
        others = of_killed.parent / "application_1_0001"
        others.mkdir()
        app_id = killed.wait_id()
        yarn.kill(app_id)
        killed.wait("killed")
        wait_until("its directory is removed", lambda: not of_killed.exists(), 60)
        wait_until(
            "that is told", lambda: f'staging directories are removed applications="{app_id}"' in server.log()
        )

        kept, of_kept = run(server, yarn, jobs, never, conf={"spark.yarn.preserve.staging.files": "true"})
        deleted, of_deleted = run(server, yarn, jobs, never)
        for batch in (kept, deleted):
            assert server.api.delete(batch.path).status_code == 200
        wait_until("its directory is removed", lambda: not of_deleted.exists(), 60)
        assert of_kept.exists()

        failing = Batch(server, jobs, str(jobs), "sales")
        failing.wait("dead")
        assert not staged(yarn, failing.wait_id()).exists()

        away, of_away = run(server, yarn, jobs, never)
        server.kill9()
        yarn.kill(of_away.name)
        yarn.wait_over(of_away.name)
        # Its master may have found the time to clear up; one that is killed at once does not.
        of_away.mkdir(exist_ok=True)
        server.start()
        away.wait("killed")
        wait_until("its directory is removed", lambda: not of_away.exists(), 60)

        _, last = run(server, yarn, jobs, never)
    finally:
        server.stop()
    assert not last.exists()
    assert not yarn.applications(states=LIVE)
    assert others.exists() and of_kept.exists()


def test_a_failure_is_told(yarn: Yarn, jobs: Path, tmp_path: Path):
    server = server_of(yarn, jobs, "cluster", **{"cluster.yarn.staging_timeout": "1ms"})
    try:
        batch, _ = run(server, yarn, jobs, tmp_path / "never")
        assert server.api.delete(batch.path).status_code == 200
        told = "staging directories could not be removed: 1ms were not enough (cluster.yarn.staging_timeout)"
        wait_until("the log tells", lambda: told in server.log(), LIMIT)
    finally:
        server.stop()
