"""Ours and its peers: each object's call is one round trip."""

from __future__ import annotations

import contextlib
import functools
import json
import secrets
import socket
import struct
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any, Iterator, Sequence
from urllib.parse import urlsplit

from common import MASTER, ROOT
from harness.api import Api
from harness.processes import wait_until
from harness.server import environment, free_port
from harness.spark import Spark
from harness.volume import Connection

CODE = "1 + 1"
START_LIMIT = 300.0
"""Seconds until a peer has started."""


class Kept:
    """Whose connection begins with the first request: one that sends nothing is closed."""

    port: int

    @functools.cached_property
    def connection(self) -> Connection:
        """Stays open."""
        return Connection(self.port)


class OverHttp(Kept):
    """A statement over one kept connection: the POST brings the result when it is quick, else a GET does."""

    def __init__(
        self,
        port: int,
        path: str,
        code: str = CODE,
        kind: str = "pyspark",
        shows: str = "2",
        name: str = "firesteel",
    ):
        self.name = name
        self.port = port
        self.path = f"{path}/statements"
        self.asked = {"code": code, "kind": kind}
        self.shows = shows.encode()
        self.asked_again = 0

    def __call__(self) -> None:
        answer = self.connection.request("POST", self.path, self.asked)
        statement = answer.json()
        while statement["state"] != "available":
            self.asked_again += 1
            answer = self.connection.request("GET", f"{self.path}/{statement['id']}")
            statement = answer.json()
        assert statement["output"]["status"] == "ok", statement
        assert self.shows in answer.body, answer

    def close(self) -> None:
        """End the connection."""
        self.connection.close()


class Child:
    """A process that answers lines over pipes: a line goes in, and one comes back that ends in `shows`."""

    def __init__(self, name: str, argv: Sequence[str], line: str, shows: str, home: str = "/", **env: str):
        self.name, self.line, self.shows = name, line.encode() + b"\n", shows.encode() + b"\n"
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(**env),
            cwd=home,
        )

    def __call__(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(self.line)
        self.process.stdin.flush()
        while not (answer := self.process.stdout.readline()).endswith(self.shows):
            assert answer, f"{self.name} ended"

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(START_LIMIT)


def python_shell() -> Child:
    """A bare interactive Python."""
    return Child("python -i over pipes", [sys.executable, "-u", "-i", "-q"], CODE, "2")


def bare_spark(spark: Spark, statement: str, shows: str) -> Child:
    """A PySpark script that evaluates an expression of `spark` for each line."""
    source = (
        "import sys\nfrom pyspark.sql import SparkSession\n"
        f"spark = SparkSession.builder.master({MASTER!r}).config('spark.ui.enabled', 'false').getOrCreate()\n"
        "for line in sys.stdin: print(eval(line), flush=True)"
    )
    env = {"SPARK_LOCAL_IP": "127.0.0.1"}
    return Child("bare PySpark", [spark.python, "-c", source], statement, shows, **env)


# ---- The floor: no less is possible

EXEC_LOOP = """
import json, socket, struct, sys
end, names = socket.socket(fileno=int(sys.argv[1])), {}
while head := end.recv(4, socket.MSG_WAITALL):
    code = json.loads(end.recv(struct.unpack("<I", head)[0], socket.MSG_WAITALL))["code"]
    told = json.dumps({"status": "ok", "data": repr(eval(compile(code, "cell", "eval"), names))}).encode()
    end.sendall(struct.pack("<I", len(told)) + told)
"""


class ExecLoop:
    """A bare loop in another Python that evaluates what comes over a socket pair, and nothing else."""

    name = "bare exec loop"

    def __init__(self) -> None:
        self.end, other = socket.socketpair()
        argv = [sys.executable, "-I", "-S", "-c", EXEC_LOOP, str(other.fileno())]
        self.process = subprocess.Popen(argv, pass_fds=[other.fileno()])
        other.close()
        asked = json.dumps({"code": CODE}).encode()
        self.frame = struct.pack("<I", len(asked)) + asked

    def __call__(self) -> None:
        self.end.sendall(self.frame)
        (length,) = struct.unpack("<I", self.end.recv(4, socket.MSG_WAITALL))
        assert json.loads(self.end.recv(length, socket.MSG_WAITALL))["data"] == "2"

    def close(self) -> None:
        """End it."""
        self.end.close()
        self.process.wait(30)


class Floor(Kept, ExecLoop):
    """The loop and two HTTP exchanges that do nothing, which a server between must cost at least."""

    name = "floor: exec loop, 2 HTTP exchanges"

    def __init__(self, port: int, path: str):
        super().__init__()
        self.port = port
        self.path = path

    def __call__(self) -> None:
        super().__call__()
        for _ in range(2):
            assert self.connection.request("GET", self.path).status == 200

    def close(self) -> None:
        """End both."""
        self.connection.close()
        super().close()


BARE_ACTIX = ROOT / "target/release/examples/bare_actix"
"""The peer of `gets.py`: `bare_actix WORKERS BODY_FILE` says where it listens, and answers with the file."""


@contextlib.contextmanager
def bare_http(api: Api, path: str) -> Iterator[tuple[int, str]]:
    """A port and a path that are answered as cheaply as can be: bare actix with the same body, or the server
    itself where that is not built."""
    if not BARE_ACTIX.is_file():
        print("  bare actix: skipped, gets.py builds it; the floor's exchanges are the server's own")
        yield urlsplit(api.url).port or 80, path
        return
    with tempfile.NamedTemporaryFile() as body:
        Path(body.name).write_bytes(api.get(path).content)
        process = subprocess.Popen([str(BARE_ACTIX), "2", body.name], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().rpartition(":")[2]), "/sessions/0/statements/0"
        finally:
            process.terminate()
            process.wait()


def listens(port: int) -> bool:
    """Whether a port of loopback takes connections."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


# ---- Jupyter


class Kernel:
    """A real ipykernel over jupyter_client: until its result and its reply are there."""

    name = "ipykernel"

    def __init__(self) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(stderr=subprocess.DEVNULL)

    def __call__(self) -> None:
        sent = self.client.execute(CODE)
        shown = False
        while not shown:
            message = self.client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") == sent and message["msg_type"] == "execute_result":
                assert message["content"]["data"]["text/plain"] == "2"
                shown = True
        while self.client.get_shell_msg(timeout=60)["parent_header"].get("msg_id") != sent:
            pass

    def close(self) -> None:
        """End it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


class JupyterServer:
    """A kernel that jupyter-server has, made over REST and spoken to over its WebSocket."""

    name = "jupyter-server, WebSocket"

    def __init__(self) -> None:
        import requests
        import websocket

        self.home = tempfile.TemporaryDirectory()
        port, token = free_port(), secrets.token_hex(16)
        argv = [
            sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", "--ip=127.0.0.1",
            f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.home.name}",
        ]  # fmt: skip
        env = environment(JUPYTER_TOKEN=token, JUPYTER_RUNTIME_DIR=self.home.name)
        log = (Path(self.home.name) / "log").open("wb")
        self.process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
        log.close()
        wait_until("jupyter-server listens", lambda: listens(port), 60)
        headers = {"Authorization": f"token {token}"}
        self.url = f"http://127.0.0.1:{port}/api/kernels"
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers.update(headers)
        made = self.http.post(self.url, json={"name": "python3"}, timeout=60)
        assert made.status_code == 201, made.text
        self.url += "/" + made.json()["id"]
        where = self.url.replace("http", "ws", 1) + "/channels"
        self.socket = websocket.create_connection(where, header=headers, timeout=60)

    def __call__(self) -> None:
        sent = uuid.uuid4().hex
        header = {"msg_id": sent, "msg_type": "execute_request", "session": sent, "version": "5.3"}
        header["username"] = ""
        content = {"code": CODE, "silent": False, "store_history": True, "user_expressions": {}}
        content |= {"allow_stdin": False, "stop_on_error": True}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self.socket.send(json.dumps({**message, "channel": "shell", "buffers": []}))
        waiting = {"execute_result", "execute_reply"}
        while waiting:
            told: dict[str, Any] = json.loads(self.socket.recv())
            if told["parent_header"].get("msg_id") == sent:
                waiting.discard(told["msg_type"])

    def close(self) -> None:
        """End it with its kernel."""
        self.socket.close()
        self.http.delete(self.url, timeout=60)
        self.process.terminate()
        self.process.wait(60)
        self.home.cleanup()


# ---- Spark Connect

CONNECT_CLIENT = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.remote(sys.argv[1]).getOrCreate()
for line in sys.stdin: print(eval(line), flush=True)
"""
CONNECT_PYTHON = ROOT / ".venv/arrow/bin/python"


@contextlib.contextmanager
def connect_server(spark: Spark, *options: str) -> Iterator[str]:
    """A Spark Connect server of this Spark; gives its URL."""
    port = free_port()
    argv = [
        f"{spark.home}/bin/spark-submit", "--master", MASTER, *options,
        "--conf", f"spark.connect.grpc.binding.port={port}", "--conf", "spark.ui.enabled=false",
        "--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal",
    ]  # fmt: skip
    env = environment(SPARK_HOME=spark.home, SPARK_LOCAL_IP="127.0.0.1")
    process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until("Spark Connect listens", lambda: process.poll() is not None or listens(port), START_LIMIT)
        assert process.poll() is None, "Spark Connect ended"
        yield f"sc://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def connect_client(url: str, statement: str, shows: str) -> Child:
    """Its own client."""
    return Child(
        "Spark Connect", [str(CONNECT_PYTHON), "-c", CONNECT_CLIENT, url], statement, shows, home=str(ROOT)
    )
