"""Metrics for Prometheus (docs/metrics.md) without Spark: what is told, that it rises with what happens, who
may ask, and that nothing that clients make up becomes a label."""

from __future__ import annotations

import json
import re
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Callable

import pytest
from harness import roles
from harness.api import Api
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import ROOT, Server
from harness.stub import Stub

Samples = dict[str, dict[frozenset, float]]
SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
PARTS = re.compile(r"_(bucket|sum|count)$")


def scrape(api: Api) -> str:
    """The text."""
    answer = api.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return answer.text


def samples(text: str) -> Samples:
    """Each sample's value, by its name and labels."""
    found: Samples = defaultdict(dict)
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            labels = frozenset(LABEL.findall(match[2] or ""))
            assert labels not in found[match[1]], line
            found[match[1]][labels] = float(match[3])
    return found


def value(told: Samples, name: str, **labels: str) -> float:
    """The sum of the samples with these labels; 0 without any."""
    wanted = set(labels.items())
    return sum(number for of, number in told.get(name, {}).items() if wanted <= of)


def families(text: str) -> dict[str, str]:
    """Each metric's type."""
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))


def documented() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of each metric in the table of docs/metrics.md."""
    page = (ROOT / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", page, re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """A driver without Spark."""
    return Fake(tmp_path / "fake")


@pytest.fixture
def server(serve: Callable[..., Server], fake: Fake, tmp_path: Path) -> Server:
    """A server with it, and GPUs that are only declared."""
    more = {
        "gpu.devices": ["GPU-1 80GiB NVIDIA H100", "GPU-2 80GiB NVIDIA H100"],
        "files.allow": [str(tmp_path)],
        "pool.size": 1,
        "pool.memory_available": "0B",
        "limits.sessions": 2,
    }
    return serve({**fake.settings, **more})


def test_each_metric_is_told_and_sound(server: Server, tmp_path: Path) -> None:
    """What is told after some work is what the page lists, and promtool has no complaint."""
    server.api.create().run("ledger 1")
    (tmp_path / "job.py").touch()
    assert server.api.post("/batches", {"file": str(tmp_path / "job.py")}).status_code == 201
    text = scrape(server.api)
    text = scrape(server.api)
    # A device that is only declared tells no use of it.
    untold = {"firesteel_gpu_utilization_ratio"}
    page = documented()
    assert families(text) == {name: kind for name, (kind, _) in page.items() if name not in untold}
    for name, of in samples(text).items():
        kind, labels = page.get(name) or page[PARTS.sub("", name)]
        for sample in of:
            assert {label for label, _ in sample} - {"le"} == labels, name
            assert kind == "histogram" or not PARTS.search(name)
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_counts_rise_with_what_happens(server: Server) -> None:
    """Sessions, statements by their ends, phases of a start, the link, the store, requests."""
    api = server.api
    before = samples(scrape(api))
    wait_until("a warm driver", lambda: api.get("/pool").json()["pool"][0]["ready"] == 1)
    warm, session = api.create(), api.create()
    wait_until("both are idle", lambda: {one["state"] for one in api.sessions()} == {"idle"})
    waits = api.create()
    assert session.run("ledger 1")["output"]["status"] == "ok"
    assert session.run("error no")["output"]["status"] == "error"
    long = session.post("sleep 300 2", "pyspark")["id"]
    queued = session.post("ledger 3", "pyspark")["id"]
    now = samples(scrape(api))
    assert value(now, "firesteel_sessions", state="idle", kind="pyspark") == 1
    assert value(now, "firesteel_sessions", state="busy", kind="pyspark") == 1
    assert value(now, "firesteel_sessions", state="starting") == 1
    assert value(now, "firesteel_statements", state="running", kind="pyspark") == 1
    assert value(now, "firesteel_statements", state="waiting") == 1
    assert value(now, "firesteel_queue_length", queue="sessions") == 1
    assert value(now, "firesteel_queue_running", queue="sessions") == 2
    assert value(now, "firesteel_store_writable") == 1
    assert value(now, "firesteel_store_file_bytes", file="database") > 0
    assert value(now, "firesteel_link_connections") >= 2
    for statement in (queued, long):
        assert api.post(f"{session.path}/statements/{statement}/cancel").status_code == 200
    wait_until("it is idle", lambda: session.state() == "idle")
    for one in (waits, warm, session):
        one.delete()

    def ended() -> float:
        return value(samples(scrape(api)), "firesteel_sessions_ended_total")

    wait_until("all have ended", lambda: ended() == 3)
    after = samples(scrape(api))

    def rise(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert rise("firesteel_sessions_created_total") == 3
    assert rise("firesteel_sessions_ended_total", outcome="stopped") == 3
    assert value(after, "firesteel_sessions") == 0
    for outcome, count in {"ok": 1, "error": 1, "cancelled": 2, "lost": 0}.items():
        assert rise("firesteel_statements_ended_total", outcome=outcome, kind="pyspark") == count, outcome
    # All but the one that never ran.
    assert rise("firesteel_statement_duration_seconds_count", kind="pyspark") == 3
    assert rise("firesteel_statement_wait_seconds_count") == 3
    for part, count in {"accept": 4, "send": 3, "store": 3}.items():
        assert rise("firesteel_statement_overhead_seconds_count", part=part) == count, part
        assert rise("firesteel_statement_overhead_seconds_sum", part=part) > 0, part
    for phase in ("queue", "spawn", "total"):
        assert rise("firesteel_start_seconds_count", phase=phase) == 2, phase
    # Of the warm ones as well.
    for phase in ("jvm", "context"):
        assert rise("firesteel_start_seconds_count", phase=phase) >= 2, phase
    assert value(after, "firesteel_pool_events_total", event="claimed") == 1
    assert rise("firesteel_link_frames_total", direction="sent") > 4
    assert rise("firesteel_link_bytes_total", direction="received") > 100
    assert rise("firesteel_link_calls_total", outcome="welcome") >= 2
    assert rise("firesteel_store_commit_seconds_count") > 5
    assert rise("firesteel_store_commit_writes_sum") >= rise("firesteel_store_commit_writes_count") > 5
    created = {"method": "POST", "route": "/sessions"}
    assert rise("firesteel_http_requests_total", status="2xx", **created) == 3
    assert rise("firesteel_http_request_duration_seconds_count", **created) == 3
    assert value(after, "firesteel_http_connections") >= 1


def test_a_driver_that_dies_is_counted(server: Server) -> None:
    """Its session has died and its statement is lost; one that can't start has not started."""
    session = server.api.create()
    wait_until("it is idle", lambda: session.state() == "idle")
    session.post("die", "pyspark")
    failing = server.api.create(conf={"spark.fake.fail": "no reason"})
    for one in (session, failing):
        wait_until("it is dead", lambda one=one: one.state() == "dead")
    told = samples(scrape(server.api))
    assert value(told, "firesteel_sessions_ended_total", outcome="died") == 1
    assert value(told, "firesteel_sessions_ended_total", outcome="not_started") == 1
    assert value(told, "firesteel_statements_ended_total", outcome="lost", kind="pyspark") == 1
    assert value(told, "firesteel_sessions", state="dead") == 2


def test_a_batch_is_counted(
    serve: Callable[..., Server], make_stub: Callable[..., Stub], tmp_path: Path
) -> None:
    """By its last state."""
    (tmp_path / "job.py").touch()
    server = serve({**make_stub("exit 3").settings, "files.allow": [str(tmp_path)]})
    number = server.api.post("/batches", {"file": str(tmp_path / "job.py")}).json()["id"]
    wait_until("it is dead", lambda: server.api.get(f"/batches/{number}/state").json()["state"] == "dead")
    told = samples(scrape(server.api))
    assert value(told, "firesteel_batches_created_total") == 1
    assert value(told, "firesteel_batches_ended_total", state="dead") == 1
    assert value(told, "firesteel_batches_ended_total") == 1
    assert value(told, "firesteel_batches", state="dead") == 1


def test_what_clients_make_up_makes_no_series(server: Server) -> None:
    """A thousand paths and methods have two routes between them."""
    server.api.get("/none")
    server.api.get("/sessions/none")
    for method in ("MAKEUP", "PATCH"):
        server.api.request(method, "/none")
    scrape(server.api)
    before = samples(scrape(server.api))
    for number in range(500):
        assert server.api.get(f"/none-{number}/x?{number}").status_code == 404
        assert server.api.get(f"/sessions/none-{number}").status_code == 404
    for number in range(20):
        server.api.request(f"MAKEUP{number}", f"/none-{number}")
    after = samples(scrape(server.api))
    assert {name: set(of) for name, of in after.items()} == {name: set(of) for name, of in before.items()}
    name = "firesteel_http_requests_total"
    for route, method, rise in (
        ("unmatched", "GET", 500),
        ("/sessions/{id}", "GET", 500),
        ("unmatched", "other", 20),
    ):
        labels = {"route": route, "method": method}
        assert value(after, name, **labels) - value(before, name, **labels) == rise, route


def test_routes_have_no_base_path(serve: Callable[..., Server], stub_home: Stub) -> None:
    """The patterns are those of the OpenAPI document wherever the server is mounted."""
    server = serve({**stub_home.settings, "server.base_path": "/livy"})
    api = Api(f"{server.url}/livy")
    assert api.get("/sessions").status_code == 200
    told = samples(scrape(api))
    assert value(told, "firesteel_http_requests_total", route="/sessions", status="2xx") == 1


def test_who_may_ask(serve: Callable[..., Server], stub_home: Stub, tmp_path: Path) -> None:
    """An administrator and a token of theirs that only reads; with `open` everybody."""
    settings = {**stub_home.settings, **roles.settings(tmp_path)}
    server = serve(settings)
    admin = roles.by_basic(server, roles.ADMIN)
    token = admin.post("/tokens", {"scopes": ["read"]}).json()["token"]
    assert Api(server.url).get("/metrics").status_code == 401
    assert roles.by_basic(server, roles.OWNER).get("/metrics").status_code == 403
    for api in (admin, server.bearer(token)):
        assert "firesteel_sessions" in scrape(api)
    is_open = serve({**settings, "metrics.access": "open"})
    text = scrape(Api(is_open.url))
    assert "firesteel_sessions" in text
    assert roles.OWNER not in text


def test_the_dashboard_asks_for_what_there_is() -> None:
    """Every name in it is one of the page's, and a rate is of a counter."""
    dashboard = json.loads((ROOT / "docker/grafana/firesteel.json").read_text())
    page = documented()
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = [
        one["query"]["query"]
        for one in dashboard["templating"]["list"]
        if "name" in one and one["type"] == "query"
    ]
    asked = set()
    for expression in expressions + variables:
        names = re.findall(r"\b(?:firesteel|process)_\w+", expression)
        assert names, expression
        for name in names:
            base = name if name in page else PARTS.sub("", name)
            assert base in page, name
            assert (page[base][0] == "histogram") == (base != name), expression
            asked.add(base)
        for name in re.findall(r"rate\((\w+)", expression):
            assert page.get(name, ("",))[0] == "counter" or name.endswith("_bucket"), expression
        for labels in re.findall(r"by \(([\w,]+)\)", expression):
            known = {"le", "instance"}.union(*(page[PARTS.sub("", name)][1] for name in names))
            assert set(labels.split(",")) <= known, expression
    assert len(asked) > 30


def test_the_scrape_example_is_sound() -> None:
    """Prometheus takes it."""
    example = ROOT / "docker/prometheus/prometheus.yml"
    checked = subprocess.run(
        ["promtool", "check", "config", example], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
