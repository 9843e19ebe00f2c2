"""A warm driver: made before a session asks for one, and given to the first that it suits.

It prepares itself (imports, a first Spark job), tells the server so, and waits. A claim gives it the
session's name and conf, and it is that session's driver from then on, as if it had been started for it.
Calls claim, on a worker, and the Python interpreter.
"""

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

from .frames import Header
from .interpreters import Interpreter
from .say import say
from .worker import Worker

if TYPE_CHECKING:
    from .spark import Spark


class Warm:
    """What a driver that is nobody's yet still has to do."""

    def __init__(self, wanted: Dict[str, Any]):
        self._wanted = wanted

    def prepare(
        self, spark: "Spark", worker: Worker, python: Interpreter, then: Callable[[List[List[str]]], None]
    ) -> None:
        """Do ahead what can be done ahead; `then` has what failed: names with a sentence each."""
        from .claim import rehearse  # py4j takes a while to import.

        def prepared(failed: List[List[str]]) -> None:
            worker.submit(lambda: rehearse(spark), lambda _done, _failure: then(failed))

        python.prepare(list(self._wanted["imports"]), bool(self._wanted["first_job"]), prepared)

    def claim(
        self, spark: "Spark", worker: Worker, header: Header, then: Callable[[Optional[str]], None]
    ) -> None:
        """Make the SparkContext the session's own; `then` has what stands against it, or None.

        Nothing has changed where something does.
        """
        from .claim import take, tell_listeners

        name, conf = header["app_name"], header["conf"]

        def taken(refused: Optional[str], failure: Optional[Exception]) -> None:
            if failure is not None:
                say(f"the driver could not be claimed: {failure}")
                refused = ""
            then(refused)
            if refused is None:
                # Nobody waits for this.
                worker.submit(lambda: tell_listeners(spark, name), _told)

        worker.submit(lambda: take(spark, name, conf), taken)


def _told(_done: None, failure: Optional[Exception]) -> None:
    if failure is not None:
        say(f"the Spark UI shows the driver's former name: {failure}")
