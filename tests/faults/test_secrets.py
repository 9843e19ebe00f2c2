"""Secrets stay where they must be (S25), files are their owner's alone (S26), and logs and errors tell
neither secrets nor the inside of the server (S22, S24)."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
import uuid
from pathlib import Path
from typing import Any, Callable

import pytest
from harness import processes
from harness.api import Api
from harness.fake import Fake
from harness.server import Server, binary, command
from harness.wire import Wire

PASSWORD = f"canary-password-{uuid.uuid4().hex}"
# Where each is sent is in `spread`.
NAMES = (
    "conf-password",
    "conf-s3-secret",
    "conf-s3-access",
    "conf-keystore",
    "conf-token",
    "conf-userinfo",
    "file-userinfo",
    "refused-conf",
    "wrong-password",
    "bearer-token",
    "query-token",
    "cookie",
)
CANARIES = {name: f"canary-{name}-{uuid.uuid4().hex}" for name in NAMES}
ADMINS = {name: f"canary-{name}-{uuid.uuid4().hex}" for name in ("admin-conf", "admin-env", "server-env")}


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A file with one user."""
    file = tmp_path / "users"
    assert command("passwd", str(file), "alice", stdin=PASSWORD + "\n").returncode == 0
    return file


@pytest.fixture
def guarded(serve: Callable[..., Server], users: Path, tmp_path: Path) -> Server:
    """A server that logs all there is to log."""
    return serve(
        {
            **Fake(tmp_path / "fake").settings,
            "driver.env": {"FAKE_LEDGER": str(tmp_path / "fake/ledger"), "ADMINS": ADMINS["admin-env"]},
            "access.mode": "basic",
            "access.basic_file": users,
            "spark.conf": {"spark.hadoop.fs.s3a.session.token": ADMINS["admin-conf"]},
            "log.level": "debug,firesteel=trace,hyper=info",
        },
        env={"AWS_SECRET_ACCESS_KEY": ADMINS["server-env"]},
    )


def spread(server: Server, api: Api) -> str:
    """Send each in its way; a live session's path."""
    conf = {
        "spark.my.password": CANARIES["conf-password"],
        "spark.hadoop.fs.s3a.secret.key": CANARIES["conf-s3-secret"],
        "spark.hadoop.fs.s3a.access.key": CANARIES["conf-s3-access"],
        "spark.ssl.ui.keyStorePassword": CANARIES["conf-keystore"],
        "spark.sql.catalog.c.token": CANARIES["conf-token"],
        "spark.hadoop.my.proxy": f"http://me:{CANARIES['conf-userinfo']}@proxy.example:3128",
    }
    files = [f"https://me:{CANARIES['file-userinfo']}@files.example/data.csv"]
    session = api.create(conf=conf, files=files)
    session.wait("idle")
    assert session.text("ledger 1") == "1"
    refused = CANARIES["refused-conf"]
    for bad in (
        {"conf": {"spark.my.password": [refused]}},
        {"conf": {"spark.my.password": refused, "spark.master": refused}},
        {"conf": {"spark.my.password": refused}, "jars": ["/etc/passwd"]},
        {"conf": {"spark.my.password": refused}, "numExecutors": "many"},
        {"conf": {"spark.my.password": refused}, "kind": "cobol"},
    ):
        answer = api.post("/sessions", bad)
        assert answer.status_code == 400, bad
        assert refused not in answer.text or "spark.master" in str(bad), answer.text
    wrong = server.user("alice", CANARIES["wrong-password"])
    assert wrong.get("/sessions").status_code == 401
    for header, value in (
        ("Authorization", f"Bearer {CANARIES['bearer-token']}"),
        ("Cookie", f"session={CANARIES['cookie']}"),
    ):
        assert Api(server.url).get("/sessions", headers={header: value}).status_code == 401
    token = f"access_token={CANARIES['query-token']}"
    assert Api(server.url).get(f"/sessions?{token}").status_code == 401
    assert api.get(f"/sessions?{token}&from=x").status_code == 400
    assert api.get(f"/nothing?{token}").status_code == 404
    # An application's own URI is an argument of spark-submit's, which all users of the host see.
    assert api.post("/batches", {"file": "https://files.example/a.py", "conf": conf}).ok
    return session.path


def holders(server: Server, canary: str) -> set[str]:
    """The files of the server's that have it, by their names."""
    found = set()
    for directory, _, names in os.walk(server.home):
        for path in (Path(directory) / name for name in names):
            # What goes meanwhile is left out.
            with contextlib.suppress(FileNotFoundError):
                if path != server.home / "firesteel.toml" and stat.S_ISREG(path.lstat().st_mode):
                    found |= {path.name} if canary.encode() in path.read_bytes() else set()
    return found


def test_canaries(guarded: Server, figures: Callable[[str], None]) -> None:
    """Twelve secrets of a user and three of the administrator: none is in a log, an argument, an answer to
    anybody else, or a file but the driver's conf and the store, which only the server's user reads."""
    api = guarded.user("alice", PASSWORD)
    path = spread(guarded, api)
    kept = re.compile(r"firesteel\.db(-wal|-shm)?|properties\S*|.*\.properties|\S*\.conf")
    everything = {**CANARIES, **ADMINS, "password": PASSWORD}
    for name, canary in everything.items():
        assert canary not in guarded.log(), name
        places = {place for place in holders(guarded, canary) if not kept.fullmatch(place)}
        assert not places, (name, places)
        for process in processes.processes():
            assert canary not in " ".join(process.argv), (name, process)
    stored = {name for name, canary in everything.items() if holders(guarded, canary)}
    sent = {"conf-password", "conf-s3-secret", "conf-s3-access", "conf-keystore", "conf-token"}
    assert sent <= stored <= sent | {"conf-userinfo", "file-userinfo", "admin-conf"}, stored
    drivers = [str(process.environ) for process in guarded.driver_processes()]
    assert drivers
    for name, canary in {**everything, **ADMINS}.items():
        if name != "admin-env":
            assert not any(canary in environment for environment in drivers), name
    for route in (
        f"{path}/log?size=-1",
        "/batches/0/log?size=-1",
        "/batches",
        "/history",
        "/uploads",
        "/gpus",
    ):
        answer = api.get(route)
        for name, canary in everything.items():
            assert canary not in answer.text, (route, name)
    shown = api.get("/sessions").text
    assert not [name for name in (*ADMINS, "wrong-password", "bearer-token") if everything[name] in shown]
    assert api.delete(path).status_code == 200
    processes.wait_until("its driver is gone", lambda: len(guarded.running_drivers()) == 0, 30)
    assert api.delete("/batches/0").status_code == 200

    def left() -> set[str]:
        found = {place for canary in everything.values() for place in holders(guarded, canary)}
        return {place for place in found if not place.startswith("firesteel.db")}

    processes.wait_until("only the store has them", lambda: not left(), 30)
    figures(
        f"canaries: {len(everything)} secrets, in no log, argument, environment or file where none must be"
    )


REDACTED = "*********(redacted)"
LOG_EMPTIED = 10
"""Seconds after which the store's write-ahead log has nothing of what was replaced."""


def test_secrets_go_with_the_end(
    serve: Callable[..., Server], tmp_path: Path, figures: Callable[[str], None]
) -> None:
    """Once a session or batch has ended, however it did, no file of the server's has its secrets, neither the
    store nor its write-ahead log; what waits or runs keeps its own, also over a server that is killed."""
    settings = {**Fake(tmp_path / "fake").settings, "limits.batches": 1, "driver.stop_grace": "100ms"}
    server = serve(settings)
    api = server.api
    canaries = {
        name: f"canary-{uuid.uuid4().hex}" for name in ("deleted", "died", "batch", "lives", "killed")
    }

    def conf(name: str) -> dict[str, str]:
        # What is larger than a page of the store's lies on pages of its own.
        long = canaries[name] * 200
        return {"spark.my.Password": canaries[name], "spark.hadoop.x.secret.y": long, "spark.plain": "stays"}

    def has(name: str) -> set[str]:
        return holders(server, canaries[name])

    sessions = {name: api.create(conf=conf(name)) for name in ("deleted", "died", "lives", "killed")}
    for session in sessions.values():
        session.wait("idle")
    assert all(has(name) for name in sessions)
    began = time.monotonic()
    assert api.post("/batches", {"file": "https://files.example/a.py", "conf": conf("batch")}).ok
    assert sessions["deleted"].delete() is None
    sessions["died"].post("die")
    sessions["died"].wait_ended()
    assert sessions["died"].get()["conf"] == {
        "spark.my.Password": REDACTED,
        "spark.hadoop.x.secret.y": REDACTED,
        "spark.plain": "stays",
    }
    assert sessions["lives"].get()["conf"] == conf("lives")
    processes.wait_until("the batch ends", lambda: api.get("/batches/0/state").json()["state"] == "dead")
    gone = ("deleted", "died", "batch")
    processes.wait_until("their secrets are gone", lambda: not any(map(has, gone)), LOG_EMPTIED + 30)
    took = time.monotonic() - began
    assert has("lives")

    # Killed as soon as the end is seen: it is in the write-ahead log, and the next server empties that.
    sessions["killed"].post("die")
    sessions["killed"].wait_ended()
    server.restart()
    api = server.api
    for session in sessions.values():
        session.api = api
    processes.wait_until("they are gone as well", lambda: not has("killed"), LOG_EMPTIED + 30)
    assert sessions["died"].get()["conf"]["spark.my.Password"] == REDACTED
    assert api.get(f"/sessions/{sessions['killed'].id}").json()["conf"]["spark.plain"] == "stays"
    sessions["lives"].wait("idle")
    assert sessions["lives"].get()["conf"] == conf("lives")
    assert sessions["lives"].text("ledger 1") == "1"
    shown = api.get("/history").text + api.get("/sessions?size=1000").text + api.get("/batches").text
    assert not [name for name in (*gone, "killed") if canaries[name] in shown]
    figures(f"secrets of what has ended: out of every file {took:.0f} s after the first end")


def test_umask(serve: Callable[..., Server], tmp_path: Path) -> None:
    """With a umask that takes nothing away, nobody else reads a file of the server's or writes where it does,
    and nothing of it lies in the temporary directory that all share (S26)."""
    shared = tmp_path / "tmp"
    shared.mkdir()
    program = tmp_path / "firesteel"
    program.write_text(f"#!/bin/sh\numask 0\nexec '{binary()}' \"$@\"\n")
    program.chmod(0o755)
    settings = {**Fake(tmp_path / "fake").settings, "output.inline_bytes": "1KiB"}
    server = serve(settings, program=program, env={"TMPDIR": str(shared)})
    session = server.api.create()
    session.wait("idle")
    assert len(session.text("print 100000")) == 100_000
    assert server.api.post("/uploads", files={"file": ("a.txt", b"mine")}).status_code == 201
    open_ones = {}
    for directory, names, files in os.walk(server.state_dir):
        # What a driver's own program makes in its directory is below a directory that is closed.
        names[:] = [name for name in names if not (Path(directory) / name).match("run/*/work")]
        for path in (Path(directory) / name for name in (*names, *files)):
            mode = stat.S_IMODE(path.lstat().st_mode)
            if mode & 0o077 and not path.is_symlink():
                open_ones[str(path.relative_to(server.state_dir))] = oct(mode)
    assert stat.S_IMODE(server.state_dir.stat().st_mode) == 0o700
    # Other users' drivers reach the socket, where they must prove themselves, through a directory which they
    # can't list, and read the agent, which has no secrets; what Python compiles of it is the driver's doing.
    others = {("link", "0o711"), ("link/link.sock", "0o666"), ("run", "0o711")}
    agents = [name for name in open_ones if name.split("/")[0] == "agent" and "__pycache__" not in name]
    assert {open_ones.pop(name) for name in agents} <= {"0o755", "0o644"}
    compiled = [name for name in open_ones if "__pycache__" in name]
    assert {(name, mode) for name, mode in open_ones.items() if name not in compiled} <= others
    assert not list(shared.iterdir())


ESCAPES = ("\x1b[2J\x1b[31m", "\x1b]0;owned\x07", "\x9b31m", "\r\nERROR forged line", "\x08\x08", "\u202e")


def test_log_injection(guarded: Server) -> None:
    """What callers send is in the log as text: no control characters, no lines of theirs (S22)."""
    api = guarded.user("alice", PASSWORD)
    for text in ESCAPES:
        raw = text.encode()
        api.create(name=None, conf={"spark.x": text}, queue=text, driverMemory=text).delete()
        api.post("/sessions", {"name": f"a{text}b"})
        api.post("/sessions", {f"field{text}": 1, "proxyUser": text, "kind": text})
        api.post("/uploads", files={"file": (f"a{text}.py", b"x")})
        api.get("/sessions/" + "".join(f"%{byte:02x}" for byte in raw))
        Api(guarded.url, auth=(f"alice{text}", text)).get("/sessions")
        api.get("/sessions", headers={"User-Agent": text.encode().replace(b"\r\n", b"")})
        with Wire(guarded.port) as wire:
            wire.socket.sendall(b"GET /" + raw + b" HTTP/1.1\r\nHost: " + raw + b"\r\n\r\n")
            wire.answer()
    log = guarded.log()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", log)
    assert not [line for line in log.splitlines() if line.startswith("ERROR")]


INSIDE = re.compile(
    r"Traceback|\bpanicked\b|\.rs:\d|/src/|RUST_BACKTRACE|sqlx|SQLITE|\bSELECT\b|\bINSERT\b|\bUPDATE \w+ SET|"
    r"actix|tokio|serde|0x[0-9a-f]{8}|at \w+(\.\w+)+\(|/root/|/home/|/proc/|\.cargo",
)
"""What tells of the inside of the server."""


def test_errors_tell_nothing_of_the_inside(guarded: Server) -> None:
    """Requests that fail in each way that there is (S24). The fuzz run looks at all of its answers."""
    api = guarded.user("alice", PASSWORD)
    session = api.create()
    session.wait("idle")
    at = session.path
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/sessions/4242", {}),
        ("GET", "/sessions/x%00y", {}),
        ("GET", "/sessions?from=x", {}),
        ("GET", f"{at}/statements/99", {}),
        ("GET", f"{at}/statements/x", {}),
        ("GET", f"{at}/statements/0/result?format=xml", {}),
        ("POST", f"{at}/statements", {"data": b"{"}),
        ("POST", f"{at}/statements", {"data": b"\xff\xfe"}),
        ("POST", f"{at}/statements", {"json": {"code": 1, "kind": "x"}}),
        ("POST", f"{at}/statements", {"data": b"[" * 100_000}),
        ("POST", "/sessions", {"json": {"conf": {"spark.master": "x"}}}),
        ("POST", "/sessions", {"json": {"files": ["../../etc/passwd"]}}),
        ("POST", "/sessions", {"json": {"files": ["upload://x/y"]}}),
        ("POST", "/sessions", {"json": {"ttl": "x"}}),
        ("POST", "/sessions", {"data": b"x", "headers": {"Content-Encoding": "gzip"}}),
        ("POST", "/batches", {"json": {"file": "/nowhere"}}),
        ("POST", "/uploads", {"data": b"x", "headers": {"Content-Type": "multipart/form-data"}}),
        ("POST", "/uploads", {"files": {"file": ("../x", b"x")}}),
        ("POST", f"{at}/submit-job", {"json": {"job": "!", "jobType": "pyspark"}}),
        ("POST", f"{at}/completion", {"json": {"code": "x", "cursor": -1}}),
        ("DELETE", "/uploads/x", {}),
        ("PUT", "/sessions", {}),
        ("GET", "/sessions", {"headers": {"Host": "x y"}}),
        ("GET", "/sessions", {"headers": {"Accept": "application/vnd.livy.v9+json"}}),
    ]
    statuses = set()
    for method, path, more in asked:
        answer = api.request(method, path, **more)
        statuses.add(answer.status_code)
        assert 400 <= answer.status_code < 500, (method, path, answer.status_code, answer.text)
        found = INSIDE.search(answer.text)
        assert not found, (method, path, answer.text)
        assert str(guarded.home) not in answer.text
    assert {400, 404, 405} <= statuses
    session.delete()


PAYLOADS = (
    "' OR '1'='1",
    "1; DROP TABLE sessions",
    "1' UNION SELECT name, value FROM server --",
    '" OR ""="',
    "1 OR 1=1",
    "0x30",
    "1e0",
    "0.0",
    "+0",
    " 0",
    "0 ",
    "\u0660",
    "%",
    "_",
    "NULL",
    "true",
    "[]",
    "-0",
    "00",
    "0--",
    "0/**/",
    "char(48)",
    "' || (SELECT value FROM server) || '",
    "\\' OR 1=1 --",
)


def test_sql_injection(guarded: Server) -> None:
    """On every id, name, cursor and query that there is: what is no number is none, and what is a name finds
    nothing but itself (S20)."""
    from urllib.parse import quote

    api = guarded.user("alice", PASSWORD)
    session = api.create(name="mine")
    session.wait("idle")
    session.run("ledger x")
    before = api.get("/sessions").json()
    found = []
    for payload in PAYLOADS:
        text = quote(payload, safe="")
        for path in (
            f"/sessions/{text}",
            f"/sessions/{text}/state",
            f"/sessions/{session.id}/statements/{text}",
            f"/sessions/{session.id}/jobs/{text}",
            f"/batches/{text}",
            f"/history/{text}",
            f"/history/{session.id}/statements/{text}",
            f"/uploads/{text}",
            f"/sessions?from={text}&size={text}",
            f"/sessions?order={text}",
            f"/history?from={text}",
            f"/sessions/{session.id}/statements?from={text}&size={text}",
            f"/sessions/{session.id}/log?from={text}",
            f"/sessions/{session.id}/statements/0/output?from={text}",
            f"/sessions/{session.id}/statements/0/result?format={text}",
        ):
            answer = api.get(path)
            assert answer.status_code in (200, 400, 404, 409), (path, answer.status_code, answer.text)
            told = INSIDE.search(answer.text)
            assert not told or told.group() in payload, (path, answer.text)
            if answer.status_code == 200 and "/sessions/" in path and path.endswith(text):
                found.append((payload, path))
        for body in (
            {"name": payload},
            {"name": payload, "kind": payload},
            {"queue": payload, "ttl": payload},
        ):
            made = api.post("/sessions", body, headers={"Idempotency-Key": payload.encode().strip()})
            assert made.status_code in (201, 400, 422), (body, made.text)
            if made.status_code == 201:
                api.delete(f"/sessions/{made.json()['id']}")
    # Java's way of reading numbers takes a sign and zeros.
    assert {payload for payload, _ in found} <= {"-0", "+0", "00"}, found
    # Those that live are as before.
    after = [shown for shown in api.get("/sessions").json()["sessions"] if shown["state"] == "idle"]
    assert [shown["id"] for shown in after] == [shown["id"] for shown in before["sessions"]]
    assert session.text("ledger y") == "y"
    session.delete()
