"""Answers completion requests on a thread of its own, so that it answers while a statement runs.

Calls candidates, frames, outlet and values.
"""

import os
import threading
from typing import Any, Dict

from ...frames import Decoder
from .candidates import candidates
from .outlet import send
from .values import dumps

_read = os.read


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
            except BaseException:  # User code's own `__dir__` may raise anything, and exit.
                found = []
            send(channel, {"type": "completion", "request": header["request"]}, dumps(found))
