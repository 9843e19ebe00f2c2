"""The server as a service of its host: who may start, what systemd hands in and is told, how it ends."""

from __future__ import annotations

import configparser
import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest
from harness import processes
from harness.server import ROOT, failpoints_binary
from harness.service import Notices, Unit, listening
from harness.stub import Stub
from harness.wire import Wire

FAILPOINTS = Path(
    os.environ.get("FIRESTEEL_TEST_FAILPOINTS_BIN") or ROOT / "target/debug/firesteel-failpoints"
)
JSON = "Content-Type: application/json"
QUICK = 1.0


@pytest.fixture
def unit(make_stub: Callable[..., Stub]) -> Iterator[Callable[..., Unit]]:
    """Services that are ended with the test, whatever becomes of it, with their drivers."""
    made: list[Unit] = []
    stub = make_stub()

    def make(settings: dict | None = None, **more) -> Unit:
        made.append(
            Unit({**stub.settings, "shutdown.sessions": "end", **(settings or {})}, stub=stub, **more)
        )
        return made[-1]

    yield make
    for one in made:
        one.clean()


# --- Who may start ---


def test_second_server_is_refused(unit) -> None:
    """In one line that names the first one; once that has gone, however it went, the next one starts."""
    first = unit().start()
    second = unit()
    second.state_dir = first.state_dir
    line, took = second.refused()
    assert f"process {first.pid}, which listens on {first.url}" in line
    assert str(first.state_dir) in line
    assert took < 2
    assert first.api.get("/ping").status_code == 200
    first.end(signal.SIGKILL)
    second.start()
    assert json.loads((first.state_dir / "lock").read_text())["address"] == second.url
    line, _ = first.refused()
    assert f"process {second.pid}, which listens on {second.url}" in line
    assert second.end() == 0


def test_port_that_is_taken(unit) -> None:
    """Told at once, with the key."""
    with listening() as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line, took = unit(listen=address).refused()
    assert address in line
    assert "server.listen" in line
    assert took < QUICK


def test_long_state_directory(unit) -> None:
    """A path that is too long for a Unix socket: the link's socket is elsewhere, and drivers start."""
    one = unit()
    one.state_dir = one.home / ("x" * 120) / "state"
    one.state_dir.parent.mkdir()
    one.start()
    one.api.create()
    processes.wait_until("the driver runs", lambda: one.stub.argvs(), 20)
    assert not (one.state_dir / "link/link.sock").exists()
    assert one.end() == 0


def test_stale_socket_file(unit) -> None:
    """What a killed server left where the next one's link socket belongs is in nobody's way."""
    one = unit().start()
    one.end(signal.SIGKILL)
    link = one.state_dir / "link/link.sock"
    assert link.is_socket()
    begun = time.monotonic()
    one.start()
    assert time.monotonic() - begun < 5
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(link))
    assert one.end() == 0


# --- What is handed in ---


def test_socket_that_is_handed_in(unit) -> None:
    """It is served, `server.listen` is not bound, and no driver learns of what was handed in."""
    given = listening()
    with listening() as taken:
        one = unit(
            sockets=[given],
            listen=f"127.0.0.1:{taken.getsockname()[1]}",
            env={"LISTEN_FDNAMES": "firesteel.socket"},
        ).start()
    assert one.port == given.getsockname()[1]
    assert one.api.get("/ping").status_code == 200
    assert "handed in" in one.log()
    session = one.api.create()
    (environ,) = processes.wait_until("the driver runs", lambda: one.stub.environs(), 20)
    assert not [name for name in environ if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_"))]
    (keeper,) = one.keepers()
    held = {str(entry.readlink()) for entry in Path(f"/proc/{keeper.pid}/fd").iterdir()}
    inode = os.fstat(given.fileno()).st_ino
    assert f"socket:[{inode}]" not in held
    session.delete()
    assert one.end() == 0


def test_what_can_not_be_handed_in(unit) -> None:
    """Two sockets, one that does not listen, one of another kind: each is told in a line."""
    line, _ = unit(sockets=[listening(), listening()]).refused()
    assert "2 sockets were handed in" in line
    idle = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    idle.bind(("127.0.0.1", 0))
    line, _ = unit(sockets=[idle]).refused()
    assert "does not listen" in line
    local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    local.bind("")
    local.listen(1)
    line, _ = unit(sockets=[local]).refused()
    assert "no internet socket" in line
    line, _ = unit(sockets=[socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]).refused()
    assert "no stream socket" in line


def test_handed_in_socket_is_not_exposed(unit) -> None:
    """The rule for `server.listen` holds for the real address too."""
    line, _ = unit(sockets=[listening("0.0.0.0")]).refused()
    assert "0.0.0.0" in line
    assert "access.mode" in line


# --- What systemd is told ---


def test_notices(unit, tmp_path: Path) -> None:
    """Ready once it serves, alive at half of the watchdog's time, stopping at SIGTERM."""
    with Notices(tmp_path) as notices:
        env = {"NOTIFY_SOCKET": str(notices.path), "WATCHDOG_USEC": "600000"}
        one = unit(env=env)
        one.spawn()
        notices.wait("READY=1")
        assert notices.lines.index("STATUS=taking sessions back") < notices.lines.index("READY=1")
        (status,) = [line for line in notices.lines if line.startswith("STATUS=listening")]
        one.listens()
        assert f"listening on 127.0.0.1:{one.port}; sessions taken back: 0; Spark" in status
        assert one.api.get("/readiness").status_code == 200
        for _ in range(4):
            assert notices.wait("WATCHDOG=1", 5) < 0.6 * 8
        one.process.send_signal(signal.SIGTERM)
        notices.wait("STOPPING=1", 5)
        assert one.wait(10) == 0
        assert not [line for line in notices.lines + notices.drain() if "trigger" in line]


def test_wedged_worker_is_not_told_alive(unit, tmp_path: Path) -> None:
    """A worker that hangs takes requests with it: systemd hears nothing meanwhile, and the log says why."""
    with Notices(tmp_path) as notices:
        env = {
            "NOTIFY_SOCKET": str(notices.path),
            "WATCHDOG_USEC": "400000",
            # Some rounds of questions, then a worker sleeps over the next.
            "FAILPOINTS": "http.worker=8*off->1*sleep(3000)->off",
        }
        one = unit(
            {"server.workers": 2}, env=env, program=failpoints_binary(), allowed=("does not answer",)
        ).start()
        notices.wait("READY=1")
        longest = max(notices.wait("WATCHDOG=1", 10) for _ in range(12))
        assert 2.5 < longest < 5
        assert "an HTTP worker does not answer" in one.log()
        assert one.end() == 0


# --- How it ends ---


def test_drain(unit) -> None:
    """At SIGTERM: a request that is under way is answered, also the first of a connection that has not sent
    it yet; each answer closes its connection; new sessions are refused; nobody new is accepted."""
    given = listening()
    one = unit(sockets=[given]).start()
    body = b'{"kind": "pyspark"}'
    with Wire(one.port) as slow, Wire(one.port) as late, Wire(one.port) as idle:
        idle.send("GET /ping HTTP/1.1")
        assert idle.answer().status == 200
        slow.send("POST /sessions HTTP/1.1", JSON, f"Content-Length: {len(body)}", body=body[:5])
        # One connection after another: this one's answer says that the two before were accepted.
        assert one.api.get("/ping").status_code == 200
        one.process.send_signal(signal.SIGTERM)
        processes.wait_until("it drains", lambda: "stopping" in one.log(), 5, 0.002)
        with Wire(one.port) as new:
            new.send("GET /ping HTTP/1.1")
            late.send("GET /sessions HTTP/1.1")
            answer = late.answer()
            assert (answer.status, answer.headers.get("connection")) == (200, "close")
            slow.socket.sendall(body[5:])
            answer = slow.answer()
            assert (answer.status, answer.headers.get("connection")) == (503, "close")
            assert int(answer.headers["retry-after"]) > 0
            assert "stopping" in json.loads(answer.body)["msg"]
            assert idle.socket.recv(1) == b""
            assert one.wait(5) == 0
            one.start()
            # It has waited for this server.
            assert new.answer().status == 200
    assert one.api.sessions() == []
    assert one.end() == 0


def test_drain_is_bounded(unit) -> None:
    """A request that does not end, and a connection that never sends one, hold the server for
    `server.shutdown_grace` at most."""
    one = unit({"server.shutdown_grace": "2s", "server.body_timeout": "60s"}).start()
    with Wire(one.port) as slow, Wire(one.port):
        slow.send("POST /sessions HTTP/1.1", JSON, "Content-Length: 100", body=b"{")
        assert one.api.get("/ping").status_code == 200
        begun = time.monotonic()
        assert one.end() == 0
        assert 1.9 < time.monotonic() - begun < 4


def test_second_signal_ends_at_once(unit) -> None:
    """For those who can't wait for the drain."""
    one = unit({"server.shutdown_grace": "60s", "server.body_timeout": "60s"}).start()
    with Wire(one.port) as slow:
        slow.send("POST /sessions HTTP/1.1", JSON, "Content-Length: 100", body=b"{")
        assert one.api.get("/ping").status_code == 200
        one.process.send_signal(signal.SIGTERM)
        processes.wait_until("it drains", lambda: "stopping" in one.log(), 5)
        begun = time.monotonic()
        assert one.end(signal.SIGINT) == 1
        assert time.monotonic() - begun < QUICK


def test_signals_that_end_nothing(unit) -> None:
    """SIGHUP, SIGPIPE, and a log whose reader has gone."""
    one = unit()
    reader, writer = os.pipe()
    one.start(log=writer)
    os.close(writer)
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGHUP):
        one.process.send_signal(number)
    assert one.api.get("/ping").status_code == 200
    os.close(reader)
    for _ in range(3):
        one.process.send_signal(signal.SIGHUP)
        one.api.create().delete()
    assert one.api.get("/ping").status_code == 200
    assert one.end() == 0


# --- The unit files ---


def parsed(name: str) -> configparser.ConfigParser:
    """A unit file; a setting that is there twice has its last value."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string((ROOT / "docker/systemd" / name).read_text())
    return parser


def seconds(text: str) -> float:
    """systemd's time span of one unit."""
    units = {"ms": 0.001, "s": 1, "min": 60, "h": 3600}
    number = text.rstrip("mshin")
    return float(number) * units[text[len(number) :] or "s"]


def test_unit_files() -> None:
    """What drivers, the drain and the hand-over of the socket need is set, and nothing that breaks them."""
    service = parsed("firesteel.service")["Service"]
    wanted = {
        "Type": "notify",
        "NotifyAccess": "main",
        "KillMode": "process",
        "RuntimeDirectoryPreserve": "yes",
        "Delegate": "yes",
        "Restart": "always",
        "StateDirectory": "firesteel",
        "StateDirectoryMode": "0700",
        "User": "firesteel",
        "NoNewPrivileges": "yes",
    }
    assert {name: service.get(name) for name in wanted} == wanted
    # A /tmp of its own goes with the service, and drivers that outlive it would lose theirs.
    for name in ("PrivateTmp", "PrivatePIDs", "MemoryDenyWriteExecute", "PrivateUsers", "RuntimeMaxSec"):
        assert service.get(name, "no") == "no", name
    assert seconds(service["WatchdogSec"]) >= 30
    assert seconds(service["TimeoutStopSec"]) >= 5 + 2 * 5
    assert parsed("firesteel.service")["Unit"]["Requires"] == "firesteel.socket"
    handed = parsed("firesteel.socket")["Socket"]
    assert handed["ListenStream"] == "127.0.0.1:8998"
    assert handed.get("Accept", "no") == "no"
    assert int(handed["Backlog"]) >= 1024
