"""Whole results over HTTP: the same rows, order and types as Spark's own, in each format, within limits, and
nothing left of those that are abandoned."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest
import requests
from harness.api import Session
from harness.processes import wait_until
from harness.server import ROOT, Server, binary
from harness.spark import Spark

SETTINGS = {"result.kept": 5, "result.at_once": 2, "result.stall_timeout": "5s", "sql.max_rows": 3}
CONF = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
    "spark.sql.session.timeZone": "Europe/Berlin",
}
JUDGE = ROOT / "tests/harness/arrow_judge.py"

# Spark's own rows as JSON, the same as the judge makes of Arrow's.
PLAIN = """
import datetime, decimal, json
def plain(value, kind):
    name = type(kind).__name__
    if value is None:
        return None
    if name == "TimestampType":
        return value.astimezone(datetime.timezone.utc).isoformat()
    if name in ("DateType", "TimestampNTZType"):
        return value.isoformat()
    if name == "DayTimeIntervalType":
        return value.total_seconds()
    if name == "DecimalType":
        return str(value)
    if name == "BinaryType":
        return bytes(value).hex()
    if name in ("DoubleType", "FloatType"):
        return repr(float(value))
    if name == "ArrayType":
        return [plain(item, kind.elementType) for item in value]
    if name == "MapType":
        return sorted([plain(k, kind.keyType), plain(v, kind.valueType)] for k, v in value.items())
    if name == "StructType":
        return [plain(item, field.dataType) for item, field in zip(value, kind.fields)]
    return value
def rows(query):
    frame = spark.sql(query)
    kinds = [field.dataType for field in frame.schema.fields]
    print(json.dumps([[plain(v, kind) for v, kind in zip(row, kinds)] for row in frame.collect()]))
"""

FLAT = """
select id, cast(id % 100 as byte) b, cast(id as short) sh, cast(id as int) i, cast(id as float) / 3 f,
  cast(id as double) / 7 d, id % 2 = 0 yes, if(id % 5 = 0, null, concat('é漢🎉"', id, ',\\n')) s,
  cast(id as decimal(10, 2)) dec, cast('12345678901234567890.123456789012345678' as decimal(38, 18)) big,
  date_add(date'1969-12-30', cast(id as int)) day,
  timestamp'2020-06-01 12:34:56.789' + make_dt_interval(id) at,
  timestamp_ntz'2020-06-01 12:34:56.123456' plain, encode(cast(id as string), 'utf-8') bytes
from range(0, 25000, 1, 3) order by id desc
"""
NESTED = """
select id, array(id, null, id + 1) list, map('k', id, 'l', null) pairs,
  named_struct('x', id, 'inner', array(named_struct('y', cast(id as string)))) deep,
  if(id = 1, null, array()) nothing, interval '1 02:03:04' day to second lasts, null void
from range(0, 10, 1, 2)
"""
FLAT_TYPES = [
    "int64", "int8", "int16", "int32", ("double", "float"), "double", "bool", "string", "decimal128(10, 2)",
    "decimal128(38, 18)", "date32[day]", "timestamp[us, tz=Europe/Berlin]", "timestamp[us]", "binary",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(spark: Spark) -> Iterator[Server]:
    """A server with small limits."""
    server = Server({**spark.settings, "spark.master": "local[2]", **SETTINGS})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def session(server: Server) -> Session:
    """A session for the whole file, which tests leave idle."""
    session = server.api.create(conf=CONF)
    session.wait("idle")
    session.run(PLAIN)
    return session


def sql(session: Session, query: str) -> int:
    """Run a query; its statement's number."""
    statement = session.run(query, "sql")
    assert statement["output"]["status"] == "ok", statement
    return statement["id"]


def fetch(session: Session, number: int, **more: Any) -> requests.Response:
    """Ask for a result."""
    stream = more.pop("stream", False)
    path = f"{session.path}/statements/{number}/result"
    return session.api.get(path, params=more, stream=stream, timeout=120)


def judged(tmp_path: Path, kind: str, body: bytes) -> dict[str, Any]:
    """What pyarrow reads."""
    path = tmp_path / f"result.{kind}"
    path.write_bytes(body)
    python = str(ROOT / ".venv/arrow/bin/python")
    told = subprocess.run(
        [python, str(JUDGE), kind, str(path)], stdout=subprocess.PIPE, check=True, timeout=120
    )
    return json.loads(told.stdout)


@pytest.mark.parametrize("query", [FLAT, NESTED], ids=["flat", "nested"])
def test_rows_order_and_types_are_sparks(session: Session, tmp_path: Path, query: str) -> None:
    """As Arrow and as Parquet, beside what the statement shows."""
    session.run(PLAIN)
    expected = json.loads(session.text(f"rows({query!r})"))
    number = sql(session, query)
    for kind in ("arrow", "parquet"):
        answer = fetch(session, number, format=kind)
        assert answer.status_code == 200, answer.text
        assert answer.headers["X-Firesteel-Result"] == "recomputed"
        assert f"statement-{number}.{kind}" in answer.headers["Content-Disposition"]
        found = judged(tmp_path, kind, answer.content)
        assert found["rows"] == expected
        if query == FLAT:
            for (name, kind_found), wanted in zip(found["types"], FLAT_TYPES, strict=True):
                assert kind_found in (wanted if isinstance(wanted, tuple) else (wanted,)), name


def test_text_formats(session: Session) -> None:
    """CSV and JSON lines have all rows, nulls, digits and line breaks; nested values are JSON, or told."""
    number = sql(session, FLAT)
    table = list(csv.reader(io.StringIO(fetch(session, number, format="csv").content.decode(), newline="")))
    assert table[0][:4] == ["id", "b", "sh", "i"] and len(table) == 25_001
    assert table[1][0] == "24999" and table[-1][7] == ""
    assert table[1][7] == 'é漢🎉"24999,\n'
    assert table[1][9] == "12345678901234567890.123456789012345678"
    lines = fetch(session, number, format="jsonl").content.splitlines()
    rows = [json.loads(line, parse_float=str) for line in lines]
    assert [row["id"] for row in rows] == list(range(24_999, -1, -1))
    assert rows[-1]["s"] is None and rows[0]["big"] == "12345678901234567890.123456789012345678"
    assert rows[0]["dec"] == "24999.00" and rows[-1]["day"] == "1969-12-30"
    nested = sql(session, "select id, array(id) list, named_struct('x', id) deep from range(2)")
    rows = [json.loads(line) for line in fetch(session, nested, format="jsonl").content.splitlines()]
    assert rows == [{"id": n, "list": [n], "deep": {"x": n}} for n in range(2)]
    refused = fetch(session, nested, format="csv")
    assert refused.status_code == 422 and "The column list has arrays" in refused.json()["msg"]


def test_edges(session: Session, tmp_path: Path) -> None:
    """No rows, no columns, two columns of one name, a limit."""
    none = sql(session, "select id, 'x' as s from range(5) where id > 9")
    assert fetch(session, none, format="csv").text == "id,s\n"
    assert fetch(session, none, format="jsonl").content == b""
    for kind in ("arrow", "parquet"):
        found = judged(tmp_path, kind, fetch(session, none, format=kind).content)
        assert [name for name, _type in found["types"]] == ["id", "s"] and found["rows"] == []
    command = sql(session, "create or replace temporary view v as select 1 as one")
    assert judged(tmp_path, "arrow", fetch(session, command).content) == {"types": [], "rows": []}
    assert fetch(session, command, format="parquet").status_code == 422
    twice = sql(session, "select 1 as a, 2 as a")
    assert fetch(session, twice, format="csv").text == "a,a\n1,2\n"
    assert judged(tmp_path, "arrow", fetch(session, twice).content)["rows"] == [[1, 2]]
    assert "two columns with the name a" in fetch(session, twice, format="jsonl").json()["msg"]
    many = sql(session, "select id from range(0, 100000, 1, 4) order by id desc")
    assert fetch(session, many, format="csv", limit=2).text == "id\n99999\n99998\n"


def test_values(session: Session, tmp_path: Path) -> None:
    """`%table` and `%json` values have results; other outputs say which have."""
    table = session.run("x = [[1, 'a'], [2, None]]\n%table x")["id"]
    answer = fetch(session, table, format="csv")
    assert answer.headers["X-Firesteel-Result"] == "stored" and answer.text == "0,1\n1,a\n2,\n"
    objects = session.run("y = [{'n': 1.5, 'l': [1]}, {'l': [], 'm': True}]\n%json y")["id"]
    rows = [json.loads(line) for line in fetch(session, objects, format="jsonl").content.splitlines()]
    assert rows == [{"n": 1.5, "l": [1], "m": None}, {"n": None, "l": [], "m": True}]
    found = judged(tmp_path, "arrow", fetch(session, objects).content)
    assert [kind for _name, kind in found["types"]] == ["double", "list<item: int64>", "bool"]
    large = session.run("z = [{'n': n, 's': 'x' * 50} for n in range(5000)]\n%json z")["id"]
    assert len(fetch(session, large, format="csv", limit=4000).text.splitlines()) == 4001
    for code in ("print(1)", "1 / 0", "w = {'a': 1}\n%json w"):
        refused = fetch(session, session.run(code)["id"])
        assert refused.status_code == 422 and "SQL statements have one" in refused.json()["msg"], refused.text


def test_what_can_not_be_had(session: Session) -> None:
    """Each refusal has its status and a sentence that says what to do."""
    number = sql(session, "select 1")
    for query, field in (
        ({"format": "xml"}, "format"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "x"}, "limit"),
    ):
        refused = fetch(session, number, **query)
        assert refused.status_code == 400 and refused.json()["msg"].startswith(field)
    assert fetch(session, 99_999).status_code == 404
    failing = sql(session, "select if(id < 99999, id, raise_error('no more')) from range(0, 100000, 1, 1)")
    refused = fetch(session, failing)
    assert refused.status_code == 422 and "no more" in refused.json()["msg"]
    for _ in range(5):
        sql(session, "select 2")
    refused = fetch(session, number)
    assert refused.status_code == 410 and "result.kept" in refused.json()["msg"]
    running = session.post("import time; time.sleep(60)")["id"]
    assert fetch(session, running).status_code == 409
    session.cancel(running)
    session.wait_statement(running, "cancelled")


def agent_threads(session: Session) -> int:
    """Threads of the agent and sockets of results in the JVM."""
    return int(
        session.text(
            "import os\n"
            "names = spark.sparkContext._jvm.java.lang.Thread.getAllStackTraces().keySet().toString()\n"
            "own = len(os.listdir(f'/proc/{os.getppid()}/task'))\n"
            "print(own + 1000 * names.count('serve toLocalIterator'))"
        )
    )


WIDE = "select id, repeat(cast(id as string), 200) as s from range(0, 3000000, 1, 60)"


def test_slow_and_abandoned(session: Session, server: Server) -> None:
    """Two at once; a third is told to wait; statements and cancels go on; nothing is left of either."""
    number = sql(session, WIDE)
    before = agent_threads(session)
    readers = [fetch(session, number, stream=True) for _ in range(2)]
    assert all(reader.status_code == 200 for reader in readers)
    busy = fetch(session, number)
    assert busy.status_code == 503 and busy.headers["Retry-After"] and "result.at_once" in busy.json()["msg"]
    assert session.text("print(6 * 7)") == "42"
    waits = session.post("import time\ntime.sleep(60)")["id"]
    session.wait_statement(waits, "running")
    session.cancel(waits)
    session.wait_statement(waits, "cancelled")
    readers[0].close()
    # The other reads nothing for result.stall_timeout: it is cut, and finds that out.
    wait_until("both have ended", lambda: agent_threads(session) <= before, 60)
    with pytest.raises(requests.exceptions.RequestException):
        for _piece in readers[1].iter_content(1 << 20):
            pass
    assert fetch(session, number, format="csv", limit=1).status_code == 200


def test_a_driver_that_dies_cuts_its_result(server: Server) -> None:
    """The client sees that the result is not whole; later there is none."""
    session = server.api.create(conf=CONF)
    session.wait("idle")
    number = sql(session, WIDE)
    agent = int(session.text("import os; print(os.getppid())"))
    reader = fetch(session, number, stream=True)
    pieces = reader.iter_content(1 << 16)
    assert next(pieces)
    os.kill(agent, signal.SIGKILL)
    with pytest.raises(requests.exceptions.RequestException):
        for _piece in pieces:
            pass
    session.wait_ended()
    assert fetch(session, number).status_code == 410


def test_limits(spark: Spark, serve: Any) -> None:
    """A result over a limit is told, or cut: never taken for whole."""
    server = serve(
        {**spark.settings, "spark.master": "local[2]", "result.max_rows": 25_000, "result.max_bytes": "1MiB"}
    )
    session = server.api.create(conf=CONF)
    session.wait("idle")
    fine = sql(session, "select id from range(0, 25000, 1, 2)")
    assert len(fetch(session, fine, format="csv").text.splitlines()) == 25_001
    rows = sql(session, "select id from range(0, 60000, 1, 2)")
    with pytest.raises(requests.exceptions.RequestException):
        fetch(session, rows, format="csv")
    large = sql(session, "select repeat('x', 1000) from range(5000)")
    refused = fetch(session, large)
    assert refused.status_code == 422 and "(result.max_bytes)" in refused.json()["msg"], refused.text


def test_command_line(server: Server, session: Session, tmp_path: Path) -> None:
    """`exec --format` writes a file that is there once it is whole, or standard output."""
    target = tmp_path / "out.csv"
    command = [str(binary()), "exec", "--url", server.url, "--session", str(session.id), "--kind", "sql"]
    code = ["-c", "select id from range(5) order by id"]
    done = subprocess.run([*command, "--format", "csv", "--to", str(target), *code], timeout=120, check=False)
    assert done.returncode == 0 and target.read_text() == "id\n0\n1\n2\n3\n4\n"
    shown = subprocess.run(
        [*command, "--format", "jsonl", *code], stdout=subprocess.PIPE, timeout=120, check=False
    )
    assert shown.stdout.splitlines()[4] == b'{"id":4}'
    failing = "select raise_error('no') from range(3)"
    bad = subprocess.run(
        [*command, "--format", "csv", "--to", str(tmp_path / "no.csv"), "-c", failing],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False,
    )  # fmt: skip
    assert bad.returncode == 1 and sorted(path.name for path in tmp_path.iterdir()) == ["out.csv"]


def test_two_at_once(session: Session) -> None:
    """Results of two statements at once do not mix."""
    numbers = [
        sql(session, f"select id + {n * 1_000_000} as id from range(0, 50000, 1, 4)") for n in range(2)
    ]
    bodies: dict[int, str] = {}

    def take(at: int) -> None:
        bodies[at] = fetch(session, numbers[at], format="csv").text

    threads = [threading.Thread(target=take, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for at in range(2):
        found = sorted(map(int, bodies[at].splitlines()[1:]))
        assert found == list(range(at * 1_000_000, at * 1_000_000 + 50_000))
