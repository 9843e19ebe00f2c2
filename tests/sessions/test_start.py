"""What makes a driver start sooner (docs/start.md) and must not be seen otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

from conftest import SMALL
from harness.server import Server, free_port
from harness.spark import Spark

COLLECTORS = """
beans = sc._jvm.java.lang.management.ManagementFactory.getGarbageCollectorMXBeans()
print(",".join(bean.getName() for bean in beans))
"""
LAUNCHER = "import os; print(os.environ.get('SPARK_LAUNCHER_OPTS', 'none'))"
OWN = "spark.driver.extraJavaOptions"
# The agent's own function on this session's JVM, and what Spark has counted before it and after.
WARM_UP = """
import sys
sys.path.insert(0, agent)
from firesteel_agent.warm_up import warm_up

class Driver:
    jvm, loader = sc._jvm, sc._jvm.java.lang.Thread.currentThread().getContextClassLoader()
    session = staticmethod(lambda: spark._jsparkSession)
    has_hive = staticmethod(lambda: False)

def counted():
    store = spark._jsparkSession.sharedState().statusStore()
    return sc._jsc.sc().statusStore().jobsList(None).size(), store.executionsCount()

before = counted()
warm_up(Driver())
print(counted() == before == (0, 0), spark.conf.get("spark.sql.adaptive.enabled"))
"""
FIRST_JOB = """
spark.range(10).count()
print([job.jobId() for job in sc._jvm.scala.collection.JavaConverters.seqAsJavaList(
    sc._jsc.sc().statusStore().jobsList(None))][-1])
"""


def start(serve: Callable[..., Server], spark: Spark, **settings: Any) -> Server:
    """A server whose drivers have no options of the tests' own."""
    return serve({**spark.plain_settings, "spark.master": "local[1]", **settings}, port=free_port())


def test_a_quick_jvm(serve: Callable[..., Server], spark: Spark) -> None:
    """It collects on one thread, unless the request names a collector; options of other kinds are kept."""
    server = start(serve, spark, **{"driver.quick_jvm": True})
    for options, expected in (
        ({}, "Copy,MarkSweepCompact"),
        ({OWN: "-Da=b"}, "Copy,MarkSweepCompact"),
        ({OWN: "-Da=b -XX:+UseParallelGC"}, "PS MarkSweep,PS Scavenge"),
    ):
        session = server.api.create(conf={**SMALL, **options})
        session.wait("idle")
        assert ",".join(sorted(session.text(COLLECTORS).split(","))) == expected
        if options:
            assert session.text("print(sc._jvm.java.lang.System.getProperty('a'))") == "b"
        # The launcher's options are this Spark's alone: what a cell starts may be another.
        assert session.text(LAUNCHER) == "none"
        session.delete()


def test_the_launchers_options_of_an_administrator(serve: Callable[..., Server], spark: Spark) -> None:
    """They take the place of the server's."""
    server = start(serve, spark, **{"driver.env": {"SPARK_LAUNCHER_OPTS": "-Xint"}})
    session = server.api.create(conf=SMALL)
    session.wait("idle")
    assert session.text(LAUNCHER) == "-Xint"


def test_a_prepared_query_is_not_seen(serve: Callable[..., Server], spark: Spark) -> None:
    """It runs no job and leaves nothing that a user sees: the first job is the first one."""
    server = start(serve, spark, **{"driver.warm_up": True})
    session = server.api.create(conf=SMALL)
    session.wait("idle")
    (agent,) = Path(server.state_dir, "agent").iterdir()
    assert session.text(f"agent = {str(agent)!r}{WARM_UP}") == "True true"
    assert session.text(FIRST_JOB) == "0"
    assert not [line for line in session.log() if "was not prepared" in line]
