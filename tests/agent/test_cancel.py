"""A cancelled statement stops within its time, and the next one is never hit."""

import random
import time

import pytest

IGNORES_SIGINT = (
    "import ctypes, signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nctypes.CDLL(None).sleep(60)"
)
SWALLOWS = """
import time
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print('no')
"""


@pytest.mark.parametrize(
    "code", ["while True: pass", "import time\ntime.sleep(600)", "import threading\nthreading.Event().wait()"]
)
def test_interrupted(driver, code):
    driver.run("kept = 'kept'")
    number = driver.submit(code)
    driver.started(number)
    began = time.monotonic()
    driver.cancel(number)
    result = driver.result(number)
    assert (result.state, result.raw) == ("cancelled", b"")
    assert time.monotonic() - began < 1.9
    assert driver.run("kept").text == "'kept'"


def test_text_of_a_cancelled_statement_is_not_the_next_ones(driver):
    number = driver.submit("import time\nprint('before')\ntime.sleep(600)")
    driver.started(number)
    driver.cancel(number)
    assert driver.result(number).output is None
    assert driver.run("1").text == "1"


def test_tasks_of_a_cancelled_job_stop(driver, tmp_path):
    marks = tmp_path / "marks"
    code = (
        "import time\n"
        "def work(i):\n"
        f"    open({str(marks)!r}, 'a').write('x')\n"
        "    time.sleep(3600)\n"
        "sc.parallelize(range(8), 8).foreach(work)"
    )
    number = driver.submit(code)
    wait_for(lambda: marks.exists() and marks.stat().st_size > 0)
    driver.cancel(number)
    assert driver.result(number).state == "cancelled"
    active = (
        "tracker = sc.statusTracker()\n"
        "stages = [tracker.getStageInfo(s) for s in tracker.getActiveStageIds()]\n"
        "tracker.getActiveJobsIds(), sum(stage.numActiveTasks for stage in stages)"
    )
    began = time.monotonic()
    wait_for(lambda: driver.run(active).text == "([], 0)", 5)
    assert time.monotonic() - began < 5
    assert driver.run("sc.parallelize([1, 2]).sum()").text == "3"


@pytest.mark.parametrize(
    "code", [IGNORES_SIGINT, "sum(iter(int, 1))", SWALLOWS], ids=["c-sleep", "c-loop", "swallowed"]
)
def test_replaced_when_it_does_not_stop(driver, code):
    driver.run("gone = 1\nspark.range(5).createOrReplaceTempView('kept_view')")
    number = driver.submit(code)
    driver.started(number)
    time.sleep(0.2)  # The C loop must be in C, past the start of the statement.
    began = time.monotonic()
    driver.cancel(number)
    result = driver.result(number)
    assert 1.5 < time.monotonic() - began < 4
    assert result.state == "cancelled"
    assert result.output["ename"] == "InterpreterReplaced"
    assert result.output["execution_count"] == number and result.output["traceback"] == []
    assert any(f"Statement {number}:" in notice for notice in driver.notices())
    assert driver.run("spark.sql('select count(*) c from kept_view').collect()").text == "[Row(c=5)]"
    assert driver.run("gone").output["ename"] == "NameError"


def test_cancel_before_it_runs(driver):
    """The statement waits for the replacement of a dead interpreter, and is cancelled meanwhile."""
    dying = driver.submit("import os\nos._exit(1)")
    driver.result(dying)
    number = driver.submit("'ran'")
    driver.cancel(number)
    assert driver.result(number).state == "cancelled"
    assert driver.run("'alive'").text == "'alive'"


def test_cancel_of_another_statement_does_nothing(driver):
    number = driver.submit("import time\ntime.sleep(0.3)\n'whole'")
    driver.started(number)
    driver.cancel(number + 1000)
    driver.cancel(0)
    assert driver.result(number).text == "'whole'"


def test_races(driver):
    """A cancel at any moment ends its own statement only; never a neighbour."""
    rng = random.Random(20240601)
    states = set()
    for _round in range(60):
        number = driver.submit(f"import time\ntime.sleep({rng.random() * 0.004:.5f})\n'mine'")
        time.sleep(rng.random() * 0.008)
        driver.cancel(number)
        following = driver.submit_after(number, "sum(range(1000))")
        result = driver.result(number)
        assert result.state in ("available", "cancelled")
        states.add(result.state)
        if result.state == "available":
            assert result.text == "'mine'"
        assert driver.result(following).text == "499500"
    assert states == {"available", "cancelled"}


def test_sql_is_cancelled(driver):
    for _time in range(2):
        number = driver.submit("select count(*) from range(1000000000000) where id % 7 = rand()", "sql")
        driver.started(number)
        driver.wait("progress", 30, id=number)
        driver.cancel(number)
        result = driver.result(number)
        assert (result.state, result.raw) == ("cancelled", b"")
        assert driver.run("select 1 as one", "sql").output["data"]["application/json"]["data"] == [[1]]


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
