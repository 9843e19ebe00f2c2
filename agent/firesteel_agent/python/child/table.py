"""A value as Livy's table: headers with types, and rows. Calls convert and values."""

import dataclasses
import datetime
import decimal
import sys
from typing import Any, Dict, List, Tuple

from .convert import is_missing, library_of, plain
from .values import TooLarge, check

BRACKETS, LEAST_CELL = 2, 2
"""Bytes of a row without its cells, and the fewest of a cell, as JSON."""

_PLAIN = {
    type(None): "NULL_TYPE",
    bool: "BOOLEAN_TYPE",
    int: "INT_TYPE",
    float: "DOUBLE_TYPE",
    str: "STRING_TYPE",
}


def to_table(value: Any, limit: int = sys.maxsize) -> Dict[str, Any]:
    """The table of a scalar, of a list of scalars, or of a list of rows (list, tuple, dict, Row, dataclass).

    pandas' frames and NumPy's arrays are rows too; a frame keeps the order of its columns. Raises `TooLarge`
    as soon as it must have more than `limit` bytes.
    """
    check(value, limit)
    seen = 0
    in_order = library_of(value) == "pandas" and type(value).__name__ == "DataFrame"
    if library_of(value) in ("numpy", "pandas"):
        value = plain(value)
    elif library_of(value) == "pyspark" and type(value).__name__ == "DataFrame":
        raise TypeError("a DataFrame of Spark is not rows: take some of it first, as df.take(100) does")
    rows = value if type(value) in (list, tuple) else [value]
    types: Dict[Any, str] = {}
    converted: List[Dict[Any, Any]] = []
    for row in rows:
        cells = {}
        seen += BRACKETS
        for name, cell in _cells(row):
            seen += LEAST_CELL
            if seen > limit:
                raise TooLarge(seen)
            check(cell, limit)
            kind, cells[name] = _convert(cell)
            known = types.setdefault(name, kind)
            if known == "NULL_TYPE":
                types[name] = kind
            elif kind not in (known, "NULL_TYPE"):
                raise TypeError("table rows have different types")
        converted.append(cells)
    names = list(types) if in_order else _sorted(types)
    return {
        "headers": [{"name": str(name), "type": types[name]} for name in names],
        "data": [[cells.get(name) for name in names] for cells in converted],
    }


def _sorted(names: Dict[Any, str]) -> List[Any]:
    try:
        return sorted(names)
    except TypeError:
        return sorted(names, key=str)


def _cells(row: Any):
    if type(row).__name__ == "Row" and hasattr(row, "asDict"):
        row = row.asDict()
    elif dataclasses.is_dataclass(row) and not isinstance(row, type):
        row = plain(row)
    if isinstance(row, dict):
        return row.items()
    return enumerate(row if isinstance(row, (list, tuple)) else [row])


def _convert(value: Any) -> Tuple[str, Any]:
    """The Livy type of a cell, and the cell as JSON has it."""
    if library_of(value) == "numpy":
        value = plain(value)
    kind = type(value)
    if kind in _PLAIN:
        return _PLAIN[kind], value
    if is_missing(value):
        return "NULL_TYPE", None
    if isinstance(value, datetime.datetime):
        return "TIMESTAMP_TYPE", str(value)
    if isinstance(value, datetime.date):
        return "DATE_TYPE", str(value)
    if isinstance(value, decimal.Decimal):
        return "DECIMAL_TYPE", str(value)
    if isinstance(value, (list, tuple)):
        return "ARRAY_TYPE", _convert_all(value)
    if isinstance(value, dict):
        _convert_all(value.keys())
        return "MAP_TYPE", dict(zip((str(key) for key in value), _convert_all(value.values())))
    return "STRING_TYPE", str(value)


def _convert_all(values: Any) -> List[Any]:
    """Cells of one type; None is of any."""
    pairs = [_convert(value) for value in values]
    if len({kind for kind, _value in pairs} - {"NULL_TYPE"}) > 1:
        raise TypeError("value has inconsistent types")
    return [value for _kind, value in pairs]
