"""Scala cells in a real agent: Livy's rules, what is printed, magics, completion, stopped contexts.

tests/cells/scala has the cells whose output is a matter of the language; test_scala_cancel.py has what is
cancelled, replaced, or kills.
"""

import json
import re
import stat
import zipfile
from pathlib import Path

import pytest

GOLDEN = [
    ("val a = 1", "a: Int = 1\n"),
    ("a + 1", "res0: Int = 2\n"),
    ('println("hi")', "hi\n"),
    ("def dbl(i: Int) = i * 2\ndbl(4)", "dbl: (i: Int)Int\nres2: Int = 8\n"),
]
"""Of golden/livy.json; Scala 2.13 says `val` and writes the type of a def as it is declared."""

DRIVER = {"kind": "spark"}


def scala(driver, code, timeout=90):
    """The text of a cell that must succeed."""
    return driver.run(code, "spark", timeout).text


def failed(driver, code):
    """The output of a cell that must fail; the next one runs."""
    output = driver.run(code, "spark", 90).output
    assert output["status"] == "error", output
    assert scala(driver, "40 + 2").endswith(": Int = 42\n")
    return output


def is_213(driver):
    return driver.ready()["spark_version"].startswith("4")


def test_first_cells_are_livys(driver):
    """In a session of kind spark the interpreter is ready when the session is; its results count from 0."""
    for code, text in GOLDEN:
        number = driver.next_statement
        result = driver.run(code, "spark", 90)
        if is_213(driver):
            text = re.sub(r"^(?=a:|res)", "val ", text, flags=re.M).replace(
                "dbl: (i: Int)Int", "def dbl(i: Int): Int"
            )
        assert result.output == {"status": "ok", "execution_count": number, "data": {"text/plain": text}}
        assert result.header["rows_cut"] is None


def test_errors_are_split_as_livy_does(driver):
    output = failed(driver, 'val s: Int = "x"')
    assert list(output) == ["status", "execution_count", "ename", "evalue", "traceback"]
    source, caret = '       val s: Int = "x"\n', "                    ^\n"
    if is_213(driver):
        assert (output["ename"], output["evalue"]) == ("Error", "error: type mismatch;")
        found, required = '        found   : String("x")\n', "        required: Int\n"
        assert output["traceback"] == [source, caret, found, required]
    else:
        assert re.fullmatch(r"<console>:\d+: error: type mismatch;", output["evalue"])
        assert output["traceback"] == [' found   : String("x")\n', " required: Int\n", source, caret]
    output = failed(driver, "1 / 0")
    assert (output["ename"], output["evalue"]) == ("Error", "java.lang.ArithmeticException: / by zero")
    assert re.fullmatch(r"  \.\.\. \d+ elided\n", "".join(output["traceback"]))
    output = failed(driver, "foo(")
    assert (output["ename"], output["evalue"], output["traceback"]) == ("Error", "incomplete statement", [])


def test_text_before_an_error_is_kept(driver):
    output = failed(driver, 'println("kept")\nnope')
    assert output["data"] == {"text/plain": "kept"}
    assert output["traceback"][0] == "kept\n"
    assert "error: not found: value nope" in output["evalue"]


def test_what_looks_like_an_error_is_text(driver):
    """What a cell prints is never taken for the REPL's own words."""
    printed = "<console>:1: error: not found: value x\njava.lang.RuntimeException: no\n"
    assert scala(driver, f"print({json.dumps(printed)})") == printed


def test_every_stream_of_a_statement(driver):
    code = """
println("console")
System.out.println("system")
Console.out.println("console.out")
spark.range(1).show()
val t = new Thread(() => println("thread"))
t.start(); t.join()
sc.parallelize(Seq(1), 1).foreach(_ => println("task"))
"""
    text = scala(driver, code)
    for word in ("console\n", "system\n", "console.out\n", "|  0|\n", "thread\n", "task\n"):
        assert word in text, text


@pytest.mark.parametrize(
    "code",
    [
        "System.out.close()",
        "System.setOut(null)",
        "System.setOut(new java.io.PrintStream(new java.io.ByteArrayOutputStream))",
        "Console.out.close()",
        "Console.withOut(new java.io.ByteArrayOutputStream) { println(1) }",
        'System.setErr(null); Thread.currentThread.setName("mine")',
        "Thread.currentThread.setContextClassLoader(null)",
        "Thread.currentThread.interrupt()",
        "sc.clearJobGroup()",
    ],
)
def test_the_streams_survive(driver, code):
    driver.run(code, "spark")
    assert scala(driver, 'println("still"); System.out.println("here")') == "still\nhere\n"
    assert scala(driver, "sc.parallelize(1 to 3).count()").endswith("Long = 3\n")


def test_output_between_statements_goes_to_the_log(driver):
    code = """
val late = new Thread(() => { Thread.sleep(700); println("late " + "words") })
late.start()
"""
    assert "late words" not in scala(driver, code)
    driver.wait_log("late words")
    assert "late words" not in scala(driver, "1 + 1")


def test_a_flood_is_capped_and_costs_no_memory(driver):
    """256 MB, through a pipe: the head, a marker and the tail are kept, and the JVM keeps nothing."""
    code = """
val line = "x" * 1023
val before = { System.gc(); Runtime.getRuntime.totalMemory - Runtime.getRuntime.freeMemory }
for (i <- 1 to 256 * 1024) println(line)
System.gc()
val grown = Runtime.getRuntime.totalMemory - Runtime.getRuntime.freeMemory - before
println("grown " + (grown < 32000000))
"""
    agent = driver.agent_pid()
    peak_before = resident(agent)
    text = scala(driver, code, 120)
    assert len(text) <= driver.limit + 200
    assert "cut: output.max_bytes is 1 MiB ...]" in text
    assert "grown true" in text
    assert resident(agent) - peak_before < 20 << 20


def resident(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) << 10


def test_a_long_message_is_capped(driver):
    output = failed(driver, 'throw new RuntimeException("m" * 3000000)')
    assert 1000 < len(output["evalue"]) < 300_000
    assert "characters cut" in output["evalue"]


ODD = [
    ("a NUL", '"a\0b".length', "3"),
    ("a NUL is printed", 'println("a\\u0000b")', "a\0b"),
    ("lone surrogates", 'println("a\\ud800b".length)', "3"),
    ("a lone surrogate is printed", 'println("a\\ud800b")', "a?b"),
    ("a character beyond 16 bits", 'println("🎉")', "🎉"),
    ("windows line ends", "val w1 = 1\r\nval w2 = 2\r\nprintln(w1 + w2)", "3"),
    ("a long line", "println(" + "1 + " * 100 + '1); println("' + "y" * 50_000 + '")', "101"),
]


@pytest.mark.parametrize(("code", "text"), [odd[1:] for odd in ODD], ids=[odd[0] for odd in ODD])
def test_odd_text(driver, code, text):
    assert text in scala(driver, code)


def test_a_piece_of_many_lines(driver):
    """It is not parsed anew for each of its lines."""
    lines = "\n".join(f"  def f{n}(x: Int): Int = {{\n    x + {n}\n  }}" for n in range(1200))
    assert scala(driver, f"object Many {{\n{lines}\n}}\nprintln(Many.f1199(1))").endswith("1200\n")
    values = ",\n".join(str(n) for n in range(3000))
    assert scala(driver, f"println(List[Int](\n{values}\n).size)").endswith("3000\n")


def test_ten_thousand_lines(driver):
    """Comments, blank lines, and a string: what needs no compiler takes no time."""
    comments = "\n".join(f"// line {n}\n" for n in range(5000))
    assert scala(driver, f"{comments}\nprintln(5)") == "5\n"
    text = "\n".join("(" if n % 2 else "[{" for n in range(10_000))
    assert scala(driver, f'println("""{text}""".length)') == f"{len(text)}\n"


def test_code_that_is_too_deep_for_the_compiler(driver):
    output = failed(driver, "1" + " + (1" * 4000 + ")" * 4000)
    assert output["ename"] == "Error"
    assert "nested more than 250 deep" in output["evalue"]
    assert scala(driver, "(" * 100 + "7" + ")" * 100).endswith(": Int = 7\n")


LONG = {
    "a sum": " + ".join(["1"] * 3000),
    "calls": "List(1)" + ".map(_ + 1)" * 3000,
    "a list": " :: ".join(["1"] * 3000) + " :: Nil",
}


@pytest.mark.parametrize("code", LONG.values(), ids=LONG.keys())
def test_an_expression_that_is_too_long_for_the_compiler(driver, code):
    """It runs out of stack, and compiles the next cell."""
    output = failed(driver, code)
    assert (output["ename"], output["evalue"]) == ("Error", "java.lang.StackOverflowError.")
    assert failed(driver, "1 / 0")["evalue"] == "java.lang.ArithmeticException: / by zero"
    assert "type mismatch" in failed(driver, 'val s: Int = "x"')["evalue"]


def test_no_rich_values(driver):
    """One MIME type always: text, or what a magic gives."""
    for code in ("spark.range(2)", 'Map("text/html" -> "<b>")', "1", "", 'println("x")'):
        assert list(driver.run(code, "spark").output["data"]) == ["text/plain"]
    result = driver.run('println("x")\nval m = Map("a" -> 1)\n%json m', "spark", 90)
    assert result.output["data"] == {"application/json": {"a": 1}}
    assert driver.run("%table m", "spark").output["data"] == {
        "application/vnd.livy.table.v1+json": {
            "headers": [{"type": "BIGINT_TYPE", "name": "a"}],
            "data": [[1]],
        }
    }


def test_a_magic_over_the_limit(driver):
    output = failed(driver, 'val big = List.fill(2000)("y" * 1000)\n%json big')
    assert output["ename"] == "ResultTooLarge"
    assert "output.max_bytes is 1 MiB" in output["evalue"]
    output = failed(driver, "val cyclic = new java.util.ArrayList[Any]; cyclic.add(cyclic)\n%json cyclic")
    assert (output["ename"], output["evalue"]) == ("ValueError", "Failed to convert value into a JSON value")


def test_completion(driver):
    scala(driver, "val fireHydrant = 1\ndef fireEngine(x: Int) = x")
    found = ask(driver, "fire")
    assert {"fireHydrant", "fireEngine"} <= set(found)
    assert found == sorted(set(found))
    assert ask(driver, "spark.ra") == ["range"]
    assert "length" in ask(driver, '"é🎉".le', cursor=7)
    assert ask(driver, "spark.ra + nothing", cursor=8) == ["range"]
    assert "toUpperCase" in ask(driver, 'val x = 1\n"a".toUpp')
    assert driver.complete("nosuchname.", kind="spark") == []
    assert ask(driver, "spark.ra", cursor=9999) == ["range"]


def test_completion_needs_none_of_the_users_streams(driver):
    driver.run("System.setErr(null); System.setOut(null)", "spark")
    assert ask(driver, "spark.ra") == ["range"]


def ask(driver, code, cursor=None):
    """Candidates; the compiler's first answers may come too late, which means none."""
    for _time in range(8):
        found = driver.complete(code, cursor, kind="spark")
        if found:
            break
    return found


def test_completion_while_a_statement_runs(driver):
    scala(driver, "@volatile var hold = true")
    assert ask(driver, "spark.ra") == ["range"]
    number = driver.submit("while (hold) Thread.sleep(20)", "spark")
    driver.started(number)
    try:
        driver.wait_until(lambda: ask(driver, "spark.ra") == ["range"])
        assert driver.result_now(number) is None
    finally:
        driver.cancel(number)
    assert driver.result(number).state == "cancelled"


def test_completion_while_a_statement_compiles(driver):
    """Both use the compiler, whose symbols are no thread's own: neither may spoil the other's."""
    for cell in range(20):
        number = driver.submit(f"val compiled{cell} = {cell}", "spark")
        driver.started(number)
        assert ask(driver, "spark.ra") == ["range"]
        assert driver.result(number).text.endswith(f"compiled{cell}: Int = {cell}\n")


def test_languages_share_the_session(driver):
    scala(driver, 'Seq(1, 2).toDF("n").createOrReplaceTempView("from_scala")')
    rows = driver.run("select sum(n) as s from from_scala", "sql").output["data"]["application/json"]["data"]
    assert rows == [[3]]
    assert driver.run("spark.table('from_scala').count()", "pyspark", 90).text == "2"
    driver.run("spark.range(4).createOrReplaceTempView('from_python')", "pyspark")
    assert scala(driver, 'spark.table("from_python").count()').endswith("Long = 4\n")


def test_progress(driver):
    code = "sc.parallelize(1 to 4, 4).foreach(_ => Thread.sleep(900))"
    number = driver.submit(code, "spark")
    header, _body = driver.wait("progress", 60, id=number)
    assert header["total"] == 4
    driver.result(number)


def test_where_things_are(driver):
    """Pipes and classes are in the run directory, closed to others."""
    for name in ("jvm.out", "jvm.echo"):
        mode = (driver.dir / name).stat().st_mode
        assert stat.S_ISFIFO(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert stat.S_IMODE((driver.dir / "classes").stat().st_mode) & 0o077 == 0
    assert list((driver.dir / "classes").glob("$line*"))


@pytest.mark.parametrize(
    "stop", ["sc.stop()", "spark.stop()", "spark.sparkContext.stop(); throw new Exception"]
)
def test_a_stopped_context_is_replaced(driver, stop):
    before = scala(driver, "println(sc.applicationId)")
    driver.run(stop, "spark")
    told = len(driver.notices())
    assert scala(driver, "sc.parallelize(1 to 4).map(_ * 2).sum()").endswith("Double = 20.0\n")
    assert driver.notices()[told:] == ["The SparkContext had been stopped; a new one was made."]
    assert scala(driver, "println(sc.applicationId)") != before
    scala(driver, "case class AfterStop(n: Int)")
    assert scala(driver, "sc.parallelize(1 to 2).map(AfterStop(_)).collect().map(_.n).sum").endswith(
        "Int = 3\n"
    )
    assert scala(driver, 'Seq(1).toDF("n").count()').endswith("Long = 1\n")
    assert scala(driver, "spark.sparkContext eq sc").endswith("Boolean = true\n")


def test_a_context_of_the_users_own(driver):
    driver.run("sc.stop()", "spark")
    code = 'val mine = new org.apache.spark.SparkContext(new org.apache.spark.SparkConf().setAppName("mine"))'
    scala(driver, code)
    assert scala(driver, "println(mine.appName + mine.parallelize(1 to 3).count())") == "mine3\n"
    assert scala(driver, "sc.parallelize(1 to 3).count()").endswith("Long = 3\n")


def test_first_use_in_a_session_of_another_kind(own_driver):
    driver = own_driver(kind="sql")
    driver.ready()
    assert scala(driver, "1 + 1").endswith("Int = 2\n")


def test_jars_of_the_session(own_driver, driver, tmp_path):
    """Their classes are there for the compiler, in the driver and on executors."""
    driver.run("val one = 1\n%json one", "spark", 90)
    classes = driver.dir / "classes"
    with zipfile.ZipFile(tmp_path / "lib.jar", "w") as jar:
        # What the magics compile serves as somebody's library.
        for file in (classes / "firesteel").rglob("*.class"):
            jar.write(file, file.relative_to(classes))
    other = own_driver(kind="spark", conf={"spark.jars": str(tmp_path / "lib.jar")})
    other.ready()
    assert scala(other, 'println(firesteel.Magics.json(Map("a" -> 1), 99))') == '={"a":1}\n'
    code = "sc.parallelize(1 to 2).map(firesteel.Magics.json(_, 99)).collect().toList"
    assert scala(other, code).endswith("List[String] = List(=1, =2)\n")


def test_executors_of_their_own(own_driver):
    """On a master whose executors are other processes: closures, case classes, what comes back."""
    driver = own_driver(kind="spark", conf={"spark.master": "local-cluster[1,1,1024]"})
    driver.ready()
    code = """
case class P(n: Int)
val factor = 10
val back = sc.parallelize(1 to 3, 2).map(i => P(i * factor)).collect()
println(back.map(_.n).sum)
"""
    assert scala(driver, code).endswith("60\n")
    assert scala(driver, "Seq(P(1)).toDS.map(p => P(p.n + 1)).head().n").endswith("Int = 2\n")
    driver.run("sc.stop()", "spark")
    assert scala(driver, "sc.parallelize(1 to 2).map(P(_)).collect().map(_.n).sum").endswith("Int = 3\n")
