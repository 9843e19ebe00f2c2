"""What the session's objects have, found without running user code where that is possible. Calls nobody.

Names and attributes are looked up statically: no property, no `__getattr__` and no descriptor of user code is
evaluated, so what only these would give has no candidates. What is evaluated: `__dir__` of an object whose
type defines one (a DataFrame's columns are found so), properties of pandas, NumPy and PySpark, the keys of a
dict, and the importers, which read directories. A module is never imported.
"""

import builtins
import functools
import importlib.machinery
import inspect
import pkgutil
import sys
import types
from typing import Any, Dict, List

MAX_KEYS = 10_000
"""Keys of a dict that are looked at."""

_static = inspect.getattr_static
_MISSING = object()
_Module = type(sys)
_mro = type.__dict__["__mro__"].__get__
_dict = type.__dict__["__dict__"].__get__
_CALLABLES = (
    type,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    functools.partial,
)
_PLAIN_DESCRIPTORS = (staticmethod, classmethod)


def attributes(base: str, names: Dict[str, Any]) -> List[Any]:
    """The attributes of what a dotted name stands for."""
    value = resolve(base, names)
    return [] if value is _MISSING else list(dir(value))


def resolve(dotted: str, names: Dict[str, Any]) -> Any:
    """The object that a dotted name stands for, or _MISSING."""
    first, *rest = dotted.split(".")
    value = names.get(first, _MISSING)
    if value is _MISSING:
        value = builtins.__dict__.get(first, _MISSING)
    for part in rest:
        if value is _MISSING:
            return value
        value = _attribute(value, part)
    return value


def _attribute(value: Any, name: str) -> Any:
    """One attribute. Functions, classes and plain values count; a property does not."""
    if isinstance(value, _Module):
        return value.__dict__.get(name, _MISSING)
    found = _static(value, name, _MISSING)
    if isinstance(found, _PLAIN_DESCRIPTORS):
        return found.__func__
    kind = type(found)
    if kind.__module__ != "builtins" and any("__get__" in _dict(base) for base in _mro(kind)):
        return _MISSING
    if isinstance(found, property):
        return _known_property(value, name)
    if inspect.ismemberdescriptor(found) or inspect.isgetsetdescriptor(found):
        # A slot or C's own attribute: reading it runs no user code.
        return object.__getattribute__(value, name) if not isinstance(value, type) else _MISSING
    return found


def _known_property(value: Any, name: str) -> Any:
    """Properties of the libraries that everybody uses, such as `df.write`; user code's are not evaluated."""
    return getattr(value, name, _MISSING) if _known_library(value) else _MISSING


def keys(dotted: str, names: Dict[str, Any]) -> List[str]:
    """The keys that are text of a dict, and the columns of a DataFrame."""
    value = resolve(dotted, names)
    if isinstance(value, dict):
        found: Any = dict.keys(value)
    elif type(value).__name__ == "DataFrame" and _known_library(value):
        found = value.columns
    else:
        return []
    return [key for key, _count in zip(list(found), range(MAX_KEYS)) if isinstance(key, str)]


def _known_library(value: Any) -> bool:
    module = type(value).__module__
    return isinstance(module, str) and module.partition(".")[0] in ("pyspark", "pandas", "numpy")


def parameters(dotted: str, names: Dict[str, Any]) -> List[str]:
    """The names of a callable's parameters that can be given by name."""
    value = resolve(dotted, names)
    if not isinstance(value, _CALLABLES):
        return []
    try:
        signature = inspect.signature(value, follow_wrapped=True)
    except (TypeError, ValueError):
        return []
    found = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    return [name for name in found if name not in ("self", "cls")]


def modules(base: str) -> List[str]:
    """The modules below a package, or those at the top."""
    if base:
        package = sys.modules.get(base)
        path = getattr(package, "__path__", None) if package is not None else _path_of(base)
        if path is None:
            return []
        return [module.name for module in pkgutil.iter_modules(list(path))]
    top = {module.name for module in pkgutil.iter_modules()}
    return [*top, *sys.builtin_module_names, *(name for name in list(sys.modules) if "." not in name)]


def importable(base: str) -> List[str]:
    """What `from base import` may take: the modules below, and a loaded module's names."""
    module = sys.modules.get(base)
    loaded = list(module.__dict__) if isinstance(module, _Module) else []
    return [*modules(base), *loaded]


def _path_of(base: str) -> Any:
    """Where a package lies that is not loaded, found without running any of it."""
    path: Any = None
    for part in base.split("."):
        spec = importlib.machinery.PathFinder.find_spec(part, path)
        if spec is None or spec.submodule_search_locations is None:
            return None
        path = list(spec.submodule_search_locations)
    return path
