"""Who calls on the link and is not the agent: impostors, and frames that are none. Written from docs/link.md.

Needs nothing but Python: the fake driver uses it inside a driver, where a caller descends from the keeper.
"""

import contextlib
import hmac
import json
import os
import random
import socket
import struct

KINDS = ("wrong secret", "garbage", "unknown driver", "no proof", "another protocol", "replay", "too long")
"""Calls that must not be let in, wherever they come from."""

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def secret_of(key: str, driver: str) -> str:
    """A driver's secret, by the state directory's `link.key`."""
    return hmac.new(key.encode(), f"firesteel-driver-secret\n{driver}".encode(), "sha256").hexdigest()


def encode(header: object, body: bytes = b"") -> bytes:
    """One frame."""
    text = json.dumps(header).encode()
    return struct.pack(">II", 4 + len(text) + len(body), len(text)) + text + body


class Caller:
    """One connection, blocking. `outcome` is `welcome`, or why not: `refused REASON` or `closed`."""

    def __init__(self, path: str, limit: float = 10.0):
        self.end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.end.settimeout(limit)
        self.end.connect(path)
        self.outcome = "closed"

    def close(self) -> None:
        """Hang up."""
        self.end.close()

    def send(self, data: bytes) -> None:
        """Send, where the other side still reads."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.end.sendall(data)

    def take(self) -> dict:
        """The next frame's header, empty when the other side has closed."""
        lengths = self._exactly(8)
        if len(lengths) < 8:
            return {}
        length, header_length = struct.unpack(">II", lengths)
        return json.loads(self._exactly(length - 4)[:header_length] or b"{}")

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                piece = self.end.recv(count - len(data))
            except ConnectionResetError:
                piece = b""
            if not piece:
                return b""
            data += piece
        return data

    def is_closed(self) -> bool:
        """Waits until the other side has closed; what it says meanwhile is not read. False: it has not."""
        try:
            while self.end.recv(1 << 16):
                pass
        except ConnectionResetError:
            return True
        except socket.timeout:
            return False
        return True

    def hello(self, driver: str, secret: str, protocol: int = 1, proof: str = "", received: int = 0) -> str:
        """The agent's part of the hello, with `proof` in place of the right one where it is given."""
        nonce = os.urandom(32).hex()
        hello = {"type": "hello", "protocol": protocol, "driver": driver, "nonce": nonce}
        self.send(encode(dict(hello, received=received, version="impostor")))
        challenge = self.take()
        if challenge.get("type") == "challenge":
            text = f"firesteel-link-1\nagent\n{driver}\n{nonce}\n{challenge['nonce']}"
            right = hmac.new(secret.encode(), text.encode(), "sha256").hexdigest()
            # The server's own proof, thrown back, is what a replay has.
            wrong = challenge["proof"] if proof == "replay" else proof
            self.send(encode({"type": "proof", "proof": wrong or right}))
            challenge = self.take()
        kind = challenge.get("type", "closed")
        self.outcome = f"refused {challenge['reason']}" if kind == "refused" else kind
        return self.outcome


def attempt(kind: str, path: str, driver: str, secret: str, chance: random.Random) -> str:
    """One call of a kind, to its end; what came of it."""
    caller = Caller(path)
    try:
        if kind == "wrong secret":
            return caller.hello(driver, chance.randbytes(32).hex())
        if kind == "unknown driver":
            return caller.hello(UNKNOWN, secret)
        if kind == "no proof":
            return caller.hello(driver, secret, proof=chance.choice(["zz", "", " "]) or "00")
        if kind == "another protocol":
            return caller.hello(driver, secret, protocol=chance.choice([0, 2, -1, 1 << 40]))
        if kind == "replay":
            return caller.hello(driver, secret, proof="replay")
        if kind == "too long":
            caller.send(struct.pack(">II", 0xFFFFFFFF, chance.randrange(1 << 32)))
        elif kind == "garbage":
            # Its length is one that can be, so that it is read to the end.
            noise = chance.randbytes(chance.randrange(4, 400))
            caller.send(struct.pack(">I", len(noise)) + noise)
        else:
            return caller.hello(driver, secret)
        answer = caller.take()
        return (
            f"refused {answer['reason']}" if answer.get("type") == "refused" else answer.get("type", "closed")
        )
    finally:
        caller.close()


def fuzzed(chance: random.Random) -> bytes:
    """Bytes after a hello that break the rules, and would go on for ever if they did not."""
    base = chance.choice(
        [
            {"type": "progress", "id": 0, "done": 1, "total": 2},
            {"type": "completion", "request": 1},
            {"type": "result", "seq": 1000000, "id": 0, "state": "available"},
            {"type": "notice", "seq": 2000000, "text": "\u00e9\ud83d\ude00"},
            {"type": "started", "seq": -1, "id": 0, "at": 0},
            {"type": "ready", "seq": 1.5, "last_run": []},
        ]
    )
    data = bytearray(encode(base, chance.randbytes(chance.randrange(40))))
    for _ in range(chance.randrange(1, 6)):
        how = chance.randrange(5)
        at = chance.randrange(len(data))
        if how == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            data[at : at + 1] = chance.randbytes(chance.randrange(1, 9))
        elif how == 2:
            del data[at : at + chance.randrange(1, 9)]
        elif how == 3:
            data[0:4] = struct.pack(">I", chance.choice([0, 1, 3, 4, len(data), 0x7FFFFFFF, 0xFFFFFFFF]))
        else:
            deep = chance.choice([b"[", b'{"type":', b"\xff\xfe", b"\0"]) * chance.randrange(1, 3000)
            data[8:8] = deep
            data[0:8] = struct.pack(">II", len(data) - 4, min(len(deep), len(data) - 8))
        if len(data) < 8:
            data += chance.randbytes(8)
    return bytes(data)
