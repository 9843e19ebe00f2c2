"""HTTPS: certificates that change, clients' certificates, who may listen in plain, the drain; and a reverse
proxy that says who calls, over its certificate or a Unix socket (S7)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import stat
from pathlib import Path
from typing import Iterator

import pytest
import requests
from harness.api import Api
from harness.certificates import Authority, replace
from harness.local import Answer, OverSocket, ask
from harness.processes import wait_until
from harness.server import Server, command, serving
from harness.service import Unit, listening
from harness.stub import Stub

QUICK = {"server.tls.look_interval": "100ms"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom the tests' clients believe."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of users."""
    file = tmp_path_factory.mktemp("tls-users") / "users"
    assert command("passwd", str(file), "alice", stdin="wonder land\n").returncode == 0
    return file


@pytest.fixture
def settings(authority: Authority, users: Path, tmp_path: Path, make_stub) -> dict:
    """A server with a certificate of its own."""
    own = Authority.issue(authority, "localhost", f"server-{tmp_path.name}")
    return {
        **make_stub().settings,
        **QUICK,
        "server.tls.cert": str(own[0]),
        "server.tls.key": str(own[1]),
        "access.mode": "basic",
        "access.basic_file": str(users),
    }


@contextlib.contextmanager
def secure(settings: dict, authority: Authority, **more) -> Iterator[Server]:
    """A server whose certificate the client checks."""
    with serving(settings, authority=authority.path, **more) as server:
        assert server.url.startswith("https://")
        yield server


def alice(server: Server) -> Api:
    """The one user."""
    return server.user("alice", "wonder land")


def certificate(server: Server, authority: Authority) -> bytes:
    """What the server shows to a new connection."""
    context = ssl.create_default_context(cafile=str(authority.path))
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
        return wrapped.getpeercert(binary_form=True) or b""


def test_https(settings: dict, authority: Authority) -> None:
    """TLS 1.2 and 1.3 and nothing older, HTTP/1.1, HSTS, a cookie for HTTPS alone; plain HTTP gets
    nothing."""
    with secure(settings, authority) as server:
        session = alice(server).create()
        assert session.created["owner"] == "alice"
        answer = alice(server).get("/sessions")
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        login = server.api.post("/login", {"name": "alice", "password": "wonder land"})
        cookie = login.headers["Set-Cookie"]
        assert cookie.startswith("__Host-firesteel=")
        assert cookie.endswith("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure")
        assert server.api.get("/sessions").status_code == 200, "by the cookie"
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=str(authority.path))
            context.minimum_version = context.maximum_version = version
            context.set_alpn_protocols(["h2", "http/1.1"])
            plain = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
                assert wrapped.selected_alpn_protocol() == "http/1.1"
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as plain:
            plain.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP" not in plain.recv(1000)
        with pytest.raises(requests.exceptions.SSLError):
            Api(server.url).get("/ping")


def test_the_command_line_over_https(settings: dict, authority: Authority, tmp_path: Path) -> None:
    """The client checks the certificate."""
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("wonder land")
    with secure(settings, authority) as server:
        who = ("--url", server.url, "--user", "alice", "--password-file", str(password))
        nowhere = {"XDG_CONFIG_HOME": str(tmp_path)}
        listed = command("ls", *who, SSL_CERT_FILE=str(authority.path), **nowhere)
        assert listed.returncode == 0, listed.stderr
        assert command("ls", *who, **nowhere).returncode == 69


def test_renewed(settings: dict, authority: Authority) -> None:
    """A new certificate is shown without a restart, to connections that begin after it; those that are open
    stay."""
    with secure(settings, authority) as server:
        api = alice(server)
        assert api.get("/ping").status_code == 200
        before = certificate(server, authority)
        authority.issue("localhost", Path(settings["server.tls.cert"]).stem)
        wait_until("the new one is shown", lambda: certificate(server, authority) != before, 10)
        assert api.get("/ping").status_code == 200
        assert "the files have changed; new connections" in server.log()


def test_broken_renewal(settings: dict, authority: Authority) -> None:
    """Files that can't be used, or don't go together, leave the old ones in use, which is told once for each
    change."""
    cert, key = Path(settings["server.tls.cert"]), Path(settings["server.tls.key"])
    with secure(settings, authority, allowed=("can't be used, so the old ones stay",)) as server:
        before = certificate(server, authority)
        told = 0

        def tells(reason: str) -> None:
            nonlocal told
            told += 1
            log = wait_until(
                "it is told",
                lambda: server.log().count("so the old ones stay") == told and server.log(),
                10,
            )
            assert reason in log.splitlines()[-1]
            assert certificate(server, authority) == before

        replace(cert, b"no certificate\n")
        tells("server.tls.cert")
        other, other_key = authority.issue("localhost", "other")
        replace(cert, other.read_bytes())
        tells("server.tls.cert and server.tls.key")
        cert.unlink()
        tells("No such file")
        replace(cert, other.read_bytes())
        replace(key, other_key.read_bytes())
        wait_until("they fit", lambda: certificate(server, authority) != before, 10)
        assert server.log().count("so the old ones stay") == told


def test_what_can_not_be_served(settings: dict, authority: Authority, tmp_path: Path) -> None:
    """One sentence at the start, with the key; `firesteel check` says the same."""
    other_key = authority.issue("localhost", "unfit")[1]
    empty = tmp_path / "empty"
    empty.write_text("")
    base = {key: value for key, value in settings.items() if key.startswith("server.tls")}
    for key, value, word in (
        ("server.tls.key", str(other_key), "server.tls.cert and server.tls.key"),
        ("server.tls.cert", str(empty), "no certificate in PEM"),
        ("server.tls.key", str(empty), "no private key in PEM"),
        ("server.tls.client_ca", str(tmp_path / "nothing"), "server.tls.client_ca"),
    ):
        sets = [f"--set={name}={one}" for name, one in {**base, key: value}.items()]
        for verb in ("serve", "check"):
            ended = command(verb, "--state-dir", str(tmp_path / "state"), "--listen", "127.0.0.1:0", *sets)
            assert ended.returncode == 1, (verb, key, ended.stderr)
            assert word in ended.stderr + ended.stdout, (verb, key, ended.stderr)
    for sets, word in (
        (["--set=server.tls.cert=/x.crt"], "needs both"),
        (["--set=server.tls.client_ca=/x.crt"], "server.tls.cert"),
        (
            [*(f"--set={name}={one}" for name, one in base.items()), "--set=server.tls.client_required=true"],
            "client_ca",
        ),
    ):
        ended = command("serve", "--state-dir", str(tmp_path / "state"), *sets)
        assert ended.returncode == os.EX_USAGE
        assert word in ended.stderr


def test_plain_http_off_loopback(settings: dict, authority: Authority) -> None:
    """Refused with its reason, also for a socket that is handed in; a key allows it, and TLS needs none."""
    plain = {name: one for name, one in settings.items() if not name.startswith("server.tls")}

    def unit(settings: dict, **more) -> Unit:
        made.append(Unit({**settings, "shutdown.sessions": "end"}, listen="0.0.0.0:0", **more))
        return made[-1]

    made: list[Unit] = []
    try:
        for more in ({}, {"sockets": [listening("0.0.0.0")]}):
            line, _ = unit(plain, **more).refused()
            assert "plain HTTP" in line
            assert "server.plain_http" in line
        for allowed in ({**plain, "server.plain_http": True}, settings):
            one = unit(allowed).start()
            url = one.url.replace("0.0.0.0", "127.0.0.1")
            assert (
                Api(url, ("alice", "wonder land"), authority=authority.path).get("/sessions").status_code
                == 200
            )
            assert one.end() == 0
    finally:
        for one in made:
            one.clean()


def test_no_handshake_holds_anything_up(settings: dict, authority: Authority) -> None:
    """Who connects and says nothing, or half of it, is cut after `server.tls.handshake_timeout`; others are
    answered meanwhile."""
    with secure({**settings, "server.tls.handshake_timeout": "1s"}, authority) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(50)]
        for number, one in enumerate(silent):
            one.sendall(b"\x16\x03\x01\x02\x00\x01\x00"[: number % 8])
        assert alice(server).get("/sessions").status_code == 200
        for one in silent:
            with contextlib.suppress(ConnectionResetError):
                while one.recv(100):
                    pass
            one.close()


def test_drain(settings: dict, authority: Authority) -> None:
    """At SIGTERM over TLS: a request that is under way is answered, one that was never begun on a connection
    whose handshake is not through yet too; an idle connection is closed; the end does not wait for long."""
    with secure(settings, authority) as server:
        context = ssl.create_default_context(cafile=str(authority.path))

        def connect() -> socket.socket:
            return socket.create_connection(("127.0.0.1", server.port), timeout=30)

        def wrap(plain: socket.socket) -> ssl.SSLSocket:
            return context.wrap_socket(plain, server_hostname="localhost")

        def head(path: str) -> bytes:
            return f"GET {path} HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode()

        slow, idle, late = wrap(connect()), wrap(connect()), connect()
        idle.sendall(head("/ping"))
        assert b" 200 " in idle.recv(1000)
        body = b'{"kind": "pyspark"}'
        request = (
            f"POST /login HTTP/1.1\r\nHost: localhost:{server.port}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        slow.sendall(request.encode() + body[:5])
        # An answer to a later connection says that those before it were accepted.
        assert server.api.get("/ping").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until("it drains", lambda: "stopping" in server.log(), 5, 0.002)
        answers: dict[str, bytes] = {}
        slow.sendall(body[5:])
        answers["slow"] = slow.recv(1000)
        # Connections are closed once each has sent a request, or after 1 s: the late one is waited for.
        idle.settimeout(0.2)
        with pytest.raises(TimeoutError):
            idle.recv(1000)
        idle.settimeout(30)
        wrapped = wrap(late)
        wrapped.sendall(head("/ping"))
        answers["late"] = wrapped.recv(1000)
        assert b" 200 " in answers["late"], answers
        assert b" 400 " in answers["slow"], answers
        assert b"connection: close" in answers["late"].lower()
        assert idle.recv(1000) == b""
        assert server.process.wait(10) == 0


# --- Clients' certificates, and the reverse proxy ---


def test_client_certificates(settings: dict, authority: Authority, tmp_path: Path) -> None:
    """Required: nobody comes in without one that the authority has signed. Optional: who shows none comes in
    and must prove itself, who shows a foreign one does not come in."""
    own = authority.issue("client.example.com")
    foreign = Authority(tmp_path / "foreign", "stranger").issue("client.example.com")
    settings = {**settings, "server.tls.client_ca": str(authority.path)}
    for required in (True, False):
        with secure({**settings, "server.tls.client_required": required}, authority) as server:

            def status(pair: tuple[Path, Path] | None, server: Server = server) -> int | None:
                api = alice(server)
                api.http.cert = tuple(map(str, pair)) if pair else None
                try:
                    return api.get("/sessions").status_code
                except requests.exceptions.ConnectionError:
                    return None

            assert status(own) == 200
            assert status(foreign) is None
            assert status(None) == (None if required else 200)
            # A certificate alone is nobody's name.
            nobody = Api(server.url, authority=authority.path)
            nobody.http.cert = tuple(map(str, own))
            assert nobody.get("/sessions", headers={"X-Forwarded-User": "alice"}).status_code == 401


def test_proxy_by_certificate(settings: dict, authority: Authority) -> None:
    """The header of who holds a listed certificate counts; the header of anybody else is not looked at
    (S7)."""
    proxy = authority.issue("proxy.example.com")
    others = [authority.issue(name) for name in ("client.example.com", "proxy.example.com.evil.example")]
    proxied = {
        **settings,
        "access.mode": ["proxy", "basic"],
        "access.proxy.certificates": ["proxy.example.com"],
        "access.proxy.groups_header": "X-Forwarded-Groups",
        "access.superusers": ["root"],
        "server.tls.client_ca": str(authority.path),
    }
    with secure(proxied, authority) as server:

        def ask_as(pair: tuple[Path, Path] | None, **headers: str) -> requests.Response:
            api = Api(server.url, authority=authority.path)
            api.http.cert = tuple(map(str, pair)) if pair else None
            return api.post("/sessions", {"kind": "pyspark"}, headers=headers)

        created = ask_as(proxy, **{"X-Forwarded-User": "bob", "X-Forwarded-Groups": "staff, science"})
        assert created.status_code == 201
        assert created.json()["owner"] == "bob"
        for pair in (None, *others):
            for name in ("X-Forwarded-User", "X-Remote-User", "Remote-User", "X_Forwarded_User"):
                assert ask_as(pair, **{name: "bob"}).status_code == 401, (pair, name)
        for name in ("", "bob,root", "-x", "../root", "a" * 129, "bob root"):
            assert ask_as(proxy, **{"X-Forwarded-User": name}).status_code == 401, name
        assert ask_as(proxy).status_code == 401
        # Another's own password counts on any connection, and the header beside it for nothing.
        api = alice(server)
        answer = api.post("/sessions", {"kind": "pyspark"}, headers={"X-Forwarded-User": "root"})
        assert answer.json()["owner"] == "alice"


def test_a_header_that_is_there_twice(users: Path, make_stub) -> None:
    """Of two names nobody knows which one the proxy meant."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"firesteel-{os.getpid()}-twice.sock"
    names = b"X-Forwarded-User: bob\r\nX-Forwarded-User: root\r\n"
    caller = socket.socket(socket.AF_UNIX)
    with serving(socket_settings(make_stub(), users, path, [str(os.getuid())])), caller:
        caller.settimeout(30)
        caller.connect(str(path))
        caller.sendall(
            b"GET /sessions HTTP/1.1\r\nHost: localhost\r\n" + names + b"Connection: close\r\n\r\n"
        )
        assert b" 401 " in caller.recv(1000)
    path.unlink()


def socket_settings(stub: Stub, users: Path, path: Path, peers: list[str]) -> dict:
    """A server with a Unix socket beside its port."""
    return {
        **stub.settings,
        "server.unix_socket": str(path),
        "access.mode": ["proxy", "basic"],
        "access.basic_file": str(users),
        "access.proxy.peers": peers,
    }


def test_proxy_by_unix_socket(users: Path, make_stub, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The header of a process of a listed user counts over the socket, and over TCP nobody's (S7). The socket
    is its user's and group's alone, and the next server takes its place."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"firesteel-{os.getpid()}.sock"

    def over(**headers: str) -> Answer:
        return ask(OverSocket(path), "/sessions", **headers)

    me, another = str(os.getuid()), str(os.getuid() + 4321)
    try:
        with serving(socket_settings(make_stub(), users, path, [me])) as server:
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert over(X_Forwarded_User="bob").status == 200
            assert over(X_Forwarded_User="bob", X_Forwarded_For="10.1.2.3").status == 200
            assert over().status == 401
            assert over(X_Remote_User="bob").status == 401
            assert ask(OverSocket(path), "/sessions", user=("alice", "wonder land")).status == 200
            assert server.api.get("/sessions", headers={"X-Forwarded-User": "bob"}).status_code == 401
            server.kill9()
            assert path.is_socket(), "left behind"
            server.start()
            assert over(X_Forwarded_User="bob").status == 200
            second = command(
                "serve",
                "--state-dir",
                str(tmp_path_factory.mktemp("second")),
                "--listen=127.0.0.1:0",
                f"--set=server.unix_socket={path}",
            )
            assert second.returncode == 1
            assert "another process listens on it" in second.stderr
        with serving(socket_settings(make_stub(), users, path, [another])):
            assert over(X_Forwarded_User="bob").status == 401
    finally:
        path.unlink(missing_ok=True)


def test_drain_of_the_unix_socket(users: Path, make_stub) -> None:
    """A request that is under way on it is answered as well."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"firesteel-{os.getpid()}-drain.sock"
    with serving(socket_settings(make_stub(), users, path, [str(os.getuid())])) as server:
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(30)
            caller.connect(str(path))
            caller.sendall(
                b"POST /sessions HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-User: bob\r\n"
                b"Content-Length: 2\r\n\r\n{"
            )
            assert ask(OverSocket(path), "/ping").status == 200
            server.process.send_signal(signal.SIGTERM)
            wait_until("it drains", lambda: "stopping" in server.log(), 5, 0.002)
            caller.sendall(b"}")
            answer = caller.recv(1000)
            assert b" 503 " in answer, answer
        assert server.process.wait(10) == 0
    path.unlink()


def test_the_proxy_must_be_named(tmp_path: Path) -> None:
    """`proxy` without a socket or certificates believes nobody, and says so at the start."""
    for sets, word in (
        (["--set=access.mode=proxy"], "server.unix_socket and access.proxy.peers"),
        (["--set=access.mode=proxy", "--set=server.unix_socket=/run/x.sock"], "access.proxy.peers"),
        (["--set=access.proxy.header=X Y"], "access.proxy.header"),
        (["--set=server.unix_socket=x.sock"], "not an absolute path"),
    ):
        ended = command("serve", "--state-dir", str(tmp_path / "state"), *sets)
        assert ended.returncode == os.EX_USAGE, ended.stderr
        assert word in ended.stderr


def test_proxied_addresses_wait_apart(users: Path, make_stub) -> None:
    """What one client guesses through the proxy holds up no other: the address is the one that the proxy
    adds, not what the client said (S19)."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"firesteel-{os.getpid()}-wait.sock"
    settings = socket_settings(make_stub(), users, path, [str(os.getuid())])
    with serving({**settings, "access.throttle.free": 2, "access.throttle.first_wait": "30s"}):

        def guess(password: str, forwarded: str) -> int:
            connection = OverSocket(path)
            return ask(connection, "/sessions", user=("alice", password), X_Forwarded_For=forwarded).status

        statuses = [guess("wrong", f"10.9.9.{number}, 10.0.0.1") for number in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        assert guess("wonder land", "10.0.0.1, 10.0.0.2") == 200
        # Whom the proxy names has proved no password by it: what comes along is none that was right.
        said = {"X_Forwarded_User": "bob", "X_Forwarded_For": "10.0.0.1"}
        assert ask(OverSocket(path), "/sessions", user=("alice", "wrong"), **said).status == 200
        assert guess("wrong", "10.0.0.1") == 429
    path.unlink()
