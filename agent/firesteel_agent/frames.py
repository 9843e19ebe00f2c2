"""Frames: a JSON header and raw bytes. Shared by the link and by the interpreters' channels; calls nobody.

    u32 length | u32 header length | header: a JSON object in UTF-8 | body

Both numbers are big-endian; `length` counts everything after itself.
"""

import json
import struct
from typing import Any, Dict, List, Tuple

MAX_HEADER = 1 << 20
"""A header's limit in bytes."""

OVERHEAD = MAX_HEADER + 8
"""What a frame may have beyond its body, in bytes."""

_LENGTHS = struct.Struct(">II")
_encode_json = json.JSONEncoder(separators=(",", ":")).encode
_decode_json = json.JSONDecoder().decode

Header = Dict[str, Any]


class BadFrame(Exception):
    """The bytes break the format; the connection they came over can't be used further."""


def encode(header: Header, body: bytes = b"") -> bytes:
    """One frame as bytes."""
    return head(header, len(body)) + body


def head(header: Header, body_length: int) -> bytes:
    """All of a frame but its body."""
    text = _encode_json(header).encode("ascii")
    if len(text) > MAX_HEADER:
        raise BadFrame(f"a header of {len(text)} bytes, at most {MAX_HEADER} are allowed")
    return _LENGTHS.pack(4 + len(text) + body_length, len(text)) + text


class Decoder:
    """Cuts a stream of bytes into frames of at most `max_frame` bytes each."""

    def __init__(self, max_frame: int):
        self._max_frame = max_frame
        self._buffer = bytearray()

    def feed(self, data: bytes) -> List[Tuple[Header, bytes]]:
        """The frames that are complete now. Raises `BadFrame`."""
        buffer = self._buffer
        buffer += data
        frames = []
        start = 0
        while len(buffer) - start >= 8:
            length, header_length = _LENGTHS.unpack_from(buffer, start)
            if length > self._max_frame or header_length > MAX_HEADER or header_length + 4 > length:
                raise BadFrame(f"lengths {length} and {header_length} are not allowed")
            end = start + 4 + length
            if len(buffer) < end:
                break
            head_end = start + 8 + header_length
            frames.append((_header(buffer[start + 8 : head_end]), bytes(buffer[head_end:end])))
            start = end
        if start:
            del buffer[:start]
        return frames


def _header(raw: bytearray) -> Header:
    try:
        header = _decode_json(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"a header that is not JSON: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("type"), str):
        raise BadFrame("a header that is not an object with a type")
    return header
