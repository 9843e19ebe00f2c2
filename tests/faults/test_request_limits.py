"""S30: one below each limit of a request is fine, one above is refused with its status; nothing panics."""

from __future__ import annotations

import socket
from typing import Any, Iterator

import pytest
from harness.api import Api
from harness.server import Server
from harness.spark import newest
from harness.stub import Stub

LIMITS = {
    "limits.request_body": "64KiB",
    "limits.code_bytes": "16KiB",
    "limits.query_bytes": "2KiB",
    "limits.name_bytes": 50,
    "limits.conf_keys": 20,
    "limits.list_entries": 10,
    "limits.conf_value_bytes": "2KiB",
    "limits.args_bytes": "8KiB",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with low limits."""
    stub = Stub(tmp_path_factory.mktemp("limits") / "spark")
    server = Server({**stub.settings, **LIMITS, "spark.python": newest().python})
    yield server
    server.stop()


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    """A client; what a test leaves is deleted."""
    yield server.api
    for number in server.api.ids():
        server.api.delete(f"/sessions/{number}")


def nested(levels: int) -> bytes:
    """A session's request whose unknown field is so deep, with the object around it."""
    return b'{"x": ' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def padded(size: int) -> bytes:
    """A session's request of so many bytes."""
    return b"{}".ljust(size)


CREATE: dict[str, tuple[Any, Any, int]] = {
    "body": (padded(64 << 10), padded((64 << 10) + 1), 413),
    "depth": (nested(127), nested(128), 400),
    "name": ({"name": "x" * 50}, {"name": "x" * 51}, 400),
    "name in other letters": ({"name": "é" * 25}, {"name": "é" * 25 + "x"}, 400),
    "conf": ({"conf": {f"k{n}": 1 for n in range(20)}}, {"conf": {f"k{n}": 1 for n in range(21)}}, 400),
    "conf's key": ({"conf": {"k" * 1024: 1}}, {"conf": {"k" * 1025: 1}}, 400),
    "conf's value": ({"conf": {"spark.x": "x" * 2048}}, {"conf": {"spark.x": "x" * 2049}}, 400),
    "queue": ({"queue": "x" * 2048}, {"queue": "x" * 2049}, 400),
    "an entry of jars": ({"jars": ["hdfs:///" + "x" * 2040]}, {"jars": ["hdfs:///" + "x" * 2041]}, 400),
    "files": ({"files": ["hdfs:///x"] * 10}, {"files": ["hdfs:///x"] * 11}, 400),
    "jars": ({"jars": ["hdfs:///x"] * 10}, {"jars": ["hdfs:///x"] * 11}, 400),
    "pyFiles": ({"pyFiles": ["hdfs:///x"] * 10}, {"pyFiles": ["hdfs:///x"] * 11}, 400),
    "archives": ({"archives": ["hdfs:///x"] * 10}, {"archives": ["hdfs:///x"] * 11}, 400),
}


@pytest.mark.parametrize("what", CREATE)
def test_of_a_session(api: Api, what: str) -> None:
    """Body, depth, name, conf, lists."""
    fits, over, status = CREATE[what]

    def post(body: Any) -> Any:
        return api.post("/sessions", data=body) if isinstance(body, bytes) else api.post("/sessions", body)

    assert post(fits).status_code == 201
    answer = post(over)
    assert answer.status_code == status, answer.text
    assert post(fits if what[:4] != "name" else {}).status_code == 201, "the connection is still good"


@pytest.mark.parametrize("depth", [128, 1000, 30_000])
def test_depth_in_every_field(api: Api, depth: int) -> None:
    """Too deep wherever it stands: 400, and the server lives."""
    deep = "[" * depth + "]" * depth
    for field in ("kind", "name", "conf", "jars", "driverMemory", "driverCores", "unknown"):
        answer = api.post("/sessions", data=f'{{"{field}": {deep}}}')
        assert answer.status_code == 400, (field, answer.text)
    answer = api.post("/sessions", data='{"conf": ' + '{"a": ' * depth + "1" + "}" * depth + "}")
    assert answer.status_code in (400, 413), answer.text


def test_of_a_statement(api: Api) -> None:
    """Its code, in bytes."""
    session = api.create()
    path = f"{session.path}/statements"
    for fits, over in (("x" * (16 << 10), "x" * ((16 << 10) + 1)), ("é" * (8 << 10), "é" * (8 << 10) + "x")):
        assert api.post(path, {"code": fits}).status_code == 201
        answer = api.post(path, {"code": over})
        assert answer.status_code == 413, answer.text
        assert "limits.code_bytes" in answer.json()["msg"]
    assert api.get(path).json()["total_statements"] == 2


def test_of_a_query(api: Api) -> None:
    """In bytes, as it is sent."""
    for path in ("/sessions", "/batches", "/version", "/sessions/0/log"):
        status = api.get(path).status_code
        assert api.get(f"{path}?x={'y' * (2046)}").status_code == status
        answer = api.get(f"{path}?x={'y' * (2047)}")
        assert answer.status_code == 400, answer.text
        assert "limits.query_bytes" in answer.json()["msg"]


def status_of(server: Server, request: bytes) -> int:
    """The status of what is answered to these bytes; 0 where the connection is closed without an answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as end:
        end.sendall(request)
        answer = end.makefile("rb").readline()
    return int(answer.split()[1]) if answer else 0


def get(path: str, headers: list[str]) -> bytes:
    """A request's bytes."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def test_of_headers(server: Server) -> None:
    """How many, and how long together; a path is under the same limit."""
    assert status_of(server, get("/version", [f"X-{n}: 1" for n in range(90)])) == 200
    assert status_of(server, get("/version", [f"X-{n}: 1" for n in range(200)])) in (400, 431)
    assert status_of(server, get("/version", [f"X: {'y' * (100 << 10)}"])) == 200
    assert status_of(server, get("/version", [f"X: {'y' * (200 << 10)}"])) in (400, 431)
    assert status_of(server, get(f"/{'y' * (50 << 10)}", [])) == 404
    assert status_of(server, get(f"/{'y' * (200 << 10)}", [])) in (400, 414, 431)
    assert server.api.get("/version").status_code == 200


def test_unknown_fields_are_bounded(api: Api) -> None:
    """However many a request has, its log names a few and counts the others."""
    session = api.create(**{f"{n}{'x' * 100}": 1 for n in range(500)})
    lines = [line for line in session.log() if "unknown" in line]
    assert len(lines) == 21
    assert lines[-1] == "480 further fields are unknown and were ignored."
    assert max(map(len, lines)) < 200
