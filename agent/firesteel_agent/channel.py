"""A socket with frames both ways, on the loop: the link and the interpreters' channels.

Calls frames and the loop.
"""

import collections
from typing import Any, Callable, Deque, Optional, Union

from .frames import BadFrame, Decoder, Header
from .loop import READ, WRITE, Loop

READ_BYTES = 64 << 10
"""Read at once; more would make every small read map and unmap memory."""


SMALL = 16 << 10
"""Frames of fewer bytes are joined, so that one system call sends several."""


class Channel:
    """Frames come by `on_frame`; `on_broken(reason)` is called once when it has ended, never by `close`.

    `on_frame` may raise `BadFrame`, which ends the channel.
    """

    def __init__(
        self,
        loop: Loop,
        end: Any,
        max_frame: int,
        on_frame: Callable[[Header, bytes], None],
        on_broken: Callable[[str], None],
    ):
        end.setblocking(False)
        self._loop = loop
        self._socket: Optional[Any] = end
        self._decoder = Decoder(max_frame)
        self._on_frame = on_frame
        self._on_broken = on_broken
        self._out: Deque[Union[bytes, memoryview]] = collections.deque()
        self._writing = False
        self.waiting = 0
        """Bytes that were written and that the system has not taken."""
        self.on_drained: Optional[Callable[[], None]] = None
        """Called when nothing is waiting any more."""
        loop.watch(end.fileno(), READ, self._ready)

    def write(self, data: bytes) -> None:
        """Send it once the present callback is done, with what else it writes. Never raises, never waits."""
        if self._socket is None:
            return
        if not self._out:
            self._loop.soon(self._flush_soon)
        self._out.append(data)
        self.waiting += len(data)

    def _flush_soon(self) -> None:
        try:
            self._flush()
        except OSError as error:
            self._break(error.strerror or str(error))

    def close(self) -> None:
        """Let go of the socket, with all that waits to be sent."""
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self._out.clear()
            self.waiting = 0

    def _break(self, reason: str) -> None:
        if self._socket is not None:
            self.close()
            self._on_broken(reason)

    def _ready(self, events: int) -> None:
        try:
            if events & WRITE:
                self._flush()
            if events & READ:
                self._read()
        except BadFrame as error:
            self._break(str(error))
        except OSError as error:
            self._break(error.strerror or str(error))

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._break("the other side closed it")
            return
        for header, body in self._decoder.feed(data):
            self._on_frame(header, body)
            if self._socket is None:
                return

    def _flush(self) -> None:
        if self._socket is None:
            return
        out = self._out
        if len(out) > 1 and all(len(data) < SMALL for data in out):
            data = b"".join(out)
            out.clear()
            out.append(data)
        while out:
            try:
                sent = self._socket.send(out[0])
            except BlockingIOError:
                break
            self.waiting -= sent
            if sent < len(out[0]):
                out[0] = memoryview(out[0])[sent:]
            else:
                out.popleft()
        if bool(self._out) != self._writing:
            self._writing = bool(self._out)
            self._loop.watch(self._socket.fileno(), READ | WRITE if self._writing else READ, self._ready)
        if not out and self.on_drained is not None:
            self.on_drained()
