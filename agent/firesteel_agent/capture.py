"""Keeps the head and the tail of a stream, in bounded memory, and joins stdout and stderr as Livy does.

Calls nobody.
"""

import collections
from typing import Deque, NamedTuple, Optional

COALESCE = 256 << 10
"""Small writes are gathered into pieces of about this many bytes."""


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


class Text(NamedTuple):
    """What a statement printed; `cut`: it is head, marker line and tail; `seen`: its size in bytes."""

    text: str
    cut: bool
    seen: int
    first_line: str
    last_line: str


def join(out: Capture, err: Capture, limit: int, setting: Optional[str] = None, strip: bool = True) -> Text:
    """stdout, then stderr, as one text of about `limit` bytes at most, the right end stripped if so wished.

    `setting` is how the marker names the limit.
    """
    seen = out.total + err.total
    if seen <= limit:
        text = (out.whole() + err.whole()).decode("utf-8", "replace")
        return Text(text.rstrip() if strip else text, False, seen, "", "")
    half = limit // 2
    head = out.first(half)
    if len(head) < half and out.total == len(head):
        head += err.first(half - len(head))
    tail = err.last(half)
    if len(tail) < half and err.total == len(tail):
        tail = out.last(half - len(tail)) + tail
    head, tail = _to_boundary(head, tail)
    lines = out.lines + err.lines - head.count(b"\n") - tail.count(b"\n")
    setting = setting or f"output.max_bytes is {size(limit)}"
    marker = f"[... {max(lines, 0)} lines, {size(seen - len(head) - len(tail))} cut: {setting} ...]"
    head_text, tail_text = head.decode("utf-8", "replace"), tail.decode("utf-8", "replace")
    first_line = head_text.partition("\n")[0]
    last_line = tail_text.rstrip().rpartition("\n")[2]
    if strip:
        tail_text = tail_text.rstrip()
    joint = "" if head_text.endswith("\n") else "\n"
    return Text(f"{head_text}{joint}{marker}\n{tail_text}", True, seen, first_line, last_line)


def _to_boundary(head: bytes, tail: bytes):
    """Cut both at a line's end, or at a character's where that would lose more than half."""
    line_end = head.rfind(b"\n") + 1
    head = head[:line_end] if line_end * 2 >= len(head) else head[: _character_start(head, len(head))]
    line_start = tail.find(b"\n") + 1
    if 0 < line_start <= len(tail) // 2:
        return head, tail[line_start:]
    start = 0
    while start < min(4, len(tail)) and tail[start] & 0xC0 == 0x80:
        start += 1
    return head, tail[start:]


def _character_start(data: bytes, end: int) -> int:
    """The last place at or before `end` where no UTF-8 character is cut in two."""
    for back in range(1, min(4, end) + 1):
        byte = data[end - back]
        if byte & 0xC0 != 0x80:
            width = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return end if width <= back else end - back
    return end


def size(count: int) -> str:
    """Bytes for people: `16 MiB`, `1.2 GB`."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if unit <= count < 1024 * unit and count % unit == 0:
            return f"{count // unit} {name}"
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
