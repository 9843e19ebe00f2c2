"""Completion from the live names, on a thread of its own so that it answers while a statement runs.

Nothing is called to find candidates but attribute lookups. Calls frames.
"""

import builtins
import json
import keyword
import re
import socket
import threading
from typing import Any, Dict, List

from ..frames import Decoder, encode

_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\.?$|$", re.UNICODE)
MAX_CANDIDATES = 1000


def serve_on(channel: socket.socket, names: Dict[str, Any], max_frame: int) -> socket.socket:
    """Answer the requests of the channel on a thread; returns the channel."""
    threading.Thread(
        target=_serve, args=(channel, names, max_frame), name="firesteel-completion", daemon=True
    ).start()
    return channel


def _serve(channel: socket.socket, names: Dict[str, Any], max_frame: int) -> None:
    decoder = Decoder(max_frame)
    while True:
        data = channel.recv(65536)
        if not data:
            return
        for header, body in decoder.feed(data):
            try:
                found = candidates(body.decode("utf-8", "replace"), header["cursor"], names)
            except Exception:  # A property of a user's class may raise anything.
                found = []
            channel.sendall(
                encode(
                    {"type": "completion", "request": header["request"]}, json.dumps(found).encode("ascii")
                )
            )


def candidates(code: str, cursor: int, names: Dict[str, Any]) -> List[str]:
    """What the last part of the dotted name before the cursor (in characters) may become."""
    line = code[: max(cursor, 0)].rpartition("\n")[2]
    match = _DOTTED.search(line)
    text = match.group() if match else ""
    if match and match.start() and line[match.start() - 1] in ".)]}\"'":
        return []  # An attribute of something that would have to be called or computed.
    base, dot, prefix = text.rpartition(".")
    found = _attributes(base, names) if dot else {*names, *dir(builtins), *keyword.kwlist}
    if not dot and not prefix:
        return []
    return sorted(
        name
        for name in found
        if isinstance(name, str)
        and name.startswith(prefix)
        and (prefix or not name.startswith("_"))
        and (not name.startswith("_") or prefix.startswith("_"))
    )[:MAX_CANDIDATES]


def _attributes(base: str, names: Dict[str, Any]) -> List[str]:
    first, *rest = base.split(".")
    if first in names:
        value = names[first]
    elif hasattr(builtins, first):
        value = getattr(builtins, first)
    else:
        return []
    for part in rest:
        value = getattr(value, part)
    return dir(value)
