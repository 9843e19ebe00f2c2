"""Many HTTP clients in one thread, at little cost: what is measured is the server, on the same cores."""

from __future__ import annotations

import heapq
import itertools
import json
import selectors
import socket
import time
from collections import deque
from typing import Any, Callable, Optional

LATE_SECONDS = 10.0
"""An answer that takes longer is a missed one: some clients give up then."""

Then = Callable[[int, bytes], None]
"""What an answer is given to: its status and its body."""


class Loop:
    """Runs clients and timers; counts what was answered, how quickly, and what was missed."""

    def __init__(self) -> None:
        self.selector = selectors.EpollSelector()
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = itertools.count()
        self.clients: list[Client] = []
        self.into = memoryview(bytearray(1 << 16))
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self.answered = 0
        self.bytes = 0
        self.times: list[float] = []
        """Milliseconds from a request to its answer."""
        self.missed: list[str] = []
        self.since = time.perf_counter()
        self.cpu = time.process_time()

    @property
    def seconds(self) -> float:
        """Since `begin`."""
        return time.perf_counter() - self.since

    @property
    def cores(self) -> float:
        """The load generator's own share of a core since `begin`."""
        return (time.process_time() - self.cpu) / self.seconds

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do it then."""
        heapq.heappush(self.timers, (time.perf_counter() + seconds, next(self.numbers), do))

    def run(self, seconds: float) -> None:
        """For so long."""
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            while self.timers and self.timers[0][0] <= now:
                heapq.heappop(self.timers)[2]()
            due = min(self.timers[0][0] if self.timers else end, end)
            for key, _events in self.selector.select(max(0.0, due - time.perf_counter())):
                key.data.receive()

    def late(self) -> int:
        """How many answers are missing for too long."""
        now = time.perf_counter()
        return sum(client.then is not None and now - client.asked > LATE_SECONDS for client in self.clients)

    def close(self) -> None:
        """End all connections."""
        for client in self.clients:
            client.close()
        self.selector.close()


class Client:
    """One connection that stays open as long as the server lets it; requests wait for the one before."""

    def __init__(self, loop: Loop, port: int):
        self.loop, self.port = loop, port
        self.socket: Optional[socket.socket] = None
        self.waiting: deque[tuple[bytes, Then]] = deque()
        self.then: Optional[Then] = None
        self.asked = 0.0
        self.data = b""
        loop.clients.append(self)

    def connect(self) -> socket.socket:
        """A new connection."""
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.loop.selector.register(self.socket, selectors.EVENT_READ, self)
        return self.socket

    def close(self) -> None:
        """End it; the next request makes another."""
        if self.socket:
            self.loop.selector.unregister(self.socket)
            self.socket.close()
            self.socket, self.data = None, b""

    def ask(self, request: bytes, then: Then) -> None:
        """Send a request that `request_of` made, now or after those that wait."""
        if self.then is not None:
            self.waiting.append((request, then))
            return
        self.then, self.asked = then, time.perf_counter()
        (self.socket or self.connect()).sendall(request)

    def receive(self) -> None:
        """Take what has come."""
        assert self.socket is not None
        count = self.socket.recv_into(self.loop.into)
        if not count or self.then is None:
            # A connection that nobody uses may end, with 408 or without.
            if self.then is not None:
                self.loop.missed.append("a connection was closed instead of an answer")
            self.then = None
            self.close()
            return
        self.loop.bytes += count
        self.data += self.loop.into[:count]
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.data[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        # A body that is not announced would come in chunks, which outputs of this size don't.
        assert at >= 0, head
        whole = end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
        if len(self.data) < whole:
            return
        body, self.data = self.data[end + 4 : whole], self.data[whole:]
        then, self.then = self.then, None
        if b"\r\nconnection: close" in head:
            self.close()
        took = time.perf_counter() - self.asked
        self.loop.answered += 1
        self.loop.times.append(took * 1000)
        if took > LATE_SECONDS:
            self.loop.missed.append(f"an answer took {took:.1f} s")
        assert then is not None
        then(int(head[9:12]), body)
        if self.waiting and self.then is None:
            self.ask(*self.waiting.popleft())


def request_of(method: str, path: str, body: Any = None) -> bytes:
    """A request's bytes."""
    text = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
    if text:
        head += f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
    return f"{head}\r\n".encode() + text
