"""A whole result of the notebook's session as a pandas frame, in one call: docs/results.md.

For sparkmagic's kernels (in a `%%local` cell) and for its magics in an ordinary Python notebook:

    from firesteel_frame import frame
    sales = frame("select * from sales where year = 2026")
    df = frame(name="df")        # a DataFrame of the session
"""

import io
import json
import re
import time
import uuid

VIEW = {
    "pyspark": '{0}.createOrReplaceTempView("{1}")',
    "spark": '{0}.createOrReplaceTempView("{1}")',
    "sparkr": 'createOrReplaceTempView({0}, "{1}")',
}
"""How each language gives a DataFrame a name for SQL."""

LOOK_SECONDS = 0.1
CHUNK_BYTES = 1 << 20
DONE = ("available", "error", "cancelled")


def frame(query=None, *, name=None, session=None, limit=None):
    """The rows of a SQL query, or of the session's DataFrame that is called `name`; its first `limit` rows.

    `session` names one of several sessions that the magics have made. Types are Arrow's where pyarrow is
    installed, else those of JSON lines.
    """
    if (query is None) == (name is None):
        raise ValueError("give either a query or name=, the name of a DataFrame of the session")
    found = _session(session)
    if query is not None:
        return _fetch(found, _run(found, query, "sql"), limit)
    if not re.fullmatch(r"[\w.]+", name) or found.kind not in VIEW:
        raise ValueError(f"{name!r} is no name of a DataFrame of this session")
    view = "firesteel_frame_" + uuid.uuid4().hex
    _run(found, VIEW[found.kind].format(name, view), found.kind)
    try:
        return _fetch(found, _run(found, f"select * from {view}", "sql"), limit)
    finally:
        _run(found, f"drop view if exists {view}", "sql")


def _session(name):
    """The session that sparkmagic has in this notebook."""
    import IPython

    registry = IPython.get_ipython().magics_manager.registry
    for magics in ("KernelMagics", "RemoteSparkMagics"):
        if magics in registry:
            return registry[magics].spark_controller.get_session_by_name_or_default(name)
    raise RuntimeError("There is no sparkmagic in this notebook: %load_ext sparkmagic.magics")


def _run(session, code, kind):
    """Run a statement to its end, and give its number."""
    client = session.http_client
    number = client.post_statement(session.id, {"code": code, "kind": kind})["id"]
    try:
        while (statement := client.get_statement(session.id, number))["state"] not in DONE:
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        client.cancel_statement(session.id, number)
        raise
    output = statement["output"] or {"status": "error", "ename": "Cancelled", "evalue": "it was cancelled"}
    # What is too large to be shown can be fetched.
    if output["status"] != "ok" and output["ename"] != "ResultTooLarge":
        raise RuntimeError(f"{output['ename']}: {output['evalue']}")
    return number


def _fetch(session, number, limit):
    """The statement's whole result."""
    import pandas

    try:
        import pyarrow
    except ImportError:
        pyarrow = None
    query = {"format": "jsonl" if pyarrow is None else "arrow"}
    if limit is not None:
        query["limit"] = limit
    http = session.http_client._http_client
    answer = http._session.get(
        http.compose_url(f"/sessions/{session.id}/statements/{number}/result"),
        params=query,
        headers=http.get_headers(),
        auth=http._auth,
        verify=http.verify_ssl,
        stream=True,
    )
    with answer:
        if answer.status_code != 200:
            raise RuntimeError(_reason(answer))
        # Whole before it is read: a result that is cut off raises here.
        data = io.BytesIO()
        for piece in answer.iter_content(CHUNK_BYTES):
            data.write(piece)
    data.seek(0)
    if pyarrow is None:
        return pandas.read_json(data, lines=True, convert_dates=False, dtype=False)
    with pyarrow.ipc.open_stream(data) as stream:
        return stream.read_pandas()


def _reason(answer):
    try:
        return json.loads(answer.text)["msg"]
    except (ValueError, KeyError, TypeError):
        return f"the server answered {answer.status_code}: {answer.text[:500]}"
