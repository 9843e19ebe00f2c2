"""Statements on a real driver: what clients need, and where this server answers better than Livy."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from harness.api import Session
from harness.processes import wait_until
from harness.server import Server

SMALL_UI = {"spark.ui.enabled": "false"}


def test_statement_shape(live: Session) -> None:
    """W1, W2, W7: 201, Location, integer ids from 0, all keys in Livy's order."""
    answer = live.api.post(f"{live.path}/statements", {"code": "1 + 1"})
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{live.path}/statements/{body['id']}"
    assert list(body) == ["id", "code", "state", "output", "progress", "started", "completed"]
    done = live.wait_statement(body["id"])
    assert done["output"] == {"status": "ok", "execution_count": body["id"], "data": {"text/plain": "2"}}
    assert done["completed"] >= done["started"] > 1_600_000_000_000
    assert done["progress"] == 1.0


def test_quick_results_come_with_the_post(live: Session) -> None:
    """A POST is held for a moment, so that most clients have no need to ask again."""
    found = [live.post("1 + 1")["state"] for _ in range(20)]
    assert "available" in found, found


def test_code_that_fails_is_available(live: Session) -> None:
    """W6: the statement is `available`, its output an error."""
    assert live.error("1/0")["ename"] == "ZeroDivisionError"
    assert live.state() == "idle"


@pytest.mark.parametrize("path", ["/statements", "/statements/"])
def test_post_with_trailing_slash(live: Session, path: str) -> None:
    """W10 for statements."""
    assert live.api.post(live.path + path, {"code": "1"}).status_code == 201


def test_unknown_statement_fields(live: Session) -> None:
    """Old sparkmagic sends `msg_type`; other unknown keys are ignored."""
    answer = live.api.post(f"{live.path}/statements", {"code": "7", "msg_type": "execute_request", "x": 1})
    assert answer.status_code == 201


@pytest.mark.parametrize("kind", ["python", "pyspark3", "pyspark", "sql"])
def test_statement_kinds(live: Session, kind: str) -> None:
    """W12: aliases here too."""
    assert live.ok("select 1" if kind == "sql" else "1", kind)


def test_shared_session(live_server: Server) -> None:
    """W12, W13: a session without a kind runs Python where none is said, and SQL where it is."""
    session = live_server.api.create(kind="shared", conf=SMALL_UI)
    # Posted while it starts: they wait, run in order, and see each other's views.
    first = session.post("spark.range(3).createOrReplaceTempView('three')\n'made'")
    second = session.post("select count(*) as n from three", "sql")
    assert (first["state"], second["state"]) == ("waiting", "waiting")
    assert session.wait_statement(first["id"])["output"]["data"]["text/plain"] == "'made'"
    table = session.wait_statement(second["id"])["output"]["data"]["application/json"]
    assert table["data"] == [[3]]
    session.delete()


def test_sql_session(live_server: Server) -> None:
    """W13: kind sql for the session: dbt's adapters index into the table even after DDL."""
    session = live_server.api.create(kind="sql", conf={**SMALL_UI, "livy.rsc.sql.num-rows": "5"})
    session.wait("idle")
    ddl = session.ok("create temporary view one as select 1 as x")
    assert ddl == {"application/json": {"schema": {"type": "struct", "fields": []}, "data": []}}
    table = session.ok("select x, 'a' as s from one")["application/json"]
    assert [field["name"] for field in table["schema"]["fields"]] == ["x", "s"]
    assert table["data"] == [[1, "a"]]
    # Livy's key for the rows of a result.
    assert len(session.ok("select * from range(100)")["application/json"]["data"]) == 5
    session.delete()


def test_sql_values(live: Session) -> None:
    """Livy fails on intervals with Java 17, loses digits of decimals, and shows Spark's inner objects for
    structs."""
    statement = live.run(
        "select interval '1' day as i, interval '2-3' year to month as ym,"
        " cast('12345678901234567890.123456789012345678' as decimal(38,18)) as d,"
        " named_struct('x', 1, 'y', named_struct('z', array(1, null))) as s,"
        " timestamp_ntz'2020-01-02 03:04:05' as ntz, cast('ab' as binary) as b,"
        " cast('NaN' as double) as nan, cast('Infinity' as double) as inf, cast(null as decimal(5,2)) as n",
        "sql",
    )
    assert statement["output"]["status"] == "ok", statement
    raw = live.api.get(f"{live.path}/statements/{statement['id']}").text
    table = json.loads(raw, parse_float=Decimal)["output"]["data"]["application/json"]
    names = [field["name"] for field in table["schema"]["fields"]]
    row = dict(zip(names, table["data"][0]))
    assert row["d"] == Decimal("12345678901234567890.123456789012345678")
    assert row["s"] == {"x": 1, "y": {"z": [1, None]}}
    assert "1" in str(row["i"])
    assert "2" in str(row["ym"])
    assert str(row["ntz"]).startswith("2020-01-02T03:04:05")
    assert row["b"] == [97, 98]
    assert row["nan"] is None
    assert row["inf"] == "Infinity"
    assert row["n"] is None


def test_sql_cut_is_told(live: Session) -> None:
    """Rows over the limit: a header on the statement's POST or GET."""
    statement = live.run("select id from range(1001)", "sql")
    answer = live.api.get(f"{live.path}/statements/{statement['id']}")
    assert len(answer.json()["output"]["data"]["application/json"]["data"]) == 1000
    assert answer.headers["X-Firesteel-Truncated"]
    whole = live.run("select id from range(1000)", "sql")
    assert len(whole["output"]["data"]["application/json"]["data"]) == 1000
    answer = live.api.get(f"{live.path}/statements/{whole['id']}")
    assert "X-Firesteel-Truncated" not in answer.headers


def test_text_before_an_exception_is_kept(live: Session) -> None:
    """Livy loses it; here it is beside the error, and first in the traceback."""
    output = live.error("print('before')\nraise ValueError('bad')")
    assert (output["ename"], output["evalue"]) == ("ValueError", "bad")
    assert output["data"]["text/plain"].startswith("before")
    assert output["traceback"][0].startswith("before")
    assert output["traceback"][-1] == "ValueError: bad\n"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("v = object()\n%json v", None),
        ("v = {1, 2}\n%json v", None),
        ("t = [[1, 'a'], ['b', 2]]\n%table t", None),
        ("%json nope", "NameError"),
        ("%table nope", "NameError"),
        ("%", "UnknownMagic"),
    ],
)
def test_magics_that_fail(live: Session, code: str, name: str | None) -> None:
    """Livy's interpreter dies of some of these; here they are errors, and the next statement runs."""
    output = live.error(code)
    assert name is None or output["ename"] == name
    assert live.text("'alive'") == "'alive'"


def test_json_has_no_nan(live: Session) -> None:
    """NaN and Infinity are null, as JSON has no such numbers."""
    data = live.ok("v = {'a': float('nan'), 'b': [float('inf'), 1.5]}\n%json v")
    assert data == {"application/json": {"a": None, "b": [None, 1.5]}}


@pytest.mark.parametrize(
    "text",
    ["\\ud800", "\\x00\\x01\\x1b[31m", "\\u202e", "\\U0001f389", "a\\u2028b", "\\ufeff", "\\x7f\\x80"],
)
def test_hostile_text(live: Session, text: str) -> None:
    """Whatever is printed, the statement can be read again and the next one runs (R16)."""
    statement = live.run(f"print('<{text}>')")
    assert statement["output"]["status"] == "ok"
    shown = live.statement(statement["id"])["output"]["data"]["text/plain"]
    assert (shown[0], shown[-1]) == ("<", ">")
    json.dumps(shown).encode()
    assert live.text("1 + 1") == "2"


def test_input_is_empty(live: Session) -> None:
    """Nobody can answer a prompt."""
    assert live.error("input()")["ename"] == "EOFError"


def test_completion(live: Session) -> None:
    """W16: Python's candidates, also while a statement runs."""
    live.ok("import os")
    body = {"code": "os.path.join(os.pat", "kind": "pyspark", "cursor": 19}
    answer = live.api.post(f"{live.path}/completion", body)
    assert answer.status_code == 200
    assert any("path" in candidate for candidate in answer.json()["candidates"])
    nothing = live.api.post(
        f"{live.path}/completion", {"code": "no_such_na", "kind": "pyspark", "cursor": 10}
    )
    assert nothing.json() == {"candidates": []}


def test_interrupt_cancels_the_statement(live: Session) -> None:
    """W16: Hue calls it to cancel; Livy stops the session."""
    sleeping, waiting = live.post("import time; time.sleep(600)"), live.post("'after'")
    live.wait_statement(sleeping["id"], "running")
    assert live.api.post(f"{live.path}/interrupt").status_code == 200
    assert live.wait_statement(sleeping["id"])["state"] == "cancelled"
    assert live.wait_statement(waiting["id"])["output"]["data"]["text/plain"] == "'after'"


def test_cancel_what_is_over_or_never_was(live: Session) -> None:
    """200 always, as in Livy."""
    done = live.run("1")
    live.cancel(done["id"])
    live.cancel(99_999)
    assert live.statement(done["id"]) == done


def test_statement_paging(live: Session) -> None:
    """from, size and order; a page is not more than what there is."""
    ids = [live.run(f"{number}")["id"] for number in range(3)]

    def page(query: str) -> list[int]:
        body = live.api.get(f"{live.path}/statements?{query}").json()
        assert body["total_statements"] == ids[-1] + 1
        return [statement["id"] for statement in body["statements"]]

    assert page(f"from={ids[0]}&size=2") == ids[:2]
    assert page("from=0&size=2&order=desc") == [ids[2], ids[1]]
    assert page("from=1&size=1&order=DESC") == [ids[1]]
    assert page("size=0") == []
    assert page("from=100000") == []
    assert page("")[-3:] == ids


def test_idle_timeout(live_server: Server) -> None:
    """A session without activity ends; while a statement runs it is never idle; looking at it is no
    activity."""
    before = {process.pid for process in live_server.driver_processes()}
    session = live_server.api.create(idleTimeout="3s", conf=SMALL_UI)
    session.wait("idle")
    statement = session.run("import time; time.sleep(6); 'slept'")
    assert statement["output"]["data"]["text/plain"] == "'slept'"
    session.wait_ended(60)
    wait_until(
        "its processes are gone", lambda: {p.pid for p in live_server.driver_processes()} <= before, 30
    )


def test_log_paging(live: Session) -> None:
    """The whole log, in pages; by default its end."""
    total = live.api.get(f"{live.path}/log").json()["total"]
    first = live.api.get(f"{live.path}/log?from=0&size=2").json()
    assert list(first) == ["id", "from", "total", "log"]
    assert first["log"][0] == "stdout: "
    assert any(line == "\nstderr: " for line in live.log())
    beyond = live.api.get(f"{live.path}/log?from={total + 1000}&size=5").json()
    assert beyond["log"] == []
    everything = live.api.get(f"{live.path}/log?from=0&size=-1").json()
    assert len(everything["log"]) >= total
