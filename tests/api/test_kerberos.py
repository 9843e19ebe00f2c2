"""Kerberos tickets of a real MIT KDC, sent as requests-kerberos sends them."""

from __future__ import annotations

import base64
from typing import Callable, Iterator

import pytest
import requests
from harness.api import Api
from harness.realm import NAME, Realm, token
from harness.server import Server, command
from harness.stub import Stub
from requests_kerberos import REQUIRED, HTTPKerberosAuth


@pytest.fixture(scope="module")
def server(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants tickets."""
    stub = Stub(tmp_path_factory.mktemp("kerberos-stub") / "spark")
    made = Server({**stub.settings, "access.mode": "kerberos", **realm.settings}, env=realm.env)
    yield made
    made.stop()


@pytest.fixture
def log_in(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Gives this process a user's ticket."""

    def take(user: str) -> None:
        for name, value in realm.log_in(user).items():
            monkeypatch.setenv(name, value)

    return take


def local(server: Server) -> str:
    """The server by the name that its key is for."""
    return f"http://localhost:{server.port}"


def ask(server: Server) -> requests.Response:
    """A request that insists on the server's proof: it raises without."""
    auth = HTTPKerberosAuth(mutual_authentication=REQUIRED)
    return requests.get(f"{local(server)}/sessions", auth=auth, timeout=60)


def send(server: Server, content: bytes) -> requests.Response:
    """A token as it is."""
    header = f"Negotiate {base64.b64encode(content).decode()}"
    return Api(server.url, headers={"Authorization": header}).get("/sessions")


def test_a_ticket(server: Server, log_in: Callable[[str], None]) -> None:
    """Its user gets in, the server proves itself, and what is made is the user's."""
    log_in("alice")
    answer = ask(server)
    assert answer.status_code == 200
    assert answer.headers["WWW-Authenticate"].startswith("Negotiate ")
    auth = HTTPKerberosAuth(mutual_authentication=REQUIRED)
    made = requests.post(f"{local(server)}/sessions", json={"kind": "pyspark"}, auth=auth, timeout=60)
    assert (made.status_code, made.json()["owner"]) == (201, "alice")
    refused = Api(server.url).get("/sessions")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Negotiate")


def test_bare_and_within_spnego(server: Server, log_in: Callable[[str], None]) -> None:
    """Both forms that clients send."""
    log_in("alice")
    for spnego in (True, False):
        answer = send(server, token(spnego=spnego))
        assert answer.status_code == 200
        assert answer.headers["WWW-Authenticate"].startswith("Negotiate ")


def test_a_ticket_counts_once(server: Server, log_in: Callable[[str], None]) -> None:
    """A token that somebody overheard is refused."""
    log_in("alice")
    for spnego in (True, False):
        seen = token(spnego=spnego)
        assert [send(server, seen).status_code for _ in range(3)] == [200, 401, 401]


def test_what_is_no_ticket_for_here(server: Server, log_in: Callable[[str], None]) -> None:
    """A ticket for another service, a changed one, and what is none; afterwards a good one is taken."""
    log_in("alice")
    good = token()
    changed = bytearray(good)
    changed[len(good) // 2] ^= 1
    # Asks for NTLM, and begins so: another round would be needed.
    ntlm = bytes.fromhex(
        "604006062b0601050502a0363034a00e300c060a2b06010401823702020aa22204204e544c4d53535000"
    )
    for bad in (
        token("HTTP/other"),
        bytes(changed),
        good[:-1],
        good[:40],
        b"\0",
        b"NTLMSSP\0",
        ntlm,
        b"\x60" * 5000,
    ):
        answer = send(server, bad)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Negotiate")
    for header in ("Negotiate", "Negotiate ", "Negotiate ###", "Negotiate " + "A" * 100_000, "Kerberos x"):
        answer = Api(server.url, headers={"Authorization": header}).get("/sessions")
        assert answer.status_code == 401, header[:30]
    assert send(server, token()).status_code == 200


def test_a_role_is_no_user(server: Server, log_in: Callable[[str], None]) -> None:
    """`mallory/admin` is not mallory."""
    log_in("mallory/admin")
    assert send(server, token()).status_code == 401
    log_in("mallory")
    assert send(server, token()).status_code == 200


def test_a_service_that_is_listed(
    realm: Realm, serve: Callable[..., Server], log_in: Callable[[str], None], stub_home: Stub
) -> None:
    """A gateway logs in by its own principal, and acts for others as its name may."""
    log_in("mallory/admin")
    base = {**stub_home.settings, "access.mode": "kerberos", **realm.settings}
    own = {"access.kerberos.services": ["mallory/admin"], "access.superusers": ["mallory"]}
    gate = serve({**base, **own, "access.impersonation": True}, env=realm.env)
    header = f"Negotiate {base64.b64encode(token()).decode()}"
    session = Api(gate.url, headers={"Authorization": header}).create(proxyUser="alice")
    assert (session.created["owner"], session.created["proxyUser"]) == ("mallory", "alice")
    other = serve({**base, "access.kerberos.services": ["hue/*"]}, env=realm.env)
    assert send(other, token()).status_code == 401


def test_realms(
    realm: Realm, serve: Callable[..., Server], log_in: Callable[[str], None], stub_home: Stub
) -> None:
    """A realm that is not listed is not let in; with strip_realm off the realm is a part of the name."""
    log_in("alice")
    base = {**stub_home.settings, "access.mode": "kerberos", **realm.settings}
    other = serve({**base, "access.kerberos.realms": ["OTHER.TEST"]}, env=realm.env)
    assert send(other, token()).status_code == 401
    whole = serve({**base, "access.kerberos.strip_realm": False}, env=realm.env)
    header = f"Negotiate {base64.b64encode(token()).decode()}"
    session = Api(whole.url, headers={"Authorization": header}).create()
    assert session.created["owner"] == f"alice@{NAME}"


def test_many_at_once(server: Server, log_in: Callable[[str], None]) -> None:
    """40 tickets on 8 connections: each gets in."""
    from concurrent.futures import ThreadPoolExecutor

    log_in("alice")
    tokens = [token() for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda one: send(server, one).status_code, tokens))
    assert statuses == [200] * 40


def test_another_key_of_the_server_s(server: Server, realm: Realm, log_in: Callable[[str], None]) -> None:
    """S3: a keytab with a new key counts at once, and tickets for the old one no more. Without a keytab:
    503, which the log explains; a server without one does not start."""
    log_in("alice")
    before = token()
    realm.write_keytab()
    assert send(server, before).status_code == 401
    log_in("alice")
    assert send(server, token()).status_code == 200
    kept = realm.keytab.read_bytes()
    realm.keytab.unlink()
    try:
        answer = send(server, token())
        assert answer.status_code == 503
        assert "Kerberos key can't be used" in answer.json()["msg"]
        assert "tickets get 503" in server.log()
        sets = {"access.mode": "kerberos", **realm.settings}
        argv = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
        ended = command("check", *argv, **realm.env)
        assert "WRONG access" in ended.stdout
        assert str(realm.keytab) in ended.stdout
    finally:
        realm.keytab.write_bytes(kept)
    assert send(server, token()).status_code == 200
