"""Users of this host, made for a test and removed with it, and servers whose drivers run as them. For
root."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator

from harness.server import Server, command, everything_below

PASSWORD = "open sesame"
TRIES = 50
"""The host's file of users has a lock, which other tests may hold."""


def is_root() -> bool:
    """Whether users can be made, and drivers can run as them."""
    return os.geteuid() == 0


def _run(*argv: str) -> None:
    for _ in range(TRIES):
        ended = subprocess.run(argv, capture_output=True, text=True, check=False)
        if ended.returncode != 1 and "lock" not in ended.stderr:
            break
        time.sleep(0.1)
    assert ended.returncode == 0, ended.stderr


@contextlib.contextmanager
def users(count: int, skip: int = 0) -> Iterator[list[pwd.struct_passwd]]:
    """So many users with homes of their own, beside so many that there are already."""
    names = [f"fs{os.getpid()}{letter}" for letter in "abcdefgh"[skip : skip + count]]
    made = []
    try:
        for name in names:
            _run("useradd", "--create-home", "--shell", "/bin/bash", name)
            made.append(name)
        yield [pwd.getpwnam(name) for name in names]
    finally:
        for name in made:
            # It also removes the home; a warning about the mail spool is none of ours.
            subprocess.run(["userdel", "--remove", name], capture_output=True, check=False)


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that every user can pass through: pytest's own are closed."""
    directory = Path(tempfile.mkdtemp(prefix="firesteel-open-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def run_as_server(settings: dict[str, Any], names: list[str], directory: Path, **more: Any) -> Server:
    """A server whose drivers run as these users, which have the same password; not started yet."""
    file = directory / "users"
    for name in names:
        ended = command("passwd", str(file), name, stdin=PASSWORD + "\n")
        assert ended.returncode == 0, ended.stderr
    access = {"access.mode": "basic", "access.basic_file": file, "run_as.mode": "owner"}
    server = Server({**access, **settings}, start=False, **more)
    # Its users must be able to reach the state directory, whose path leaves room for sockets in TMPDIR.
    server.home.chmod(0o711)
    server.argv[server.argv.index(str(server.state_dir))] = str(server.home / "s")
    server.state_dir = server.home / "s"
    return server


def owners(directory: Path) -> dict[Path, int]:
    """Who owns each thing below a directory."""
    found = {}
    for path in everything_below(directory):
        # What goes meanwhile is nobody's.
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.lstat().st_uid
    return found
