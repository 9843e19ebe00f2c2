"""Tells how many tasks of the running statement are done. Asks the JVM through a worker of its own."""

from typing import TYPE_CHECKING, Callable, Optional

from .loop import Loop, Timer
from .worker import Worker

if TYPE_CHECKING:
    from .spark import Spark

FIRST_SECONDS = 0.5
"""A statement that is quicker is never asked about."""

EVERY_SECONDS = 1.0


class Progress:
    """Polls while a statement runs; `changed(statement, done, total)` is called on the loop."""

    def __init__(self, loop: Loop, changed: Callable[[int, int, int], None]):
        self._loop = loop
        self._changed = changed
        self._worker: Optional[Worker] = None
        self._statement: Optional[int] = None
        self._timer: Optional[Timer] = None
        self._last = (0, 0)

    def started(self, statement: int, spark: Optional["Spark"]) -> None:
        """A statement runs."""
        self.finished()
        self._statement = statement
        self._last = (0, 0)
        if spark is not None:
            self._timer = self._loop.later(FIRST_SECONDS, lambda: self._ask(statement, spark))

    def finished(self) -> None:
        """No statement runs."""
        self._statement = None
        if self._timer is not None:
            self._timer.cancel()

    def _ask(self, statement: int, spark: "Spark") -> None:
        if self._worker is None:
            self._worker = Worker(self._loop, "progress")

        def answered(found, _failure: Optional[Exception]) -> None:
            if statement != self._statement:
                return
            if found is not None and (found["done"], found["total"]) != self._last:
                self._last = (found["done"], found["total"])
                self._changed(statement, *self._last)
            self._timer = self._loop.later(EVERY_SECONDS, lambda: self._ask(statement, spark))

        self._worker.submit(lambda: spark.progress(statement), answered)
