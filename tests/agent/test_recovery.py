"""What dies, what forges, what breaks: each statement still ends once, and nothing is left behind."""

import os
import signal
import time

import pytest

DEATHS = [
    ("import os\nprint('printed')\nos._exit(3)", "exit code 3"),
    ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "signal SIGKILL"),
    ("import ctypes\nctypes.string_at(0)", "signal SIGSEGV"),
    ("import os\nos.closerange(3, 1000)", "exit code 1"),
]


@pytest.mark.parametrize("code, how", DEATHS)
def test_a_dead_interpreter_is_replaced(driver, code, how):
    driver.run("gone = 1\nspark.range(7).createOrReplaceTempView('seven')")
    result = driver.run(code)
    assert result.state == "available"
    assert result.output["ename"] == "Error"
    assert result.output["evalue"].startswith("Interpreter died:\n" + how), result.output
    assert "same SparkContext" in result.output["evalue"]
    assert driver.run("spark.table('seven').count()").text == "7"
    assert driver.run("gone").output["ename"] == "NameError"


def test_last_words_are_kept(driver):
    output = driver.run(
        "import os, sys\nprint('out')\nprint('last words', file=sys.stderr)\nos._exit(1)"
    ).output
    assert output["evalue"].endswith("last words")
    assert output["data"]["text/plain"] == "out\nlast words"


def test_killed_while_idle(driver):
    driver.run("1")
    told = len(driver.notices())
    os.kill(driver.interpreter_pid(), signal.SIGKILL)
    driver.wait_until(lambda: len(driver.notices()) > told)
    assert "signal SIGKILL" in driver.notices()[-1]
    assert driver.run("'alive'").text == "'alive'"


FIND_CHANNELS = (
    "import os, socket, stat, struct, json\n"
    "def forge(header, body=b''):\n"
    "    head = json.dumps(header).encode()\n"
    "    data = struct.pack('>II', 4 + len(head) + len(body), len(head)) + head + body\n"
    "    for fd in range(3, 100):\n"
    "        try:\n"
    "            if not stat.S_ISSOCK(os.fstat(fd).st_mode): continue\n"
    "            if socket.socket(fileno=os.dup(fd)).family == socket.AF_UNIX: os.write(fd, data)\n"
    "        except OSError: pass\n"
)


def test_forged_results_are_ignored(driver):
    driver.run(FIND_CHANNELS)
    number = driver.next_statement
    for claimed in (number, number + 1):
        code = (
            f"for secret in ('', 'x', None, 0, '0' * 32):\n"
            f"    claim = {{'type': 'done', 'id': {claimed}, 'status': 'ok', 'mime': 'application/json'}}\n"
            f"    forge({{**claim, 'secret': secret}}, b'6')\n"
            "forge({'type': 'attached', 'python_version': '9'})\n"
            "forge({'type': 'completion', 'request': 'nope'}, b'[]')\n"
            "'true'"
        )
        assert driver.run(code).text == "'true'"


def test_garbage_kills_its_own_interpreter_only(driver):
    driver.run(FIND_CHANNELS)
    result = driver.run(
        "for fd in range(3, 100):\n    try: os.write(fd, b'\\xff' * 64)\n    except OSError: pass\n'x'"
    )
    assert result.output["ename"] == "Error" and "Interpreter died" in result.output["evalue"]
    assert driver.run("'alive'").text == "'alive'"


@pytest.mark.parametrize(
    "code",
    [
        "import builtins; builtins.len = None",
        "import json; json.dumps = json.loads = None; json.JSONEncoder.encode = None",
        "import sys; sys.stdout = object()",
        "import sys; sys.modules.clear()",
        "import builtins; builtins.str = builtins.isinstance = None",
        "import os; os.getpid = lambda: 1",
    ],
)
def test_replaced_builtins_end_at_worst_the_interpreter(driver, code):
    assert driver.run(code).state == "available"
    driver.run("1")
    driver.run("import os; os.kill(os.getpid(), 9)")
    driver.run("exit_now = 1")
    driver.restart_interpreter()
    assert driver.run("'alive'").text == "'alive'"


def test_a_cut_connection_loses_nothing(driver):
    driver.run("count = 0")
    number = driver.submit("import time\ntime.sleep(1.2)\ncount += 1\n'result'")
    driver.started(number)
    driver.cut()
    assert driver.result(number).text == "'result'"
    assert driver.run("count").text == "1"


def test_unacknowledged_frames_come_again(driver):
    driver.hold_acks = True
    number = driver.submit("'again'")
    driver.result(number)
    results = len(driver.frames)
    connections = driver.connections
    driver.forget(2)  # As a server that was killed before it stored the last two frames.
    driver.hold_acks = False
    driver.cut()
    driver.wait_until(lambda: driver.connections > connections)
    assert driver.result(number).text == "'again'"
    driver.wait_until(lambda: len(driver.frames) == results)


def test_a_statement_sent_twice_runs_once(driver):
    driver.run("runs = 0")
    number = driver.submit("runs += 1")
    driver.result(number)
    driver.send({"type": "run", "id": number, "kind": "pyspark"}, b"runs += 1")
    assert driver.run("runs").text == "1"
    assert (
        sum(1 for header, _b in driver.frames if header["type"] == "result" and header["id"] == number) == 1
    )


def test_a_wrong_server_gets_nothing(own_driver, python):
    started = own_driver(kind="sql")
    started.ready()
    right, started.secret = started.secret, "0" * 64
    frames = len(started.frames)
    connections = started.connections
    started.cut()
    started.wait_log("the server does not know the secret")
    assert (len(started.frames), started.connections) == (frames, connections)
    started.secret = right
    assert started.run("select 1 one", "sql").output["status"] == "ok"


def test_stop_leaves_nothing(own_driver):
    started = own_driver()
    started.ready()
    started.run("import subprocess\nchild = subprocess.Popen(['sleep', '600'])")
    started.run("sc.parallelize(range(4)).map(lambda v: v).count()")
    running = started.submit("while True: pass")
    started.started(running)
    began = time.monotonic()
    started.send({"type": "stop"})
    assert started.process.wait(15) == 0
    assert time.monotonic() - began < 10
    started.wait_until(lambda: not started.processes(), 5)
    assert not (started.dir / "secret").exists()


@pytest.mark.parametrize("victim", ["jvm", "agent", "keeper"])
def test_who_dies_takes_the_driver(own_driver, victim):
    import subprocess

    keeper = subprocess.Popen(["sleep", "600"])
    started = own_driver(env={"FIRESTEEL_KEEPER_PID": str(keeper.pid)})
    agent = started.agent_pid()
    started.submit("while True: pass")
    started.started(0)
    pid = {"jvm": started.process.pid, "agent": agent, "keeper": keeper.pid}[victim]
    os.kill(pid, signal.SIGKILL)
    if victim == "keeper":
        keeper.wait()
    code = started.process.wait(20)
    assert code != 0
    started.wait_until(lambda: not started.processes(), 10)
    keeper.kill()
    keeper.wait()


@pytest.mark.parametrize(
    "conf, words",
    [
        ({"spark.driver.bindAddress": "203.0.113.1"}, "Cannot assign requested address"),
        ({"spark.memory.fraction": "nonsense"}, "nonsense"),
        ({"spark.serializer": "no.such.Class"}, "no.such.Class"),
    ],
)
def test_a_start_that_fails_says_why(own_driver, conf, words):
    started = own_driver(conf={"spark.ui.enabled": "false", **conf})
    header, _body = started.wait("failed", 120)
    assert words in header["reason"] and "\n" not in header["reason"]
    assert started.process.wait(20) == 1
    assert words in started.log()


def test_no_python_says_why(own_driver):
    started = own_driver(python="/no/such/python")
    assert "/no/such/python" in started.wait("failed", 60)[0]["reason"]


def test_a_stopped_context_leaves_python(own_driver):
    started = own_driver()
    started.ready()
    started.run("spark.stop()")
    assert started.run("1 + 1").text == "2"
    assert started.run("spark.range(4).count()").text == "4"
    assert started.run("select count(*) from range(3)", "sql").output["data"]["application/json"]["data"] == [
        [3]
    ]
    assert any("SparkContext" in notice for notice in started.notices())


def test_threads_that_are_not_pinned(own_driver):
    started = own_driver(env={"PYSPARK_PIN_THREAD": "false"})
    started.ready()
    assert started.run("spark.range(4).count()").text == "4"
    assert started.run("select 1 as one", "sql").output["data"]["application/json"]["data"] == [[1]]


def test_the_environment_has_no_secret(driver):
    assert driver.run("import os\n[n for n in os.environ if 'SECRET' in n or 'GATEWAY' in n]").text == "[]"
