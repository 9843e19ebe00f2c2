"""A small client of the REST API: it says what it sends, checks nothing but what it must, and waits with a
limit."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Iterator, Protocol

import requests

from harness.processes import wait_until

ENDED = ("dead", "error", "killed", "success")
DONE = ("available", "error", "cancelled")
START_LIMIT = 180.0
RUN_LIMIT = 120.0


class Api:
    """The server as one client sees it."""

    def __init__(
        self,
        url: str,
        auth: tuple[str, str] | None = None,
        headers: dict[str, str] | None = None,
        authority: Path | None = None,
    ):
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False
        if authority:
            self.http.verify = str(authority)
        # Left to itself, requests would send what is not ASCII as Latin-1.
        self.http.auth = (auth[0].encode(), auth[1].encode()) if auth else None
        self.http.headers.update(headers or {})

    def request(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        """One exchange, as it came: no redirect is followed, no status raises."""
        if body is not None:
            more["json"] = body
        more.setdefault("timeout", 60)
        more.setdefault("allow_redirects", False)
        return self.http.request(method, self.url + path, **more)

    def get(self, path: str, **more: Any) -> requests.Response:
        """GET."""
        return self.request("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> requests.Response:
        """POST of a JSON body, or of what `data` holds."""
        return self.request("POST", path, body, **more)

    def delete(self, path: str, **more: Any) -> requests.Response:
        """DELETE."""
        return self.request("DELETE", path, **more)

    def create(self, **body: Any) -> Session:
        """A new session, `starting`."""
        body.setdefault("kind", "pyspark")
        answer = self.post("/sessions", body)
        assert answer.status_code == 201, answer.text
        return Session(self, answer.json())

    def sessions(self, path: str = "/sessions?size=1000") -> list[dict]:
        """What the list shows."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()["sessions"]

    def ids(self) -> Iterator[int]:
        """The ids of what the list shows."""
        return (session["id"] for session in self.sessions())


class Session:
    """One session, by its id."""

    def __init__(self, api: Api, created: dict):
        self.api = api
        self.created = created
        self.id = created["id"]
        self.path = f"/sessions/{self.id}"

    def get(self) -> dict:
        """The session's object."""
        answer = self.api.get(self.path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def state(self) -> str:
        """The session's state, or `gone` once it is not found any more."""
        answer = self.api.get(self.path + "/state")
        if answer.status_code == 404:
            return "gone"
        assert answer.status_code == 200, answer.text
        return answer.json()["state"]

    def wait(self, *states: str, limit: float = START_LIMIT) -> str:
        """Wait for one of these states; an end that is not asked for fails at once, with the log."""
        deadline = time.monotonic() + limit
        while (state := self.state()) not in states:
            if state in ENDED or state == "gone":
                raise AssertionError(f"session {self.id} is {state}, not {states}:\n" + "\n".join(self.log()))
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"session {self.id} is {state}, not {states}, after {limit:.0f} s:\n"
                    + "\n".join(self.log())
                )
            time.sleep(0.05)
        return state

    def wait_ended(self, limit: float = START_LIMIT) -> str:
        """Wait until it has ended by itself, or is not found any more."""
        return self.wait(*ENDED, "gone", limit=limit)

    def log(self, size: int = 100_000, **query: int) -> list[str]:
        """The session's log, whole unless asked otherwise; empty once the session is gone."""
        query.setdefault("from", 0)
        answer = self.api.get(f"{self.path}/log", params={"size": size, **query})
        return answer.json()["log"] if answer.status_code == 200 else []

    def post(self, code: str, kind: str | None = None) -> dict:
        """Post a statement and give it as answered."""
        body = {"code": code} if kind is None else {"code": code, "kind": kind}
        answer = self.api.post(self.path + "/statements", body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def statement(self, number: int) -> dict:
        """The statement as it is now."""
        answer = self.api.get(f"{self.path}/statements/{number}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_statement(self, number: int, *states: str, limit: float = RUN_LIMIT) -> dict:
        """Wait until a statement is in one of these states, or is done when none is named."""
        deadline = time.monotonic() + limit
        wanted = states or DONE
        while (statement := self.statement(number))["state"] not in wanted:
            if time.monotonic() > deadline or statement["state"] in DONE:
                raise AssertionError(f"statement {number} is not {wanted} within {limit:.0f} s: {statement}")
            time.sleep(0.02)
        return statement

    def run(self, code: str, kind: str | None = None, limit: float = RUN_LIMIT) -> dict:
        """Post a statement and wait for it."""
        statement = self.post(code, kind)
        return statement if statement["state"] in DONE else self.wait_statement(statement["id"], limit=limit)

    def ok(self, code: str, kind: str | None = None, limit: float = RUN_LIMIT) -> dict:
        """Run a statement that must succeed, and give its output's data."""
        statement = self.run(code, kind, limit)
        assert statement["state"] == "available", statement
        assert statement["output"]["status"] == "ok", statement
        return statement["output"]["data"]

    def text(self, code: str, limit: float = RUN_LIMIT) -> str:
        """Run Python that must succeed, and give what it printed and showed."""
        return self.ok(code, limit=limit)["text/plain"]

    def error(self, code: str, kind: str | None = None, limit: float = RUN_LIMIT) -> dict:
        """Run a statement that must fail, and give its output."""
        statement = self.run(code, kind, limit)
        assert statement["state"] == "available", statement
        assert statement["output"]["status"] == "error", statement
        return statement["output"]

    def cancel(self, number: int) -> None:
        """Ask for a statement's end."""
        answer = self.api.post(f"{self.path}/statements/{number}/cancel")
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"msg": "canceled"}

    def delete(self) -> None:
        """Delete the session; it may be gone already."""
        answer = self.api.delete(self.path)
        assert answer.status_code in (200, 404), answer.text


class Logged(Protocol):
    """A session or a batch."""

    def log(self) -> list[str]:
        """The lines of its log."""


def wait_line(of: Logged, text: str, limit: float = 90.0) -> str:
    """Wait for a line of its log with this in it, and give that."""

    def there() -> str | None:
        return next((line for line in of.log() if text in line), None)

    try:
        return wait_until(f"the log says {text!r}", there, limit, 0.2)
    except AssertionError as error:
        raise AssertionError("\n".join(of.log())) from error
