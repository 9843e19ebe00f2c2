"""Calls the server: on its Unix socket from its own host, over TLS from a cluster. Blocks. Calls tls."""

import socket
from typing import Any, Optional

from .config import Config

Socket = Any
"""A socket, or what has a socket's manners."""


class Dialer:
    """Where the server is."""

    def __init__(self, config: Config):
        self._socket = config.socket
        self._tls: Optional[Any] = None
        self._first = 0
        if config.tls is not None:
            from .tls import Tls  # OpenSSL has several megabytes.

            self._tls = Tls(config.tls["certificate"])
            self._addresses = [_split(address) for address in config.tls["addresses"]]

    @property
    def is_local(self) -> bool:
        """Whether a call is answered at once, one way or the other."""
        return self._tls is None

    def dial(self, seconds: float) -> Socket:
        """A connection with that time-out; an OSError where nobody answers.

        Of several addresses the one that answered last is tried first, each for `seconds`.
        """
        if self._tls is None:
            end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            end.settimeout(seconds)
            try:
                end.connect(self._socket)
            except OSError:
                end.close()
                raise
            return end
        count = len(self._addresses)
        failure: Optional[OSError] = None
        for turn in [(self._first + step) % count for step in range(count)]:
            try:
                end = self._tls.connect(self._addresses[turn], seconds)
            except OSError as error:
                failure = failure or error
            else:
                self._first = turn
                return end
        raise failure or OSError("no address")


def _split(address: str) -> "tuple[str, int]":
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
