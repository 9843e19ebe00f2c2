"""Scala cells that are cancelled, won't stop, or take the JVM with them."""

import os
import signal
import time

import pytest

ALIVE = "Int = 2\n"

DRIVER = {"kind": "spark", "cancel_grace_ms": 8000}
"""As long as a busy machine may take; what won't stop waits for it, too."""


def alive(driver):
    assert driver.run("1 + 1", "spark", 90).text.endswith(ALIVE)


def started_and_running(driver, code):
    """Submit a cell that prints to the log when it is in its code."""
    mark = f"running {driver.next_statement}"
    number = driver.submit(f'{{ System.err.println("{mark}")\n{code}\n}}', "spark")
    driver.wait_log(mark)
    return number


def cancelled(driver, number):
    """Cancel, and give how long it took and what came."""
    began = time.monotonic()
    driver.cancel(number)
    result = driver.result(number)
    assert result.state == "cancelled"
    return time.monotonic() - began, result


STOPPABLE = [
    "Thread.sleep(600000)",
    "while (true) Thread.sleep(10)",
    "sc.parallelize(1 to 2).foreach(_ => Thread.sleep(600000))",
    'spark.range(1000000000000L).selectExpr("count(if(id % 7 = rand(), 1, 2))").show()',
    "new Object().synchronized { val o = new Object; o.synchronized { o.wait() } }",
    "import scala.concurrent._\nAwait.result(Promise[Int]().future, duration.Duration.Inf)",
]


@pytest.mark.parametrize("code", STOPPABLE)
def test_cancel(driver, code):
    driver.run("val kept = 1", "spark")
    number = started_and_running(driver, code)
    _seconds, result = cancelled(driver, number)
    assert result.raw == b""
    assert driver.run("println(kept)", "spark").text == "1\n"


def test_the_lines_after_are_not_run(driver):
    driver.run("var reached = false", "spark")
    mark = f"running {driver.next_statement}"
    line = f'{{ System.err.println("{mark}"); try Thread.sleep(600000) catch {{ case e: Exception => () }} }}'
    number = driver.submit(f"{line}\nreached = true", "spark")
    driver.wait_log(mark)
    _seconds, result = cancelled(driver, number)
    assert result.raw == b""
    assert driver.run("println(reached)", "spark").text == "false\n"


def test_an_interrupt_is_sent_again(driver):
    """The first is swallowed."""
    code = "try Thread.sleep(600000) catch { case e: InterruptedException => Thread.sleep(600000) }"
    seconds, result = cancelled(driver, started_and_running(driver, code))
    assert seconds > 0.9
    assert result.raw == b""
    alive(driver)


def test_what_will_not_stop_is_left_behind(driver):
    driver.run('val gone = 1\nspark.range(5).createOrReplaceTempView("kept_view")', "spark")
    driver.run('System.setProperty("firesteel.test.release", "no")', "spark")
    code = 'while (System.getProperty("firesteel.test.release") == "no") {}'
    number = started_and_running(driver, code)
    seconds, result = cancelled(driver, number)
    assert seconds > 7.9  # The grace of this file's driver.
    assert result.output["ename"] == "InterpreterReplaced"
    assert result.output["execution_count"] == number
    assert result.output["traceback"] == []
    assert any(f"Statement {number}:" in notice for notice in driver.notices())
    assert driver.run('spark.table("kept_view").count()', "spark", 120).text.endswith("Long = 5\n")
    assert "not found: value gone" in driver.run("gone", "spark").output["evalue"]
    driver.run('System.setProperty("firesteel.test.release", "yes")', "spark")
    # The classes of the new interpreter are not those of the old one.
    driver.run("case class Again(n: Int)", "spark")
    code = "sc.parallelize(1 to 3).map(Again(_)).collect().map(_.n).sum"
    assert driver.run(code, "spark").text.endswith("Int = 6\n")


def test_cancel_while_the_compiler_runs(driver):
    """The compiler is never interrupted: it would lose its class path."""
    body = "\n".join(
        f"  def f{n}(x: Int): Int = x match {{ case {n} => 1; case y => y + {n} }}" for n in range(400)
    )
    for delay in (0.0, 0.05, 0.2):
        number = driver.submit(f"object Slow {{\n{body}\n}}\nThread.sleep(600000)", "spark")
        driver.started(number)
        time.sleep(delay)  # Any moment will do.
        _seconds, result = cancelled(driver, number)
        assert result.raw == b"" or result.output["ename"] == "InterpreterReplaced"
        assert driver.run('Seq(1).toDF("n").count()', "spark", 120).text.endswith("Long = 1\n")


def test_cancel_of_another_statement_does_nothing(driver):
    number = started_and_running(driver, 'Thread.sleep(500)\nprintln("whole")')
    driver.cancel(number + 1000)
    driver.cancel(0)
    assert "whole\n" in driver.result(number).text


def test_cancel_before_it_runs(own_driver):
    """The statement waits for the interpreter."""
    driver = own_driver(kind="sql")
    driver.ready()
    number = driver.submit("1 + 1", "spark")
    driver.cancel(number)
    assert driver.result(number).state == "cancelled"
    alive(driver)


def test_a_thread_that_never_ends(driver):
    code = """
@volatile var noisy = true
val forever = new Thread(() => while (noisy) { println("noise " * 100); Thread.sleep(1) })
forever.start()
"""
    driver.run(code, "spark")
    for _time in range(3):
        assert "heard\n" in driver.run('println("heard")', "spark").text
    driver.run("noisy = false; forever.join()", "spark")
    assert driver.run('println("alone")', "spark").text == "alone\n"


def test_system_exit_ends_the_session(own_driver):
    driver = own_driver(kind="spark")
    driver.ready()
    driver.submit("System.exit(3)", "spark")
    driver.process.wait(30)
    driver.wait_until(lambda: not driver.processes())


def test_a_killed_jvm_ends_the_session(own_driver):
    driver = own_driver(kind="spark")
    driver.ready()
    os.kill(driver.process.pid, signal.SIGKILL)
    driver.wait_until(lambda: not driver.processes())
