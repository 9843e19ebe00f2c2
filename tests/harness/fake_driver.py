"""A driver without Spark: the agent itself, with the classes here in place of Spark and of Python.

    python -I -S fake_driver.py [OPTION VALUE]... MAIN_PY RUN_DIR

The package `firesteel_agent` is taken from beside MAIN_PY, so frames, numbering, replay, what is kept, what
runs at most once, and every end are the agent's. A statement's code is one line:

    ledger NONCE                    write `ran` to the ledger, give NONCE
    sleep SECONDS NONCE             the same, SECONDS later; a cancel ends it at once
    ignore-cancel SECONDS NONCE     as `sleep`, but only the grace of a cancel ends it
    print N                         give N characters
    noise N SEED                    give lines of N characters in all that compress to three quarters
    error TEXT                      fail
    drip COUNT MS SIZE              print COUNT lines of SIZE characters, MS milliseconds apart; give all
    burst COUNT MS SIZE             as `drip`, and give how many bytes it was
    flood BYTES NONCE               write as many to standard output and to standard error, then as `ledger`
    attack SEED COUNT DRIVER SECRET call COUNT times in the ways of `callers.KINDS` and as that DRIVER;
                                    give how often the server said what, as JSON
    double NONCE                    call twice with the right secret; give what was said
    fuzz SEED COUNT                 a right hello, then bytes that are no frame, COUNT times; give the ends
    die                             SIGKILL to this process
    hang                            answer nobody any more

The ledger is the file that the environment's FAKE_LEDGER names: a line `WHAT TOKEN DRIVER STATEMENT NONCE`
for each `ran` and each `interrupted`, `up TOKEN DRIVER` when a driver has started (`warm` for one that nobody
has asked for yet, `claimed TOKEN DRIVER` when a session takes that), `ready TOKEN DRIVER` when one with
`spark.fake.start` is about to say so, and `cuts` once all cuts are done.
A session's conf may hold `spark.sql.fake.token` (the TOKEN, `-` without), `spark.fake.start` (seconds
until it is ready), `spark.fake.fail` (a reason not to start), and `spark.fake.cut`: `out FIRST LAST` or
`in FIRST LAST` breaks the agent's first connection after FIRST bytes, the next after one byte more, and so on
up to LAST.

A driver that was given GPUs holds a lock for each while it lives, alone or with others as the lease says,
in the directory `gpus` beside the ledger. The ledger has `gpus TOKEN DRIVER -1 UUIDS` then, or `conflict`
where another driver that lives holds it too.
"""

import collections
import json
import os
import socket
import sys
import time
import types
from typing import NamedTuple, Optional

MAIN, RUN_DIR = sys.argv[-2:]
sys.path.insert(0, os.path.dirname(MAIN))  # noqa: PTH120 - pathlib takes as long to import as the rest

from firesteel_agent import dialer, interpreters, link, supervisor  # noqa: E402
from firesteel_agent.interpreters import now_ms  # noqa: E402
from firesteel_agent.output import NOTHING, Output, dumps, error  # noqa: E402

DRIVER = os.environ["FIRESTEEL_DRIVER_ID"]
LEDGER = os.environ["FAKE_LEDGER"]


def conf() -> dict:
    """The session's conf, as far as plain characters go."""
    with open(sys.argv[sys.argv.index("--properties-file") + 1], encoding="ascii") as lines:  # noqa: PTH123
        pairs = (line.rstrip("\n").partition("=") for line in lines)
        return {key: value.encode("ascii").decode("unicode_escape") for key, _, value in pairs}


CONF = conf()
TOKEN_KEY = "spark.sql.fake.token"
TOKEN = CONF.get(TOKEN_KEY, "-")


def write_ledger(what: str, *words: object) -> None:
    """One line in one write, which O_APPEND keeps whole beside other drivers'."""
    line = " ".join([what, TOKEN, DRIVER, *map(str, words)]) + "\n"
    ledger = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, line.encode())
    finally:
        os.close(ledger)


def hold_gpus() -> None:
    """A lock that ends with this process, for each GPU that the mask shows."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if not visible:
        return
    import fcntl

    is_shared = "FIRESTEEL_GPU_FRACTION" in os.environ
    directory = os.path.join(os.path.dirname(LEDGER), "gpus")  # noqa: PTH118, PTH120
    os.makedirs(directory, exist_ok=True)  # noqa: PTH103
    for uuid in visible.split(","):
        lock = os.open(os.path.join(directory, uuid), os.O_RDWR | os.O_CREAT, 0o600)  # noqa: PTH118
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            write_ledger("conflict", -1, uuid)
    write_ledger("gpus", -1, visible)


class Described(NamedTuple):
    """What `ready` tells."""

    app_id: str
    spark_version: str
    ui_url: Optional[str]


class Spark:
    """A SparkContext that takes as long to start as the conf says, and does nothing."""

    def __init__(self, *_arguments: object):
        pass

    def start(self) -> Described:
        """On a worker, as the real one: the loop goes on meanwhile."""
        time.sleep(float(CONF.get("spark.fake.start", "0")))
        if "spark.fake.fail" in CONF:
            raise RuntimeError(CONF["spark.fake.fail"])
        if "spark.fake.start" in CONF:
            write_ledger("ready")
        return Described(f"fake-{DRIVER}", "fake", None)

    def reason_of(self, failure: Exception) -> str:
        """Why it did not start."""
        return str(failure)

    def stop(self) -> None:
        """Nothing to stop."""

    def progress(self, _statement: int) -> None:
        """There are no tasks."""


def take(_spark: Spark, _name: str, conf: dict) -> Optional[str]:
    """In place of `claim.take`: a session takes the driver, unless its conf has `spark.sql.fake.static`."""
    global TOKEN
    if "spark.sql.fake.static" in conf:
        return "spark.sql.fake.static"
    TOKEN = conf.get(TOKEN_KEY, "-")
    write_ledger("claimed")
    return None


class Statement:
    """The one that runs."""

    def __init__(self, number: int, nonce: str):
        self.number = number
        self.nonce = nonce
        self.started = now_ms()
        self.timer = None
        self.cancelled = False
        self.deaf = False


class Interpreter(interpreters.Interpreter):
    """In place of every language's."""

    def __init__(self, loop, config, log, events):
        super().__init__(loop, config, log, events)
        self._statement: Optional[Statement] = None
        self._waiting: Optional[tuple] = None
        self._attached = False

    def attach(self, _spark, _worker) -> None:
        """The SparkContext is there."""
        self._attached = True
        self._events.ready("fake")
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
        elif command == "noise":
            statement.nonce = noise(int(words[0]), words[1])
            self._end()
        elif command in ("drip", "burst"):
            self._drip(statement, command, *map(int, words))
        elif command == "flood":
            flood(int(words[0]))
            write_ledger("ran", number, statement.nonce)
            self._end()
        elif command == "attack":
            statement.nonce = attack(self._config, *words)
            self._end()
        elif command == "double":
            statement.nonce = double(self._config)
            self._end()
        elif command == "fuzz":
            statement.nonce = fuzz(self._config, *words)
            self._end()
        elif command == "die":
            os.kill(os.getpid(), 9)
        elif command == "hang":
            time.sleep(1e6)
        else:
            self._finish("available", error(number, "FakeError", " ".join(words)))

    def _drip(self, statement: Statement, command: str, count: int, pause: int, size: int) -> None:
        lines = [f"{at} ".ljust(size - 1, "é" if at % 2 else ".") + "\n" for at in range(count)]
        statement.nonce = "".join(lines) if command == "drip" else str(len("".join(lines).encode()))
        waiting = iter(lines)

        def next_line() -> None:
            line = next(waiting, None)
            if line is None:
                self._end()
            else:
                self._log.printed(line.encode())
                statement.timer = self._loop.later(pause / 1000, next_line)

        next_line()

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
            self._finish("cancelled", NOTHING)

    def _replaced(self, statement: Statement) -> None:
        if statement is self._statement:
            why = "The statement did not stop when interrupted, so its interpreter was ended."
            self._events.notice(f"Statement {statement.number}: {why}")
            self._finish("cancelled", error(statement.number, "InterpreterReplaced", why))

    def _end(self) -> None:
        statement = self._statement
        assert statement is not None
        if statement.cancelled:
            self._finish("cancelled", NOTHING)
            return
        data = {"text/plain": statement.nonce}
        whole = {"status": "ok", "execution_count": statement.number, "data": data}
        self._finish("available", Output(dumps(whole)))

    def _finish(self, state: str, output: Output) -> None:
        statement, self._statement = self._statement, None
        if statement.timer is not None:
            statement.timer.cancel()
        self._events.finished(statement.number, state, statement.started, output)


def noise(count: int, seed: str) -> str:
    """Lines of 99 characters. The tests of outputs make the same."""
    import base64
    import random

    text = base64.b64encode(random.Random(seed).randbytes(count)).decode()
    return "\n".join(text[at : at + 99] for at in range(0, count, 100))


def flood(count: int) -> None:
    """Two full streams; it takes as long as the keeper takes to read them."""
    line = b"x" * 99 + b"\n"
    for _ in range(count // 6400):
        for stream in (1, 2):
            os.write(stream, line * 64)


def callers():
    """Loaded when first needed: most drivers never are."""
    sys.path.append(os.path.dirname(__file__))  # noqa: PTH120
    import callers

    return callers


def attack(config, seed: str, count: str, other: str, secret: str) -> str:
    """Impostors that descend from a keeper, as user code does."""
    told = collections.Counter()
    ways = callers()
    chance = ways.random.Random(int(seed))
    kinds = (*ways.KINDS, "another's")
    for at in range(int(count)):
        kind = kinds[at % len(kinds)]
        whose = (other, secret) if kind == "another's" else (config.driver, config.secret.decode())
        told[ways.attempt(kind, config.socket, *whose, chance).split(" ")[0]] += 1
    return json.dumps(told)


def double(config) -> str:
    """Two connections beside the agent's own, which ends with the first of them."""
    first, second = (callers().Caller(config.socket) for _ in range(2))
    said = [caller.hello(config.driver, config.secret.decode()) for caller in (first, second)]
    ended = first.is_closed()
    for caller in (first, second):
        caller.close()
    return json.dumps({"welcome": said.count("welcome"), "first ended": ended})


def fuzz(config, seed: str, count: str) -> str:
    """Connections that are let in, and then speak nonsense."""
    told = collections.Counter()
    ways = callers()
    chance = ways.random.Random(int(seed))
    for _ in range(int(count)):
        caller = ways.Caller(config.socket)
        told[caller.hello(config.driver, config.secret.decode())] += 1
        caller.send(ways.fuzzed(chance))
        # What is short waits for the rest, which does not come.
        caller.end.shutdown(socket.SHUT_WR)
        told["ended"] += caller.is_closed()
        caller.close()
    return json.dumps(told)


class Cut(socket.socket):
    """A connection of the agent's that breaks after so many bytes; the next one after one byte more."""

    direction, at, last = "", 0, 0

    def __init__(self, *how):
        super().__init__(*how)
        self.left = None
        self.broken = False

    def connect(self, address):
        """The count begins with the connection."""
        super().connect(address)
        if Cut.at <= Cut.last:
            self.left = Cut.at
            Cut.at += 1

    def send(self, data):
        """As much as may still go; then it is broken."""
        if self.broken:
            raise BrokenPipeError
        if self.left is None or Cut.direction != "out":
            return super().send(data)
        sent = super().send(data[: self.left]) if self.left else 0
        self._passed(sent)
        return sent

    def recv(self, count):
        """As much as may still come; then it is broken."""
        if self.broken:
            return b""
        if self.left is None or Cut.direction != "in":
            return super().recv(count)
        data = super().recv(min(count, self.left)) if self.left else b""
        self._passed(len(data))
        return data

    def _passed(self, count):
        self.left -= count
        if self.left == 0:
            self.broken = True
            self.shutdown(socket.SHUT_RDWR)
            if Cut.at > Cut.last:
                write_ledger("cuts", 0, Cut.last)


def cut_connections() -> None:
    """As the conf says; without the waits of an agent that spares its server."""
    Cut.direction, first, last = CONF["spark.fake.cut"].split(" ")
    Cut.at, Cut.last = int(first), int(last)
    dialer.socket = types.SimpleNamespace(socket=Cut, AF_UNIX=socket.AF_UNIX, SOCK_STREAM=socket.SOCK_STREAM)
    link.REDIAL_FIRST = link.REDIAL_SOON = link.REDIAL_LATER = link.REJECTED_MOST = 0.001


def main() -> int:
    """The agent, with what it would import replaced."""
    hold_gpus()
    with open(os.path.join(RUN_DIR, "agent.json"), encoding="utf-8") as told:  # noqa: PTH118, PTH123
        is_warm = bool(json.load(told).get("warm"))
    write_ledger("warm" if is_warm else "up")
    if "spark.fake.cut" in CONF:
        cut_connections()
    # Servers of these tests are killed soon after their start, and drivers are to find the next one soon.
    link.STEADY_SECONDS = 0.0
    spark = types.ModuleType("firesteel_agent.spark")
    spark.Spark = Spark
    sys.modules[spark.__name__] = spark
    claim = types.ModuleType("firesteel_agent.claim")
    claim.take = take
    claim.rehearse, claim.tell_listeners = lambda _spark: None, lambda _spark, _name: None
    sys.modules[claim.__name__] = claim
    interpreters.make = lambda _kind, *parts: Interpreter(*parts)
    os.environ.update(PYSPARK_GATEWAY_PORT="0", PYSPARK_GATEWAY_SECRET="none")
    return supervisor.main([RUN_DIR])


if __name__ == "__main__":
    sys.exit(main())
