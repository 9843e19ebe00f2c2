"""Python statements end as Livy's do: text, errors, magics, and text that is hard to put into JSON."""

import json

import pytest

OK = [
    ("1 + 1", "2"),
    ("print('hello')", "hello"),
    ("None", ""),
    ("x = 42", ""),
    ("x", "42"),
    ("a = 1\nb = 2\na + b", "3"),
    ("def f(n):\n    return n * 2\n\nf(21)", "42"),
    ("'héllo ✓ 漢字 🎉'", "'héllo ✓ 漢字 🎉'"),
    ("print('héllo ✓ 漢字 🎉')", "héllo ✓ 漢字 🎉"),
    ("import sys\nprint('to stderr', file=sys.stderr)", "to stderr"),
    ("print('out')\nx", "out\n42"),
    ("import sys\nprint('e', file=sys.stderr)\nprint('o')", "o\ne"),
    ("", ""),
    ("   \n  ", ""),
    ("# nothing", ""),
    ("'quoted'", "'quoted'"),
    ("{'a': 1, 'b': [1, 2]}", "{'a': 1, 'b': [1, 2]}"),
    ("1\n2", "2"),
    ("for i in range(3): i", "0\n1\n2"),
    ("if True:\n    7", "7"),
    ("print('a  \\n\\n')", "a"),
    ("_", "7"),
    ("spark.range(3)", "DataFrame[id: bigint]"),
    ("sc.appName is not None", "True"),
    ("sqlContext is not None", "True"),
    ("from __future__ import annotations\nclass C:\n    y: nowhere\nC.__annotations__", "{'y': 'nowhere'}"),
    ("__name__", "'__main__'"),
    ("import sys; sys.modules['__main__'].x", "42"),
    ("try:\n    input()\nexcept EOFError:\n    print('eof')", "eof"),
]


@pytest.mark.parametrize("code, text", OK)
def test_text(driver, code, text):
    number = driver.next_statement
    result = driver.run(code)
    assert result.state == "available"
    assert result.output == {"status": "ok", "execution_count": number, "data": {"text/plain": text}}
    assert list(result.output) == ["status", "execution_count", "data"]


TRACE = "Traceback (most recent call last):\n"
ERRORS = [
    (
        "def f(:\n  pass",
        "SyntaxError",
        "invalid syntax (<stdin>, line 1)",
        ['  File "<stdin>", line 1\n', "    def f(:\n", "          ^\n", "SyntaxError: invalid syntax\n"],
    ),
    (
        "if True:\nprint(1)",
        "IndentationError",
        "expected an indented block after 'if' statement on line 1 (<stdin>, line 2)",
        [
            '  File "<stdin>", line 2\n',
            "    print(1)\n",
            "    ^^^^^\n",
            "IndentationError: expected an indented block after 'if' statement on line 1\n",
        ],
    ),
    (
        "undefined_name",
        "NameError",
        "name 'undefined_name' is not defined",
        [TRACE, "NameError: name 'undefined_name' is not defined\n"],
    ),
    ("1/0", "ZeroDivisionError", "division by zero", [TRACE, "ZeroDivisionError: division by zero\n"]),
    (
        "def g():\n    raise ValueError('bad value')\ng()",
        "ValueError",
        "bad value",
        [TRACE, '  File "<stdin>", line 2, in g\n', "ValueError: bad value\n"],
    ),
    ("import sys\nsys.exit(3)", "SystemExit", "3", [TRACE, "SystemExit: 3\n"]),
    ("raise KeyboardInterrupt()", "KeyboardInterrupt", "", [TRACE, "KeyboardInterrupt\n"]),
    (
        "try:\n    1/0\nexcept Exception:\n    raise KeyError('k')",
        "KeyError",
        "'k'",
        [TRACE, "KeyError: 'k'\n"],
    ),
    (
        "%time 1+1",
        "UnknownMagic",
        "unknown magic command 'time'",
        ["UnknownMagic: unknown magic command 'time'\n"],
    ),
    ("%", "UnknownMagic", "magic command not specified", ["UnknownMagic: magic command not specified\n"]),
    (
        "%json nope",
        "NameError",
        "name 'nope' is not defined",
        ["NameError: name 'nope' is not defined\n"],
    ),
    (
        "o = object()\n%json o",
        "TypeError",
        "Object of type object is not JSON serializable",
        ["TypeError: Object of type object is not JSON serializable\n"],
    ),
    (
        "t = [[1], ['a']]\n%table t",
        "TypeError",
        "table rows have different types",
        ["TypeError: table rows have different types\n"],
    ),
]


@pytest.mark.parametrize("code, ename, evalue, traceback", ERRORS)
def test_error(driver, code, ename, evalue, traceback):
    number = driver.next_statement
    result = driver.run(code)
    assert result.output == {
        "status": "error",
        "execution_count": number,
        "ename": ename,
        "evalue": evalue,
        "traceback": traceback,
    }
    assert list(result.output) == ["status", "execution_count", "ename", "evalue", "traceback"]
    assert driver.run("'alive'").text == "'alive'"


def test_text_before_an_error_is_kept(driver):
    output = driver.run("print('first')\n1/0").output
    assert output["data"] == {"text/plain": "first"}
    assert output["traceback"] == ["first\n", TRACE, "ZeroDivisionError: division by zero\n"]


def test_a_syntax_error_runs_nothing(driver):
    driver.run("ran = 0")
    assert driver.run("ran = 1\n%json ran\ndef (").output["ename"] == "SyntaxError"
    assert driver.run("ran").text == "0"


def test_spark_errors_have_their_message(driver):
    output = driver.run("spark.sql('select * from no_such_table')").output
    assert output["ename"] == "AnalysisException"
    assert output["evalue"].startswith("[TABLE_OR_VIEW_NOT_FOUND] The table or view `no_such_table`")
    assert output["traceback"][0] == TRACE
    assert "firesteel" not in "".join(output["traceback"])


def test_jobs(driver):
    assert driver.run("sc.parallelize(range(100)).map(lambda v: v * 2).sum()").text == "9900"
    assert driver.run("spark.range(3).show()").text.startswith("+---+\n| id|\n+---+\n|  0|")
    assert (
        driver.run("def twice(v):\n    return v * 2\nsc.parallelize([1]).map(twice).collect()").text == "[2]"
    )


MAGICS = [
    ("d = {'a': 1, 'b': [1, 2, None]}\n%json d", "application/json", {"a": 1, "b": [1, 2, None]}),
    (
        "n = [float('nan'), {'i': float('inf')}, -0.5, 10**30, True]\n%json n",
        "application/json",
        [None, {"i": None}, -0.5, 10**30, True],
    ),
    ("s = {'\\ud800k': 'a\\udfffb'}\n%json s", "application/json", {"\ufffdk": "a\ufffdb"}),
    (
        "t = [[1, 'a'], [3, 'b']]\n%table t",
        "application/vnd.livy.table.v1+json",
        {
            "headers": [{"name": "0", "type": "INT_TYPE"}, {"name": "1", "type": "STRING_TYPE"}],
            "data": [[1, "a"], [3, "b"]],
        },
    ),
    (
        "t = [{'id': 1, 'n': 'a'}, {'n': None, 'id': 2}]\n%table t",
        "application/vnd.livy.table.v1+json",
        {
            "headers": [{"name": "id", "type": "INT_TYPE"}, {"name": "n", "type": "STRING_TYPE"}],
            "data": [[1, "a"], [2, None]],
        },
    ),
    (
        "v = 42\n%table v",
        "application/vnd.livy.table.v1+json",
        {"headers": [{"name": "0", "type": "INT_TYPE"}], "data": [[42]]},
    ),
    (
        "import datetime, decimal\n"
        "d, at = datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3)\n"
        "t = [[d, at, decimal.Decimal('1.50'), [1], {'a': 1}]]\n"
        "%table t",
        "application/vnd.livy.table.v1+json",
        {
            "headers": [
                {"name": "0", "type": "DATE_TYPE"},
                {"name": "1", "type": "TIMESTAMP_TYPE"},
                {"name": "2", "type": "DECIMAL_TYPE"},
                {"name": "3", "type": "ARRAY_TYPE"},
                {"name": "4", "type": "MAP_TYPE"},
            ],
            "data": [["2020-01-02", "2020-01-02 03:00:00", "1.50", [1], {"a": 1}]],
        },
    ),
]


@pytest.mark.parametrize("code, mime, value", MAGICS)
def test_magic(driver, code, mime, value):
    assert driver.run(code).output["data"] == {mime: value}


def test_matplot(driver):
    code = (
        "class Plot:\n"
        "    def gcf(self): return self\n"
        "    def savefig(self, file, format): file.write(b'\\x89PNG')\n"
        "plt = Plot()\n%matplot plt"
    )
    assert driver.run(code).output["data"] == {"image/png": "iVBORw==", "text/plain": ""}


def test_rows_as_a_table(driver):
    table = driver.run("rows = spark.range(2).collect()\n%table rows").output["data"]
    assert table["application/vnd.livy.table.v1+json"] == {
        "headers": [{"name": "id", "type": "INT_TYPE"}],
        "data": [[0], [1]],
    }


HOSTILE = [
    "print('\\ud800')",
    "'\\ud800'",
    "raise ValueError('\\udcff')",
    "print('\\x00\\x01\\x1b[31m\\u2028\\u202e\\ufeff\\U0001f600')",
    "import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\xc3\\n')",
    "import os; os.write(1, b'\\xed\\xa0\\x80')",
    "class Bad:\n    def __repr__(self): raise RuntimeError('no repr')\nBad()",
    "class E(Exception):\n    def __str__(self): raise RuntimeError('no str')\nraise E()",
    "deep = []\nfor _ in range(100000): deep = [deep]\n%json deep",
    "print(repr(deep))",
    "me = []; me.append(me)\n%json me",
    "x = 'a\x00b'",
    "def r(): r()\nr()",
    "raise type('\\ud800', (Exception,), {})()",
    "raise BaseException",
    "(" * 500,
    "{'a': float('nan')}",
]


@pytest.mark.parametrize("code", HOSTILE)
def test_hostile_text_is_strict_json(driver, code):
    result = driver.run(code)
    assert result.state == "available"
    result.raw.decode("utf-8")
    assert "\\ud8" not in result.raw.decode().lower() or "\\\\ud8" in result.raw.decode().lower()
    assert json.loads(result.raw)["status"] in ("ok", "error")
    assert driver.run("'alive'").text == "'alive'"


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_line_ends(driver, end):
    code = end.join(["def f(n):", "\treturn n * 2", "", "text = '''a", "b'''", "f(21), text"])
    assert driver.run(code).text == "(42, 'a\\nb')"
    assert driver.run(end.join(["v = [1]", "%json v", ""])).output["data"] == {"application/json": [1]}
    lines = ["import inspect", "def g():", "    return 1", "inspect.getsource(g)"]
    assert driver.run(end.join(lines)).text == "'def g():\\n    return 1\\n'"


def test_a_byte_order_mark(driver):
    assert driver.run("\ufeff1 + 1").text == "2"


def test_await_is_interrupted(driver):
    driver.run("import asyncio\ncleaned = []")
    code = (
        "async def long():\n    try: await asyncio.sleep(600)\n    finally: cleaned.append('up')\n"
        "print('waiting')\nawait long()"
    )
    number = driver.submit(code)
    driver.started(number)
    # Interrupted at any moment: also before it awaits.
    driver.cancel(number)
    assert driver.result(number).state == "cancelled"
    assert driver.run("await asyncio.sleep(0, 'alive')").text == "'alive'"


def test_an_interrupt_while_awaiting_cleans_up(driver, tmp_path):
    mark = tmp_path / "waiting"
    code = (
        "import asyncio, pathlib\ncleaned = []\n"
        "async def long():\n    try:\n"
        f"        pathlib.Path({str(mark)!r}).touch()\n        await asyncio.sleep(600)\n"
        "    finally: cleaned.append('up')\nawait long()"
    )
    number = driver.submit(code)
    driver.wait_until(mark.exists)
    driver.cancel(number)
    assert driver.result(number).state == "cancelled"
    assert driver.run("cleaned").text == "['up']"


def test_tasks_go_on_while_nothing_runs(driver, tmp_path):
    """Seen from outside: no statement wakes the interpreter."""
    mark = tmp_path / "done"
    code = (
        "import asyncio, pathlib\nasync def later():\n"
        f"    for _ in range(20): await asyncio.sleep(0.005)\n    pathlib.Path({str(mark)!r}).touch()\n"
        "task = asyncio.create_task(later())"
    )
    assert driver.run(code).text == ""
    driver.wait_until(mark.exists)
    assert driver.run("task.done()").text == "True"


def test_a_signal_handler_that_raises_between_statements(driver, tmp_path):
    mark = tmp_path / "rung"
    code = (
        "import signal, pathlib\n"
        f"def ring(*_): pathlib.Path({str(mark)!r}).touch(); raise ValueError('between statements')\n"
        "signal.signal(signal.SIGALRM, ring)\nkept = 1\n_ = signal.setitimer(signal.ITIMER_REAL, 0.3)"
    )
    driver.run(code)
    driver.wait_until(mark.exists)
    assert driver.run("kept").text == "1"
    number = driver.submit("import time\nsignal.setitimer(signal.ITIMER_REAL, 0.1)\ntime.sleep(60)")
    assert driver.result(number).output["evalue"] == "between statements"


def test_frames_of_an_earlier_cell_name_it(driver):
    number = driver.submit("def fails():\n    raise ValueError('x')")
    driver.result(number)
    trace = driver.run("fails()").output["traceback"]
    assert trace == [
        TRACE,
        f"  File \"<cell {number}>\", line 2, in fails\n    raise ValueError('x')\n",
        "ValueError: x\n",
    ]


def test_the_source_that_is_kept_is_bounded(driver):
    number = driver.submit("def first(): return 'first'")
    driver.result(number)
    for _round in range(4):
        driver.run("# " + "x" * (10 << 20))
    code = f"import linecache; '<cell {number}>' in linecache.cache, first()"
    assert driver.run(code).text == "(False, 'first')"
