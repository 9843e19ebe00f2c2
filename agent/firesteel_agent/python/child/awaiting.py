"""The session's event loop: top-level `await`, and tasks that go on between statements. Calls asyncio.

The loop is made at the first `await`, on the main thread. It runs while a statement awaits and while there is
no statement at all. What awaits nothing runs without it as long as it can, so `asyncio.run` works as well.
"""

import sys
import traceback
from types import CodeType
from typing import Any, Dict, Optional

LOOP_NAMES = frozenset(
    [
        "create_task",
        "ensure_future",
        "gather",
        "shield",
        "wrap_future",
        "get_running_loop",
        "current_task",
        "all_tasks",
    ]
)
"""A piece of code that names one of these runs on the loop even if it awaits nothing."""

OWN_LOOP_NAMES = frozenset(["run", "run_until_complete", "run_forever"])
"""One that names one of these, and awaits nothing, turns a loop itself."""

_CO_COROUTINE = 0x80

_print_exception = traceback.print_exception
_exc_info = sys.exc_info
_eval = eval


def awaits(compiled: CodeType) -> bool:
    """Whether it is code with an `await` outside of functions."""
    return bool(compiled.co_flags & _CO_COROUTINE)


def needs_loop(compiled: CodeType, some_await: bool) -> bool:
    """Whether it has to run on the loop; `some_await`: another piece of the same statement awaits."""
    if awaits(compiled):
        return True
    found = set(compiled.co_names)
    return not found.isdisjoint(LOOP_NAMES) or (some_await and found.isdisjoint(OWN_LOOP_NAMES))


async def _run(compiled: CodeType, names: Dict[str, Any]) -> None:
    coroutine = _eval(compiled, names)
    if awaits(compiled):
        await coroutine


class SessionLoop:
    """One event loop for all statements."""

    def __init__(self) -> None:
        self._loop: Optional[Any] = None

    def run(self, compiled: CodeType, names: Dict[str, Any]) -> None:
        """Run compiled code, which may await, to its end. An interrupt cancels it."""
        import asyncio

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        loop = self._loop
        asyncio.set_event_loop(loop)
        task = loop.create_task(_run(compiled, names))
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
