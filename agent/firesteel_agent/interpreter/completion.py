"""Completion from the live names, on a thread of its own so that it answers while a statement runs.

Nothing is called to find candidates but attribute lookups. Calls frames, outlet and values.
"""

import builtins
import keyword
import os
import re
import threading
from typing import Any, Dict, List

from ..frames import Decoder
from .outlet import send
from .values import dumps

_read = os.read

_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\.?$|$", re.UNICODE)
MAX_CANDIDATES = 1000


def serve_on(channel: int, names: Dict[str, Any], max_frame: int) -> None:
    """Answer the requests of the channel, a descriptor, on a thread."""
    threading.Thread(
        target=_serve, args=(channel, names, max_frame), name="firesteel-completion", daemon=True
    ).start()


def _serve(channel: int, names: Dict[str, Any], max_frame: int) -> None:
    decoder = Decoder(max_frame)
    while True:
        data = _read(channel, 65536)
        if not data:
            return
        for header, body in decoder.feed(data):
            try:
                found = candidates(body.decode("utf-8", "replace"), header["cursor"], names)
            except Exception:  # A property of a user's class may raise anything.
                found = []
            send(channel, {"type": "completion", "request": header["request"]}, dumps(found))


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
