"""Requests whose end two parsers may see in different places (S27): each is refused and its connection
closed, or has one meaning for all; behind a proxy nobody gets another's answer."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Callable, Iterator

import pytest
from harness import processes
from harness.server import Server, free_port
from harness.wire import Wire

INNER = b'{"kind": "pyspark", "name": "smuggled"}'
SMUGGLED = (
    b"POST /sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(INNER), INNER)
)
PATH = b"/sessions/4242/statements/0/cancel"
"""Takes a body, and has no effect."""
ZERO = b"0\r\n\r\n"
CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
LENGTH = b"%d" % len(SMUGGLED)
LONG = b"%d" % len(ZERO + SMUGGLED)

# The header lines as they are, then the body. `LONG` takes all of what follows, `chunked` only its beginning.
REFUSED = {
    "length and chunks": (b"Content-Length: " + LONG + b"\r\nTransfer-Encoding: chunked", ZERO + SMUGGLED),
    "chunks and length": (b"Transfer-Encoding: chunked\r\nContent-Length: " + LONG, ZERO + SMUGGLED),
    "length 0 and chunks": (b"Content-Length: 0\r\nTransfer-Encoding: chunked", CHUNK),
    "two lengths": (b"Content-Length: 0\r\nContent-Length: " + LENGTH, SMUGGLED),
    "two lengths the other way": (b"Content-Length: " + LENGTH + b"\r\nContent-Length: 0", SMUGGLED),
    "the same length twice": (b"Content-Length: " + LENGTH + b"\r\nContent-Length: " + LENGTH, SMUGGLED),
    "three lengths": (b"Content-Length: 0\r\ncontent-length: 0\r\nCONTENT-LENGTH: " + LENGTH, SMUGGLED),
    "a list of lengths": (b"Content-Length: 0, " + LENGTH, SMUGGLED),
    "a list of the same length": (b"Content-Length: " + LENGTH + b", " + LENGTH, SMUGGLED),
    "a signed length": (b"Content-Length: +" + LENGTH, SMUGGLED),
    "a length below 0": (b"Content-Length: -1", SMUGGLED),
    "minus 0": (b"Content-Length: -0", SMUGGLED),
    "a hexadecimal length": (b"Content-Length: 0x0", SMUGGLED),
    "a length with a blank in it": (b"Content-Length: 0 " + LENGTH, SMUGGLED),
    "a length with letters": (b"Content-Length: 0a", SMUGGLED),
    "a length in exponents": (b"Content-Length: 1e1", SMUGGLED),
    "a length with a point": (b"Content-Length: 0.0", SMUGGLED),
    "a length in quotes": (b'Content-Length: "0"', SMUGGLED),
    "an empty length": (b"Content-Length: ", SMUGGLED),
    "a length beyond 64 bits": (b"Content-Length: 18446744073709551616", SMUGGLED),
    "a length with NUL": (b"Content-Length: 0\x00", SMUGGLED),
    "a length with other digits": ("Content-Length: \u0660".encode(), SMUGGLED),
    "a length with an underscore": (b"Content-Length: 1_0", SMUGGLED),
    "blank before the length's colon": (b"Content-Length : 0", SMUGGLED),
    "tab before the length's colon": (b"Content-Length\t: 0", SMUGGLED),
    "blank before the coding's colon": (b"Transfer-Encoding : chunked", ZERO + SMUGGLED),
    "tab before the coding's colon": (b"Transfer-Encoding\t: chunked", ZERO + SMUGGLED),
    "blank before the coding's name": (b"X: y\r\n Transfer-Encoding: chunked", ZERO + SMUGGLED),
    "tab before the coding's name": (b"X: y\r\n\tTransfer-Encoding: chunked", ZERO + SMUGGLED),
    "blank before the first name": (b" Transfer-Encoding: chunked", ZERO + SMUGGLED),
    "a folded coding": (b"Transfer-Encoding:\r\n chunked", ZERO + SMUGGLED),
    "a folded length": (b"Content-Length:\r\n " + LENGTH, SMUGGLED),
    "a coding folded after itself": (b"Transfer-Encoding: chunked\r\n , identity", ZERO + SMUGGLED),
    "another coding": (b"Transfer-Encoding: gzip", ZERO + SMUGGLED),
    "identity": (b"Transfer-Encoding: identity", ZERO + SMUGGLED),
    "chunked and another": (b"Transfer-Encoding: chunked, identity", ZERO + SMUGGLED),
    "another and chunked": (b"Transfer-Encoding: identity, chunked", ZERO + SMUGGLED),
    "gzip and chunked": (b"Transfer-Encoding: gzip, chunked", ZERO + SMUGGLED),
    "chunked twice": (b"Transfer-Encoding: chunked, chunked", ZERO + SMUGGLED),
    "two codings": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", ZERO + SMUGGLED),
    "two codings the other way": (
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        ZERO + SMUGGLED,
    ),
    "chunked in two lines": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", ZERO + SMUGGLED),
    "a name beside chunked": (b"Transfer-Encoding: xchunked", ZERO + SMUGGLED),
    "chunked with a letter more": (b"Transfer-Encoding: chunkedx", ZERO + SMUGGLED),
    "chunked in quotes": (b'Transfer-Encoding: "chunked"', ZERO + SMUGGLED),
    "chunked with a parameter": (b"Transfer-Encoding: chunked;q=1", ZERO + SMUGGLED),
    "chunked after a vertical tab": (b"Transfer-Encoding: \x0bchunked", ZERO + SMUGGLED),
    "chunked before a form feed": (b"Transfer-Encoding: chunked\x0c", ZERO + SMUGGLED),
    "chunked with NUL": (b"Transfer-Encoding: chunked\x00", ZERO + SMUGGLED),
    "chunked before a high byte": (b"Transfer-Encoding: chunked\xa0", ZERO + SMUGGLED),
    "chunked after a comma": (b"Transfer-Encoding: ,chunked", ZERO + SMUGGLED),
    "an empty coding": (b"Transfer-Encoding: ", ZERO + SMUGGLED),
    "a coding without colon": (b"Transfer-Encoding chunked", ZERO + SMUGGLED),
    "a bare CR in a header": (b"X: y\rTransfer-Encoding: chunked", ZERO + SMUGGLED),
    "a bare CR before the coding": (b"\rTransfer-Encoding: chunked", ZERO + SMUGGLED),
    "NUL in a name": (b"Transfer\x00-Encoding: chunked", ZERO + SMUGGLED),
    "a high byte in a name": (b"Transfer-Encoding\xff: chunked", ZERO + SMUGGLED),
    "a negative chunk": (b"Transfer-Encoding: chunked", b"-1\r\n" + SMUGGLED),
    "a signed chunk": (b"Transfer-Encoding: chunked", b"+0\r\n\r\n" + SMUGGLED),
    "a chunk with 0x": (b"Transfer-Encoding: chunked", b"0x0\r\n\r\n" + SMUGGLED),
    "a chunk beyond 64 bits": (b"Transfer-Encoding: chunked", b"10000000000000000\r\n" + SMUGGLED),
    "a chunk of many digits": (b"Transfer-Encoding: chunked", b"f" * 40 + b"\r\n" + SMUGGLED),
    "a chunk without size": (b"Transfer-Encoding: chunked", b"\r\n\r\n" + SMUGGLED),
    "a chunk with letters": (b"Transfer-Encoding: chunked", b"0z\r\n\r\n" + SMUGGLED),
    "a chunk longer than it says": (b"Transfer-Encoding: chunked", b"2\r\nabcd\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk that ends in LF": (b"Transfer-Encoding: chunked", b"2\r\nab\n0\r\n\r\n" + SMUGGLED),
    "a size that ends in LF": (b"Transfer-Encoding: chunked", b"0\n\r\n" + SMUGGLED),
    "an extension with LF": (b"Transfer-Encoding: chunked", b"0;a\nb\r\n\r\n" + SMUGGLED),
    "a size that ends in CR": (b"Transfer-Encoding: chunked", b"0\r\r\n" + SMUGGLED),
}
# What has one meaning by the rules of HTTP (RFC 9112): taken as that, or refused.
ONE_MEANING = {
    "a length with zeros before it": (b"Content-Length: 00" + LENGTH, SMUGGLED),
    "chunked in capitals": (b"Transfer-Encoding: CHUNKED", CHUNK),
    "blanks around chunked": (b"Transfer-Encoding: \t chunked \t ", CHUNK),
    "a chunk with zeros before it": (b"Transfer-Encoding: chunked", b"000" + CHUNK),
    "a chunk with an extension": (b"Transfer-Encoding: chunked", CHUNK.replace(b"\r\n", b";a=b\r\n", 1)),
    "a trailer": (b"Transfer-Encoding: chunked", CHUNK[:-2] + b"Content-Length: 0\r\n\r\n"),
    "a name that is nearly the coding's": (
        b"Transfer_Encoding: chunked\r\nContent-Length: " + LENGTH,
        SMUGGLED,
    ),
    "an upgrade": (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
        b"Content-Length: " + LENGTH,
        SMUGGLED,
    ),
    "an expectation": (b"Expect: 100-continue\r\nContent-Length: " + LENGTH, SMUGGLED),
}
# Lines that end in LF alone are read by some and not by others.
BARE_LF = {
    "the coding's line": b"POST %b HTTP/1.1\r\nHost: localhost\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n",
    "all lines": b"POST %b HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\n",
    "the last line": b"POST %b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\n",
}


def request(lines: bytes, body: bytes, path: bytes = PATH) -> bytes:
    """A POST with these header lines."""
    return b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n\r\n" + body


def statuses(port: int, data: bytes, last: bool = True) -> tuple[list[int], bool]:
    """What is answered to these bytes, and whether the connection was closed."""
    answered: list[int] = []
    with Wire(port, 15) as wire:
        wire.socket.sendall(data)
        if last:
            wire.socket.shutdown(socket.SHUT_WR)
        got = b""
        closed = False
        with contextlib.suppress(socket.timeout):
            while more := wire.socket.recv(65536):
                got += more
            closed = True
        while got:
            head, _, rest = got.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 "), got[:200]
            answered.append(int(head[9:12]))
            found = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            got = rest[int(found[0].split(b":")[1]) if found else 0 :]
    return answered, closed


def names(server: Server) -> set[str | None]:
    """The sessions that are there."""
    return {session["name"] for session in server.api.sessions()}


@pytest.mark.parametrize("form", REFUSED)
def test_refused(stub_server: Server, form: str) -> None:
    """400 and the end of the connection: nothing after it is taken for a request."""
    # One that reads its body, and one that answers before.
    for path, status in ((b"/sessions", [400]), (PATH, [400, 404])):
        answered, closed = statuses(stub_server.port, request(*REFUSED[form], path), last=False)
        assert len(answered) == 1, answered
        assert answered[0] in status, answered
        assert closed
    assert "smuggled" not in names(stub_server)


@pytest.mark.parametrize("form", ONE_MEANING)
def test_one_meaning(stub_server: Server, form: str) -> None:
    """What is inside of the body is never a request; what comes after it is one."""
    ping = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answered, _ = statuses(stub_server.port, request(*ONE_MEANING[form]) + ping, last=False)
    answered = [status for status in answered if status != 100]
    assert answered in ([404, 200], [400]), answered
    assert "smuggled" not in names(stub_server)


@pytest.mark.parametrize("form", BARE_LF)
def test_bare_line_feeds(stub_server: Server, form: str) -> None:
    """Refused, or read as lines (RFC 9112, 2.2): what follows the chunks is no part of the body in either."""
    data = BARE_LF[form].replace(b"%b", PATH) + CHUNK
    answered, _ = statuses(stub_server.port, data, last=False)
    assert answered in ([400], [404]), answered
    assert "smuggled" not in names(stub_server)


@pytest.mark.parametrize(
    "line",
    [
        b"GET /ping HTTP/1.1 HTTP/1.1",
        b"GET  /ping HTTP/1.1",
        b"GET\t/ping\tHTTP/1.1",
        b"GET /ping\x00 HTTP/1.1",
        b"GET /ping HTTP/1.2",
        b"GET /ping HTTP/2.0",
        b"GET /ping HTTP/11",
        b"GET /ping http/1.1",
        b"G\x00T /ping HTTP/1.1",
        b"GET /ping",
    ],
)
def test_request_lines(stub_server: Server, line: bytes) -> None:
    """A request line that is none is refused."""
    answered, closed = statuses(stub_server.port, line + b"\r\nHost: localhost\r\n\r\n" + SMUGGLED, last=True)
    assert answered in ([400], []), answered
    assert closed
    assert "smuggled" not in names(stub_server)


# --- Behind a proxy ---

NGINX = """
daemon off; pid {home}/pid; error_log stderr; worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/f;
    uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
    upstream firesteel {{ server 127.0.0.1:{server}; keepalive 1; }}
    server {{
        listen 127.0.0.1:{port};
        underscores_in_headers on; ignore_invalid_headers off;
        location = /sessions {{ deny all; }}
        location / {{
            proxy_pass http://firesteel; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host localhost; proxy_request_buffering off; proxy_ignore_client_abort on;
        }}
    }}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    http-reuse always
    retries 3
    retry-on conn-failure empty-response
frontend front
    bind 127.0.0.1:{port}
    http-request deny if {{ path /sessions }}
    default_backend back
backend back
    server firesteel 127.0.0.1:{server} maxconn 1
"""


def proxy_argv(name: str, program: str, home: Path, port: int, server: int) -> list[str]:
    """How it is started, with one connection to the server at a time, which all clients share. It lets nobody
    make sessions: one that is there has been smuggled past it."""
    config = home / "conf"
    text = NGINX if name == "nginx" else HAPROXY
    config.write_text(text.format(home=home, port=port, server=server))
    if name == "nginx":
        return [program, "-p", str(home), "-c", str(config)]
    return [program, "-db", "-f", str(config)]


@pytest.fixture(params=["nginx", "haproxy"])
def proxy(request: pytest.FixtureRequest, stub_server: Server, tmp_path: Path) -> Iterator[int]:
    """A proxy in front of the server; its port."""
    program = shutil.which(request.param, path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        pytest.skip(f"{request.param} is not installed: run 'make deps'")
    port = free_port()
    argv = proxy_argv(request.param, program, tmp_path, port, stub_server.port)
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:

        def listens() -> bool:
            assert running.poll() is None, (tmp_path / "log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        processes.wait_until("the proxy listens", listens, 20)
        yield port
    finally:
        running.terminate()
        running.wait(20)


def test_behind_a_proxy(stub_server: Server, proxy: int, figures: Callable[[str], None]) -> None:
    """Each form through the proxy, then other clients' requests over the same connection to the server: each
    has its own answer, and nothing of the form's body has become a request that the proxy did not see."""
    forms = {**REFUSED, **ONE_MEANING}
    sent = {name: request(*form) for name, form in forms.items()}
    sent.update({name: text.replace(b"%b", PATH) + CHUNK for name, text in BARE_LF.items()})
    passed = 0
    for name, data in sent.items():
        with Wire(proxy, 10) as wire:
            wire.socket.sendall(data)
            wire.socket.shutdown(socket.SHUT_WR)
            first = wire.answer()
            passed += first.status == 404
        for path, status in (("/ping", 200), ("/sessions/4242", 404), ("/version", 200)):
            with Wire(proxy, 10) as wire:
                wire.send(f"GET {path} HTTP/1.1", "Connection: close", host="localhost")
                assert wire.answer().status == status, (name, path)
        assert "smuggled" not in names(stub_server), name
    figures(f"{len(sent)} smuggling forms behind a proxy: {passed} reached the server, 0 desyncs")
    assert passed > 0
