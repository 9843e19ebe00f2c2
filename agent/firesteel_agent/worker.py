"""A thread for work that may block, which is every py4j call.

Posts its answers to the loop; calls only the jobs.
"""

import queue
import threading
from typing import Any, Callable, Optional

from .loop import Loop

Done = Callable[[Any, Optional[Exception]], None]


class Worker:
    """One daemon thread that does one job after another.

    py4j pins a JVM thread to each Python thread, so that all jobs of a worker run on the same JVM thread.
    """

    def __init__(self, loop: Loop, name: str):
        self._loop = loop
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, job: Callable[[], Any], done: Optional[Done] = None) -> None:
        """Do `job()` on the thread, then `done(result, error)` on the loop; one of the two is None."""
        self._jobs.put((job, done))

    def close(self) -> None:
        """End the thread after the jobs that are waiting."""
        self._jobs.put(None)

    def _run(self) -> None:
        while True:
            item = self._jobs.get()
            if item is None:
                return
            self._do(*item)

    def _do(self, job: Callable[[], Any], done: Optional[Done]) -> None:
        result, failure = None, None
        try:
            result = job()
        except Exception as error:
            failure = error
        if done is not None:
            self._loop.post(lambda: done(result, failure))
