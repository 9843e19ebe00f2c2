"""Drivers and impostors that break the link's rules: the server goes on, and says what it found."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from harness.fake import Fake
from harness.processes import wait_until

FILES = ["outbox", "exit.json", "notes", "stdout.000099", "stderr.000000"]


@pytest.mark.parametrize("meddling", ["pipe", "link to a pipe", "link to zeros", "noise"])
def test_a_run_directory_full_of_traps(serve, tmp_path: Path, meddling: str) -> None:
    """User code owns its run directory: whatever it puts there in place of what the server reads, the log is
    answered, the session ends, and others go on."""
    fake = Fake(tmp_path / "fake")
    server = serve(fake.settings)
    session = server.api.create()
    session.wait("idle")
    (run_dir,) = (server.state_dir / "run").iterdir()
    target = tmp_path / "pipe"
    os.mkfifo(target)
    if meddling == "link to zeros":
        target = Path("/dev/zero")
    for name in FILES:
        trap = run_dir / ("own" if name == "outbox" else ".") / name
        trap.unlink(missing_ok=True)
        if meddling == "noise":
            trap.write_bytes(os.urandom(1 << 16))
        elif meddling == "pipe":
            os.mkfifo(trap)
        else:
            trap.symlink_to(target)
    assert server.api.get(f"{session.path}/log", timeout=10).status_code == 200
    assert server.api.get(session.path, timeout=10).status_code == 200
    keepers = [process for process in server.driver_processes() if process.argv[1:2] == ["keeper"]]
    assert len(keepers) == 1, keepers
    os.kill(keepers[0].pid, signal.SIGKILL)
    assert session.wait("dead", limit=20) == "dead"
    assert server.api.get(f"{session.path}/log", timeout=10).status_code == 200
    assert server.api.create().wait("idle") == "idle"
    wait_until("the dead one's processes are gone", lambda: len(server.driver_processes()) == 2, 20)
    server.kill9()
    server.start()
    # It is shown again, by a server that reads the same directory.
    assert server.api.get(f"{session.path}/log", timeout=10).status_code in (200, 404)
