"""The server dies while statements run, and comes back as another one, late, or never."""

import os
import signal
import time

import pytest

KEEP = 100_000
MOST = 400_000

DRIVER = {"keep_bytes": KEEP, "outbox_bytes": MOST}
"""Little room for what the server does not take."""


def results(driver, since=0):
    return [header["id"] for header, _body in driver.frames[since:] if header["type"] == "result"]


def readies(driver):
    return [header for header, _body in driver.frames if header["type"] == "ready"]


def wait_empty(driver):
    driver.wait_until(lambda: not driver.outbox.exists() or driver.outbox.stat().st_size == 0)


def test_prints_made_while_the_server_is_away_are_in_the_result(driver):
    """The statement goes on; the next server is told that it runs, and gets its whole output."""
    told = len(readies(driver))
    number = driver.submit("import time\nfor n in range(12):\n    print(n)\n    time.sleep(0.1)\n'the value'")
    driver.started(number)
    driver.go_away()
    time.sleep(0.4)
    driver.come_back()
    # As the real server does: it does not know whether the driver had it.
    driver.send({"type": "run", "id": number, "kind": "pyspark"}, b"print('twice')")
    driver.wait_until(lambda: len(readies(driver)) > told)
    assert (readies(driver)[-1]["last_run"], readies(driver)[-1]["running"]) == (number, number)
    assert driver.result(number).text == "\n".join(map(str, range(12))) + "\n'the value'"
    assert driver.run("1 + 1").text == "2"
    assert results(driver).count(number) == 1


def test_a_statement_that_ends_while_the_server_is_away_waits_in_the_file(driver):
    told = len(readies(driver))
    number = driver.submit("import time\nprint('before')\ntime.sleep(0.5)\nprint('after')")
    driver.started(number)
    driver.go_away()
    driver.wait_until(lambda: any(header["type"] == "result" for header, _body in driver.kept()[0]))
    header, body = driver.kept()[0][-1]
    assert (header["id"], header["state"]) == (number, "available") and b"before\\nafter" in body
    driver.come_back()
    assert driver.result(number).text == "before\nafter"
    driver.wait_until(lambda: len(readies(driver)) > told)
    ready = readies(driver)[-1]
    assert (ready["last_run"], ready["running"]) == (number, None)
    assert ready["app_id"] == readies(driver)[0]["app_id"] and ready["python_version"]
    wait_empty(driver)
    # An end that was asked for before the server died is of no use any more.
    driver.cancel(number)
    assert driver.run("'next'").text == "'next'"


def test_the_same_server_needs_no_second_ready(driver):
    told, connections = len(readies(driver)), driver.connections
    driver.cut()
    driver.wait_until(lambda: driver.connections > connections)
    assert driver.run("'here'").text == "'here'"
    assert len(readies(driver)) == told


def test_an_older_server_is_refused(driver):
    epoch, connections = driver.epoch, driver.connections
    number = driver.submit("import time\ntime.sleep(0.3)\n'for the newer one'")
    driver.started(number)
    driver.go_away()
    driver.come_back(epoch=epoch - 1)
    driver.wait_log(f"a server of epoch {epoch - 1} called, after one of epoch {epoch}")
    assert driver.connections == connections
    driver.go_away()
    driver.come_back(epoch=epoch + 1)
    assert driver.result(number).text == "'for the newer one'"


def test_results_that_are_not_acknowledged_spill_and_come_again_in_order(driver):
    """Three servers: none but the last takes anything. Each gets all results, in order, whole."""
    driver.hold_acks = True
    sizes = [50_000, 70_000, 60_000, 80_000]
    numbers = [driver.submit("'x' * 50_000")]
    for size in sizes[1:]:
        numbers.append(driver.submit_after(numbers[-1], f"'x' * {size}"))
    driver.wait_until(lambda: driver.outbox.exists() and len(driver.kept()[0]) > 0)
    for _server in range(2):
        since = len(driver.frames)
        driver.go_away()
        driver.wait_until(lambda: [h["id"] for h, _b in driver.kept()[0] if h["type"] == "result"] == numbers)
        driver.come_back()
        driver.wait_until(lambda since=since: results(driver, since) == numbers)
    assert [len(driver.result(number).text) for number in numbers] == [size + 2 for size in sizes]
    driver.wait_until(lambda: driver.frames[-1][0]["type"] == "ready")
    seqs = [header["seq"] for header, _body in driver.frames[since:]]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    driver.ack()
    wait_empty(driver)


def test_beyond_the_bound_outputs_are_cut_and_states_stay(driver):
    driver.hold_acks = True
    numbers = [driver.submit("'z' * 90_000")]
    for _ in range(7):
        numbers.append(driver.submit_after(numbers[-1], "'z' * 90_000"))
    found = [driver.result(number) for number in numbers]
    assert [result.state for result in found] == ["available"] * 8
    assert [result.output["status"] for result in found] == ["ok"] * 4 + ["error"] * 4
    assert found[-1].output["ename"] == "ResultTooLarge" and "link.outbox_bytes" in found[-1].output["evalue"]
    assert driver.outbox.stat().st_size <= MOST
    driver.ack()
    wait_empty(driver)
    assert len(driver.run("'z' * 90_000").text) == 90_002


def test_a_completion_asked_by_an_older_server_is_not_answered_to_the_next(driver):
    """Its number may be that of another question by then."""
    driver.run("number = 1")
    interpreter = driver.interpreter_pid()
    os.kill(interpreter, signal.SIGSTOP)
    driver.send({"type": "complete", "request": "7", "kind": "pyspark", "cursor": 4}, b"impo")
    driver.wait_until(lambda: not driver.unacked)
    driver.go_away()
    driver.come_back()
    since = len(driver.frames)
    driver.send({"type": "complete", "request": "7", "kind": "pyspark", "cursor": 4}, b"numb")
    driver.wait_until(lambda: not driver.unacked)
    os.kill(interpreter, signal.SIGCONT)
    assert driver.run("'served'").text == "'served'"
    driver.complete("numb")
    answers = [body for header, body in driver.frames[since:] if header["type"] == "completion"]
    assert answers == [b'["number"]'] * 2


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM"])
def test_a_driver_that_dies_while_the_server_is_away_leaves_its_results(own_driver, end):
    """In the file, whole, for the server that finds the driver dead."""
    started = own_driver(keep_bytes=KEEP)
    agent = started.agent_pid()
    started.run("1")
    started.refuse_connections = True
    number = started.submit("import time\ntime.sleep(0.5)\nprint('x' * 200_000)")
    started.started(number)
    started.go_away()
    started.wait_until(lambda: any(header["type"] == "result" for header, _body in started.kept()[0]))
    os.kill(agent if end == "SIGKILL" else started.process.pid, signal.Signals[end])
    started.process.wait(20)
    started.wait_until(lambda: not started.processes(), 10)
    frames, size = started.kept()
    assert size == started.outbox.stat().st_size
    header, body = next(frame for frame in frames if frame[0]["type"] == "result")
    assert header["id"] == number and len(body) > 200_000
    assert started.outbox.stat().st_mode & 0o777 == 0o600


def test_orphans_end_once_they_are_idle(own_driver):
    """The grace is shorter than the statement: it counts from the statement's end."""
    started = own_driver(orphan_grace_ms=1500)
    started.ready()
    number = started.submit("import time\ntime.sleep(3)\n'done'")
    started.started(number)
    started.go_away()
    started.wait_until(lambda: any(header["type"] == "result" for header, _body in started.kept()[0]))
    ended = time.monotonic()
    assert started.process.poll() is None
    assert started.process.wait(20) == 0
    assert time.monotonic() - ended > 1.3
    result, told = (header for header, _body in started.kept()[0][-2:])
    assert result["id"] == number and told["type"] == "failed" and "No server came" in told["reason"]


def test_a_driver_that_never_had_a_server_ends(own_driver):
    started = own_driver(kind="sql", orphan_grace_ms=1000, socket="/no/such/socket")
    assert started.process.wait(30) == 0
    assert started.kept()[0][-1][0]["reason"].startswith("No server came for 1 s")
