"""sparklyr's calls over HTTP, in its order and with what it asserts (R/connection_livy.R): Scala only."""

from __future__ import annotations

import base64
import time
from typing import Any, Iterator

import pytest
from harness.api import Api
from harness.server import Server
from harness.spark import Spark

HEADERS = {"Content-Type": "application/json", "X-Requested-By": "sparklyr"}
FIRST_POLL = 0.001
LAST_POLL = 5.0
LIMIT = 120.0

SOURCES = """
object LivyUtils {
  def invokeFromBase64(message: String): String = {
    val words = new String(java.util.Base64.getDecoder.decode(message), "UTF-8").split(" ")
    val answer = words(0) match {
      case "version" => org.apache.spark.SPARK_VERSION
      case "count" => org.apache.spark.sql.SparkSession.active.range(words(1).toLong).count().toString
      case "fill" => "z" * words(1).toInt
      case other => throw new IllegalArgumentException("no method " + other)
    }
    java.util.Base64.getEncoder.encodeToString(answer.getBytes("UTF-8"))
  }
}
"""
"""In the place of the sources that sparklyr sends when it has no jar: they are cells too."""


class Sparklyr:
    """One connection as the R package holds it."""

    def __init__(self, url: str):
        self.api = Api(url, headers=HEADERS)
        self._variable = 0
        listed = self.api.get("/sessions").json()
        assert listed["sessions"] is not None
        assert listed["total"] is not None
        conf = {"spark.ui.enabled": "false", "spark.executor.cores": 1}
        answer = self.api.post("/sessions", {"kind": "spark", "conf": conf, "heartbeatTimeoutInSecond": 600})
        assert answer.status_code < 400, answer.text
        created = answer.json()
        assert created["kind"] == "spark"
        self.path = f"/sessions/{created['id']}"
        deadline = time.monotonic() + LIMIT
        while (session := self.api.get(self.path).json())["state"] == "starting":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert session["state"] == "idle"
        assert session["kind"] == "spark"

    def statement(self, code: str) -> dict:
        """Post and poll: from a millisecond on, twice as long each time."""
        answer = self.api.post(self.path + "/statements", {"code": code})
        assert answer.status_code < 400, answer.text
        statement, wait = answer.json(), FIRST_POLL
        deadline = time.monotonic() + LIMIT
        while statement["state"] in ("waiting", "running"):
            assert time.monotonic() < deadline
            time.sleep(wait)
            wait = min(2 * wait, LAST_POLL)
            statement = self.api.get(f"{self.path}/statements/{statement['id']}").json()
        assert statement["state"] == "available"
        assert statement["output"] is not None
        return statement["output"]

    def value(self, code: str) -> Any:
        """The value of a call: exactly one MIME type comes back."""
        variable = f"sparklyrRetVar_{self._variable}"
        self._variable += 1
        output = self.statement(f"var {variable} = {code}\n%json {variable}")
        assert output["status"] == "ok", output
        assert len(output["data"]) == 1
        (mime,) = output["data"]
        assert mime in ("text/plain", "application/json")
        return output["data"][mime]

    def invoke(self, message: str) -> str:
        """One call of R's, as a base64 text each way."""
        sent = base64.b64encode(message.encode()).decode()
        return base64.b64decode(self.value(f'LivyUtils.invokeFromBase64("{sent}")')).decode()


@pytest.fixture(scope="module")
def endpoint(spark: Spark) -> Iterator[Server]:
    """A server for each Spark."""
    server = Server({**spark.settings, "spark.master": "local[2]"})
    yield server
    server.stop()


def test_sparklyr(endpoint: Server, spark: Spark) -> None:
    """Connect, send the sources, call, fail, and disconnect."""
    connection = Sparklyr(endpoint.url)
    output = connection.statement(SOURCES)
    assert output["status"] == "ok", output
    assert connection.invoke("version") == spark.version
    assert connection.invoke("count 1000") == "1000"
    # No text is cut that comes by %json, however long.
    assert connection.invoke("fill 300000") == "z" * 300_000
    output = connection.statement('var failing = LivyUtils.invokeFromBase64("bm9uZQ==")\n%json failing')
    assert output["status"] == "error"
    assert output["evalue"] == "java.lang.IllegalArgumentException: no method none"
    assert isinstance(output["traceback"], list)
    assert connection.invoke("count 3") == "3"
    assert connection.api.get(connection.path).json()["state"] in ("idle", "busy")
    assert connection.api.delete(connection.path).json()["msg"] == "deleted"
