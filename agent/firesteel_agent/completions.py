"""Completions that a worker finds, so that they are answered in time and while a statement runs.

Runs on the loop. Calls output and its worker.
"""

from typing import Callable, List, Optional

from .frames import Header
from .interpreters import Events
from .loop import Loop
from .output import dumps
from .worker import Worker

Find = Callable[[], List[str]]


class Completions:
    """Answers one question after another; `seconds`: how long one may take, `most`: how many may wait."""

    def __init__(self, loop: Loop, events: Events, name: str, seconds: float, most: int):
        self._loop = loop
        self._events = events
        self._name = name
        self._seconds = seconds
        self._most = most
        self._worker: Optional[Worker] = None
        self._waiting = 0

    @property
    def full(self) -> bool:
        """Whether as many wait as may; a further one must be answered at once."""
        return self._waiting >= self._most

    def answer(self, header: Header, found: List[str]) -> None:
        """Answer at once."""
        self._events.completed(header, dumps(found))

    def ask(self, header: Header, find: Find, late: Find = list) -> None:
        """Answer with what `find()` gives on the worker; when it fails or takes too long, with `late()`."""
        if self._worker is None:
            self._worker = Worker(self._loop, self._name)
        worker = self._worker
        timer = self._loop.later(self._seconds, lambda: finish(None))

        def finish(found: Optional[List[str]]) -> None:
            if timer.callback is not None:
                timer.cancel()
                self.answer(header, found if found is not None else late())

        def done(found: Optional[List[str]], _failure: Optional[Exception]) -> None:
            if worker is self._worker:
                self._waiting -= 1
            finish(found)

        self._waiting += 1
        worker.submit(find, done)

    def forget(self) -> None:
        """What the worker is in may never come back: the next question gets another."""
        self._waiting = 0
        if self._worker is not None:
            self._worker.close()
            self._worker = None
