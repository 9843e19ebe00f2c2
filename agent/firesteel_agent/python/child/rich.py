"""What an object shows beside its repr: the MIME types of `_repr_html_` and the like, as JSON. Calls values.

Methods are looked up on the type only: objects whose `__getattr__` answers everything have none. What they
raise or wrongly give costs that MIME type and nothing else.
"""

import base64
import io
import re
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

from .values import TooLarge, check, dumps

METHODS = (
    ("_repr_html_", "text/html"),
    ("_repr_markdown_", "text/markdown"),
    ("_repr_latex_", "text/latex"),
    ("_repr_svg_", "image/svg+xml"),
    ("_repr_png_", "image/png"),
    ("_repr_jpeg_", "image/jpeg"),
    ("_repr_json_", "application/json"),
)

MAX_TYPES = 32
"""MIME types that are taken of one object."""

_MIME = re.compile(r"[a-z]+/[A-Za-z0-9][A-Za-z0-9.+-]{0,126}")
_BINARY = re.compile(r"(image|audio|video)/(?!svg\+xml)|application/(pdf|octet-stream)")

_mro = type.__dict__["__mro__"].__get__
_dict = type.__dict__["__dict__"].__get__
_name_of = type.__dict__["__name__"].__get__


class Shown(NamedTuple):
    """What an object shows: MIME types with their JSON, the text in place of its repr, what went wrong."""

    limit: int
    """The most bytes that a value's JSON may have."""
    values: List[Tuple[str, bytes]]
    too_large: List[Tuple[str, int]]
    """MIME types of values that have more, and how many, as far as they were read."""
    text: Any
    notes: List[str]


def show(value: Any, limit: int) -> Shown:
    """Ask the object."""
    shown = Shown(limit, [], [], None, [])
    text = None
    bundle = _ask(value, "_repr_mimebundle_", shown.notes)
    if isinstance(bundle, dict):
        text = _take_bundle(bundle, shown)
    elif bundle is not None:
        shown.notes.append(f"[_repr_mimebundle_ gave {_type_name(bundle)}, not a dict]")
    for method, mime in METHODS:
        if all(mime != known for known, _data in shown.values):
            found = _ask(value, method, shown.notes)
            if found is not None:
                _take(mime, found, method, shown)
    if not any(mime == "image/png" for mime, _data in shown.values) and is_figure(value):
        _take("image/png", _savefig(value, shown.notes), "savefig", shown)
    return shown._replace(text=text)


def show_bundle(bundle: Any, limit: int) -> Shown:
    """The same of a dict of MIME types, as `display(..., raw=True)` takes it."""
    shown = Shown(limit, [], [], None, [])
    if not isinstance(bundle, dict):
        raise TypeError(f"display(..., raw=True) takes dicts of MIME types, not {_type_name(bundle)}")
    return shown._replace(text=_take_bundle(bundle, shown))


def is_figure(value: Any) -> bool:
    """Whether it is a figure of matplotlib's."""
    return any(
        kind.__name__ == "Figure" and kind.__module__ == "matplotlib.figure" for kind in _mro(type(value))
    )


def png(save: Callable[..., Any]) -> bytes:
    """The image that a figure's `savefig` writes."""
    image = io.BytesIO()
    save(image, format="png")
    return image.getvalue()


def _method(value: Any, name: str) -> Optional[Callable[[], Any]]:
    """The method of that name that the type has, bound to the value."""
    for kind in _mro(type(value)):
        names = _dict(kind)
        if name in names:
            attribute = names[name]
            bind = getattr(type(attribute), "__get__", None)
            return attribute if bind is None else bind(attribute, value, type(value))
    return None


def _ask(value: Any, name: str, notes: List[str]) -> Any:
    """What the method gives; None where there is none or it fails."""
    try:
        method = _method(value, name)
        found = None if method is None else method()
        # Metadata beside the data is not passed on.
        return found[0] if _has_metadata(found) else found
    except NotImplementedError:
        return None
    except (Exception, SystemExit, GeneratorExit) as error:
        notes.append(f"[{name} raised {_type_name(error)}{_reason(error)}]")
        return None


def _has_metadata(found: Any) -> bool:
    return type(found) is tuple and len(found) == 2 and isinstance(found[1], dict)


def _savefig(value: Any, notes: List[str]) -> Any:
    try:
        return png(value.savefig)
    except Exception as error:
        notes.append(f"[savefig raised {_type_name(error)}{_reason(error)}]")
        return None


def _take_bundle(bundle: dict, shown: Shown) -> Any:
    """Take a dict of MIME types; its text/plain is returned."""
    text = None
    for mime, found in list(bundle.items())[:MAX_TYPES]:
        if mime == "text/plain":
            text = found if isinstance(found, str) else None
        elif isinstance(mime, str) and _MIME.fullmatch(mime):
            _take(mime, found, "_repr_mimebundle_", shown)
    return text


def _take(mime: str, found: Any, source: str, shown: Shown) -> None:
    """Add one value as JSON, if it is what its type must be."""
    if found is None:
        return
    try:
        check(found, shown.limit)
        if mime == "application/json" or mime.endswith("+json"):
            data = dumps(found, shown.limit)
        elif isinstance(found, (bytes, bytearray)) and _BINARY.match(mime):
            data = dumps(base64.b64encode(found).decode("ascii"), shown.limit)
        elif isinstance(found, str) and _BINARY.match(mime):
            base64.b64decode(found.encode("ascii"))
            data = dumps(found, shown.limit)
        elif isinstance(found, str):
            data = dumps(found, shown.limit)
        else:
            shown.notes.append(f"[{source} gave {_type_name(found)} for {mime}]")
            return
    except TooLarge as large:
        shown.too_large.append((mime, large.seen))
        return
    except Exception as error:
        shown.notes.append(f"[{source} gave what {mime} can't be: {_type_name(error)}{_reason(error)}]")
        return
    shown.values.append((mime, data))


def _type_name(value: Any) -> str:
    return _name_of(type(value))


def _reason(error: BaseException) -> str:
    try:
        text = str(error).partition("\n")[0][:200]
    except Exception:
        return ""
    return f": {text}" if text else ""
