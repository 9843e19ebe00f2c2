"""Plays the server's side of the link to a real agent that a real spark-submit started.

It is written from docs/link.md and shares no code with the agent.
"""

import contextlib
import hmac
import json
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path

AGENT = Path(__file__).resolve().parents[2] / "agent" / "main.py"
DEFAULT_CONF = {
    "spark.master": "local[2]",
    "spark.ui.enabled": "false",
    "spark.app.name": "firesteel-test",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
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


class Driver:
    """A driver with a server's side of its link. Frames of the agent are kept in `frames`, in order."""

    def __init__(self, spark_python, conf=None, env=None, **agent_json):
        self.id = str(uuid.uuid4())
        self.dir = Path(tempfile.mkdtemp(prefix="fs-agent-"))
        self.secret = secrets.token_hex(32)
        self.frames = []
        self.changed = threading.Condition()
        self.next_statement = 0
        self.sent_seq = 0
        self.unacked = []
        self.received_seq = 0
        self.connections = 0
        self.hold_acks = False
        self.refuse_connections = False
        self.connection = None
        self._lock = threading.RLock()
        self._listen()
        self._start(spark_python, conf or {}, env or {}, agent_json)

    def _listen(self):
        self.path = str(self.dir / "link.sock")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

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

    # The server's side

    def _accept(self):
        while True:
            try:
                end, _address = self.listener.accept()
            except OSError:
                return
            if self.refuse_connections:
                end.close()
                continue
            threading.Thread(target=self._serve, args=(end,), daemon=True).start()

    def _serve(self, end):
        try:
            self._hello(end)
            while True:
                header, body = _read(end)
                self._take(end, header, body)
        except (OSError, EOFError):
            end.close()

    def _hello(self, end):
        hello, _body = _read(end)
        assert hello["type"] == "hello" and hello["protocol"] == 1 and hello["driver"] == self.id
        nonce = secrets.token_hex(32)
        text = f"{self.id}\n{hello['nonce']}\n{nonce}"
        _write(
            end,
            {
                "type": "challenge",
                "nonce": nonce,
                "proof": self._proof("server", text),
                "received": self.received_seq,
                "epoch": 1,
            },
        )
        proof, _body = _read(end)
        assert proof["proof"] == self._proof("agent", text)
        with self._lock:
            _write(end, {"type": "welcome"})
            for seq, header, body in self.unacked:
                if seq > hello["received"]:
                    _write(end, header, body)
            self.connection = end
            self.connections += 1

    def _proof(self, side, text):
        message = f"firesteel-link-1\n{side}\n{text}".encode()
        return hmac.new(self.secret.encode(), message, "sha256").hexdigest()

    def _take(self, end, header, body):
        if header["type"] == "ack":
            self.unacked = [frame for frame in self.unacked if frame[0] > header["seq"]]
            return
        with self.changed:
            assert header["seq"] <= self.received_seq + 1, "a gap"
            if header["seq"] == self.received_seq + 1:
                self.received_seq += 1
                self.frames.append((header, body))
                self.changed.notify_all()
        if not self.hold_acks:
            _write(end, {"type": "ack", "seq": header["seq"]})

    def send(self, header, body=b""):
        with self._lock:
            self.sent_seq += 1
            header = dict(header, seq=self.sent_seq)
            self.unacked.append((self.sent_seq, header, body))
            if self.connection is not None:
                with contextlib.suppress(OSError):
                    _write(self.connection, header, body)

    def cut(self):
        """Break the connection, as a server does that is killed."""
        with self._lock:
            end, self.connection = self.connection, None
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

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

    def forget(self, count):
        """Lose the last frames, as a server that was killed before it stored them."""
        with self.changed:
            del self.frames[-count:]
            self.received_seq -= count

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
        self.listener.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def _read(end):
    length, header_length = struct.unpack(">II", _exactly(end, 8))
    rest = _exactly(end, length - 4)
    return json.loads(rest[:header_length]), rest[header_length:]


def _exactly(end, count):
    data = bytearray()
    while len(data) < count:
        piece = end.recv(min(1 << 20, count - len(data)))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def _write(end, header, body=b""):
    head = json.dumps(header).encode()
    end.sendall(struct.pack(">II", 4 + len(head) + len(body), len(head)) + head + body)
