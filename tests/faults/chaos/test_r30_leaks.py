"""R30: thousands of sessions made and deleted leave no descriptor, thread, file or memory behind."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

from faults.chaos.client import Client
from faults.chaos.plan import tier
from faults.chaos.traffic import send_delete, send_session, send_statement
from faults.chaos.world import World
from harness import processes
from harness.server import binary

SESSIONS = 2_000
AT_ONCE = 4
WARM = 400
"""Sessions before the counting begins: whatever is made once has been made."""


def threads_of(pid: int) -> int:
    """How many threads a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def slope(points: list[tuple[int, float]]) -> float:
    """The least squares' rise for each step."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def test_leaks(figures) -> None:
    """A third idle, a third with a statement that runs, a third still starting; each deleted."""
    sessions = SESSIONS * tier().seeds // 25
    with tempfile.TemporaryDirectory(prefix="firesteel-leaks-") as temporary:
        world = World("R30", binary(), env={"TMPDIR": temporary})
        made = 0
        lock = threading.Lock()
        failures: list[BaseException] = []
        memory: list[tuple[int, float]] = []
        base = (0, 0)

        def work(until: int) -> None:
            nonlocal made
            client = Client(world.port)
            try:
                while True:
                    with lock:
                        if made >= until:
                            return
                        number, made = made, made + 1
                        if number % 50 == 0 and number >= WARM:
                            memory.append((number, processes.rss_mib(world.server.pid) * 1024))
                    one_session(world, client, number)
            except BaseException as failure:
                failures.append(failure)
            finally:
                client.close()

        def run(until: int) -> None:
            threads = [threading.Thread(target=work, args=(until,)) for _ in range(AT_ONCE)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not failures, failures[0]
            processes.wait_until("no process is left", lambda: not world.server.driver_processes(), 30)

        begun = time.monotonic()
        run(WARM)
        base = (processes.open_files(world.server.pid), threads_of(world.server.pid))
        run(sessions)
        took = time.monotonic() - begun
        processes.wait_until(
            "no descriptor is left", lambda: abs(processes.open_files(world.server.pid) - base[0]) <= 2, 30
        )
        processes.wait_until(
            "no thread is left", lambda: abs(threads_of(world.server.pid) - base[1]) <= 2, 30
        )
        rise = slope(memory)
        files = (processes.open_files(world.server.pid), threads_of(world.server.pid))
        left = sorted(path.name for path in Path(temporary).rglob("*"))
        figures(
            f"R30: {made} sessions in {took:.0f} s: descriptors {base[0]} before and {files[0]} after, threads {base[1]} "
            f"and {files[1]}, {rise:.2f} KiB of memory each"
        )
        world.finish()
        assert made == sessions
        assert left == []
        assert rise <= 1.0


def one_session(world: World, client: Client, number: int) -> None:
    """Made, used, deleted."""
    session = world.history.session({"spark.fake.start": "60"} if number % 3 == 0 else {})
    session.settles = False
    assert send_session(client, session).status == 201
    if number % 3:
        while client.get(f"{session.path}/state").body["state"] != "idle":
            time.sleep(0.01)
        command = "ledger" if number % 3 == 1 else "sleep 60"
        assert send_statement(client, session, world.history.statement(session, command)).status == 201
    assert send_delete(client, session) == 200
