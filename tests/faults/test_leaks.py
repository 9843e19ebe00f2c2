"""R30: sessions made and deleted by the hundred leave the server as it was: no descriptor, no thread, no
file, and no memory that grows with their number."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from harness import processes
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import Server, serving
from harness.stub import Stub
from harness.volume import SCALE, Connection, share

SESSIONS = int(2_000 * SCALE)
SECONDS = 30 * SCALE
"""What is not done by then is left: `make chaos` has more time."""

AT_LEAST = int(200 * SCALE)
WITH_AGENTS = int(60 * SCALE)
WARM_UP = 100
ALLOCATOR_KIB = 6 * 1024
"""What the allocator and the store's caches may take for themselves, whatever the number of sessions."""

PER_SESSION_KIB = 1
SLEEPS = "#!/bin/sh\nexec sleep 1000000\n"
"""As the harness's stub, with no record of what it was given."""


def threads_of(pid: int) -> int:
    """How many a process has."""
    return len(list((processes.PROC / str(pid) / "task").iterdir()))


def cycle(connection: Connection, ready: bool) -> int:
    """One session made, used where it gets ready, and deleted."""
    created = connection.request("POST", "/sessions", {"kind": "pyspark"})
    assert created.status == 201, created
    path = f"/sessions/{created.json()['id']}"
    if ready:
        wait_until(
            "idle", lambda: connection.request("GET", f"{path}/state").json()["state"] == "idle", 30, 0.01
        )
        posted = connection.request("POST", f"{path}/statements", {"code": "ledger leak"})
        assert posted.status == 201, posted
    assert connection.request("DELETE", path).status == 200
    return 1


def quiet(server: Server) -> None:
    """Wait until all that was deleted has ended."""
    wait_until("no process is left", lambda: not server.driver_processes(), 60)
    wait_until("no file is left", lambda: not server.run_files(), 20)


def check(server: Server, temporary: Path, ready: bool, wanted: int, seconds: float) -> int:
    """Make and delete so many, or for so long; compare before and after. Gives how many it were."""
    # Right after its start: those that wait for files come and go with the work.
    threads = threads_of(server.pid)
    share(server.port, 4, range(WARM_UP if not ready else 10), lambda connection, _: cycle(connection, ready))
    quiet(server)
    files, memory = processes.open_files(server.pid), processes.rss_mib(server.pid)
    until = time.monotonic() + seconds
    rounds = itertools.takewhile(lambda _: time.monotonic() < until, range(wanted))
    count = 0
    while batch := list(itertools.islice(rounds, 50)):
        count += sum(share(server.port, 4, batch, lambda connection, _: cycle(connection, ready)))
        # Not faster than they end: else it would be the number alive that is measured.
        wait_until("most have ended", lambda: len(list((server.state_dir / "run").iterdir())) < 20, 60)
    quiet(server)
    grown = (processes.rss_mib(server.pid) - memory) * 1024
    print(
        f"{count} sessions: memory {memory:.1f} MiB + {grown:.0f} KiB, {grown / count:.2f} KiB for each; "
        f"{files} files, {threads} threads"
    )
    wait_until("as many files", lambda: abs(processes.open_files(server.pid) - files) <= 2, 15)
    wait_until("no more threads", lambda: threads_of(server.pid) <= threads + 2, 30, 0.5)
    assert grown <= ALLOCATOR_KIB + PER_SESSION_KIB * count, grown
    assert list(temporary.iterdir()) == []
    assert server.api.sessions() == []
    return count


def test_sessions_that_never_get_ready(tmp_path: Path) -> None:
    """The bulk: a driver that sleeps costs least."""
    stub = Stub(tmp_path / "stub", None)
    script = stub.home / "bin/spark-submit"
    script.write_text(SLEEPS)
    script.chmod(0o755)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    settings = {**stub.settings, "log.level": "info"}
    with serving(settings, env={"TMPDIR": str(temporary)}) as server:
        count = check(server, temporary, False, SESSIONS, SECONDS)
    assert count >= AT_LEAST, f"{count} in {SECONDS:.0f} s"


def test_sessions_with_agents(tmp_path: Path) -> None:
    """Each gets ready, runs a statement, and is deleted."""
    fake = Fake(tmp_path / "fake")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with serving({**fake.settings, "log.level": "warn"}, env={"TMPDIR": str(temporary)}) as server:
        assert check(server, temporary, True, WITH_AGENTS, 600) == WITH_AGENTS
