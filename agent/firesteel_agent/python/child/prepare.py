"""What a warm driver's Python does ahead of its session's first statement. Calls nobody."""

import importlib
from typing import Any, List


def prepare(imports: List[str], session: Any) -> List[List[str]]:
    """Import modules, and run a job where there is a session to run it in; what failed, with a sentence each.

    Nothing is bound: user code finds the modules imported when it imports them, and no more.
    """
    failed = []
    for name in imports:
        try:
            importlib.import_module(name)
        except BaseException as failure:  # Some modules exit where they don't like the host.
            failed.append([name, f"{type(failure).__name__}: {failure}"])
    if session is not None:
        try:
            _run_job(session)
        except Exception as failure:
            failed.append(["the first job", f"{type(failure).__name__}: {failure}"])
    return failed


def _run_job(session: Any) -> None:
    """The way that most first results come: planned, compiled, shuffled, collected, counted."""
    context = session.sparkContext
    context.setJobDescription("warm-up")
    try:
        rows = session.range(8).selectExpr("id % 3 as k", "id as v")
        rows.groupBy("k").sum("v").collect()
        rows.count()
    finally:
        context.setJobDescription(None)
