"""HTTP itself: methods, headers, bodies and what hostile or odd clients send. No driver runs here."""

from __future__ import annotations

import gzip
import io
import json

import pytest
from harness import processes
from harness.api import Api
from harness.server import Server, serving
from harness.stub import Stub
from harness.wire import Wire

JSON = "Content-Type: application/json"
MIB = 2**20


def test_service_routes(stub_api: Api) -> None:
    """The routes that probes and clients ask before anything else."""
    for path in ("/ping", "/healthcheck", "/readiness", "/ui", "/metrics/ping"):
        answer = stub_api.get(path, allow_redirects=True)
        assert answer.status_code == 200, path
    assert stub_api.get("/metrics/ping").text == "pong\n"
    # Livy has no health checks registered, and says so.
    assert stub_api.get("/metrics/healthcheck").status_code in (200, 501)
    answer = stub_api.get("/history")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/json")


def test_root_answers_200(stub_api: Api) -> None:
    """W15: pylivy's probe follows redirects and wants 200."""
    answer = stub_api.get("/", allow_redirects=True)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/version", "/version/"])
def test_version_suits_the_clients(stub_api: Api, path: str) -> None:
    """W15: pylivy compares the numbers as strings and wants 0.5.0 or newer."""
    import re

    answer = stub_api.get(path)
    assert answer.status_code == 200
    version = answer.json()["version"]
    found = re.match(r"^(\d+)\.(\d+)\.(\d+)(\S*)$", version)
    assert found, version
    assert found.groups()[:3] >= ("0", "5", "0"), f"pylivy takes {version} for an old one"
    assert {type(value) for value in answer.json().values()} == {str}


@pytest.mark.parametrize("path", ["/sessions", "/version", "/ping"])
def test_head(stub_api: Api, path: str) -> None:
    """HEAD is GET without the body."""
    answer = stub_api.request("HEAD", path)
    assert answer.status_code == 200
    assert answer.content == b""


def test_head_of_what_is_not_there(stub_api: Api) -> None:
    """HEAD has GET's status."""
    assert stub_api.request("HEAD", "/sessions/4242").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/sessions", {"GET", "HEAD", "POST"}),
        ("PATCH", "/sessions/0", {"GET", "HEAD", "DELETE"}),
        ("DELETE", "/sessions", {"GET", "HEAD", "POST"}),
        ("GET", "/sessions/0/statements/0/cancel", {"POST"}),
        ("POST", "/version", {"GET", "HEAD"}),
        ("OPTIONS", "/sessions", {"GET", "HEAD", "POST"}),
    ],
)
def test_method_not_allowed(stub_api: Api, method: str, path: str, allowed: set[str]) -> None:
    """405 names what is allowed, and its body is JSON."""
    answer = stub_api.request(method, path)
    assert answer.status_code == 405
    assert {word.strip() for word in answer.headers["Allow"].split(",")} == allowed
    assert set(answer.json()) == {"msg"}


def test_method_override_is_not_followed(stub_api: Api) -> None:
    """Livy routes a POST as the method that a header names, which goes around access rules."""
    session = stub_api.create()
    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        answer = stub_api.post(session.path, headers={header: "DELETE"})
        assert answer.status_code == 405, header
    assert session.state() == "starting"


def test_trailing_slash(stub_api: Api) -> None:
    """W10: Livy's Java and Python clients create at `/sessions/`."""
    created = stub_api.post("/sessions/", {"kind": "pyspark"})
    assert created.status_code == 201
    assert created.headers["Location"] == f"/sessions/{created.json()['id']}"
    assert stub_api.get("/sessions/").status_code == 200


def test_empty_body_with_json_type(stub_api: Api) -> None:
    """W10: connect and cancel are sent without a body."""
    session = stub_api.create()
    headers = {"Content-Type": "application/json"}
    assert stub_api.post(f"{session.path}/connect", headers=headers).status_code == 200
    assert stub_api.post(f"{session.path}/statements/0/cancel", headers=headers).json() == {"msg": "canceled"}


def test_content_encoding_that_is_none(stub_api: Api) -> None:
    """W11: Livy's Java client sends `Content-Encoding: UTF-8` on each call."""
    answer = stub_api.post("/sessions", {"kind": "pyspark"}, headers={"Content-Encoding": "UTF-8"})
    assert answer.status_code == 201, answer.text


def test_expect_continue(stub_server: Server) -> None:
    """W11: the client waits for `100 Continue` before it sends the body."""
    body = b'{"kind": "pyspark"}'
    with Wire(stub_server.port) as wire:
        length = f"Content-Length: {len(body)}"
        wire.send("POST /sessions HTTP/1.1", JSON, length, "Expect: 100-continue", "Content-Encoding: UTF-8")
        assert wire.answer().status == 100
        wire.socket.sendall(body)
        assert wire.answer().status == 201


def test_compressed_request(stub_api: Api) -> None:
    """A request's body may be compressed with gzip."""
    body = gzip.compress(json.dumps({"kind": "pyspark", "name": "zipped"}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = stub_api.post("/sessions", data=body, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.json()["name"] == "zipped"


def test_compressed_garbage(stub_api: Api) -> None:
    """What is not gzip is the client's mistake."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert stub_api.post("/sessions", data=b"\x1f\x8bgarbage", headers=headers).status_code == 400


def test_big_bodies(make_stub) -> None:
    """A body over the limit is 413, whether sent as it is, in chunks, or compressed; memory stays near the
    limit (S31)."""
    limit = 4 * MIB
    zipped = io.BytesIO()
    with gzip.GzipFile(fileobj=zipped, mode="wb", compresslevel=9) as bomb:
        bomb.write(b'{"kind": "')
        for _ in range(256):
            bomb.write(b"x" * MIB)
    json_type = {"Content-Type": "application/json"}
    with serving({**make_stub().settings, "limits.request_body": "4MiB"}) as server:
        api = server.api
        assert api.post("/sessions", data=b" " * (limit - 100) + b"{}", headers=json_type).status_code == 201
        before = processes.rss_mib(server.pid)
        processes.forget_peak(server.pid)
        assert api.post("/sessions", data=b" " * (limit + 1), headers=json_type).status_code == 413
        chunks = (b" " * 65536 for _ in range(limit // 65536 + 2))
        assert api.post("/sessions", data=chunks, headers=json_type).status_code == 413
        bombed = api.post(
            "/sessions", data=zipped.getvalue(), headers={**json_type, "Content-Encoding": "gzip"}
        )
        assert bombed.status_code == 413
        assert isinstance(bombed.json(), (dict, str))
        risen = processes.rss_mib(server.pid, peak=True) - before
        assert risen <= 2 * 4 + 16, f"memory rose by {risen:.0f} MiB"
        assert len(api.sessions()) == 1


def test_slow_body_is_cut(make_stub) -> None:
    """A body that does not come within its time ends the request, and nothing is created (S28)."""
    with serving({**make_stub().settings, "server.body_timeout": "1s"}) as server, Wire(server.port) as wire:
        wire.send("POST /sessions HTTP/1.1", JSON, "Content-Length: 1000")
        assert wire.drip(b" " * 1000, 0.1, 30), "the server still waits"
        wire.socket.settimeout(10)
        answer = wire.answer()
        assert answer.status in (0, 408), answer.data
        assert server.api.sessions() == []


def test_slow_headers_are_cut(make_stub) -> None:
    """Headers have a deadline as well."""
    with serving({**make_stub().settings, "server.header_timeout": "1s"}) as server, Wire(
        server.port
    ) as wire:
        wire.socket.sendall(b"GET /sessions HTTP/1.1\r\n")
        assert wire.drip(b"X-Slow: " + b"x" * 1000, 0.1, 30), "the server still waits"
        wire.socket.settimeout(10)
        assert wire.answer().status in (0, 408)


def test_huge_headers(stub_server: Server) -> None:
    """Refused, and the server goes on."""
    with Wire(stub_server.port) as wire:
        wire.send("GET /sessions HTTP/1.1", "X-Big: " + "x" * 300_000)
        assert wire.answer().status in (0, 400, 431)
    assert stub_server.api.get("/ping").status_code == 200


@pytest.mark.parametrize("path", ["/sessions", "/ping", "/", "/version", "/no/such/path"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8998", "127.0.0.1.evil.example", "localhost.evil"]
)
def test_foreign_host(stub_server: Server, host: str, path: str) -> None:
    """A name that is not this server's is DNS rebinding: 421 on every route."""
    with Wire(stub_server.port) as wire:
        wire.send(f"GET {path} HTTP/1.1", host=host)
        assert wire.answer().status == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST:8998"])
def test_own_host(stub_server: Server, host: str) -> None:
    """Loopback's own names are served, on whatever port a tunnel gave them."""
    with Wire(stub_server.port) as wire:
        wire.send("GET /sessions HTTP/1.1", host=host)
        assert wire.answer().status == 200


def test_further_hosts(make_stub) -> None:
    """`server.hosts` names further ones."""
    with serving({**make_stub().settings, "server.hosts": ["spark.example.com"]}) as server:
        for host, status in (("spark.example.com", 200), ("other.example.com", 421), ("localhost", 200)):
            with Wire(server.port) as wire:
                wire.send("GET /sessions HTTP/1.1", host=host)
                assert wire.answer().status == status, host


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1.evil.example", "https://localhost.evil"]
)
@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded"]
)
def test_foreign_origin(stub_api: Api, origin: str, content_type: str) -> None:
    """A page of another site changes nothing (S2), whatever type its body claims."""
    session = stub_api.create()
    headers = {"Origin": origin, "Content-Type": content_type}
    assert stub_api.post("/sessions", data='{"kind": "pyspark"}', headers=headers).status_code == 403
    assert (
        stub_api.post(f"{session.path}/statements", data='{"code": "1"}', headers=headers).status_code == 403
    )
    assert stub_api.delete(session.path, headers=headers).status_code == 403
    assert [found["id"] for found in stub_api.sessions()] == [session.id]
    answer = stub_api.get("/sessions", headers=headers)
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_own_origin(stub_server: Server, stub_api: Api) -> None:
    """The server's own page may."""
    answer = stub_api.post("/sessions", {"kind": "pyspark"}, headers={"Origin": stub_server.url})
    assert answer.status_code == 201


def test_csrf_key(make_stub) -> None:
    """W18: off by default; when it is on, any value of X-Requested-By will do."""
    with serving({**make_stub().settings, "access.csrf": True}) as server:
        api = server.api
        refused = api.post("/sessions", {"kind": "pyspark"})
        assert refused.status_code == 400
        assert "Missing Required Header for CSRF protection." in refused.text
        assert api.get("/sessions").json()["total"] == 0
        key = {"X-Requested-By": "anything"}
        created = api.post("/sessions", {"kind": "pyspark"}, headers=key)
        assert created.status_code == 201
        assert api.delete(created.headers["Location"]).status_code == 400
        assert api.delete(created.headers["Location"], headers=key).status_code == 200


def test_base_path(make_stub) -> None:
    """Below a reverse proxy's path every route and Location has it."""
    with serving({**make_stub().settings, "server.base_path": "/firesteel"}) as server:
        api = server.api
        assert api.get("/firesteel/sessions").status_code == 200
        assert api.get("/firesteel/ping").status_code == 200
        created = api.post("/firesteel/sessions", {"kind": "pyspark"})
        assert created.headers["Location"] == f"/firesteel/sessions/{created.json()['id']}"
        assert api.get(created.headers["Location"]).status_code == 200
        assert api.get("/firesteel", allow_redirects=True).status_code == 200
        assert api.get("/sessions").status_code == 404


@pytest.mark.parametrize("believed", [True, False])
def test_forwarded_prefix(make_stub, believed: bool) -> None:
    """X-Forwarded-Prefix is put before Location where the configuration says that a proxy sets it."""
    with serving({**make_stub().settings, "server.forwarded": believed}) as server:
        created = server.api.post("/sessions", {"kind": "pyspark"}, headers={"X-Forwarded-Prefix": "/spark"})
        prefix = "/spark" if believed else ""
        assert created.headers["Location"] == f"{prefix}/sessions/{created.json()['id']}"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/vnd.livy.v0.1+json", 200),
        ("application/vnd.livy.v9.9+json", 406),
        ("application/json", 200),
        ("text/html", 200),
        ("*/*", 200),
        ("nonsense", 200),
    ],
)
def test_accept_chooses_the_version(stub_api: Api, accept: str, status: int) -> None:
    """As in Livy: an unknown version of its own media type is refused, all else gets the newest."""
    answer = stub_api.get("/sessions", headers={"Accept": accept})
    assert answer.status_code == status
    if status == 406:
        assert answer.json() == {"msg": "No value found for '9.9'"}


def test_no_such_paths(stub_api: Api) -> None:
    """404s without a body, as in Livy: an unknown top-level path, an unknown part of a session."""
    session = stub_api.create()
    for path in ("/nothing", f"{session.path}/nope"):
        answer = stub_api.get(path)
        assert (answer.status_code, answer.content) == (404, b""), path


def test_security_headers(stub_api: Api) -> None:
    """On each answer, the page's and the API's."""
    for path in ("/", "/sessions", "/nothing"):
        answer = stub_api.get(path, allow_redirects=True)
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert answer.headers["X-Frame-Options"] in ("SAMEORIGIN", "DENY"), path
        assert "default-src" in answer.headers["Content-Security-Policy"], path
        assert "unsafe-inline" not in answer.headers["Content-Security-Policy"], path


def test_pipelined_garbage(stub_server: Server) -> None:
    """What is no HTTP gets 400 or a closed connection."""
    with Wire(stub_server.port) as wire:
        wire.socket.sendall(b"\x00\x01\x02\x03 nonsense\r\n\r\n")
        assert wire.answer().status in (0, 400)
    assert stub_server.api.get("/ping").status_code == 200


def test_default_start_is_loopback(stub_home: Stub) -> None:
    """Without authentication, an address that others can reach is refused with the reason."""
    from harness.server import command

    ended = command("serve", "--listen", "0.0.0.0:0", "--set", f"spark.home={stub_home.home}")
    assert ended.returncode not in (0, -9)
    assert "access.mode" in ended.stderr
    assert "0.0.0.0" in ended.stderr
    assert ended.stdout == ""
