"""R as a user meets it: a session, cancels, deaths, plots. What R shows of values is in tests/cells/r."""

import base64
import os
import time
from pathlib import Path

import pytest

DRIVER = {"kind": "sparkr"}


def run(driver, code):
    return driver.run(code, "sparkr")


def failure(driver, code):
    output = run(driver, code).output
    assert output["status"] == "error", output
    return output


def picture(result):
    """The PNG's width and height."""
    data = base64.b64decode(result.output["data"]["image/png"])
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def cancel(driver, code):
    """Run, cancel once it runs; the result and how long the cancel took."""
    number = driver.submit(code, "sparkr")
    driver.started(number)
    driver.wait_until(lambda: Path(driver.dir, "here").exists())
    Path(driver.dir, "here").unlink()
    began = time.monotonic()
    driver.cancel(number)
    return driver.result(number), time.monotonic() - began


def here(driver):
    return f"invisible(file.create('{driver.dir}/here')); "


def test_a_value_and_an_error(driver):
    assert run(driver, "1 + 2").output["data"] == {"text/plain": "[1] 3"}
    output = failure(driver, "nothing_like_it")
    assert list(output) == ["status", "execution_count", "ename", "evalue", "traceback"]
    assert (output["ename"], output["traceback"]) == ("Error", [])
    assert output["evalue"] == "Error: object 'nothing_like_it' not found"


def test_text_before_an_error_is_kept(driver):
    output = failure(driver, "cat('before\\n'); stop('x')")
    assert output["data"] == {"text/plain": "before"}
    assert output["traceback"] == ["before\n"]


def test_a_plot(driver):
    result = run(driver, "plot(1:10)")
    assert list(result.output["data"]) == ["image/png", "text/plain"]
    assert result.text == ""
    assert picture(result) == (672, 480)


def test_many_plots_leave_no_file(driver):
    result = run(driver, "for (i in 1:12) plot(i)")
    assert result.text == "[12 plots were drawn; the last one is shown.]"
    picture(result)
    directory = Path(run(driver, "cat(tempdir())").text).parent
    assert directory.parent == Path(driver.dir) and not list((directory / "plots").iterdir())


def test_a_removed_temporary_directory(driver):
    run(driver, "unlink(dirname(tempdir()), recursive = TRUE)")
    picture(run(driver, "plot(1)"))


def test_a_plot_that_is_too_large(own_driver, python):
    small = own_driver(kind="sparkr", output_max_bytes=20_000)
    small.ready()
    output = small.run("plot(runif(5000), runif(5000), col = rainbow(5000))", "sparkr").output
    assert output["ename"] == "ResultTooLarge"
    assert "output.max_bytes is 20.0 kB" in output["evalue"]
    assert small.run("1", "sparkr").text == "[1] 1"


def test_much_text_is_cut(driver):
    text = run(driver, "for (i in 1:100000) cat('line', i, '\\n')").text
    assert len(text) <= driver.limit + 200
    assert text.startswith("line 1 \nline 2") and text.endswith("line 100000")
    assert "output.max_bytes is 1 MiB" in text
    assert len(failure(driver, "stop(strrep('x', 3e6))")["evalue"]) < 70_000


def test_text_that_no_utf8_is(driver):
    assert run(driver, "cat('a\\xff\\n')").text == "a\ufffd"
    number = driver.next_statement
    driver.next_statement += 1
    driver.send({"type": "run", "id": number, "kind": "sparkr"}, b"nchar('\xff\xfe')")
    assert driver.result(number).text == "[1] 2"
    assert failure(driver, "x <- 'a\0b'")["evalue"].startswith("Error: ")


def test_a_large_cell(driver):
    assert run(driver, f"nchar('{'é' * 500_000}')").text == "[1] 500000"


@pytest.mark.parametrize(
    "code", ["Sys.sleep(600)", "while (TRUE) {}", "repeat tryCatch(Sys.sleep(600), error = function(e) 1)"]
)
def test_interrupted(driver, code):
    run(driver, "kept <- 'kept'")
    result, seconds = cancel(driver, here(driver) + code)
    assert (result.state, result.raw) == ("cancelled", b"")
    assert seconds < 1.9
    assert run(driver, "kept").text == '[1] "kept"'


def test_a_program_that_r_waits_for_is_interrupted(driver):
    run(driver, "kept <- 'kept'")
    result, seconds = cancel(driver, here(driver) + "system('sleep 600')")
    assert result.state == "cancelled" and seconds < 1.9
    assert run(driver, "kept").text == '[1] "kept"'


def test_a_late_interrupt_hits_nothing(driver):
    """Cancels that race with the statement's end: the next one never sees an interrupt."""
    for number in range(30):
        quick = driver.submit("Sys.sleep(0.01)", "sparkr")
        driver.started(quick)
        driver.cancel(quick)
        driver.result(quick)
        assert run(driver, f"x <- 0; for (i in 1:1000) x <- x + 1; {number}").text == f"[1] {number}"


def test_what_ignores_interrupts_is_replaced(driver):
    stubborn = f"repeat tryCatch({{ {here(driver)}Sys.sleep(600) }}, interrupt = function(e) NULL)"
    result, seconds = cancel(driver, stubborn)
    assert result.state == "cancelled" and 1.9 < seconds < 10
    assert result.output["ename"] == "InterpreterReplaced"
    assert "R variables are gone" in result.output["evalue"]
    assert run(driver, "1").text == "[1] 1"


@pytest.mark.parametrize(
    "code, how", [("q()", "exit code 0"), ("tools::pskill(Sys.getpid(), 9)", "signal SIGKILL")]
)
def test_death(driver, code, how):
    number = driver.next_statement
    output = failure(driver, f"gone <- 1; cat('last words\\n'); {code}")
    assert output["ename"] == "Error"
    assert output["evalue"].startswith(f"Interpreter died:\n{how}")
    assert "R variables are gone" in output["evalue"]
    assert output["data"] == {"text/plain": "last words"}
    assert failure(driver, "gone")["evalue"] == "Error: object 'gone' not found"
    driver.wait_until(
        lambda: any(
            line.startswith(f"Statement {number}: the R interpreter died") for line in driver.notices()
        )
    )


def test_a_copy_of_the_process_is_no_second_one(driver):
    assert run(driver, "f <- parallel::mcparallel(6 * 7); parallel::mccollect(f)[[1]]").text == "[1] 42"
    run(driver, "invisible(parallel:::mcfork())")
    assert run(driver, "1 + 1").text == "[1] 2"


def test_what_runs_on_goes_to_the_log(driver):
    run(driver, "system('(sleep 0.3; echo from the background) &')")
    driver.wait_log("from the background")
    assert run(driver, "1").text == "[1] 1"


def test_connections_of_ours_are_not_the_users(driver):
    assert run(driver, "closeAllConnections(); nrow(showConnections())").text == "[1] 0"
    assert run(driver, "readLines(stdin())").text == "character(0)"
    assert run(driver, "2").text == "[1] 2"


def test_completion(driver):
    run(driver, "completed_name <- list(first_part = 1)")
    assert driver.complete("completed_na", kind="sparkr") == ["completed_name"]
    assert driver.complete("x <- 1\ncompleted_name$fi\ny", 23, kind="sparkr") == ["first_part"]
    assert "rapply" in driver.complete("base::rapp", kind="sparkr")
    assert driver.complete("no_such_thing_at_all", kind="sparkr") == []
    number = driver.submit("Sys.sleep(1)", "sparkr")
    driver.started(number)
    began = time.monotonic()
    assert driver.complete("completed_na", kind="sparkr") == []
    assert time.monotonic() - began < 0.9
    driver.result(number)


def test_spark_is_missing(driver):
    sentence = run(driver, "spark").text
    assert sentence.startswith("SparkR is not in this SPARK_HOME")
    for code in ("spark$conf", "sql('select 1')", "createDataFrame(faithful)"):
        assert failure(driver, code)["evalue"] == f"Error: {sentence}"


def test_beside_other_kinds(driver):
    assert driver.run("1 + 1", "pyspark").text == "2"
    assert driver.run("select 1", "sql").output["data"]["application/json"]["data"] == [[1]]
    assert run(driver, "1 + 1").text == "[1] 2"


def test_the_locale_is_utf8(own_driver):
    started = own_driver(kind="sparkr", env={"LC_ALL": "C", "LANG": "C"})
    started.ready()
    assert started.run("nchar('é漢🎉')", "sparkr").text == "[1] 3"


def test_r_is_missing(own_driver):
    """A session of another kind goes on; one of R's own ends and says why."""
    missing = {"spark.r.shell.command": "/no/such/R"}
    python = own_driver(conf=missing)
    python.ready()
    output = python.run("1", "sparkr").output
    assert output["ename"] == "InterpreterError"
    assert output["evalue"] == "There is no program /no/such/R, which the conf names for R."
    assert python.run("1 + 1").text == "2"
    r = own_driver(kind="sparkr", conf=missing)
    assert r.wait("failed")[0]["reason"] == output["evalue"]


def test_no_process_is_left(own_driver):
    started = own_driver(kind="sparkr")
    started.ready()
    pid = int(started.run("cat(Sys.getpid())", "sparkr").text)
    os.kill(started.agent_pid(), 9)
    started.wait_until(lambda: not Path(f"/proc/{pid}").exists())
