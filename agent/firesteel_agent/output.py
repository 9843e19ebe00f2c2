"""Livy's output objects as JSON bytes, within the limits. Calls capture."""

import base64
import json
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .capture import Capture, is_json, keep, size

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Value = Tuple[str, bytes]
"""A MIME type and its value as JSON."""

FRAME_ROOM = 1 << 20
"""Bytes of a frame that are left for all but the output."""

LEAST = 1024
"""A text is not cut to fewer bytes, whatever it is as JSON."""

TOO_LARGE = "ResultTooLarge"

ADVICE = "Ask for fewer rows or columns, or write the result to storage."


class Output(NamedTuple):
    """A statement's output object."""

    json: bytes = b""
    """None for one that was cancelled."""
    cut: Optional[Dict[str, Any]] = None
    """Which limit in bytes it met: `what` (`text` or `structured`), `limit`, and `seen`, as far as was
    counted."""
    rows_cut: Optional[int] = None
    """The row limit that cut it."""


NOTHING = Output()


def dumps(value) -> bytes:
    """JSON in UTF-8; lone surrogates, which strict parsers refuse, become U+FFFD."""
    text = _encode(value)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode("utf-8")


def error(statement: int, ename: str, evalue: str, traceback: Optional[List[str]] = None) -> Output:
    """The output of a statement that failed."""
    return Output(
        dumps(
            {
                "status": "error",
                "execution_count": statement,
                "ename": ename,
                "evalue": evalue,
                "traceback": traceback or [],
            }
        )
    )


def job_result(result: Optional[bytes]) -> Output:
    """The output of a job that succeeded; its client decodes the result from base64."""
    return Output(dumps({"status": "ok", "result": result and base64.b64encode(result).decode("ascii")}))


def too_large(statement: int, what: str, seen: int, limit: int) -> Output:
    """The error for a structured result over its limit: a cut one would not be what it says it is."""
    failure = too_large_failure(what, seen, limit)
    return error(statement, failure["ename"], failure["evalue"])._replace(cut=structured(seen, limit))


def too_large_failure(what: str, seen: int, limit: int) -> dict:
    """The same as a failure, for `Composer.failed`, which keeps what was printed."""
    return {"ename": TOO_LARGE, "evalue": too_large_sentence(what, seen, limit), "traceback": []}


def too_large_sentence(what: str, seen: int, limit: int) -> str:
    """The limit, what was seen, and what to do."""
    return f"{what} has {size(seen)} and output.max_bytes is {size(limit)}. {ADVICE}"


def structured(seen: int, limit: int) -> Dict[str, Any]:
    """The cut of a result that was too large."""
    return {"what": "structured", "limit": limit, "seen": seen}


class Composer:
    """Makes outputs for statements of one driver."""

    def __init__(self, output_max_bytes: int, max_frame: int):
        self._limit = output_max_bytes
        self._max_output = max_frame - FRAME_ROOM

    def ok(
        self, statement: int, out: Capture, err: Capture, values: Sequence[Value] = (), strip: bool = True
    ) -> Output:
        """Text beside the values; as in Livy, an empty one beside an image and none beside a table.

        With `strip` the text's right end is stripped, as Livy does for Python and not for Scala.
        """
        needs_text = all(mime.startswith("image/") for mime, _value in values)

        def build(text: bytes) -> bytes:
            parts = [b"%s:%s" % (dumps(mime), value) for mime, value in values]
            if text != EMPTY or needs_text:
                parts.append(b'"text/plain":' + text)
            head = b'{"status":"ok","execution_count":%d,"data":{' % statement
            return b"".join((head, b",".join(parts), b"}}"))

        return self._fit(statement, out, err, build, strip=strip)

    def failed(self, statement: int, out: Capture, err: Capture, failure: dict) -> Output:
        """An error; what was printed before it is kept, twice."""

        def build(text: bytes) -> bytes:
            told = error(statement, failure["ename"], failure["evalue"], failure["traceback"]).json
            if text == EMPTY:
                return told
            head, key, entries = told.rpartition(b'"traceback":[')
            comma = b"," if failure["traceback"] else b""
            more = b',"data":{"text/plain":%s}}' % text
            return b"".join((head, key, text[:-1], b'\\n"', comma, entries[:-1], more))

        return self._fit(statement, out, err, build, times=2)

    def _fit(
        self,
        statement: int,
        out: Capture,
        err: Capture,
        build: Callable[[bytes], bytes],
        times: int = 1,
        strip: bool = True,
    ) -> Output:
        """Build with as much of the text as the limit and the frame allow; the text is there `times`.

        Escapes make JSON longer than text. It may be half as long again as the limit, and what would be more
        is cut to less. JSON's own lines may be longer: a cut would break them.
        """
        limit, setting = self._limit, f"output.max_bytes is {size(self._limit)}"
        while True:
            kept = keep(out, err, limit, setting)
            if kept.marker and is_json(out):
                return too_large(statement, "The text, which is lines of JSON,", kept.seen, self._limit)
            text = _quoted(kept.pieces(strip))
            most = self._limit * 3 // 2
            length = len(text) * times
            if length <= most or limit <= LEAST or (not kept.marker and is_json(out)):
                output = build(text)
                if len(output) <= self._max_output or limit <= LEAST:
                    cut = {"what": "text", "limit": self._limit, "seen": kept.seen} if kept.marker else None
                    return Output(output, cut)
                length, most = len(output), self._max_output
            shown = min(limit, kept.seen)
            limit = max(min(shown - 1, shown * most // length), LEAST)


EMPTY = b'""'


def _quoted(pieces) -> bytes:
    """A string of JSON."""
    return b'"%s"' % b"".join([_encode(piece)[1:-1].encode("utf-8") for piece in pieces])
