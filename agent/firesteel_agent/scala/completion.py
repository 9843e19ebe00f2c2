"""Completions for Scala, on a worker of their own so that they are answered while a cell runs.

Runs on the loop. Calls the REPL on its worker.
"""

from typing import Optional

from ..frames import Header
from ..interpreters import Events
from ..loop import Loop
from ..output import dumps
from ..worker import Worker

MAX_WAITING = 4
"""Questions that wait for the compiler; a further one gets no candidates."""


SECONDS = 8.0
"""How long an answer may take. The first one loads a compiler, and each reads all that the session has
defined: on a busy machine that takes seconds."""


class Completions:
    """Asks one question after another; each is answered in time, with nothing if it must be."""

    def __init__(self, loop: Loop, events: Events):
        self._loop = loop
        self._events = events
        self._worker: Optional[Worker] = None
        self._waiting = 0

    def ask(self, header: Header, code: bytes, repl) -> None:
        """Answer `events.completed`; `repl` is None while there is none."""
        if repl is None or self._waiting >= MAX_WAITING:
            self._events.completed(header, b"[]")
            return
        if self._worker is None:
            self._worker = Worker(self._loop, "scala-completion")
        worker = self._worker
        text = code.decode("utf-8", "replace")
        cursor = max(0, min(int(header["cursor"]), len(text)))
        # Java counts in UTF-16 code units.
        units = len(text[:cursor].encode("utf-16-le")) // 2
        answered = False

        def answer(found) -> None:
            nonlocal answered
            if not answered:
                answered = True
                timer.cancel()
                self._events.completed(header, dumps(sorted(set(found or ()))))

        def done(found, _failure: Optional[Exception]) -> None:
            if worker is self._worker:
                self._waiting -= 1
            answer(found)

        timer = self._loop.later(SECONDS, lambda: answer(None))
        self._waiting += 1
        worker.submit(lambda: repl.complete(text, units), done)

    def forget(self) -> None:
        """The REPL was left behind: so is the worker that may be inside it."""
        self._waiting = 0
        if self._worker is not None:
            self._worker.close()
            self._worker = None
