"""What systemd does for a service, in Python: keep its listening socket while it is restarted, and listen to
what it tells."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import processes
from harness.api import Api
from harness.processes import Process
from harness.server import ALARM, LISTENING, START_LIMIT, STOP_LIMIT, binary, environment, toml
from harness.stub import Stub

# The child's pid is known only in the child; the shell becomes the server.
HAND_IN = 'export LISTEN_PID=$$ LISTEN_FDS=$1; shift; exec "$@"'


class Unit:
    """A service that can be started again and again on the same state directory. What is in `sockets` is
    handed in, as descriptors 3 and so on, and stays open here."""

    def __init__(
        self,
        settings: dict[str, Any],
        *,
        stub: Stub | None = None,
        sockets: list[socket.socket] | None = None,
        env: dict[str, str] | None = None,
        program: Path | None = None,
        listen: str = "127.0.0.1:0",
        allowed: tuple[str, ...] = (),
    ):
        self.home = Path(tempfile.mkdtemp(prefix="firesteel-"))
        self.state_dir = self.home / "state"
        self.log_path = self.home / "log"
        self.program = program or binary()
        self.settings = settings
        self.stub = stub
        self.sockets = sockets or []
        self.env = env or {}
        self.listen = listen
        self.allowed = allowed
        self.process: subprocess.Popen[bytes] = None  # type: ignore[assignment]
        self.url = ""

    @property
    def pid(self) -> int:
        """The server's process."""
        return self.process.pid

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rsplit(":", 1)[1])

    @property
    def api(self) -> Api:
        """A client of its own for each use."""
        return Api(self.url)

    def log(self) -> str:
        """What all the servers so far have logged."""
        return self.log_path.read_text(errors="replace")

    def spawn(self, log: int | None = None) -> None:
        """Start a server, and do not wait; its log goes to a file, or to the descriptor `log`."""
        config = self.home / "firesteel.toml"
        config.write_text(toml(self.settings))
        argv = [str(self.program), "serve", "--config", str(config), "--listen", self.listen]
        argv += ["--state-dir", str(self.state_dir)]
        handed = [one.fileno() for one in self.sockets]
        if handed:
            # The shell puts them where they belong.
            moves = "".join(f"exec {3 + at}<&{fd} {fd}<&-; " for at, fd in enumerate(handed) if fd != 3 + at)
            argv = ["bash", "-c", moves + HAND_IN, "bash", str(len(handed)), *argv]
        with self.log_path.open("ab") as file:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file if log is None else log,
                env=environment(**self.env),
                pass_fds=handed,
            )

    def listens(self) -> Unit:
        """Wait for the one line that says where it listens."""
        stdout = self.process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], START_LIMIT)
        line = stdout.readline().decode() if ready else ""
        found = LISTENING.match(line.rstrip("\n"))
        assert found, f"the server did not say that it listens, but {line!r}; its log:\n{self.log()[-4000:]}"
        self.url = found.group(1)
        return self

    def start(self, log: int | None = None) -> Unit:
        """Start a server and wait until it listens."""
        self.spawn(log)
        return self.listens()

    def refused(self, limit: float = 10.0) -> tuple[str, float]:
        """Start a server that can't start: what it says last, and after how many seconds."""
        begun = time.monotonic()
        self.spawn()
        status = self.wait(limit)
        took = time.monotonic() - begun
        assert status not in (0, -signal.SIGKILL), status
        return self.log().splitlines()[-1], took

    def wait(self, limit: float = STOP_LIMIT) -> int:
        """Wait for the server's end: its exit status."""
        status = self.process.wait(limit)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the server and wait for it: its exit status."""
        self.process.send_signal(how)
        return self.wait()

    def driver_processes(self) -> list[Process]:
        """The keepers and what they started."""
        mark = str(self.state_dir)
        others = (process for process in processes.processes() if process.pid != self.pid)
        return [process for process in others if any(mark in word for word in process.argv)]

    def keepers(self) -> list[Process]:
        """The keepers alone."""
        return [process for process in self.driver_processes() if "keeper" in process.argv]

    def clean(self) -> None:
        """End what is left of it, and check that its log holds no alarm."""
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)
        processes.kill(self.driver_processes())
        for one in self.sockets:
            one.close()
        try:
            log = self.log() if self.log_path.exists() else ""
            alarms = [line for line in log.splitlines() if ALARM.search(line)]
            alarms = [line for line in alarms if not any(listed in line for listed in self.allowed)]
            assert not alarms, "the server's log holds alarms:\n" + "\n".join(alarms[:20])
        finally:
            if os.environ.get("FIRESTEEL_TEST_KEEP"):
                print(f"kept: {self.home}")
            else:
                shutil.rmtree(self.home, ignore_errors=True)


def listening(address: str = "127.0.0.1") -> socket.socket:
    """A socket as a socket unit has it."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, 0))
    made.listen(4096)
    return made


class Notices:
    """The socket of NOTIFY_SOCKET: what a service tells, in order."""

    def __init__(self, directory: Path):
        self.path = directory / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.lines: list[str] = []

    def wait(self, line: str, limit: float = 20.0) -> float:
        """Wait for a line that begins so, from now on: how long it took."""
        begun = time.monotonic()
        while True:
            left = limit - (time.monotonic() - begun)
            self.socket.settimeout(max(left, 0.001))
            try:
                told = self.socket.recv(65536).decode().splitlines()
            except socket.timeout:
                raise AssertionError(f"not told {line!r} within {limit} s, but {self.lines}") from None
            self.lines += told
            if any(one.startswith(line) for one in told):
                return time.monotonic() - begun

    def drain(self) -> list[str]:
        """What has been told and not waited for."""
        self.socket.setblocking(False)
        found: list[str] = []
        try:
            while True:
                found += self.socket.recv(65536).decode().splitlines()
        except BlockingIOError:
            self.lines += found
            return found

    def __enter__(self) -> Notices:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        os.unlink(self.path)  # noqa: PTH108
