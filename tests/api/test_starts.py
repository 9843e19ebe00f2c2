"""How many drivers start at the same time (`limits.starting`), without Spark: the others wait, in the order
of their owners' turns, and get there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest
from harness.api import Session
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import Server, free_port
from harness.stub import Stub

NEVER = {"spark.fake.start": "600"}
LONG = {"limits.starting_session": "1h", "limits.starting_batch": "1h"}


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """A driver without Spark."""
    return Fake(tmp_path / "fake")


def up(fake: Fake) -> int:
    """How many drivers have been started."""
    return sum(line.what == "up" for line in fake.lines())


def waits(session: Session) -> list[str]:
    """What its log says of its start."""
    return [line for line in session.log() if line.startswith("Waiting to be started")]


def test_so_many_at_once(serve: Callable[..., Server], fake: Fake) -> None:
    """Of twelve sessions no more than three are between launch and ready, and all get there."""
    server = serve({**fake.settings, **LONG, "limits.starting": 3})
    sessions = [server.api.create(conf={"spark.fake.start": "0.2"}) for _ in range(12)]
    for session in sessions:
        session.wait("idle")
    starting = most = 0
    for line in fake.lines():
        # `ready` is written before the server hears of it, so the next `up` comes after it.
        starting += {"up": 1, "ready": -1}.get(line.what, 0)
        most = max(most, starting)
    assert (most, starting, up(fake)) == (3, 0, 12)
    text = "Waiting to be started: 3 drivers start at the same time (limits.starting), "
    told = [waits(session) for session in sessions]
    assert sum(bool(lines) for lines in told) >= 6
    assert all(len(lines) <= 1 for lines in told)
    assert all(lines[0].startswith(text) for lines in told if lines)


def test_deleted_while_it_waits(serve: Callable[..., Server], fake: Fake) -> None:
    """One that waits goes at once and lets nobody in; one that starts makes room for one other."""
    server = serve({**fake.settings, **LONG, "limits.starting": 2})
    stuck = [server.api.create(conf=NEVER) for _ in range(2)]
    wait_until("two have started", lambda: up(fake) == 2)
    waiting = [server.api.create(conf=NEVER) for _ in range(3)]
    for ahead, one in enumerate(waiting):
        assert waits(one)[0].endswith(f", {ahead} wait before this one.")
    assert {one.state() for one in waiting} == {"starting"}
    waiting[0].delete()
    assert waiting[0].state() == "gone"
    # What asks now stands behind the others; had the deleted one let anybody in it would have started.
    last = server.api.create()
    assert waits(last)[0].endswith("2 wait before this one.")
    assert (up(fake), len(server.running_drivers())) == (2, 2)
    stuck[0].delete()
    wait_until("the next has started", lambda: up(fake) == 3)
    stuck[0].wait("gone")
    wait_until("its driver has gone", lambda: len(server.running_drivers()) == 2)
    waiting[1].delete()
    wait_until("the one after it has started", lambda: up(fake) == 4)
    stuck[1].delete()
    last.wait("idle")
    assert last.text("ledger after") == "after"
    assert waiting[2].state() == "starting"
    assert up(fake) == 5


def test_one_that_is_never_ready(serve: Callable[..., Server], fake: Fake) -> None:
    """It keeps others waiting for `limits.starting_session` at most, and starts on."""
    server = serve({**fake.settings, "limits.starting": 1, "limits.starting_session": "1s"})
    stuck = server.api.create(conf=NEVER)
    other = server.api.create()
    assert waits(other)
    other.wait("idle")
    assert stuck.state() == "starting"
    assert other.text("ledger after") == "after"


def test_a_restart(serve: Callable[..., Server], fake: Fake) -> None:
    """Drivers that an earlier server started do not count; sessions that waited for their start get it."""
    settings = {**fake.settings, **LONG, "limits.starting": 1, "shutdown.sessions": "keep"}
    server = serve(settings, port=free_port())
    stuck = server.api.create(conf=NEVER)
    wait_until("it has started", lambda: up(fake) == 1)
    waiting = server.api.create()
    assert waits(waiting)
    server.restart()
    waiting.wait("idle")
    assert stuck.state() == "starting"
    for session in (stuck, waiting):
        session.delete()
    wait_until("no driver lives", lambda: not server.running_drivers())


def test_batches(serve: Callable[..., Server], make_stub: Callable[..., Stub], tmp_path: Path) -> None:
    """A batch counts until it has ended, `limits.starting_batch` at most; one that waits can be deleted."""
    stub = make_stub()
    own: dict[str, Any] = {**stub.settings, **LONG, "limits.starting": 1, "files.allow": [str(tmp_path)]}
    server = serve(own)
    (tmp_path / "job.py").write_text("")

    def submit() -> str:
        made = server.api.post("/batches", {"file": str(tmp_path / "job.py")})
        assert made.status_code == 201, made.text
        return f"/batches/{made.json()['id']}"

    first = submit()
    wait_until("it runs", lambda: len(stub.argvs()) == 1)
    second, third = submit(), submit()
    for path, ahead in ((second, 0), (third, 1)):
        assert server.api.get(f"{path}/state").json()["state"] == "starting"
        log = server.api.get(f"{path}/log").json()["log"]
        assert any(line.endswith(f"{ahead} wait before this one.") for line in log), log
    assert server.api.delete(second).status_code == 200
    assert server.api.get(second).status_code == 404
    assert len(stub.argvs()) == 1
    assert server.api.delete(first).status_code == 200
    wait_until("the third runs", lambda: len(stub.argvs()) == 2)
    # Sessions and batches wait in one line.
    assert waits(server.api.create())


def test_a_batch_counts_for_so_long(
    serve: Callable[..., Server], make_stub: Callable[..., Stub], tmp_path: Path
) -> None:
    """It does not tell when it has started: another's turn comes without its word."""
    stub = make_stub()
    limits = {"limits.starting": 1, "limits.starting_batch": "1s", "files.allow": [str(tmp_path)]}
    server = serve({**stub.settings, **limits})
    (tmp_path / "job.py").write_text("")
    paths = [server.api.post("/batches", {"file": str(tmp_path / "job.py")}).json()["id"] for _ in range(3)]
    wait_until("all run", lambda: len(stub.argvs()) == 3)
    states = {server.api.get(f"/batches/{number}/state").json()["state"] for number in paths}
    assert states == {"running"}
