"""Many requests at little cost: a connection that stays open and reads no more of an answer than it must, and
work shared out among threads."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from typing import Any, Callable, Iterable, Iterator, NamedTuple, TypeVar

CHUNKED = re.compile(rb"\r\ntransfer-encoding: chunked\r\n", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
SCALE = float(os.environ.get("FIRESTEEL_TEST_SCALE") or 1)
"""How many times the rounds of an ordinary run are wanted: `make chaos` takes more."""

LIMIT = 60.0
"""Seconds that an answer may take."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Answer(NamedTuple):
    """What came back."""

    status: int
    head: bytes
    body: bytes

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Connection:
    """One that stays open."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def send(self, method: str, path: str, body: Any = None) -> None:
        """Ask, and leave the answer for `receive`."""
        text = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        self.socket.sendall(f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text)

    def receive(self) -> Answer:
        """The next answer."""
        data = self.rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = data[: end + 4]
        if CHUNKED.search(head):
            self.rest = data[end + 4 :]
            return Answer(int(head[9:12]), head, b"".join(self._chunks()))
        found = LENGTH.search(head)
        assert found, head
        whole = end + 4 + int(found.group(1))
        while len(data) < whole:
            data += self._more()
        self.rest = data[whole:]
        return Answer(int(head[9:12]), head, data[end + 4 : whole])

    def request(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask and wait for the answer."""
        self.send(method, path, body)
        return self.receive()

    def close(self) -> None:
        """No more requests."""
        self.socket.close()

    def _chunks(self) -> Iterator[bytes]:
        """A body that comes in chunks."""
        while True:
            while (end := self.rest.find(b"\r\n")) < 0:
                self.rest += self._more()
            length = int(self.rest[:end], 16)
            whole = end + 2 + length + 2
            while len(self.rest) < whole:
                self.rest += self._more()
            chunk, self.rest = self.rest[end + 2 : end + 2 + length], self.rest[whole:]
            if not chunk:
                return
            yield chunk

    def _more(self) -> bytes:
        data = self.socket.recv(1 << 18)
        assert data, "the server closed a connection that was to stay open"
        return data


def share(
    port: int, threads: int, items: Iterable[Item], work: Callable[[Connection, Item], Result]
) -> list[Result]:
    """Do `work` for each item, in so many threads with a connection each. The first failure is raised."""
    waiting = iter(list(items))
    lock = threading.Lock()
    results: list[Result] = []
    failures: list[BaseException] = []

    def worker() -> None:
        try:
            connection = Connection(port)
            while not failures:
                with lock:
                    item = next(waiting, None)
                if item is None:
                    break
                result = work(connection, item)
                with lock:
                    results.append(result)
            connection.close()
        except BaseException as failure:
            failures.append(failure)

    running = [threading.Thread(target=worker, daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if failures:
        raise failures[0]
    return results


def p99(times: list[float]) -> float:
    """The time that one in a hundred is over, in ms."""
    return sorted(times)[max(0, len(times) * 99 // 100 - 1)] * 1000
