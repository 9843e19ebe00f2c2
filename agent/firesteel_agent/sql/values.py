"""SQL values as Livy writes them, from Spark's own JSON of a row. Pure functions; calls nobody.

Spark's `to_json` makes one object for a row, with columns named by their positions. Here it becomes an
array: decimals keep all their digits, NaN is null, binary is a list of signed bytes, timestamps are in UTC.
"""

import base64
import json
from typing import Any, Callable, List

OPTIONS = {
    "ignoreNullFields": "false",
    "timeZone": "UTC",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}
"""Options of `to_json`."""

_AS_IT_IS = {"string", "date", "boolean", "byte", "short", "integer", "long", "void", "null"}
_NUMBERS = {"float", "double"}
_TIMES = {"timestamp", "timestamp_ntz", "timestamp_ltz"}


class _Digits(str):
    """A number as it was written: no digit is lost."""


_quote = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Writer = Callable[[Any], str]


def plain_names(fields: List[dict]) -> List[str]:
    """The columns' names where each can be named without doubt, else nothing."""
    names = [field["name"] for field in fields]
    distinct = {name.lower() for name in names}
    return names if len(distinct) == len(names) and "" not in distinct else []


def row_expression(fields: List[dict], names: List[str]) -> str:
    """A SQL expression that is the JSON of a row whose columns have these names."""
    parts = ", ".join(
        f"'{index}', {_expression(_quoted(name), field['type'], 0)}"
        for index, (name, field) in enumerate(zip(names, fields))
    )
    options = ", ".join(f'"{key}", "{value}"' for key, value in OPTIONS.items())
    return f"to_json(named_struct({parts}), map({options}))"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _plain(kind: Any) -> bool:
    """Whether `to_json` writes values of the type as they are wanted."""
    if isinstance(kind, str):
        known = _AS_IT_IS | _NUMBERS | _TIMES | {"binary", "variant"}
        return kind in known or kind.startswith(("decimal", "char(", "varchar(", "string"))
    if kind["type"] == "array":
        return _plain(kind["elementType"])
    if kind["type"] == "map":
        return kind["keyType"] == "string" and _plain(kind["valueType"])
    if kind["type"] == "struct":
        return all(_plain(field["type"]) for field in kind["fields"])
    return True


def _expression(value: str, kind: Any, depth: int) -> str:
    """The value with what `to_json` can't write cast to string: intervals, and keys that are not strings."""
    if _plain(kind):
        return value
    if isinstance(kind, str):
        return f"cast({value} as string)"
    item, key = f"v{depth}", f"k{depth}"
    if kind["type"] == "array":
        return f"transform({value}, {item} -> {_expression(item, kind['elementType'], depth + 1)})"
    if kind["type"] == "map":
        values = (
            f"transform_values({value}, ({key}, {item}) -> {_expression(item, kind['valueType'], depth + 1)})"
        )
        return f"transform_keys({values}, ({key}, {item}) -> cast({key} as string))"
    parts = []
    for field in kind["fields"]:
        literal = field["name"].replace("\\", "\\\\").replace("'", "\\'")
        inner = f"{value}.{_quoted(field['name'])}"
        parts.append(f"'{literal}', {_expression(inner, field['type'], depth + 1)}")
    return f"if({value} is null, null, named_struct({', '.join(parts)}))"


decode = json.JSONDecoder(parse_float=_Digits).raw_decode
"""An object of JSON somewhere in a text, and where it ends."""


def row_writer(fields: List[dict]) -> Callable[[dict], str]:
    """A function from a row's object, as `decode` gives it, to the JSON of its array."""
    writers = [(str(index), _writer(field["type"])) for index, field in enumerate(fields)]

    def write(row: dict) -> str:
        return "[" + ",".join([write_value(row.get(name)) for name, write_value in writers]) + "]"

    return write


def _writer(kind: Any) -> Writer:
    if isinstance(kind, str):
        write = _scalar_writer(kind)
    elif kind["type"] == "array":
        write_item = _writer(kind["elementType"])

        def write(value: Any) -> str:
            return "[" + ",".join([write_item(item) for item in value]) + "]"

    elif kind["type"] == "map":
        write_mapped = _writer(kind["valueType"])

        def write(value: Any) -> str:
            return "{" + ",".join([f"{_quote(k)}:{write_mapped(v)}" for k, v in value.items()]) + "}"

    elif kind["type"] == "struct":
        fields = [(field["name"], _quote(field["name"]), _writer(field["type"])) for field in kind["fields"]]

        def write(value: Any) -> str:
            return "{" + ",".join([f"{quoted}:{w(value.get(name))}" for name, quoted, w in fields]) + "}"

    else:  # A user's own type is written as the type that it is stored as.
        return _writer(kind.get("sqlType") or "variant")
    return lambda value: "null" if value is None else write(value)


def _scalar_writer(kind: str) -> Writer:
    if kind in _NUMBERS:
        return _write_double
    if kind.startswith("decimal"):
        return str
    if kind in _TIMES:
        return _write_time
    if kind == "binary":
        return _write_binary
    return _write_any if kind == "variant" else _quote


def _write_any(value: Any) -> str:
    """A value whose type only it knows."""
    if isinstance(value, _Digits):
        return value
    if isinstance(value, list):
        return "[" + ",".join([_write_any(item) for item in value]) + "]"
    if isinstance(value, dict):
        return "{" + ",".join([f"{_quote(k)}:{_write_any(v)}" for k, v in value.items()]) + "}"
    return _quote(value)


def _write_double(value: Any) -> str:
    if value == "NaN":
        return "null"
    return f'"{value}"' if value in ("Infinity", "-Infinity") else str(value)


def _write_time(value: str) -> str:
    """A fraction only where there is one."""
    seconds, dot, rest = value.partition(".")
    digits = rest.rstrip("Z").rstrip("0")
    zone = "Z" if rest.endswith("Z") else ""
    return _quote(seconds + (dot + digits if digits else "") + zone)


def _write_binary(value: str) -> str:
    return "[" + ",".join([str(b - 256 if b > 127 else b) for b in base64.b64decode(value)]) + "]"
