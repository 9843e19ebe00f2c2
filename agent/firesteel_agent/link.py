"""The link to the server: dials, proves the secret, numbers frames and sends them again after a break.

docs/link.md is the contract. Runs on the loop; calls channel, frames, outbox, proof, say, and the handler.
"""

import os
import threading
import time
from typing import Any, Callable, Optional

from . import VERSION
from .channel import Channel
from .config import Config
from .dialer import Dialer, Socket
from .frames import BadFrame, Header, encode
from .loop import Loop
from .outbox import Outbox
from .proof import equal, hmac_sha256
from .say import say

PROTOCOL = 1
WINDOW = 1 << 20
"""Frames are handed to the socket while fewer bytes than these wait there; the others stay in the outbox."""

HELLO_SECONDS = 5.0

REDIAL_FIRST = 0.05
REDIAL_SOON = 0.1
SOON_SECONDS = 5.0
REDIAL_LATER = 0.5
"""A server that was restarted is found within REDIAL_SOON, for SOON_SECONDS; then with less work."""

REJECTED_MOST = 2.0
"""The longest wait after hellos that failed; the first is REDIAL_SOON, each further one twice as long."""

STEADY_SECONDS = 1.0
"""A connection that lasted for less does not let the dialing start afresh."""


class Link:
    """The agent's end. `on_frame(header, body)` is called once for each frame of the server."""

    def __init__(self, loop: Loop, config: Config, dialer: Dialer, on_frame: Callable[[Header, bytes], None]):
        self._loop = loop
        self._config = config
        self._dialer = dialer
        self._on_frame = on_frame
        self._outbox = Outbox(config.outbox, config.keep_bytes, config.outbox_bytes)
        self._received_seq = 0
        self._channel: Optional[Channel] = None
        self._expect: Callable[[Header, bytes], None] = self._challenged
        self._nonce = ""
        self._offered_epoch = 0
        self._welcomed_at = 0.0
        self._away_since = time.monotonic()
        self._dials = 0
        self._rejections = 0
        self._reason = ""
        self._hello_timer = self._loop.later(0, self._dial)
        self.epoch: Optional[int] = None
        """The epoch of the server that welcomed the agent last, which is the highest so far."""
        self.connected = False
        self.on_connection: Callable[[bool], None] = lambda _connected: None
        """Called with True when the server has welcomed the agent, with False when it is gone."""
        self.on_other_server: Callable[[], None] = lambda: None
        """Called when a server has welcomed the agent that is the first, or of another epoch."""

    def send(self, header: Header, body: bytes = b"") -> None:
        """Number a frame, keep it until the server has stored it, and send it when there is a server."""
        self._outbox.add(header, body)
        self._pump()

    def tell(self, header: Header, body: bytes = b"") -> None:
        """Send a frame that is of use only now: it has no number and is lost when there is no server."""
        if self.connected and self._channel is not None:
            self._channel.write(encode(header, body))

    def free(self) -> bool:
        """Whether there is a server, and nothing waits to be sent to it."""
        return self.connected and self._channel is not None and not self._channel.waiting

    def flushed(self) -> bool:
        """Whether the server has acknowledged all that was sent."""
        return not self._outbox

    def leave(self) -> None:
        """The agent ends: what the server has not acknowledged goes to the outbox's file."""
        self._outbox.spill()

    # Connecting

    def _dial(self) -> None:
        self._dials += 1
        if self._dialer.is_local:
            self._dialed()
        else:
            # Names are looked up and TLS is agreed on beside the loop.
            threading.Thread(target=self._dialed, name="dial", daemon=True).start()

    def _dialed(self) -> None:
        """Call the server, and go on on the loop."""
        try:
            end = self._dialer.dial(HELLO_SECONDS)
        except OSError as error:
            why = error.strerror or str(error)
            self._on_loop(lambda: self._unanswered(why))
        else:
            self._on_loop(lambda: self._answered(end))

    def _on_loop(self, callback: Callable[[], None]) -> None:
        if self._dialer.is_local:
            callback()
        else:
            self._loop.post(callback)

    def _unanswered(self, why: str) -> None:
        if not self._dialer.is_local and why != self._reason:
            self._reason = why
            say(f"the server does not answer: {why}")
        self._redial()

    def _answered(self, end: Socket) -> None:
        self._expect = self._challenged
        self._channel = Channel(
            self._loop,
            end,
            self._config.max_frame,
            lambda header, body: self._expect(header, body),
            self._broken,
        )
        self._channel.on_drained = self._pump
        self._hello_timer = self._loop.later(HELLO_SECONDS, self._hello_late)
        self._nonce = os.urandom(32).hex()
        hello = {"type": "hello", "protocol": PROTOCOL, "driver": self._config.driver, "nonce": self._nonce}
        self._channel.write(encode(dict(hello, received=self._received_seq, version=VERSION)))

    def _redial(self) -> None:
        if self._rejections:
            # Somebody is there and does not take us: perhaps a server that does not know its drivers yet.
            wait = min(REJECTED_MOST, REDIAL_SOON * 2 ** (self._rejections - 1))
        elif self._dials == 0:
            wait = REDIAL_FIRST
        else:
            is_recent = time.monotonic() - self._away_since < SOON_SECONDS
            wait = REDIAL_SOON if is_recent else REDIAL_LATER
        self._loop.later(wait, self._dial)

    def _hello_late(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._broken("the hello took too long")

    def _broken(self, reason: str) -> None:
        """Dial again; nothing that was kept is lost."""
        if reason != self._reason:
            self._reason = reason
            say(f"the link broke: {reason}")
        self._hello_timer.cancel()
        self._channel = None
        if self.connected:
            self.connected = False
            if time.monotonic() - self._welcomed_at >= STEADY_SECONDS:
                self._dials = 0
                self._away_since = time.monotonic()
            self._outbox.away = True
            self._outbox.rewind()
            self._outbox.spill()
            self.on_connection(False)
        else:
            self._rejections += 1
        self._redial()

    def _proof(self, side: str, server_nonce: str) -> str:
        text = f"firesteel-link-1\n{side}\n{self._config.driver}\n{self._nonce}\n{server_nonce}"
        return hmac_sha256(self._config.secret, text.encode("utf-8"))

    def _challenged(self, header: Header, _body: bytes) -> None:
        nonce = _field(header, "nonce", str, "challenge")
        proof = _field(header, "proof", str, "challenge")
        if not equal(proof, self._proof("server", nonce)):
            raise BadFrame("the server does not know the secret")
        epoch = _field(header, "epoch", int, "challenge")
        if self.epoch is not None and epoch < self.epoch:
            raise BadFrame(f"a server of epoch {epoch} called, after one of epoch {self.epoch}")
        self._offered_epoch = epoch
        self._outbox.acknowledge(_field(header, "received", int, "challenge"))
        assert self._channel is not None
        self._channel.write(encode({"type": "proof", "proof": self._proof("agent", nonce)}))
        self._expect = self._welcomed

    def _welcomed(self, header: Header, _body: bytes) -> None:
        if header["type"] != "welcome":
            raise BadFrame(f"{header['type']} {header.get('reason', '')}")
        self._hello_timer.cancel()
        self._expect = self._taken
        self._rejections = 0
        self._reason = ""
        self._welcomed_at = time.monotonic()
        last, self.epoch = self.epoch, self._offered_epoch
        self.connected = True
        self._outbox.away = False
        self.on_connection(True)
        if last != self.epoch:
            self.on_other_server()
        self._pump()

    # Connected

    def _pump(self) -> None:
        """Hand frames to the socket, which takes a long replay piece by piece."""
        channel = self._channel
        while self.connected and channel is not None and channel.waiting < WINDOW:
            data = self._outbox.next()
            if data is None:
                return
            channel.write(data)

    def _taken(self, header: Header, body: bytes) -> None:
        if header["type"] == "log":
            self._on_frame(header, body)
            return
        seq = _field(header, "seq", int)
        if header["type"] == "ack":
            self._outbox.acknowledge(seq)
            return
        if seq > self._received_seq + 1:
            raise BadFrame(f"frame {seq} came after {self._received_seq}")
        if seq <= self._received_seq:
            return
        self._received_seq = seq
        self.tell({"type": "ack", "seq": seq})
        self._on_frame(header, body)


def _field(header: Header, name: str, kind: type, frame: str = "") -> Any:
    """A field that must be there; `frame` is the type that the header must have."""
    value = header.get(name)
    if (frame and header["type"] != frame) or not isinstance(value, kind) or isinstance(value, bool):
        raise BadFrame(f"{header['type']} without {name}: {header.get('reason', '')}")
    return value
