"""A client's connection: JSON over HTTP, and exact about what it knows when no answer comes."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import Any, NamedTuple


class NotSent(Exception):
    """The server was not there: it has not got the request."""


class NoAnswer(Exception):
    """The request was sent, and what became of it is unknown."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: Any
    headers: http.client.HTTPMessage


class Client:
    """One connection, opened again after a break; one thread uses it."""

    def __init__(self, port: int, limit: float = 20.0):
        self._port = port
        self._limit = limit
        self._connection: http.client.HTTPConnection | None = None

    def request(self, method: str, path: str, body: Any = None, key: str | None = None) -> Answer:
        """One exchange. A connection that the server has ended since the last one looks like `NoAnswer`."""
        connection = self._connect()
        headers = {"Connection": "keep-alive"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(f"{method} {path}: {error!r}") from None
        return Answer(response.status, json.loads(text) if text else None, response.headers)

    def get(self, path: str) -> Answer:
        """GET."""
        return self.request("GET", path)

    def post(self, path: str, body: Any = None, key: str | None = None) -> Answer:
        """POST."""
        return self.request("POST", path, body, key)

    def delete(self, path: str) -> Answer:
        """DELETE."""
        return self.request("DELETE", path)

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._limit)
            try:
                connection.connect()
            except OSError as error:
                raise NotSent(str(error)) from None
            self._connection = connection
        return self._connection
