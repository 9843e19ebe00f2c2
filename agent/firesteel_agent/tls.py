"""TLS to the server, whose one certificate is known and the only one that is trusted.

Blocks while it connects; calls nobody.
"""

import socket
import ssl
from typing import Tuple

KEEP_ALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 60_000))
"""A server that is gone without a word is found within a minute: seconds, a count, and milliseconds."""


class Tls:
    """Connects to whoever has the key of a certificate."""

    def __init__(self, certificate: str):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # The certificate itself is known, so that its name says nothing.
        context.check_hostname = False
        context.load_verify_locations(cadata=certificate)
        self._context = context

    def connect(self, address: Tuple[str, int], seconds: float) -> "TlsSocket":
        """Connect within that time for each step; an OSError says why not."""
        end = socket.create_connection(address, seconds)
        try:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEP_ALIVE:
                end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
            return TlsSocket(self._context.wrap_socket(end))
        except BaseException:
            end.close()
            raise


class TlsSocket:
    """A connection with a socket's manners: what would block raises BlockingIOError, an end is an end."""

    def __init__(self, end: ssl.SSLSocket):
        self._end = end
        self.fileno = end.fileno
        self.setblocking = end.setblocking
        self.settimeout = end.settimeout
        self.close = end.close

    def recv(self, count: int) -> bytes:
        """As a socket's."""
        try:
            return self._end.recv(count)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLEOFError:
            return b""

    def send(self, data: bytes) -> int:
        """As a socket's."""
        try:
            return self._end.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def shutdown(self, how: int) -> None:
        """As a socket's.

        Another thread that sends never sends in the clear, as it would after SSLSocket's own.
        """
        socket.socket.shutdown(self._end, how)

    def sendall(self, data: bytes) -> None:
        """As a socket's."""
        self._end.sendall(data)
