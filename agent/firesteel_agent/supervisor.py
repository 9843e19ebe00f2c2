"""The agent's centre: starts everything, hands the server's frames on, and ends the driver.

Calls all the others.

One thread runs the loop; what may block is on workers. No user code runs here.
"""

import contextlib
import os
import signal
import sys
import traceback
from typing import Any, Dict, List, Optional

from . import interpreters
from .additions import Additions
from .background import BackgroundLog
from .config import Config, load
from .dialer import Dialer
from .driver_log import DriverLog
from .frames import Header
from .interpreters import Events, Interpreter, now_ms
from .jvm_output import JvmOutput
from .link import Link
from .live import Live
from .loop import Loop, Timer
from .numbers import is_job
from .output import Output, error
from .own_context import ContextStopped
from .progress import Progress
from .say import say
from .unpacked import prefer_unpacked
from .warm import Warm
from .watch import ProcessWatch
from .worker import Worker

STOP_SECONDS = 10.0
"""How long the SparkContext may take to stop; then the driver ends without."""

TELL_SECONDS = 5.0
"""How long the agent waits for the server to take its last words."""

SHARED = "shared"
"""The kind of a session that has no language of its own: Python is started for it."""


LAUNCHER_OPTIONS, LAUNCHER_JAR = "SPARK_LAUNCHER_OPTS", "/jars/spark-launcher_"
"""What the server gives the launcher of this Spark, and no other Spark's."""


def main(arguments: List[str]) -> int:
    """Run the agent on a run directory; the exit code."""
    # spark-submit's secret must be gone before the first child starts.
    gateway = {name: os.environ.pop(f"PYSPARK_GATEWAY_{name.upper()}") for name in ("port", "secret")}
    if LAUNCHER_JAR in os.environ.get(LAUNCHER_OPTIONS, ""):
        del os.environ[LAUNCHER_OPTIONS]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prefer_unpacked()
    config = load(arguments[0])
    supervisor = Supervisor(config)
    supervisor.start(gateway["port"], gateway["secret"])
    return supervisor.run()


JOB_KINDS = {"pyspark": "pyspark", "spark": "java"}
"""Which interpreter runs jobs of a kind."""


class Supervisor:
    """The driver's parts and its state."""

    def __init__(self, config: Config):
        self._config = config
        self._loop = Loop()
        self._dialer = Dialer(config)
        self._link = Link(self._loop, config, self._dialer, self._frame)
        self._link.on_connection = self._connection
        self._link.on_other_server = self._other_server
        self._worker = Worker(self._loop, "spark")
        self._spark = None
        self._described = None
        self._python_version = ""
        self._running: Optional[int] = None
        self._last_run: Optional[int] = None
        self._last_job: Optional[int] = None
        self._ready = False
        self._exit_code: Optional[int] = None
        self._orphan_timer: Optional[Timer] = None
        self._progress = Progress(self._loop, self._progressed)
        self._log = BackgroundLog()
        self._live = Live(self._loop, config.live_interval_ms, self._link.free, self._printed)
        self._log.printed = self._live.add
        self._jvm_output = JvmOutput(self._loop, config, self._log)
        self._own_kind = "pyspark" if config.kind == SHARED else config.kind
        self._interpreters: Dict[str, Interpreter] = {}
        self._warm = Warm(config.warm) if config.warm else None
        """Until a session claims the driver; None for one that was started for its session."""
        self._results: Optional[Any] = None
        self._driver_log = DriverLog(self._loop, os.getppid(), self._link.free, self._link.tell)
        self._additions = Additions(self._loop, config.run_dir, self._added, self._include)

    def start(self, gateway_port: str, gateway_secret: str) -> None:
        """Start the interpreter, the SparkContext and the watches, all at once."""
        signal.signal(signal.SIGTERM, lambda _signal, _frame: self._loop.post(self._stop))
        self._watch_orphan()

        def make_context():
            from .spark import Spark  # py4j takes a while to import.

            self._spark = Spark(gateway_port, gateway_secret, self._config.run_dir, self._jvm_output)
            return self._spark.start()

        # First of all: everything else is done before it is.
        self._worker.submit(make_context, self._context_made)
        self._interpreter(self._own_kind).start()
        parent = os.getppid()
        ProcessWatch(self._loop, parent, lambda: self._end_now("the driver's JVM ended"))
        keeper = os.environ.get("FIRESTEEL_KEEPER_PID", "")
        if keeper.isdigit() and int(keeper) != parent:
            ProcessWatch(self._loop, int(keeper), lambda: self._keeper_gone(parent))

    def run(self) -> int:
        """Serve until the driver ends."""
        self._loop.run()
        self._link.leave()
        with contextlib.suppress(OSError):  # The keeper may be gone.
            sys.stderr.flush()
            sys.stdout.flush()
        # Threads may be in calls that don't return: nothing is waited for.
        os._exit(self._exit_code or 0)

    # The SparkContext

    def _context_made(self, described, failure: Optional[Exception]) -> None:
        if self._exit_code is not None:
            return
        if failure is not None:
            say("".join(traceback.format_exception(type(failure), failure, failure.__traceback__)))
            spark = self._spark
            if spark is None:
                self._fail(f"The agent can't reach the driver's JVM: {failure}")
            else:
                self._worker.submit(
                    lambda: spark.reason_of(failure), lambda reason, bad: self._fail(reason or str(bad))
                )
            return
        self._described = described
        self._link.tell({"type": "context_made"})
        for interpreter in list(self._interpreters.values()):
            interpreter.attach(self._spark, self._worker)

    # The interpreters

    def _interpreter(self, kind: str) -> Interpreter:
        """The interpreter of a kind, made on first use."""
        found = self._interpreters.get(kind)
        if found is None:
            events = Events(
                lambda detail: self._interpreter_ready(kind, detail),
                lambda reason: self._interpreter_failed(kind, reason),
                self._started,
                self._finished,
                self._completed,
                self._notice,
                self._context_replaced,
            )
            found = interpreters.make(kind, self._loop, self._config, self._log, events)
            self._interpreters[kind] = found
            for name in self._additions.py_files:
                found.include(name)
            if self._described is not None:
                found.attach(self._spark, self._worker)
        return found

    def _interpreter_ready(self, kind: str, detail: str) -> None:
        if kind == "pyspark":
            self._python_version = detail
        if kind != self._own_kind or self._ready:
            return
        if self._warm is None:
            self._tell_ready()
            self._warm_up()
        elif self._spark is not None:
            self._warm.prepare(self._spark, self._worker, self._interpreter("pyspark"), self._prepared)

    def _prepared(self, failed: List[List[str]]) -> None:
        """The driver waits for its session; a server that has gone meanwhile is waited for as ever."""
        self._link.send({"type": "warm", "failed": failed})

    def _claim(self, header: Header) -> None:
        """A session takes the driver, unless one has it already."""
        spark = self._spark
        if self._warm is None or spark is None:
            return

        def claimed(refused: Optional[str]) -> None:
            self._link.tell({"type": "claimed", "request": header["request"], "refused": refused})
            if refused is None:
                self._claimed(header)

        self._warm.claim(spark, self._worker, header, claimed)

    def _claimed(self, header: Header) -> None:
        self._warm = None
        kind = "pyspark" if header["kind"] == SHARED else header["kind"]
        # For the interpreters that are made from now on.
        self._config = self._config._replace(kind=kind, sql_max_rows=header["sql_max_rows"])
        self._own_kind = kind
        self._interpreter("pyspark").rename(header["app_name"])
        if kind == "pyspark":
            self._tell_ready()
        else:
            self._interpreter(kind).start()

    def _interpreter_failed(self, kind: str, reason: str) -> None:
        if kind == self._own_kind and not self._ready:
            self._fail(reason)
        else:
            self._notice(reason)

    def _include(self, name: str) -> None:
        for interpreter in self._interpreters.values():
            interpreter.include(name)

    def _stop_interpreters(self) -> None:
        for interpreter in self._interpreters.values():
            interpreter.stop()

    def _tell_ready(self) -> None:
        self._ready = True
        described = self._described
        self._link.send(
            {
                "type": "ready",
                "app_id": described.app_id,
                "spark_version": described.spark_version,
                "python_version": self._python_version,
                "ui_url": described.ui_url,
                "pid": os.getpid(),
                "last_run": self._last_run,
                "last_job": self._last_job,
                "running": self._running,
                "epoch": self._link.epoch,
            }
        )

    def _warm_up(self) -> None:
        """Have the JVM ready for the first query, while there is no statement yet."""
        if self._config.warm_up:
            from .warm_up import warm_up

            worker = Worker(self._loop, "warm-up")
            worker.submit(lambda: warm_up(self._spark, self._is_untouched), self._warmed_up)
            worker.submit(self._spark.release_thread)
            worker.close()

    def _is_untouched(self) -> bool:
        return self._last_run is None and self._last_job is None and self._exit_code is None

    def _warmed_up(self, _done: None, failure: Optional[Exception]) -> None:
        if failure is not None and self._is_untouched():
            say(f"the first query was not prepared: {self._spark.sentence_of(failure)}")

    def _other_server(self) -> None:
        """A server was restarted: it knows the session, and must be told how far the driver has come."""
        if self._ready:
            self._tell_ready()

    def _fail(self, reason: str) -> None:
        """The driver can't start: tell why, and end with code 1."""
        if self._exit_code is None:
            self._exit_code = 1
            self._link.send({"type": "failed", "reason": reason})
            say(reason)
            self._stop_interpreters()
            self._leave(TELL_SECONDS)

    # Frames of the server

    def _frame(self, header: Header, body: bytes) -> None:
        kind = header["type"]
        if kind == "run":
            if self._is_new(header["id"]):
                if self._spark is not None:
                    self._spark.trace = header.get("trace")
                self._run(header["id"], header["kind"], body)
            # Else it was sent twice; its result is kept, or on its way.
        elif kind == "cancel":
            for interpreter in self._interpreters.values():
                interpreter.cancel(header["id"])
        elif kind == "complete":
            # A later server numbers its questions anew.
            header["epoch"] = self._link.epoch
            if interpreters.known(header["kind"]):
                self._interpreter(header["kind"]).complete(header, body)
            else:
                self._completed(header, b"[]")
        elif kind == "add":
            header["epoch"] = self._link.epoch
            self._additions.add(header, body, self._spark if self._described is not None else None)
        elif kind == "claim":
            self._claim(header)
        elif kind == "environment":
            self._set_environment(header)
        elif kind == "fetch":
            self._fetch(header)
        elif kind == "stop":
            self._stop()
        elif kind == "log":
            self._driver_log.begin(header)

    def _is_new(self, number: int) -> bool:
        """Statements' ids rise and jobs' fall, so two numbers tell."""
        if is_job(number):
            return self._last_job is None or number < self._last_job
        return self._last_run is None or number > self._last_run

    def _run(self, number: int, kind: str, code: bytes) -> None:
        self._running = number
        if is_job(number):
            self._last_job = number
            kind = JOB_KINDS.get(kind, "")
        else:
            self._last_run = number
        if self._orphan_timer is not None:
            self._orphan_timer.cancel()
        if interpreters.known(kind):
            self._interpreter(kind).run(number, code)
        else:
            sentence = f"The kind {kind} can't run here."
            self._finished(number, "available", now_ms(), error(number, "InterpreterError", sentence))

    def _set_environment(self, header: Header) -> None:
        """Variables for what is started and loaded from now on."""
        os.environ.update(header["variables"])
        for interpreter in self._interpreters.values():
            interpreter.set_environment(header["variables"])
        self._link.tell({"type": "environment_set", "request": header["request"]})

    def _fetch(self, header: Header) -> None:
        """Send the whole result of a statement."""
        if self._spark is None or self._described is None:
            return  # No statement can have run; the server does not wait for long.
        if self._results is None:
            from .results import Results  # Few sessions need it.

            self._results = Results(self._loop, self._config, self._dialer)
        plans = (interpreter.plan(header["id"]) for interpreter in self._interpreters.values())
        plan = next((plan for plan in plans if plan is not None), None)
        self._results.send(header, plan, self._spark, self._worker)

    # What interpreters tell

    def _started(self, number: int, at: int) -> None:
        self._link.send({"type": "started", "id": number, "at": at})
        self._live.begin(number)
        self._progress.started(number, self._spark)

    def _finished(self, number: int, state: str, started: int, output: Output) -> None:
        self._running = None
        self._progress.finished()
        self._live.finish()
        header = {"type": "result", "id": number, "state": state, "started": started, "completed": now_ms()}
        self._link.send(dict(header, rows_cut=output.rows_cut, cut=output.cut), output.json)
        self._watch_orphan()
        spark = self._spark
        if self._config.tls is not None and spark is not None:
            self._worker.submit(lambda: spark.context() is None, self._looked)

    def _looked(self, is_stopped: Optional[bool], _failure: Optional[Exception]) -> None:
        """In a cluster an application has one SparkContext, and ends with it."""
        if is_stopped:
            self._fail(str(ContextStopped()))

    def _completed(self, header: Header, candidates: bytes) -> None:
        if header["epoch"] == self._link.epoch:
            self._link.tell({"type": "completion", "request": header["request"]}, candidates)

    def _added(self, header: Header, error: Optional[str]) -> None:
        if header["epoch"] == self._link.epoch:
            self._link.tell({"type": "added", "request": header["request"], "error": error})

    def _progressed(self, number: int, done: int, total: int) -> None:
        self._link.tell({"type": "progress", "id": number, "done": done, "total": total})

    def _printed(self, number: int, start: int, piece: bytes) -> None:
        self._link.tell({"type": "output", "id": number, "from": start}, piece)

    def _notice(self, text: str) -> None:
        self._link.send({"type": "notice", "text": text.replace("\n", " ")})

    def _context_replaced(self) -> None:
        """On a cluster it is another application, with another id and UI."""
        self._notice("The SparkContext had been stopped; a new one was made.")
        spark, worker = self._spark, self._worker

        def told(described, _failure: Optional[Exception]) -> None:
            if described is not None:
                self._described = described
                self._link.send({"type": "context", "app_id": described.app_id, "ui_url": described.ui_url})

        if spark is not None and worker is not None:
            worker.submit(spark.describe, told)

    # The end

    def _connection(self, connected: bool) -> None:
        if self._orphan_timer is not None:
            self._orphan_timer.cancel()
        if not connected:
            self._watch_orphan()

    def _watch_orphan(self) -> None:
        """A driver that is idle and has no server ends after a while."""
        if self._link.connected or self._running is not None:
            return
        if self._orphan_timer is not None:
            self._orphan_timer.cancel()
        self._orphan_timer = self._loop.later(self._config.orphan_grace_ms / 1000, self._orphaned)

    def _orphaned(self) -> None:
        grace = self._config.orphan_grace_ms / 1000
        reason = f"No server came for {grace:g} s (driver.orphan_grace), and the idle driver ended itself."
        say(reason)
        # It goes to the outbox, where a later server finds it.
        self._link.send({"type": "failed", "reason": reason})
        self._stop()

    def _stop(self) -> None:
        """Stop the SparkContext, end the interpreter, then the agent, with code 0."""
        if self._exit_code is not None:
            return
        self._exit_code = 0
        self._stop_interpreters()
        self._loop.later(STOP_SECONDS, self._loop.stop)
        spark = self._spark
        if spark is None or self._described is None:
            self._loop.stop()
        else:
            # A thread of its own: the others may be busy with what is being stopped.
            Worker(self._loop, "stop").submit(spark.stop, self._context_stopped)

    def _context_stopped(self, _done: None, failure: Optional[Exception]) -> None:
        if failure is not None:
            say(f"the SparkContext did not stop: {failure}")
        self._leave(TELL_SECONDS if self._link.connected else 0)

    def _leave(self, seconds: float) -> None:
        """End once the server has all that was sent, or the time is over."""
        self._driver_log.finish()
        if seconds <= 0 or self._link.flushed():
            self._loop.stop()
        else:
            self._loop.later(0.05, lambda: self._leave(seconds - 0.05))

    def _keeper_gone(self, jvm: int) -> None:
        say("the keeper is gone; the driver ends")
        self._stop_interpreters()
        os.kill(jvm, signal.SIGTERM)
        self._exit_code = 1
        self._loop.later(STOP_SECONDS, lambda: (os.kill(jvm, signal.SIGKILL), self._loop.stop()))

    def _end_now(self, why: str) -> None:
        say(why)
        self._stop_interpreters()
        self._exit_code = 1
        self._loop.stop()
