"""Browsers' logins at an OpenID provider of the test's own, as they should be and as they fail."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Callable
from urllib.parse import urlsplit

import pytest
import requests
from harness.issuer import AUDIENCE, Key
from harness.processes import wait_until
from harness.provider import Provider
from harness.server import Server, command
from harness.stub import Stub
from harness.visitor import BROWSER, CALLBACK, SECRET, Visitor, alert, at, goes_to

FAST = {"access.jwt.fetch_interval": "100ms"}


def test_a_login(provider: Provider, serve_oidc: Callable[..., Server], tmp_path: Path) -> None:
    """A browser that nobody knows is sent to the login, from there to the provider, comes back, and is
    logged in; then it logs out. The audit log has who came."""
    audit = tmp_path / "audit"
    server = serve_oidc({"audit.file": str(audit), "access.oidc.name": "Example & <Co>"})
    browser = Visitor(server)
    page = browser.get("/")
    assert page.url == f"{browser.url}/login"
    assert "<form" not in page.text
    (link,) = re.findall('<a[^>]* href="([^"]+)">Log in with Example &#38; &#60;Co&#62;</a>', page.text)
    begun = browser.get(link, allow_redirects=False)
    assert re.fullmatch(
        r"firesteel-login=[A-Za-z0-9_-]{43}; Path=/; Max-Age=600; HttpOnly; SameSite=Lax",
        begun.headers["Set-Cookie"],
    )
    assert begun.headers["Cache-Control"] == "no-store"
    back = browser.get(browser.begin(link))
    assert back.status_code == 200, back.text
    assert back.headers["Cache-Control"] == "no-store"
    set_cookies = back.raw.headers.getlist("Set-Cookie")
    assert re.fullmatch(
        r"firesteel=[A-Za-z0-9_-]{54}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict", set_cookies[0]
    )
    assert set_cookies[1] == "firesteel-login=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
    assert goes_to(back) == "/ui"
    assert "Sessions" in browser.get("/ui").text
    made = browser.http.post(
        f"{browser.url}/sessions", json={"kind": "pyspark"}, headers={"Origin": browser.url}
    )
    assert (made.status_code, made.json()["owner"]) == (201, "alice")
    cookie = browser.http.cookies.get("firesteel")
    left = browser.http.post(f"{browser.url}/logout", headers={**BROWSER, "Origin": browser.url})
    assert left.url.endswith("/login")
    assert not browser.cookies
    stale = requests.get(f"{browser.url}/sessions", headers={"Cookie": f"firesteel={cookie}"}, timeout=30)
    assert stale.status_code == 401
    assert len(provider.seen.requests) == 1
    wait_until("the audit log has it", lambda: '"/logout"' in audit.read_text(), 20)
    records = [json.loads(line) for line in audit.read_text().splitlines()]
    (record,) = [record for record in records if record.get("route") == CALLBACK]
    assert (record["user"], record["by"], record["allowed"], record["status"]) == ("alice", "oidc", True, 200)


def test_a_client_with_a_secret(stub_home: Stub, tmp_path: Path, serve: Callable[..., Server]) -> None:
    """It is read from a file with each login and sent as the protocol says; a wrong one is told the
    administrator, once."""
    provider = Provider(SECRET)
    with contextlib.ExitStack() as ending:
        ending.callback(provider.stop)
        file = tmp_path / "secret"
        file.write_text(SECRET + "\n")
        file.chmod(0o600)
        own = {"access.oidc.client_secret_file": str(file)}
        settings, port = at(provider, {**stub_home.settings, **own})
        server = serve(settings, port=port)
        browser = Visitor(server)
        assert browser.log_in().status_code == 200
        assert browser.status() == 200
        file.write_text("wrong\n")
        for _ in range(2):
            page = Visitor(server).log_in()
            assert page.status_code == 503
            assert "refuses this server" in alert(page)
        assert server.log().count("it refuses this server: invalid_client") == 1
        file.unlink()
        assert Visitor(server).log_in().status_code == 503
        file.write_text(SECRET)
        assert Visitor(server).log_in().status_code == 200
        assert "takes codes again" in server.log()


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_algorithms(provider: Provider, serve_oidc: Callable[..., Server], algorithm: str) -> None:
    """Each that is listed."""
    provider.keys = [Key(algorithm, algorithm)]
    browser = Visitor(serve_oidc())
    assert browser.log_in().status_code == 200
    assert browser.status() == 200


def test_below_a_proxys_path(provider: Provider, serve_oidc: Callable[..., Server]) -> None:
    """Behind a proxy that does TLS the cookies are for HTTPS alone, and paths are the proxy's."""
    provider.redirect_uri = f"https://spark.example.com/hub/spark{CALLBACK}"
    server = serve_oidc({"server.base_path": "/spark", "server.forwarded": True})
    browser = Visitor(server)
    forwarded = {**BROWSER, "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/hub"}
    assert 'href="/hub/spark/login/oidc"' in browser.get("/spark/login", headers=forwarded).text
    begun = browser.get("/spark/login/oidc?next=/sessions", headers=forwarded, allow_redirects=False)
    kept = begun.headers["Set-Cookie"]
    assert re.fullmatch(
        r"__Host-firesteel-login=[\w-]{43}; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure", kept
    )
    back = requests.get(begun.headers["Location"], allow_redirects=False, timeout=30).headers["Location"]
    assert back.startswith(provider.redirect_uri + "?")
    query = urlsplit(back).query
    path = f"/spark{CALLBACK}?{query}"
    # Under the name of a cookie that any page of plain HTTP could have put there it is not looked at.
    planted = {**forwarded, "Cookie": kept.split(";")[0].replace("__Host-", "")}
    assert browser.get(path, headers=planted).status_code == 403
    page = browser.get(path, headers={**forwarded, "Cookie": kept.split(";")[0]})
    assert page.status_code == 200
    assert goes_to(page) == "/hub/spark/sessions"
    login = page.raw.headers.getlist("Set-Cookie")[0]
    assert login.startswith("__Host-firesteel=") and login.endswith("; SameSite=Strict; Secure")


def test_a_provider_that_is_down(provider: Provider, serve_oidc: Callable[..., Server]) -> None:
    """A page says so, the log once; it is well again when the provider is, and what was begun before goes
    on."""
    provider.is_down = True
    server = serve_oidc({**FAST, "access.jwt.refresh": "200ms", "access.jwt.stale": "1h"})
    for _ in range(3):
        page = Visitor(server).get("/login/oidc")
        assert page.status_code == 503
        assert "does not answer" in alert(page)
        assert "Retry-After" in page.headers
        assert "Set-Cookie" not in page.headers
    assert server.log().count("nobody can log in at") == 1
    provider.is_down = False
    wait_until(
        "it answers again",
        lambda: Visitor(server).get("/login/oidc", allow_redirects=False).status_code == 303,
        20,
    )
    browser = Visitor(server)
    back = browser.begin()
    provider.is_down = True
    page = browser.get(back)
    assert page.status_code == 503
    assert "does not answer" in alert(page)
    # Where it is remains known meanwhile.
    assert Visitor(server).get("/login/oidc", allow_redirects=False).status_code == 303
    provider.is_down = False
    assert browser.log_in().status_code == 200


def test_what_ends_a_login(provider: Provider, serve_oidc: Callable[..., Server], stub_home: Stub) -> None:
    """S3: not a restart of the server; but that the way is none of `access.mode` any more, and the next login
    of the same browser."""
    server = serve_oidc()
    browser = Visitor(server)
    assert browser.log_in().status_code == 200
    server.restart()
    assert browser.status() == 200
    first = browser.http.cookies["firesteel"]
    assert browser.log_in().status_code == 200
    assert browser.status() == 200
    answer = requests.get(f"{browser.url}/sessions", headers={"Cookie": f"firesteel={first}"}, timeout=30)
    assert answer.status_code == 401
    server.kill9()
    server.argv += ["--set", "access.mode=jwt", "--set", f"access.jwt.audience={AUDIENCE}"]
    server.start()
    assert browser.status() == 401
    assert browser.get("/login").status_code == 404
    assert browser.get("/login/oidc").status_code == 404
    assert browser.get(CALLBACK).status_code == 404


def test_who_may_call(provider: Provider, serve_oidc: Callable[..., Server]) -> None:
    """Groups of the token count; who may not call is told so and gets no login."""
    server = serve_oidc(
        {"access.allowed_users": ["@analysts"], "access.jwt.user_claim": "preferred_username"}
    )
    provider.claim = {"preferred_username": "ada", "groups": ["analysts"]}
    ada = Visitor(server)
    assert ada.log_in().status_code == 200
    assert ada.status() == 200
    provider.claim = {"preferred_username": "bob", "groups": ["others"]}
    bob = Visitor(server)
    page = bob.log_in()
    assert page.status_code == 403
    assert "bob may not use this server" in alert(page)
    assert "firesteel" not in bob.cookies


def test_programs(provider: Provider, serve_oidc: Callable[..., Server]) -> None:
    """They are not sent away. An ID token is no credential of theirs; a token that the browser's user makes
    is, until the way goes."""
    server = serve_oidc({"access.mode": ["oidc", "token"]})
    for headers in ({}, {"Accept": "*/*"}, {"Authorization": f"Bearer {provider.token()}"}):
        assert requests.get(f"{server.url}/", headers=headers, timeout=30).status_code == 401
    assert (
        requests.post(f"{server.url}/login", json={"name": "a", "password": "b"}, timeout=30).status_code
        == 400
    )
    browser = Visitor(server)
    assert browser.log_in().status_code == 200
    own = {"Origin": browser.url}
    foreign = browser.http.post(f"{browser.url}/tokens", json={}, headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    made = browser.http.post(f"{browser.url}/tokens", json={"scopes": ["all"]}, headers=own)
    assert made.status_code == 201, made.text
    token = made.json()["token"]
    created = server.bearer(token).post("/sessions", {"kind": "pyspark"})
    assert created.json()["owner"] == "alice"
    server.kill9()
    server.argv += ["--set", 'access.mode=["jwt", "token"]', "--set", f"access.jwt.audience={AUDIENCE}"]
    server.start()
    assert server.bearer(token).get("/sessions").status_code == 401


def test_with_passwords(provider: Provider, serve_oidc: Callable[..., Server], tmp_path: Path) -> None:
    """Form and link are on one page, and either logs in."""
    users = tmp_path / "users"
    assert command("passwd", str(users), "carol", stdin="pass word\n").returncode == 0
    server = serve_oidc({"access.mode": ["basic", "oidc"], "access.basic_file": str(users)})
    page = Visitor(server).get("/ui")
    assert page.url.endswith("/login")
    assert "<form" in page.text and 'href="/login/oidc"' in page.text
    by_form, at_provider = Visitor(server), Visitor(server)
    form = {"name": "carol", "password": "pass word"}
    assert (
        by_form.http.post(f"{by_form.url}/login", data=form, headers={"Origin": by_form.url}).status_code
        == 200
    )
    assert by_form.status() == 200
    assert at_provider.log_in().status_code == 200
    assert at_provider.status() == 200


def test_check(provider: Provider, stub_home: Stub, tmp_path: Path) -> None:
    """`firesteel check` looks at the secret; `--security` says what is open."""
    secret = tmp_path / "secret"
    provider.redirect_uri = f"https://spark.example.com{CALLBACK}"
    sets = {
        "server.state_dir": str(tmp_path),
        "access.mode": "oidc",
        "access.oidc.client_secret_file": str(secret),
        **provider.settings,
    }

    def check(*flags: str, **more: str) -> str:
        words = [f"--set={key}={value}" for key, value in {**sets, **more}.items()]
        return command("check", *flags, *words).stdout

    assert "WRONG access: access.oidc.client_secret_file" in check()
    secret.write_text("\n")
    assert "the first line is empty" in check()
    secret.write_text("s3cret\n")
    secret.chmod(0o644)
    assert f"oidc, browsers' logins as the client firesteel of {provider.url}" in check()
    told = check("--security")
    assert f"{secret}: the client's secret can be read by other users" in told
    assert "Logins' cookies are not for HTTPS alone" in told
    secret.chmod(0o600)
    told = check("--security", **{"server.forwarded": "true"})
    assert "secret can be read" not in told
    assert "HTTPS alone" not in told
    plain = {"access.oidc.redirect_uri": f"http://spark.example.com{CALLBACK}", "server.plain_http": "true"}
    assert "spark.example.com/login/oidc/callback in clear" in check("--security", **plain)
    here = {"access.oidc.redirect_uri": f"http://localhost:1{CALLBACK}"}
    assert "in clear" not in check("--security", **here)


def test_a_real_browser(provider: Provider, serve_oidc: Callable[..., Server], tmp_path: Path) -> None:
    """Chromium, sent back by a page of the provider's, which is another site: the login's cookie is
    `SameSite=Strict`, and with what it asks for next it is sent."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("chromium is not installed: run 'make deps'")
    provider.has_page = True
    server = serve_oidc()
    quiet = [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    argv = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *quiet]
    argv += [f"--user-data-dir={tmp_path / 'profile'}", f"http://localhost:{server.port}/login/oidc"]
    output = (tmp_path / "chromium").open("wb")
    with output, subprocess.Popen(argv, stdout=output, stderr=output, start_new_session=True) as browser:
        try:

            def gone_on() -> list[str]:
                return [
                    line
                    for line in server.log().splitlines()
                    if line.endswith("GET /ui") or "GET /ui " in line
                ]

            wait_until("the browser has gone on", lambda: bool(gone_on()), 90)
        finally:
            os.killpg(browser.pid, signal.SIGTERM)
            browser.wait(30)
    assert 'user="alice"' in gone_on()[0], gone_on()
    assert "status=200" in gone_on()[0]
