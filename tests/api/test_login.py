"""Browsers' logins: the form, the cookie, and what ends it (S2, S3)."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from pathlib import Path
from typing import Iterator

import pytest
import requests
from harness.processes import wait_until
from harness.roles import PATIENT
from harness.server import Server, command, serving
from harness.stub import Stub

PASSWORD = "wonder & land=ä"
BROWSER = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Site": "same-origin"}


def set_password(file: Path, name: str, password: str) -> None:
    """As an operator does."""
    assert command("passwd", str(file), name, stdin=password + "\n").returncode == 0


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of users."""
    file = tmp_path_factory.mktemp("login") / "users"
    set_password(file, "alice", PASSWORD)
    return file


@pytest.fixture(scope="module")
def settings(users: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A server that takes passwords and tokens."""
    stub = Stub(tmp_path_factory.mktemp("login-stub") / "spark")
    return {**stub.settings, "access.mode": ["basic", "token"], "access.basic_file": str(users)}


@pytest.fixture(scope="module")
def guarded(settings: dict) -> Iterator[Server]:
    """One for the whole file."""
    server = Server(settings)
    yield server
    server.stop()


class Browser:
    """What a browser does: it keeps cookies, follows redirects, and says which page a request comes from."""

    def __init__(self, server: Server):
        self.server = server
        self.http = requests.Session()
        self.http.trust_env = False

    def request(self, method: str, path: str, **more) -> requests.Response:
        """One exchange, with a browser's headers unless others are given."""
        more.setdefault("headers", BROWSER)
        return self.http.request(method, self.server.url + path, timeout=30, **more)

    def log_in(self, name: str = "alice", password: str = PASSWORD, **more) -> requests.Response:
        """Send the form."""
        return self.request("POST", "/login", data={"name": name, "password": password}, **more)

    @property
    def cookie(self) -> str | None:
        """The login's."""
        return self.http.cookies.get("firesteel")


@pytest.fixture
def browser(guarded: Server) -> Browser:
    """Without a cookie yet."""
    return Browser(guarded)


def test_the_form(browser: Browser) -> None:
    """A browser that nobody knows is sent to the form, logs in there, and sees the page; then it logs out."""
    page = browser.request("GET", "/")
    assert [hop.status_code for hop in page.history] == [303]
    assert page.url.endswith("/login")
    assert page.headers["Cache-Control"] == "no-store"
    (action,) = re.findall('action="([^"]+)"', page.text)
    assert action == "/login"
    seen = browser.log_in(allow_redirects=False)
    assert (seen.status_code, seen.headers["Location"]) == (303, "/ui")
    cookie = seen.headers["Set-Cookie"]
    assert re.fullmatch(
        r"firesteel=[A-Za-z0-9_-]{54}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict", cookie
    )
    assert "Sessions" in browser.request("GET", "/ui").text
    created = browser.request("POST", "/sessions", json={"kind": "pyspark"})
    assert created.status_code == 201
    assert created.json()["owner"] == "alice"
    assert browser.request("DELETE", f"/sessions/{created.json()['id']}").status_code == 200
    left = browser.request("POST", "/logout")
    assert left.url.endswith("/login")
    assert browser.cookie is None
    stale = browser.request("GET", "/sessions", headers={"Cookie": cookie.split(";")[0]})
    assert stale.status_code == 401


def test_other_programs_are_not_sent_away(browser: Browser) -> None:
    """They get 401 and what they may send, as ever; so does a browser whose password was wrong."""
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        answer = browser.request("GET", "/", headers=headers)
        assert answer.status_code == 401
        assert "Basic" in answer.headers["WWW-Authenticate"]
    answer = requests.get(f"{browser.server.url}/ui", auth=("alice", "x"), headers=BROWSER, timeout=30)
    assert answer.status_code == 401


def test_json(browser: Browser) -> None:
    """A script logs in and out with JSON."""
    body = {"name": "alice", "password": PASSWORD}
    answer = browser.request("POST", "/login", json=body, headers={})
    assert answer.json() == {"user": "alice", "expiresInSeconds": 43200}
    assert browser.request("GET", "/sessions", headers={}).status_code == 200
    assert browser.request("POST", "/logout", headers={}).json() == {"msg": "logged out"}
    assert browser.request("GET", "/sessions", headers={}).status_code == 401


def test_wrong_passwords(browser: Browser) -> None:
    """The form again, with a sentence and no window of the browser's own; what was typed is not in it."""
    for name, password in (("alice", "nope<b>"), ("nobody", "x"), ("al:ice", "x"), ("alice", "")):
        page = browser.log_in(name, password)
        assert page.status_code == 401, (name, password)
        assert "WWW-Authenticate" not in page.headers
        assert 'role="alert"' in page.text
        assert "nope" not in page.text
        assert browser.cookie is None
    for body in (b"", b"name=alice", b"password=x", b"{}", b"\xff=\xfe"):
        headers = {**BROWSER, "Content-Type": "application/x-www-form-urlencoded"}
        assert browser.request("POST", "/login", data=body, headers=headers).status_code == 400, body


def test_a_token_is_no_password(guarded: Server, browser: Browser) -> None:
    """It may less than its owner, and would become a login that may all."""
    made = guarded.user("alice", PASSWORD).post("/tokens", {"name": "own", "scopes": ["read"]})
    assert browser.log_in("alice", made.json()["token"]).status_code == 401


def test_foreign_pages(browser: Browser) -> None:
    """S2: whatever the body, a state change with a cookie that another site's page sends is refused and has
    no effect; so is one that does not say where it comes from."""
    assert browser.log_in().status_code == 200
    server = browser.server
    session = browser.request("POST", "/sessions", json={"kind": "pyspark"}).json()["id"]
    foreign = [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": server.url + ".evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {},
    ]
    kinds = [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    paths = json.loads(command("openapi").stdout)["paths"]
    changes = [
        (method.upper(), re.sub(r"\{[^}]*\}", "0", path.replace("{id}", str(session))))
        for path, item in paths.items()
        for method in item
        if method in ("post", "put", "delete", "patch") and path not in ("/login", "/logout")
    ]
    assert len(changes) > 15
    for headers in foreign:
        for kind in kinds:
            sent = {**headers, **({"Content-Type": kind} if kind else {})}
            for method, path in changes:
                answer = browser.request(method, path, data=b'{"kind": "pyspark", "code": "1"}', headers=sent)
                assert answer.status_code == 403, f"{method} {path} with {sent}: {answer.text}"
    assert not [token for token in browser.request("GET", "/tokens").json()["tokens"] if not token["name"]]
    assert [found["id"] for found in browser.request("GET", "/sessions").json()["sessions"]] == [session]
    for own in ({"Origin": server.url}, {"Sec-Fetch-Site": "same-origin"}, {"X-Requested-By": "me"}):
        answer = browser.request("POST", f"/sessions/{session}/interrupt", headers=own)
        assert answer.status_code != 403, own
    assert browser.request("DELETE", f"/sessions/{session}").status_code == 200
    # A form on another site logs nobody in.
    assert Browser(server).log_in(headers={"Origin": "http://evil.example"}).status_code == 403


def test_each_login_is_new(browser: Browser) -> None:
    """S3: a cookie that was there before counts for nothing, before the login and after it; the one of an
    earlier login ends with the next."""
    chosen = "A" * 54
    browser.http.cookies.set("firesteel", chosen, domain="127.0.0.1", path="/")
    seen = browser.log_in(allow_redirects=False)
    assert seen.status_code == 303
    first = seen.cookies["firesteel"]
    assert first != chosen
    for cookie, status in ((chosen, 401), (first, 200)):
        answer = requests.get(
            f"{browser.server.url}/sessions", headers={"Cookie": f"firesteel={cookie}"}, timeout=30
        )
        assert answer.status_code == status
    again = requests.post(
        f"{browser.server.url}/login",
        data={"name": "alice", "password": PASSWORD},
        headers={"Cookie": f"firesteel={first}"},
        allow_redirects=False,
        timeout=30,
    )
    assert again.cookies["firesteel"] != first
    answer = requests.get(
        f"{browser.server.url}/sessions", headers={"Cookie": f"firesteel={first}"}, timeout=30
    )
    assert answer.status_code == 401


def test_what_ends_it(settings: dict, tmp_path: Path) -> None:
    """S3: a changed password, a removed user, and idleness, each within a second or two; a restart does
    not."""
    file = tmp_path / "users"
    set_password(file, "alice", "one")
    more = {**PATIENT, "access.basic_file": str(file), "access.login.idle": "3s"}
    with serving({**settings, **more}) as server:
        browser = Browser(server)

        def status() -> int:
            return browser.request("GET", "/sessions", headers={}).status_code

        assert browser.log_in(password="one").status_code == 200
        server.restart()
        assert status() == 200
        set_password(file, "alice", "two")
        wait_until("the password has changed", lambda: status() == 401, 20)
        assert browser.log_in(password="two").status_code == 200
        file.write_text("")
        wait_until("the user is removed", lambda: status() == 401, 20)
        set_password(file, "alice", "two")
        wait_until("the user is back", lambda: browser.log_in(password="two").status_code == 200, 20)
        cookie = browser.cookie
        assert cookie
        with sqlite3.connect(f"file:{server.database}?mode=ro", uri=True) as store:
            kept = store.execute("SELECT kind, hash FROM credentials").fetchall()
        assert {kind for kind, _ in kept} == {"login"}
        assert cookie not in str(kept)

        # What is waited for is that nothing happens.
        time.sleep(3.1)
        assert status() == 401, "idle for longer than access.login.idle"


def test_over_a_base_path(settings: dict) -> None:
    """Behind a reverse proxy that does TLS the cookie is for HTTPS alone, and the form is where the proxy has
    it."""
    proxied = {**settings, "server.base_path": "/spark", "server.forwarded": True, "access.csrf": True}
    with serving(proxied) as server:
        browser = Browser(server)
        forwarded = {**BROWSER, "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/hub"}
        page = browser.request("GET", "/spark/login", headers=forwarded)
        assert 'action="/hub/spark/login"' in page.text
        seen = browser.request(
            "POST",
            "/spark/login",
            data={"name": "alice", "password": PASSWORD},
            headers=forwarded,
            allow_redirects=False,
        )
        assert seen.headers["Location"] == "/hub/spark/ui"
        cookie = seen.headers["Set-Cookie"]
        assert cookie.startswith("__Host-firesteel=")
        assert "; Secure" in cookie
        value = cookie.split(";")[0].split("=")[1]
        for name, headers, status in (
            ("__Host-firesteel", forwarded, 200),
            ("firesteel", forwarded, 401),
            ("__Host-firesteel", {}, 401),
        ):
            sent = {**headers, "Accept": "*/*", "Cookie": f"{name}={value}"}
            answer = requests.get(f"{server.url}/spark/sessions", headers=sent, timeout=30)
            assert answer.status_code == status, (name, headers)


def test_no_login_without_passwords(make_stub) -> None:
    """Where nobody is asked, there is none."""
    with serving(make_stub().settings) as server:
        assert server.api.get("/login").status_code == 404
        answer = server.api.post("/login", {"name": "alice", "password": "x"})
        assert answer.status_code == 400
        assert "access.mode" in answer.json()["msg"]
        assert server.api.get("/", headers=BROWSER).status_code == 200
