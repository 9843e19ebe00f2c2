"""A value as Livy's table: headers with types, and rows. Calls nobody."""

import datetime
import decimal
from typing import Any, Dict, List, Tuple

_PLAIN = {
    type(None): "NULL_TYPE",
    bool: "BOOLEAN_TYPE",
    int: "INT_TYPE",
    float: "DOUBLE_TYPE",
    str: "STRING_TYPE",
}
_AS_TEXT = {
    datetime.date: "DATE_TYPE",
    datetime.datetime: "TIMESTAMP_TYPE",
    decimal.Decimal: "DECIMAL_TYPE",
}


def to_table(value: Any) -> Dict[str, Any]:
    """The table of a scalar, of a list of scalars, or of a list of rows (list, tuple, dict, Row)."""
    rows = value if type(value) in (list, tuple) else [value]
    types: Dict[Any, str] = {}
    converted: List[Dict[Any, Any]] = []
    for row in rows:
        cells = {}
        for name, cell in _cells(row):
            kind, cells[name] = _convert(cell)
            known = types.setdefault(name, kind)
            if known == "NULL_TYPE":
                types[name] = kind
            elif kind not in (known, "NULL_TYPE"):
                raise TypeError("table rows have different types")
        converted.append(cells)
    try:
        names = sorted(types)
    except TypeError:
        names = sorted(types, key=str)
    return {
        "headers": [{"name": str(name), "type": types[name]} for name in names],
        "data": [[cells.get(name) for name in names] for cells in converted],
    }


def _cells(row: Any):
    if type(row).__name__ == "Row" and hasattr(row, "asDict"):
        row = row.asDict()
    if isinstance(row, dict):
        return row.items()
    return enumerate(row if isinstance(row, (list, tuple)) else [row])


def _convert(value: Any) -> Tuple[str, Any]:
    """The Livy type of a cell, and the cell as JSON has it."""
    kind = type(value)
    if kind in _PLAIN:
        return _PLAIN[kind], value
    if kind in _AS_TEXT:
        return _AS_TEXT[kind], str(value)
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
