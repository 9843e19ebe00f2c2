"""Warm drivers of a real Spark that run as their users (docs/pool.md): the user's next session is idle at
once, and nobody else has anything of it. More of it without Spark: tests/api/test_pool_users.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL
from harness import processes
from harness.drivers import pids_of, uids_of
from harness.processes import wait_until
from harness.server import Server
from harness.spark import Spark
from harness.unix import PASSWORD, is_root, owners, run_as_server, users

pytestmark = pytest.mark.skipif(not is_root(), reason="only root runs processes as others")

WHO = """
import os
print(os.getuid(), sc._jvm.System.getProperty("user.name"), sc.sparkUser(), os.environ["HOME"], os.getcwd())
print(sc.parallelize([0], 1).map(lambda _: os.getuid()).first())
"""


def stock(server: Server, user: str) -> dict[str, Any]:
    """What `GET /pool` says of a user's; nothing where there is nothing."""
    told = server.user("root", PASSWORD).get("/pool").json()["pool"]
    return next((one for one in told if one["user"] == user), {})


def ready(server: Server, user: str) -> None:
    """Wait until the user has one."""
    wait_until("a driver is warm", lambda: stock(server, user).get("ready") == 1, 180)


def test_each_user_has_their_own(default_spark: Spark, tmp_path: Path) -> None:
    """From the first session, which starts cold, to the server's end, which leaves nothing."""
    with users(3) as (first, second, third):
        names = [user.pw_name for user in (first, second, third)]
        settings = {
            **default_spark.settings,
            # The launcher's options are the server's own.
            "driver.env": {},
            "spark.master": "local[1]",
            "spark.conf": {**default_spark.settings["spark.conf"], **SMALL},
            "pool.size": 1,
            "pool.owners": 2,
            "pool.memory_available": "0B",
            "pool.refill_delay": "0s",
            # However slow the machine is, a warm driver's session is idle when the POST is answered.
            "statement.answer_within": "60s",
            "access.superusers": ["root"],
        }
        server = run_as_server(settings, [*names, "root"], tmp_path)
        server.start()
        try:
            ada, bob, eve = (server.user(name, PASSWORD) for name in names)
            cold = ada.create()
            assert cold.created["state"] == "starting"
            ready(server, first.pw_name)
            cold.wait("idle")
            cold.delete()
            wait_until("only the warm one lives", lambda: len(server.running_drivers()) == 1)
            (warm,) = server.running_drivers()
            assert len(pids_of(warm)) >= 3
            assert uids_of(pids_of(warm)) == {first.pw_uid}

            other = bob.create()
            assert other.created["state"] == "starting"
            other.wait("idle")
            assert other.text(WHO).split()[0] == str(second.pw_uid)
            ready(server, second.pw_name)
            assert stock(server, first.pw_name)["claimed"] == 0

            taken = ada.create(name="mine", kind="pyspark")
            assert taken.created["state"] == "idle"
            assert taken.text("import os; print(os.environ['FIRESTEEL_DRIVER_ID'])").strip() == warm
            *said, where, worker = taken.text(WHO).split()
            work = str(server.state_dir / "run" / warm / "own" / "work")
            uid = str(first.pw_uid)
            assert said == [uid, first.pw_name, first.pw_name, first.pw_dir]
            assert where.startswith(work)
            assert worker == uid
            taken.ok("spark.range(10).write.parquet('table')")
            made = owners(server.state_dir / "run" / warm / "own")
            assert any(path.name == "_SUCCESS" for path in made)
            assert set(made.values()) == {first.pw_uid}
            assert taken.text("sc.appName") == "'mine'"
            assert stock(server, first.pw_name)["claimed"] == 1

            eve.create().delete()
            # Whose last session came before the others'.
            wait_until("the second user's has gone", lambda: not stock(server, second.pw_name))
            own = {
                session.text("print(os.environ['FIRESTEEL_DRIVER_ID'])").strip() for session in (taken, other)
            }

            def of_second() -> bool:
                rest = server.running_drivers() - own
                return any(second.pw_uid in uids_of(pids_of(driver)) for driver in rest)

            wait_until("its processes too", lambda: not of_second())
        finally:
            server.stop()
        assert not uids_of(processes.pids()) & {user.pw_uid for user in (first, second, third)}
