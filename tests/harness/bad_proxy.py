"""A TCP proxy on a bad way: it delays everything, stalls now and then, and cuts connections off."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from queue import SimpleQueue
from typing import Callable

SEGMENT = 1400
LINGER_NOT = struct.pack("ii", 1, 0)


class BadProxy:
    """Forwards to a port of loopback.

    Each segment comes `delay` seconds late, and one in a hundred holds up all behind it for `stall` more.
    """

    def __init__(self, port: int, delay: float = 0.05, stall: float = 0.2, seed: int = 1):
        self.target = port
        self.delay, self.stall = delay, stall
        self.chance = random.Random(seed)
        self.connections = 0
        self.stalls = 0
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    def _start(self, run: Callable[..., None], *given: object) -> None:
        threading.Thread(target=run, args=given, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    near.close()
                    continue
                with self._lock:
                    self.connections += 1
                    self._ends |= {near, far}
                for source, sink in ((near, far), (far, near)):
                    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
                    self._start(self._take, source, way)
                    self._start(self._give, sink, way)

    def _take(self, source: socket.socket, way: SimpleQueue[tuple[float, bytes]]) -> None:
        due = 0.0
        with contextlib.suppress(OSError):
            while data := source.recv(SEGMENT):
                due = max(due, time.monotonic() + self.delay)
                if self.chance.random() < 0.01:
                    self.stalls += 1
                    due += self.stall
                way.put((due, data))
        way.put((due, b""))

    def _give(self, sink: socket.socket, way: SimpleQueue[tuple[float, bytes]]) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = way.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)

    def reset(self) -> int:
        """Cut all connections off, without a goodbye, whatever is on its way; how many ends there were."""
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
                # Threads hold it: only this ends their calls.
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        return len(ends)

    def close(self) -> None:
        """End it, with all connections."""
        self._listener.close()
        self.reset()
