"""Users with roles, and the ways in which a client says who it is."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from harness.api import Api
from harness.server import Server, command

# Who does what in the tests. Each has a password of their own.
OWNER, VIEWER, MODIFIER, STRANGER, ADMIN = "alice", "vera", "mo", "sam", "root-of-all"
USERS = (OWNER, VIEWER, MODIFIER, STRANGER, ADMIN)


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


def by_basic(server: Server, user: str) -> Api:
    """By name and password."""
    return server.user(user, password(user))


def by_token(server: Server, user: str) -> Api:
    """By a token that may do all that its owner may."""
    made = by_basic(server, user).post("/tokens", {"scopes": ["all", "tokens"]})
    assert made.status_code == 201, made.text
    return server.bearer(made.json()["token"])


# How a client of this user's is made, by the word of `access.mode`. Each is tried with every route and role:
# a further way is a line here, and what its server needs in `settings`.
WAYS: dict[str, Callable[[Server, str], Api]] = {"basic": by_basic, "token": by_token}


def settings(way: str, directory: Path) -> dict[str, object]:
    """What a server needs for a way to say who one is, with an administrator."""
    modes = {"basic": ["basic", "token"], "token": ["token", "basic"]}[way]
    return {
        "access.basic_file": users_file(directory),
        "access.mode": modes,
        "access.superusers": [ADMIN],
        "access.impersonation": True,
    }
