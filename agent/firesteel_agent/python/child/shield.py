"""Keeps what user code changes in the process away from the code that serves it. Calls nobody.

What user code puts into builtins, its trace functions and its signal handlers count while it runs, and not
between statements.
"""

import _signal as _csignal
import builtins
import operator
import signal
import sys
import traceback
from typing import Any, Callable, Dict

_settrace, _setprofile = sys.settrace, sys.setprofile
_getsignal, _signal = _csignal.getsignal, _csignal.signal
_print_exception, _exc_info = traceback.print_exception, sys.exc_info

_builtins = builtins.__dict__
_GONE = object()
_is = operator.is_

_SIGNALS = [
    number
    for number in signal.Signals
    if number not in (signal.SIGINT, signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE)
]


def keep_builtins(package: str) -> None:
    """Give the package's modules the builtins as they are now: they also run while user code does."""
    names = _standard_builtins()
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(f"{package}."):
            for builtin, value in names.items():
                module.__dict__.setdefault(builtin, value)


def _standard_builtins() -> Dict[str, Any]:
    names = dict(builtins.__dict__)
    for name in list(names):
        if name.startswith("__") and name not in ("__import__", "__build_class__"):
            del names[name]
    names.pop("_", None)
    return names


class Shield:
    """What stands between a statement and the code around it."""

    def __init__(self) -> None:
        self._standard = _standard_builtins()
        self._changed: Dict[str, Any] = {}
        self._trace: Any = None
        self._profile: Any = None
        self.running = False
        """Whether user code runs on the main thread."""

    def lower(self) -> None:
        """User code runs from here on, with the trace functions that it has set."""
        self.running = True
        for name, value in self._changed.items():
            if value is _GONE:
                _builtins.pop(name, None)
            else:
                _builtins[name] = value
        if self._profile is not None:
            _setprofile(self._profile)
        if self._trace is not None:
            _settrace(self._trace)

    def lift(self, trace: Any, profile: Any) -> None:
        """It has ended, and its trace functions are off.

        One in C, such as cProfile's, can't be set again, and stays where it is.
        """
        self._trace = trace if callable(trace) else None
        self._profile = profile if callable(profile) else None
        self.running = False
        standard = self._standard
        self._changed = {}
        if not all(map(_is, map(_builtins.get, standard), standard.values())):
            for name, value in standard.items():
                if _builtins.get(name) is not value:
                    self._changed[name] = _builtins.get(name, _GONE)
                    _builtins[name] = value
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
