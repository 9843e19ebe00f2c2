"""Brings the rows of one SQL statement from the JVM, within limits. Calls spark and values.

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

LEAST_ROW_BYTES = 2 << 10
ROOM_FACTOR = 4
"""A row of more than LEAST_ROW_BYTES, and of more than ROOM_FACTOR times the average in a full result, is
only measured at first. So the driver holds a few times the limit, however large the rows are."""

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
        # A row's own text has names of columns that the result does not have.
        self._most = max_bytes + 16 * max_rows
        self._seen = 0

    def run(self, frame: Any, wanted: bool) -> Tuple[dict, str, Optional[int]]:
        """The schema, the rows as JSON arrays joined by commas, and the row limit when it cut them.

        Rows that are not wanted are computed all the same, so that what fails is told.
        """
        schema = json.loads(frame.schema().json())
        fields = schema["fields"]
        if not fields:
            return schema, "", None
        usual = max(LEAST_ROW_BYTES, ROOM_FACTOR * self._max_bytes // self._max_rows)
        shown = self._shown(frame, fields, min(usual, self._max_bytes))
        constant = _constant(frame, shown)
        found = shown.takeAsList(self._max_rows + 1) if constant is None else None
        if not wanted:
            return schema, "", None
        # A constant row as a Java list of rows writes itself.
        objects = self._fetch(found) if constant is None else self._objects(f"[[{constant}]]")
        if None in objects:
            # A row is longer than most may be, and all of them are not too long: they are computed once more.
            found = self._shown(frame, fields, self._most).takeAsList(self._max_rows + 1)
            objects = self._fetch(found)
        cut = found is not None and found.size() > self._max_rows
        write = row_writer(fields)
        rows = [write(row) for row in objects if row is not None]
        return schema, ",".join(rows), self._max_rows if cut else None

    def _shown(self, frame: Any, fields: List[dict], most: int) -> Any:
        """The rows as one JSON text each, or `#` and its size where that has more than `most` bytes."""
        names = plain_names(fields)
        if not names:
            names = [str(index) for index in range(len(fields))]
            frame = frame.toDF(self._strings(names))
        row = row_expression(fields, names)
        if len(fields) > MANY_FIELDS:
            frame, row = frame.selectExpr(self._strings([f"{row} as row"])), "row"
        short = f"if(octet_length({row}) > {most}, concat('#', octet_length({row})), {row}) as row"
        return frame.selectExpr(self._strings([short]))

    def _fetch(self, found: Any) -> List[Optional[dict]]:
        """The rows' objects, None for one whose text is not there. A list of rows is one text for Java, which
        crosses at once."""
        rows: List[Optional[dict]] = []
        size, step, crossed = min(found.size(), self._max_rows), FIRST_ROWS, 0
        self._seen = 0
        while len(rows) < size:
            upto = min(size, len(rows) + step)
            part = found if upto - len(rows) == found.size() else found.subList(len(rows), upto)
            text = part.toString()
            crossed += len(text)
            rows += self._objects(text)
            step = max(1, min(8 * step, FETCH_BYTES * len(rows) // crossed))
        return rows

    def _objects(self, text: str) -> List[Optional[dict]]:
        """The objects in `[[{...}], [{...}]]`, None for `#` and digits: one that is too long."""
        objects: List[Optional[dict]] = []
        at = 2
        while at < len(text):
            if text[at] == "#":
                end = text.index("]", at)
                self._see(int(text[at + 1 : end]))
                row = None
            else:
                row, end = decode(text, at)
                self._see(end - at)
            objects.append(row)
            at = end + len("], [")
        return objects

    def _see(self, count: int) -> None:
        self._seen += count
        if self._seen > self._most:
            raise TooLarge(self._seen)

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
