"""Keeps the head and the tail of a stream, in bounded memory, and joins stdout and stderr as Livy does.

Calls nobody.
"""

import codecs
import collections
import json
from typing import Deque, Iterator, NamedTuple, Optional

COALESCE = 256 << 10
"""Small writes are gathered into pieces of about this many bytes."""

NEWLINE, RETURN = b"\n", b"\r"


class Capture:
    """One stream: its first `keep` bytes, its last `keep` bytes, and how much there was."""

    def __init__(self, keep: int):
        self._keep = max(keep, 1)
        self.clear()

    def clear(self) -> None:
        self.total = 0
        self.lines = 0
        self._head = bytearray()
        self._tail: Deque[bytearray] = collections.deque()
        self._tail_bytes = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        self.lines += data.count(b"\n")
        room = self._keep - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if not data:
            return
        tail = self._tail
        if tail and len(tail[-1]) + len(data) <= COALESCE:
            tail[-1] += data
        else:
            tail.append(bytearray(data))
        self._tail_bytes += len(data)
        while self._tail_bytes - len(tail[0]) >= self._keep:
            self._tail_bytes -= len(tail.popleft())

    def whole(self) -> bytes:
        """Everything; to be asked only when `total` is at most twice `keep`."""
        return bytes(self._head) + b"".join(self._tail)

    def first(self, count: int) -> bytes:
        """The first `count` bytes, at most `keep`."""
        return bytes(self._head[:count])

    def last(self, count: int) -> bytes:
        """The last `count` bytes, at most `keep`."""
        tail = b"".join(self._tail)
        if len(tail) < count:
            tail = bytes(self._head) + tail
        return tail[-count:] if count else b""


class Kept(NamedTuple):
    """What is kept of a text: all of it, or its head and its tail."""

    head: bytes
    tail: bytes
    marker: str
    """The line between them; empty where nothing was cut."""
    seen: int
    """Bytes of the whole."""

    def text(self) -> str:
        """All three as one text. What is no UTF-8 becomes U+FFFD."""
        return "".join(self.pieces(strip=False))

    def pieces(self, strip: bool) -> Iterator[str]:
        """The text in pieces, so that a large one is in memory as bytes only; with `strip` its right end is
        stripped."""
        tail = _stripped(self.tail) if strip else self.tail
        head = _stripped(self.head) if strip and not self.marker and not tail else self.head
        yield from _decoded(head)
        if self.marker:
            joint = "" if head.endswith(NEWLINE) else "\n"
            yield f"{joint}{self.marker}\n"
        yield from _decoded(tail)


def keep(out: Capture, err: Capture, limit: int, setting: Optional[str] = None) -> Kept:
    """stdout, then stderr: all of it, if that has at most `limit` bytes, else the first and the last half.

    Each is cut at the end of a line, as `_head` and `_tail` say. `setting` is how the marker names the limit.
    """
    seen = out.total + err.total
    if seen <= limit:
        return Kept(out.whole(), err.whole(), "", seen)
    half = limit // 2
    head = out.first(half)
    if len(head) < half and out.total == len(head):
        head += err.first(half - len(head))
    tail = err.last(half)
    if len(tail) < half and err.total == len(tail):
        tail = out.last(half - len(tail)) + tail
    head, tail = _head(head), _tail(tail)
    lines = out.lines + err.lines - head.count(NEWLINE) - tail.count(NEWLINE)
    setting = setting or f"output.max_bytes is {size(limit)}"
    marker = f"[... {max(lines, 0)} lines, {size(seen - len(head) - len(tail))} cut: {setting} ...]"
    return Kept(head, tail, marker, seen)


def is_json(stream: Capture) -> bool:
    """Whether a stream's first and last line are objects of JSON, or one array of such, as far as they are
    kept: a program reads them, which a marker between them would break."""
    head = stream.first(stream.total).lstrip()
    first, ended, _rest = head.partition(NEWLINE)
    tail = stream.last(min(stream.total, len(head) or 1)).rstrip()
    _before, begun, last = tail.rpartition(NEWLINE)
    whole = stream.total == len(head)
    begins = _is_objects(first) if ended or whole else first.startswith((b'{"', b'[{"'))
    return begins and (_is_objects(last) if begun or whole else last.endswith((b"}", b"}]")))


def _is_objects(line: bytes) -> bool:
    if not line.startswith((b"{", b"[{")):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _head(data: bytes) -> bytes:
    """Up to the last end of a line, which a carriage return is too; where that would lose more than half, up
    to the end of a character."""
    end = max(data.rfind(NEWLINE), data.rfind(RETURN)) + 1
    return data[:end] if end * 2 >= len(data) else data[: character_start(data, len(data))]


def _tail(data: bytes) -> bytes:
    """From the first line that begins in it; where that would lose more than half, from a character on."""
    ends = [end for end in (data.find(NEWLINE), data.find(RETURN)) if end >= 0]
    start = min(ends, default=-1) + 1
    if data[start - 1 : start + 1] == RETURN + NEWLINE:
        start += 1
    if 0 < start <= len(data) // 2:
        return data[start:]
    start = 0
    while start < min(3, len(data)) and data[start] & 0xC0 == 0x80:
        start += 1
    return data[start:]


def character_start(data: bytes, end: int) -> int:
    """The last place at or before `end` where no UTF-8 character is cut in two."""
    for back in range(1, min(4, end) + 1):
        byte = data[end - back]
        if byte & 0xC0 != 0x80:
            width = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return end if width <= back else end - back
    return end


def _decoded(data: bytes) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for start in range(0, len(data), COALESCE):
        yield decoder.decode(data[start : start + COALESCE], start + COALESCE >= len(data))


def _stripped(data: bytes) -> bytes:
    """Without the white space at its end, as `str.rstrip` knows it."""
    end = len(data)
    while end:
        start = character_start(data, max(end - COALESCE, 0))
        text = data[start:end].decode("utf-8", "replace")
        stripped = text.rstrip()
        end -= len(text[len(stripped) :].encode("utf-8"))
        if stripped:
            break
    return data[:end]


def size(count: int) -> str:
    """Bytes for people: `16 MiB`, `1.2 GB`."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if unit <= count < 1024 * unit and count % unit == 0:
            return f"{count // unit} {name}"
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
