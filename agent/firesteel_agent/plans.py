"""The plans of the last SQL statements, from which their whole results are computed when they are fetched.

A plan is analysed: it says which tables and files are read, and holds no rows. Calls nobody.
"""

import collections
import threading
from typing import Any


class Plans:
    """At most `most` data frames, by the statement's number. Any thread may call this."""

    def __init__(self, most: int):
        self._most = most
        self._frames: collections.OrderedDict[int, Any] = collections.OrderedDict()
        self._lock = threading.Lock()

    def keep(self, number: int, frame: Any) -> None:
        """Keep the statement's data frame; the oldest goes where there are too many."""
        with self._lock:
            self._frames[number] = frame
            while len(self._frames) > self._most:
                self._frames.popitem(last=False)

    def find(self, number: int) -> Any:
        """The statement's data frame, or None."""
        with self._lock:
            return self._frames.get(number)

    def clear(self) -> None:
        """Forget all: their SparkContext is gone."""
        with self._lock:
            self._frames.clear()
