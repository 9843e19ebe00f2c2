"""An OpenID provider on loopback with an authorization and a token endpoint: it logs in whoever comes, and
holds clients to what the protocol asks of them."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import threading
from dataclasses import dataclass, field
from typing import Any, Mapping
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from harness.issuer import AUDIENCE, Issuer, Reply, encoded


@dataclass
class Grant:
    """A code that was given out."""

    asked: dict[str, str]
    """The authorization request."""
    user: str
    is_used: bool = False


@dataclass
class Seen:
    """What the token endpoint was asked, and what it refused."""

    requests: list[dict[str, str]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)


class Provider(Issuer):
    """Its client is `firesteel`, with a secret or without."""

    def __init__(self, secret: str = "") -> None:
        self.secret = secret
        self.redirect_uri = ""
        self.user = "alice"
        self.grants: dict[str, Grant] = {}
        self.seen = Seen()
        self.claim: dict[str, Any] = {}
        """Claims of ID tokens that are otherwise than they should be; None leaves one out."""
        self.signer: Any = None
        """What makes ID tokens of claims instead of the newest key."""
        self.error: dict[str, str] = {}
        """What browsers come back with instead of a code."""
        self.has_page = False
        """Whether a page of the provider's sends the browser back, as where people type a password, or it
        does so at once."""
        self.token_answer: Reply | None = None
        """What the token endpoint answers instead."""
        self.given: list[str] = []
        """ID tokens and access tokens that were given out."""
        self.lock = threading.Lock()
        super().__init__()

    @property
    def settings(self) -> dict:
        """The server's configuration, but for the file with the secret."""
        return {
            "access.jwt.issuer": self.url,
            "access.oidc.client_id": AUDIENCE,
            "access.oidc.redirect_uri": self.redirect_uri,
        }

    def answer(self, path: str) -> dict | None:
        """The description says where the two endpoints are."""
        found = super().answer(path)
        if path == "/.well-known/openid-configuration":
            assert found is not None
            ends = {
                "authorization_endpoint": f"{self.url}/authorize?realm=a%26b",
                "token_endpoint": f"{self.url}/token",
            }
            return {**ends, **found, "jwks_uri": f"{self.url}/keys"}
        return found

    def asked(self, path: str) -> Reply:
        """The authorization endpoint sends the browser back."""
        parts = urlsplit(path)
        if parts.path != "/authorize":
            return super().asked(path)
        query = parse_qs(parts.query, strict_parsing=True)
        assert all(len(values) == 1 for values in query.values()), query
        asked = {name: values[0] for name, values in query.items()}
        wrong = self._wrong_request(asked)
        if wrong:
            # RFC 6749, 4.1.2.1: nobody is sent to an address that is not registered.
            return 400, {}, wrong.encode()
        back = self.error or {"code": self.code(asked)}
        location = f"{asked['redirect_uri']}?{urlencode({**back, 'state': asked['state']})}"
        if self.has_page:
            page = f'<meta http-equiv="refresh" content="0; url={html.escape(location)}">'
            return 200, {"Content-Type": "text/html"}, page.encode()
        return 302, {"Location": location}, b""

    def _wrong_request(self, asked: dict[str, str]) -> str:
        expected = {
            "realm": "a&b",
            "response_type": "code",
            "client_id": AUDIENCE,
            "redirect_uri": self.redirect_uri,
            "code_challenge_method": "S256",
        }
        for name, value in expected.items():
            if asked.get(name) != value:
                return f"{name} is {asked.get(name)!r}, not {value!r}"
        if "openid" not in asked.get("scope", "").split(" "):
            return "the scope has no openid"
        for name in ("state", "nonce", "code_challenge"):
            if len(asked.get(name, "")) != 43:
                return f"{name} is {asked.get(name)!r}"
        return ""

    def code(self, asked: dict[str, str]) -> str:
        """A code for an authorization request."""
        code = secrets.token_urlsafe(24) + "+/= &%"
        with self.lock:
            self.grants[code] = Grant(asked, self.user)
        return code

    def posted(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The token endpoint (RFC 6749, 4.1.3; RFC 7636, 4.6)."""
        if path != "/token":
            return super().posted(path, headers, body)
        form = {name: values[0] for name, values in parse_qs(body.decode(), strict_parsing=True).items()}
        with self.lock:
            self.seen.requests.append(form)
            self.seen.headers.append(headers)
            wrong = self._wrong_client(form, headers.get("Authorization")) or self._wrong_grant(form)
            if wrong:
                error, why = wrong
                self.seen.refusals.append(why)
                return self._json(401 if error == "invalid_client" else 400, {"error": error})
            grant = self.grants[form["code"]]
            grant.is_used = True
        if self.token_answer:
            return self.token_answer
        tokens = {"id_token": self.id_token(grant), "access_token": secrets.token_urlsafe(24)}
        self.given += tokens.values()
        return self._json(200, {"token_type": "Bearer", "expires_in": 60, **tokens})

    def _wrong_client(self, form: dict[str, str], header: str | None) -> tuple[str, str] | None:
        if not self.secret:
            is_it = header is None and form.get("client_id") == AUDIENCE
        else:
            scheme, _, pair = (header or "").partition(" ")
            client, _, secret = base64.b64decode(pair).decode().partition(":")
            is_it = (scheme, unquote_plus(client), unquote_plus(secret)) == ("Basic", AUDIENCE, self.secret)
            is_it = is_it and "client_secret" not in form
        return None if is_it else ("invalid_client", "the client is not known")

    def _wrong_grant(self, form: dict[str, str]) -> tuple[str, str] | None:
        grant = self.grants.get(form.get("code", ""))
        if form.get("grant_type") != "authorization_code":
            return "unsupported_grant_type", "no code"
        if grant is None or grant.is_used:
            return "invalid_grant", "the code is not known or was used"
        if form.get("redirect_uri") != grant.asked["redirect_uri"]:
            return "invalid_grant", "another redirect_uri"
        verifier = form.get("code_verifier", "")
        if encoded(hashlib.sha256(verifier.encode()).digest()) != grant.asked["code_challenge"]:
            return "invalid_grant", "the code_verifier does not fit"
        return None

    def id_token(self, grant: Grant) -> str:
        """The ID token of a code."""
        claims = self.claims(grant.user, **{"nonce": grant.asked["nonce"], **self.claim})
        return self.signer(claims) if self.signer else self.keys[-1].token(claims)

    @staticmethod
    def _json(status: int, body: dict) -> Reply:
        return status, {"Content-Type": "application/json"}, json.dumps(body).encode()
