"""The web UI in a real browser: against a real Spark session, against what users write to harm others, and
with ten thousand rows (docs/web.md)."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import requests
from harness.api import Api, Session
from harness.chromium import Chromium
from harness.filled import KEEP, fill
from harness.processes import wait_until
from harness.roles import ADMIN, OWNER, password, settings
from harness.server import Server
from harness.spark import Spark
from harness.stub import Stub

OWNED = "document.title='owned'"
SCRIPTS = [
    f"<script>{OWNED}</script>",
    f'<img src=x onerror="{OWNED}">',
    f'"><svg onload={OWNED}>',
    f"javascript:{OWNED}",
    f'</textarea></pre><iframe srcdoc="<script>parent.{OWNED}</script>">',
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """One browser for all."""
    made = Chromium()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def server(default_spark: Spark) -> Iterator[Server]:
    """A server with a real Spark."""
    made = Server({**default_spark.settings, "spark.master": "local[2]"})
    yield made
    made.stop()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: FIRESTEEL_TEST_ARTIFACTS where it is set."""
    place = Path(os.environ.get("FIRESTEEL_TEST_ARTIFACTS") or tmp_path_factory.mktemp("ui"))
    place.mkdir(parents=True, exist_ok=True)
    return place


def taken(browser: Chromium, place: Path, name: str) -> None:
    """Pictures of the page as it is, in light and in dark, which differ."""
    made = []
    for scheme in ("light", "dark"):
        browser.theme(scheme)
        made.append(browser.picture(place / f"{name}-{scheme}.png"))
    browser.theme("light")
    assert made[0] != made[1], name


@pytest.fixture(scope="module")
def session(browser: Chromium, server: Server, pictures: Path) -> Session:
    """A session that was made by the form, with the keyboard."""
    browser.open(server.url + "/ui#/sessions/new")
    browser.until("document.activeElement.name === 'name'")
    browser.send("Input.insertText", text="by hand")
    browser.js("document.querySelectorAll('form details').forEach((one) => { one.open = true; })")
    browser.type("textarea[name=conf]", "spark.ui.enabled=false\nspark.sql.shuffle.partitions 2")
    taken(browser, pictures, "new-session")
    browser.js("document.querySelector('input[name=name]').focus()")
    browser.key("Enter", 13)
    number = int(browser.until("/^#.sessions.(\\d+)$/.exec(location.hash)?.[1]"))
    made = Session(server.api, server.api.get(f"/sessions/{number}").json())
    assert (made.created["name"], made.created["conf"]["spark.sql.shuffle.partitions"]) == ("by hand", "2")
    browser.until("document.querySelector('#state').dataset.state === 'idle'", 120)
    return made


def run(browser: Chromium, code: str, kind: str = "pyspark") -> str:
    """Run code on the session's page, with Ctrl+Enter; give the selector of its statement."""
    before = browser.js(
        "Math.max(-1, ...[...document.querySelectorAll('.statement')].map((one) => +one.dataset.id))"
    )
    browser.js(f"document.querySelector('#kind').value = {kind!r}")
    browser.type("#code", code)
    browser.key("Enter", 13, 2)
    at = f".statement[data-id='{before + 1}']"
    browser.until(f"document.querySelector({at!r}) !== null")
    return at


def ended(browser: Chromium, at: str, state: str = "available") -> str:
    """Wait until a statement has ended; give what it shows."""
    browser.until(f"document.querySelector({at!r}).dataset.state === {state!r}", 90)
    return browser.js(f"document.querySelector({at!r}).innerText")


@pytest.fixture
def page(browser: Chromium, server: Server, session: Session) -> Iterator[Chromium]:
    """The session's page, on which nothing goes wrong."""
    browser.open(f"{server.url}/ui#/sessions/{session.id}")
    browser.until("document.querySelector('#state')?.dataset.state === 'idle'")
    # All of its statements are there: the next one's number is known.
    total = session.api.get(f"{session.path}/statements?size=0").json()["total_statements"]
    browser.until(f"document.querySelectorAll('.statement').length === {total}")
    browser.faults()
    yield browser
    assert browser.faults() == []


def test_text_and_errors(page: Chromium) -> None:
    """A value, and an error with its traceback."""
    assert "3" in ended(page, run(page, "1 + 2")).splitlines()
    failed = run(page, "def deep():\n    return 1 / 0\ndeep()")
    shown = ended(page, failed)
    assert "ZeroDivisionError" in shown and "in deep" in shown
    assert page.js(f"document.querySelector({failed!r} + ' .s-error') !== null")
    assert page.js(f"document.querySelector({failed!r} + ' .t-keyword').textContent") == "def"


def test_live_text_and_cancel(page: Chromium, session: Session) -> None:
    """What it prints is there while it runs, and its button ends it."""
    at = run(
        page, "import time\nfor i in range(6000):\n    print('tick', i, flush=True)\n    time.sleep(0.05)"
    )
    page.until(f"document.querySelector({at!r} + ' .live').textContent.includes('tick 9')")
    assert page.js(f"document.querySelector({at!r}).dataset.state") == "running"
    page.until("document.querySelector('#state').dataset.state === 'busy'")
    page.click(f"{at} .cancel")
    ended(page, at, "cancelled")
    page.until("document.querySelector('#state').dataset.state === 'idle'")
    assert session.run("1")["output"]["status"] == "ok"


def test_tables_images_and_html(page: Chromium, pictures: Path) -> None:
    """A table of SQL, of `%table`, an image, and HTML in a frame that can do nothing."""
    at = run(
        page,
        "select id, cast(id as string) as word, cast(id * 1.5 as decimal(38, 10)) as d from range(250)",
        "sql",
    )
    ended(page, at)
    rows = f"document.querySelectorAll({at!r} + ' tbody tr').length"
    assert page.js(
        f"[...document.querySelectorAll({at!r} + ' th')].map((one) => one.firstChild.textContent)"
    ) == ["id", "word", "d"]
    assert page.js(rows) == 100
    page.js(
        f"[...document.querySelectorAll({at!r} + ' button')]"
        ".find((one) => one.innerText.startsWith('Show more')).click()"
    )
    assert page.js(rows) == 200
    href = page.js(
        f"[...document.querySelectorAll({at!r} + ' a')].find((one) => one.innerText === 'csv').href"
    )
    assert requests.get(href, timeout=60).text.splitlines()[1].startswith("0,0,0")
    at = run(page, "t = [{'name': 'a', 'n': 1}, {'name': 'b', 'n': None}]\n%table t")
    assert "null" in ended(page, at)
    assert page.js(f"document.querySelectorAll({at!r} + ' tbody tr').length") == 2
    png = (
        "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFElEQVR4nGP8z8Dwn4GBgYGJAQoAHxcCAr7pD7kAAAAASUVO"
        "RK5CYII="
    )
    at = run(page, f"class Picture:\n    def _repr_png_(self):\n        return {png!r}\nPicture()")
    ended(page, at)
    page.until(f"document.querySelector({at!r} + ' img').naturalWidth === 2")
    at = run(
        page,
        "class Html:\n    def _repr_html_(self):\n"
        "        return '<table><tr><td>cell</td></tr></table>'\nHtml()",
    )
    ended(page, at)
    assert page.js(f"document.querySelector({at!r} + ' iframe').getAttribute('sandbox')") == ""
    wait_until("the frame shows its table", lambda: page.colours(f"{at} iframe") > 2, 20)
    page.js("scrollTo(0, 0)")
    taken(page, pictures, "session")
    page.size(390, 844)
    taken(page, pictures, "session-phone")
    assert page.js("document.documentElement.scrollWidth <= innerWidth"), "it is wider than a phone"
    page.size(1280, 900)


def test_the_log(page: Chromium, pictures: Path) -> None:
    """It is followed, and searched."""
    page.click("#tab-1")
    page.until("document.querySelector('.log').textContent.length > 100")
    page.js("window.was = document.querySelector('.log').textContent")
    assert "stderr" in page.js("window.was")
    page.js("document.querySelector('.logs input[type=search]').focus()")
    page.send("Input.insertText", text="STDERR")
    page.until("document.querySelectorAll('.log mark').length > 0")
    assert page.js("document.querySelector('.log mark').textContent").lower() == "stderr"
    taken(page, pictures, "session-log")
    page.js("document.querySelector('#tab-1').focus()")
    page.key("ArrowRight", 39)
    page.shows("spark.sql.shuffle.partitions")
    taken(page, pictures, "session-details")


def test_scripts_in_what_runs_are_text(page: Chromium) -> None:
    """In code, output, names of columns, errors, HTML, SVG and what goes to the log: none runs."""
    evil = "".join(SCRIPTS)
    page.js("document.title = 'mine'")
    named = OWNED.replace("'", '"')
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>{named}</script></svg>'
    rows = {"data": [[evil]], "schema": {"fields": [{"name": evil, "type": evil}]}}
    bundle = {"text/plain": "x", "text/x" + evil: evil, "application/json": rows}
    codes = [
        f"print({evil!r})",
        f"raise ValueError({evil!r})",
        f"t = [{{{evil!r}: {evil!r}}}]\n%table t",
        f"class Html:\n    def _repr_html_(self):\n        return {evil!r}\nHtml()",
        f"class Svg:\n    def _repr_svg_(self):\n        return {svg!r}\nSvg()",
        f"sc._jvm.java.lang.System.err.println({evil!r})",
        f"class Many:\n    def _repr_mimebundle_(self, **_):\n        return {bundle!r}\nMany()",
    ]
    for code in codes:
        ended(page, run(page, code))
    page.click("#tab-1")
    page.until("document.querySelector('.log').textContent.includes('<script>')")
    assert page.js("document.title") == "mine"
    sign = (
        "[...document.querySelectorAll('main *')].some((one) => "
        "one.matches('script, svg, iframe:not([sandbox=\"\"])') || [...one.attributes].some((a) => "
        "a.name.startsWith('on') || /^javascript:/.test(a.value)))"
    )
    assert page.js(sign) is False
    frames = page.js("[...document.querySelectorAll('iframe')].map((one) => one.srcdoc)")
    assert any(SCRIPTS[0] in frame for frame in frames)
    # What its frame kept from running is no fault of the page.
    page.told = []


def test_ending_a_session(browser: Chromium, server: Server, session: Session, pictures: Path) -> None:
    """The overview has it; its button asks first; then it is among those that have ended."""
    browser.open(server.url + "/ui")
    browser.shows("by hand")
    browser.shows("everybody")
    taken(browser, pictures, "overview")
    browser.open(f"{server.url}/ui#/sessions/{session.id}")
    browser.until("document.querySelector('#state')?.dataset.state === 'idle'")
    browser.js(
        "[...document.querySelectorAll('button')].find((one) => one.innerText === 'End session').click()"
    )
    browser.shows("What it has in memory is lost.")
    browser.js("document.querySelector('dialog .danger').click()")
    browser.until("location.hash === '#/sessions'")
    assert session.state() == "gone"
    browser.open(f"{server.url}/ui#/history/{session.id}")
    browser.shows("It has no statements.")


def test_a_batch(
    browser: Chromium,
    serve: Callable[..., Server],
    make_stub: Callable[..., Stub],
    pictures: Path,
    tmp_path: Path,
) -> None:
    """Made by its form, in the list, with its log, deleted."""
    (tmp_path / "job.py").touch()
    # The page is what is tested here: a script stands in for an application of a second.
    stub = make_stub("echo the report is made\nexit 3\n")
    server = serve({**stub.settings, "files.allow": [str(tmp_path)]})
    browser.open(server.url + "/ui#/batches/new")
    browser.type("input[name=file]", str(tmp_path / "job.py"))
    browser.type("input[name=name]", "report")
    browser.key("Enter", 13)
    browser.until("document.querySelector('#state')?.dataset.state === 'dead'")
    browser.shows("exit code 3")
    browser.shows("the report is made")
    taken(browser, pictures, "batch")
    browser.open(server.url + "/ui#/batches")
    browser.shows("report")
    taken(browser, pictures, "batches")
    browser.click("table.list tbody a")
    browser.until("[...document.querySelectorAll('button')].some((one) => one.innerText === 'Delete')")
    browser.js("[...document.querySelectorAll('button')].find((one) => one.innerText === 'Delete').click()")
    browser.click("dialog .danger")
    browser.shows("There are no batches.")
    assert server.api.get("/batches").json()["total"] == 0
    assert browser.faults() == []


def test_scripts_in_names_are_text(browser: Chromium, stub_api: Api) -> None:
    """In names and conf of sessions, in lists and on pages, and in names of files."""
    made = [stub_api.create(name=name, conf={"spark.x": name}) for name in SCRIPTS]
    for name in SCRIPTS:
        name = name.replace("/", "_").replace('"', "_")
        stub_api.post("/uploads", files={"file": (name, b"x")})
    browser.open(stub_api.url + "/ui#/account")
    browser.js("document.title = 'mine'")
    browser.shows("upload://")
    for route in ("/", "/sessions", *(f"/sessions/{one.id}" for one in made)):
        browser.js(f"location.hash = '#{route}'")
        browser.until(
            f"location.hash === '#{route}' && document.querySelector('main').innerText.includes('owned')"
        )
        if route.count("/") == 2:
            browser.click("#tab-2")
            browser.shows("spark.x")
        assert browser.js("document.title").endswith("Firesteel")
        assert browser.js("document.querySelector('main script, main svg, main iframe, main img') === null")
    assert browser.faults() == []


def test_ten_thousand(
    browser: Chromium,
    stub_home: Stub,
    serve: Callable[..., Server],
    tmp_path: Path,
    figures: Callable[[str], None],
    pictures: Path,
) -> None:
    """They are listed, filtered and sorted at once, with few rows in the document."""
    own = stub_home.settings
    state_dir = tmp_path / "state"
    fill(state_dir, 10_000, 10_000, own)
    server = serve({**own, **KEEP}, state_dir=state_dir)
    browser.open(server.url + "/ui#/history")
    took = browser.js(
        "new Promise((done) => { const look = () => document.body.innerText.includes('10000')"
        " ? done(performance.now()) : setTimeout(look, 10); look(); })"
    )
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
    taken(browser, pictures, "ended")
    figures(f"web UI, 10,000 ended sessions: whole list after {took:.0f} ms, filtered in {filtered:.0f} ms")
    assert filtered < 1000
    browser.js("location.hash = '#/history/9999'")
    browser.shows("1 + 1")
    browser.shows("x" * 200)
    taken(browser, pictures, "history")
    assert browser.faults() == []


def test_login_tokens_and_quotas(
    browser: Chromium,
    serve: Callable[..., Server],
    make_stub: Callable[..., Stub],
    tmp_path: Path,
    pictures: Path,
) -> None:
    """Who is not logged in comes to the login; then there are tokens, and quotas, which an administrator
    changes."""
    server = serve({**make_stub().settings, **settings(tmp_path), "access.mode": ["basic", "token"]})
    browser.open(server.url + "/ui")
    browser.until("location.pathname === '/login'")
    for user in (OWNER, ADMIN):
        browser.type("input[name=name]", user)
        browser.type("input[name=password]", password(user))
        browser.key("Enter", 13)
        browser.until("location.pathname === '/ui' && document.querySelector('main') !== null")
        browser.js("location.hash = '#/account'")
        browser.shows("API tokens")
        browser.shows(user)
        changes = (
            "[...document.querySelectorAll('button')].filter((one) => one.innerText === 'Change').length"
        )
        if user == OWNER:
            assert browser.js(changes) == 0
            browser.js("document.querySelectorAll('form')[1].requestSubmit()")
            browser.shows("fst_")
            taken(browser, pictures, "account")
            token = re.search(r"fst_\S+", browser.js("document.body.innerText"))
            assert token and server.bearer(token[0]).get("/sessions").status_code == 200
            browser.js(
                "[...document.querySelectorAll('button')].find((one) => one.innerText === 'Log out').click()"
            )
            browser.until("location.pathname === '/login' && document.readyState === 'complete'")
    browser.until(changes)
    browser.js("[...document.querySelectorAll('button')].find((one) => one.innerText === 'Change').click()")
    browser.type("dialog input", "7")
    browser.key("Enter", 13)
    browser.until("document.querySelector('dialog') === null")
    quotas: list[dict[str, Any]] = server.user(ADMIN, password(ADMIN)).get("/quotas").json()["quotas"]
    assert 7 in [quota["limits"]["sessions"] for quota in quotas]
    # A login that is gone is noticed by the page that is open.
    browser.send("Network.clearBrowserCookies")
    browser.js("location.hash = '#/sessions'")
    browser.until("location.pathname === '/login'")


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
        assert len(files) == 3 and all(file.startswith(base + "/ui/assets/") for file in files)
        for file in files:
            answer = requests.get(url + file, timeout=30)
            assert answer.status_code == 200 and answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            plain = requests.get(url + file, headers={"Accept-Encoding": "identity"}, timeout=30)
            assert plain.content == answer.content and "Content-Encoding" not in plain.headers
            assert requests.get(url + file.replace("assets/", "assets/0"), timeout=30).status_code == 404


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
