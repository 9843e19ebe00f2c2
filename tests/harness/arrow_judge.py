"""Reads results with pyarrow, with the Python of .venv/arrow: `arrow_judge.py FORMAT FILE` prints JSON."""

import datetime
import decimal
import json
import sys

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet


def plain(value):
    """A value as JSON, the same as the driver's `PLAIN` makes it."""
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return [plain(field) for field in value.values()]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def read(kind, path):
    """The table in a file."""
    if kind == "arrow":
        with pa.ipc.open_stream(path) as stream:
            return stream.read_all()
    if kind == "parquet":
        return pyarrow.parquet.read_table(path)
    return pyarrow.csv.read_csv(path)


def main():
    """Print the table's types, columns and rows."""
    table = read(*sys.argv[1:3])
    table.validate(full=True)
    columns = [column.to_pylist() for column in table.columns]
    rows = [[plain(value) for value in row] for row in zip(*columns)]
    types = [[field.name, str(field.type)] for field in table.schema]
    print(json.dumps({"types": types, "rows": rows}))


main()
