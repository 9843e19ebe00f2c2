"""Spark's jobs are found by the trace that their statement belongs to: in each language, and no longer than
the statement runs."""

import json
import secrets

import pytest

SQL = "select count(*) from range(100)"
JOBS = {
    "pyspark": "sc.parallelize([1, 2]).count()",
    "sql": SQL,
    "spark": "sc.parallelize(Seq(1, 2)).count()",
}


@pytest.fixture
def events(tmp_path):
    """Conf for Spark's own record of its jobs, and what reads it: groups, each with a job's properties."""
    conf = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": tmp_path.as_uri(),
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.compress": "false",
    }

    def read():
        (path,) = tmp_path.iterdir()
        told = [json.loads(line) for line in path.read_text().splitlines()]
        jobs = [event["Properties"] for event in told if event["Event"] == "SparkListenerJobStart"]
        return [(job["spark.jobGroup.id"], job) for job in jobs if "spark.jobGroup.id" in job]

    return conf, read


def submit(driver, kind, trace=None):
    """Run a job of the kind; the statement's id."""
    number, driver.next_statement = driver.next_statement, driver.next_statement + 1
    header = {"type": "run", "id": number, "kind": kind}
    driver.send(header if trace is None else {**header, "trace": trace}, JOBS[kind].encode())
    assert driver.result(number, 120).output["status"] == "ok"
    return number


def test_jobs_are_found_by_their_trace(own_driver, events):
    """The local property has the whole `traceparent`, the description what people look for; those of the next
    statement have nothing of it."""
    conf, read = events
    driver = own_driver(conf=conf)
    driver.ready()
    traces = {}
    for kind in JOBS:
        trace = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        traces[submit(driver, kind, trace)] = trace
        traces[submit(driver, kind)] = None
    driver.send({"type": "stop"})
    driver.process.wait(60)
    jobs = read()
    for number, trace in traces.items():
        own = [job for group, job in jobs if group == f"firesteel-statement-{number}"]
        assert own, number
        for job in own:
            assert job.get("firesteel.traceparent") == trace, number
            words = f"statement {number}" + (f", trace {trace.split('-')[1]}" if trace else "")
            # Spark's SQL has words of its own for a query's jobs where nobody gives any.
            assert job["spark.job.description"] == words, number
