"""Rules for conf, `policy.rule.NAME`: what a driver is started with, and what the log says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pytest
from harness.api import Api
from harness.processes import wait_until
from harness.properties import parse
from harness.server import Server, command
from harness.stub import Stub

RULES = {
    "everybody": {
        "deny": ["spark.x.*", "spark.kerberos.keytab", "spark.yarn.queue"],
        "values": {"spark.serializer": ["java", "kryo"]},
        "default": {"spark.sql.shuffle.partitions": "64", "spark.jars": "/opt/own.jar"},
    },
    "students": {
        "users": ["ada"],
        "force": {"spark.dynamicAllocation.enabled": "false", "firesteel.profile": "small"},
        "cap": {
            "spark.driver.memory": "2g",
            "spark.executor.cores": "4",
            "spark.executor.instances": "3",
            "spark.network.timeout": "10min",
            "spark.executor.memoryOverhead": "1g",
        },
    },
}
PROFILES = {
    "small": {"conf": {"spark.executor.memory": "1g", "spark.driver.memory": "16g"}},
    "big": {"conf": {"spark.executor.memory": "99g"}},
}


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Stub:
    """A spark-submit that keeps what it was given."""
    return Stub(tmp_path_factory.mktemp("rules-stub") / "spark")


@pytest.fixture(scope="module")
def server(stub: Stub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with rules, of which some are for one user only."""
    users = tmp_path_factory.mktemp("rules") / "users"
    for name in ("ada", "bob"):
        assert command("passwd", str(users), name, stdin="secret\n").returncode == 0
    settings: dict[str, Any] = {"access.mode": "basic", "access.basic_file": users}
    settings |= {f"policy.rule.{name}": rule for name, rule in RULES.items()}
    settings |= {f"profile.{name}": profile for name, profile in PROFILES.items()}
    server = Server({**stub.settings, **settings, "spark.conf": {"spark.yarn.executor.memoryOverhead": "2g"}})
    yield server
    server.stop()


@pytest.fixture(params=["ada", "bob"])
def user(request: pytest.FixtureRequest) -> str:
    """Each user."""
    return request.param


def started(api: Api, stub: Stub, **body: Any) -> tuple[dict[str, str], list[str]]:
    """What the driver of a new session is started with, and the session's log."""
    before = len(stub.properties())
    session = api.create(**body)
    wait_until("it is started", lambda: len(stub.properties()) > before and len(stub.argvs()) > before)
    newest = max(stub.calls.glob("properties.*"), key=lambda path: path.stat().st_mtime_ns)
    conf = parse(newest.read_text())
    log = session.log()
    session.delete()
    return conf, log


def test_what_a_driver_gets(server: Server, stub: Stub) -> None:
    """Defaults, forced values and caps; fields count as the keys that they stand for."""
    body = {
        "driverMemory": "8g",
        "executorCores": 16,
        "numExecutors": "2",
        "conf": {
            "spark.dynamicAllocation.enabled": "true",
            "spark.network.timeout": "3h",
            "spark.serializer": "kryo",
            "firesteel.profile": "big",
        },
    }
    conf, log = started(server.user("ada", "secret"), stub, **body)
    assert conf["spark.driver.memory"] == "2g"
    assert conf["spark.executor.cores"] == "4"
    assert conf["spark.executor.instances"] == "2"
    assert conf["spark.dynamicAllocation.enabled"] == "false"
    assert conf["spark.network.timeout"] == "10min"
    assert conf["spark.executor.memory"] == "1g", "the profile is forced as well"
    assert conf["spark.sql.shuffle.partitions"] == "64"
    assert conf["spark.jars"] == "/opt/own.jar"
    assert conf["spark.yarn.executor.memoryOverhead"] == "1g", "what all sessions start from is capped"
    for line in (
        "spark.driver.memory is 2g instead of 8g: that is the most (policy.rule.students.cap).",
        "spark.executor.cores is 4 instead of 16: that is the most (policy.rule.students.cap).",
        "spark.network.timeout is 10min instead of 3h: that is the most (policy.rule.students.cap).",
        "spark.dynamicAllocation.enabled is false, whatever is asked for (policy.rule.students.force).",
    ):
        assert line in log, log
    conf, log = started(server.user("bob", "secret"), stub, **body)
    assert conf["spark.driver.memory"] == "8g"
    assert conf["spark.dynamicAllocation.enabled"] == "true"
    assert conf["spark.executor.memory"] == "99g"
    assert not [line for line in log if "policy.rule" in line]


def test_a_profile_is_capped(server: Server, stub: Stub) -> None:
    """One that asks for more than its user may have."""
    conf, _ = started(server.user("ada", "secret"), stub)
    assert conf["spark.driver.memory"] == "2g"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"conf": {"spark.x.y": "1"}}, "Blacklisted configuration values in session config: spark.x.y"),
        ({"conf": {"x.y": "1"}}, "session config: x.y"),
        ({"conf": {"SPARK.X.Y": "1"}}, "session config: SPARK.X.Y"),
        ({"conf": {"spark.yarn.principal": "1", "spark.yarn.keytab": ""}}, "config: spark.yarn.keytab"),
        ({"queue": "default"}, "session config: spark.yarn.queue"),
        ({"conf": {"spark.serializer": "evil"}}, 'spark.serializer: "evil" is not among java, kryo'),
        ({"conf": {"spark.serializer": "kryo "}}, "is not among"),
    ],
    ids=str,
)
def test_what_everybody_is_refused(server: Server, user: str, body: dict, words: str) -> None:
    """By key or by value, under whatever name."""
    answer = server.user(user, "secret").post("/sessions", body)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["msg"]


@pytest.mark.parametrize(
    "body",
    [
        {"driverMemory": "lots"},
        {"driverMemory": "${spark.big}", "conf": {"spark.big": "99g"}},
        {"driverMemory": "1g -XX:OnError=x"},
        {"conf": {"spark.driver.memory": "-1"}},
        {"conf": {"spark.driver.memory": ""}},
        {"conf": {"spark.driver.memory": "1.5g"}},
        {"conf": {"driver.memory": "lots"}},
        {"conf": {"spark.executor.cores": "٩"}},
        {"conf": {"spark.network.timeout": "99999"}},
    ],
    ids=str,
)
def test_what_cannot_be_compared(server: Server, body: dict) -> None:
    """What may or may not be over its cap is refused; for users without the cap it is Spark's matter."""
    answer = server.user("ada", "secret").post("/sessions", body)
    assert answer.status_code == 400, answer.text
    assert "policy.rule.students" in answer.json()["msg"]
    other = server.user("bob", "secret")
    answer = other.post("/sessions", body)
    assert answer.status_code == 201, answer.text
    other.delete(answer.headers["Location"])


def test_a_batch_is_under_the_rules(server: Server, stub: Stub) -> None:
    """As sessions are."""
    answer = server.user("ada", "secret").post("/batches", {"file": "hdfs:///a.py", "queue": "x"})
    assert answer.status_code == 400
    assert "spark.yarn.queue" in answer.json()["msg"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("cap", '{ "spark.x" = "much" }', "no size"),
        ("force", '{ "spark.master" = "yarn" }', "the server's own"),
        ("force", '{ "spark.*" = "1" }', "no conf key"),
        ("deny", '["a*b"]', "at the end only"),
        ("values", '{ "spark.x" = [["a"]] }', "something else than texts"),
        ("users", '[""]', "must not be empty"),
        ("denies", "[]", "unknown key `policy.rule.a.denies`"),
    ],
)
def test_a_rule_that_makes_no_sense(tmp_path: Path, key: str, value: str, words: str) -> None:
    """Stops the start, with the line."""
    file = tmp_path / "firesteel.toml"
    file.write_text(f"[policy.rule.a]\n{key} = {value}\n")
    ended = command("serve", "--config", str(file), "--listen", "127.0.0.1:0")
    assert ended.returncode not in (0, -9)
    assert words in ended.stderr, ended.stderr
    assert ":2:" in ended.stderr, ended.stderr
