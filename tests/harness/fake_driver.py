"""A driver without Spark: the agent itself, with the classes here in place of Spark and of Python.

    python -I -S fake_driver.py [OPTION VALUE]... MAIN_PY RUN_DIR

The package `firesteel_agent` is taken from beside MAIN_PY, so frames, numbering, replay, what is kept, what
runs at most once, and every end are the agent's. A statement's code is one line:

    ledger NONCE                    write `ran` to the ledger, give NONCE
    sleep SECONDS NONCE             the same, SECONDS later; a cancel ends it at once
    ignore-cancel SECONDS NONCE     as `sleep`, but only the grace of a cancel ends it
    print N                         give N characters
    error TEXT                      fail
    die                             SIGKILL to this process
    hang                            answer nobody any more

The ledger is the file that the environment's FAKE_LEDGER names: a line `WHAT TOKEN DRIVER STATEMENT NONCE`
for each `ran` and each `interrupted`, and `up TOKEN DRIVER` when a driver has started. A session's conf may
hold `spark.fake.token` (the TOKEN, `-` without), `spark.fake.start` (seconds until it is ready) and
`spark.fake.fail` (a reason not to start).
"""

import os
import sys
import time
import types
from typing import NamedTuple, Optional

MAIN, RUN_DIR = sys.argv[-2:]
sys.path.insert(0, os.path.dirname(MAIN))  # noqa: PTH120 - pathlib takes as long to import as the rest

from firesteel_agent import supervisor  # noqa: E402
from firesteel_agent.output import dumps, error  # noqa: E402
from firesteel_agent.python_interpreter import now_ms  # noqa: E402

DRIVER = os.environ["FIRESTEEL_DRIVER_ID"]
LEDGER = os.environ["FAKE_LEDGER"]


def conf() -> dict:
    """The session's conf, as far as plain characters go."""
    with open(sys.argv[sys.argv.index("--properties-file") + 1], encoding="ascii") as lines:  # noqa: PTH123
        pairs = (line.rstrip("\n").partition("=") for line in lines)
        return {key: value.encode("ascii").decode("unicode_escape") for key, _, value in pairs}


CONF = conf()
TOKEN = CONF.get("spark.fake.token", "-")


def write_ledger(what: str, *words: object) -> None:
    """One line in one write, which O_APPEND keeps whole beside other drivers'."""
    line = " ".join([what, TOKEN, DRIVER, *map(str, words)]) + "\n"
    ledger = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, line.encode())
    finally:
        os.close(ledger)


class Described(NamedTuple):
    """What `ready` tells."""

    app_id: str
    spark_version: str
    ui_url: Optional[str]


class Spark:
    """A SparkContext that takes as long to start as the conf says, and does nothing."""

    def __init__(self, _port: str, _secret: str):
        pass

    def start(self) -> Described:
        """On a worker, as the real one: the loop goes on meanwhile."""
        time.sleep(float(CONF.get("spark.fake.start", "0")))
        if "spark.fake.fail" in CONF:
            raise RuntimeError(CONF["spark.fake.fail"])
        return Described(f"fake-{DRIVER}", "fake", None)

    def reason_of(self, failure: Exception) -> str:
        """Why it did not start."""
        return str(failure)

    def stop(self) -> None:
        """Nothing to stop."""

    def progress(self, _statement: int) -> None:
        """There are no tasks."""


class Statement:
    """The one that runs."""

    def __init__(self, number: int, nonce: str):
        self.number = number
        self.nonce = nonce
        self.started = now_ms()
        self.timer = None
        self.cancelled = False
        self.deaf = False


class Interpreter:
    """In place of `PythonInterpreter`, with its methods and events."""

    def __init__(self, loop, config, _log, events):
        self._loop = loop
        self._config = config
        self._events = events
        self._statement: Optional[Statement] = None
        self._waiting: Optional[tuple] = None
        self._attached = False

    def start(self) -> None:
        """Nothing to start."""

    def attach(self, _spark, _worker) -> None:
        """The SparkContext is there."""
        self._attached = True
        self._events.attached("fake")
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self.run(*waiting)

    def run(self, number: int, code: bytes) -> None:
        """Run a statement; there must be no other."""
        if not self._attached:
            self._waiting = (number, code)
            return
        command, *words = code.decode().split()
        self._statement = statement = Statement(number, words[-1] if words else "")
        self._events.started(number, statement.started)
        if command == "ledger":
            write_ledger("ran", number, statement.nonce)
            self._end()
        elif command in ("sleep", "ignore-cancel"):
            statement.deaf = command == "ignore-cancel"
            write_ledger("ran", number, statement.nonce)
            statement.timer = self._loop.later(float(words[0]), self._end)
        elif command == "print":
            statement.nonce = "x" * int(words[0])
            self._end()
        elif command == "die":
            os.kill(os.getpid(), 9)
        elif command == "hang":
            time.sleep(1e6)
        else:
            self._finish("available", error(number, "FakeError", " ".join(words)))

    def cancel(self, number: int) -> None:
        """Stop the statement of this number, where it is the one that runs."""
        statement = self._statement
        if statement is None or statement.number != number or statement.cancelled:
            return
        statement.cancelled = True
        write_ledger("interrupted", number, statement.nonce)
        if statement.deaf:
            grace = self._config.cancel_grace_ms / 1000
            self._loop.later(grace, lambda: self._replaced(statement))
        else:
            self._finish("cancelled", b"")

    def complete(self, header, _code: bytes) -> None:
        """No candidates."""
        self._events.completed(header, b"[]")

    def stop(self) -> None:
        """Nothing to stop."""

    def _replaced(self, statement: Statement) -> None:
        if statement is self._statement:
            why = "The statement did not stop when interrupted, so its interpreter was ended."
            self._events.notice(f"Statement {statement.number}: {why}")
            self._finish("cancelled", error(statement.number, "InterpreterReplaced", why))

    def _end(self) -> None:
        statement = self._statement
        assert statement is not None
        if statement.cancelled:
            self._finish("cancelled", b"")
            return
        data = {"text/plain": statement.nonce}
        whole = {"status": "ok", "execution_count": statement.number, "data": data}
        self._finish("available", dumps(whole))

    def _finish(self, state: str, output: bytes) -> None:
        statement, self._statement = self._statement, None
        if statement.timer is not None:
            statement.timer.cancel()
        self._events.finished(statement.number, state, statement.started, output)


def main() -> int:
    """The agent, with what it would import replaced."""
    write_ledger("up")
    spark = types.ModuleType("firesteel_agent.spark")
    spark.Spark = Spark
    sys.modules[spark.__name__] = spark
    supervisor.PythonInterpreter = Interpreter
    os.environ.update(PYSPARK_GATEWAY_PORT="0", PYSPARK_GATEWAY_SECRET="none")
    return supervisor.main([RUN_DIR])


if __name__ == "__main__":
    sys.exit(main())
