"""What browsers are told, and whose pages may read answers (faults.md: S4, S23, S36)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from harness.api import Api
from harness.roles import ADMIN, OWNER, STRANGER, by_basic, settings
from harness.server import Server, command
from harness.stub import Stub
from harness.wire import Wire

LISTED = "https://lab.example.org"
PORTED = "http://lab.example.org:8080"
LOOK_ALIKES = [
    "http://lab.example.org",
    "https://lab.example.org:443",
    "https://lab.example.org:8443",
    "https://lab.example.org:80",
    "https://lab.example.org.",
    "https://lab.example.org/",
    "https://lab.example.org/x",
    "https://lab.example.org?x",
    "https://lab.example.org#x",
    "https://lab.example.org.evil.com",
    "https://lab.example.orgevil.com",
    "https://lab.example.org@evil.com",
    "https://lab.example.org%2eevil.com",
    "https://lab.example.org\\.evil.com",
    "https://lab.example.org:443@evil.com",
    "https://evil.com/https://lab.example.org",
    "https://evil.com#https://lab.example.org",
    "https://evil.com,https://lab.example.org",
    "https://lab.example.org,https://evil.com",
    "https://lab.example.org https://evil.com",
    "https://evil.lab.example.org",
    "https://evillab.example.org",
    "https://labxexample.org",
    "https://lab-example.org",
    "https://example.org",
    "https://LAB.example.org",
    "HTTPS://lab.example.org",
    "https://Lab.Example.Org",
    "https://l\u00e4b.example.org",
    "https://l\u0430b.example.org",
    "https://xn--lb-via.example.org",
    "https://user@lab.example.org",
    "https:lab.example.org",
    "https:/lab.example.org",
    "//lab.example.org",
    "lab.example.org",
    "ftp://lab.example.org",
    "file://lab.example.org",
    "chrome-extension://lab.example.org",
    "http://lab.example.org:80800",
    "http://lab.example.org:808",
    "http://lab.example.org:08080",
    "http://localhost",
    "null",
    "*",
    "",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that two origins may read."""
    directory = tmp_path_factory.mktemp("browsers")
    own = {**Stub(directory / "spark").settings, **settings(directory)}
    server = Server({**own, "server.cors": [LISTED, PORTED], "server.forwarded": True})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def alice(server: Server) -> Api:
    """One user."""
    return by_basic(server, OWNER)


def preflight(api: Api, origin: str, path: str = "/sessions") -> Any:
    """What a browser asks before a page's request."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    return api.request("OPTIONS", path, headers={"Origin": origin.encode(), **asked})


def cors(answer: Any) -> dict[str, str]:
    """The headers that let a page read an answer."""
    pairs = ((name.title(), value) for name, value in answer.headers.items())
    return {name: value for name, value in pairs if name.startswith("Access-Control")}


@pytest.mark.parametrize("origin", [LISTED, PORTED])
def test_a_listed_origin(server: Server, alice: Api, origin: str) -> None:
    """May ask first, without a password, may then send requests and read answers, and never with cookies."""
    asked = preflight(Api(server.url), origin)
    assert asked.status_code == 204 and not asked.content
    allowed = cors(asked)
    assert allowed["Access-Control-Allow-Origin"] == origin
    assert "POST" in allowed["Access-Control-Allow-Methods"]
    assert "authorization" in allowed["Access-Control-Allow-Headers"].lower()
    assert "Access-Control-Allow-Credentials" not in allowed
    headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
    made = alice.post("/sessions", {"kind": "pyspark"}, headers=headers)
    assert made.status_code == 201, made.text
    assert cors(made)["Access-Control-Allow-Origin"] == origin
    assert "Location" in cors(made)["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in cors(made)
    # Refusals can be read as well.
    refused = Api(server.url).get("/sessions", headers={"Origin": origin})
    assert (refused.status_code, cors(refused)["Access-Control-Allow-Origin"]) == (401, origin)
    alice.delete(f"/sessions/{made.json()['id']}", headers=headers)


def test_look_alikes(server: Server, alice: Api) -> None:
    """No other origin is ever echoed, whatever it looks like, nor may its page change anything."""
    assert len(LOOK_ALIKES) >= 40
    before = alice.get("/sessions").json()["total"]
    for origin in LOOK_ALIKES:
        for answer in (
            preflight(Api(server.url), origin),
            preflight(alice, origin),
            alice.get("/sessions", headers={"Origin": origin.encode()}),
        ):
            assert not cors(answer), f"{origin!r}: {cors(answer)}"
            assert "Origin" in answer.headers["Vary"]
        posted = alice.post(
            "/sessions",
            {"kind": "pyspark"},
            headers={"Origin": origin.encode(), "Sec-Fetch-Site": "cross-site"},
        )
        assert posted.status_code in (400, 403), origin
        assert not cors(posted)
    assert alice.get("/sessions").json()["total"] == before


def test_two_origins_are_none(server: Server) -> None:
    """A browser sends one."""
    with Wire(server.port) as wire:
        wire.send(
            "OPTIONS /sessions HTTP/1.1",
            f"Origin: {LISTED}",
            "Origin: https://evil.com",
            "Access-Control-Request-Method: GET",
        )
        assert b"access-control" not in wire.answer().data.lower()


def test_off_unless_listed(make_stub: Callable[..., Stub], serve: Callable[..., Server]) -> None:
    """By default no page of another origin reads anything."""
    server = serve(make_stub().settings)
    for origin in (LISTED, "null", "*", server.url):
        assert not cors(preflight(server.api, origin))
        answer = server.api.get("/sessions", headers={"Origin": origin})
        assert not cors(answer) and "Vary" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://*",
        "lab.example.org",
        "https://lab.example.org/",
        "https://LAB.example.org",
        "https://lab.example.org:443",
        "null",
        "ftp://x",
        "https://a:b",
        "http://[::1]:080",
        "https://",
    ],
)
def test_what_is_no_origin(tmp_path: Path, origin: str) -> None:
    """Is refused in the configuration: it would never fit, or fit too much."""
    sets = [f"server.state_dir={tmp_path}", f"server.cors={json.dumps([origin])}"]
    checked = command("check", *(word for one in sets for word in ("--set", one)))
    assert checked.returncode != 0
    assert "server.cors" in checked.stdout + checked.stderr


def test_headers_of_every_answer(server: Server, alice: Api) -> None:
    """Pages, data, errors and refusals alike."""
    session = alice.create()
    answers = [
        alice.get("/sessions"),
        alice.get(session.path),
        alice.get("/no/such"),
        alice.request("PATCH", "/sessions"),
        alice.get(f"{session.path}/log?follow=false"),
        alice.post("/sessions", data="{"),
        Api(server.url).get("/sessions"),
        Api(server.url).get("/ping"),
        alice.delete(session.path, headers={"Origin": "https://evil.com"}),
        alice.get("/sessions", headers={"Accept": "application/vnd.livy.v9+json"}),
        alice.delete(session.path),
    ]
    assert {answer.status_code for answer in answers} >= {200, 400, 401, 403, 404, 405, 406}
    for answer in answers:
        told = f"{answer.request.method} {answer.request.path_url}"
        headers = answer.headers
        assert headers["X-Content-Type-Options"] == "nosniff", told
        assert headers["X-Frame-Options"] == "SAMEORIGIN", told
        policy = headers["Content-Security-Policy"]
        for words in ("default-src 'self'", "frame-ancestors 'self'", "object-src 'none'", "base-uri 'none'"):
            assert words in policy, told
        assert "unsafe" not in policy and "*" not in policy, told
        assert headers["Referrer-Policy"] == "no-referrer", told
        assert "camera=()" in headers["Permissions-Policy"], told
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin", told
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin", told
        kept = "private, no-cache" if "ETag" in headers else "no-store"
        assert headers["Cache-Control"] == kept, told
        assert "Server" not in headers and "X-Powered-By" not in headers, told
    asked = alice.get("/sessions", headers={"If-None-Match": alice.get("/sessions").headers["ETag"]})
    assert (asked.status_code, asked.headers["Cache-Control"]) == (304, "private, no-cache")


def test_no_answer_is_a_bare_list(alice: Api) -> None:
    """Which another site's page could take for a script of its own (XSSI)."""
    session = alice.create()
    document = alice.get("/openapi.json").json()
    for path, item in document["paths"].items():
        if "get" not in item or "{" in path.replace("{id}", "") or path.endswith("/events"):
            continue
        answer = alice.get(path.replace("{id}", str(session.id)))
        assert not answer.text.lstrip().startswith("["), path
    session.delete()


def test_no_location_of_the_clients(server: Server, alice: Api) -> None:
    """Wherever a client can put another server's name, no answer leads there."""
    evil = "evil.example"
    hostile = [
        {"Host": evil},
        {"X-Forwarded-Host": evil},
        {"X-Forwarded-Proto": "javascript"},
        {"X-Forwarded-Prefix": f"//{evil}"},
        {"X-Forwarded-Prefix": f"/\\{evil}"},
        {"X-Forwarded-Prefix": f"https://{evil}"},
        {"X-Forwarded-Prefix": f"/\t/{evil}"},
        {"X-Original-URL": f"//{evil}"},
        {"Forwarded": f"host={evil}"},
        {"Referer": f"https://{evil}/"},
    ]
    paths = [
        f"//{evil}/",
        f"//{evil}/ui",
        f"/%2f{evil}",
        f"/\\{evil}",
        f"/ui?next=//{evil}",
        f"/ui//{evil}",
        "/",
        "/ui/",
        f"/@{evil}",
    ]
    seen = 0
    for headers in hostile:
        answers = [alice.get(path, headers=headers) for path in paths]
        answers.append(alice.post("/sessions", {"kind": "pyspark"}, headers=headers))
        for answer in answers:
            location = answer.headers.get("Location", "")
            seen += bool(location)
            assert evil not in location, f"{headers}: {answer.request.path_url} leads to {location}"
            assert not location.startswith(("//", "/\\")) and ":" not in location, location
            if answer.status_code == 201:
                alice.delete(f"/sessions/{answer.json()['id']}")
    assert seen >= len(hostile) - 1


def test_what_tells_of_the_server(server: Server, alice: Api) -> None:
    """Warm drivers are an administrator's business; who holds a GPU is its holder's and theirs (S36)."""
    admin, sam = by_basic(server, ADMIN), by_basic(server, STRANGER)
    assert admin.get("/pool").status_code == 200
    for api in (alice, sam):
        assert (api.get("/pool").status_code, api.get("/pool").json()) == (403, {})
    assert Api(server.url).get("/pool").status_code == 401
    # Whoever needs no name to ask gets nothing of anybody.
    session = alice.create(name="canary-name", conf={"spark.canary": "x"})
    for path in ("/ping", "/healthcheck", "/readiness", "/metrics/ping", "/metrics/healthcheck"):
        answer = Api(server.url).get(path)
        assert answer.status_code == 200
        assert "canary" not in answer.text and OWNER not in answer.text
    session.delete()
