"""An identity provider on loopback that signs with real keys, serves them, and can fail, change keys and
lie."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Mapping

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

AUDIENCE = "firesteel"
Reply = tuple[int, dict[str, str], bytes]
"""A status, headers, and a body."""


def encoded(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(number: int, size: int | None = None) -> str:
    return encoded(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


class Key:
    """A signing key of one algorithm."""

    def __init__(self, kid: str, algorithm: str = "RS256"):
        self.kid, self.algorithm = kid, algorithm
        if algorithm == "ES256":
            self.private: Any = ec.generate_private_key(ec.SECP256R1())
        elif algorithm == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def public(self) -> dict:
        """As a JWK."""
        common = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        public = self.private.public_key()
        if self.algorithm == "ES256":
            numbers = public.public_numbers()
            return {
                **common,
                "kty": "EC",
                "crv": "P-256",
                "x": _number(numbers.x, 32),
                "y": _number(numbers.y, 32),
            }
        if self.algorithm == "EdDSA":
            return {**common, "kty": "OKP", "crv": "Ed25519", "x": encoded(public.public_bytes_raw())}
        numbers = public.public_numbers()
        return {**common, "kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}

    def public_pem(self) -> bytes:
        """What an attacker signs with where a public key is taken for a shared secret."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, form)

    def sign(self, data: bytes) -> bytes:
        """A signature as JWS has it."""
        if self.algorithm == "ES256":
            r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if self.algorithm == "EdDSA":
            return self.private.sign(data)
        if self.algorithm == "PS256":
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
            return self.private.sign(data, pss, hashes.SHA256())
        return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def token(self, claims: dict, **header: Any) -> str:
        """A token of these claims."""
        head = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **header}
        head = {name: value for name, value in head.items() if value is not None}
        return signed(head, claims, self.sign)


def signed(header: dict, claims: dict, sign: Any) -> str:
    """A token with any header, signed in any way."""
    parts = [encoded(json.dumps(part).encode()) for part in (header, claims)]
    data = ".".join(parts)
    return f"{data}.{encoded(sign(data.encode()))}"


def shared(secret: bytes) -> Any:
    """A signature by a shared secret (HS256)."""
    return lambda data: hmac.new(secret, data, hashlib.sha256).digest()


class Issuer:
    """Serves its description and its keys; `fetches` counts how often the keys were asked for."""

    def __init__(self) -> None:
        self.keys = [Key("first")]
        self.is_down = False
        self.fetches = 0
        self.lie: dict = {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            """Answers GET, and POST where `posted` does."""

            def do_GET(self) -> None:
                self.reply(issuer.asked)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.reply(lambda path: issuer.posted(path, self.headers, body))

            def reply(self, find: Callable[[str], Reply]) -> None:
                """Send what is found, unless all is down."""
                status, headers, body = (500, {}, b"down") if issuer.is_down else find(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def asked(self, path: str) -> Reply:
        """What a GET is answered."""
        found = self.answer(path)
        return 404 if found is None else 200, {"Content-Type": "application/json"}, json.dumps(found).encode()

    def posted(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """What a POST is answered."""
        return 404, {}, b""

    def answer(self, path: str) -> dict | None:
        """What a path has."""
        if path == "/keys":
            self.fetches += 1
            return {"keys": [key.public() for key in self.keys]}
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.lie}
        return None

    def claims(self, user: str = "alice", **more: Any) -> dict:
        """What a good token says, but for what is given; None leaves a claim out."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": user, "iat": now, "exp": now + 600, **more}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, user: str = "alice", **more: Any) -> str:
        """A token signed with the newest key."""
        return self.keys[-1].token(self.claims(user, **more))

    @property
    def settings(self) -> dict:
        """The server's configuration."""
        return {"access.jwt.issuer": self.url, "access.jwt.audience": [AUDIENCE]}

    def stop(self) -> None:
        """End it."""
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(10)
