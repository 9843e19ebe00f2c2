"""Livy's output objects as JSON bytes, within the limits. Calls capture."""

import base64
import json
from typing import List, Optional, Sequence, Tuple

from .capture import Capture, join, size

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Value = Tuple[str, bytes]
"""A MIME type and its value as JSON."""

FRAME_ROOM = 1 << 20
"""Bytes of a frame that are left for all but the output."""


def dumps(value) -> bytes:
    """JSON in UTF-8; lone surrogates, which strict parsers refuse, become U+FFFD."""
    text = _encode(value)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode("utf-8")


def error(statement: int, ename: str, evalue: str, traceback: Optional[List[str]] = None) -> bytes:
    """The output of a statement that failed."""
    return dumps(
        {
            "status": "error",
            "execution_count": statement,
            "ename": ename,
            "evalue": evalue,
            "traceback": traceback or [],
        }
    )


def job_result(result: Optional[bytes]) -> bytes:
    """The output of a job that succeeded; its client decodes the result from base64."""
    return dumps({"status": "ok", "result": result and base64.b64encode(result).decode("ascii")})


def too_large(statement: int, what: str, seen: int, limit: int) -> bytes:
    """The error for a structured result over its limit: a cut one would not be what it says it is."""
    return error(
        statement,
        "ResultTooLarge",
        f"{what} has {size(seen)} and output.max_bytes is {size(limit)}. "
        "Ask for fewer rows or columns, or write the result to storage.",
    )


class Composer:
    """Makes outputs for statements of one driver."""

    def __init__(self, output_max_bytes: int, max_frame: int):
        self._limit = output_max_bytes
        self._max_output = max_frame - FRAME_ROOM

    def ok(
        self, statement: int, out: Capture, err: Capture, values: Sequence[Value] = (), strip: bool = True
    ) -> bytes:
        """Text beside the values; as in Livy, an empty one beside an image and none beside a table.

        With `strip` the text's right end is stripped, as Livy does for Python and not for Scala.
        """
        needs_text = all(mime.startswith("image/") for mime, _value in values)

        def build(text: str) -> bytes:
            parts = [b"%s:%s" % (dumps(mime), value) for mime, value in values]
            if text or needs_text:
                parts.append(b'"text/plain":' + dumps(text))
            head = b'{"status":"ok","execution_count":%d,"data":{' % statement
            return b"".join((head, b",".join(parts), b"}}"))

        return self._fit(statement, out, err, build, strip)

    def failed(self, statement: int, out: Capture, err: Capture, failure: dict) -> bytes:
        """An error; what was printed before it is kept."""

        def build(text: str) -> bytes:
            whole = {
                "status": "error",
                "execution_count": statement,
                "ename": failure["ename"],
                "evalue": failure["evalue"],
                "traceback": failure["traceback"],
            }
            if text:
                whole["traceback"] = [text + "\n", *whole["traceback"]]
                whole["data"] = {"text/plain": text}
            return dumps(whole)

        return self._fit(statement, out, err, build)

    def _fit(self, statement: int, out: Capture, err: Capture, build, strip: bool = True) -> bytes:
        """Build with as much text as the limit and the frame allow: escapes make JSON longer than text."""
        limit = self._limit
        while True:
            text = join(out, err, limit, f"output.max_bytes is {size(self._limit)}", strip)
            if text.cut and _is_object(text.first_line) and _is_object(text.last_line):
                # Lines of JSON are read by a program, which one marker line would break.
                return too_large(statement, "The text, which is lines of JSON,", text.seen, self._limit)
            output = build(text.text)
            if len(output) <= self._max_output or limit < 1024:
                return output
            limit //= 2


def _is_object(line: str) -> bool:
    if not line.startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
