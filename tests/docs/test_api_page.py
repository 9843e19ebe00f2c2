"""openapi/README.md names everything in openapi.json that Livy has not."""

from __future__ import annotations

import json
import re

from harness.server import ROOT

DOCUMENT = json.loads((ROOT / "openapi/openapi.json").read_text())
PAGE = (ROOT / "openapi/README.md").read_text()
METHODS = ("get", "post", "put", "delete", "patch", "head")

SESSION = "/sessions/{id}"
STATEMENTS = f"{SESSION}/statements"
LIVY = {
    *((method, path) for path in ("/sessions", "/batches") for method in ("GET", "POST")),
    *((method, path) for path in (SESSION, "/batches/{id}") for method in ("GET", "DELETE")),
    *(("GET", f"{path}/{what}") for path in (SESSION, "/batches/{id}") for what in ("state", "log")),
    *(("POST", f"{SESSION}/{what}") for what in ("connect", "interrupt", "completion")),
    ("GET", STATEMENTS),
    ("POST", STATEMENTS),
    ("GET", f"{STATEMENTS}/{{statement}}"),
    ("POST", f"{STATEMENTS}/{{statement}}/cancel"),
    *(("POST", f"{SESSION}/{what}") for what in ("submit-job", "run-job", "jobs/{job}/cancel")),
    ("GET", f"{SESSION}/jobs/{{job}}"),
    *(("POST", f"{SESSION}/{how}-{what}") for how in ("upload", "add") for what in ("jar", "pyfile", "file")),
    *(("GET", path) for path in ("/", "/ui", "/version")),
    *(("GET", path) for path in ("/metrics", "/metrics/ping", "/metrics/healthcheck")),
}
"""Livy's own routes."""
PARAMETERS = {"from", "size", "doAs"}
"""Livy's, and what the provider sends back to `/login/oidc/callback`."""


def routes() -> set[tuple[str, str]]:
    """The document's routes."""
    return {
        (method.upper(), path)
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
        if method in METHODS
    }


def test_routes_are_all_named() -> None:
    """Those that are not Livy's, and no others, as they are written in the document."""
    named = {
        (method, path)
        for row in re.findall(r"^\| (`[A-Z]+ /.*?) \|", PAGE.split("\n## Fields\n")[0], re.MULTILINE)
        for method, path in re.findall(r"`([A-Z]+) (/[^`]*)`", row)
    }
    assert routes() >= LIVY
    assert named == routes() - LIVY


def test_headers_and_parameters_are_all_named() -> None:
    """Those that the document has, but for Livy's and those of a provider's answer."""
    found = set()
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            if method not in METHODS or path == "/login/oidc/callback":
                continue
            given = operation.get("parameters", [])
            found |= {one["name"] for one in given if one["in"] in ("query", "header")}
            for answer in operation["responses"].values():
                found |= set(answer.get("headers", {}))
    found -= PARAMETERS | {"Location", "Set-Cookie"}
    assert len(found) > 10
    named = set(re.findall(r"`([\w-]+)`", PAGE))
    assert found <= named


def test_fields_of_the_application_are_all_named() -> None:
    """What `appInfo` has beyond Livy's three."""
    fields = set(DOCUMENT["components"]["schemas"]["AppInfo"]["properties"])
    beyond = fields - {"driverLogUrl", "sparkUiUrl", "executorLogUrls"}
    assert len(beyond) > 5
    assert beyond <= set(re.findall(r"`(\w+)`", PAGE))
