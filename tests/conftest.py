"""Fixtures that several files share. A server of its own costs little; a Spark driver costs seconds, so
those are shared."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from harness.api import Api, Session
from harness.directory import Directory
from harness.issuer import Issuer
from harness.provider import Provider
from harness.realm import Realm
from harness.server import Server
from harness.spark import Spark, newest, sparks
from harness.stub import SLEEPS, Stub
from harness.visitor import at

# Conf that keeps a test's driver small and quiet.
SMALL = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2", "spark.default.parallelism": "2"}

LONGEST = (
    "cells/test_cells",
    "sessions/test_pool",
    "agent/test_scala",
    "sessions/test_class_archive",
    "clients/test_notebooks",
    "sessions/test_driver",
    "cells/test_served_cells",
    "agent/test_recovery",
    "api/test_results",
    "agent/test_scala_cancel",
    "sessions/test_start",
    "sessions/test_caps",
    "sessions/test_gpus",
    "agent/test_server_away",
    "api/test_golden",
    "agent/test_sql",
    "clients/test_sparkmagic",
    "clients/test_zeppelin",
    "clients/test_livy_java_client",
    "sessions/test_session_files",
    "agent/test_results",
    "clients/test_sparkmagic_caps",
)
"""Files that take minutes, the longest first: each is one process's work, and begun late it is waited for."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin the longest files first."""
    places = {Path(__file__).parent / f"{name}.py": place for place, name in enumerate(LONGEST)}
    assert all(path.is_file() for path in places), "LONGEST names a file that is not there"
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What tests have counted and measured, below their results."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    told = [
        value
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "figures"
    ]
    if told:
        terminalreporter.section("figures")
        for line in sorted(set(told)):
            terminalreporter.write_line(line)


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Tell counts and times, which the end of the run shows."""
    return lambda line: record_property("figures", line)


@pytest.fixture(scope="session", params=sparks(), ids=lambda spark: f"spark-{spark.short}")
def spark(request: pytest.FixtureRequest) -> Spark:
    """Each Spark in turn."""
    return request.param


@pytest.fixture(scope="session")
def default_spark() -> Spark:
    """The Spark for tests that one is enough for."""
    return newest()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers that end, and are checked, with the test."""
    with contextlib.ExitStack() as ending:

        def start(settings: dict[str, Any] | None = None, **more: Any) -> Server:
            server = Server(settings, **more)
            ending.callback(server.stop)
            return server

        yield start


@pytest.fixture
def make_stub(tmp_path: Path) -> Callable[..., Stub]:
    """Homes of Spark whose spark-submit is a script."""
    made = []

    def make(body: str | None = SLEEPS, mode: int = 0o755) -> Stub:
        made.append(Stub(tmp_path / f"spark{len(made)}", body, mode))
        return made[-1]

    return make


@pytest.fixture(scope="module")
def stub_home(tmp_path_factory: pytest.TempPathFactory) -> Stub:
    """A spark-submit that sleeps, for a whole file."""
    return Stub(tmp_path_factory.mktemp("stub") / "spark")


@pytest.fixture(scope="module")
def stub_server(stub_home: Stub) -> Iterator[Server]:
    """A server whose drivers only sleep: its sessions stay `starting`."""
    server = Server({**stub_home.settings, "spark.python": newest().python})
    yield server
    server.stop()


@pytest.fixture
def stub_api(stub_server: Server) -> Iterator[Api]:
    """A client of that server; what a test leaves is deleted."""
    yield stub_server.api
    for number in stub_server.api.ids():
        stub_server.api.delete(f"/sessions/{number}")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    """A real LDAP server. A test that changes something in it changes it back."""
    made = Directory(tmp_path_factory.mktemp("ldap") / "directory")
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A real KDC."""
    made = Realm(tmp_path_factory.mktemp("kerberos") / "realm")
    made.daemon.start()
    yield made
    made.daemon.stop()


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """A provider of signed tokens."""
    made = Issuer()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def live_server(default_spark: Spark) -> Iterator[Server]:
    """A server with a real Spark, for the whole run."""
    server = Server({**default_spark.settings, "spark.master": "local[2]"})
    yield server
    server.stop()


@pytest.fixture(scope="session")
def live(live_server: Server) -> Session:
    """An idle session for the whole run: tests leave it idle and usable."""
    session = live_server.api.create(conf=SMALL)
    session.wait("idle")
    return session


@pytest.fixture
def provider() -> Iterator[Provider]:
    """An OpenID provider whose client has no secret."""
    made = Provider()
    yield made
    made.stop()


@pytest.fixture
def serve_oidc(provider: Provider, stub_home: Stub, serve: Callable[..., Server]) -> Callable[..., Server]:
    """Start servers whose browsers log in at the provider."""

    def start(settings: dict[str, Any] | None = None) -> Server:
        own, port = at(provider, {**stub_home.settings, **(settings or {})})
        return serve(own, port=port)

    return start
