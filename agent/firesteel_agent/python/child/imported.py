"""Something done to a module once it has been imported. Calls nothing of the house."""

import importlib.util
import sys
from typing import Any, Callable


class WhenImported:
    """Finds nothing but that module, and calls `then` with it once it has been executed.

    Looking for the module, as many libraries do to see whether it is there, uses nothing up.
    """

    def __init__(self, name: str, then: Callable[[Any], None]):
        self._name = name
        self._then = then
        self._looking = False
        sys.meta_path.insert(0, self)

    def find_spec(self, fullname: str, _path: Any, _target: Any = None) -> Any:
        """The module's own spec, with a loader that does more."""
        if fullname != self._name or self._looking:
            return None
        self._looking = True  # The others on the path, not this one.
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking = False
        loader = spec.loader if spec is not None else None
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: Any) -> None:
                sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
                execute(module)
                self._then(module)

            loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
