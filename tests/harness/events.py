"""Reads server-sent events, and plain text that goes on, as a small client does."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any, Iterator, NamedTuple

LIMIT = 60.0


class Event(NamedTuple):
    """One event."""

    id: str
    name: str
    data: dict[str, Any]

    @property
    def seq(self) -> int:
        """Its number; the server's start number stands before it."""
        return int(self.id.rpartition("-")[2])


class Stream:
    """One connection, read line by line. `receive` is the size of the system's buffer for it."""

    def __init__(self, port: int, path: str, last: str | None = None, receive: int = 0):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
        if receive:
            self.http.sock = socket.socket()
            self.http.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
            self.http.sock.settimeout(LIMIT)
            self.http.sock.connect(("127.0.0.1", port))
        headers = {} if last is None else {"Last-Event-ID": last}
        self.http.request("GET", path, headers=headers)
        self.answer = self.http.getresponse()
        self.status = self.answer.status

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave, in the middle of whatever comes."""
        self.answer.close()
        self.http.close()

    def lines(self) -> Iterator[str]:
        """Lines as they come, to the end of the answer."""
        while line := self.answer.readline():
            yield line.decode()

    def __iter__(self) -> Iterator[Event]:
        """Events as they come, comments left out."""
        fields: dict[str, str] = {}
        for line in self.lines():
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            else:
                if "event" in fields:
                    yield Event(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
                fields = {}

    def next(self) -> Event:
        """The next event, which must come."""
        return next(iter(self))

    def until(self, name: str, **data: Any) -> list[Event]:
        """Events up to one of this name whose data has all of these."""
        seen = []
        for event in self:
            seen.append(event)
            if event.name == name and data.items() <= event.data.items():
                return seen
        raise AssertionError(f"the stream ended before {name} {data}: {seen[-5:]}")
