"""The class-data archive of drivers (docs/start.md): made once, used by every driver, never in the way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import SMALL
from harness.processes import wait_until
from harness.server import Server, failpoints_binary, free_port
from harness.spark import Spark

MAPPED = """
jvm = sc._gateway.jvm
path = jvm.java.nio.file.Path.of("/proc/self/maps", sc._gateway.new_array(jvm.String, 0))
lines = jvm.java.nio.file.Files.readString(path).splitlines()
print("\\n".join({line.split()[-1] for line in lines if line.endswith(".jsa")}))
"""


def start(
    serve: Callable[..., Server],
    spark: Spark,
    env: dict[str, str] | None = None,
    program: Path | None = None,
    **settings: Any,
) -> Server:
    """A server that makes an archive at once."""
    own = {"spark.master": "local[1]", "driver.class_archive": True, "driver.class_archive_delay": "1s"}
    settings = {**spark.settings, **own, **settings, "spark.python": spark.python}
    return serve(settings, port=free_port(), env=env, program=program)


def made(server: Server) -> list[Path]:
    """The archives that are whole."""
    return [path.with_suffix(".jsa") for path in Path(server.state_dir, "class-archives").glob("*.sha256")]


def mapped(server: Server) -> list[str]:
    """The archives that a new session's JVM has mapped, but for the JDK's own."""
    session = server.api.create(conf=SMALL)
    session.wait("idle")
    names = session.text(MAPPED).splitlines()
    session.delete()
    return [name for name in names if "class-archives" in name]


@pytest.mark.timeout(900)
def test_made_once_and_used(serve: Callable[..., Server], spark: Spark, tmp_path: Path) -> None:
    """It is made, nothing else is left of its making, and drivers map it, those of the next server too. One
    that is broken harms no driver, and is found."""
    server = start(serve, spark, **{"spark.home": str(with_templates(spark, tmp_path))})
    wait_until("it is made", lambda: bool(made(server)), 300)
    (archive,) = made(server)
    assert server.api.get("/sessions").json()["total"] == 0
    wait_until("nothing is left", lambda: not list(Path(server.state_dir, "run").iterdir()))
    assert mapped(server) == [str(archive)]
    server.restart()
    wait_until("it is found", lambda: "the class-data archive that is there" in server.log())
    assert mapped(server) == [str(archive)]
    whole = archive.read_bytes()
    archive.write_bytes(b"no archive")
    assert mapped(server) == []
    # The JVM does not look whether the bytes are whole, so the server does.
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 1
    archive.write_bytes(broken)
    server.restart(FIRESTEEL_DRIVER__CLASS_ARCHIVE_DELAY="1h")
    wait_until("it is removed", lambda: not archive.exists())
    assert made(server) == []
    (tmp_path / "spark/conf/hive-site.xml").write_text("<configuration/>")
    server.restart()
    assert "start without a class-data archive: " in server.log() and "hive-site.xml" in server.log()


def test_the_cache_of_a_later_java(serve: Callable[..., Server], default_spark: Spark) -> None:
    """Java 25 has an ahead-of-time cache in its place."""
    java = os.environ.get("FIRESTEEL_TEST_JAVA_25")
    if not java:
        pytest.skip("no Java 25: FIRESTEEL_TEST_JAVA_25 is not its home")
    if default_spark.short.startswith("3."):
        pytest.skip("Spark 3 does not run on Java 25")
    settings = {"JAVA_HOME": java}
    server = start(serve, default_spark, **{"driver.env": settings})
    wait_until("it is made", lambda: bool(made(server)), 600)
    assert mapped(server) == [str(path) for path in made(server)]


def with_templates(spark: Spark, tmp_path: Path) -> Path:
    """The same Spark with a directory of configuration, as a distribution has one: PyPI's has none."""
    home = tmp_path / "spark"
    home.mkdir()
    for entry in Path(spark.home).iterdir():
        (home / entry.name).symlink_to(entry)
    (home / "conf").mkdir()
    (home / "conf/log4j2.properties.template").write_text("")
    return home


def test_what_takes_too_long_is_ended(serve: Callable[..., Server], default_spark: Spark) -> None:
    """Its driver too, and its directory: the server goes on without an archive."""
    env = {"FAILPOINTS": "class_archive.limit=return"}
    server = start(serve, default_spark, env=env, program=failpoints_binary())
    said = "no class-data archive could be made; drivers start without one"
    wait_until("it is given up", lambda: said in server.log(), 60)
    assert "it was not made within 1s" in server.log()
    wait_until("nothing is left", lambda: not list(Path(server.state_dir, "run").iterdir()))
    wait_until("no process is left", lambda: not server.driver_processes(), 10)
    assert made(server) == []
