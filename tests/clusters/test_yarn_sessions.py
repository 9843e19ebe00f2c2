"""Sessions whose drivers run in a real YARN, in cluster mode, with a real PySpark 3.5."""

from __future__ import annotations

import tarfile
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest
from harness.api import DONE, Session
from harness.bad_proxy import BadProxy
from harness.cluster_session import survives_a_kill
from harness.processes import wait_until
from harness.server import Server, free_port
from harness.spark import sparks
from harness.yarn import LIVE, Yarn

LIMIT = 240.0
STATEMENTS = 100
SPARK = sparks()[0]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that requests may name, with a Python in an archive and a module."""
    files = tmp_path_factory.mktemp("files")
    python = files / "python"
    python.write_text(f'#!/bin/sh\nexport OF_THE_ARCHIVE=yes\nexec {SPARK.python} "$@"\n')
    python.chmod(0o755)
    with tarfile.open(files / "environment.tar.gz", "w:gz") as archive:
        archive.add(python, "bin/python")
    (files / "of_session.py").write_text("answer = 42\n")
    return files


@pytest.fixture(scope="module")
def server(yarn: Yarn, files: Path) -> Iterator[Server]:
    """A server whose drivers run in YARN, and go on when it ends."""
    settings = {
        **yarn.settings(SPARK, "cluster"),
        "files.allow": [str(files)],
        "shutdown.sessions": "keep",
        "link.listen": f"127.0.0.1:{free_port()}",
    }
    server = Server(settings, env=yarn.environment(), port=free_port())
    yield server
    for session in server.api.get("/sessions").json()["sessions"]:
        server.api.delete(f"/sessions/{session['id']}")
    wait_until("no application is left", lambda: not yarn.applications(states=LIVE), 60)
    server.stop()


@pytest.fixture(scope="module")
def session(server: Server, files: Path) -> Session:
    """A session whose Python is in an archive."""
    session = server.api.create(
        archives=[f"{files}/environment.tar.gz#environment"],
        conf={"spark.pyspark.python": "./environment/bin/python"},
        pyFiles=[f"{files}/of_session.py"],
    )
    session.wait("idle", limit=LIMIT)
    return session


WHERE = """\
import os
where = lambda _: [(os.environ["CONTAINER_ID"], os.environ.get("OF_THE_ARCHIVE"))]
(os.environ.get("CONTAINER_ID"), sc.parallelize(range(2), 2).mapPartitions(where).distinct().collect())
"""


def test_a_session_runs_in_the_cluster(session: Session, server: Server, yarn: Yarn):
    told = session.text(WHERE)
    assert told.startswith("('container_") and "_000001'" in told.partition("[")[0], told
    assert "'yes')" in told and "_000001" not in told.partition("[")[2], told
    shown = session.get()
    assert yarn.application(shown["appId"])["state"] == "RUNNING"
    assert "/containerlogs/container_" in shown["appInfo"]["driverLogUrl"]
    wait_until("the submit has ended", lambda: not server.driver_processes())
    assert session.text("import of_session\nof_session.answer") == "42"
    assert session.text("spark.range(7).count()") == "7"


def test_all_languages(session: Session):
    scala = session.run(
        "val sum = (1 to 300).sum\ncase class Row(n: Int)\nsc.parallelize(1 to 4).map(Row(_)).map(_.n).sum",
        "spark",
    )
    assert "sum: Int = 45150" in scala["output"]["data"]["text/plain"], scala
    assert "Double = 10.0" in scala["output"]["data"]["text/plain"], scala
    sql = session.run("SELECT 1 AS one", "sql")
    assert sql["output"]["data"]["application/json"]["data"] == [[1]], sql


def test_what_the_driver_writes_is_in_the_log(session: Session):
    session.run("sc._jvm.java.lang.System.err.println('to the driver')")
    wait_until("the log has it", lambda: "to the driver" in session.log(), 60)


def test_files_are_added(server: Server, session: Session, files: Path):
    (files / "added.py").write_text("answer = 43\n")
    added = server.api.post(f"/sessions/{session.id}/add-pyfile", {"uri": str(files / "added.py")})
    assert added.status_code in (200, 201), added.text
    assert session.text("import added\nadded.answer") == "43"


def test_a_cancel_and_a_break(session: Session):
    statement = session.post("import time\ntime.sleep(600)")
    session.wait_statement(statement["id"], "running")
    session.cancel(statement["id"])
    assert session.wait_statement(statement["id"], limit=LIMIT)["state"] == "cancelled"
    assert session.text("6 * 7") == "42"


def test_a_server_that_is_killed_takes_it_back(session: Session, server: Server):
    survives_a_kill(session, server)


def test_a_deleted_session_leaves_no_application(session: Session, yarn: Yarn):
    app_id = session.get()["appId"]
    session.delete()
    assert yarn.wait_over(app_id)["finalStatus"] == "SUCCEEDED"


def test_killed_from_outside(server: Server, yarn: Yarn):
    session = server.api.create()
    session.wait("idle", limit=LIMIT)
    statement = session.post("import time\ntime.sleep(600)")
    session.wait_statement(statement["id"], "running")
    yarn.kill(session.get()["appId"])
    session.wait("dead", "killed", limit=LIMIT)
    assert session.log()[0].startswith("The application was killed in the cluster: "), session.log()[0]
    assert session.wait_statement(statement["id"])["output"]["status"] == "error"


def test_a_bad_way(yarn: Yarn, figures: Callable[[str], None]):
    """Each statement runs once and each result comes once, though the link is cut off every second."""
    port = free_port()
    proxy = BadProxy(port)
    settings = {
        **yarn.settings(SPARK, "cluster"),
        "link.listen": f"127.0.0.1:{port}",
        # Nobody is at the first.
        "link.advertise": [f"127.0.0.1:{free_port()}", f"127.0.0.1:{proxy.port}"],
    }
    server = Server(settings, env=yarn.environment())
    try:
        session = server.api.create()
        session.wait("idle", limit=LIMIT)
        session.run("seen = []")
        begun = time.monotonic()
        last = [session.post(f"seen.append({n})\nprint('x' * 5000)\nlen(seen)") for n in range(STATEMENTS)][
            -1
        ]
        cuts = 0
        while session.statement(last["id"])["state"] not in DONE:
            time.sleep(1)
            cuts += proxy.reset() > 0
        passed = time.monotonic() - begun
        for n in range(STATEMENTS):
            output = session.statement(n + 1)["output"]
            assert output["data"]["text/plain"] == "x" * 5000 + f"\n{n + 1}", (n, output)
        assert session.text("seen == list(range(len(seen)))", limit=LIMIT) == "True"
        assert cuts > 1 and proxy.connections > cuts
        figures(
            f"50 ms late, 1 % held up by 200 ms, {cuts} cuts: {STATEMENTS / passed:.1f} statements/s, "
            f"{proxy.connections} connections, {proxy.stalls} stalls"
        )
        session.delete()
    finally:
        server.stop()
        proxy.close()


def test_deleted_while_it_waits_for_a_place(server: Server, yarn: Yarn):
    first = server.api.create(queue="narrow")
    first.wait("idle", limit=LIMIT)
    second = server.api.create(queue="narrow")
    waits = "Queue's AM resource limit exceeded."
    wait_until("the log says why it waits", lambda: any(waits in line for line in second.log()), LIMIT)
    assert second.get()["state"] == "starting"
    for session in (second, first):
        session.delete()
    wait_until("no application is left", lambda: not yarn.applications(states=LIVE), 60)


def test_a_python_that_is_not_there(server: Server):
    session = server.api.create(conf={"spark.pyspark.python": "/nowhere/python"})
    session.wait("dead", limit=LIMIT)
    assert "/nowhere/python" in session.log()[0], session.log()[0]


def test_a_stopped_context_ends_it(server: Server):
    session = server.api.create()
    session.wait("idle", limit=LIMIT)
    session.run("sc.stop()")
    session.run("spark.range(3).count()")
    session.wait("dead", limit=LIMIT)
    assert "SparkContext" in session.log()[0], session.log()[0]
