"""S21: what users write is text in the server's pages, in a real browser: no script of theirs runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from harness.api import Api

SCRIPTS = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\"><svg onload=document.title='owned'>",
    "'-document.title='owned'-'",
    "</td></table><iframe srcdoc=\"<script>parent.document.title='owned'</script>\">",
    "javascript:document.title='owned'",
    "{{ 7 * 191 }}",
)


def shown(chromium: str, url: str, home: Path) -> str:
    """What a browser has made of a page, scripts included."""
    argv = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    argv += ["--no-first-run", "--disable-background-networking", f"--user-data-dir={home}"]
    # Timers and loads of the page come to their end before it is told.
    argv += ["--virtual-time-budget=2000", "--dump-dom", url]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout


def test_scripts_are_text(stub_api: Api, tmp_path: Path) -> None:
    """In the list of sessions, and where an answer of the API is opened as a page."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("chromium is not installed: run 'make deps'")
    sessions = [stub_api.create(name=name) for name in SCRIPTS]
    own = tmp_path / "own.html"
    own.write_text(f"<title>mine</title>{SCRIPTS[0]}")
    assert "<title>owned</title>" in shown(chromium, own.as_uri(), tmp_path / "profile"), (
        "no script runs here"
    )
    for path in ("/ui#/sessions", *(f"/sessions/{session.id}" for session in sessions[:1])):
        page = shown(chromium, stub_api.url + path, tmp_path / "profile")
        assert "&lt;script&gt;" in page or not path.startswith("/ui")
        assert "1337" not in page
        assert "<title>owned" not in page
        body = page[page.index("<body") :]
        for sign in ("<script", "<svg", "<iframe", "<img", 'href="javascript:'):
            assert sign not in body, (path, sign)
