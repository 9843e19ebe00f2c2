"""The ways in which a client says who it is: one for each word of `access.mode`, and a browser's login.

Each is tried with every route and role: a further one is a function here. The directory, the realm and the
provider of tokens are the fixtures of `conftest.py`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import requests

from harness import realm as kerberos
from harness.api import Api
from harness.certificates import Authority
from harness.directory import Directory
from harness.issuer import Issuer
from harness.realm import Realm
from harness.roles import ADMINISTERED, by_basic, password, settings
from harness.server import Server

BASIC = 'Basic realm="firesteel", charset="UTF-8"'
BEARER = 'Bearer realm="firesteel"'


def _nobody(server: Server) -> Api:
    return Api(server.url, authority=server.authority)


@dataclass
class Way:
    """What is needed to go it."""

    name: str
    settings: dict[str, Any]
    """The server's, with an administrator. API tokens can be made in each."""
    client: Callable[[Server, str], Api]
    """One of this user's."""
    challenge: str
    """What whoever has not said who they are is told to send."""
    nobody: Callable[[Server], Api] = _nobody
    """A client that does not say who it is."""
    env: dict[str, str] = field(default_factory=dict)
    """The server's, and this process's while it is a client."""
    authority: Path | None = None
    """Who has signed the server's certificate, where it has one."""

    def server(self, more: dict[str, Any]) -> Server:
        """A server that lets clients in this way."""
        own = {**more, **ADMINISTERED, **self.settings}
        return Server(own, env=self.env, authority=self.authority)


def by_token(server: Server, user: str) -> Api:
    """A client with a token that may do all that its owner may."""
    made = by_basic(server, user).post("/tokens", {"scopes": ["all", "tokens"]})
    assert made.status_code == 201, made.text
    return server.bearer(made.json()["token"])


def by_cookie(server: Server, user: str) -> Api:
    """A browser on the server's own page, which says so with each request that changes something."""
    browser = Api(server.url, headers={"Origin": server.url})
    form = {"name": user, "password": password(user)}
    assert browser.post("/login", data=form).status_code == 303
    return browser


def by_jwt(issuer: Issuer) -> Callable[[Server, str], Api]:
    """Clients with tokens of a provider."""
    return lambda server, user: server.bearer(issuer.token(user))


class Tickets(requests.auth.AuthBase):
    """A new authenticator with each request: one counts once."""

    def __init__(self, realm: Realm, user: str):
        self.cache = realm.log_in(user)["KRB5CCNAME"]

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        token = base64.b64encode(kerberos.token(cache=self.cache)).decode()
        request.headers["Authorization"] = f"Negotiate {token}"
        return request


def by_ticket(realm: Realm) -> Callable[[Server, str], Api]:
    """Clients with tickets."""

    def client(server: Server, user: str) -> Api:
        api = Api(server.url)
        api.http.auth = Tickets(realm, user)
        return api

    return client


def by_proxy(certificate: tuple[Path, Path]) -> Callable[[Server, str], Api]:
    """A reverse proxy that shows its certificate and says who calls; for "" it does not."""

    def client(server: Server, user: str) -> Api:
        api = Api(server.url, headers={"X-Forwarded-User": user} if user else {}, authority=server.authority)
        api.http.cert = tuple(map(str, certificate))
        return api

    return client


Get = Callable[[str], Any]
"""A fixture by its name."""


def _basic(_: Get, home: Path) -> Way:
    return Way("basic", settings(home), by_basic, f"{BASIC}, {BEARER}")


def _token(_: Get, home: Path) -> Way:
    return Way("token", {**settings(home), "access.mode": ["token", "basic"]}, by_token, f"{BEARER}, {BASIC}")


def _cookie(_: Get, home: Path) -> Way:
    return Way("cookie", settings(home), by_cookie, f"{BASIC}, {BEARER}")


def _ldap(get: Get, _: Path) -> Way:
    directory: Directory = get("directory")
    own = {**directory.settings, "access.mode": ["ldap", "token"]}
    return Way("ldap", own, by_basic, f"{BASIC}, {BEARER}")


def _kerberos(get: Get, _: Path) -> Way:
    realm: Realm = get("realm")
    own = {**realm.settings, "access.mode": ["kerberos", "token"]}
    return Way("kerberos", own, by_ticket(realm), f"Negotiate, {BEARER}", env=realm.env)


def _jwt(get: Get, _: Path) -> Way:
    issuer: Issuer = get("issuer")
    return Way("jwt", {**issuer.settings, "access.mode": ["jwt", "token"]}, by_jwt(issuer), BEARER)


def _proxy(_: Get, home: Path) -> Way:
    authority = Authority(home / "authority")
    cert, key = authority.issue("localhost")
    proxied = {
        "access.mode": ["proxy", "token"],
        "access.proxy.certificates": ["proxy.example.com"],
        "server.tls.cert": cert,
        "server.tls.key": key,
        "server.tls.client_ca": authority.path,
    }
    client = by_proxy(authority.issue("proxy.example.com"))
    return Way("proxy", proxied, client, BEARER, lambda server: client(server, ""), authority=authority.path)


WAYS: dict[str, Callable[[Get, Path], Way]] = {
    "basic": _basic,
    "token": _token,
    "cookie": _cookie,
    "ldap": _ldap,
    "kerberos": _kerberos,
    "jwt": _jwt,
    "proxy": _proxy,
}
