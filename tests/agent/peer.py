"""Plays the server's side of the link, and servers that are away, restarted, frozen or out of their minds.

It is written from docs/link.md and shares no code with the agent.
"""

import contextlib
import hmac
import json
import secrets
import socket
import struct
import tempfile
import threading
import uuid
from pathlib import Path


class Peer:
    """A server with one driver. Frames of the agent are in `frames`, in order, over all restarts."""

    def __init__(self):
        self.id = str(uuid.uuid4())
        self.dir = Path(tempfile.mkdtemp(prefix="fs-agent-"))
        self.path = str(self.dir / "link.sock")
        self.outbox = self.dir / "outbox"
        self.secret = secrets.token_hex(32)
        self.frames = []
        self.changed = threading.Condition()
        self.epoch = 1
        self.sent_seq = self.received_seq = 0
        self.unacked = []
        self.dials = 0
        self.connections = 0
        self.hold_acks = False
        self.refuse_connections = False
        self.greet = self._hello
        """What is done with a call; raises where it is not let in, may give another socket to go on with."""
        self.connection = None
        self.results = {}
        """Connections of results by their tickets."""
        self._lock = threading.RLock()
        self.listen()

    def listen(self):
        """Take calls at the socket's path."""
        Path(self.path).unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen()
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                end, _address = listener.accept()
            except OSError:
                return
            with self.changed:
                self.dials += 1
                self.changed.notify_all()
            if self.refuse_connections:
                end.close()
                continue
            threading.Thread(target=self._serve, args=(end, listener), daemon=True).start()

    def _serve(self, end, listener):
        try:
            end = self.greet(end, listener) or end
            while True:
                header, body = _read(end)
                self._take(end, header, body)
        except (OSError, EOFError):
            end.close()

    def _hello(self, end, listener):
        hello, _body = _read(end)
        assert hello["type"] == "hello" and hello["protocol"] == 1 and hello["driver"] == self.id
        if "ticket" in hello:
            _write(end, {"type": "welcome"})
            with self.changed:
                self.results[hello["ticket"]] = end
                self.changed.notify_all()
            # Who fetches reads it.
            threading.Event().wait()
        nonce = secrets.token_hex(32)
        text = f"{self.id}\n{hello['nonce']}\n{nonce}"
        challenge = {"nonce": nonce, "proof": self._proof("server", text), "epoch": self.epoch}
        _write(end, {"type": "challenge", "received": self.received_seq, **challenge})
        proof, _body = _read(end)
        assert proof["proof"] == self._proof("agent", text)
        with self._lock:
            if listener is not self.listener or listener.fileno() < 0:
                raise EOFError  # It has died meanwhile.
            if self.sent_seq is None:
                self.sent_seq = hello["received"]
                self.unacked = [(self._next_seq(header), header, body) for header, body in self.unacked]
            _write(end, {"type": "welcome"})
            for seq, header, body in self.unacked:
                if seq > hello["received"]:
                    _write(end, header, body)
            self.connection = end
        with self.changed:
            self.connections += 1
            self.changed.notify_all()

    def _proof(self, side, text):
        message = f"firesteel-link-1\n{side}\n{text}".encode()
        return hmac.new(self.secret.encode(), message, "sha256").hexdigest()

    def _take(self, end, header, body):
        if header["type"] == "ack":
            with self._lock:
                self.unacked = [frame for frame in self.unacked if frame[0] > header["seq"]]
            return
        with self.changed:
            if header["type"] in ("progress", "output", "completion", "context_made"):
                assert "seq" not in header
                self.frames.append((header, body))
                self.changed.notify_all()
                return
            # A server that was restarted counts from what comes first.
            assert self.received_seq == 0 or header["seq"] <= self.received_seq + 1, "a gap"
            if header["seq"] > self.received_seq:
                self.received_seq = header["seq"]
                self.frames.append((header, body))
                self.changed.notify_all()
        if not self.hold_acks:
            _write(end, {"type": "ack", "seq": header["seq"]})

    def _next_seq(self, header):
        self.sent_seq += 1
        header["seq"] = self.sent_seq
        return self.sent_seq

    def send(self, header, body=b""):
        """Number a frame and send it; a server that was restarted knows its numbers once the agent called."""
        with self._lock:
            header = dict(header)
            if self.sent_seq is None:
                self.unacked.append((header, body))
                return
            self.unacked.append((self._next_seq(header), header, body))
            if self.connection is not None:
                with contextlib.suppress(OSError):
                    _write(self.connection, header, body)

    def fetch(self, statement, limit=None):
        """Ask for a whole result: the connection on which it comes."""
        ticket = secrets.token_hex(32)
        self.send({"type": "fetch", "id": statement, "ticket": ticket, "limit": limit})
        with self.changed:
            assert self.changed.wait_for(lambda: ticket in self.results, 30)
            return self.results.pop(ticket)

    def cut(self):
        """Break the connection; the agent calls again at once."""
        with self._lock:
            end, self.connection = self.connection, None
            if end is None:
                return
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def go_away(self):
        """Die: nobody listens, and the agent's connection breaks. The socket's file stays."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()

    def come_back(self, epoch=None):
        """Be there again, as a server that was restarted: it has only its store."""
        self.epoch = self.epoch + 1 if epoch is None else epoch
        self.sent_seq, self.received_seq, self.unacked = None, 0, []
        self.listen()

    def ack(self):
        """Acknowledge all that came, at last."""
        self.hold_acks = False
        with self._lock:
            _write(self.connection, {"type": "ack", "seq": self.received_seq})

    def forget(self, count):
        """Lose the last frames, as a server that was killed before it stored them."""
        with self.changed:
            del self.frames[-count:]
            self.received_seq -= count

    def kept(self):
        """What an adopting server finds in the outbox: its whole frames; a torn tail is ignored."""
        return parse(self.outbox.read_bytes() if self.outbox.exists() else b"")


def parse(data):
    """The whole frames at the front of these bytes, and how many bytes they are."""
    frames, at = [], 0
    while len(data) - at >= 8:
        length, header_length = struct.unpack_from(">II", data, at)
        if len(data) - at < 4 + length:
            break
        header_end = at + 8 + header_length
        frames.append((json.loads(data[at + 8 : header_end]), data[header_end : at + 4 + length]))
        at += 4 + length
    return frames, at


def _read(end):
    length, header_length = struct.unpack(">II", _exactly(end, 8))
    rest = _exactly(end, length - 4)
    return json.loads(rest[:header_length]), rest[header_length:]


def _exactly(end, count):
    data = bytearray()
    while len(data) < count:
        piece = end.recv(min(1 << 20, count - len(data)))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def _write(end, header, body=b""):
    head = json.dumps(header).encode()
    end.sendall(struct.pack(">II", 4 + len(head) + len(body), len(head)) + head + body)
