"""Every shell script of the repository, as shellcheck reads it."""

from __future__ import annotations

import subprocess

from harness.server import ROOT


def is_shell(path: str) -> bool:
    """Whether a file says in its first line that a shell runs it."""
    with (ROOT / path).open("rb") as file:
        first = file.readline(64)
    return first.startswith(b"#!") and first.rstrip().endswith((b"/sh", b" sh", b"bash"))


def test_shellcheck() -> None:
    """Nothing is found, not even what is a matter of style."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    scripts = [path for path in files if (ROOT / path).is_file() and is_shell(path)]
    for known in ("scripts/deb.sh", "docker/debian/postinst", "scripts/run.sh"):
        assert known in scripts
    ended = subprocess.run(
        ["shellcheck", "--severity=style", *scripts], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
