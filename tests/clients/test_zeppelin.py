"""Zeppelin's Livy interpreter over HTTP, in its order and with what it reads (BaseLivyInterpreter.java)."""

from __future__ import annotations

import time
from typing import Iterator

import pytest
from harness.api import Api
from harness.server import Server
from harness.spark import Spark

POLL = 0.2
"""Zeppelin's is one second."""

LIMIT = 120.0
SHOWN = ("text/plain", "image/png", "application/json", "application/vnd.livy.table.v1+json")


class Zeppelin:
    """One interpreter of a note."""

    def __init__(self, url: str, kind: str):
        self.api = Api(url, headers={"Content-Type": "application/json", "X-Requested-By": "zeppelin"})
        self.kind = kind
        assert self.api.get("/version").status_code == 200
        # Its livy.* properties come as fields, all of them strings.
        body = {
            "kind": kind,
            "conf": {"spark.ui.enabled": "false", "spark.executor.cores": "1"},
            "driverCores": "1",
            "heartbeatTimeoutInSecond": "0",
        }
        answer = self.api.post("/sessions", body)
        assert answer.status_code in (200, 201), answer.text
        self.path = f"/sessions/{answer.json()['id']}"
        deadline = time.monotonic() + LIMIT
        while (state := self.api.get(self.path).json()["state"]) != "idle":
            assert state not in ("error", "dead", "success"), self.api.get(self.path + "/log?size=1000").text
            assert time.monotonic() < deadline
            time.sleep(POLL)

    def post(self, code: str, kind: str | None = None) -> int:
        """Begin a paragraph."""
        answer = self.api.post(self.path + "/statements", {"code": code, "kind": kind or self.kind})
        assert answer.status_code in (200, 201), answer.text
        return answer.json()["id"]

    def wait(self, number: int) -> dict:
        """Poll it to its end, reading the progress."""
        deadline = time.monotonic() + LIMIT
        while True:
            statement = self.api.get(f"{self.path}/statements/{number}").json()
            assert 0 <= statement["progress"] * 100 <= 100
            if statement["state"] in ("available", "cancelled"):
                return statement
            assert time.monotonic() < deadline
            time.sleep(POLL)

    def data(self, code: str, kind: str | None = None) -> dict:
        """A paragraph's data, under the keys that Zeppelin knows."""
        output = self.wait(self.post(code, kind))["output"]
        assert output["status"] == "ok", output
        assert set(output["data"]) <= set(SHOWN)
        return output["data"]

    def complete(self, code: str, cursor: int) -> list[str]:
        """Candidates for the editor."""
        answer = self.api.post(self.path + "/completion", {"code": code, "kind": self.kind, "cursor": cursor})
        assert answer.status_code == 200, answer.text
        return answer.json()["candidates"]


@pytest.fixture(scope="module")
def endpoint(spark: Spark) -> Iterator[Server]:
    """A server for each Spark."""
    server = Server({**spark.settings, "spark.master": "local[2]"})
    yield server
    server.stop()


def test_scala_paragraphs(endpoint: Server) -> None:
    """Cells, tables, errors, completion, cancel."""
    note = Zeppelin(endpoint.url, "spark")
    assert note.data("1 + 1")["text/plain"].endswith("res0: Int = 2\n")
    assert "|  0|\n" in note.data("spark.range(2).show()")["text/plain"]
    table = note.data('val rows = List(Map("a" -> 1), Map("a" -> 2))\n%table rows')[SHOWN[3]]
    assert [header["name"] for header in table["headers"]] == ["a"]
    assert table["data"] == [[1], [2]]
    assert note.data('print("%html <b>x</b>")')["text/plain"] == "%html <b>x</b>"
    output = note.wait(note.post("nope"))["output"]
    assert output["status"] == "error"
    assert "not found: value nope" in output["evalue"]
    assert note.complete("spark.ra", 8) == ["range"]
    number = note.post("while (true) Thread.sleep(10)")
    while note.api.get(f"{note.path}/statements/{number}").json()["state"] == "waiting":
        time.sleep(POLL)
    # It sends an empty body.
    answer = note.api.request("POST", f"{note.path}/statements/{number}/cancel", data="")
    assert answer.status_code in (200, 201), answer.text
    assert note.wait(number)["state"] == "cancelled"
    assert note.data("2 + 2")["text/plain"].endswith("Int = 4\n")
    assert note.api.delete(note.path).status_code == 200


def test_a_shared_session(endpoint: Server) -> None:
    """Every paragraph names its language; they see each other's views."""
    note = Zeppelin(endpoint.url, "shared")
    note.data('Seq(1, 2).toDF("n").createOrReplaceTempView("shared_view")', "spark")
    assert note.data("print(spark.table('shared_view').count())", "pyspark")["text/plain"] == "2"
    rows = note.data("select sum(n) as s from shared_view", "sql")["application/json"]
    assert [field["name"] for field in rows["schema"]["fields"]] == ["s"]
    assert rows["data"] == [[3]]
    assert note.api.delete(note.path).status_code == 200
