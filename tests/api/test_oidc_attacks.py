"""Browsers' logins at an OpenID provider: what would log somebody in as another, send them elsewhere, or tell
secrets (S2, S3, S23, S25)."""

from __future__ import annotations

import contextlib
import html
import json
import time
from pathlib import Path
from typing import Any, Callable
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from harness.issuer import AUDIENCE, Key, shared, signed
from harness.processes import wait_until
from harness.provider import Provider
from harness.server import Server
from harness.stub import Stub
from harness.visitor import CALLBACK, SECRET, Visitor, alert, at, changed, goes_to


def test_where_it_goes_on(serve_oidc: Callable[..., Server]) -> None:
    """To a path of the server's that was asked for, and nowhere else."""
    server = serve_oidc()
    for own in ("/ui", "/", "/sessions?from=0&size=10", "/sessions/3/log"):
        page = Visitor(server).log_in(f"/login/oidc?{urlencode({'next': own})}")
        assert goes_to(page) == own
    evil = "evil.example"
    for other in (
        f"https://{evil}/",
        f"//{evil}/",
        f"/\\{evil}",
        f"\\\\{evil}",
        f"/\t/{evil}",
        f"https:{evil}",
        f"/ui/../../{evil}",
        f"/%2f{evil}",
        f"javascript:alert('{evil}')",
        f"/ui?x='><script src=//{evil}>",
        f"/ui\r\nLocation: //{evil}",
        f" /{evil}/",
        "x" * 5000,
        "",
    ):
        page = Visitor(server).log_in(f"/login/oidc?{urlencode({'next': other})}")
        assert goes_to(page) == "/ui", other
        assert evil not in page.text
    for query in (f"next=/ui&next=//{evil}", f"to=//{evil}", "next", "%ff"):
        assert goes_to(Visitor(server).log_in(f"/login/oidc?{query}")) == "/ui", query


def test_another_browsers_login(provider: Provider, serve_oidc: Callable[..., Server]) -> None:
    """S2: whoever is led to the callback of a login that somebody else began is not logged in as them, with a
    login of their own under way or without; and nothing is asked of the provider."""
    server = serve_oidc()
    mallory, alice, bob = Visitor(server), Visitor(server), Visitor(server)
    provider.user = "mallory"
    trap = mallory.begin()
    provider.user = "alice"
    own = alice.begin()
    for victim in (alice, bob):
        page = victim.get(trap)
        assert page.status_code == 403
        assert "not begun in this browser" in alert(page)
        assert "firesteel" not in victim.cookies
        assert victim.status() == 401
    mixed = changed(own, code=parse_qs(urlsplit(trap).query)["code"][0])
    page = alice.get(mixed)
    assert page.status_code == 401
    assert provider.seen.refusals == ["the code_verifier does not fit"]
    # What others did with it has not ended the login of who began it.
    assert mallory.get(trap).status_code == 200


def test_a_state_that_is_not_ours(provider: Provider, serve_oidc: Callable[..., Server]) -> None:
    """Changed, missing, or there twice: 403, and nothing is asked of the provider."""
    browser = Visitor(serve_oidc())
    back = browser.begin()
    state = parse_qs(urlsplit(back).query)["state"][0]
    twice = f"{back}&{urlencode({'state': state})}"
    for url in (
        changed(back, state="x" * 43),
        changed(back, state=state[:-1]),
        changed(back, state=""),
        changed(back, state=None),
        changed(back, state=browser.http.cookies["firesteel-login"]),
        twice,
        f"{browser.url}{CALLBACK}",
        f"{browser.url}{CALLBACK}?%ff=%ff",
    ):
        page = browser.get(url)
        assert page.status_code == 403, url
        assert "not begun in this browser" in alert(page)
        assert "firesteel" not in browser.cookies
    assert provider.seen.requests == []
    assert browser.get(back).status_code == 200


def test_each_answer_counts_once(provider: Provider, serve_oidc: Callable[..., Server]) -> None:
    """S3: the callback again, by the same browser with the same cookie, logs nobody in; a code that was used
    neither."""
    browser = Visitor(serve_oidc())
    back = browser.begin()
    kept = {"Cookie": f"firesteel-login={browser.http.cookies['firesteel-login']}"}
    first = requests.get(back, headers=kept, timeout=30)
    assert first.status_code == 200
    again = requests.get(back, headers=kept, timeout=30)
    assert again.status_code == 403
    assert "Set-Cookie" not in again.headers
    assert len(provider.seen.requests) == 1
    used = parse_qs(urlsplit(back).query)["code"][0]
    page = browser.get(changed(browser.begin(), code=used))
    assert page.status_code == 401
    assert "does not take its code" in alert(page)
    assert provider.seen.refusals == ["the code is not known or was used"]
    assert browser.status() == 401


def wrong_tokens(provider: Provider) -> dict[str, tuple[Any, str]]:
    """ID tokens that are good but for one thing: claims to change or a way to sign, and what is said."""
    now = int(time.time())
    key = provider.keys[0]
    foreign = Key(key.kid)
    head = {"alg": "HS256", "kid": key.kid, "typ": "JWT"}
    return {
        "another nonce": ({"nonce": "x" * 43}, "another login"),
        "no nonce": ({"nonce": None}, "another login"),
        "a nonce that is no text": ({"nonce": ["x"]}, "another login"),
        "another audience": ({"aud": "other"}, "another client"),
        "no audience": ({"aud": None}, "refused"),
        "more audiences": ({"aud": [AUDIENCE, "other"]}, "another client"),
        "another party": ({"azp": "other"}, "another client"),
        "more audiences and another party": ({"aud": [AUDIENCE, "other"], "azp": "other"}, "another client"),
        "another issuer": ({"iss": provider.url + "/"}, "refused"),
        "expired": ({"exp": now - 61}, "clock"),
        "no expiry": ({"exp": None}, "refused"),
        "not yet valid": ({"nbf": now + 90}, "clock"),
        "made in the future": ({"iat": now + 90}, "clock"),
        "no time when it was made": ({"iat": None}, "iat"),
        "no subject": ({"sub": None}, "sub"),
        "a user that no user can be": ({"sub": "alice bob"}, "access.jwt.user_claim"),
        "a key of somebody else": (foreign.token, "refused"),
        "a key that is not known": (Key("unknown").token, "key"),
        "no signature": (lambda claims: signed({"alg": "none"}, claims, lambda _: b""), "read"),
        "none, signed": (lambda claims: key.token(claims, alg="none"), "read"),
        "the public key as a secret": (
            lambda claims: signed(head, claims, shared(key.public_pem())),
            "HS256",
        ),
        "the client as a secret": (lambda claims: signed(head, claims, shared(AUDIENCE.encode())), "HS256"),
        "something that must be understood": (lambda claims: key.token(claims, crit=["x"], x=1), "crit"),
        "no token": (lambda _: "x", "read"),
        "too long": (lambda claims: key.token({**claims, "pad": "x" * 20000}), "read"),
    }


def test_wrong_tokens(provider: Provider, serve_oidc: Callable[..., Server]) -> None:
    """None of them logs anybody in; each is 401 with a sentence, and the good one before and after is 200."""
    server = serve_oidc()
    assert Visitor(server).log_in().status_code == 200
    for name, (change, said) in wrong_tokens(provider).items():
        provider.claim, provider.signer = (change, None) if isinstance(change, dict) else ({}, change)
        browser = Visitor(server)
        page = browser.log_in()
        assert page.status_code == 401, name
        assert said in alert(page), f"{name}: {alert(page)}"
        assert "WWW-Authenticate" not in page.headers
        assert "firesteel" not in browser.cookies, name
        assert browser.status() == 401, name
    provider.signer = None
    for good in ({}, {"aud": [AUDIENCE]}, {"aud": [AUDIENCE, "other"], "azp": AUDIENCE}, {"azp": AUDIENCE}):
        provider.claim = good
        assert Visitor(server).log_in().status_code == 200, good


def test_what_the_token_endpoint_may_say(provider: Provider, serve_oidc: Callable[..., Server]) -> None:
    """Anything else than an ID token logs nobody in, and breaks nothing."""
    server = serve_oidc()
    ok = {"Content-Type": "application/json"}
    token = provider.token(nonce="x" * 43)
    for answer in (
        (200, ok, b"{}"),
        (200, ok, b"[]"),
        (200, ok, b""),
        (200, ok, b'{"id_token": 5}'),
        (200, ok, b"\xff"),
        (200, ok, json.dumps({"id_token": token, "error": "odd\nerror"}).encode()),
        (400, ok, json.dumps({"id_token": token}).encode()),
        (200, ok, b" " * (2 << 20)),
        (500, {}, b"down"),
        (302, {"Location": f"{provider.url}/keys"}, b""),
    ):
        provider.token_answer = answer
        browser = Visitor(server)
        page = browser.log_in()
        assert page.status_code == 503, answer
        assert "Retry-After" in page.headers
        assert "firesteel" not in browser.cookies
    provider.token_answer = None
    assert Visitor(server).log_in().status_code == 200
    assert server.log().count("has failed") == 1


def test_the_provider_says_no(provider: Provider, serve_oidc: Callable[..., Server]) -> None:
    """Its words are on the page, escaped and cut; only the browser that began the login sees them."""
    browser = Visitor(serve_oidc())
    provider.error = {
        "error": "access_denied",
        "error_description": "Not <script>alert(1)</script> you." + "x" * 9000,
    }
    page = browser.log_in()
    assert page.status_code == 403
    assert "<script" not in page.text
    sentence = html.unescape(alert(page))
    assert sentence.startswith("The identity provider has logged nobody in: access_denied, Not <script>")
    assert len(sentence) < 400
    assert "Log in with single sign-on" in page.text
    strange = browser.get(f"{CALLBACK}?error=access_denied&error_description=canary&state=x")
    assert strange.status_code == 403
    assert "canary" not in strange.text
    provider.error = {"code": ""}
    assert browser.log_in().status_code == 400
    assert provider.seen.requests == []
    provider.error = {}
    assert browser.log_in().status_code == 200


def test_who_answers(provider: Provider, serve_oidc: Callable[..., Server]) -> None:
    """A browser that brings another provider's name, or none where the provider has said that it tells its
    own, is not logged in (RFC 9207)."""
    server = serve_oidc()
    other = Visitor(server)
    assert other.get(changed(other.begin(), iss="https://evil.example")).status_code == 400
    assert Visitor(server).get(changed(Visitor(server).begin(), iss=provider.url)).status_code == 403
    own = Visitor(server)
    assert own.get(changed(own.begin(), iss=provider.url)).status_code == 200
    provider.lie = {"authorization_response_iss_parameter_supported": True}
    provider.redirect_uri = ""
    strict = serve_oidc()
    own = Visitor(strict)
    assert own.log_in().status_code == 400
    assert own.get(changed(own.begin(), iss=provider.url)).status_code == 200


@pytest.mark.parametrize(
    "lie",
    [
        {"issuer": "http://127.0.0.1:1"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "/authorize"},
        {"token_endpoint": "file:///etc/passwd"},
        {"token_endpoint": None},
    ],
)
def test_what_a_provider_may_say_of_itself(
    provider: Provider, serve_oidc: Callable[..., Server], lie: dict[str, Any]
) -> None:
    """Nobody is sent anywhere by a description that is another's, or names what is no address."""
    provider.lie = lie
    page = Visitor(serve_oidc()).get("/login/oidc", allow_redirects=False)
    assert page.status_code == 503
    assert "Location" not in page.headers


def test_logins_that_never_come_back(provider: Provider, serve_oidc: Callable[..., Server]) -> None:
    """There are so many, and they last so long: the oldest end, whatever comes."""
    server = serve_oidc({"access.oidc.pending": 5, "access.oidc.pending_time": "3s"})
    first = Visitor(server)
    back = first.begin()
    for _ in range(50):
        assert Visitor(server).get("/login/oidc", allow_redirects=False).status_code == 303
    assert first.get(back).status_code == 403
    last = Visitor(server)
    assert last.log_in().status_code == 200
    late = Visitor(server)
    back = late.begin()
    cookie = {"Cookie": f"firesteel-login={late.http.cookies['firesteel-login']}"}
    # What is waited for is that nothing happens.
    time.sleep(3.1)
    assert requests.get(back, headers=cookie, timeout=30).status_code == 403
    assert len(provider.seen.requests) == 1


def test_secrets_are_in_no_log(stub_home: Stub, tmp_path: Path, serve: Callable[..., Server]) -> None:
    """S25: not the client's secret, no code, state, nonce, verifier, token or cookie, at any level of the
    log, nor in the audit log, nor in the store."""
    provider = Provider(SECRET)
    with contextlib.ExitStack() as ending:
        ending.callback(provider.stop)
        file, audit = tmp_path / "secret", tmp_path / "audit"
        file.write_text(SECRET)
        own = {
            "access.oidc.client_secret_file": str(file),
            "audit.file": str(audit),
            "audit.reads": True,
            "log.level": "trace",
        }
        settings, port = at(provider, {**stub_home.settings, **own})
        server = serve(settings, port=port)
        browser = Visitor(server)
        cookies = []
        for change in ({}, {"nonce": "x"}, {"exp": 1}):
            provider.claim = change
            back = browser.begin()
            cookies.append(browser.http.cookies["firesteel-login"])
            browser.get(back)
            browser.get(back)
        provider.error = {"error": "access_denied", "error_description": "canary-description"}
        browser.log_in()
        cookies.append(browser.http.cookies["firesteel"])
        wait_until("the audit log has all", lambda: audit.read_text().count(CALLBACK) == 7, 20)
        secrets = [SECRET, "canary", *cookies, *provider.given, *provider.grants]
        secrets += [header["Authorization"].split()[1] for header in provider.seen.headers]
        for form in provider.seen.requests:
            secrets += [form["code"], form["code_verifier"], urlencode({"code": form["code"]})]
        for grant in provider.grants.values():
            secrets += [grant.asked[name] for name in ("state", "nonce", "code_challenge")]
        assert len(secrets) > 25
        stored = [path.read_bytes() for path in server.state_dir.glob("firesteel.db*")]
        places = [server.log().encode(), audit.read_bytes(), *stored]
        assert all(places[:2])
        for secret in secrets:
            assert not any(secret.encode() in place for place in places), secret
