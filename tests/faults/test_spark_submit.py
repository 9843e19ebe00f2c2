"""A spark-submit that is missing, silent, noisy, slow or wrong: the session is `dead`, and its log says
why."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from harness import processes
from harness.api import Session
from harness.processes import wait_until
from harness.server import serving
from harness.spark import newest
from harness.stub import Stub

QUICK = {"session.watch_interval": "100ms"}


def diagnosis(session: Session, limit: float = 120.0) -> str:
    """The sentence that stands first and last in the log of a session that did not start."""
    assert session.wait("dead", limit=limit) == "dead"
    log = session.log()
    assert log[0] == log[-1], (log[:3], log[-3:])
    assert len(log[0]) > 20, log[0]
    assert "\n" not in log[0]
    assert "stdout: " in log
    shown = session.get()["log"]
    assert shown[-1] == log[0], "the session's own few lines end with it"
    return log[0]


# name -> the script (None: there is no file), its mode, words of which one must be in the diagnosis
STUBS: dict[str, tuple[str | None, int, tuple[str, ...]]] = {
    "missing": (None, 0o755, ("spark-submit",)),
    "not executable": ("exit 0\n", 0o644, ("spark-submit", "permission", "execut")),
    "not a program": ("\n", 0o755, ("format",)),
    "silent": ("exit 0\n", 0o755, ("exit", "ended", "status")),
    "silent failure": ("exit 7\n", 0o755, ("7",)),
    "killed": ("kill -9 $$\n", 0o755, ("9", "kill", "memory")),
    "no Java": (
        'echo "JAVA_HOME is not set" >&2; exit 1\n',
        0o755,
        ("Java",),
    ),
    "wrong Java": (
        'echo "Error: LinkageError occurred while loading main class org.apache.spark.launcher.Main" >&2\n'
        'echo "java.lang.UnsupportedClassVersionError: org/apache/spark/launcher/Main has been compiled by a'
        " more recent version of the Java Runtime (class file version 61.0), this version of the Java Runtime"
        ' only recognizes class file versions up to 52.0" >&2; exit 1\n',
        0o755,
        ("Java",),
    ),
    "bad conf value": (
        'echo "Exception in thread \\"main\\" java.lang.IllegalArgumentException: spark.executor.cores should'
        ' be int, but was two" >&2; exit 1\n',
        0o755,
        ("spark.executor.cores",),
    ),
    "missing module": (
        "echo \"ModuleNotFoundError: No module named 'nowhere'\" >&2; exit 1\n",
        0o755,
        ("nowhere",),
    ),
    "missing file": (
        'echo "Exception in thread \\"main\\" java.io.FileNotFoundException: File /no/such/x.jar does not'
        ' exist" >&2; exit 1\n',
        0o755,
        ("/no/such/x.jar",),
    ),
    "out of memory": (
        'echo "Error occurred during initialization of VM"\n'
        'echo "Could not reserve enough space for 9437184000000KB object heap"; exit 1\n',
        0o755,
        ("memory",),
    ),
    "heap exhausted": (
        'echo "Exception in thread \\"main\\" java.lang.OutOfMemoryError: Java heap space" >&2; exit 52\n',
        0o755,
        ("memory",),
    ),
    "port taken": (
        "echo \"java.net.BindException: Address already in use: Service 'sparkDriver' failed after 16"
        ' retries" >&2; exit 1\n',
        0o755,
        ("port",),
    ),
}


@pytest.mark.parametrize("name", STUBS)
def test_does_not_start(make_stub, name: str) -> None:
    """R33."""
    body, mode, words = STUBS[name]
    stub = make_stub(body, mode)
    if name == "not a program":
        (stub.home / "bin/spark-submit").write_bytes(b"\x7fnot a program")
    with serving({**stub.settings, **QUICK, "spark.python": newest().python}) as server:
        session = server.api.create()
        sentence = diagnosis(session)
        assert any(word.lower() in sentence.lower() for word in words), sentence
        answer = server.api.post(f"{session.path}/statements", {"code": "1"})
        assert answer.status_code == 500
        assert "Session is in state dead" in answer.text
        wait_until("no process is left", lambda: not server.driver_processes(), 20)
        assert server.api.get("/ping").status_code == 200
        session.delete()
        wait_until("no file is left", lambda: not server.run_files(), 20)


def test_hangs(make_stub) -> None:
    """Ended at `session.start_timeout`, whatever it does with SIGTERM."""
    stub = make_stub("trap '' TERM INT HUP\nwhile :; do sleep 1; done\n")
    with serving({**stub.settings, **QUICK, "session.start_timeout": "2s"}) as server:
        session = server.api.create()
        waiting = session.post("1 + 1")
        sentence = diagnosis(session)
        assert "2" in sentence
        statement = session.api.get(f"{session.path}/statements/{waiting['id']}").json()
        assert statement["state"] in ("cancelled", "available"), "what waited does not wait for ever"
        wait_until("no process is left", lambda: not server.driver_processes(), 20)


def test_prints_a_gigabyte(make_stub) -> None:
    """The log is kept within its limit, first and last part, the cut marked; the server's memory does not
    grow with it."""
    stub = make_stub(
        "echo FIRST\nyes 'a line of a noisy spark-submit' | head -c 1000000000\necho LAST >&2\nexit 1\n"
    )
    with serving({**stub.settings, **QUICK, "log.max_bytes": "1MiB"}) as server:
        server.api.get("/sessions")
        before = processes.rss_mib(server.pid)
        processes.forget_peak(server.pid)
        session = server.api.create()
        diagnosis(session, 240)
        files = [path for path in server.run_files() if path.is_file()]
        assert sum(path.stat().st_size for path in files) < 8 * 2**20
        log = session.log(100)
        assert "FIRST" in log[:5]
        assert "LAST" in session.log(size=100, **{"from": -1})
        page = server.api.get(f"{session.path}/log?from=0&size=-1")
        assert len(page.content) < 16 * 2**20
        risen = processes.rss_mib(server.pid, peak=True) - before
        assert risen < 100, f"memory rose by {risen:.0f} MiB"


def test_silent_half(make_stub) -> None:
    """A child that goes on when spark-submit has ended is found and ended (R21)."""
    stub = make_stub("setsid sleep 100000 &\n(setsid nohup sleep 100001 &)\nsleep 0.3\nexit 1\n")
    with serving({**stub.settings, **QUICK}) as server:
        session = server.api.create()
        diagnosis(session)
        wait_until("no process is left", lambda: not server.driver_processes(), 20)


def live_rows(database: Path) -> int:
    """Sessions that the store does not hold for ended."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as store:
        columns = {row[1] for row in store.execute("pragma table_info(sessions)")}
        ended = "ended" if "ended" in columns else "ended_at"
        return store.execute(f"select count(*) from sessions where {ended} is null").fetchone()[0]


@pytest.mark.timeout(600)
def test_a_hundred_sessions_leave_nothing(tmp_path: Path) -> None:
    """Create and delete, 100 times, ten at a time: no process, file, live row or descriptor is left."""
    stub = Stub(tmp_path / "spark")
    with serving({**stub.settings, **QUICK}) as server:
        # Whatever is made once, on first use, is there before the counting.
        warm = server.api.create()
        warm.delete()
        wait_until("the first has gone", lambda: not server.driver_processes() and not server.run_files(), 30)
        base = processes.open_files(server.pid)
        # The first may have been deleted before its script ran.
        calls = len(stub.argvs())
        threads = len(list(Path(f"/proc/{server.pid}/task").iterdir()))
        for round_ in range(10):
            sessions = [server.api.create(name=f"{round_}-{number}") for number in range(10)]
            wait_until("they have started", lambda r=round_: len(stub.argvs()) >= calls + (r + 1) * 10, 60)
            for session in sessions:
                session.delete()
        wait_until("no process is left", lambda: not server.driver_processes(), 60)
        wait_until("no file is left", lambda: not server.run_files(), 30)
        wait_until("no live row is left", lambda: live_rows(server.database) == 0, 30)
        wait_until("no descriptor is left", lambda: processes.open_files(server.pid) <= base + 2, 30)
        wait_until(
            "no thread is left",
            lambda: len(list(Path(f"/proc/{server.pid}/task").iterdir())) <= threads + 4,
            30,
        )
        assert server.api.sessions() == [] or all(
            session["state"] in ("dead", "killed", "success", "error") for session in server.api.sessions()
        )
        children = processes.children(server.pid)
        assert children == [], f"children, perhaps zombies, of the server: {children}"


def test_server_refuses_a_second_on_its_state(make_stub, tmp_path: Path) -> None:
    """Two servers on one state directory would both own its sessions."""
    from harness.server import command

    state = tmp_path / "state"
    settings = make_stub().settings
    with serving(settings, state_dir=state):
        ended = command(
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--state-dir",
            str(state),
            "--set",
            f"spark.home={settings['spark.home']}",
        )
        assert ended.returncode not in (0, -9), ended.stdout
        assert str(state) in ended.stderr or "another" in ended.stderr, ended.stderr


def test_real_driver_that_does_not_start(tmp_path: Path) -> None:
    """With the real spark-submit: memory that is not there, a conf value that is none, a class that is
    missing."""
    spark = newest()
    cases = [
        ({"driverMemory": "9000000g"}, "memory"),
        ({"conf": {"spark.driver.cores": "two"}}, "driver cores"),
        ({"conf": {"spark.serializer": "no.such.Serializer"}}, "no.such.Serializer"),
        ({"conf": {"spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:+UseG1GC"}}, "collector"),
    ]
    with serving({**spark.settings, "spark.master": "local[1]"}) as server:
        sessions = [server.api.create(**body) for body, _ in cases]
        for session, (body, word) in zip(sessions, cases):
            assert word.lower() in diagnosis(session).lower(), (body, session.log()[:1])


def test_check_names_what_is_wrong(tmp_path: Path) -> None:
    """`firesteel check` says it before anybody starts a session, each with its fix."""
    from harness.server import command

    wrong = command(
        "check", "--set", f"spark.home={tmp_path}/nowhere", "--state-dir", str(tmp_path / "state")
    )
    assert wrong.returncode != 0
    assert "nowhere" in wrong.stdout + wrong.stderr
    spark = newest()
    sets = [word for key, value in spark.plain_settings.items() for word in ("--set", f"{key}={value}")]
    right = command("check", *sets, "--state-dir", str(tmp_path / "state"))
    assert right.returncode == 0, right.stdout + right.stderr
    no_java = command(
        "check", *sets, "--state-dir", str(tmp_path / "state"), PATH="/nonexistent", JAVA_HOME="/nonexistent"
    )
    assert no_java.returncode != 0
    assert "Java" in no_java.stdout + no_java.stderr


def test_wrong_configuration_stops_the_start(tmp_path: Path) -> None:
    """With the file, the line, the key, and the nearest valid key."""
    from harness.server import command

    config = tmp_path / "firesteel.toml"
    config.write_text('# mine\n[session]\nidle_timout = "1h"\n')
    ended = command("serve", "--config", str(config), "--listen", "127.0.0.1:0")
    assert ended.returncode not in (0, -9)
    assert ended.stdout == ""
    for word in (str(config), "3", "idle_timout", "idle_timeout"):
        assert word in ended.stderr, ended.stderr
    ended = command("serve", "--listen", "127.0.0.1:0", FIRESTEEL_SESSION__IDLE_TIMEOUT="soon")
    assert ended.returncode not in (0, -9)
    assert "FIRESTEEL_SESSION__IDLE_TIMEOUT" in ended.stderr
    assert os.environ.get("FIRESTEEL_SESSION__IDLE_TIMEOUT") is None
