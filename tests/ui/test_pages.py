"""The web UI's other pages in a real browser: batches, GPUs, warm drivers, sharing, the administrator's page,
what users write to harm others, and ten thousand rows (docs/web.md). Drivers are without Spark: these pages
show what the server knows."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import requests
from harness.api import Api
from harness.chromium import Chromium
from harness.fake import Fake
from harness.filled import KEEP, fill
from harness.processes import wait_until
from harness.roles import ADMIN, OWNER, VIEWER, password, settings
from harness.scripts import OWNED, SCRIPTS
from harness.server import Server, free_port
from harness.stub import Stub

DEVICES = ["GPU-1 80GiB NVIDIA H100", "GPU-2 80GiB NVIDIA H100", "GPU-3 16GiB Tesla T4"]
# Whether the page has none of what the texts above would make.
CLEAN = "document.querySelector('main script, main svg, main iframe, main img') === null"


def press(browser: Chromium, name: str, within: str = "main") -> None:
    """Click the button of this name."""
    buttons = f"[...document.querySelectorAll({within + ' button'!r})]"
    found = f"{buttons}.find((one) => one.innerText === {name!r})"
    browser.until(f"{found} !== undefined")
    browser.js(f"{found}.click()")


def log_in(browser: Chromium, server: Server, user: str) -> None:
    """Log in by the form, as nobody who is known."""
    browser.send("Network.clearBrowserCookies")
    browser.open(server.url + "/ui")
    browser.until("location.pathname === '/login'")
    browser.type("input[name=name]", user)
    browser.type("input[name=password]", password(user))
    browser.key("Enter", 13)
    browser.until("location.pathname === '/ui' && document.querySelector('main') !== null")


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of several users with GPUs, which are declared, warm drivers, which are without Spark, and an
    audit log."""
    home = tmp_path_factory.mktemp("team")
    own = {
        **Fake(home / "fake").settings,
        **settings(home),
        "gpu.devices": DEVICES,
        "gpu.sharing": True,
        "pool.size": 1,
        "pool.refill_delay": "0s",
        "pool.memory_available": "0B",
        "audit.file": home / "audit",
    }
    server = Server(own, port=free_port())
    yield server
    server.stop()


def test_a_batch(
    browser: Chromium,
    serve: Callable[..., Server],
    make_stub: Callable[..., Stub],
    looked_at: Callable[[str], None],
    tmp_path: Path,
) -> None:
    """Made by its form, in the list, with its log, deleted."""
    (tmp_path / "job.py").touch()
    # The page is what is tested here: a script stands in for an application of a second.
    stub = make_stub("echo the report is made\nexit 3\n")
    server = serve({**stub.settings, "files.allow": [str(tmp_path)]})
    browser.open(server.url + "/ui#/batches/new")
    browser.shows("Create batch")
    looked_at("new-batch")
    browser.type("input[name=file]", str(tmp_path / "job.py"))
    browser.type("input[name=name]", "report")
    browser.key("Enter", 13)
    browser.until("document.querySelector('#state')?.dataset.state === 'dead'")
    browser.shows("exit code 3")
    browser.shows("the report is made")
    looked_at("batch")
    browser.open(server.url + "/ui#/batches")
    browser.shows("report")
    looked_at("batches")
    browser.click("table.list tbody a")
    press(browser, "Delete")
    browser.click("dialog .danger")
    browser.shows("There are no batches.")
    assert server.api.get("/batches").json()["total"] == 0
    assert browser.faults() == []


def test_scripts_in_names_are_text(browser: Chromium, stub_api: Api) -> None:
    """In names and conf of sessions, names of batches and of files, in lists and on pages."""
    made = [stub_api.create(name=name, conf={"spark.x": name}) for name in SCRIPTS]
    for name in SCRIPTS:
        name = name.replace("/", "_").replace('"', "_")
        stub_api.post("/uploads", files={"file": (name, b"x")})
    uri = stub_api.get("/uploads").json()["uploads"][0]["uri"]
    batch = stub_api.post("/batches", {"file": uri, "name": SCRIPTS[0], "args": SCRIPTS}).json()
    browser.open(stub_api.url + "/ui#/account")
    browser.js("document.title = 'mine'")
    browser.shows("upload://")
    pages = ["/", "/sessions", "/batches", f"/batches/{batch['id']}"]
    pages += [f"/sessions/{one.id}" for one in made]
    for route in pages:
        browser.js(f"location.hash = '#{route}'")
        browser.until(
            f"location.hash === '#{route}' && document.querySelector('main').innerText.includes('owned')"
        )
        if route.startswith("/sessions/"):
            browser.click("#tab-2")
            browser.shows("spark.x")
        assert browser.js("document.title").endswith("Firesteel")
        assert browser.js(CLEAN), route
    stub_api.delete(f"/batches/{batch['id']}")
    for upload in stub_api.get("/uploads").json()["uploads"]:
        stub_api.delete(f"/uploads/{upload['id']}")
    assert browser.faults() == []


# Notes when the list has its first rows, and when it has all.
WATCH = """new MutationObserver(() => {
    const seen = window.seen ??= {};
    const told = document.querySelector("main [role=status]")?.innerText;
    const hasRows = document.querySelector("tbody tr[data-id]") !== null;
    if (hasRows && told?.startsWith("10000")) seen.rows ??= performance.now();
    if (told === "10000") seen.all ??= performance.now();
}).observe(document, { subtree: true, childList: true, characterData: true });"""


def test_ten_thousand(
    browser: Chromium,
    stub_home: Stub,
    serve: Callable[..., Server],
    tmp_path: Path,
    figures: Callable[[str], None],
    looked_at: Callable[[str], None],
) -> None:
    """They are listed, filtered and sorted at once, with few rows in the document."""
    own = stub_home.settings
    state_dir = tmp_path / "state"
    fill(state_dir, 10_000, 10_000, own)
    server = serve({**own, **KEEP}, state_dir=state_dir)
    browser.open(server.url + "/ui#/history")
    browser.shows("9999")
    # Again, as one who has been here: the browser has the files, and the server has read its store.
    browser.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
    browser.open(server.url + "/ui#/history")
    browser.until("window.seen?.all !== undefined")
    seen = browser.js("window.seen")
    paint = browser.js("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert browser.js("document.querySelectorAll('tbody tr').length") < 100
    assert browser.js("document.querySelector('tbody tr[data-id] a').innerText") == "9999"
    typed = """(() => {
        const it = document.querySelector('input[type=search]');
        const from = performance.now();
        it.value = 'owner:user7';
        it.dispatchEvent(new Event('input'));
        document.body.offsetHeight;
        return performance.now() - from;
    })()"""
    filtered = browser.js(typed)
    browser.shows("1000 of 10000")
    browser.js("document.querySelector('thead button').click()")
    assert browser.js("document.querySelector('tbody tr[data-id] a').innerText") == "7"
    browser.js("document.querySelector('.rows').scrollTop = 1e9")
    browser.until(
        "[...document.querySelectorAll('tbody tr[data-id] a')].some((one) => one.innerText === '9997')"
    )
    looked_at("ended")
    figures(
        f"web UI, 10,000 ended sessions: first paint after {paint:.0f} ms, first rows after"
        f" {seen['rows']:.0f} ms, all after {seen['all']:.0f} ms, filtered in {filtered:.0f} ms"
    )
    # A debug build on a host that has much else to do; a release build alone is to keep to the stated times.
    is_measured = bool(os.environ.get("FIRESTEEL_TEST_MEASURED"))
    limits = (200, 300, 300) if is_measured else (2000, 5000, 3000)
    assert (paint < limits[0], seen["rows"] < limits[1], filtered < limits[2]) == (True, True, True)
    browser.js("location.hash = '#/history/9999'")
    browser.shows("1 + 1")
    browser.shows("x" * 200)
    looked_at("ended-session")
    assert browser.faults() == []


def test_login_and_tokens(browser: Chromium, team: Server, looked_at: Callable[[str], None]) -> None:
    """Who is not logged in comes to the login, and who is has tokens; a login that is gone is noticed."""
    browser.send("Network.clearBrowserCookies")
    browser.open(team.url + "/ui")
    browser.until("location.pathname === '/login'")
    looked_at("login")
    browser.type("input[name=name]", OWNER)
    browser.write("")
    browser.type("input[name=password]", SCRIPTS[0])
    browser.key("Enter", 13)
    browser.until("document.querySelector('[role=alert]') !== null")
    log_in(browser, team, OWNER)
    browser.js("location.hash = '#/account'")
    browser.shows("API tokens")
    browser.shows(OWNER)
    browser.until("document.querySelector('main').innerText.includes('Sessions')")
    assert not browser.js("document.querySelector('nav').innerText.includes('Administration')")
    browser.type("input[placeholder=nightly]", SCRIPTS[1])
    browser.key("Enter", 13)
    browser.shows("fst_")
    browser.until("document.querySelector('main').innerText.includes('onerror')")
    looked_at("account")
    assert browser.js(CLEAN)
    token = re.search(r"fst_\S+", browser.js("document.body.innerText"))
    assert token and team.bearer(token[0]).get("/sessions").status_code == 200
    browser.send("Network.clearBrowserCookies")
    browser.js("location.hash = '#/sessions'")
    browser.until("location.pathname === '/login'")
    log_in(browser, team, OWNER)
    press(browser, "Log out", "header")
    browser.until("location.pathname === '/login' && document.readyState === 'complete'")


def test_gpus_pool_and_shares(browser: Chromium, team: Server, looked_at: Callable[[str], None]) -> None:
    """Who holds GPUs, how many wait, the warm drivers, with whom a session is shared."""
    owner = team.user(OWNER, password(OWNER))
    conf = {"firesteel.gpus": "1", "firesteel.gpu.type": "T4"}
    held = owner.create(name="train", conf=conf)
    held.wait("idle")
    half = owner.create(name="half", conf={"firesteel.gpus": "0.5"})
    half.wait("idle")
    waits = owner.create(name="waits", conf=conf)
    wait_until("one waits", lambda: owner.get("/gpus").json()["waiting"] == 1)
    pool = "document.querySelector('section[aria-label=\"Warm drivers\"]')"
    log_in(browser, team, OWNER)
    browser.shows("1 wait for GPUs.")
    rows = browser.js(
        "[...document.querySelectorAll('section[aria-label=GPUs] tbody tr')].map((one) => one.innerText)"
    )
    assert any("Tesla T4" in row and f"session {held.id}" in row for row in rows), rows
    assert any(f"session {half.id}" in row and "40 GiB (shared)" in row for row in rows), rows
    assert any("free" in row for row in rows), rows
    assert browser.js(f"{pool} === null"), "only administrators see warm drivers"
    browser.js(f"location.hash = '#/sessions/{held.id}'")
    browser.click("#tab-3")
    browser.shows("With nobody.")
    for given, sign in ((VIEWER, VIEWER), (f"@{SCRIPTS[0]}", "@<script>")):
        browser.type("input[placeholder^=bob]", given)
        browser.key("Enter", 13)
        browser.until(f"document.querySelector('#panel-3 ul').innerText.includes({sign!r})")
    looked_at("session-sharing")
    assert browser.js(CLEAN)
    assert len(owner.get(f"/sessions/{held.id}/shares").json()["shares"]) == 2
    # No user has such a name: that is told.
    browser.type("input[placeholder^=bob]", SCRIPTS[1])
    browser.key("Enter", 13)
    browser.until("document.querySelector('.toast.error') !== null")
    assert browser.js("document.querySelector('.toast img') === null")
    press(browser, "Take back")
    browser.until("document.querySelectorAll('#panel-3 li').length === 1")
    log_in(browser, team, ADMIN)
    browser.until(f"{pool}?.innerText.includes('ready')")
    browser.shows("train")
    looked_at("overview-gpus")
    for session in (waits, half, held):
        session.delete()


def test_administration(browser: Chromium, team: Server, looked_at: Callable[[str], None]) -> None:
    """The drain, somebody's quota, and the audit log, in which what somebody asked for is text."""
    owner, admin = (team.user(user, password(user)) for user in (OWNER, ADMIN))
    assert owner.delete("/sessions/" + requests.utils.quote(SCRIPTS[1], safe="")).status_code == 404
    log_in(browser, team, ADMIN)
    browser.until("document.querySelector('nav').innerText.includes('Administration')")
    browser.js("location.hash = '#/admin'")
    browser.until("document.querySelector('.audit tbody').innerText.includes('onerror')")
    browser.shows("DELETE /sessions/{id}")
    looked_at("admin")
    assert browser.js(CLEAN)
    press(browser, "Drain")
    browser.click("dialog .danger")
    browser.shows("New sessions and batches are refused.")
    refused = owner.post("/sessions", {"kind": "pyspark"})
    assert refused.status_code == 503 and "drains" in refused.text and "Retry-After" in refused.headers
    browser.js("location.hash = '#/sessions/new'")
    browser.shows("Create session")
    press(browser, "Create session")
    browser.shows("An administrator drains the server")
    browser.js("location.hash = '#/admin'")
    press(browser, "Take new ones again")
    browser.shows("New sessions and batches are taken.")
    assert admin.get("/drain").json() == {"draining": False}
    browser.type("input[type=search]", "put drain")
    press(browser, "Read again")
    browser.until("document.querySelectorAll('.audit tbody tr').length === 2")
    browser.until("document.querySelector('.audit tbody').innerText.includes('PUT /drain')")
    browser.js(f"document.querySelector('button[aria-label$=\"{OWNER}\"]').click()")
    browser.type("dialog input", "7")
    looked_at("quota")
    browser.key("Enter", 13)
    browser.until("document.querySelector('dialog') === null")
    quotas: list[dict[str, Any]] = admin.get("/quotas").json()["quotas"]
    assert 7 in [quota["limits"]["sessions"] for quota in quotas]


def test_the_files(stub_server: Server, serve: Callable[..., Server], stub_home: Stub) -> None:
    """They are kept by browsers for ever, compressed, and need no login; the page's policy is strict; below a
    base path it is the same."""
    based = serve({**stub_home.settings, "server.base_path": "/spark"})
    for url, base in ((stub_server.url, ""), (based.url, "/spark")):
        for path in ("/", "/ui"):
            shown = requests.get(url + base + path, timeout=30)
            assert shown.status_code == 200
            policy = shown.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
            assert shown.headers["X-Frame-Options"] == "DENY"
            assert not re.search(r"<script(?![^>]* src=)|<style| on\w+=|style=", shown.text)
        files = re.findall(r'(?:src|href)="([^"]+)"', shown.text)
        assert len(files) > 3 and all(file.startswith(base + "/ui/assets/") for file in files)
        for file in files:
            answer = requests.get(url + file, timeout=30)
            assert answer.status_code == 200 and answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            plain = requests.get(url + file, headers={"Accept-Encoding": "identity"}, timeout=30)
            assert plain.content == answer.content and "Content-Encoding" not in plain.headers
            assert requests.get(url + file.replace("assets/", "assets/0"), timeout=30).status_code == 404


def test_the_reference(browser: Chromium, stub_server: Server, looked_at: Callable[[str], None]) -> None:
    """Operations are found by words; one that is opened tells what it takes and gives, with examples."""
    browser.open(stub_server.url + "/ui#/api")
    operations = "[...document.querySelectorAll('details.operation')].filter((one) => one.checkVisibility())"
    names = f"{operations}.map((one) => one.querySelector('code').innerText)"
    wait_until("all are there", lambda: len(browser.js(names)) > 60, 30)
    browser.type("main input[type=search]", "post createsession")
    wait_until("one is left", lambda: browser.js(names) == ["POST /sessions"], 30)
    browser.js(f"{operations}[0].open = true")
    for text in ("driverMemory", "Idempotency-Key", '"kind": "pyspark"', f"{stub_server.url}/sessions"):
        browser.shows(text)
    looked_at("api")


def test_without_scripts_of_others(browser: Chromium, stub_server: Server) -> None:
    """The page asks nobody but its server, and a script that somebody brings into it does not run."""
    browser.open(stub_server.url + "/ui")
    browser.shows("Overview")
    hosts = browser.js("performance.getEntriesByType('resource').map((one) => new URL(one.name).origin)")
    assert set(hosts) == {stub_server.url}
    browser.faults()
    browser.js(
        "(() => { document.title = 'mine'; const it = document.createElement('script');"
        f" it.textContent = {json.dumps(OWNED)}; document.body.append(it); it.remove(); }})()"
    )
    assert browser.js("document.title") != "owned"
    assert any("Content Security Policy" in fault for fault in browser.faults())
