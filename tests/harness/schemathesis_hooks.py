"""What schemathesis leaves out, and what it looks at beside its own checks; for the environment `fuzz`."""

from __future__ import annotations

import os
import re
from typing import Any

import schemathesis

INSIDE = re.compile(os.environ["FIRESTEEL_FUZZ_INSIDE"])
HOME = os.environ["FIRESTEEL_FUZZ_HOME"]


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A log that is followed has no end. Filters of queries are not asked in the coverage phase."""
    if case.query and str(case.query.get("follow")).lower() == "true":
        del case.query["follow"]


@schemathesis.hook
def filter_path_parameters(context: Any, path_parameters: Any) -> bool:
    """What a client takes for a part of the path, before it is sent, is another path."""
    values = [str(value) for value in (path_parameters or {}).values()]
    return not any(value in ("", ".", "..") or "/" in value for value in values)


@schemathesis.check
def tells_nothing_of_the_inside(context: Any, response: Any, case: Any) -> None:
    """S24: an error has no stack, no path of the server's, no SQL, unless the request had it."""
    if response.status_code < 400:
        return
    found = INSIDE.search(response.text)
    sent = f"{case.path_parameters} {case.query} {case.headers} {case.body}"
    assert not found or found.group() in sent, f"an error tells {found.group()!r}: {response.text[:500]}"
    assert HOME not in response.text, f"an error tells a path: {response.text[:500]}"
