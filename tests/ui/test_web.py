"""The web UI in a real browser, against a real Spark session, by mouse and by keyboard, and against what its
user writes to harm others (docs/web.md)."""

from __future__ import annotations

from typing import Callable, Iterator

import pytest
import requests
from harness.api import Session
from harness.chromium import Chromium
from harness.processes import wait_until
from harness.scripts import OWNED, SCRIPTS
from harness.server import Server
from harness.spark import Spark


@pytest.fixture(scope="module")
def server(default_spark: Spark) -> Iterator[Server]:
    """A server with a real Spark."""
    made = Server({**default_spark.settings, "spark.master": "local[2]"})
    yield made
    made.stop()


@pytest.fixture(scope="module")
def session(browser: Chromium, server: Server, looked_at: Callable[[str], None]) -> Session:
    """A session that was made with nothing but the keyboard, from the overview on, and seen to start."""
    browser.open(server.url + "/ui")
    browser.shows("New session")
    browser.tab_to("New session")
    browser.key("Enter", 13)
    browser.until("document.activeElement.name === 'name'")
    browser.write("by hand")
    browser.tab_to("Conf")
    browser.key("Enter", 13)
    browser.tab_to("Spark conf")
    browser.write("spark.ui.enabled=false\nspark.sql.shuffle.partitions 2")
    browser.tab_to("Times")
    browser.key("Enter", 13)
    browser.tab_to("Ends when idle for")
    browser.write("1h")
    looked_at("new-session")
    browser.tab_to("Create session")
    browser.key("Enter", 13)
    number = int(browser.until(r"/^#.sessions.(\d+)$/.exec(location.hash)?.[1]"))
    made = Session(server.api, server.api.get(f"/sessions/{number}").json())
    assert (made.created["name"], made.created["conf"]["spark.sql.shuffle.partitions"]) == ("by hand", "2")
    browser.until("document.querySelector('.timeline .now') !== null")
    looked_at("session-starting")
    browser.until("document.querySelector('#state').dataset.state === 'idle'", 120)
    return made


def all_there(browser: Chromium, session: Session) -> None:
    """Wait until all of its statements are on the page: the next one's number is known then."""
    total = session.api.get(f"{session.path}/statements?size=0").json()["total_statements"]
    browser.until(f"document.querySelectorAll('.statement').length === {total}")


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
    all_there(browser, session)
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


def test_tables_images_and_html(page: Chromium, looked_at: Callable[[str], None]) -> None:
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
        "        return '<style>p { background: #00ff00 }</style><p>text</p>'\\\n"
        "            '<table><tr><td style=\"background: #ff0000\">cell</td></tr></table>'\nHtml()",
    )
    ended(page, at)
    inside = f"{at} iframe"
    assert page.js(f"document.querySelector({inside!r}).getAttribute('sandbox')") == ""
    # Its own styles count, and it is as light or dark as the page.
    for scheme, back in (("light", "ffffff"), ("dark", "12161d")):
        page.theme(scheme)
        shown = {"ff0000", "00ff00", back}
        wait_until(f"the frame is {scheme}", lambda shown=shown: shown <= set(page.colours(inside)), 20)
    page.theme("light")
    page.js("scrollTo(0, 0)")
    looked_at("session")


def test_completion_and_extension(page: Chromium, looked_at: Callable[[str], None]) -> None:
    """What could stand at the cursor is offered and taken by keys; the idle time begins anew."""
    ended(page, run(page, "import os"))
    page.write("spark.ra")
    page.key(" ", 32, 2)
    page.until("document.querySelector('#code').value === 'spark.range'")
    page.type("#code", "os.path.is")
    page.key(" ", 32, 2)
    page.until("document.querySelectorAll('#candidates [id]').length > 2")
    looked_at("session-completion")
    names = page.js("[...document.querySelectorAll('#candidates [id]')].map((one) => one.textContent)")
    assert "isdir" in names and all(name.startswith("is") for name in names)
    page.key("ArrowDown", 40)
    assert page.js("document.querySelector('#candidates [aria-selected=true]').textContent") == names[1]
    page.key("Enter", 13)
    assert page.js("document.querySelector('#code').value") == f"os.path.{names[1]}"
    page.key(" ", 32, 2)
    page.key("Escape", 27)
    assert page.js("document.querySelector('#candidates').hidden")
    page.tab_to("Extend", back=True)
    page.key("Enter", 13)
    page.shows("Its idle time begins anew.")


def test_the_log(page: Chromium, looked_at: Callable[[str], None]) -> None:
    """It is followed, and searched."""
    page.click("#tab-1")
    page.until("document.querySelector('.log').textContent.length > 100")
    page.js("window.was = document.querySelector('.log').textContent")
    assert "stderr" in page.js("window.was")
    page.js("document.querySelector('.logs input[type=search]').focus()")
    page.send("Input.insertText", text="STDERR")
    page.until("document.querySelectorAll('.log mark').length > 0")
    assert page.js("document.querySelector('.log mark').textContent").lower() == "stderr"
    looked_at("session-log")
    page.js("document.querySelector('#tab-1').focus()")
    page.key("ArrowRight", 39)
    page.shows("spark.sql.shuffle.partitions")
    phases = page.js("[...document.querySelectorAll('.timeline li.past span')].map((one) => one.textContent)")
    assert phases == ["Queue", "Launch", "JVM", "SparkContext", "Interpreter"]
    looked_at("session-details")


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
    # The frame has the script, which its own policy and the frame's keep from running.
    frames = page.js("[...document.querySelectorAll('iframe')].map((one) => one.src)")
    answers = [requests.get(frame, timeout=30) for frame in frames]
    assert any(SCRIPTS[0] in answer.text for answer in answers)
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("sandbox; default-src 'none';") and "script" not in policy
    for frame in frames:
        page.open(frame)
        assert page.js("document.title") == "Output"
    page.told = []


def test_with_the_keyboard_alone(
    browser: Chromium, server: Server, session: Session, looked_at: Callable[[str], None]
) -> None:
    """From the overview to the session; a statement run, cancelled, edited and run again; the session's other
    parts; the list filtered and sorted; the session ended."""
    at = "document.querySelector('.statement')"
    browser.open(server.url + "/ui")
    browser.shows("by hand")
    browser.shows("everybody")
    looked_at("overview")
    browser.tab_to("To the content")
    browser.key("Enter", 13)
    browser.tab_to(f"{session.id} by hand")
    browser.key("Enter", 13)
    browser.until("document.activeElement.id === 'code'")
    all_there(browser, session)
    browser.write("import time\ntime.sleep(600)")
    browser.key("Enter", 13, 2)
    browser.until(f"{at}.dataset.state === 'running'")
    browser.tab_to("Cancel")
    browser.key("Enter", 13)
    browser.until(f"{at}.dataset.state === 'cancelled'")
    browser.until("document.querySelector('#state').dataset.state === 'idle'")
    browser.tab_to("Language", back=True)
    browser.tab_to("Edit again")
    browser.key("Enter", 13)
    assert browser.js("document.activeElement.value").startswith("import time")
    browser.js("document.activeElement.select()")
    browser.write("'edited ' + 'again'")
    browser.tab_to("Run")
    browser.key("Enter", 13)
    browser.until(f"{at}.innerText.includes('edited again')")
    browser.tab_to("Statements", back=True)
    for part, sign in (("Log", "Search the log"), ("Details", "idleTimeout"), ("Sharing", "User or @group")):
        browser.key("ArrowRight", 39)
        assert browser.js("document.activeElement.innerText") == part
        browser.until(f"document.querySelector('main').innerHTML.includes({sign!r})")
    # Without authentication there is nobody to share with.
    browser.until("document.querySelector('#panel-3').innerText.length > 10")
    browser.tab_to("Sessions", back=True)
    browser.key("Enter", 13)
    browser.until("document.querySelectorAll('tbody tr[data-id]').length > 0")
    looked_at("sessions")
    browser.tab_to("Filter sessions")
    browser.write("state:idle hand")
    browser.until("document.querySelectorAll('tbody tr[data-id]').length === 1")
    browser.tab_to("Id ▾")
    browser.key("Enter", 13)
    assert browser.js("document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "ascending"
    browser.tab_to(str(session.id))
    browser.key("Enter", 13)
    browser.until("document.querySelector('#state')?.dataset.state === 'idle'")
    browser.tab_to("End session", back=True)
    browser.key("Enter", 13)
    browser.shows("What it has in memory is lost.")
    browser.tab_to("End it")
    browser.key("Enter", 13)
    browser.until("location.hash === '#/sessions'")
    assert session.state() == "gone"
    browser.open(f"{server.url}/ui#/history/{session.id}")
    browser.shows("It has no statements.")
    assert browser.faults() == []
