"""Start the real binary on a free port with a state directory of its own, and end it so that nothing is
left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from harness import processes
from harness.api import Api
from harness.processes import Process

ROOT = Path(__file__).resolve().parent.parent.parent
LISTENING = re.compile(r"^firesteel listening on (https?://\S+)$")
UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# What the server's log must not hold unless a test lists it.
ALARM = re.compile(r"\bERROR\b|\"level\": ?\"ERROR\"|panicked at")
START_LIMIT = 60.0
STOP_LIMIT = 60.0
ELSEWHERE: dict[str, Any] | None = json.loads(os.environ.get("FIRESTEEL_TEST_ELSEWHERE") or "null")
"""The cluster on which drivers run whose test asks for a local master: `settings` and `environment`
(tests/clusters/test_conformance.py)."""


def binary() -> Path:
    """The server under test: FIRESTEEL_TEST_BIN, or what `cargo build` made."""
    path = Path(os.environ.get("FIRESTEEL_TEST_BIN") or ROOT / "target/debug/firesteel")
    assert path.is_file(), f"{path} is missing: run 'cargo build', or set FIRESTEEL_TEST_BIN"
    return path


def failpoints_binary() -> Path:
    """The same with the points at which it can be killed: FIRESTEEL_TEST_FAILPOINTS_BIN, or what
    `scripts/binaries.sh` made."""
    path = Path(os.environ.get("FIRESTEEL_TEST_FAILPOINTS_BIN") or ROOT / "target/debug/firesteel-failpoints")
    assert path.is_file(), f"{path} is missing: run scripts/binaries.sh, or set FIRESTEEL_TEST_FAILPOINTS_BIN"
    return path


def free_port() -> int:
    """A port of loopback that nobody has, below those that outgoing connections take."""
    while True:
        port = random.SystemRandom().randrange(15000, 30000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what would choose a Spark or configure the server."""
    hidden = ("SPARK_", "PYSPARK_", "FIRESTEEL_", "HADOOP_", "PYTHONPATH", "http_proxy", "https_proxy")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return {**kept, **more}


def everything_below(directory: Path) -> set[Path]:
    """Files and directories below one that a server and its drivers change meanwhile."""
    walked = os.walk(directory)
    return {Path(root, name) for root, directories, names in walked for name in (*directories, *names)}


def toml(settings: dict[str, Any]) -> str:
    """Dotted keys as TOML: JSON's strings, numbers, booleans and lists are TOML's too."""

    def value(this: Any) -> str:
        if isinstance(this, dict):
            return "{ " + ", ".join(f"{json.dumps(k)} = {value(v)}" for k, v in this.items()) + " }"
        if isinstance(this, (list, tuple)):
            return "[" + ", ".join(value(one) for one in this) + "]"
        return json.dumps(str(this) if isinstance(this, Path) else this)

    return "".join(f"{key} = {value(this)}\n" for key, this in settings.items())


def elsewhere(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings with what ELSEWHERE has in place of a local master, and the variables that go with them."""
    if ELSEWHERE is None or not str(settings.get("spark.master", "")).startswith("local["):
        return settings, {}
    own = dict(ELSEWHERE["settings"])
    for table in ("spark.conf", "driver.env"):
        own[table] = {**own.get(table, {}), **settings.get(table, {})}
    if own.get("spark.deploy_mode") == "cluster":
        own["link.listen"] = f"127.0.0.1:{free_port()}"
    return {**settings, **own}, ELSEWHERE["environment"]


class Server:
    """A running `firesteel serve`. `stop` ends it and checks that nothing of it is left.

    It can be killed and started again on the same state directory: `kill9`, then `start` or `restart`. With a
    `port` it has the same address each time.
    """

    def __init__(
        self,
        settings: dict[str, Any] | None = None,
        *,
        sets: dict[str, str] | None = None,
        env: dict[str, str] | None = None,
        state_dir: Path | None = None,
        allowed: tuple[str, ...] = (),
        program: Path | None = None,
        port: int = 0,
        start: bool = True,
        authority: Path | None = None,
    ):
        self.authority = authority
        # Not below pytest's own directories: a Unix socket's path has 107 bytes at most.
        self.home = Path(tempfile.mkdtemp(prefix="firesteel-"))
        self.state_dir = state_dir or self.home / "state"
        self.log_path = self.home / "log"
        self.allowed = allowed
        self.drivers: set[str] = set()
        self.starts = 0
        settings, variables = elsewhere(settings or {})
        self.env = {**variables, **(env or {})}
        config = self.home / "firesteel.toml"
        # A driver of nobody's would be found where a test looks for processes.
        own = {"shutdown.sessions": "end", "driver.class_archive": False, "driver.background_nice": 0}
        config.write_text(toml({**own, **settings}))
        self.argv = [str(program or binary()), "serve", "--config", str(config)]
        self.argv += ["--listen", f"127.0.0.1:{port}", "--state-dir", str(self.state_dir)]
        for key, value in (sets or {}).items():
            self.argv += ["--set", f"{key}={value}"]
        if start:
            self.start()

    def start(self, **env: str) -> None:
        """Start it, again on the same state directory where it has run before, and wait until it listens."""
        self.spawn(**env)
        assert self.comes_up(), f"the server ended before it listened; its log:\n{self.log()[-4000:]}"

    def forget(self) -> None:
        """Kill it, and take away all that the next one would know its drivers by: rows and directories."""
        self.kill9()
        with sqlite3.connect(self.database) as database:
            for table in ("sessions", "batches", "drivers"):
                database.execute(f"DELETE FROM {table}")
        shutil.rmtree(self.state_dir / "run")

    def comes_up(self) -> bool:
        """Wait until it listens; false when it has ended before."""
        try:
            self.url = self._listening()
        except BaseException:
            self.kill9()
            raise
        if not self.url:
            self.process.wait(START_LIMIT)
            return False
        self._drain = threading.Thread(target=self._drain_stdout, args=(self.process.stdout,), daemon=True)
        self._drain.start()
        self.api = Api(self.url, authority=self.authority)
        return True

    def start_to_die(self, **env: str) -> int:
        """Start it with something in its environment that ends it before it listens; give its status."""
        self.spawn(**env)
        if self.comes_up():
            self.kill9()
            raise AssertionError("the server was to end before it listened")
        return self.process.returncode

    def spawn(self, **env: str) -> None:
        """Start the process and wait for nothing."""
        self.starts += 1
        self.stdout: list[str] = []
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(**{**self.env, **env}),
            )

    def kill9(self) -> None:
        """As a crash or the kernel's out-of-memory killer ends it."""
        self.process.kill()
        self.process.wait()

    def discard(self, drivers: bool = True) -> None:
        """Remove what is left of a server that has ended: its directory, and its drivers unless another
        server has them."""
        if drivers:
            # A keeper may have started one more when it was looked at.
            processes.wait_until("its drivers are gone", self._kill_drivers, 30)
        shutil.rmtree(self.home, ignore_errors=True)

    def restart(self, **env: str) -> None:
        """Kill it and start it again."""
        self.kill9()
        self.start(**env)

    def _listening(self) -> str:
        """Wait for the one line that says where it listens; empty when it ends without."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_LIMIT)
        assert ready, f"the server neither listens nor ends; its log:\n{self.log()[-4000:]}"
        line = self.process.stdout.readline().decode()
        if not line:
            return ""
        found = LISTENING.match(line.rstrip("\n"))
        assert found, f"the server did not say that it listens, but {line!r}; its log:\n{self.log()[-4000:]}"
        self.stdout.append(line)
        return found.group(1)

    def _drain_stdout(self, pipe: IO[bytes]) -> None:
        said = self.stdout
        for line in pipe:
            said.append(line.decode(errors="replace"))

    @property
    def pid(self) -> int:
        """The server's process."""
        return self.process.pid

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rsplit(":", 1)[1])

    @property
    def database(self) -> Path:
        """Where the store is."""
        return self.state_dir / "firesteel.db"

    def log(self) -> str:
        """What the server has logged so far."""
        return self.log_path.read_text(errors="replace")

    def user(self, name: str, password: str) -> Api:
        """The server as a user sees it."""
        return Api(self.url, auth=(name, password), authority=self.authority)

    def bearer(self, token: str) -> Api:
        """The server as whoever has a token sees it."""
        return Api(self.url, headers={"Authorization": f"Bearer {token}"}, authority=self.authority)

    def remember_drivers(self) -> set[str]:
        """Every driver id that the server's files and processes name, so that a later look can find
        leftovers."""
        texts = [path.read_bytes() for path in self.state_dir.glob("firesteel.db*")]
        texts += [str(path).encode() for path in self.run_files()]
        texts += [" ".join(process.argv).encode() for process in self._by_state_dir()]
        texts.append(self.log_path.read_bytes())
        for text in texts:
            self.drivers |= {found.decode() for found in UUID.findall(text)}
        return self.drivers

    def _by_state_dir(self) -> list[Process]:
        mark = str(self.state_dir)
        found = (process for process in processes.processes() if process.pid != self.pid)
        return [process for process in found if any(mark in word for word in process.argv)]

    def driver_processes(self, driver: str | None = None) -> list[Process]:
        """The keepers, drivers, agents, interpreters and what they started: of one driver, or of this
        server."""
        self.remember_drivers()
        wanted = {driver} if driver else self.drivers
        found = {process.pid: process for process in self._by_state_dir()} if driver is None else {}
        for process in processes.processes():
            if process.environ.get("FIRESTEEL_DRIVER_ID") in wanted:
                found[process.pid] = process
        return list(found.values())

    def _kill_drivers(self) -> bool:
        """End them; whether there were none."""
        left = self.driver_processes()
        processes.kill(left)
        return not left

    def running_drivers(self) -> set[str]:
        """The ids of the drivers that have processes."""
        found = {process.environ.get("FIRESTEEL_DRIVER_ID") for process in self.driver_processes()}
        return {driver for driver in found if driver}

    def open_to_others(self, path: Path) -> bool:
        """Whether another user may read a file of the state directory, or look into a directory of it."""
        inside = [
            one for one in (path, *path.parents) if one == self.state_dir or self.state_dir in one.parents
        ]
        return not any(one.stat().st_mode & 0o077 == 0 for one in inside)

    def run_files(self) -> list[Path]:
        """What lies in the run directory, where every driver has its own."""
        found = []
        # Which may vanish while one looks: os.walk does not mind.
        for directory, directories, files in os.walk(self.state_dir / "run"):
            found += [Path(directory) / name for name in (*directories, *files)]
        return sorted(found)

    def stop(self) -> None:
        """SIGTERM, then check: it ends well, no process is left, and its log holds no alarm."""
        with contextlib.suppress(Exception):
            self.remember_drivers()
        left: list[Process] = []
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(
                    f"the server did not end on SIGTERM; its log:\n{self.log()[-4000:]}"
                ) from None
            finally:
                with contextlib.suppress(AssertionError):
                    processes.wait_until("no process is left", lambda: not self.driver_processes(), 10)
                left = self.driver_processes()
                processes.kill(left)
            self._drain.join(10)
            log = self.log()
            alarms = [line for line in log.splitlines() if ALARM.search(line)]
            alarms = [line for line in alarms if not any(re.search(listed, line) for listed in self.allowed)]
            assert status == 0, f"the server ended with {status}; its log:\n{log[-4000:]}"
            assert not left, "processes are left:\n" + "\n".join(map(str, left))
            assert not alarms, "the server's log holds alarms:\n" + "\n".join(alarms[:20])
            assert len(self.stdout) == 1, f"more than the listening line on standard output: {self.stdout}"
        finally:
            if os.environ.get("FIRESTEEL_TEST_KEEP"):
                print(f"kept: {self.home}")
            else:
                shutil.rmtree(self.home, ignore_errors=True)


@contextlib.contextmanager
def serving(settings: dict[str, Any] | None = None, **more: Any):
    """A server for the length of a block."""
    server = Server(settings, **more)
    try:
        yield server
    finally:
        server.stop()


def command(
    *argv: str, stdin: str | None = None, limit: float = 60.0, **env: str
) -> subprocess.CompletedProcess:
    """Run another subcommand of the binary."""
    return subprocess.run(
        [str(binary()), *argv],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=limit,
        env=environment(**env),
        check=False,
    )
