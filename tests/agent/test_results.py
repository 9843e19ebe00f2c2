"""Whole results of SQL statements, as the agent sends them: an Arrow stream in pieces, then how it ended."""

import json
import socket
import struct
from pathlib import Path

DRIVER = {"conf": {"spark.sql.shuffle.partitions": "2"}, "result_kept": 3, "sql_max_rows": 5}
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def exactly(end, count):
    data = b""
    while len(data) < count:
        piece = end.recv(count - len(data))
        assert piece, "the connection was cut"
        data += piece
    return data


def piece(end):
    return exactly(end, struct.unpack(">I", exactly(end, 4))[0])


def whole(end):
    """The stream's bytes, and how it ended."""
    end.settimeout(60)
    data = []
    while part := piece(end):
        data.append(part)
    ended = json.loads(piece(end))
    assert end.recv(1) == b""
    end.close()
    return b"".join(data), ended


def result(driver, query, limit=None):
    number = driver.submit(query, "sql")
    assert driver.result(number).output["status"] == "ok"
    return whole(driver.fetch(number, limit))


def jobs_of_results(driver):
    """Jobs that run, of results."""
    code = (
        "jvm = spark.sparkContext._jvm\n"
        "tracker = spark.sparkContext._jsc.sc().statusTracker()\n"
        "ours = [f'firesteel-result-{n}' for n in range(1, 40)]\n"
        "found = [j for g in ours for j in tracker.getJobIdsForGroup(g)]\n"
        "print(sum(tracker.getJobInfo(j).get().status().toString() == 'RUNNING' for j in found))"
    )
    return int(driver.run(code).text)


def serving_threads(driver):
    code = (
        "threads = spark.sparkContext._jvm.java.lang.Thread.getAllStackTraces().keySet().toString()\n"
        "print(threads.count('serve toLocalIterator'))"
    )
    return int(driver.run(code).text)


def test_all_rows_though_the_statement_showed_some(driver):
    shown = driver.run("select id from range(0, 50000, 1, 4)", "sql")
    assert shown.header["rows_cut"] == 5
    data, ended = whole(driver.fetch(driver.next_statement - 1))
    assert ended == {"status": "ok", "rows": 50_000}
    assert data.endswith(END_OF_STREAM) and len(data) > 400_000


def test_limit_order_and_nothing(driver):
    assert result(driver, "select id from range(100) order by id desc", 7)[1] == {"status": "ok", "rows": 7}
    assert result(driver, "select id from range(100)", 0)[1] == {"status": "ok", "rows": 0}
    data, ended = result(driver, "select 1 as one where false")
    assert ended == {"status": "ok", "rows": 0} and b"one" in data and data.endswith(END_OF_STREAM)


def test_a_command_is_not_run_again(driver):
    driver.run("create table counted (n int) using parquet", "sql")
    _data, ended = result(driver, "insert into counted values (1)")
    assert ended == {"status": "ok", "rows": 0}, ended
    assert result(driver, "select count(*) from counted")[1]["rows"] == 1
    counted = driver.run("select count(*) as n from counted", "sql")
    assert counted.output["data"]["application/json"]["data"] == [[1]]
    assert result(driver, "show tables like 'counted'")[1]["rows"] == 1
    driver.run("drop table counted", "sql")


def test_names_are_those_of_the_statement(driver):
    driver.run("create or replace temporary view named as select id from range(3)", "sql")
    number = driver.submit("select * from named", "sql")
    driver.result(number)
    driver.run("create or replace temporary view named as select id from range(9)", "sql")
    assert whole(driver.fetch(number))[1]["rows"] == 3


def test_what_is_not_kept(driver):
    number = driver.submit("select 1", "sql")
    driver.result(number)
    for _ in range(3):
        driver.run("select 2", "sql")
    ended = whole(driver.fetch(number))[1]
    assert ended["status"] == "gone" and "result.kept" in ended["error"]
    failed = driver.submit("select nothing", "sql")
    driver.result(failed)
    assert whole(driver.fetch(failed))[1]["status"] == "gone"


def test_what_spark_can_not_compute(driver):
    query = "select if(id < 99999, id, raise_error('no more')) as n from range(0, 100000, 1, 1)"
    data, ended = result(driver, query)
    assert ended["status"] == "failed" and "no more" in ended["error"], ended
    assert data == b""


def test_a_result_that_was_too_large_to_show(own_driver):
    driver = own_driver(output_max_bytes=20_000)
    number = driver.submit("select repeat('x', 1000) from range(100)", "sql")
    assert driver.result(number).output["ename"] == "ResultTooLarge"
    assert whole(driver.fetch(number))[1] == {"status": "ok", "rows": 100}


def test_limits(own_driver):
    driver = own_driver(result_max_rows=25_000, result_max_bytes=300_000)
    assert result(driver, "select id from range(0, 25000, 1, 2)")[1]["rows"] == 25_000
    ended = result(driver, "select id from range(0, 60000, 1, 2)")[1]
    assert ended["status"] == "too_large" and "25000 rows (result.max_rows)" in ended["error"]
    ended = result(driver, "select repeat('x', 100) from range(0, 20000, 1, 2)")[1]
    assert ended["status"] == "too_large" and "(result.max_bytes)" in ended["error"]
    driver.wait_until(lambda: jobs_of_results(driver) == 0)


def descriptors(driver):
    return len(list(Path(f"/proc/{driver.agent_pid()}/fd").iterdir()))


def threads(driver):
    return len(list(Path(f"/proc/{driver.agent_pid()}/task").iterdir()))


def test_abandoned_and_slow(driver):
    """A result that nobody reads stands in nobody's way; one that is left is over, with all that it had."""
    number = driver.submit("select id, repeat('x', 1000) as x from range(0, 1000000, 1, 50)", "sql")
    driver.result(number)
    before = descriptors(driver), threads(driver)
    slow = driver.fetch(number)
    assert piece(slow)
    assert driver.run("print(6 * 7)").text == "42"
    waits = driver.submit("import time\ntime.sleep(60)")
    driver.started(waits)
    driver.cancel(waits)
    assert driver.result(waits).state == "cancelled"
    slow.shutdown(socket.SHUT_RDWR)
    slow.close()
    driver.wait_until(lambda: (descriptors(driver), threads(driver)) <= before)
    driver.wait_until(lambda: jobs_of_results(driver) == serving_threads(driver) == 0)
    assert result(driver, "select 1")[1]["rows"] == 1


def test_left_while_spark_computes(driver):
    """Nothing has come yet when the server leaves: the job ends at once."""
    sleeps = "if(id < 9, 'a', reflect('java.lang.Thread', 'sleep', 600000L))"
    number = driver.submit(f"select {sleeps} as s from range(0, 20, 1, 1)", "sql")
    assert driver.result(number).header["rows_cut"] == 5
    end = driver.fetch(number)
    driver.wait_until(lambda: jobs_of_results(driver) == 1)
    end.shutdown(socket.SHUT_RDWR)
    end.close()
    driver.wait_until(lambda: jobs_of_results(driver) == serving_threads(driver) == 0)
