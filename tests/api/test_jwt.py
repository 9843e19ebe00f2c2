"""Bearer tokens of an identity provider that signs with real keys: what is taken, and what is not."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest
import requests
from harness.api import Api
from harness.issuer import AUDIENCE, Issuer, Key, encoded, shared, signed
from harness.processes import wait_until
from harness.server import Server
from harness.stub import Stub


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """A provider of the test's own."""
    made = Issuer()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A Spark that sleeps."""
    return Stub(tmp_path_factory.mktemp("jwt-stub") / "spark").settings


@pytest.fixture
def make(issuer: Issuer, stub: dict, serve: Callable[..., Server]) -> Callable[..., Server]:
    """Servers that believe the provider."""

    def start(**changes: object) -> Server:
        changed = {f"access.jwt.{key}": value for key, value in changes.items()}
        return serve({**stub, "access.mode": "jwt", **issuer.settings, **changed})

    return start


def ask(server: Server, token: str, scheme: str = "Bearer") -> requests.Response:
    """A request with a token."""
    return Api(server.url, headers={"Authorization": f"{scheme} {token}"}).get("/sessions")


def status(server: Server, token: str) -> int:
    """What a token is answered."""
    return ask(server, token).status_code


def test_good_tokens(issuer: Issuer, make: Callable[..., Server]) -> None:
    """Each algorithm; audiences in a list; the claims that name user and groups; what is made is that
    user's."""
    issuer.keys = [Key(name, name) for name in ("RS256", "PS256", "ES256", "EdDSA")]
    server = make()
    for key in issuer.keys:
        assert status(server, key.token(issuer.claims())) == 200, key.algorithm
    assert issuer.fetches == 1
    assert status(server, issuer.token(aud=["other", AUDIENCE])) == 200
    assert ask(server, issuer.token(), scheme="bearer").status_code == 200
    api = Api(server.url, headers={"Authorization": f"Bearer {issuer.token('ada@example.com')}"})
    session = api.create()
    assert session.created["owner"] == "ada@example.com"
    mine = Api(server.url, headers={"Authorization": f"Bearer {issuer.token('bob')}"})
    assert mine.get(session.path).status_code == 404
    refused = Api(server.url).get("/sessions")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="firesteel"')


def test_other_claims(issuer: Issuer, make: Callable[..., Server]) -> None:
    """User and groups come from the claims that the configuration names."""
    server = serve_debug(make, user_claim="preferred_username", groups_claim="roles")
    groups = ["analysts", "data team", 5, "", "x" * 300, "new\nline"]
    assert status(server, issuer.token(preferred_username="ada", roles=groups)) == 200
    assert 'access.jwt: ada is in ["analysts", "data team"]' in server.log()
    assert status(server, issuer.token(preferred_username="bob", roles="one")) == 200
    assert 'access.jwt: bob is in ["one"]' in server.log()
    assert status(server, issuer.token()) == 401


def serve_debug(make: Callable[..., Server], **changes: object) -> Server:
    """A server whose log tells why tokens are refused."""
    server = make(**changes)
    server.kill9()
    server.argv += ["--set", "log.level=info,firesteel::authentication=debug"]
    server.start()
    return server


def bad(issuer: Issuer) -> dict[str, str]:
    """Tokens that are good but for one thing."""
    now = int(time.time())
    key = issuer.keys[-1]
    claims = issuer.claims()
    foreign = Key(key.kid)
    good = issuer.token()
    head, body, signature = good.split(".")
    mallory = encoded(json.dumps({**claims, "sub": "mallory"}).encode())
    flipped = signature[:20] + ("A" if signature[20] != "A" else "B") + signature[21:]
    pem = key.public_pem()
    own_key = {"alg": "RS256", "jwk": foreign.public(), "kid": key.kid}
    return {
        "another audience": issuer.token(aud="other"),
        "audiences without ours": issuer.token(aud=["other", AUDIENCE + "x"]),
        "no audience": issuer.token(aud=None),
        "an audience that is no text": issuer.token(aud=5),
        "another issuer": issuer.token(iss=issuer.url + "/"),
        "no issuer": issuer.token(iss=None),
        "expired": issuer.token(exp=now - 61),
        "no expiry": issuer.token(exp=None),
        "an expiry that is no number": issuer.token(exp="never"),
        "not yet valid": issuer.token(nbf=now + 90),
        "a beginning that is no number": issuer.token(nbf="later"),
        "no user": issuer.token(sub=None),
        "a user that is no text": issuer.token(sub=["alice"]),
        "an empty user": issuer.token(sub=""),
        "a user that no user can be": issuer.token(sub="alice bob"),
        "an option for a user": issuer.token(sub="-alice"),
        "a signature of another key": foreign.token(claims),
        "a signature that was changed": f"{head}.{body}.{flipped}",
        "a body that was changed": f"{head}.{mallory}.{signature}",
        "no signature": f"{head}.{body}.",
        "alg none": signed({"alg": "none", "typ": "JWT"}, claims, lambda _: b""),
        "alg None": signed({"alg": "None", "kid": key.kid}, claims, lambda _: b""),
        "alg none, signed": key.token(claims, alg="none"),
        "no alg": key.token(claims, alg=None),
        "the public key as a secret": signed({"alg": "HS256", "kid": key.kid}, claims, shared(pem)),
        "an empty secret": signed({"alg": "HS256", "kid": key.kid}, claims, shared(b"")),
        "an algorithm that is not listed": key.token(claims, alg="RS512"),
        "an algorithm of another kind of key": key.token(claims, alg="ES256"),
        "its own key": signed(own_key, claims, foreign.sign),
        "a key's address of its own": foreign.token(claims, jku="http://127.0.0.1:1/keys"),
        "a key that is not known": Key("unknown").token(claims),
        "an odd key id": key.token(claims, kid="../../../dev/null"),
        "a key id of another type": key.token(claims, kid=5),
        "something that must be understood": key.token(claims, crit=["new"], new=1),
        "claims that are a list": signed({"alg": "RS256", "kid": key.kid}, [claims], key.sign),  # type: ignore[arg-type]
        "two parts": f"{head}.{body}",
        "four parts": f"{good}.x",
        "no parts": "x",
        "dots": "..",
        "too long": key.token({**claims, "pad": "x" * 20000}),
        "not base64": f"{head}.{body}!.{signature}",
    }


def test_bad_tokens(issuer: Issuer, make: Callable[..., Server]) -> None:
    """None of them gets in; each is 401 with the challenge, and the good one before and after is 200."""
    server = make(fetch_interval="60s")
    assert status(server, issuer.token()) == 200
    for name, token in bad(issuer).items():
        answer = ask(server, token)
        assert answer.status_code == 401, name
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="firesteel"', name
    assert status(server, issuer.token()) == 200
    assert issuer.fetches == 1


def test_clocks_may_differ_by_the_leeway(issuer: Issuer, make: Callable[..., Server]) -> None:
    """A minute early or late is no matter; with none, it is."""
    now = int(time.time())
    server, strict = make(), make(leeway="0s")
    for token in (issuer.token(exp=now - 30), issuer.token(nbf=now + 30)):
        assert (status(server, token), status(strict, token)) == (200, 401)


def test_a_new_key_counts_and_an_old_one_ends(issuer: Issuer, make: Callable[..., Server]) -> None:
    """S3: a key that is not known has the keys fetched again; one that was taken back counts until
    `refresh`."""
    server = make(fetch_interval="100ms", refresh="1s")
    old = issuer.token()
    assert status(server, old) == 200
    issuer.keys.append(Key("second"))
    wait_until("the new key counts", lambda: status(server, issuer.token()) == 200, 20)
    assert status(server, old) == 200
    del issuer.keys[0]
    wait_until("the old key ends", lambda: status(server, old) == 401, 20)
    assert status(server, issuer.token()) == 200


def test_unknown_keys_ask_the_provider_seldom(issuer: Issuer, make: Callable[..., Server]) -> None:
    """200 tokens, each of another unknown key: one fetch in each `fetch_interval`."""
    server = make(fetch_interval="1h")
    assert status(server, issuer.token()) == 200
    key = issuer.keys[0]
    for number in range(200):
        assert status(server, key.token(issuer.claims(), kid=f"unknown-{number}")) == 401
    assert issuer.fetches == 1
    assert status(server, issuer.token()) == 200


def test_a_provider_that_is_down(issuer: Issuer, make: Callable[..., Server]) -> None:
    """Before its keys are known: 503, told once in the log, and well again when it is. After: they do until
    they are stale."""
    issuer.is_down = True
    server = make(fetch_interval="100ms", refresh="200ms", stale="2s")
    for _ in range(3):
        answer = ask(server, issuer.token())
        assert answer.status_code == 503
        assert "does not answer" in answer.json()["msg"]
    assert status(server, "no.token.atall") == 401
    issuer.is_down = False
    wait_until("it answers again", lambda: status(server, issuer.token()) == 200, 20)
    issuer.is_down = True
    for _ in range(5):
        assert status(server, issuer.token()) == 200
    wait_until("its keys are too old", lambda: status(server, issuer.token()) == 503, 20)
    assert server.log().count("the keys can't be had from") == 2


def test_what_a_provider_may_say(issuer: Issuer, make: Callable[..., Server]) -> None:
    """A description of another issuer's, and keys that are none: nobody gets in."""
    issuer.lie = {"issuer": "http://127.0.0.1:1"}
    assert status(make(), issuer.token()) == 503
    issuer.lie = {"jwks_uri": f"{issuer.url}/.well-known/openid-configuration"}
    assert status(make(), issuer.token()) == 503
    issuer.lie = {"jwks_uri": "file:///dev/null"}
    assert status(make(), issuer.token()) == 503


def test_keys_from_a_file(issuer: Issuer, make: Callable[..., Server], tmp_path: Path) -> None:
    """A JWK set in a file; a changed one counts within a second or so; a shared secret in it never does."""
    file = tmp_path / "keys.json"
    secret = {"kty": "oct", "kid": "secret", "k": encoded(b"s" * 32)}
    file.write_text(json.dumps({"keys": [secret, issuer.keys[0].public()]}))
    server = make(keys=file)
    assert status(server, issuer.token()) == 200
    forged = signed({"alg": "HS256", "kid": "secret"}, issuer.claims(), shared(b"s" * 32))
    assert status(server, forged) == 401
    issuer.keys.append(Key("second"))
    file.write_text(json.dumps({"keys": [issuer.keys[1].public()]}))
    old = issuer.keys[0].token(issuer.claims())
    wait_until("the old key ends", lambda: status(server, old) == 401, 20)
    assert status(server, issuer.token()) == 200
    file.unlink()
    wait_until("without keys nobody gets in", lambda: status(server, issuer.token()) == 503, 20)
    assert issuer.fetches == 0
