"""pylivy 0.8 from PyPI (`livy`) against the real server and Spark, on each Spark."""

from __future__ import annotations

from typing import Iterator

import pandas as pd
import pytest
import requests
from harness.server import Server
from harness.spark import Spark
from livy import LivySession, SessionKind, SparkRuntimeError
from livy.client import LivyClient
from livy.models import SessionState

CONF = {"spark.ui.enabled": "false"}
ODD = [
    "quote\" 'single' back\\slash",
    "tab\tnewline\nreturn\rbell\x07",
    "héllo ✓ 漢字 🎉 \u2028 \u202e",
    '{"json": [1, "two"]}',
    "",
    " leading and trailing ",
    "\\u0041 %s {} $HOME `x`",
]


@pytest.fixture(scope="module")
def endpoint(spark: Spark) -> Iterator[Server]:
    """A server for each Spark."""
    server = Server({**spark.settings, "spark.master": "local[2]"})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def pyspark(endpoint: Server) -> Iterator[LivySession]:
    """One session for the file."""
    made = LivySession.create(
        endpoint.url, kind=SessionKind.PYSPARK, name="pylivy", spark_conf=CONF, echo=False
    )
    with made as session:
        yield session
    assert LivyClient(endpoint.url).get_session(made.session_id) is None


def test_server(endpoint: Server, pyspark: LivySession) -> None:
    """What its client asks first."""
    assert requests.get(endpoint.url, timeout=30).status_code == 200
    client = LivyClient(endpoint.url)
    assert client.get_session(4242) is None
    (listed,) = [one for one in client.list_sessions() if one.session_id == pyspark.session_id]
    assert (listed.kind, listed.state) == (SessionKind.PYSPARK, SessionState.IDLE)
    assert client.legacy_server() is False
    client.close()


def test_run(pyspark: LivySession) -> None:
    """Output, values, and an error that is raised."""
    assert pyspark.run("print('foo')").text == "foo"
    assert pyspark.run("x = 21").text == ""
    assert pyspark.run("x * 2").text == "42"
    assert pyspark.run("spark.range(100).count()").text == "100"
    with pytest.raises(SparkRuntimeError) as raised:
        pyspark.run("1 / 0")
    assert raised.value.ename == "ZeroDivisionError"
    assert raised.value.evalue == "division by zero"
    assert pyspark.run("spark.version is not None").text == "True"


def test_odd_frames_go_up_and_down(pyspark: LivySession) -> None:
    """What is uploaded comes back the same."""
    frame = pd.DataFrame({"n": range(len(ODD)), "s": ODD, "x": [0.5 * number for number in range(len(ODD))]})
    pyspark.upload("up", frame)
    back = pyspark.download("up").sort_values("n").reset_index(drop=True)[["n", "s", "x"]]
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)


def test_bigger_frame(pyspark: LivySession) -> None:
    """20,000 rows, line by line."""
    pyspark.run("big = spark.range(20000).selectExpr('id', 'repeat(\"é\", 20) as s')")
    big = pyspark.download("big")
    assert len(big) == 20_000
    assert sorted(big["id"]) == list(range(20_000))
    with pytest.warns(DeprecationWarning):
        assert len(pyspark.read("big")) == 20_000


def test_sql(endpoint: Server) -> None:
    """A SQL session: `download_sql`, and the error of a query."""
    made = LivySession.create(endpoint.url, kind=SessionKind.SQL, spark_conf=CONF, echo=False)
    with made as session:
        session.run("create temporary view v as select id, concat('s', id) as s from range(3)")
        expected = pd.DataFrame({"id": [0, 1, 2], "s": ["s0", "s1", "s2"]})
        pd.testing.assert_frame_equal(session.download_sql("select * from v order by id"), expected)
        assert list(session.download_sql("select * from v where id > 9").columns) == ["id", "s"]
        odd = session.download_sql("select 'a\"b\\tc é 🎉' as odd, cast(null as int) as n")
        assert odd["odd"][0] == 'a"b\tc é 🎉'
        with pytest.raises(SparkRuntimeError):
            session.download_sql("select * from no_such_table")
    assert LivyClient(endpoint.url).get_session(made.session_id) is None


def test_dead_session_has_a_known_state(endpoint: Server) -> None:
    """Its enumeration knows Livy's words only."""
    made = LivySession.create(endpoint.url, driver_memory="9000000g")
    made.wait()
    assert made.state in (SessionState.DEAD, SessionState.ERROR)
    made.close()
