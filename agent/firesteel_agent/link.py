"""The link to the server: dials, proves the secret, numbers frames and sends them again after a break.

docs/link.md is the contract. Runs on the loop; calls channel, frames, output, proof, and the handler given.
"""

import collections
import os
import socket
import sys
from typing import Any, Callable, Deque, NamedTuple, Optional

from . import VERSION
from .channel import Channel
from .config import Config
from .frames import BadFrame, Header, encode
from .loop import Loop
from .output import error
from .proof import equal, hmac_sha256

PROTOCOL = 1
KEEP_BYTES = 256 << 20
"""What is kept for a server that is away; beyond it the oldest outputs are cut."""

SMALL_FRAME = 4096
"""A frame of fewer bytes is never cut."""

HELLO_SECONDS = 5.0
REDIAL_FIRST_SECONDS = 0.05
REDIAL_SECONDS = 1.0


class Kept(NamedTuple):
    """A frame that the server has not acknowledged."""

    seq: int
    data: bytes
    header: Header


class Link:
    """The agent's end. `on_frame(header, body)` is called once for each frame of the server."""

    def __init__(self, loop: Loop, config: Config, on_frame: Callable[[Header, bytes], None]):
        self._loop = loop
        self._config = config
        self._on_frame = on_frame
        self._kept: Deque[Kept] = collections.deque()
        self._kept_bytes = 0
        self._sent_seq = 0
        self._received_seq = 0
        self._channel: Optional[Channel] = None
        self._expect: Callable[[Header, bytes], None] = self._challenged
        self._nonce = ""
        self._dials_since_break = 0
        self._hello_timer = self._loop.later(0, self._dial)
        self.connected = False
        self.on_connection: Callable[[bool], None] = lambda _connected: None
        """Called with True when the server has welcomed the agent, with False when it is gone."""

    def send(self, header: Header, body: bytes = b"") -> None:
        """Number a frame, keep it until the server has stored it, and send it when there is a server."""
        self._sent_seq += 1
        data = encode(dict(header, seq=self._sent_seq), body)
        self._kept.append(Kept(self._sent_seq, data, header))
        self._kept_bytes += len(data)
        self._write(data)
        if self._kept_bytes > KEEP_BYTES:
            self._cut_oldest()

    def flushed(self) -> bool:
        """Whether the server has acknowledged all that was sent."""
        return not self._kept

    # Connecting

    def _dial(self) -> None:
        self._dials_since_break += 1
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.setblocking(False)
        try:
            end.connect(self._config.socket)
        except OSError:
            end.close()
            self._redial()
            return
        self._expect = self._challenged
        self._channel = Channel(
            self._loop,
            end,
            self._config.max_frame,
            lambda header, body: self._expect(header, body),
            self._broken,
        )
        self._hello_timer = self._loop.later(HELLO_SECONDS, self._hello_late)
        self._nonce = os.urandom(32).hex()
        hello = {"type": "hello", "protocol": PROTOCOL, "driver": self._config.driver, "nonce": self._nonce}
        self._channel.write(encode(dict(hello, received=self._received_seq, version=VERSION)))

    def _redial(self) -> None:
        wait = REDIAL_FIRST_SECONDS if self._dials_since_break <= 1 else REDIAL_SECONDS
        self._loop.later(wait, self._dial)

    def _hello_late(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._broken("the hello took too long")

    def _broken(self, reason: str) -> None:
        """Dial again; nothing that was kept is lost."""
        print(f"firesteel: the link broke: {reason}", file=sys.stderr, flush=True)
        self._hello_timer.cancel()
        self._channel = None
        if self.connected:
            self.connected = False
            self._dials_since_break = 0
            self.on_connection(False)
        self._redial()

    def _proof(self, side: str, server_nonce: str) -> str:
        text = f"firesteel-link-1\n{side}\n{self._config.driver}\n{self._nonce}\n{server_nonce}"
        return hmac_sha256(self._config.secret, text.encode("utf-8"))

    def _challenged(self, header: Header, _body: bytes) -> None:
        nonce = _field(header, "nonce", str, "challenge")
        proof = _field(header, "proof", str, "challenge")
        if not equal(proof, self._proof("server", nonce)):
            raise BadFrame("the server does not know the secret")
        self._drop_kept(_field(header, "received", int, "challenge"))
        assert self._channel is not None
        self._channel.write(encode({"type": "proof", "proof": self._proof("agent", nonce)}))
        self._expect = self._welcomed

    def _welcomed(self, header: Header, _body: bytes) -> None:
        if header["type"] != "welcome":
            raise BadFrame(f"{header['type']} {header.get('reason', '')}")
        self._hello_timer.cancel()
        self._expect = self._taken
        self.connected = True
        for kept in self._kept:
            self._write(kept.data)
        self.on_connection(True)

    # Connected

    def _write(self, data: bytes) -> None:
        if self.connected and self._channel is not None:
            self._channel.write(data)

    def _taken(self, header: Header, body: bytes) -> None:
        seq = _field(header, "seq", int)
        if header["type"] == "ack":
            self._drop_kept(seq)
            return
        if seq > self._received_seq + 1:
            raise BadFrame(f"frame {seq} came after {self._received_seq}")
        if seq <= self._received_seq:
            return
        self._received_seq = seq
        self._write(encode({"type": "ack", "seq": seq}))
        self._on_frame(header, body)

    def _drop_kept(self, upto: int) -> None:
        while self._kept and self._kept[0].seq <= upto:
            self._kept_bytes -= len(self._kept.popleft().data)

    def _cut_oldest(self) -> None:
        """Replace the outputs of the oldest results; their states and numbers stay."""
        for index, kept in enumerate(self._kept):
            if self._kept_bytes <= KEEP_BYTES:
                return
            if kept.header["type"] != "result" or len(kept.data) < SMALL_FRAME:
                continue
            note = encode(
                dict(kept.header, seq=kept.seq),
                error(
                    kept.header["id"],
                    "ResultTooLarge",
                    "The server was away, and the results that waited for it had over 256 MiB: "
                    "this one was dropped.",
                ),
            )
            self._kept_bytes += len(note) - len(kept.data)
            self._kept[index] = kept._replace(data=note)


def _field(header: Header, name: str, kind: type, frame: str = "") -> Any:
    """A field that must be there; `frame` is the type that the header must have."""
    value = header.get(name)
    if (frame and header["type"] != frame) or not isinstance(value, kind) or isinstance(value, bool):
        raise BadFrame(f"{header['type']} without {name}: {header.get('reason', '')}")
    return value
