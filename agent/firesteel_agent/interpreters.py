"""What an interpreter is, and which class runs which kind of code.

A language's package is imported on first use. Calls output.
"""

import importlib
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from .background import BackgroundLog
from .config import Config
from .frames import Header
from .loop import Loop
from .output import Output

if TYPE_CHECKING:
    from .spark import Spark
    from .worker import Worker

_CLASSES: Dict[str, Tuple[str, str]] = {
    "pyspark": ("python", "PythonInterpreter"),
    "sql": ("sql", "SqlInterpreter"),
    "spark": ("scala", "ScalaInterpreter"),
    "sparkr": ("r", "RInterpreter"),
    "java": ("java", "JavaInterpreter"),
}
"""A kind's package and the class in its `interpreter.py`. `java` runs jobs only."""

COMPLETION_SECONDS = 2.0
"""How long a completion may take, but for Scala's; then there are no candidates."""


class Events(NamedTuple):
    """What an interpreter tells, on the loop."""

    ready: Callable[[str], None]
    """It can run statements, for the first time: a detail, such as the language's version."""
    failed: Callable[[str], None]
    """It can't be started, for good: one sentence."""
    started: Callable[[int, int], None]
    """A statement runs: its number, the time in epoch milliseconds."""
    finished: Callable[[int, str, int, Output], None]
    """A statement has ended: its number, `available` or `cancelled`, the time it started, the output."""
    completed: Callable[[Header, bytes], None]
    """A completion's header and candidates, a JSON list."""
    notice: Callable[[str], None]
    """A line for the session's log."""
    replaced: Callable[[], None]
    """The SparkContext had been stopped, and another was made in its place."""


class Interpreter:
    """Runs the statements of one language, one at a time.

    Every method is called on the loop and must not block.
    """

    def __init__(self, loop: Loop, config: Config, log: BackgroundLog, events: Events):
        self._loop = loop
        self._config = config
        self._log = log
        self._events = events
        self._spark: Optional[Spark] = None
        self._worker: Optional[Worker] = None

    def start(self) -> None:
        """Begin to start, ahead of the first use. May be called again."""

    def attach(self, spark: "Spark", worker: "Worker") -> None:
        """The SparkContext is there; `worker` is for short calls to the JVM, such as a cancel."""
        self._spark, self._worker = spark, worker

    def run(self, number: int, code: bytes) -> None:
        """Run a statement; there must be no other. It waits where the interpreter is still starting."""
        raise NotImplementedError

    def cancel(self, number: int) -> None:
        """Stop the statement, if it is the one that runs here."""
        raise NotImplementedError

    def complete(self, header: Header, code: bytes) -> None:
        """Answer `events.completed`, in COMPLETION_SECONDS as a rule, also while a statement runs."""
        self._events.completed(header, b"[]")

    def include(self, name: str) -> None:
        """Spark has a new Python file of that name, which statements may import."""

    def set_environment(self, variables: Dict[str, str]) -> None:
        """Variables for what the statements after this load and start, where the language can set them."""

    def prepare(self, _imports: List[str], _first_job: bool, then: Callable[[List[List[str]]], None]) -> None:
        """Do what first statements would wait for; `then` has what failed. Only where the language can."""
        then([])

    def rename(self, app_name: str) -> None:
        """The application has another name."""

    def plan(self, _number: int) -> Any:
        """The data frame of a statement whose whole result can be fetched, or None."""
        return None

    def stop(self) -> None:
        """The driver ends: leave no process behind."""


def known(kind: str) -> bool:
    """Whether there is an interpreter for the kind."""
    return kind in _CLASSES


def make(kind: str, loop: Loop, config: Config, log: BackgroundLog, events: Events) -> Interpreter:
    """The interpreter of a kind, not started."""
    package, name = _CLASSES[kind]
    return getattr(importlib.import_module(f".{package}.interpreter", __package__), name)(
        loop, config, log, events
    )


def now_ms() -> int:
    """The time in epoch milliseconds."""
    return int(time.time() * 1000)
