"""HTTP from where requests can't: over a Unix socket, and from another address of loopback."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from pathlib import Path
from typing import Any


class Answer:
    """Status, headers and body."""

    def __init__(self, response: http.client.HTTPResponse):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)


class OverSocket(http.client.HTTPConnection):
    """A connection to a server's Unix socket."""

    def __init__(self, path: Path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self) -> None:
        """Instead of TCP."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def ask(
    connection: http.client.HTTPConnection,
    path: str,
    method: str = "GET",
    user: tuple[str, str] | None = None,
    **headers: str,
) -> Answer:
    """One exchange on a connection, which is closed after it. An underscore in a header's name is a
    hyphen."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if user:
        pair = base64.b64encode(":".join(user).encode()).decode()
        sent["Authorization"] = f"Basic {pair}"
    try:
        connection.request(method, path, headers=sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def from_address(port: int, address: str) -> http.client.HTTPConnection:
    """A connection to 127.0.0.1 that comes from another address of loopback."""
    return http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(address, 0))
