"""Warm drivers of a real Spark (docs/pool.md): what a session gets from the pool is what it gets without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import SMALL
from harness.api import Session
from harness.processes import wait_until
from harness.server import Server, free_port
from harness.spark import Spark

LOOK = """
import getpass, json, os, sys, time
env = {name: value for name, value in os.environ.items() if name not in OWN_ENV}
properties = {str(key): str(value) for key, value in dict(sc._jvm.System.getProperties()).items()}
seen = {
    "app": [sc.appName, sc._jsc.sc().appName(), sc.master, sc.sparkUser(), sc.version],
    "conf": dict(sc.getConf().getAll()),
    "of a new session": {key: spark.newSession().conf.get(key, None) for key in KEYS},
    "queries": {key: spark.conf.get(key, None) for key in KEYS},
    "java": {key: value for key, value in properties.items() if key.startswith("spark.")},
    "names": sorted(name for name in globals() if not name.startswith("_")),
    "modules": sorted(name for name in sys.modules if "." not in name),
    "process": [getpass.getuser(), os.getcwd(), sys.argv, sys.path, sys.executable, os.umask(0o77)],
    "env": env,
    "tables": [table.name for table in spark.catalog.listTables()],
    "cached": len(sc._jsc.getPersistentRDDs()),
    "group": [sc.getLocalProperty("spark.jobGroup.id"), sc.getLocalProperty("spark.job.description")],
    "executor": sc.parallelize([0], 1).map(lambda _: os.environ.get("PYTHONHASHSEED")).first(),
}
print(json.dumps(seen))
"""
KEYS = ("spark.sql.shuffle.partitions", "spark.app.name", "spark.executor.memory", "spark.x")
APPLICATIONS = """
import urllib.request
print(urllib.request.urlopen(sc.uiWebUrl + "/api/v1/applications").read().decode())
"""
OWN_ENV = ("FIRESTEEL_DRIVER_ID", "FIRESTEEL_KEEPER_PID", "SPARK_SUBMIT_OPTS", "JAVA_HOME", "TMPDIR")
OWN_CONF = (
    "spark.app.id",
    "spark.app.startTime",
    "spark.app.submitTime",
    "spark.driver.port",
    "spark.local.dir",
    "spark.repl.class.outputDir",
    "spark.repl.class.uri",
    "spark.sql.warehouse.dir",
)
"""What no two drivers have in common."""
OWN = {"conf": OWN_CONF, "java": OWN_CONF}


def start(serve: Callable[..., Server], spark: Spark, **settings: Any) -> Server:
    """A server that keeps warm drivers with the conf of small ones."""
    own = {"spark.master": "local[1]", "pool.memory_available": "0B", "pool.refill_delay": "0s"}
    # However slow the machine is, a warm driver's session is idle when the POST is answered.
    own["statement.answer_within"] = "60s"
    conf = {"spark.conf": {**SMALL, **settings.pop("conf", {})}}
    return serve({**spark.settings, **own, **conf, **settings}, port=free_port())


def stock(server: Server) -> dict[str, Any]:
    """What `GET /pool` says of the only kind of warm drivers."""
    (told,) = server.api.get("/pool").json()["pool"]
    return told


def ready(server: Server) -> None:
    """Wait until there is one."""
    wait_until("a driver is warm", lambda: stock(server)["ready"] > 0, 180)


def see(session: Session) -> dict[str, Any]:
    """What user code finds."""
    head = f"OWN_ENV, KEYS = {OWN_ENV!r}, {KEYS!r}\n"
    seen = json.loads(session.text(head + LOOK))
    for part, names in OWN.items():
        seen[part] = {key: value for key, value in seen[part].items() if key not in names}
    directory = seen["process"][1]
    driver = session.text("os.environ['FIRESTEEL_DRIVER_ID']").strip("'")
    return json.loads(json.dumps(seen).replace(directory, "ROOT").replace(driver, "DRIVER"))


def driver_of(server: Server, session: Session) -> str:
    """The driver's id."""
    return session.text("import os; print(os.environ['FIRESTEEL_DRIVER_ID'])").strip()


def test_as_a_fresh_one(serve: Callable[..., Server], spark: Spark) -> None:
    """User code can't tell a warm driver from one that was started for it; it is idle when the POST is
    answered; another takes its place, which nobody has used."""
    server = start(serve, spark, **{"pool.size": 1, "conf": {"spark.ui.enabled": "true", "spark.x": "1"}})
    ready(server)
    body = {
        "name": "mine",
        "conf": {"spark.sql.shuffle.partitions": "7", "spark.executor.memory": "3g"},
        "driverMemory": "1024m",
        "executorCores": 2,
        "heartbeatTimeoutInSecond": 600,
    }
    warm = server.api.create(**body)
    assert warm.created["state"] == "idle"
    assert stock(server)["claimed"] == 1
    seen = see(warm)
    # No warm driver has this in its conf.
    fresh = server.api.create(**{**body, "name": "other", "conf": {**body["conf"], "spark.y": "1"}})
    assert fresh.created["state"] == "starting"
    fresh.wait("idle")
    other = see(fresh)
    for part in ("conf", "java"):
        assert other[part].pop("spark.y") == "1"
        assert other[part].pop("spark.app.name") == "other"
        assert seen[part].pop("spark.app.name") == "mine"
    assert (seen["app"][:2], other["app"][:2]) == (["mine"] * 2, ["other"] * 2)
    for place, name in ((seen, "mine"), (other, "other")):
        place["app"] = place["app"][2:]
        assert place["of a new session"].pop("spark.app.name") == name
        assert place["queries"].pop("spark.app.name") == name
    # The first job has loaded what the session's own would have.
    assert set(other.pop("modules")) <= set(seen.pop("modules"))
    for part, found in seen.items():
        assert found == other[part], part
    shapes = [{key: type(value) for key, value in session.get().items()} for session in (warm, fresh)]
    assert shapes[0] == shapes[1]
    assert json.loads(warm.text(APPLICATIONS))[0]["name"] == "mine"
    ready(server)
    again = server.api.create(**{**body, "name": "third"})
    assert again.created["state"] == "idle"
    assert driver_of(server, again) != driver_of(server, warm)
    assert "nobody else's" in again.text("print('x' if 'OWN_ENV' in dir() else \"nobody else's\")")


@pytest.mark.parametrize("kind", ["spark", "sql", "sparkr"])
def test_every_language(serve: Callable[..., Server], default_spark: Spark, kind: str) -> None:
    """One warm driver does for all languages; its session is idle once its own is there."""
    server = start(serve, default_spark, **{"pool.size": 1})
    ready(server)
    session = server.api.create(kind=kind, conf={"livy.rsc.sql.num-rows": "2"})
    session.wait("idle")
    assert stock(server)["claimed"] == 1
    code = {"spark": "spark.range(3).count()", "sql": "select 3", "sparkr": "1 + 2"}[kind]
    assert "3" in json.dumps(session.ok(code, kind))
    rows = session.ok("select * from range(5)", "sql")["application/json"]["data"]
    assert rows == [[0], [1]]
    assert session.ok("sc.appName", "pyspark")["text/plain"] == f"'firesteel-session-{session.id}'"


def test_what_it_did_ahead(serve: Callable[..., Server], default_spark: Spark) -> None:
    """Modules are imported and not named; one that can't be costs a line of the server's log and no more."""
    settings = {"pool.size": 1, "pool.imports": ["colorsys", "no_such_module", "antigravity.nothing"]}
    server = start(serve, default_spark, **settings)
    ready(server)
    assert "no_such_module" in server.log() and "ModuleNotFoundError" in server.log()
    session = server.api.create()
    assert session.created["state"] == "idle"
    assert session.text("import sys; print('colorsys' in sys.modules, 'colorsys' in dir())") == "True False"
    job = "spark.range(4).count(); print([j for j in sc.statusTracker().getJobIdsForGroup('0')])"
    assert session.text(job)


def test_static_conf(serve: Callable[..., Server], default_spark: Spark, tmp_path: Path) -> None:
    """Conf that is read at a driver's start gets a driver of its own, and costs no warm one."""
    partitions = {"spark.sql.files.maxPartitionBytes": "2m"}
    server = start(serve, default_spark, **{"pool.size": 1, "conf": partitions})
    ready(server)
    for _ in range(2):
        session = server.api.create(conf={"spark.sql.warehouse.dir": str(tmp_path)})
        session.wait("idle")
        assert str(tmp_path) in session.text("spark.conf.get('spark.sql.warehouse.dir')")
        session.delete()
    assert server.log().count("no warm driver suits a session") == 1
    told = stock(server)
    assert (told["ready"], told["claimed"], told["started"]) == (1, 0, 1)
    # No value for that key.
    server.api.create(conf={"spark.sql.shuffle.partitions": "many"}).delete()
    # The first is set, and put back once the second turns out to be none.
    bad = {"spark.sql.files.maxPartitionBytes": "1m", "spark.sql.sources.partitionOverwriteMode": "sideways"}
    server.api.create(conf=bad).delete()
    after = server.api.create()
    assert after.created["state"] == "idle"
    read = "spark.conf.get('spark.sql.files.maxPartitionBytes')"
    assert after.text(read) == "'2m'"


def test_a_restart(serve: Callable[..., Server], default_spark: Spark) -> None:
    """A session that has taken a warm driver is as any other when the server is killed; drivers that nobody
    took are gone."""
    server = start(serve, default_spark, **{"pool.size": 1, "shutdown.sessions": "keep"})
    ready(server)
    session = server.api.create()
    session.text("kept = 41")
    driver = driver_of(server, session)
    ready(server)
    server.kill9()
    server.start(FIRESTEEL_POOL__SIZE="0")
    session = Session(server.api, session.created)
    session.wait("idle")
    assert session.text("kept + 1") == "42"
    assert driver_of(server, session) == driver
    run = Path(server.state_dir, "run")
    wait_until("the other is gone", lambda: [path.name for path in run.iterdir()] == [driver])
    session.delete()
    wait_until("all are gone", lambda: not server.running_drivers())
