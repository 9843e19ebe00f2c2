"""Sizes of what a client sends (S30, S31): what fits is taken, one more is refused with its
status, and none of it costs more memory than it has bytes."""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from typing import Callable

import pytest
from harness import processes
from harness.api import Api
from harness.server import Server
from harness.stub import Stub
from harness.wire import Wire

MIB = 2**20
HEADERS = 131_072
"""What the request line and the headers may have together."""
JSON = {"Content-Type": "application/json"}


def status(server: Server, *lines: str) -> int:
    """What is answered to these header lines."""
    with Wire(server.port) as wire:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            wire.send(*lines)
        return wire.answer().status


def test_headers(stub_server: Server) -> None:
    """Up to 96 of them with 128 kB in all; over it 431 or 400."""
    assert status(stub_server, "GET /ping HTTP/1.1", "X-Long: " + "x" * (HEADERS - 1000)) == 200
    assert status(stub_server, "GET /ping HTTP/1.1", "X-Long: " + "x" * HEADERS) == 431
    many = [f"X-{number}: y" for number in range(90)]
    assert status(stub_server, "GET /ping HTTP/1.1", *many) == 200
    assert status(stub_server, "GET /ping HTTP/1.1", *many, *many) in (400, 431)


def test_a_name_that_is_too_long(serve: Callable[..., Server], make_stub: Callable[..., Stub]) -> None:
    """actix-http 3.20 panics over the name of a header of more than 64 KiB: it costs that connection and
    nothing else, no other of the same worker. Why it is not refused before is in docs/security-tests.md."""
    server = serve(make_stub().settings, allowed=(r"panicked at .*actix-http-[^/]*/src/h1/decoder\.rs",))
    files = processes.open_files(server.pid)
    with contextlib.ExitStack() as ending:
        # Some on each of the workers.
        kept = [ending.enter_context(Wire(server.port)) for _ in range(8)]
        for number in range(50):
            assert status(server, "GET /ping HTTP/1.1", "X" * 100_000 + ": y") in (0, 400, 431)
            wire = kept[number % len(kept)]
            wire.send("GET /ping HTTP/1.1")
            assert wire.answer().status == 200
    assert {status(server, "GET /ping HTTP/1.1") for _ in range(10)} == {200}
    processes.wait_until("all is closed", lambda: processes.open_files(server.pid) <= files + 2, 10)


def test_request_line(stub_server: Server) -> None:
    """A long path and a long query are read, or refused as too long."""
    assert status(stub_server, f"GET /sessions?from={'0' * 60_000} HTTP/1.1") in (200, 400)
    for path in (
        "/sessions/" + "x" * 60_000,
        "/" * 60_000,
        "/sessions" + "/a" * 30_000,
        "/" + "%2e" * 20_000,
    ):
        assert status(stub_server, f"GET {path} HTTP/1.1") in (200, 400, 404), path[:20]
    assert status(stub_server, f"GET /sessions?{'a' * HEADERS} HTTP/1.1") in (400, 414, 431)
    assert status(stub_server, f"GET /sessions?{'&'.join(f'a{n}=1' for n in range(10_000))} HTTP/1.1") in (
        200,
        400,
    )
    assert status(stub_server, f"{'X' * 60_000} /sessions HTTP/1.1") in (400, 405)


@pytest.mark.parametrize("field", ["conf", "jars", "name", "unknown", "kind"])
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_deep_json(stub_api: Api, field: str, begin: str, end: str) -> None:
    """Deeper than 128 levels is refused, wherever it stands; a million cost no more than their bytes."""
    for depth in (200, 100_000, 1_000_000):
        body = f'{{"{field}": {begin * depth}1{end * depth}}}'
        answer = stub_api.post("/sessions", data=body, headers=JSON)
        assert answer.status_code == 400, (depth, answer.text[:200])
        assert len(answer.text) < 1000
    torn = f'{{"{field}": {begin * 500_000}'
    assert stub_api.post("/sessions", data=torn, headers=JSON).status_code == 400


def test_long_json(stub_server: Server, stub_api: Api) -> None:
    """Long keys, texts and numbers, and many of each: an answer in time, short where it refuses."""
    long = "x" * (8 * MIB)
    bodies = {
        "a long key": json.dumps({long: 1}),
        "a long name": json.dumps({"name": long}),
        "a long kind": json.dumps({"kind": long}),
        "a long number": '{"driverCores": ' + "1" * (8 * MIB) + "}",
        "a long fraction": '{"driverCores": 0.' + "1" * (8 * MIB) + "}",
        "a large exponent": '{"driverCores": 1e999999999}',
        "many keys": json.dumps({f"k{number}": number for number in range(300_000)}),
        "many conf keys": json.dumps({"conf": {f"spark.k{number}": "1" for number in range(300_000)}}),
        "many entries": json.dumps({"jars": ["a"] * 1_000_000}),
        "one key, many times": "{" + ",".join(['"kind": "spark"'] * 300_000) + "}",
        "blanks": " " * (16 * MIB) + "{}" + "\n" * MIB,
        "escapes": '{"name": "' + "\\u0000" * MIB + '"}',
    }
    before = processes.rss_mib(stub_server.pid)
    processes.forget_peak(stub_server.pid)
    for what, body in bodies.items():
        answer = stub_api.post("/sessions", data=body, headers=JSON)
        assert answer.status_code in (201, 400), (what, answer.text[:200])
        limit = 100_000 if answer.status_code == 201 else 2000
        assert len(answer.text) < limit or what in ("a long key", "many keys"), (what, len(answer.text))
        if answer.status_code == 201:
            stub_api.delete(f"/sessions/{answer.json()['id']}")
    risen = processes.rss_mib(stub_server.pid, peak=True) - before
    assert risen < 400, f"memory rose by {risen:.0f} MiB"
    assert stub_api.get("/ping").status_code == 200


def bombs() -> dict[str, tuple[str, bytes]]:
    """Small bodies that would be large: their coding and their bytes."""
    large = b'{"name": "' + b"x" * (256 * MIB)
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    zipped = gzip.compress(large, 6)
    return {
        "gzip": ("gzip", zipped),
        "x-gzip": ("x-gzip", zipped),
        "gzip, in many members": ("gzip", gzip.compress(b" " * MIB) * 1000),
        "deflate": ("deflate", zlib.compress(large, 6)),
        "deflate without a header": ("deflate", raw.compress(large) + raw.flush()),
        "gzip in gzip": ("gzip, gzip", gzip.compress(zipped)),
        "gzip that is cut": ("gzip", zipped[: len(zipped) // 2]),
        "gzip of a wrong length": ("gzip", zipped[:-4] + b"\0\0\0\0"),
        "what the server does not know": ("br", zipped),
        "zstd": ("zstd", zipped),
    }


def test_bombs(serve: Callable[..., Server], make_stub: Callable[..., Stub]) -> None:
    """Memory stays near the limit of a body, however it is packed."""
    limit = 4
    server = serve({**make_stub().settings, "limits.request_body": f"{limit}MiB"})
    before = processes.rss_mib(server.pid)
    processes.forget_peak(server.pid)
    for what, (coding, body) in bombs().items():
        answer = server.api.post("/sessions", data=body, headers={**JSON, "Content-Encoding": coding})
        assert answer.status_code in (400, 413), (what, answer.text[:200])
    risen = processes.rss_mib(server.pid, peak=True) - before
    assert risen <= 2 * limit + 16, f"memory rose by {risen:.0f} MiB"
    assert server.api.sessions() == []
