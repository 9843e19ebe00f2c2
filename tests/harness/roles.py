"""Users with roles, and servers that take their passwords and tokens."""

from __future__ import annotations

from pathlib import Path

from harness.api import Api
from harness.server import Server, command

# Who does what in the tests. Each has a password of their own.
OWNER, VIEWER, MODIFIER, STRANGER, ADMIN = "alice", "vera", "mo", "sam", "root-of-all"
USERS = (OWNER, VIEWER, MODIFIER, STRANGER, ADMIN)

# What a server needs for one of them to be an administrator who may act as others.
ADMINISTERED: dict[str, object] = {"access.superusers": [ADMIN], "access.impersonation": True}

# Where wrong passwords are tried on purpose, nobody is to wait for it.
PATIENT: dict[str, object] = {
    f"access.throttle.{key}": 1_000_000 for key in ("free", "address_free", "user_free")
}


def password(user: str) -> str:
    """A user's password."""
    return f"the secret of {user}"


def users_file(directory: Path, users: tuple[str, ...] = USERS) -> Path:
    """A file of users with their passwords, as an operator makes it."""
    file = directory / "users"
    for user in users:
        ended = command("passwd", str(file), user, stdin=password(user) + "\n")
        assert ended.returncode == 0, ended.stderr
    return file


def settings(directory: Path) -> dict[str, object]:
    """A server that takes passwords of a file and tokens, with an administrator."""
    return {
        **ADMINISTERED,
        "access.basic_file": users_file(directory),
        "access.mode": ["basic", "token"],
    }


def by_basic(server: Server, user: str) -> Api:
    """By name and password."""
    return server.user(user, password(user))
