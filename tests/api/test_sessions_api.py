"""The sessions' routes as clients need them. The drivers only sleep, so every session here stays
`starting`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from harness.api import ENDED, Api, Session
from harness.processes import wait_until
from harness.server import Server, everything_below, serving
from harness.spark import newest
from harness.stub import Stub

# W4, W7, W8: Livy's keys in Livy's order, and no others.
KEYS = [
    "id",
    "name",
    "appId",
    "owner",
    "proxyUser",
    "state",
    "kind",
    "appInfo",
    "log",
    "ttl",
    "idleTimeout",
    "driverMemory",
    "driverCores",
    "executorMemory",
    "executorCores",
    "conf",
    "archives",
    "files",
    "heartbeatTimeoutInSecond",
    "jars",
    "numExecutors",
    "pyFiles",
    "queue",
]
OLD_CLIENT_KEYS = {"id", "name", "appId", "owner", "proxyUser", "state", "kind", "appInfo", "log"}
QUICK = {"session.watch_interval": "100ms"}


def rejected(answer: Any, pattern: str) -> None:
    """400 with Livy's words."""
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"msg"}
    assert re.fullmatch(pattern, answer.json()["msg"]), answer.json()["msg"]


def arguments(stub: Stub, calls: int = 1) -> list[str]:
    """What the last spark-submit was given, once as many have been called."""
    return wait_until(
        f"{calls} calls of spark-submit", lambda: len(stub.argvs()) >= calls and stub.argvs()[-1], 30
    )


def test_created(stub_api: Api) -> None:
    """W1, W2, W3, W7, W8, W17: 201, soon, an integer id, `starting`, all of Livy's keys and nothing else."""
    answer = stub_api.post("/sessions", {"kind": "pyspark"}, timeout=5)
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Content-Type"].replace(" ", "").lower() == "application/json;charset=utf-8"
    assert answer.headers["Location"] == f"/sessions/{body['id']}"
    assert type(body["id"]) is int
    assert 0 <= body["id"] < 1000
    assert body["state"] == "starting"
    assert list(body) == KEYS
    assert list(stub_api.get(f"/sessions/{body['id']}").json()) == KEYS
    assert list(stub_api.sessions()[0]) == KEYS
    assert set(body["appInfo"]) >= {"driverLogUrl", "sparkUiUrl", "executorLogUrls"}
    assert all(value is None or isinstance(value, str) for value in body["appInfo"].values())
    assert (body["driverCores"], body["executorCores"], body["numExecutors"]) == (0, 0, 0)
    assert (body["owner"], body["proxyUser"], body["appId"], body["ttl"]) == (None, None, None, None)


def test_old_java_client(stub_api: Api) -> None:
    """W8: the 0.7 client fails on a key that it does not know."""
    agent = {"User-Agent": "livy-client-http/0.7.1-incubating"}
    answer = stub_api.post("/sessions/", {"conf": {}}, headers=agent)
    assert answer.status_code == 201
    assert set(answer.json()) == OLD_CLIENT_KEYS
    for path in (f"/sessions/{answer.json()['id']}", "/sessions"):
        body = stub_api.get(path, headers=agent).json()
        assert set(body["sessions"][0] if "sessions" in body else body) == OLD_CLIENT_KEYS
    assert (
        set(stub_api.post(f"/sessions/{answer.json()['id']}/connect", headers=agent).json())
        == OLD_CLIENT_KEYS
    )


def test_deleted(stub_api: Api) -> None:
    """W2, W9: deleting answers JSON; from then on the session is not found."""
    session = stub_api.create()
    answer = stub_api.delete(session.path)
    assert (answer.status_code, answer.json()) == (200, {"msg": "deleted"})
    for method, path in (
        ("GET", ""),
        ("GET", "/state"),
        ("GET", "/log"),
        ("GET", "/statements"),
        ("GET", "/statements/0"),
        ("POST", "/statements/0/cancel"),
        ("POST", "/connect"),
        ("POST", "/interrupt"),
        ("DELETE", ""),
    ):
        answer = stub_api.request(method, session.path + path)
        assert answer.status_code == 404, path
        assert answer.json() == {"msg": f"Session '{session.id}' not found."}
    assert session.id not in stub_api.ids()


def test_ids_are_not_used_again(stub_api: Api) -> None:
    """W1: small integers, each once."""
    first = stub_api.create()
    first.delete()
    assert stub_api.create().id == first.id + 1


@pytest.mark.parametrize(
    ("asked", "canonical"),
    [
        ("pyspark", "pyspark"),
        ("python", "pyspark"),
        ("pyspark3", "pyspark"),
        ("spark", "spark"),
        ("scala", "spark"),
        ("sparkr", "sparkr"),
        ("r", "sparkr"),
        ("sql", "sql"),
        ("shared", "shared"),
        (None, "shared"),
    ],
)
def test_kinds(stub_api: Api, asked: str | None, canonical: str) -> None:
    """W12: aliases are taken, the canonical word is answered."""
    answer = stub_api.post("/sessions", {"kind": asked} if asked else {})
    assert answer.status_code == 201, answer.text
    assert answer.json()["kind"] == canonical


def test_lenient_types(stub_server: Server, stub_home: Stub, stub_api: Api) -> None:
    """W12: Airflow and Zeppelin send numbers as strings, and conf values as numbers and booleans."""
    before = len(stub_home.argvs())
    answer = stub_api.post(
        "/sessions",
        {
            "kind": "pyspark",
            "driverCores": "2",
            "executorCores": "3",
            "numExecutors": "4",
            "heartbeatTimeoutInSecond": "600",
            "driverMemory": "1g",
            "executorMemory": "512m",
            "queue": "q",
            "jars": None,
            "conf": {"spark.sql.shuffle.partitions": 7, "spark.ui.enabled": False, "spark.x": 1.5},
        },
    )
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["driverCores"], body["executorCores"], body["numExecutors"]) == (2, 3, 4)
    assert body["heartbeatTimeoutInSecond"] == 600
    assert body["jars"] == []
    wanted = {"spark.sql.shuffle.partitions": "7", "spark.ui.enabled": "false", "spark.x": "1.5"}
    assert body["conf"] == wanted
    arguments(stub_home, before + 1)
    assert_reaches_driver(stub_home, {**wanted, "spark.driver.memory": "1g", "spark.executor.memory": "512m"})


def assert_reaches_driver(stub: Stub, conf: dict[str, str]) -> None:
    """The conf is in the properties file of the last call, or in its arguments."""
    wait_until("the properties file is on record", stub.properties, 10)
    texts = "\n".join(stub.properties()) + "\n".join(" ".join(argv) for argv in stub.argvs())
    texts = texts.replace("\\", "")
    for key, value in conf.items():
        option = "--" + key.removeprefix("spark.").replace(".", "-")
        assert (
            re.search(rf"{re.escape(key)}\s*[=: ]\s*{re.escape(value)}", texts)
            or f"{option} {value}" in texts
        ), key


def test_unknown_fields_are_named_in_the_log(stub_api: Api) -> None:
    """W12: what Livy refuses is accepted and told."""
    session = stub_api.create(**{"frobnicate": 1, "spark.conf": "x"})
    log = "\n".join(session.log())
    assert "frobnicate" in log
    assert "spark.conf" in log


@pytest.mark.parametrize(
    ("body", "about"),
    [
        ({"numExecutors": "many"}, "numExecutors"),
        ({"numExecutors": -1}, "numExecutors"),
        ({"driverCores": 1.5}, "driverCores"),
        ({"heartbeatTimeoutInSecond": "soon"}, "heartbeatTimeoutInSecond"),
        ({"conf": ["a"]}, "conf"),
        ({"conf": {"a": {"b": 1}}}, "conf"),
        ({"jars": "x.jar"}, "jars"),
        ({"jars": [1]}, "jars"),
        ({"name": ["x"]}, "name"),
        ({"kind": 1}, "kind"),
    ],
)
def test_wrong_types(stub_api: Api, body: dict, about: str) -> None:
    """400 and one sentence that names the field."""
    answer = stub_api.post("/sessions", body)
    assert answer.status_code == 400, answer.text
    assert about in answer.text
    assert "\\n" not in answer.text
    assert stub_api.sessions() == []


def test_names(stub_api: Api) -> None:
    """A session is found by its name on every route, until it has ended; a second of that name is refused."""
    session = stub_api.create(name="my session/ü")
    path = "/sessions/my%20session%2F%C3%BC"
    for tail in ("", "/state", "/log", "/statements"):
        assert stub_api.get(path + tail).status_code == 200, tail
    assert stub_api.get(path).json()["id"] == session.id
    rejected(
        stub_api.post("/sessions", {"kind": "pyspark", "name": "my session/ü"}),
        r"Rejected, Reason: Duplicate session name: Some\(my session/ü\) for session \d+",
    )
    rejected(stub_api.post("/sessions", {"name": "123"}), r"Rejected, Reason: Invalid session name: 123")
    rejected(stub_api.post("/sessions", {"name": ""}), r"Rejected, Reason: Invalid session name: ")
    assert stub_api.delete(path).json() == {"msg": "deleted"}
    assert stub_api.get(path).status_code == 404
    assert stub_api.create(name="my session/ü").id == session.id + 1, "a refused name uses no id up"


def test_long_names(stub_api: Api) -> None:
    """Up to the limit and no further."""
    assert stub_api.post("/sessions", {"kind": "pyspark", "name": "n" * 256}).status_code == 201
    assert stub_api.post("/sessions", {"kind": "pyspark", "name": "n" * 257}).status_code == 400


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/sessions/99999999999", 'For input string: "99999999999"'),
        ("/sessions?from=abc", 'For input string: "abc"'),
        ("/sessions?size=1.5", 'For input string: "1.5"'),
    ],
)
def test_numbers_that_are_none(stub_api: Api, path: str, text: str) -> None:
    """As in Livy."""
    answer = stub_api.get(path)
    assert (answer.status_code, answer.json()) == (400, {"msg": text})


def test_paging(stub_api: Api) -> None:
    """Creation order; `total` counts all; a size that is none gives an empty page."""
    ids = [stub_api.create().id for _ in range(4)]
    for query, wanted in (
        ("", ids),
        ("?from=1&size=2", ids[1:3]),
        ("?from=3", ids[3:]),
        ("?from=9", []),
        ("?size=0", []),
        ("?size=-1", []),
        ("?size=1000000", ids),
    ):
        body = stub_api.get("/sessions" + query).json()
        assert list(body) == ["from", "total", "sessions"]
        assert [session["id"] for session in body["sessions"]] == wanted, query
        assert body["total"] == 4


@pytest.mark.parametrize("key", ["ttl", "idleTimeout"])
def test_time_texts(stub_api: Api, key: str) -> None:
    """Livy's durations, echoed as they were given."""
    for text in ("30s", "10m", "2h", "1d", "5min", "100ms", "600000"):
        answer = stub_api.post("/sessions", {"kind": "pyspark", key: text})
        assert answer.status_code == 201, f"{text}: {answer.text}"
        assert answer.json()[key] == text
    rejected(stub_api.post("/sessions", {key: "soon"}), r"Rejected, Reason: Invalid time string: soon")
    rejected(stub_api.post("/sessions", {key: "5y"}), r'Rejected, Reason: Invalid suffix: "y"')
    rejected(stub_api.post("/sessions", {key: "-5s"}), r"Rejected, Reason: Invalid .*-5.*")


def ended(api: Api, session: dict) -> bool:
    """As the list tells it, which is no heartbeat."""
    shown = {found["id"]: found["state"] for found in api.sessions()}
    return shown.get(session["id"], "gone") in (*ENDED, "shutting_down", "gone")


def test_ttl_and_heartbeat_end_a_session(make_stub) -> None:
    """Its time to live counts from its start, the heartbeat from the last call that names the session."""
    with serving({**make_stub().settings, **QUICK}) as server:
        api = server.api
        lasting = api.create()
        living = api.create(ttl="1s").created
        beating = api.create(heartbeatTimeoutInSecond=1).created
        wait_until("the time to live ends a session", lambda: ended(api, living), 30)
        wait_until("a missing heartbeat ends a session", lambda: ended(api, beating), 30)
        assert lasting.state() == "starting"
        wait_until("their processes are gone", lambda: len(server.driver_processes()) <= 3, 30)


def test_heartbeats_keep_a_session(make_stub) -> None:
    """Every call that names the session is one."""
    import time

    with serving({**make_stub().settings, **QUICK}) as server:
        session = server.api.create(heartbeatTimeoutInSecond=1)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            assert session.state() == "starting"
            time.sleep(0.1)


def test_start_timeout(make_stub) -> None:
    """A driver that never gets ready is ended, and the log says why, first and last."""
    with serving({**make_stub().settings, **QUICK, "session.start_timeout": "1s"}) as server:
        session = server.api.create()
        assert session.wait("dead") == "dead"
        log = session.log()
        assert log[0] == log[-1]
        assert "1" in log[0]
        wait_until("its processes are gone", lambda: not server.driver_processes(), 30)


def test_waiting_statements(make_stub) -> None:
    """Statements wait while the session starts: in order, cancellable, and only so many."""
    with serving({**make_stub().settings, "limits.statements_waiting": 3}) as server:
        api = server.api
        session = api.create()
        for number in range(3):
            posted = session.post(f"{number}")
            assert (posted["id"], posted["state"], posted["output"]) == (number, "waiting", None)
            assert (posted["started"], posted["completed"], posted["progress"]) == (0, 0, 0.0)
        full = api.post(f"{session.path}/statements", {"code": "3"})
        assert full.status_code == 503
        assert int(full.headers["Retry-After"]) > 0
        listed = api.get(f"{session.path}/statements").json()
        assert listed["total_statements"] == 3
        assert [statement["code"] for statement in listed["statements"]] == ["0", "1", "2"]
        session.cancel(1)
        cancelled = session.statement(1)
        assert (cancelled["state"], cancelled["output"], cancelled["progress"]) == ("cancelled", None, 1.0)
        assert session.post("4")["id"] == 3


def test_sessions_over_the_limit_wait(make_stub) -> None:
    """201 `starting`, told in the log, started when another ends; a full queue is 503."""
    stub = make_stub()
    settings = {**stub.settings, **QUICK, "limits.sessions": 1, "limits.sessions_queued": 1}
    with serving(settings) as server:
        api = server.api
        first, second = api.create(), api.create()
        assert second.state() == "starting"
        assert re.search("wait|queue", "\n".join(second.log()), re.IGNORECASE), second.log()
        third = api.post("/sessions", {"kind": "pyspark"})
        assert third.status_code == 503
        assert int(third.headers["Retry-After"]) > 0
        arguments(stub, 1)
        assert len(stub.argvs()) == 1
        first.delete()
        arguments(stub, 2)
        assert second.state() == "starting"
        third = api.create()
        # One that waits can be deleted as well.
        third.delete()
        assert third.state() == "gone"


def test_connect_interrupt_completion_exist(stub_api: Api) -> None:
    """W16: on a session that starts, too."""
    session = stub_api.create()
    assert list(stub_api.post(f"{session.path}/connect").json()) == KEYS
    assert stub_api.post(f"{session.path}/interrupt").status_code == 200
    assert session.state() == "starting", "/interrupt cancels what runs and stops no session"
    answer = stub_api.post(f"{session.path}/completion", {"code": "sp", "kind": "pyspark", "cursor": 2})
    assert answer.status_code != 404
    assert answer.status_code < 500 or answer.status_code == 503


@pytest.mark.parametrize(
    "key", ["spark.master", "spark.submit.deployMode", "spark.yarn.jars", "spark.yarn.archive"]
)
def test_denied_conf(stub_api: Api, key: str) -> None:
    """Livy's own deny list, with Livy's words."""
    answer = stub_api.post("/sessions", {"kind": "pyspark", "conf": {key: "x", "spark.fine": "y"}})
    rejected(
        answer, rf"Rejected, Reason: Blacklisted configuration values in session config: {re.escape(key)}"
    )
    assert stub_api.sessions() == []


@pytest.mark.parametrize(
    "key", [" spark.master", "spark.master ", "Spark.Master", "spark.master\n", "master"]
)
def test_denied_conf_under_other_names(stub_api: Api, stub_home: Stub, key: str) -> None:
    """Spaces and capitals are no way around it: refused, or without effect (S11)."""
    before = len(stub_home.argvs())
    answer = stub_api.post("/sessions", {"kind": "pyspark", "conf": {key: "spark://evil:1"}})
    if answer.status_code == 201:
        argv = arguments(stub_home, before + 1)
        assert "spark://evil:1" not in argv
        masters = [argv[at + 1] for at, word in enumerate(argv) if word == "--master"]
        assert masters == ["local[*]"] or "spark://evil:1" not in "\n".join(stub_home.properties())
    else:
        assert answer.status_code == 400


def test_conf_policies(make_stub) -> None:
    """Further denied keys, or only the allowed ones."""
    with serving({**make_stub().settings, "policy.conf.deny": ["spark.secret.*"]}) as server:
        assert server.api.post("/sessions", {"conf": {"spark.secret.x": "1"}}).status_code == 400
        assert server.api.post("/sessions", {"conf": {"spark.public.x": "1"}}).status_code == 201
    settings = {"policy.conf.mode": "allow", "policy.conf.allow": ["spark.public.*", "spark.one"]}
    with serving({**make_stub().settings, **settings}) as server:
        assert (
            server.api.post("/sessions", {"conf": {"spark.public.x": "1", "spark.one": "2"}}).status_code
            == 201
        )
        assert server.api.post("/sessions", {"conf": {"spark.one.more": "1"}}).status_code == 400


@pytest.mark.parametrize("field", ["jars", "pyFiles", "files", "archives"])
def test_local_files(make_stub, tmp_path: Path, field: str) -> None:
    """Only what lies in an allowed directory, with links and `..` resolved before it is compared (S10)."""
    allowed, beside = tmp_path / "allowed", tmp_path / "allowed-not"
    for directory in (allowed, beside):
        directory.mkdir()
        (directory / "file.py").write_text("")
    (allowed / "inside").symlink_to(allowed / "file.py")
    (allowed / "outside").symlink_to("/etc/passwd")
    (allowed / "away").symlink_to(beside)
    fine = [
        f"{allowed}/file.py",
        f"file://{allowed}/inside",
        f"{allowed}/../allowed/file.py",
        "hdfs://nn/x.py",
    ]
    wrong = [
        "/etc/passwd",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "file:/etc/passwd",
        "local:/etc/passwd",
        f"{allowed}/../allowed-not/file.py",
        f"{beside}/file.py",
        f"{allowed}/outside",
        f"{allowed}/away/file.py",
        f"{allowed}/%2e%2e/allowed-not/file.py",
        f"file://{allowed}/%2e%2e/allowed-not/file.py",
        f"{allowed}/file.py,/etc/passwd",
        "/proc/self/environ",
    ]
    with serving({**make_stub().settings, "files.allow": [allowed]}) as server:
        for path in fine:
            answer = server.api.post("/sessions", {"kind": "pyspark", field: [path]})
            assert answer.status_code == 201, f"{path}: {answer.text}"
        for path in wrong:
            answer = server.api.post("/sessions", {"kind": "pyspark", field: [path]})
            assert answer.status_code == 400, f"{path}: {answer.text}"
        rejected(
            server.api.post("/sessions", {field: ["/etc/passwd"]}),
            r"Rejected, Reason: requirement failed: Local path /etc/passwd cannot be added to user sessions.",
        )
        rejected(
            server.api.post("/sessions", {field: ["rel.jar"]}),
            r"Rejected, Reason: requirement failed: Path 'rel\.jar' is not absolute\.",
        )


def test_files_named_in_conf(stub_api: Api) -> None:
    """The conf keys that name files are under the same rule."""
    for key in (
        "spark.jars",
        "spark.files",
        "spark.archives",
        "spark.submit.pyFiles",
        "spark.yarn.dist.files",
    ):
        answer = stub_api.post("/sessions", {"kind": "pyspark", "conf": {key: "/etc/passwd"}})
        assert answer.status_code == 400, key


def test_arguments_are_values(stub_server: Server, stub_home: Stub, stub_api: Api) -> None:
    """No value becomes an option, and none passes a shell (S9)."""
    hostile = [
        "--class evil",
        "-c x",
        "; touch /tmp/x",
        "$(id)",
        "a\nspark.evil=1",
        "@/etc/passwd",
        "--help",
        "-",
        "'\"\\",
    ]
    for text in hostile:
        before = len(stub_home.argvs())
        answer = stub_api.post("/sessions", {"kind": "pyspark", "queue": text, "conf": {"spark.text": text}})
        if answer.status_code == 400:
            continue
        assert answer.status_code == 201, answer.text
        argv = arguments(stub_home, before + 1)
        for at, word in enumerate(argv):
            if word == text:
                assert argv[at - 1].startswith("--") and argv[at - 1] != text, argv
        assert not [
            line
            for text in stub_home.properties()
            for line in text.splitlines()
            if line.startswith("spark.evil")
        ]
        # An option that takes its value after `=` can't be mistaken; one that doesn't must not be there.
        assert "--help" not in argv[:-1] or argv[argv.index("--help") - 1].startswith("--")
        stub_api.delete(answer.headers["Location"])


def test_driver_environment_is_built_from_a_list(make_stub) -> None:
    """The server's own variables stay with it; `driver.env` and `driver.env_pass` add to the list (S14)."""
    stub = make_stub()
    secrets = {"AWS_SECRET_ACCESS_KEY": "canary", "LD_PRELOAD_X": "canary", "PYTHONSTARTUP": "/tmp/canary"}
    settings = {**stub.settings, "driver.env": {"MINE": "yes"}, "driver.env_pass": ["PASSED"]}
    with serving(settings, env={**secrets, "PASSED": "through"}) as server:
        server.api.create()
        arguments(stub)
        environ = wait_until("the environment is on record", stub.environs, 10)[0]
        assert not set(environ) & set(secrets)
        assert "canary" not in str(environ)
        assert (environ["MINE"], environ["PASSED"]) == ("yes", "through")
        assert re.fullmatch(r"[0-9a-f-]{36}", environ["FIRESTEEL_DRIVER_ID"])
        for process in server.driver_processes():
            if process.pid != server.pid:
                assert "canary" not in str(process.environ), process


def test_secrets_stay_out_of_arguments(make_stub) -> None:
    """The conf of a session is in a file that only its user reads, not in any process's arguments."""
    stub = make_stub()
    with serving(stub.settings) as server:
        session = server.api.create(conf={"spark.hadoop.fs.s3a.secret.key": "canary-5ecret"})
        arguments(stub)
        processes = server.driver_processes()
        assert processes
        for process in processes:
            assert "canary-5ecret" not in str(process), process
        assert "canary-5ecret" not in server.log()
        assert "canary-5ecret" not in "\n".join(session.log())
        for path in everything_below(server.state_dir):
            if path.is_file() and b"canary-5ecret" in path.read_bytes():
                assert not server.open_to_others(path), path


@pytest.mark.parametrize("honoured", [True, False])
def test_proxy_user(make_stub, honoured: bool) -> None:
    """`proxyUser`, and `doAs` over it, reach spark-submit where impersonation is on; else they are ignored,
    as in Livy."""
    stub = make_stub()
    with serving({**stub.settings, "access.impersonation": honoured}) as server:
        session = server.api.create(proxyUser="bob")
        argv = arguments(stub, 1)
        assert session.created["proxyUser"] == ("bob" if honoured else None)
        assert ("--proxy-user" in argv and argv[argv.index("--proxy-user") + 1] == "bob") == honoured
        answer = server.api.post("/sessions?doAs=carol", {"kind": "pyspark", "proxyUser": "bob"})
        argv = arguments(stub, 2)
        assert answer.json()["proxyUser"] == ("carol" if honoured else None)
        assert ("carol" in argv) == honoured
        for hostile in ("-x", "a b", "../x", "x;id", "a\nb"):
            answer = server.api.post("/sessions", {"kind": "pyspark", "proxyUser": hostile})
            assert answer.status_code in ((400, 403) if honoured else (201,)), hostile


def test_deleted_while_starting_leaves_nothing(stub_server: Server, stub_home: Stub, stub_api: Api) -> None:
    """Its processes and its files go with it."""
    before = len(stub_home.argvs())
    files = len(stub_server.run_files())
    session = stub_api.create()
    arguments(stub_home, before + 1)
    assert stub_server.driver_processes()
    session.delete()
    wait_until("no process is left", lambda: not stub_server.driver_processes(), 30)
    wait_until("no file is left", lambda: len(stub_server.run_files()) <= files, 30)


def test_history(stub_api: Api) -> None:
    """What has ended is found there."""
    session = stub_api.create(name="historic")
    session.delete()
    assert "historic" in stub_api.get("/history?size=1000").text


def test_ended_sessions_are_shown_for_a_while(make_stub) -> None:
    """`session.ended_shown`, then only the history has them."""
    stub = make_stub("exit 3\n")
    with serving({**stub.settings, **QUICK, "session.ended_shown": "1s"}) as server:
        session = server.api.create(name="gone soon")
        wait_until("it leaves the list", lambda: session.id not in server.api.ids(), 60)
        assert "gone soon" in server.api.get("/history").text


def test_settings_on_the_command_line(make_stub) -> None:
    """`--set` goes over the file."""
    stub = make_stub()
    with serving(
        {**stub.settings, "limits.sessions_queued": 5},
        sets={"limits.sessions": "1", "limits.sessions_queued": "0"},
    ) as server:
        server.api.create()
        assert server.api.post("/sessions", {"kind": "pyspark"}).status_code == 503


def test_python_of_the_path(tmp_path: Path) -> None:
    """Without SPARK_HOME and `spark.home`, the pyspark of the python on PATH is used, and which one it was
    is logged."""
    import os

    python = Path(newest().python)
    with serving(env={"PATH": f"{python.parent}:{os.environ['PATH']}"}) as server:
        assert newest().home in server.log()
        assert Session(server.api, {"id": 0}).state() == "gone"
