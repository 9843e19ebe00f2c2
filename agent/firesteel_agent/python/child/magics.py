"""Livy's magics, `%json`, `%table` and `%matplot`: each takes a variable's name.

Calls rich, table and values.
"""

import base64
from typing import Any, Callable, Dict, Tuple

from .errors import UnknownMagic
from .rich import png
from .table import to_table
from .values import dumps

Result = Tuple[str, bytes]
"""A MIME type and its value as JSON."""


def run(line: str, names: Dict[str, Any], limit: int) -> Result:
    """Run the magic of a line (without its `%`). Raises `TooLarge` for more than `limit` bytes."""
    words = line.split(None, 1)
    if not words:
        raise UnknownMagic("magic command not specified")
    magic = MAGICS.get(words[0])
    if magic is None:
        raise UnknownMagic(f"unknown magic command '{words[0]}'")
    name = words[1].strip() if len(words) > 1 else ""
    if name not in names:
        raise NameError(f"name '{name}' is not defined")
    return magic(names[name], limit)


def _json(value: Any, limit: int) -> Result:
    return "application/json", dumps(value, limit)


def _table(value: Any, limit: int) -> Result:
    return "application/vnd.livy.table.v1+json", dumps(to_table(value, limit), limit)


def _matplot(plot: Any, limit: int) -> Result:
    return "image/png", dumps(base64.b64encode(png(plot.gcf().savefig)).decode("ascii"), limit)


MAGICS: Dict[str, Callable[[Any, int], Result]] = {"json": _json, "table": _table, "matplot": _matplot}
