"""What much output costs a server, what it tells of a cut, and what a session's driver may collect. One
session for all."""

from __future__ import annotations

import re
from typing import Callable, Iterator

import pytest
from harness.api import Session
from harness.processes import forget_peak, rss_mib
from harness.server import Server
from harness.spark import Spark

MAX_BYTES = 16 << 20
"""The default of output.max_bytes."""
SIZE = 200 * 10**6
MAX_RISE_MIB = 32_000_000 / 2**20

CONF = {
    "spark.ui.enabled": "false",
    "spark.driver.memory": "1g",
    "spark.driver.maxResultSize": "0",
    "spark.sql.shuffle.partitions": "2",
}


@pytest.fixture(scope="module")
def caps_server(spark: Spark) -> Iterator[Server]:
    """Its log has every cut, and at its end their number; a tenth of 1 GiB may be collected."""
    settings = {"log.level": "info,firesteel=debug", "driver.max_result_percent": 10}
    server = Server({**spark.settings, "spark.master": "local[2]", **settings})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def session(caps_server: Server) -> Session:
    """One session of that server."""
    session = caps_server.api.create(conf=CONF)
    session.wait("idle")
    session.text("1")
    return session


BYTES = f"import sys\nfor _ in range({SIZE} // 10240): _n = sys.stdout.buffer.write({{piece}})"
FLOODS = {
    "lines": f"line = 'x' * 99 + '\\n'\nfor _ in range({SIZE} // 100): print(line, end='')",
    "one line": f"print('y' * {SIZE}, end='')",
    "binary": BYTES.format(piece="bytes(range(256)) * 40"),
    "escapes": BYTES.format(piece="bytes(10240)"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_much_output_costs_the_server_little(
    caps_server: Server, session: Session, figures: Callable[[str], None], name: str
) -> None:
    """Its memory rises by less than 32 MB, whatever is printed, and is given back."""
    pid = caps_server.pid
    before = rss_mib(pid)
    forget_peak(pid)
    statement = session.run(FLOODS[name])
    risen, left = rss_mib(pid, peak=True) - before, rss_mib(pid) - before
    figures(f"200 MB printed, {name}: the server rises by {risen:.1f} MiB, and keeps {left:.1f}")
    text = statement["output"]["data"]["text/plain"]
    assert 0.2 * MAX_BYTES < len(text.encode()) < 1.5 * MAX_BYTES
    assert (
        len(re.findall(r"\n\[\.\.\. \d+ lines, [\d.]+ MB cut: output.max_bytes is 16 MiB \.\.\.\]\n", text))
        == 1
    )
    assert risen < MAX_RISE_MIB


def test_a_cut_is_told(caps_server: Server, session: Session) -> None:
    """By a header of the statement, and a line of the server's log."""
    path = f"{session.path}/statements"

    def header(code: str, kind: str) -> str | None:
        number = session.run(code, kind)["id"]
        return caps_server.api.get(f"{path}/{number}").headers.get("X-Firesteel-Truncated")

    assert header("print('z' * 17_000_000)", "pyspark") == f"bytes={MAX_BYTES}"
    assert header("SELECT id FROM range(1001)", "sql") == "rows=1000"
    assert header("SELECT id FROM range(1000)", "sql") is None
    assert header("big = ['x' * 1000] * 20000\n%json big", "pyspark") is None
    log = caps_server.log()
    assert re.search(rf"a result was cut: text .*limit_bytes={MAX_BYTES} seen_bytes=17000001", log)
    assert re.search(rf"a result was cut: structured .*limit_bytes={MAX_BYTES} seen_bytes=\d{{8}}", log)
    assert re.search(r"a result was cut: rows .*limit=1000", log)


def test_too_much_to_collect_is_an_error(session: Session) -> None:
    """Of Spark's own, in each language, and the session goes on."""
    assert session.text("sc.getConf().get('spark.driver.maxResultSize')") == "'102m'"
    told = [line for line in session.log() if "spark.driver.maxResultSize is 102.0 MiB and not 0" in line]
    assert told, session.log()
    rows = "SELECT id, sha2(string(id), 512) AS a, sha2(string(-id), 512) AS b FROM range(0, 2000000, 1, 40)"
    output = session.error(f"spark.sql({rows!r}).collect()")
    assert "spark.driver.maxResultSize (102.0 MiB)" in output["evalue"]
    output = session.error("sc.range(200, numSlices=200).map(lambda i: bytes(1_000_000)).collect()")
    assert "maxResultSize" in output["evalue"]
    array = "sc.range(0, 200, 1, 200).map(i => Array.fill(1000000)(i.toByte)).collect()"
    output = session.error(array, "spark")
    assert "maxResultSize" in output["evalue"] + "".join(output["traceback"])
    # As many rows as SQL may have, of 1 GB in all: they are measured, and none is collected.
    output = session.error("SELECT repeat('x', 1000000) FROM range(0, 1000, 1, 20)", "sql")
    assert output["ename"] == "ResultTooLarge"
    for kind, code in (("pyspark", "20 + 1"), ("spark", "20 + 1"), ("sql", "SELECT 21")):
        assert "21" in str(session.run(code, kind)["output"]["data"])


def test_the_cuts_are_counted(serve: Callable[..., Server], default_spark: Spark) -> None:
    """The server's last words say how often each limit has bitten."""
    server = serve({**default_spark.settings, "spark.master": "local[1]", "output.max_bytes": "4KiB"})
    session = server.api.create(conf={"spark.ui.enabled": "false"})
    session.wait("idle")
    for _ in range(3):
        session.run("print('x' * 5000)")
    session.run("big = 'x' * 5000\n%json big")
    session.run("print('x' * 4000)")
    server.process.terminate()
    server.process.wait(60)
    assert re.search(r"results cut since the start text=3 structured=1 rows=0 outbox=0", server.log())
