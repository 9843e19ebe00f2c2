"""HMAC-SHA256 for the link's hello, by Python's own SHA-256. Pure functions; calls nobody.

`hmac` and `hashlib` load OpenSSL, 4 MB in every driver for two proofs a connection.
"""

from importlib import import_module
from typing import Any, Callable

_BLOCK = 64


def _sha256() -> Callable[..., Any]:
    for module in ("_sha2", "_sha256", "hashlib"):  # Python 3.12 and later, before, and any other.
        try:
            return import_module(module).sha256
        except (ImportError, AttributeError):
            continue
    raise ImportError("this Python has no SHA-256")


sha256 = _sha256()


def hmac_sha256(key: bytes, message: bytes) -> str:
    """The HMAC in hex digits."""
    block = (sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    inner = sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return sha256(bytes(byte ^ 0x5C for byte in block) + inner).hexdigest()


def equal(left: str, right: str) -> bool:
    """Whether the two are equal, in a time that does not tell where they differ."""
    a, b = left.encode("utf-8", "replace"), right.encode("utf-8", "replace")
    return len(a) == len(b) and not sum(x ^ y for x, y in zip(a, b))
