"""A certificate authority of the test's own, and a certificate of it for this host."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """`ca`, `cert` and `key` are PEM files; the certificate is for `localhost` and 127.0.0.1."""

    def __init__(self, directory: Path):
        directory.mkdir(parents=True, exist_ok=True)
        self.ca, self.cert, self.key = (directory / name for name in ("ca.pem", "cert.pem", "key.pem"))
        own, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        day = datetime.timedelta(days=1)
        now = datetime.datetime.now(datetime.timezone.utc)

        def builder(name: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
            made = x509.CertificateBuilder().subject_name(_name(name)).issuer_name(_name("test authority"))
            made = made.public_key(public).serial_number(x509.random_serial_number())
            return made.not_valid_before(now - day).not_valid_after(now + day)

        root = builder("test authority", own.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        host = builder("localhost", key.public_key()).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        pem = serialization.Encoding.PEM
        self.ca.write_bytes(root.sign(own, hashes.SHA256()).public_bytes(pem))
        self.cert.write_bytes(host.sign(own, hashes.SHA256()).public_bytes(pem))
        form = serialization.PrivateFormat.PKCS8
        self.key.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
        self.key.chmod(0o600)
