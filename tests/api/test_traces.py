"""Traces: from a client's `traceparent` to the spans that a collector gets. The binary is the one that has
OpenTelemetry, the driver none of Spark's but where Spark's jobs are looked at."""

from __future__ import annotations

import re
import secrets
import time
import uuid
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from harness.api import Api, Session
from harness.collector import Collector
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import Server, command, failpoints_binary

SMALL = {"spark.ui.enabled": "false"}
STATEMENTS = "POST /sessions/{id}/statements"


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that takes what comes."""
    made = Collector()
    yield made
    made.stop()


@pytest.fixture
def traced(serve: Callable[..., Server], collector: Collector, tmp_path: Path) -> Callable[..., Server]:
    """Start servers that send their spans there, soon."""

    def start(settings: dict[str, Any] | None = None, **more: Any) -> Server:
        own = {
            **Fake(tmp_path / f"fake-{uuid.uuid4().hex}").settings,
            "traces.endpoint": collector.url,
            "traces.interval": "50ms",
            "log.access": True,
        }
        return serve({**own, **(settings or {})}, program=failpoints_binary(), **more)

    return start


class Caller:
    """A client with a span of its own."""

    def __init__(self, sampled: bool = True):
        self.trace, self.span = secrets.token_hex(16), secrets.token_hex(8)
        self.header = {"traceparent": f"00-{self.trace}-{self.span}-0{int(sampled)}"}

    def post(self, session: Session, code: str, kind: str | None = None) -> dict:
        """Post a statement below that span."""
        body = {"code": code} if kind is None else {"code": code, "kind": kind}
        answer = session.api.post(f"{session.path}/statements", body, headers=self.header)
        assert answer.status_code == 201, answer.text
        return answer.json()


def named(spans: list[dict], trace: str, name: str) -> list[dict]:
    """The spans of that name in a trace."""
    return [span for span in spans if span["trace"] == trace and span["name"] == name]


def test_from_the_client_to_the_result(
    traced: Callable[..., Server], collector: Collector, figures: Callable[[str], None]
) -> None:
    """Each span has the right parent, times that fit, and the attributes that are promised; and nothing that
    a client has written."""
    marker = f"marker-{uuid.uuid4().hex}"
    server = traced(env={"OTEL_EXPORTER_OTLP_HEADERS": "x-key=of-the-collector"})
    api = server.api
    caller = Caller()
    body = {"kind": "pyspark", "name": marker, "conf": {"spark.x": marker, "spark.fake.start": "0.3"}}
    session = Session(api, api.post("/sessions", body, headers=caller.header).json())
    session.wait("idle")
    callers = {word: Caller() for word in ("ok", "error", "cancelled", "running")}
    ids = {"ok": callers["ok"].post(session, f"ledger {marker}")["id"]}
    session.wait_statement(ids["ok"])
    ids["error"] = callers["error"].post(session, f"error {marker}")["id"]
    session.wait_statement(ids["error"])
    ids["running"] = callers["running"].post(session, f"sleep 600 {marker}")["id"]
    ids["cancelled"] = callers["cancelled"].post(session, f"ledger {marker}")["id"]
    session.wait_statement(ids["running"], "running")
    for word in ("cancelled", "running"):
        session.cancel(ids[word])
        session.wait_statement(ids[word], "cancelled")
    assert api.get(f"/sessions/{marker}/statements?from=x{marker}", headers=caller.header).status_code == 400

    def all_there(spans: list[dict]) -> bool:
        ended = [span for span in spans if span["name"] in ("statement", "session start")]
        lists = named(spans, caller.trace, "GET /sessions/{id}/statements")
        return len(ended) == 5 and bool(lists)

    collector.wait(all_there)
    spans = collector.spans()
    for body in collector.bodies:
        assert marker.encode() not in body
    assert all(headers["x-key"] == "of-the-collector" for headers in collector.headers)
    assert all(span["resource"]["service.name"] == "firesteel" for span in spans)

    (request,) = named(spans, caller.trace, "POST /sessions")
    assert (request["kind"], request["parent"]) == ("server", caller.span)
    (start,) = named(spans, caller.trace, "session start")
    assert start["parent"] == request["id"]
    assert start["attributes"] == {
        "firesteel.session.id": session.id,
        "firesteel.kind": "pyspark",
        "firesteel.outcome": "ready",
    }
    phases = [span for span in spans if span["parent"] == start["id"]]
    phases.sort(key=lambda span: span["start"])
    assert [span["name"] for span in phases] == ["queue", "spawn", "jvm", "context", "interpreter"]
    for before, after in zip(phases, phases[1:]):
        # Each begins where the one before has ended.
        assert abs(after["start"] - before["end"]) < 250e6
    took = {phase["name"]: (phase["end"] - phase["start"]) / 1e9 for phase in phases}
    assert took["context"] + took["interpreter"] >= 0.2
    assert start["start"] <= phases[0]["start"] + 5e6 and phases[-1]["end"] <= start["end"]

    for word, caller_of in callers.items():
        (request,) = named(spans, caller_of.trace, STATEMENTS)
        assert (request["kind"], request["parent"]) == ("server", caller_of.span), word
        attributes = request["attributes"]
        number = attributes.pop("firesteel.request.id")
        assert attributes == {
            "http.request.method": "POST",
            "http.route": "/sessions/{id}/statements",
            "http.response.status_code": 201,
        }
        lines = [line for line in server.log().splitlines() if f'request="{number}"' in line]
        assert len(lines) == 1 and f'trace="{caller_of.trace}"' in lines[0], lines
        (statement,) = named(spans, caller_of.trace, "statement")
        assert statement["parent"] == request["id"], word
        outcome = "cancelled" if word == "running" else word
        assert statement["attributes"] == {
            "firesteel.session.id": session.id,
            "firesteel.statement.id": ids[word],
            "firesteel.kind": "pyspark",
            "firesteel.state": "cancelled" if outcome == "cancelled" else "available",
            "firesteel.outcome": outcome,
        }
        assert statement["events"] == ([] if word == "cancelled" else ["sent", "started"]), word
        assert statement["failed"] == (word == "error")
        assert statement["words"] == ""
        assert request["start"] <= statement["start"] <= statement["end"]
    # What nobody sent a trace for has one of its own, but for what watches the server.
    assert [span for span in spans if not span["parent"] and span["kind"] == "server"]
    for path in ("/metrics", "/ping", "/healthcheck"):
        assert api.get(path, headers=caller.header).status_code == 200
    last = Caller()
    assert api.get("/sessions", headers=last.header).status_code == 200
    collector.wait(lambda spans: named(spans, last.trace, "GET /sessions"))
    assert not [span for span in collector.spans() if "metrics" in span["name"] or "ping" in span["name"]]
    figures(f"traces: {len(collector.spans())} spans in {len(collector.bodies)} requests to the collector")


def test_what_is_recorded(traced: Callable[..., Server], collector: Collector) -> None:
    """With `traces.sample = 0` the client decides, and of a trace that is not recorded no part is; a header
    that is none, or has two, is as none."""
    server = traced({"traces.sample": 0.0})
    session = server.api.create()
    session.wait("idle")
    no, yes = Caller(sampled=False), Caller()
    session.wait_statement(no.post(session, "ledger 1")["id"])
    session.run("ledger 2")
    bad = {"traceparent": "00-" + "0" * 32 + f"-{no.span}-01"}
    assert server.api.post(f"{session.path}/statements", {"code": "ledger 3"}, headers=bad).ok
    two = {"traceparent": f"{yes.header['traceparent']}, {yes.header['traceparent']}"}
    assert server.api.post(f"{session.path}/statements", {"code": "ledger 4"}, headers=two).ok
    session.wait_statement(3)
    recorded = yes.post(session, "ledger 5")
    collector.wait(lambda spans: named(spans, yes.trace, "statement"))
    collector.wait(lambda spans: named(spans, yes.trace, STATEMENTS))
    session.delete()
    server.process.terminate()
    assert server.process.wait(60) == 0
    spans = collector.spans()
    assert {span["trace"] for span in spans} == {yes.trace}
    statements = [span for span in spans if span["name"] == "statement"]
    assert [span["attributes"]["firesteel.statement.id"] for span in statements] == [recorded["id"]]


def counted(api: Api) -> dict[str, int]:
    """What became of the server's spans."""
    text = api.get("/metrics").text
    found = re.findall(r'^firesteel_spans_total\{outcome="(\w+)"\} (\d+)$', text, re.MULTILINE)
    return {outcome: int(count) for outcome, count in found}


def test_what_waits_is_sent_at_the_end(traced: Callable[..., Server], collector: Collector) -> None:
    """SIGTERM, with spans that would have waited for an hour, a statement that runs among them."""
    server = traced({"traces.interval": "1h", "shutdown.sessions": "keep"})
    session = server.api.create()
    session.wait("idle")
    caller, left = Caller(), Caller()
    session.wait_statement(caller.post(session, "ledger 1")["id"])
    session.wait_statement(left.post(session, "sleep 600 x")["id"], "running")
    assert not collector.bodies
    began = time.monotonic()
    server.process.terminate()
    assert server.process.wait(60) == 0
    assert time.monotonic() - began < 20
    spans = collector.spans()
    assert named(spans, caller.trace, "statement")
    (statement,) = named(spans, left.trace, "statement")
    assert statement["attributes"]["firesteel.outcome"] == "left"
    server.start()
    Session(server.api, session.created).delete()


def test_a_collector_that_takes_nothing(traced: Callable[..., Server], collector: Collector) -> None:
    """The queue is full: requests are answered as before, what is left out is counted, the log says so once,
    and once more when the collector is back; the end of the server does not wait for it."""
    collector.status = 503
    server = traced({"traces.queue": 16, "traces.timeout": "2s"})
    api = server.api
    caller = Caller()
    for _ in range(200):
        assert api.get("/sessions", headers=caller.header).status_code == 200
    collector.wait_refused(2)
    assert counted(api)["left_out"] >= 100
    assert counted(api)["sent"] == 0
    told = [line for line in server.log().splitlines() if "spans are left out" in line]
    assert len(told) == 1 and " WARN " in told[0], told
    collector.status = 200

    def taken() -> bool:
        assert api.get("/sessions", headers=caller.header).status_code == 200
        return counted(api)["sent"] > 0

    wait_until("spans are taken again", taken, 60)
    wait_until("the log says so", lambda: "the collector takes spans again" in server.log(), 10)
    collector.stop()
    api.get("/sessions", headers=caller.header)
    began = time.monotonic()
    server.process.terminate()
    assert server.process.wait(60) == 0
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"traces.endpoint": "http://collector.example:4318"}, "traces.plaintext = true"),
        ({"traces.endpoint": "https://me:secret@collector.example"}, "no user in it"),
        ({"traces.endpoint": "https://collector.example/v1/traces?key=x"}, "has a query"),
        ({"traces.endpoint": "grpc://127.0.0.1:4317"}, "is not such as"),
        ({"traces.sample": "1.5"}, "is not from 0.0 to 1.0"),
        ({"traces.sample": "half"}, "traces.sample"),
        ({"traces.queue": "0"}, "must be at least 1"),
        ({"traces.endpoint": "http://127.0.0.1:4318"}, "--features otel"),
        ({"traces.endpoint": "http://a.example", "traces.plaintext": "true"}, "--features otel"),
    ],
)
def test_what_is_refused(tmp_path: Path, settings: dict[str, str], words: str) -> None:
    """By the binary that has no OpenTelemetry: any endpoint, and a sentence about what else is wrong."""
    sets = [f"--set={key}={value}" for key, value in settings.items()]
    ended = command("check", *sets, f"--state-dir={tmp_path}")
    assert ended.returncode == 1
    assert ended.stdout.startswith("WRONG configuration: "), ended.stdout
    assert words in ended.stdout


KEY = "firesteel.traceparent"
LOOK = f'print(sc.getLocalProperty("{KEY}"), "|", sc.getLocalProperty("spark.job.description"))'


def test_sparks_jobs_without_opentelemetry(live: Session) -> None:
    """The client's own words reach Spark, for as long as the statement runs."""
    caller = Caller()
    traced = live.wait_statement(caller.post(live, LOOK)["id"])
    words = f"{caller.header['traceparent']} | statement {traced['id']}, trace {caller.trace}"
    assert traced["output"]["data"]["text/plain"] == words
    plain = live.run(LOOK)
    assert plain["output"]["data"]["text/plain"] == f"None | statement {plain['id']}"


def test_sparks_jobs_with_opentelemetry(
    traced: Callable[..., Server], collector: Collector, default_spark: Any
) -> None:
    """Spark is told of the statement's span, below which its jobs are."""
    server = traced({**default_spark.settings, "spark.master": "local[2]"})
    session = server.api.create(conf=SMALL)
    session.wait("idle")
    caller = Caller()
    done = session.wait_statement(caller.post(session, LOOK)["id"])
    (span,) = collector.wait(lambda spans: named(spans, caller.trace, "statement"))
    told, _, description = done["output"]["data"]["text/plain"].partition(" | ")
    assert told == f"00-{caller.trace}-{span['id']}-01"
    assert description == f"statement {done['id']}, trace {caller.trace}"
    session.delete()
