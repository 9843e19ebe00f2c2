"""Writes frames to the agent, with nothing that user code can change between calls. Calls values."""

import os
import struct
from typing import Any, Dict

from .values import dumps

_write = os.write
_pack = struct.Struct(">II").pack


def send(channel: int, header: Dict[str, Any], body: bytes = b"") -> None:
    """Write one frame (docs/link.md, Frames) to a blocking descriptor. Raises OSError when it is closed."""
    text = dumps(header)
    rest = memoryview(_pack(4 + len(text) + len(body), len(text)) + text + body)
    while rest:
        rest = rest[_write(channel, rest) :]
