"""What a real Livy answered, exchange by exchange, and what this server answers to the same requests.

`golden.json` holds exchanges with Apache Livy 0.10 on Spark 3.5.9 in the order in which they were played. The
same requests are played here, with this server's ids in place of Livy's. Status, content type, Location,
keys, types and values must be equal, but for what differs from run to run and for the two tables below.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

import pytest
from harness.api import Api, Session
from harness.processes import wait_until
from harness.server import ELSEWHERE, Server
from harness.spark import Spark, sparks

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())
BY_NAME = {exchange["name"]: exchange for exchange in GOLDEN}
# Livy's ids in golden.json: the session that lives, the one whose driver never starts, the batches.
LIVING, DYING = 10, 12
BATCH, FAILING_BATCH = 3, 5
BATCH_SECONDS = 60
IN_CLUSTER = ELSEWHERE is not None and ELSEWHERE["settings"].get("spark.deploy_mode") == "cluster"
STATEMENT_STATES = ("waiting", "running", "available")
# What $FILES holds, the directory that Livy's player had on the allow-list.
APPLICATIONS = {
    "ok.py": "from pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate().range(3).show()\n",
    "bad.py": "from pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate()\n1 / 0\n",
}


class Answer(NamedTuple):
    """What this server answered."""

    status: int
    content_type: str
    location: str | None
    allow: str | None
    truncated: str | None
    body: Any
    text: str


class Player:
    """Plays golden.json's requests against a server and keeps the answers by name."""

    def __init__(self, api: Api, files: Path):
        self.api = api
        self.files = files
        self.answers: dict[str, Answer] = {}
        self.sessions: dict[int, int] = {}
        self.batches: dict[int, int] = {}
        self.statements: dict[int, int] = {}

    def path(self, path: str) -> str:
        """Livy's path with this server's ids."""
        for kind, ids in (("sessions", self.sessions), ("batches", self.batches)):
            found = re.match(rf"/{kind}/(\d+)(?=/|$)", path)
            if found and int(found[1]) in ids:
                path = f"/{kind}/{ids[int(found[1])]}" + path[found.end() :]
        found = re.search(r"/statements/(\d+)", path)
        if found and int(found[1]) in self.statements:
            path = path.replace(found[0], f"/statements/{self.statements[int(found[1])]}")
        return path

    def play(self) -> dict[str, Answer]:
        """Every exchange in its order, waiting where Livy's player waited."""
        for exchange in GOLDEN:
            self.before(exchange["name"])
            self.exchange(exchange)
        return self.answers

    def before(self, name: str) -> None:
        """Wait for what the next exchange is to see."""
        if name == "state-idle":
            session = self.session(LIVING)
            session.wait("idle")
            # Answered 201 here, and the first to run.
            session.wait_statement(self.answers["statement-while-starting"].body["id"])
            session.wait("idle")
        elif name == "long-running":
            self.session(LIVING).wait_statement(self.answers["long:post"].body["id"], "running")
        elif name == "cancelled":
            self.session(LIVING).wait_statement(self.answers["long:post"].body["id"])
        elif name == "dead":
            self.session(DYING).wait("dead", "error", "killed")
        elif name == "batch-done":
            self.wait_batch(BATCH, "success")
        elif name == "batch-failed":
            self.wait_batch(FAILING_BATCH, "dead")
        elif name + ":post" in self.answers and self.answers[name + ":post"].status == 201:
            self.session(LIVING).wait_statement(self.answers[name + ":post"].body["id"])

    def session(self, livys: int) -> Session:
        """One of the two sessions."""
        return Session(self.api, {"id": self.sessions[livys]})

    def wait_batch(self, livys: int, state: str) -> None:
        """Until a batch has ended, like this."""
        path = f"/batches/{self.batches[livys]}/state"

        def ended() -> bool:
            now = self.api.get(path).json()["state"]
            assert now in ("starting", "running", state), now
            return now == state

        wait_until(f"the batch is {state}", ended, BATCH_SECONDS)

    def exchange(self, exchange: dict) -> None:
        """One request."""
        request = exchange["request"]
        more = {"data": request["raw"]} if "raw" in request else {}
        wanted = json.loads(json.dumps(request.get("body")).replace("$FILES", str(self.files)))
        answer = self.api.request(
            request["method"],
            self.path(request["path"]),
            wanted,
            headers=request.get("headers"),
            **more,
        )
        try:
            body = json.loads(answer.text, parse_float=Decimal)
        except ValueError:
            body = answer.text
        told = answer.headers
        self.answers[exchange["name"]] = Answer(
            answer.status_code,
            told.get("Content-Type", ""),
            told.get("Location"),
            told.get("Allow"),
            told.get("X-Firesteel-Truncated"),
            body,
            answer.text,
        )
        made = re.match(
            r"/(sessions|batches)/(\d+)(?:/statements/(\d+))?$", exchange["response"].get("location") or ""
        )
        if made and answer.status_code == 201:
            if made[3]:
                self.statements[int(made[3])] = body["id"]
            else:
                ids = self.sessions if made[1] == "sessions" else self.batches
                ids[int(made[2])] = body["id"]


@pytest.fixture(scope="module", params=sparks(), ids=lambda spark: f"spark-{spark.short}")
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Spark, Player]]:
    """All exchanges, once for each Spark."""
    spark = request.param
    files = tmp_path_factory.mktemp("files")
    for name, text in APPLICATIONS.items():
        (files / name).write_text(text)
    server = Server({**spark.settings, "spark.master": "local[2]", "files.allow": [str(files)]})
    try:
        player = Player(server.api, files)
        player.play()
        yield spark, player
    finally:
        server.stop()


# ---- What differs from run to run, and between Sparks


def same_type(theirs: Any, ours: Any) -> str:
    """Both numbers, both texts, or either null: for values of the moment."""
    kinds = {type(value).__name__ for value in (theirs, ours) if value is not None}
    return "of one type" if len(kinds) <= 1 else f"of the types {sorted(kinds)}"


def compare(theirs: Any, ours: Any, at: str, statement: bool = False) -> None:
    """Equal in keys, types and values but for what is of the moment."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        assert list(theirs) == list(ours) if "id" in theirs else set(theirs) == set(ours), f"keys at {at}"
        statement = statement or {"code", "output"} <= set(theirs)
        for key, value in theirs.items():
            mine, where = ours[key], f"{at}.{key}"
            if key in ("id", "execution_count", "total_statements", "total"):
                assert isinstance(mine, int), where
            elif key in ("started", "completed"):
                assert (mine > 10**12) == (value > 10**12), f"{where}: {mine}"
            elif key in ("appId", "driverLogUrl", "sparkUiUrl", "executorLogUrls"):
                assert mine is None or isinstance(mine, str), where
            elif key == "log":
                assert isinstance(mine, list), where
                assert all(isinstance(line, str) for line in mine), where
            elif key == "progress":
                assert float(mine) == float(value), f"{where}: {mine}, not {value}"
            else:
                compare(value, mine, where, statement)
        if "execution_count" in theirs and statement:
            assert isinstance(ours["execution_count"], int)
    elif isinstance(theirs, list) and isinstance(ours, list):
        assert len(theirs) == len(ours), f"{at}: {ours}, not {theirs}"
        for index, (value, mine) in enumerate(zip(theirs, ours)):
            compare(value, mine, f"{at}[{index}]", statement)
    elif isinstance(theirs, float) and isinstance(ours, Decimal):
        assert theirs == float(ours), at
    else:
        assert type(theirs) is type(ours), f"{at}: {ours!r} is not of the type of {theirs!r}"
        assert theirs == ours, f"{at}: {ours!r}, not {theirs!r}"


def media(content_type: str) -> str:
    """A content type without its spaces and capitals."""
    return content_type.replace(" ", "").lower()


# ---- The exchanges in which the texts are Jackson's, Spark's or Java's own: their form counts

Check = Callable[[Any, Answer, str], None]


def bare_string(theirs: Any, ours: Answer, _spark: str) -> None:
    """One JSON string, not an object, that is a sentence and no stack trace."""
    assert isinstance(theirs, str)
    assert isinstance(ours.body, str), ours.text
    assert ours.text.startswith('"'), ours.text
    assert ours.body, "it says nothing"
    assert "\tat " not in ours.body, "a stack trace"


def bare_string_with(words: str) -> Check:
    """A bare string that begins with these words."""

    def check(theirs: Any, ours: Answer, spark: str) -> None:
        bare_string(theirs, ours, spark)
        assert ours.body.startswith(words), ours.body

    return check


def object_with(pattern: str) -> Check:
    """`{"msg": …}` with a text like this."""

    def check(_theirs: Any, ours: Answer, _spark: str) -> None:
        assert set(ours.body) == {"msg"}, ours.text
        assert re.fullmatch(pattern, ours.body["msg"]), ours.body["msg"]

    return check


def spark_error(words: str, frames: bool) -> Check:
    """A statement whose error is Spark's: the text's beginning counts, and the form of the traceback."""

    def check(theirs: Any, ours: Answer, spark: str) -> None:
        output, golden = ours.body["output"], theirs["output"]
        assert {key: ours.body[key] for key in ("code", "state")} == {
            key: theirs[key] for key in ("code", "state")
        }
        assert list(output) == list(golden)
        assert output["status"] == "error"
        assert output["ename"] == golden["ename"]
        assert output["evalue"].startswith(words), output["evalue"]
        if spark == "3.5":
            assert output["evalue"] == golden["evalue"]
        assert all(isinstance(line, str) for line in output["traceback"])
        if frames:
            assert output["traceback"][0] == golden["traceback"][0]
            assert words in output["traceback"][-1]

    return check


def scala_error(words: str) -> Check:
    """Livy's error; line numbers and counts of frames are not its own. Scala 2.13 words errors otherwise."""

    def check(theirs: Any, ours: Answer, spark: str) -> None:
        golden, output = theirs["output"], ours.body["output"]
        assert (output["status"], output["ename"]) == ("error", golden["ename"])
        assert words in output["evalue"]
        assert all(line.endswith("\n") for line in output["traceback"])
        if spark == "3.5":
            told = [output["evalue"], *output["traceback"]]
            livys = [golden["evalue"], *golden["traceback"]]
            assert [re.sub(r"\d+", "N", line) for line in told] == [
                re.sub(r"\d+", "N", line) for line in livys
            ]

    return check


def scala_echo(newer: str) -> Check:
    """Livy's text with Scala 2.12; Scala 2.13 says the same in other words."""

    def check(theirs: Any, ours: Answer, spark: str) -> None:
        data = theirs["output"]["data"] if spark == "3.5" else {"text/plain": newer}
        assert ours.body["output"]["data"] == data

    return check


def log_page(lines: int, start: int | None) -> Check:
    """A page of the log: as many lines, from there; a living log begins with `stdout: `."""

    def check(theirs: Any, ours: Answer, _spark: str) -> None:
        assert list(ours.body) == list(theirs)
        total = ours.body["total"]
        assert len(ours.body["log"]) == min(lines, total)
        assert ours.body["from"] == (max(total - lines, 0) if start is None else start)
        if start == 0:
            assert ours.body["log"][0] == "stdout: "

    return check


def page(ids: list[int] | None) -> Check:
    """A page of statements: these ids, or the last one."""

    def check(theirs: Any, ours: Answer, _spark: str) -> None:
        assert list(ours.body) == list(theirs)
        found = [statement["id"] for statement in ours.body["statements"]]
        assert found == (ids if ids is not None else [ours.body["total_statements"] - 1])
        for statement in ours.body["statements"]:
            assert list(statement) == list(BY_NAME["expr"]["response"]["body"])

    return check


def dead(theirs: Any, ours: Answer, spark: str) -> None:
    """Livy's object; the log holds what the JVM said and is framed by the sentence of diagnosis."""
    compare(theirs, ours.body, "dead")
    dead_log({"log": theirs["log"]}, ours, spark)


def dead_log(theirs: Any, ours: Answer, _spark: str) -> None:
    """The JVM's own words are there, and one sentence stands first and last."""
    log = ours.body["log"]
    assert "memory" in log[-1], log[-1]
    if IN_CLUSTER:
        return  # YARN refuses it, and its client says more.
    assert log[0] == log[-1], log
    if "total" in ours.body:
        assert "stdout: " in log
        assert all(any(line in mine for mine in log) for line in theirs["log"][1:3]), log


def young_batch(theirs: Any, ours: Answer, _spark: str) -> None:
    """Livy's object; whether the driver is launched already is of the moment."""
    assert ours.body["state"] in ("starting", "running")
    compare(theirs, {**ours.body, "state": theirs["state"]}, "batch")


def ended_batch(theirs: Any, ours: Answer, _spark: str) -> None:
    """Livy's object, with the exit code in appInfo; a failure is told in the log's last line."""
    mine = json.loads(json.dumps(ours.body))
    if IN_CLUSTER:
        # What Livy has there too, and no exit code, which YARN does not tell.
        assert mine["appId"].startswith("application_")
        mine.update(appId=None, appInfo=dict.fromkeys(mine["appInfo"]))
        compare(theirs, mine, "batch")
        failed = "The application failed: ZeroDivisionError: division by zero"
        assert theirs["state"] == "success" or mine["log"][-1] == failed
        return
    code = mine["appInfo"].pop("exitCode")
    compare(theirs, mine, "batch")
    if theirs["state"] == "success":
        assert code == "0"
    else:
        assert code == "1"
        told = "The application ended with exit code 1: ZeroDivisionError: division by zero"
        assert mine["log"][-1] == told


def batch_log(theirs: Any, ours: Answer, _spark: str) -> None:
    """The first page."""
    assert list(ours.body) == list(theirs)
    assert ours.body["from"] == 0
    assert len(ours.body["log"]) == len(theirs["log"])
    assert ours.body["log"][:2] == ["stdout: ", "+---+"]
    assert ours.body["total"] > len(ours.body["log"])


FORM: dict[str, Check] = {
    "batch-bad-type": bare_string,
    "batch-duplicate-name": object_with(
        r"Rejected, Reason: Duplicate session name: Some\(golden-batch\) for session \d+"
    ),
    "batch": young_batch,
    "batch-starting": young_batch,
    "batch-fail": young_batch,
    "batch-done": ended_batch,
    "batch-by-name": ended_batch,
    "batch-failed": ended_batch,
    "batch-log": batch_log,
    "batch-get-deleted": object_with(r"Session '\d+' not found\."),
    "create-bad-json": bare_string,
    "create-not-object": bare_string,
    "create-empty-body": bare_string_with("No content"),
    "create-bad-kind": bare_string_with("Invalid kind: cobol"),
    "create-text-plain": bare_string_with("Invalid kind: cobol"),
    "create-bad-conf": bare_string,
    "statement-bad-json": bare_string,
    "create-duplicate-name": object_with(
        r"Rejected, Reason: Duplicate session name: Some\(golden\) for session \d+"
    ),
    "analysis-error": spark_error(
        "[TABLE_OR_VIEW_NOT_FOUND] The table or view `no_such_table` cannot", frames=True
    ),
    "sql-error": spark_error(
        "[TABLE_OR_VIEW_NOT_FOUND] The table or view `nowhere` cannot be found.", frames=False
    ),
    "scala-val": scala_echo("val a: Int = 1\n"),
    "scala-expr": scala_echo("val res0: Int = 2\n"),
    "scala-multi": scala_echo("def dbl(i: Int): Int\nval res3: Int = 8\n"),
    "scala-type-error": scala_error("type mismatch;"),
    "scala-exception": scala_error("java.lang.ArithmeticException: / by zero"),
    "get-deleted": object_with(r"Session '\d+' not found\."),
    "log": log_page(2, 0),
    "log-neg": log_page(1, None),
    "log-default": log_page(100, None),
    "statements-from-size": page([1, 2]),
    "statements-order-desc": page(None),
    "statements-size-0": page([]),
    "dead": dead,
    "dead-log": dead_log,
}

# ---- Where this server answers better on purpose

Better = Callable[[Answer, Player], None]


def health(answer: Answer, _player: Player) -> None:
    """Livy has no such route; load balancers ask for it."""
    assert answer.status == 200


def method_not_allowed(answer: Answer, _player: Player) -> None:
    """Livy sends bytes that are not JSON."""
    assert answer.status == 405
    assert set(answer.body) == {"msg"}
    assert {"GET", "POST", "HEAD"} <= set(re.split(r",\s*", answer.allow or ""))


def mistake(answer: Answer, _player: Player) -> None:
    """A client's mistake is no 500: 400 and one sentence."""
    assert answer.status == 400
    text = answer.body["msg"] if isinstance(answer.body, dict) else answer.body
    assert text
    assert "\n" not in text, "one sentence, not a stack trace"
    assert "java." not in text


def no_job(answer: Answer, _player: Player) -> None:
    """Livy answers 500 with Java's exception."""
    assert (answer.status, answer.body) == (404, {"msg": "Job 77 not found."})


def accepted_while_starting(answer: Answer, player: Player) -> None:
    """Livy answers 500; here the statement waits for the session and then runs."""
    assert answer.status == 201
    assert answer.body["state"] == "waiting"
    assert answer.body["output"] is None
    assert answer.location == f"/sessions/{player.sessions[LIVING]}/statements/{answer.body['id']}"


def r_runs(answer: Answer, _player: Player) -> None:
    """Livy needs SparkR for R; here it runs without."""
    assert answer.body["output"]["data"] == {"text/plain": "[1] 2"}


def json_magic_undefined(answer: Answer, _player: Player) -> None:
    """Livy answers `ok` with an error inside."""
    output = answer.body["output"]
    assert (output["status"], output["ename"]) == ("error", "NameError")
    assert "nope" in output["evalue"]


def sql_kind(answer: Answer, _player: Player) -> None:
    """Livy's schema and values, but decimals keep their digits and structs are objects."""
    theirs = json.loads(json.dumps(BY_NAME["sql-kind"]["response"]["body"]))
    table = theirs["output"]["data"]["application/json"]
    for row in table["data"]:
        row[8] = {"x": 1}
        row[9] = 1.5
    assert answer.status == 200
    compare(theirs, answer.body, "sql-kind")
    digits = [str(row[9]) for row in answer.body["output"]["data"]["application/json"]["data"]]
    assert digits == ["1.50"] * 3


def sql_multi_rows(answer: Answer, player: Player) -> None:
    """Cut at the row limit as in Livy, and told in a header, on the statement's POST or GET."""
    table = answer.body["output"]["data"]["application/json"]
    assert table["data"] == [[number] for number in range(1000)]
    assert (
        table["schema"]
        == BY_NAME["sql-multi-rows"]["response"]["body"]["output"]["data"]["application/json"]["schema"]
    )
    assert answer.truncated
    assert player.answers["expr"].truncated is None


def completion(answer: Answer, _player: Player) -> None:
    """Livy knows none for Python."""
    assert answer.status == 200
    assert list(answer.body) == ["candidates"]
    assert any("range" in candidate for candidate in answer.body["candidates"]), answer.body


def missing_file(answer: Answer, player: Player) -> None:
    """Livy takes it, and the batch fails."""
    mistake(answer, player)
    assert f"{player.files}/none.py" in answer.body["msg"]


def only_batch(answer: Answer, player: Player) -> None:
    """Livy lists the ghosts of what it refused as well."""
    assert answer.status == 200
    assert list(answer.body) == ["from", "total", "sessions"]
    assert [batch["id"] for batch in answer.body["sessions"]] == [player.batches[BATCH]]
    assert (answer.body["from"], answer.body["total"]) == (0, 1)


BETTER: dict[str, Better] = {
    "batch-file-missing": missing_file,
    "batch-list": only_batch,
    "ping": health,
    "healthcheck": health,
    "put-sessions": method_not_allowed,
    "create-bad-type": mistake,
    "bad-stmt-kind:post": mistake,
    "statement-missing-code": mistake,
    "completion-missing": mistake,
    "statement-while-starting": accepted_while_starting,
    "sparkr-kind": r_runs,
    "json-magic-undefined": json_magic_undefined,
    "sql-kind": sql_kind,
    "sql-multi-rows": sql_multi_rows,
    "completion": completion,
    "no-job": no_job,
}


@pytest.mark.parametrize("name", [exchange["name"] for exchange in GOLDEN])
def test_exchange(played: tuple[Spark, Player], name: str) -> None:
    """One exchange."""
    spark, player = played
    golden, answer = BY_NAME[name]["response"], player.answers[name]
    if name in BETTER:
        BETTER[name](answer, player)
        return
    assert answer.status == golden["status"], answer.text
    assert media(answer.content_type) == media(golden["content_type"])
    if "location" in golden:
        assert answer.location == player.path(golden["location"])
    else:
        assert answer.location is None
    if name in FORM:
        FORM[name](golden["body"], answer, spark.short)
    elif name == "dead-statement":
        assert "Session is in state dead" in answer.body
    elif name.endswith(":post"):
        # May be answered with the result, when it was quick.
        assert list(answer.body) == list(golden["body"])
        assert answer.body["code"] == golden["body"]["code"]
        assert answer.body["state"] in STATEMENT_STATES
        assert (answer.body["output"] is not None) == (answer.body["state"] == "available")
    else:
        compare(golden["body"], answer.body, name)


def test_every_exchange_is_played(played: tuple[Spark, Player]) -> None:
    """The tables name exchanges that exist, and all have an answer."""
    assert set(FORM) | set(BETTER) <= set(BY_NAME)
    assert set(played[1].answers) == set(BY_NAME)


def test_statement_numbers(played: tuple[Spark, Player]) -> None:
    """Statements are counted from 0 without gaps, and `execution_count` is the statement's id."""
    _, player = played
    ids = [
        answer.body["id"]
        for name, answer in player.answers.items()
        if name.endswith(":post") and answer.status == 201
    ]
    assert player.answers["statement-while-starting"].body["id"] == 0
    assert ids == list(range(1, len(ids) + 1))
    for name, answer in player.answers.items():
        if isinstance(answer.body, dict) and isinstance(answer.body.get("output"), dict):
            assert answer.body["output"]["execution_count"] == answer.body["id"], name
