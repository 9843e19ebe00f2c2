"""Programmatic jobs on the link: numbers below 0, pickled functions in, pickled results out."""

import base64
import pickle
import time
from pathlib import Path

import cloudpickle
from driven import Result


class Jobs:
    """Jobs of a driver that other jobs may have been sent to."""

    def __init__(self, driver):
        self.driver = driver

    def send(self, body):
        taken = [header["id"] for header, _body in self.driver.frames if header["type"] == "result"]
        number = min([0, *taken]) - 1
        self.driver.send({"type": "run", "id": number, "kind": "pyspark"}, body)
        return number

    def submit(self, function):
        return self.send(base64.b64encode(cloudpickle.dumps(function)))

    def outcome(self, number):
        return Result(*self.driver.wait("result", 60, id=number))

    def run(self, function):
        output = self.outcome(self.submit(function)).output
        assert output["status"] == "ok", output
        return pickle.loads(base64.b64decode(base64.b64decode(output["result"])))

    def failure(self, function):
        output = self.outcome(self.submit(function)).output
        assert output["status"] == "error", output
        return output


def test_a_function_gets_the_context_and_its_value_comes_back(driver):
    factor = 3

    def job(context):
        rows = context.sc.parallelize(range(4), 2).map(lambda value: value * factor).sum()
        return rows, context.spark_session.range(5).count(), context.sql_ctx is not None

    assert Jobs(driver).run(job) == (18, 5, True)


def test_names_of_the_context(driver):
    def job(context):
        from pathlib import Path

        path = context.local_tmp_dir_path
        Path(path, "kept").write_text("here")
        return path, sorted(name for name in dir(context) if not name.startswith("_"))

    path, names = Jobs(driver).run(job)
    assert path.startswith(str(driver.dir))
    assert names == [
        "create_streaming_ctx",
        "get_shared_object",
        "hive_ctx",
        "local_tmp_dir_path",
        "remove_shared_object",
        "sc",
        "set_shared_object",
        "spark_session",
        "sql_ctx",
        "stop_streaming_ctx",
        "streaming_ctx",
    ]
    assert Jobs(driver).run(lambda context: Path(context.local_tmp_dir_path, "kept").read_text()) == "here"


def test_streaming_contexts_leave_the_spark_context_alone(driver):
    def job(context):
        try:
            before = context.streaming_ctx
        except ValueError as error:
            before = str(error)
        context.create_streaming_ctx(1)
        made = type(context.streaming_ctx).__name__
        context.stop_streaming_ctx()
        return before, made, context.sc.parallelize([1, 2]).count()

    made = ("create_streaming_ctx function should be called first", "StreamingContext", 2)
    assert Jobs(driver).run(job) == made


def test_shared_objects_outlive_a_job_and_the_hundred_and_first_goes(driver):
    jobs = Jobs(driver)

    def fill(context):
        for number in range(100):
            context.set_shared_object(f"object-{number}", number)
        context.get_shared_object("object-0")
        context.set_shared_object("object-100", 100)

    assert jobs.run(fill) is None
    names = ["object-0", "object-1", "object-100"]
    assert jobs.run(lambda context: [context.get_shared_object(name) for name in names]) == [0, None, 100]
    jobs.run(lambda context: context.remove_shared_object("object-0"))
    assert jobs.run(lambda context: context.get_shared_object("object-0")) is None


def test_cells_and_jobs_share_the_process(driver):
    driver.run("import sys\nsys.shared_by_a_cell = [1]")

    def job(context):
        import sys

        sys.shared_by_a_cell.append(2)

    Jobs(driver).run(job)
    assert driver.run("sys.shared_by_a_cell").text == "[1, 2]"


def test_a_job_that_raises(driver):
    def inner():
        raise KeyError("nothing here")

    def job(context):
        try:
            inner()
        except KeyError as error:
            raise ValueError("no value") from error

    failure = Jobs(driver).failure(job)
    assert (failure["ename"], failure["evalue"]) == ("ValueError", "no value")
    text = "".join(failure["traceback"])
    assert text.startswith("Traceback (most recent call last):\n")
    assert "KeyError: 'nothing here'" in text and "in inner" in text and "in job" in text
    assert text.endswith("ValueError: no value\n")
    assert "firesteel_agent" not in text


def test_what_is_no_pickle_or_has_no_pickle(driver):
    jobs = Jobs(driver)
    bad = jobs.outcome(jobs.send(base64.b64encode(b"no pickle"))).output
    assert (bad["status"], bad["ename"]) == ("error", "UnpicklingError")
    assert jobs.failure(lambda context: context.sc)["status"] == "error"
    assert jobs.failure(lambda: None)["ename"] == "TypeError"
    assert jobs.failure(lambda context: __import__("sys").exit(3))["ename"] == "SystemExit"
    assert driver.run("1 + 1").text == "2"


def test_what_a_job_prints_is_in_the_log_and_nowhere_else(driver):
    def job(context):
        print("printed by a job")

    assert Jobs(driver).run(job) is None
    driver.wait_log("printed by a job")
    assert driver.run("2").text == "2"


def test_a_result_over_the_limit(driver):
    limit = driver.limit
    jobs = Jobs(driver)
    assert len(jobs.run(lambda context: bytes(limit - 100))) == limit - 100
    failure = jobs.failure(lambda context: bytes(limit))
    assert failure["ename"] == "ResultTooLarge" and "output.max_bytes" in failure["evalue"]


def test_a_cancelled_job_stops_and_a_job_of_the_same_number_never_runs_again(driver):
    jobs = Jobs(driver)

    def job(context):
        context.set_shared_object("begun", context.get_shared_object("begun") or 0)
        context.set_shared_object("begun", context.get_shared_object("begun") + 1)
        print("a job has begun")
        time.sleep(60)

    number = jobs.submit(job)
    driver.started(number)
    driver.wait_log("a job has begun")
    driver.cancel(number)
    result = jobs.outcome(number)
    assert (result.state, result.output) == ("cancelled", None)
    driver.send({"type": "run", "id": number, "kind": "pyspark"}, b"again")
    assert jobs.run(lambda context: context.get_shared_object("begun")) == 1
    assert [header.get("id") for header, _body in driver.frames].count(
        number
    ) == 2  # Started, and its result.


def test_a_job_that_does_not_heed_the_interrupt_costs_the_interpreter(driver):
    jobs = Jobs(driver)

    def job(context):
        while True:
            try:
                print("a deaf job has begun")
                time.sleep(60)
            except KeyboardInterrupt:
                continue

    number = jobs.submit(job)
    driver.wait_log("a deaf job has begun")
    driver.cancel(number)
    assert jobs.outcome(number).state == "cancelled"
    assert any(notice.startswith(f"Job {-number}: ") for notice in driver.notices())
    assert jobs.run(lambda context: context.sc.parallelize([1]).count()) == 1


def test_a_pickled_class_comes_back_under_the_names_that_a_client_has(driver):
    def job(context):
        class Point:
            def __init__(self, x):
                self.x = x

        return Point(7)

    assert Jobs(driver).run(job).x == 7


def test_spark_jobs_are_in_the_jobs_group(driver):
    assert (
        Jobs(driver)
        .run(lambda context: context.sc.getLocalProperty("spark.jobGroup.id"))
        .startswith("firesteel-job-")
    )
