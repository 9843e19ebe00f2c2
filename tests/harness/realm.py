"""A real Kerberos realm (Debian's MIT KDC), with a service key and users' tickets in caches of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import gssapi

from harness.daemons import Daemon, program
from harness.roles import USERS, password
from harness.server import environment, free_port

NAME = "EXAMPLE.TEST"
SERVICE = f"HTTP/localhost@{NAME}"
PASSWORDS = {**{user: password(user) for user in USERS}, "mallory": "m", "mallory/admin": "m"}

CLIENT = """
[libdefaults]
    default_realm = {realm}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
    udp_preference_limit = 1
[realms]
    {realm} = {{
        kdc = 127.0.0.1:{port}
    }}
"""

KDC = """
[kdcdefaults]
    kdc_listen = 127.0.0.1:{port}
    kdc_tcp_listen = 127.0.0.1:{port}
[realms]
    {realm} = {{
        database_name = {home}/principal
        key_stash_file = {home}/stash
        acl_file = {home}/acl
        max_life = 1h
    }}
[logging]
    kdc = FILE:{home}/kdc.log
"""


class Realm:
    """A KDC with PASSWORDS' users and the keys of HTTP/localhost and HTTP/other."""

    def __init__(self, home: Path):
        home.mkdir(parents=True)
        self.home = home
        self.port = free_port()
        client, kdc = home / "krb5.conf", home / "kdc.conf"
        client.write_text(CLIENT.format(realm=NAME, port=self.port))
        kdc.write_text(KDC.format(realm=NAME, port=self.port, home=home))
        # The server's and the clients', which find everything below `home`.
        self.env = {"KRB5_CONFIG": str(client), "KRB5RCACHEDIR": str(home)}
        self._kdc_env = environment(**self.env, KRB5_KDC_PROFILE=str(kdc))
        self._run(["kdb5_util", "create", "-s", "-r", NAME, "-P", "master key"])
        for user, secret in PASSWORDS.items():
            self.admin(f'addprinc -pw "{secret}" {user}')
        for service in ("localhost", "other"):
            self.admin(f"addprinc -randkey HTTP/{service}")
        self.keytab = home / "keytab"
        self.write_keytab()
        self.daemon = Daemon([program("krb5kdc"), "-n"], home / "log", [self.port], self._kdc_env)

    def _run(self, argv: list[str], stdin: str | None = None, env: dict[str, str] | None = None) -> None:
        ended = subprocess.run(
            [program(argv[0]), *argv[1:]],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env=env or self._kdc_env,
            check=False,
        )
        assert ended.returncode == 0, f"{argv}: {ended.stdout}{ended.stderr}"

    def admin(self, query: str) -> None:
        """Ask kadmin.local."""
        self._run(["kadmin.local", "-r", NAME, "-q", query])

    def write_keytab(self, service: str = SERVICE) -> None:
        """Put a new key of the service, and no other, in the keytab; tickets for the key before count no
        more."""
        new = self.home / "keytab.new"
        self.admin(f"ktadd -k {new} {service}")
        new.replace(self.keytab)

    def web_keytab(self) -> Path:
        """A keytab for web servers that are called localhost or 127.0.0.1, with a key of its own."""
        path = self.home / "web.keytab"
        self.admin("addprinc -randkey HTTP/127.0.0.1")
        for service in (SERVICE, f"HTTP/127.0.0.1@{NAME}"):
            self.admin(f"ktadd -k {path} {service}")
        return path

    def user_keytab(self, user: str) -> Path:
        """A keytab of a user, whose password is none any more."""
        path = self.home / f"{user}.keytab"
        self.admin(f"ktadd -k {path} {user}")
        return path

    def log_in(self, user: str) -> dict[str, str]:
        """A ticket for a user; the environment in which a client has it."""
        cache = self.home / f"cache-{user.replace('/', '-')}"
        env = {**self.env, "KRB5CCNAME": f"FILE:{cache}"}
        self._run(["kinit", user], stdin=PASSWORDS[user] + "\n", env=environment(**env))
        return env

    @property
    def settings(self) -> dict:
        """The server's configuration."""
        return {"access.kerberos.keytab": self.keytab, "access.kerberos.principal": SERVICE}


def token(service: str = "HTTP/localhost", spnego: bool = True, cache: str | None = None) -> bytes:
    """A client's first token for a service, by the ticket in this cache or in this process's own.
    `KRB5_CONFIG` must be the realm's."""
    name = gssapi.Name(f"{service}@{NAME}", gssapi.NameType.kerberos_principal)
    kind = "1.3.6.1.5.5.2" if spnego else "1.2.840.113554.1.2.2"
    context = gssapi.SecurityContext(
        name=name,
        creds=gssapi.Credentials(usage="initiate", store={"ccache": cache}) if cache else None,
        mech=gssapi.OID.from_int_seq(kind),
        usage="initiate",
        flags=gssapi.RequirementFlag.mutual_authentication,
    )
    return context.step()
