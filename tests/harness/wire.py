"""HTTP by hand, for what a proper client never sends."""

from __future__ import annotations

import contextlib
import socket
import time


class Answer:
    """What came back until the server closed, or until the answer was whole."""

    def __init__(self, data: bytes):
        self.data = data
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode(errors="replace").split("\r\n")
        self.status = int(lines[0].split()[1]) if data.startswith(b"HTTP/1.1 ") else 0
        pairs = (line.split(":", 1) for line in lines[1:] if ":" in line)
        self.headers = {name.strip().lower(): value.strip() for name, value in pairs}


class Wire:
    """One connection."""

    def __init__(self, port: int, limit: float = 30.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=limit)
        self.port = port

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *lines: str, body: bytes = b"", host: str | None = None) -> None:
        """The request line and headers, with Host unless it is given as a line, then the body."""
        head = [lines[0], f"Host: {host or f'127.0.0.1:{self.port}'}", *lines[1:]]
        self.socket.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def answer(self) -> Answer:
        """One answer, by its Content-Length, or all until the connection closes."""
        data = b""
        while True:
            _, end, body = data.partition(b"\r\n\r\n")
            if end:
                found = Answer(data)
                length = found.headers.get("content-length")
                if 100 <= found.status < 200 or (length is not None and len(body) >= int(length)):
                    return found
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                return Answer(data)
            data += more

    def drip(self, data: bytes, pause: float, limit: float) -> bool:
        """Send byte by byte; whether the server closed or answered before all was sent."""
        deadline = time.monotonic() + limit
        self.socket.settimeout(pause)
        for byte in data:
            if time.monotonic() > deadline:
                return False
            try:
                self.socket.sendall(bytes([byte]))
                with contextlib.suppress(socket.timeout):
                    self.socket.recv(1, socket.MSG_PEEK)
                    return True
            except (ConnectionResetError, BrokenPipeError):
                return True
        return False
