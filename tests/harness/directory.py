"""A real OpenLDAP server (Debian's slapd) with people and groups, over TLS and StartTLS."""

from __future__ import annotations

import base64
import socket
import subprocess
import threading
from pathlib import Path

from harness.certificates import Authority
from harness.daemons import Daemon, program
from harness.roles import USERS, password
from harness.server import free_port

BASE = "dc=example,dc=test"
PEOPLE = f"ou=people,{BASE}"
GROUPS = f"ou=groups,{BASE}"
SERVICE = f"cn=firesteel,{BASE}"
SERVICE_PASSWORD = "searches only"
ADMIN = f"cn=admin,{BASE}"
PASSWORDS = {**{user: password(user) for user in USERS}, "bob": "büilder", "carol": "c", "dave": "d+e=f"}

# `bind_anon_dn` is the hole that an empty password falls into: such a bind succeeds here.
CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
allow bind_anon_dn
sizelimit 500
TLSCACertificateFile {ca}
TLSCertificateFile {cert}
TLSCertificateKeyFile {key}
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
database mdb
maxsize 8388608
suffix {base}
directory {data}
rootdn {admin}
rootpw admin
overlay memberof
access to attrs=userPassword by self write by anonymous auth by * none
access to * by dn.exact={service} read by self read by anonymous auth by * none
"""


def _value(name: str, value: str) -> str:
    if value.isascii() and value[:1] not in (" ", ":", "<") and "\n" not in value:
        return f"{name}: {value}"
    return f"{name}:: {base64.b64encode(value.encode()).decode()}"


def entry(dn: str, **attributes: str | list[str]) -> str:
    """An entry as LDIF."""
    lines = [_value("dn", dn)]
    for name, values in attributes.items():
        lines += [_value(name, value) for value in ([values] if isinstance(values, str) else values)]
    return "\n".join(lines) + "\n\n"


def person(uid: str, secret: str, rdn: str | None = None, uids: tuple[str, ...] = ()) -> str:
    """A person's entry."""
    return entry(
        f"{rdn or f'uid={uid}'},{PEOPLE}",
        objectClass="inetOrgPerson",
        uid=[uid, *uids],
        cn=(rdn or uid).removeprefix("cn="),
        sn=uid,
        userPassword=secret,
    )


class Elsewhere:
    """Where a referral leads; counts who comes."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"ldap://127.0.0.1:{self.socket.getsockname()[1]}/"
        self.callers = 0
        self.thread = threading.Thread(target=self._count, daemon=True)
        self.thread.start()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.callers += 1
            connection.close()

    def stop(self) -> None:
        """Listen no more."""
        # Closing alone would leave the thread in its wait.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)


class Directory:
    """slapd with PASSWORDS; alice and bob are in `analysts`, alice in `data team, north` too."""

    def __init__(self, home: Path):
        home.mkdir(parents=True)
        self.authority = Authority(home / "tls")
        cert, key = self.authority.issue("localhost")
        self.elsewhere = Elsewhere()
        self.plain_port, self.tls_port = free_port(), free_port()
        self.url = f"ldap://localhost:{self.plain_port}"
        self.tls_url = f"ldaps://localhost:{self.tls_port}"
        data = home / "data"
        data.mkdir()
        self.password_file = home / "service-password"
        self.password_file.write_text(SERVICE_PASSWORD + "\n")
        configuration = home / "slapd.conf"
        files = {"ca": self.authority.path, "cert": cert, "key": key}
        configuration.write_text(
            CONFIGURATION.format(base=BASE, admin=ADMIN, service=SERVICE, data=data, **files)
        )
        ldif = home / "people.ldif"
        ldif.write_text(self._people(self.elsewhere.url))
        self._run("slapadd", "-f", configuration, "-l", ldif)
        argv = [program("slapd"), "-f", str(configuration), "-d", "stats"]
        # The certificate is for 127.0.0.1, not for 127.0.0.2.
        places = [f"ldap://127.0.0.1:{self.plain_port}/"]
        places += [f"ldaps://127.0.0.{host}:{self.tls_port}/" for host in (1, 2)]
        argv += ["-h", " ".join(places)]
        self.daemon = Daemon(argv, home / "log", [self.plain_port, self.tls_port])

    @staticmethod
    def _people(referral: str) -> str:
        made = entry(BASE, objectClass=["dcObject", "organization"], dc="example", o="Example")
        made += entry(PEOPLE, objectClass="organizationalUnit", ou="people")
        made += entry(GROUPS, objectClass="organizationalUnit", ou="groups")
        made += entry(
            SERVICE,
            objectClass=["organizationalRole", "simpleSecurityObject"],
            cn="firesteel",
            userPassword=SERVICE_PASSWORD,
        )
        made += "".join(person(uid, secret) for uid, secret in PASSWORDS.items())
        # Two who are one to a search, one whose name no user can have, and one with two names.
        made += person("twin", "t", rdn="cn=twin one") + person("twin", "t", rdn="cn=twin two")
        made += person("odd name", "o", rdn="cn=odd")
        made += person("erin", "e", uids=("ErinTheSecond",))
        # What a search below finds is somewhere else.
        made += entry(
            f"ou=elsewhere,{PEOPLE}",
            objectClass=["referral", "extensibleObject"],
            ou="elsewhere",
            ref=referral + PEOPLE,
        )
        return made

    def start(self) -> None:
        """Start it for the first time, and make its groups: the overlay that tells people their groups
        learns of them as they come."""
        self.daemon.start()
        made = ""
        for name, members in {"analysts": ["alice", "bob"], "data team, north": ["alice"]}.items():
            made += entry(
                "cn=" + name.replace(",", "\\,") + f",{GROUPS}",
                changetype="add",
                objectClass="groupOfNames",
                cn=name,
                member=[f"uid={uid},{PEOPLE}" for uid in members],
            )
        self.modify(made)

    def _run(self, name: str, *arguments: object, stdin: str | None = None) -> None:
        argv = [program(name), *map(str, arguments)]
        ended = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, f"{name}: {ended.stdout}{ended.stderr}"

    def modify(self, ldif: str) -> None:
        """Change entries, as the directory's administrator does."""
        self._run(
            "ldapmodify",
            "-x",
            "-H",
            f"ldap://127.0.0.1:{self.plain_port}",
            "-D",
            ADMIN,
            "-w",
            "admin",
            stdin=ldif,
        )

    def stop(self) -> None:
        """End it, and what it refers to."""
        self.daemon.stop()
        self.elsewhere.stop()

    def set_password(self, uid: str, secret: str) -> None:
        """Give a person another password."""
        change = f"dn: uid={uid},{PEOPLE}\nchangetype: modify\nreplace: userPassword\n"
        self.modify(change + _value("userPassword", secret) + "\n")

    @property
    def settings(self) -> dict:
        """The server's configuration: a search as the service, over TLS, with searched groups."""
        return {
            "access.ldap.url": self.tls_url,
            "access.ldap.ca_file": self.authority.path,
            "access.ldap.bind_dn": SERVICE,
            "access.ldap.bind_password_file": self.password_file,
            "access.ldap.user_base": PEOPLE,
            "access.ldap.group_base": GROUPS,
        }
