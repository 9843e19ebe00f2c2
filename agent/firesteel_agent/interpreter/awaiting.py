"""The session's event loop: top-level `await`, and tasks that go on between statements. Calls asyncio.

The loop is made at the first `await`, on the main thread. It runs while a statement awaits and while there is
no statement at all; a statement that awaits nothing does not turn it, so `asyncio.run` works as well.
"""

import sys
import traceback
from typing import Any, Coroutine, Optional

_print_exception = traceback.print_exception
_exc_info = sys.exc_info


class SessionLoop:
    """One event loop for all statements."""

    def __init__(self) -> None:
        self._loop: Optional[Any] = None

    def run(self, coroutine: Coroutine) -> None:
        """Run a statement's coroutine to its end. An interrupt cancels it."""
        import asyncio

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        loop = self._loop
        asyncio.set_event_loop(loop)
        task = loop.create_task(coroutine)
        try:
            loop.run_until_complete(task)
        except BaseException:
            if not task.done():  # The interrupt hit the loop itself, not the task's own code.
                task.cancel()
                loop.run_until_complete(asyncio.wait([task]))
            raise

    def wait_readable(self, fd: int) -> None:
        """Let tasks go on until the descriptor can be read. Without a loop it returns at once."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            loop.add_reader(fd, loop.stop)
            try:
                loop.run_forever()
            finally:
                loop.remove_reader(fd)
        except BaseException:  # A task may raise SystemExit; user code may have broken the loop.
            _print_exception(*_exc_info(), file=sys.__stderr__)
