"""Runs one SQL statement and brings its rows from the JVM, within limits. Calls spark and values.

Blocks: on a worker only.
"""

import json
from typing import Any, List, Optional, Tuple

from ..spark import Spark
from .values import decode, plain_names, row_expression, row_writer

FETCH_BYTES = 4 << 20
"""About how much of a result crosses from the JVM at once."""

FIRST_ROWS = 1
"""Rows that cross at first: their size tells how many may come next."""

MANY_FIELDS = 20
"""More columns than that are made JSON in a step of their own, since their expression is long to parse."""


class TooLarge(Exception):
    """The rows have more bytes than a result may have; the argument is how many were seen."""


class Rows:
    """The rows of a statement: at most `max_rows` of them, with at most `max_bytes`."""

    def __init__(self, spark: Spark, max_bytes: int, max_rows: int):
        self._spark = spark
        self._max_bytes = max_bytes
        self._max_rows = max_rows

    def run(self, statement: str, wanted: bool) -> Tuple[dict, str, Optional[int]]:
        """The schema, the rows as JSON arrays joined by commas, and the row limit when it cut them.

        Rows that are not wanted are computed all the same, so that what fails is told.
        """
        frame = self._spark.session().sql(statement)
        schema = json.loads(frame.schema().json())
        fields = schema["fields"]
        if not fields:
            return schema, "", None
        shown = self._shown(frame, fields)
        constant = _constant(frame, shown)
        found = shown.takeAsList(self._max_rows + 1) if constant is None else None
        if not wanted:
            return schema, "", None
        # A constant row as a Java list of rows writes itself.
        objects = self._fetch(found) if constant is None else _objects(f"[[{constant}]]")
        write = row_writer(fields)
        rows = [write(row) for row in objects]
        cut = len(rows) > self._max_rows
        return schema, ",".join(rows[: self._max_rows]), self._max_rows if cut else None

    def _shown(self, frame: Any, fields: List[dict]) -> Any:
        """The rows as one JSON text each, or `#` and its size where that is too long."""
        most = self._max_bytes
        names = plain_names(fields)
        if not names:
            names = [str(index) for index in range(len(fields))]
            frame = frame.toDF(self._strings(names))
        row = row_expression(fields, names)
        if len(fields) > MANY_FIELDS:
            frame, row = frame.selectExpr(self._strings([f"{row} as row"])), "row"
        short = f"if(octet_length({row}) > {most}, concat('#', octet_length({row})), {row}) as row"
        return frame.selectExpr(self._strings([short]))

    def _fetch(self, found: Any) -> List[dict]:
        """The rows' objects. A list of rows is one text for Java, which crosses at once."""
        rows: List[dict] = []
        size, seen, step = found.size(), 0, FIRST_ROWS
        while len(rows) < size:
            upto = min(size, len(rows) + step)
            part = found if upto - len(rows) == size else found.subList(len(rows), upto)
            text = part.toString()
            seen += len(text)
            if seen > self._max_bytes + 16 * self._max_rows:
                raise TooLarge(seen)
            rows += _objects(text)
            step = max(1, min(8 * step, FETCH_BYTES * len(rows) // seen))
        return rows

    def _strings(self, values: List[str]) -> Any:
        """A Java array."""
        array = self._spark.gateway.new_array(self._spark.string_class, len(values))
        for index, value in enumerate(values):
            array[index] = value
        return array


def _constant(frame: Any, shown: Any) -> Optional[str]:
    """The one row of `SELECT 1` and the like, which Spark's optimizer has computed already.

    Clients ask that to see whether a session is alive; a job would take longer than all else.
    """
    if not _is(frame.queryExecution().analyzed(), "Project", "OneRowRelation"):
        return None
    plan = shown.queryExecution().optimizedPlan()
    if not _is(plan, "Project", "OneRowRelation"):
        return None
    value = plan.projectList().head().child()
    return value.value().toString() if value.getClass().getSimpleName() == "Literal" else None


def _is(plan: Any, name: str, child: str) -> bool:
    """Whether a plan is a node of this class above one of that class."""
    if plan.getClass().getSimpleName() != name:
        return False
    return plan.child().getClass().getSimpleName() == child


def _objects(text: str) -> List[dict]:
    """The objects in `[[{...}], [{...}]]`, where `#` and digits stand for one that is too long."""
    objects: List[dict] = []
    at = 2
    while at < len(text):
        if text[at] == "#":
            raise TooLarge(int(text[at + 1 : text.index("]", at)]))
        row, end = decode(text, at)
        objects.append(row)
        at = end + len("], [")
    return objects
