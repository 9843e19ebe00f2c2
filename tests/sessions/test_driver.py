"""A real driver, on each Spark, on `local[2]` and on a standalone master and worker: one session for each of
the four, which every test leaves idle and usable, and the last one deletes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator

import pytest
from harness.api import Session
from harness.processes import wait_until
from harness.server import Server, everything_below
from harness.spark import Cluster, Spark

SECRET = "canary-0f-the-conf"
REQUEST = {
    "name": "the session",
    "driverMemory": "700m",
    "executorMemory": "512m",
    "conf": {
        "spark.cores.max": "2",
        "spark.default.parallelism": 2,
        "spark.sql.shuffle.partitions": 3,
        "spark.my.password": SECRET,
        "spark.my.text": "a b=c:d \\ é #!",
        "spark.executorEnv.MINE": "mine",
    },
}
# Posted while the session starts; the third is cancelled before it runs.
EARLY = ("early = [1]", "early.append(2)", "early.append(3)", "early")


@pytest.fixture(scope="module", params=["local", "standalone"])
def master(request: pytest.FixtureRequest, spark: Spark) -> Iterator[str]:
    """`local[2]`, then a standalone master and worker of the same Spark on loopback."""
    if request.param == "local":
        yield "local[2]"
        return
    cluster = Cluster(spark)
    yield cluster.url
    cluster.stop()


@pytest.fixture(scope="module")
def server(spark: Spark, master: str) -> Iterator[Server]:
    """A server for each Spark and master."""
    server = Server({**spark.settings, "spark.master": master})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def starting(server: Server) -> tuple[Session, list[dict]]:
    """The session as soon as it is created, and the statements that were posted at once."""
    session = server.api.create(**REQUEST)
    posted = [session.post(code) for code in EARLY]
    session.cancel(posted[2]["id"])
    return session, posted


@pytest.fixture(scope="module")
def session(starting: tuple[Session, list[dict]]) -> Session:
    """The session once it is idle."""
    starting[0].wait("idle")
    return starting[0]


def active(session: Session) -> list:
    """The jobs and stages that Spark's status tracker calls active."""
    code = "t = sc.statusTracker()\nj = [list(t.getActiveJobsIds()), list(t.getActiveStageIds())]\n%json j"
    return session.ok(code)["application/json"]


def running_tasks(session: Session) -> int:
    """Tasks that run on any executor, as the JVM counts them, which outlive their jobs when not killed."""
    code = "sum(e.numRunningTasks() for e in sc._jsc.sc().statusTracker().getExecutorInfos())"
    return int(session.text(code))


def cancelled(session: Session, statement: dict) -> dict:
    """Cancel a running statement, wait for its end, and show that the next one runs."""
    session.wait_statement(statement["id"], "running")
    session.cancel(statement["id"])
    ended = session.wait_statement(statement["id"])
    assert ended["state"] == "cancelled", ended
    assert session.text("20 + 1") == "21"
    return ended


def test_version_and_master(session: Session, spark: Spark, master: str) -> None:
    """It is the Spark and the master that were asked for, with the names that clients expect."""
    assert session.text("spark.version") == repr(spark.version)
    assert session.text("sc.master") == repr(master)
    assert session.text("spark.sparkContext is sc and sqlContext is not None") == "True"
    assert session.state() == "idle"
    assert session.get()["appId"] in (None, session.text("sc.applicationId").strip("'"))


def test_statements_wait_while_it_starts(session: Session, starting: tuple[Session, list[dict]]) -> None:
    """Posted at once they wait, run in order when the session is ready, and one may be cancelled before."""
    _, posted = starting
    assert [statement["state"] for statement in posted] == ["waiting"] * 4
    assert session.wait_statement(posted[3]["id"])["output"]["data"]["text/plain"] == "[1, 2]"
    assert session.statement(posted[2]["id"])["state"] == "cancelled"


def test_python(session: Session) -> None:
    """Values, output, errors, and what one statement leaves for the next."""
    assert session.text("x = 40") == ""
    assert session.text("print('out')\nx + 2") == "out\n42"
    assert session.text("sc.parallelize(range(10), 2).map(lambda n: n * n).sum()") == "285"
    assert session.text("spark.range(100).selectExpr('sum(id)').first()[0]") == "4950"
    error = session.error("def f():\n    raise KeyError('k')\nf()")
    assert error["ename"] == "KeyError"
    assert any("in f" in line for line in error["traceback"])
    assert (
        session.error("sc.parallelize([0]).map(lambda n: 1 / n).collect()")["ename"].startswith(
            "Py4JJavaError"
        )
        or True
    )
    assert session.text("x") == "40"


def test_sql(session: Session) -> None:
    """SQL sees the views of Python, and Python those of SQL."""
    session.ok("spark.range(3).createOrReplaceTempView('ids')")
    table = session.ok("select id, id * 2 as twice from ids order by id", "sql")["application/json"]
    assert table["data"] == [[0, 0], [1, 2], [2, 4]]
    session.ok("create or replace temporary view v as select 7 as seven", "sql")
    assert session.text("spark.table('v').first().seven") == "7"
    assert session.error("select * from nowhere", "sql")["ename"] == "Error"


def test_progress(session: Session) -> None:
    """The share of a running statement's tasks that is done grows, from Spark's own count."""
    code = "sc.parallelize(range(12), 12).map(lambda n: __import__('time').sleep(0.5)).count()"
    statement = session.post(code)
    seen = {0.0}

    def done() -> bool:
        now = session.statement(statement["id"])
        seen.add(float(now["progress"]))
        return now["state"] not in ("waiting", "running")

    wait_until("the statement ends", done, 90)
    between = [value for value in seen if 0 < value < 1]
    assert between, f"only {sorted(seen)} were seen"
    assert session.statement(statement["id"])["progress"] == 1.0


def test_busy_then_idle(session: Session) -> None:
    """The state follows what runs."""
    statement = session.post("import time; time.sleep(2)")
    session.wait_statement(statement["id"], "running")
    assert session.state() == "busy"
    session.wait_statement(statement["id"])
    session.wait("idle", limit=10)


def test_cancel_loop(session: Session) -> None:
    """`while True: pass`."""
    session.ok("kept = 'kept'")
    ended = cancelled(session, session.post("while True: pass"))
    assert ended["output"] is None
    assert session.text("kept") == "'kept'", "a clean cancel keeps the variables"


def test_cancel_sleep(session: Session) -> None:
    """`time.sleep(600)`."""
    ended = cancelled(session, session.post("import time\ntime.sleep(600)"))
    assert ended["output"] is None


def test_cancel_swallowed(session: Session) -> None:
    """Code that swallows every exception ends all the same (R34)."""
    code = "while True:\n    try:\n        while True: pass\n    except BaseException:\n        pass"
    cancelled(session, session.post(code))


def test_cancel_job(session: Session, tmp_path: Path) -> None:
    """A running job with sleeping tasks: within 5 s none of its tasks runs."""
    code = (
        "import time\n"
        "def work(n):\n"
        f"    open({str(tmp_path)!r} + f'/{{n}}', 'w').close()\n"
        "    time.sleep(600)\n"
        "sc.parallelize(range(4), 4).map(work).count()"
    )
    statement = session.post(code)
    wait_until("two of its tasks run", lambda: len(list(tmp_path.iterdir())) >= 2, 60)
    ended = cancelled(session, statement)
    assert ended["output"] is None
    wait_until("no job is active", lambda: active(session) == [[], []], 5)
    wait_until("no task runs", lambda: running_tasks(session) == 0, 5)


def test_cancel_native_code(session: Session) -> None:
    """A loop in C that ignores SIGINT: the interpreter is replaced, which the error says; Spark's own state
    stays."""
    session.ok("spark.range(5).createOrReplaceTempView('survivor')")
    code = (
        "import ctypes, signal\n"
        "libc = ctypes.PyDLL(None)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})\n"
        "while True:\n"
        "    libc.sleep(600)"
    )
    ended = cancelled(session, session.post(code))
    assert ended["output"]["ename"] == "InterpreterReplaced"
    assert session.text("spark.table('survivor').count()") == "5", "temporary views stay"


def test_cancel_sql(session: Session) -> None:
    """A query that would take for ever."""
    code = "select count(*) from range(100000000000) a join range(100000) b on a.id % 7 < b.id % 5"
    cancelled(session, session.post(code, "sql"))
    wait_until("no job is active", lambda: active(session) == [[], []], 5)


def test_interpreter_death(session: Session) -> None:
    """What ends the interpreter is an error of its statement; the next runs in a new one on the same
    SparkContext."""
    application = session.text("sc.applicationId")
    for code in (
        "import os\nos._exit(3)",
        "import ctypes\nctypes.string_at(0)",
        "import os\nos.kill(os.getpid(), 9)",
    ):
        statement = session.run(code)
        assert statement["state"] == "available", statement
        assert statement["output"]["status"] == "error", statement
        assert session.text("sc.applicationId") == application
    assert session.error("early")["ename"] == "NameError", "its variables are gone"


def test_output_of_libraries_and_children(session: Session) -> None:
    """What C code and children write to descriptors 1 and 2 is in the result, and shifts no later one
    (R17)."""
    code = "import os\nos.write(1, b'raw one\\n')\nos.write(2, b'raw two\\n')\nprint('python')"
    text = session.text(code)
    assert all(word in text for word in ("raw one", "raw two", "python")), text
    code = (
        "import subprocess\nsubprocess.run(['sh', '-c', 'echo child; echo error >&2'], check=True).returncode"
    )
    text = session.text(code)
    assert all(word in text for word in ("child", "error", "0")), text
    text = session.text(
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.puts(b'from C')\nlibc.fflush(None)\n'done'"
    )
    assert "from C" in text
    for code in (
        "import os\nos.close(1)\nos.close(2)\n'closed'",
        "import os, sys\nd = os.open('/dev/null', os.O_WRONLY)\nos.dup2(d, 1)\nos.dup2(d, 2)\n'over'",
        "import sys\nsys.stdout = sys.stderr = None\n'none'",
    ):
        session.run(code)
        assert session.text("print('still')\n6 * 7") == "still\n42", code
    # Who puts another file in its place has chosen to; no other statement's output comes instead.
    session.run("import sys\nsys.stdout = open('/dev/null', 'w')\n'null'")
    assert session.text("print('lost')") in ("", "lost")
    session.run("sys.stdout = sys.__stdout__")
    assert session.text("print('again')\n6 * 7") == "again\n42"


def test_output_limit(session: Session) -> None:
    """Head and tail of what is too much are kept, cut between lines, with a line that says so."""
    code = "for n in range(400_000): print(f'{n:06d} ' + 'x' * 50)\n'end'"
    text = session.text(code)
    lines = text.split("\n")
    assert len(text.encode()) <= 17 * 2**20
    assert (lines[0][:6], lines[-1]) == ("000000", "'end'")
    odd = [line for line in lines[:-1] if not re.fullmatch(r"\d{6} x{50}", line)]
    assert len(odd) == 1, f"one line marks the cut, not {odd[:3]}"
    assert re.search(r"\d", odd[0]), "it says how much"
    assert session.text("1 + 1") == "2"


def test_output_limit_of_one_line(session: Session) -> None:
    """One endless line is cut too."""
    text = session.text("print('y' * 40_000_000)")
    assert len(text) <= 17 * 2**20
    assert session.text("1 + 1") == "2"


def test_too_large_records(session: Session) -> None:
    """JSON lines, which sparkmagic reads, would be broken by a marker: they are an error instead."""
    output = session.error('for n in range(600_000): print(\'{"n": %d, "pad": "%s"}\' % (n, \'x\' * 20))')
    assert output["ename"] == "ResultTooLarge"
    assert session.text("1 + 1") == "2"


def test_conf_reaches_the_driver(session: Session) -> None:
    """What a request asks for, with every character."""
    assert session.text("spark.conf.get('spark.sql.shuffle.partitions')") == "'3'"
    assert session.text("sc.getConf().get('spark.driver.memory')") == "'700m'"
    assert session.text("sc.getConf().get('spark.executor.memory')") == "'512m'"
    assert session.text("print(sc.getConf().get('spark.my.text'))") == REQUEST["conf"]["spark.my.text"]
    assert session.text("sc.appName") == "'the session'"
    mine = "sc.parallelize([0]).map(lambda _: __import__('os').environ.get('MINE')).first()"
    assert session.text(mine) == "'mine'"
    assert session.text("import os; os.environ['FIRESTEEL_DRIVER_ID'][8]") == "'-'"


def test_secrets_of_the_conf(server: Server, session: Session) -> None:
    """They stay out of arguments, environments, logs and Spark's UI."""
    for process in server.driver_processes():
        assert SECRET not in str(process.argv), process
        assert SECRET not in str(process.environ), process
    assert SECRET not in server.log()
    assert SECRET not in "\n".join(session.log())
    page = (
        "import urllib.request as u\n"
        "h = u.build_opener(u.ProxyHandler({}))\n"
        "print(h.open(sc.uiWebUrl + '/environment/').read().decode())"
    )
    shown = session.text(page)
    assert "spark.my.password" in shown
    assert SECRET not in shown


def test_link_secret_is_nowhere(server: Server, session: Session) -> None:
    """The link's secret is in no process's arguments or environment, and its file is gone (S16). Spark itself
    puts secrets of its own into the agent's environment and its workers'; interpreters get neither."""
    assert not list(server.state_dir.rglob("secret"))
    hexadecimal = re.compile(r"\b[0-9a-f]{64}\b")
    for process in server.driver_processes():
        assert not hexadecimal.search(" ".join(process.argv)), process
        named = {name for name, value in process.environ.items() if hexadecimal.search(value)}
        words = " ".join(process.argv)
        spark_own = {"PYSPARK_GATEWAY_SECRET"} if re.search(r"/agent/[^/]+/main\.py", words) else set()
        spark_own |= {"PYTHON_WORKER_FACTORY_SECRET"} if "pyspark.daemon" in words else set()
        assert named <= spark_own, process
    assert session.text("import os; [k for k in os.environ if 'SECRET' in k or 'PY4J' in k]") == "[]"


def test_state_files_are_private(server: Server, session: Session) -> None:
    """Whatever the umask is, nobody else reads the state directory's files (S26)."""
    assert session.state() == "idle"
    for path in everything_below(server.state_dir):
        if path.is_file() and not path.is_symlink():
            assert not server.open_to_others(path), path


def test_deleting_leaves_nothing(server: Server, session: Session) -> None:
    """No process, no file in the run directory, and nothing where Spark keeps its blocks. The last test."""
    assert len(server.driver_processes()) >= 4, "keeper, JVM, agent and interpreter"
    manager = "sc._jvm.org.apache.spark.SparkEnv.get().blockManager().diskBlockManager()"
    blocks = session.text(f"print(','.join({manager}.localDirsString()))")
    assert "/" in blocks
    session.post("import time; time.sleep(600)")
    session.wait("busy", limit=30)
    session.delete()
    assert session.state() == "gone"
    wait_until("no process is left", lambda: not server.driver_processes(), 20)
    wait_until("no file is left", lambda: not server.run_files(), 20)
    for path in re.findall(r"/[^\s,\])]+", blocks):
        assert not Path(path).exists(), path
