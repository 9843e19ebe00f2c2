"""What of Arrow's stream format (Columnar.rst, IPC) the agent must know. Pure functions; calls nobody."""

import struct

END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"

PREFIX_BYTES = 8
"""A message begins with a marker and the length of its metadata."""

MAX_METADATA = 16 << 20
"""The longest metadata that is looked at: one of a batch has some bytes for each column."""

_RECORD_BATCH = 3
_HEADER_TYPE, _HEADER, _LENGTH = 1, 2, 0
"""The places of fields in the tables Message and RecordBatch."""


def metadata_bytes(prefix: bytes) -> int:
    """How long the metadata is that follows the prefix."""
    marker, length = struct.unpack("<II", prefix)
    if marker != 0xFFFFFFFF or length > MAX_METADATA:
        raise ValueError("this is no Arrow message")
    return length


def rows_of(metadata: bytes) -> int:
    """How many rows the record batch has, from its Message, a flatbuffer."""
    message = struct.unpack_from("<I", metadata)[0]
    kind = _field(metadata, message, _HEADER_TYPE)
    header = _field(metadata, message, _HEADER)
    if not kind or metadata[kind] != _RECORD_BATCH or not header:
        raise ValueError("this Arrow message is no record batch")
    batch = header + struct.unpack_from("<I", metadata, header)[0]
    length = _field(metadata, batch, _LENGTH)
    return struct.unpack_from("<q", metadata, length)[0] if length else 0


def _field(data: bytes, table: int, index: int) -> int:
    """Where a table's field is; 0 where it has its default."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    at = 4 + 2 * index
    if at >= struct.unpack_from("<H", data, vtable)[0]:
        return 0
    offset = struct.unpack_from("<H", data, vtable + at)[0]
    return table + offset if offset else 0
