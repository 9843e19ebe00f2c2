"""Keeps what user code changes in the process away from the code that serves it. Calls nobody.

Our modules look names of builtins up in copies of their own. Trace functions, signal handlers and a tiny
recursion limit of user code's count while it runs, and not between statements.
"""

import builtins
import signal
import sys
import traceback
from typing import Any, Callable

LEAST_RECURSION = 1000
"""Our own code has at least this many frames, whatever limit user code sets."""

MAX_ATTEMPTS = 4
"""How often trace functions may fail while they are being turned off."""

_gettrace, _settrace = sys.gettrace, sys.settrace
_getprofile, _setprofile = sys.getprofile, sys.setprofile
_getrecursionlimit, _setrecursionlimit = sys.getrecursionlimit, sys.setrecursionlimit
_getsignal, _signal = signal.getsignal, signal.signal
_print_exception, _exc_info = traceback.print_exception, sys.exc_info

_SIGNALS = [
    number
    for number in signal.Signals
    if number not in (signal.SIGINT, signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE)
]


def keep_builtins(package: str) -> None:
    """Give the package's modules, and the two that format tracebacks, the builtins as they are now."""
    names = dict(builtins.__dict__)
    for name in list(names):
        if (name.startswith("__") and name != "__import__") or name == "_":
            del names[name]
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(f"{package}.") or name in ("traceback", "linecache"):
            for builtin, value in names.items():
                module.__dict__.setdefault(builtin, value)


class Shield:
    """What stands between a statement and the code around it."""

    def __init__(self) -> None:
        self._trace: Any = None
        self._profile: Any = None
        self.running = False
        """Whether user code runs on the main thread."""

    def lower(self) -> None:
        """User code runs from here on, with the trace functions that it has set."""
        self.running = True
        if self._profile is not None:
            _setprofile(self._profile)
        if self._trace is not None:
            _settrace(self._trace)

    def lift(self) -> None:
        """It has ended. A trace function that raises meanwhile is turned off by that, as Python does."""
        for _attempt in range(MAX_ATTEMPTS):
            try:
                self._lift()
                return
            except BaseException:
                continue

    def _lift(self) -> None:
        self._trace = _gettrace()
        _settrace(None)
        self._profile = _getprofile()
        _setprofile(None)
        self.running = False
        if _getrecursionlimit() < LEAST_RECURSION:
            _setrecursionlimit(LEAST_RECURSION)
        for number in _SIGNALS:
            handler = _getsignal(number)
            if callable(handler) and type(handler) is not _Handler:
                _signal(number, _Handler(handler, self))


class _Handler:
    """User code's signal handler: what it raises between statements is printed and goes no further."""

    def __init__(self, handler: Callable[..., Any], shield: Shield):
        self._handler = handler
        self._shield = shield

    def __call__(self, *arguments: Any) -> None:
        if self._shield.running:
            self._handler(*arguments)
            return
        try:
            self._handler(*arguments)
        except BaseException:
            _print_exception(*_exc_info(), file=sys.__stderr__)
