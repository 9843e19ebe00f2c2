"""Runs one SQL statement and brings its rows from the JVM, within limits. Calls spark and sql_values.

Blocks: on a worker only.
"""

import json
from typing import Any, List, Optional, Tuple

from .spark import Spark
from .sql_values import plain_names, row_expression, row_writer

FETCH_BYTES = 4 << 20
"""About how much of a result crosses from the JVM at once."""

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
        found = self._collect(frame, fields)
        lines = self._fetch(found) if wanted else []
        cut = len(lines) > self._max_rows
        write = row_writer(fields)
        rows = ",".join([write(line) for line in lines[: self._max_rows]])
        return schema, rows, self._max_rows if cut else None

    def _collect(self, frame: Any, fields: List[dict]) -> Any:
        """One row more than the limit, as a Java list of JSON; of a row that is too long only its size."""
        jvm, most = self._spark.jvm, self._max_bytes
        names = plain_names(fields)
        if not names:
            names = [str(index) for index in range(len(fields))]
            frame = frame.toDF(self._strings(names))
        row = row_expression(fields, names)
        if len(fields) > MANY_FIELDS:
            frame, row = frame.selectExpr(self._strings([f"{row} as row"])), "row"
        short = f"if(octet_length({row}) > {most}, concat('#', octet_length({row})), {row}) as row"
        rows = frame.selectExpr(self._strings([short])).limit(self._max_rows + 1)
        return getattr(rows, "as")(jvm.org.apache.spark.sql.Encoders.STRING()).collectAsList()

    def _fetch(self, found: Any) -> List[str]:
        jvm, most = self._spark.jvm, self._max_bytes
        lines: List[str] = []
        size, count, step = found.size(), 0, 1
        while len(lines) < size:
            upto = min(size, len(lines) + step)
            text = jvm.java.lang.String.join("\n", found.subList(len(lines), upto))
            count += len(text)
            if text.startswith("#") or "\n#" in text or count > most:
                long = [int(line[1:]) for line in text.split("\n") if line.startswith("#")]
                raise TooLarge(max([count, *long]))
            lines += text.split("\n")
            step = max(1, min(8 * step, FETCH_BYTES * len(lines) // max(count, 1)))
        return lines

    def _strings(self, values: List[str]) -> Any:
        """A Java array."""
        array = self._spark.gateway.new_array(self._spark.jvm.java.lang.String, len(values))
        for index, value in enumerate(values):
            array[index] = value
        return array
