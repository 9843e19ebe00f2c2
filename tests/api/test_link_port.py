"""The port on which drivers call from a cluster: what a stranger gets there, and who is held up."""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import struct
import subprocess
import uuid
from typing import Any, Iterator

import pytest
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import Server, free_port

CALLS = 4


@pytest.fixture(scope="module")
def port() -> int:
    """Where drivers call."""
    return free_port()


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Fake:
    """What is started in place of Spark."""
    return Fake(tmp_path_factory.mktemp("port") / "spark")


@pytest.fixture(scope="module")
def server(port: int, fake: Fake) -> Iterator[Server]:
    """A server with such a port, whose own drivers are on its host."""
    settings = {
        **fake.settings,
        "link.listen": f"127.0.0.1:{port}",
        "link.calls": CALLS,
        "link.hello_timeout": "2s",
    }
    server = Server(settings)
    yield server
    server.stop()


def connect(server: Server, port: int, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLSocket:
    """As an agent does it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    context.check_hostname = False
    text = (server.state_dir / "link.tls.pem").read_text()
    context.load_verify_locations(cadata=text[text.index("-----BEGIN CERTIFICATE-----") :])
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10))


def say(end: socket.socket, header: dict[str, Any]) -> dict[str, Any]:
    """Send a frame, and read the one that answers it."""
    text = json.dumps(header).encode()
    end.sendall(struct.pack(">II", 4 + len(text), len(text)) + text)
    read = end.makefile("rb")
    length, header_length = struct.unpack(">II", read.read(8))
    return json.loads(read.read(length - 4)[:header_length])


def hello(driver: str) -> dict[str, Any]:
    return {"type": "hello", "protocol": 1, "driver": driver, "nonce": secrets.token_hex(32), "received": 0}


def test_a_stranger_is_refused(server: Server, port: int):
    with connect(server, port) as end:
        driver = str(uuid.uuid4())
        assert say(end, hello(driver)) == {"type": "refused", "reason": f"no driver {driver} is expected"}


def test_a_driver_of_this_host_is_not_let_in(server: Server, port: int):
    """In the same words as one that nobody knows."""
    session = server.api.create()
    session.wait("idle")
    driver = next(iter((server.state_dir / "run").iterdir())).name
    with connect(server, port) as end:
        assert say(end, hello(driver)) == {"type": "refused", "reason": f"no driver {driver} is expected"}
    session.delete()


def test_only_tls_1_3(server: Server, port: int):
    with pytest.raises(ssl.SSLError):
        connect(server, port, ssl.TLSVersion.TLSv1_2)
    with socket.create_connection(("127.0.0.1", port), 10) as end:
        end.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert not end.recv(1000).startswith(b"HTTP")


def test_those_who_say_nothing_hold_nobody_up_for_long(server: Server, port: int):
    """They have what room there is until `link.hello_timeout`."""
    silent = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(3 * CALLS)]
    with connect(server, port) as end:
        assert say(end, hello(str(uuid.uuid4())))["type"] == "refused"
    for end in silent:
        end.close()


def test_the_key_is_nobodys_business(server: Server):
    path = server.state_dir / "link.tls.pem"
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_certificate_stays(server: Server, port: int):
    """Drivers know it: a server that comes back has the same one."""
    before = (server.state_dir / "link.tls.pem").read_text()
    server.restart()
    assert (server.state_dir / "link.tls.pem").read_text() == before
    with connect(server, port) as end:
        assert say(end, hello("x"))["type"] == "refused"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["link.listen=8999"], 'link.listen: "8999" is no address with a port'),
        (["link.listen=0.0.0.0:8999"], "link.advertise: is empty"),
        (['link.advertise=["h:1"]'], "link.advertise: is of no use without link.listen"),
        (["link.listen=127.0.0.1:8999", 'link.advertise=["https://h:1"]'], "is no HOST:PORT"),
        (["link.listen=127.0.0.1:8999", "link.calls=0"], "link.calls: must be at least 1"),
    ],
)
def test_settings_that_make_no_sense(server: Server, settings: list[str], said: str):
    sets = [part for setting in settings for part in ("--set", setting)]
    ended = subprocess.run([server.argv[0], "check", *sets], capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert said in ended.stderr + ended.stdout


def test_a_port_that_is_taken(server: Server, port: int, fake: Fake):
    """The second server says which key is to be changed."""
    second = Server({**fake.settings, "link.listen": f"127.0.0.1:{port}"}, start=False)
    second.spawn()
    assert not second.comes_up()
    assert f"link.listen = 127.0.0.1:{port}" in second.log()
    wait_until("it has ended", lambda: second.process.poll() is not None)
    second.kill9()
