"""SQL results as Livy writes them, and better where Livy errs."""

import json
import time

import pytest


def table(result):
    assert result.output["status"] == "ok", result.output
    return result.output["data"]["application/json"]


def value(driver, expression):
    return table(driver.run(f"select {expression} as v", "sql"))["data"][0][0]


def test_the_row_of_every_common_type(driver):
    code = (
        "select id, cast(id as string) s, cast(id as double)/3 d, date'2020-01-02' dt, "
        "timestamp'2020-01-02 03:04:05' ts, null n, array(1,2) arr, map('k',1) m, named_struct('x',1) st, "
        "cast(1.5 as decimal(10,2)) dec, true b from range(3)"
    )
    driver.run("set spark.sql.session.timeZone=UTC", "sql")
    found = table(driver.run(code, "sql"))
    assert [(field["name"], field["type"]) for field in found["schema"]["fields"]][:7] == [
        ("id", "long"),
        ("s", "string"),
        ("d", "double"),
        ("dt", "date"),
        ("ts", "timestamp"),
        ("n", "void"),
        ("arr", {"type": "array", "elementType": "integer", "containsNull": False}),
    ]
    tail = ["2020-01-02", "2020-01-02T03:04:05Z", None, [1, 2], {"k": 1}, {"x": 1}, 1.5, True]
    assert found["data"] == [
        [0, "0", 0.0, *tail],
        [1, "1", 0.3333333333333333, *tail],
        [2, "2", 0.6666666666666666, *tail],
    ]


VALUES = [
    ("cast('NaN' as double)", None),
    ("cast('-Infinity' as float)", "-Infinity"),
    ("X'00ff10'", [0, -1, 16]),
    ("timestamp'2020-01-01 00:00:00.120 UTC'", "2020-01-01T00:00:00.12Z"),
    ("timestamp_ntz'2020-01-01 00:00:00'", "2020-01-01T00:00:00"),
    ("map(1, array(interval '1' day))", {"1": ["INTERVAL '1' DAY"]}),
    ("map(date'2020-01-01', 1)", {"2020-01-01": 1}),
    ("make_interval(1, 2)", "1 years 2 months"),
    ("array(named_struct('a b', cast(null as int), 'c', map(1.5, 'x')))", [{"a b": None, "c": {"1.5": "x"}}]),
    ("cast(null as map<int,int>)", None),
    ("'\"quoted\\\\ é 漢 🎉\\n#'", '"quoted\\ é 漢 🎉\n#'),
]


@pytest.mark.parametrize("expression, expected", VALUES)
def test_value(driver, expression, expected):
    assert value(driver, expression) == expected


def test_decimals_keep_their_digits(driver):
    result = driver.run("select cast('12345678901234567890123456.123456789012' as decimal(38,12)) d", "sql")
    assert b"[[12345678901234567890123456.123456789012]]" in result.raw


def test_names_may_be_equal(driver):
    assert table(driver.run("select 1 a, 2 a, 3 as `a.b`", "sql"))["data"] == [[1, 2, 3]]


def test_no_rows_and_no_columns(driver):
    created = driver.run("create or replace temporary view one_view as select 1 as one", "sql")
    assert table(created) == {"schema": {"type": "struct", "fields": []}, "data": []}
    assert table(driver.run("select * from one_view where one = 2", "sql"))["data"] == []
    assert ["", "one_view", True] in table(driver.run("show tables", "sql"))["data"]


def test_rows_are_cut_and_it_is_told(driver):
    cut = driver.run("select * from range(2000)", "sql")
    assert cut.header["rows_cut"] == 1000
    assert table(cut)["data"] == [[number] for number in range(1000)]
    whole = driver.run("select * from range(1000)", "sql")
    assert whole.header["rows_cut"] is None and len(table(whole)["data"]) == 1000


@pytest.mark.parametrize(
    "code",
    [
        "select repeat('x', 3000000) x",
        "select repeat('x', 3000) x from range(900)",
        "select X'ff' b, repeat('\\\\u0001', 200000)",
    ],
)
def test_too_large(driver, code):
    result = driver.run(code, "sql")
    if result.output["status"] == "ok":
        assert len(result.raw) <= driver.limit
        return
    assert result.output["ename"] == "ResultTooLarge"
    assert "output.max_bytes is 1 MiB" in result.output["evalue"]


def test_error(driver):
    output = driver.run("select * from nowhere", "sql").output
    assert list(output) == ["status", "execution_count", "ename", "evalue", "traceback"]
    assert output["ename"] == "Error"
    assert output["evalue"].startswith(
        "[TABLE_OR_VIEW_NOT_FOUND] The table or view `nowhere` cannot be found."
    )
    assert output["traceback"][0].startswith("org.apache.spark.sql.")


def test_views_are_shared_with_python(driver):
    driver.run("spark.range(3).createOrReplaceTempView('from_python')")
    assert table(driver.run("select max(id) m from from_python", "sql"))["data"] == [[2]]
    assert driver.run("spark.sql('select 5 as five').collect()").text == "[Row(five=5)]"


def test_a_sql_session_starts_python_when_it_is_asked(own_driver):
    started = own_driver(kind="sql")
    assert started.ready()["python_version"] == ""
    assert started.run("1 + 1").text == "2"


def test_json_is_strict(driver):
    raw = driver.run("select chr(1), '\\\\ud800', decode(X'ff', 'UTF-8')", "sql").raw
    json.loads(raw.decode("utf-8"))


# Cells of several statements


def test_lines_of_a_cell(driver):
    code = "select 1;\r\n-- a comment; of two\r\nselect *\r\nfrom nowhere;\r\nselect 3"
    evalue = driver.run(code, "sql").output["evalue"]
    assert "`nowhere` cannot be found" in evalue
    assert "line 4 pos 5" in evalue
    syntax = driver.run("select 1;\n\nselect 2 2 2", "sql").output["evalue"]
    assert "(line 3, pos 9)" in syntax
    assert "== SQL ==\nselect 2 2 2\n---------^^^" in syntax


def test_nothing_to_run(driver):
    empty = {"schema": {"type": "struct", "fields": []}, "data": []}
    for code in ("", "  \n", "-- a comment", ";;", "/* a */;"):
        assert table(driver.run(code, "sql")) == empty, code


def test_only_the_last_rows_count(driver):
    result = driver.run("select * from range(2000); select 1", "sql")
    assert table(result)["data"] == [[1]] and result.header["rows_cut"] is None
    result = driver.run("select 1; select * from range(2000)", "sql")
    assert len(table(result)["data"]) == 1000 and result.header["rows_cut"] == 1000
    many = ";".join(f"select {number} as n" for number in range(60))
    assert table(driver.run(many, "sql"))["data"] == [[59]]


@pytest.mark.parametrize(
    "big", ["select repeat('x', 2000000)", "select repeat('x', 2000000 + id) from range(1)"]
)
def test_rows_that_are_not_shown_have_no_limit(driver, big):
    """A result over output.max_bytes that a later statement takes the place of stays in the JVM."""
    assert driver.run(big, "sql").output["ename"] == "ResultTooLarge"
    assert table(driver.run(f"{big}; select 1", "sql"))["data"] == [[1]]


SLOW = "select count(*) from range(1000000000000) where id % 7 = rand()"


def test_a_cancelled_cell_runs_no_further(driver):
    code = (
        f"create or replace temp view early as select 1; {SLOW}; create or replace temp view late as select 1"
    )
    number = driver.submit(code, "sql")
    driver.wait("progress", id=number)
    began = time.monotonic()
    driver.cancel(number)
    result = driver.result(number)
    assert (result.state, result.raw) == ("cancelled", b"")
    assert time.monotonic() - began < 10
    assert table(driver.run("show tables like 'early|late'", "sql"))["data"] == [["", "early", True]]


# A stopped context


def test_a_stopped_context_is_replaced(own_driver):
    started = own_driver()
    first = started.ready()["app_id"]
    assert started.run("sc.stop()").output["status"] == "ok"
    assert table(started.run("select 1 as one", "sql"))["data"] == [[1]]
    notice = "The SparkContext had been stopped; a new one was made."
    started.wait("notice", text=notice)
    assert started.notices().count(notice) == 1
    assert table(started.run("select 2 as two", "sql"))["data"] == [[2]]
    assert started.run("spark.range(4).count()").text == "4"
    assert started.run("sc.applicationId").text != repr(first)


def test_a_context_that_the_jvm_has_stopped_is_replaced(own_driver):
    """As it does when a cluster ends the application: Python is not told."""
    started = own_driver()
    first = started.ready()["app_id"]
    assert started.run("kept = 1; sc._jsc.sc().stop()").output["status"] == "ok"
    assert started.run("spark.range(4).count() + kept").text == "5"
    assert started.notices().count("The SparkContext had been stopped; a new one was made.") == 1
    told = started.wait("context")[0]
    assert told["app_id"] != first
    assert started.run("sc.applicationId").text == repr(told["app_id"])


# Completion


@pytest.fixture(scope="module")
def people(driver):
    """A view and a table to complete."""
    driver.run(
        "create or replace temp view people as select 1 as person_id, 'a' as name, 2 as `odd name`", "sql"
    )
    driver.run(
        "drop table if exists pets; create table pets (pet_id int, person_id int) using parquet", "sql"
    )
    return driver


COMPLETIONS = [
    ("SEL|", {"SELECT"}),
    ("sel|", {"select"}),
    ("select * fr| peo", {"from"}),
    ("select * from peo|", {"people"}),
    ("select * from people join pe|", {"people", "pets"}),
    ("select per| from people", {"person_id", "percentile"}),
    ("select p.na| from people p", {"name"}),
    ("select p.| from people as p", {"person_id", "name", "odd name"}),
    ("select people.na| from people", {"name"}),
    ("select x.pe| from people p, pets x where 1", {"pet_id", "person_id"}),
    ("select na| from people; select 1", {"name"}),
    ("select 1;\nselect pet| from default.pets", {"pet_id"}),
    ("with young as (select 1) select * from you|", {"young"}),
    ("select concat_w|", {"concat_ws"}),
    ("select * from default.|", {"pets"}),
    ("use defau|", {"default"}),
]


@pytest.mark.parametrize("text, expected", COMPLETIONS)
def test_completion(people, text, expected):
    code, cursor = text.replace("|", ""), text.index("|")
    # What the catalog is asked for the first time may take longer than a completion waits.
    people.wait_until(lambda: expected <= set(people.complete(code, cursor, kind="sql")))


@pytest.mark.parametrize(
    "text",
    ["select 'peo|", "-- sel|", "/* sel|", "select nobody.|", "|", "select * from people where x = 'a|'"],
)
def test_no_completion(people, text):
    assert people.complete(text.replace("|", ""), text.index("|"), kind="sql") == []


def test_completion_while_a_statement_runs(people):
    people.wait_until(lambda: people.complete("select nam from people", 10, kind="sql")[:1] == ["name"])
    number = people.submit(SLOW, "sql")
    people.wait("progress", id=number)
    began = time.monotonic()
    assert people.complete("select nam from people", 10, kind="sql")[0] == "name"
    assert time.monotonic() - began < 3
    people.cancel(number)
    assert people.result(number).state == "cancelled"
