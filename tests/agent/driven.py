"""A real agent that a real spark-submit started, and the server's side of its link."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

from harness.spark import SHORT_LIVED
from peer import Peer

AGENT = Path(__file__).resolve().parents[2] / "agent" / "main.py"
DEFAULT_CONF = {
    "spark.master": "local[2]",
    "spark.ui.enabled": "false",
    "spark.app.name": "firesteel-test",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.executor.extraJavaOptions": SHORT_LIVED,
}


class Result:
    """A `result` frame and what came with it."""

    def __init__(self, header, body):
        self.header = header
        self.state = header["state"]
        self.raw = body
        self.output = json.loads(body, parse_constant=_no_constant) if body else None

    @property
    def text(self):
        assert self.output["status"] == "ok", self.output
        return self.output["data"]["text/plain"]


def _no_constant(name):
    raise ValueError(f"{name} is not JSON")


def spark_home(python):
    """The SPARK_HOME of an environment that has pyspark."""
    code = "import os, pyspark; print(os.path.dirname(pyspark.__file__))"
    return subprocess.run([python, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Driver(Peer):
    """A driver with a server's side of its link."""

    def __init__(self, spark_python, conf=None, env=None, **agent_json):
        super().__init__()
        self.next_statement = 0
        self._start(spark_python, conf or {}, env or {}, agent_json)

    def _start(self, spark_python, conf, env, agent_json):
        (self.dir / "secret").write_text(self.secret)
        given = {
            "driver": self.id,
            "socket": self.path,
            "secret_file": str(self.dir / "secret"),
            "python": spark_python,
            "kind": "pyspark",
            "output_max_bytes": 1 << 20,
            "sql_max_rows": 1000,
            "interrupt_again_ms": 1000,
            "cancel_grace_ms": 2000,
            "max_frame": 64 << 20,
            "orphan_grace_ms": 600_000,
        }
        given.update(agent_json)
        self.limit = given["output_max_bytes"]
        (self.dir / "agent.json").write_text(json.dumps(given))
        home = spark_home(spark_python)
        argv = [f"{home}/bin/spark-submit"]
        for key, value in {**DEFAULT_CONF, **conf}.items():
            argv += ["--conf", f"{key}={value}"]
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PYSPARK_", "SPARK_"))},
            "SPARK_HOME": home,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": spark_python,
            "PYSPARK_DRIVER_PYTHON": spark_python,
            "SPARK_SUBMIT_OPTS": f"-Xss4m {SHORT_LIVED}",
            "SPARK_LAUNCHER_OPTS": SHORT_LIVED,
            "FIRESTEEL_DRIVER_ID": self.id,
            "FIRESTEEL_KEEPER_PID": str(os.getpid()),
            **env,
        }
        with (self.dir / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*argv, str(AGENT), str(self.dir)],
                env=environment,
                cwd=self.dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    # What tests ask

    def wait(self, kind, timeout=90, **fields):
        """The first frame of that type with those fields; fails when the driver ends first."""
        deadline = time.monotonic() + timeout
        with self.changed:
            while True:
                for header, body in self.frames:
                    if header["type"] == kind and all(header.get(k) == v for k, v in fields.items()):
                        return header, body
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and left > 1):
                    raise AssertionError(f"no {kind} {fields}; log:\n{self.log()[-6000:]}")
                self.changed.wait(min(left, 0.5))

    def ready(self):
        return self.wait("ready")[0]

    def submit(self, code, kind="pyspark"):
        """Send a statement and return its id."""
        number, self.next_statement = self.next_statement, self.next_statement + 1
        self.send({"type": "run", "id": number, "kind": kind}, code.encode("utf-8", "surrogatepass"))
        return number

    def result(self, number, timeout=60):
        return Result(*self.wait("result", timeout, id=number))

    def result_now(self, number):
        """The result, if it has come."""
        with self.changed:
            found = [
                frame for frame in self.frames if frame[0]["type"] == "result" and frame[0]["id"] == number
            ]
        return Result(*found[0]) if found else None

    def submit_after(self, number, code):
        """Send a statement the moment the result of another has come, as the server does."""
        self.result(number)
        return self.submit(code)

    def run(self, code, kind="pyspark", timeout=60):
        return self.result(self.submit(code, kind), timeout)

    def started(self, number):
        return self.wait("started", 30, id=number)[0]

    def cancel(self, number):
        self.send({"type": "cancel", "id": number})

    def complete(self, code, cursor=None, kind="pyspark"):
        request = secrets.token_hex(4)
        cursor = len(code) if cursor is None else cursor
        self.send({"type": "complete", "request": request, "kind": kind, "cursor": cursor}, code.encode())
        return json.loads(self.wait("completion", 30, request=request)[1])

    def wait_until(self, condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"it did not happen in time; log:\n{self.log()[-3000:]}"
            time.sleep(0.02)

    def wait_log(self, text, seconds=30):
        self.wait_until(lambda: text in self.log(), seconds)

    def restart_interpreter(self):
        """Kill the interpreter; what runs next runs in a new one."""
        pid = self.interpreter_pid()
        os.kill(pid, signal.SIGKILL)
        self.wait_until(lambda: not Path(f"/proc/{pid}").exists())

    def notices(self):
        return [header["text"] for header, _body in self.frames if header["type"] == "notice"]

    def log(self):
        return (self.dir / "log").read_text(errors="replace")

    def processes(self):
        """The pids of all living processes that carry the driver's id in their environment."""
        mark, found = f"FIRESTEEL_DRIVER_ID={self.id}".encode(), []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def agent_pid(self):
        return self.ready()["pid"]

    def interpreter_pid(self):
        agent = self.agent_pid()
        children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
        return int(children[-1])

    def close(self):
        """End everything, by force where it must be."""
        if self.process.poll() is None:
            self.send({"type": "stop"})
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.go_away()
        shutil.rmtree(self.dir, ignore_errors=True)
