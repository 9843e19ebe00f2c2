"""A browser that logs in at an OpenID provider: it keeps cookies, follows redirects, and tells where a page
sends it."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests

from harness.provider import Provider
from harness.server import Server, free_port

CALLBACK = "/login/oidc/callback"
SECRET = "s3cret +/%:ä=canary"
"""A client's, with what it must encode before it sends it."""

BROWSER = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Site": "none"}


def at(provider: Provider, settings: dict) -> tuple[dict, int]:
    """The settings and the port of a server whose browsers log in at the provider. It is `localhost`, which
    is another site than the provider's 127.0.0.1."""
    port = free_port()
    provider.redirect_uri = provider.redirect_uri or f"http://localhost:{port}{CALLBACK}"
    return {"access.mode": "oidc", "log.access": True, **provider.settings, **settings}, port


class Visitor:
    """What a browser does: it keeps cookies, follows redirects, and goes where a page sends it."""

    def __init__(self, server: Server):
        self.url = f"http://localhost:{server.port}"
        self.http = requests.Session()
        self.http.trust_env = False

    def get(self, path: str, **more: Any) -> requests.Response:
        """One exchange, with what it is redirected to."""
        url = path if "://" in path else self.url + path
        more.setdefault("headers", BROWSER)
        return self.http.get(url, timeout=30, **more)

    def begin(self, path: str = "/login/oidc") -> str:
        """Go to the provider and stop where it sends the browser back: that address."""
        sent = self.get(path, allow_redirects=False)
        assert sent.status_code == 303, sent.text
        back = requests.get(sent.headers["Location"], allow_redirects=False, timeout=30)
        assert back.status_code == 302, back.text
        return back.headers["Location"]

    def log_in(self, path: str = "/login/oidc") -> requests.Response:
        """The whole way: what the callback answers."""
        return self.get(self.begin(path))

    def status(self) -> int:
        """Whether it is logged in."""
        return self.get("/sessions", headers={}).status_code

    @property
    def cookies(self) -> set[str]:
        """Their names."""
        return {cookie.name for cookie in self.http.cookies}


def goes_to(page: requests.Response) -> str:
    """Where a page goes on to by itself."""
    (to,) = re.findall(r'<meta http-equiv="refresh" content="0; url=([^"]*)">', page.text)
    return html.unescape(to)


def alert(page: requests.Response) -> str:
    """What a page says that is wrong."""
    assert page.headers["Content-Type"] == "text/html;charset=utf-8"
    (sentence,) = re.findall(r'<p[^>]* role="alert">(.*?)</p>', page.text)
    return sentence


def changed(url: str, **query: str | None) -> str:
    """An address with another query."""
    parts = urlsplit(url)
    pairs = {**dict(parse_qsl(parts.query)), **query}
    return parts._replace(query=urlencode({k: v for k, v in pairs.items() if v is not None})).geturl()
