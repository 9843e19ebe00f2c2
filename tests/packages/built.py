"""What several of these files want: the Debian package, and a configuration as the server reads it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness.server import ROOT, binary, environment


def package(directory: Path) -> Path:
    """The Debian package of the binary under test, made anew and not compressed."""
    made = subprocess.run(
        [ROOT / "scripts/deb.sh", binary(), directory],
        env={**os.environ, "COMPRESSION": "none"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())


def judged(config: Path, state: Path, **env: str) -> dict[str, str]:
    """What `firesteel check` says of a configuration, by subject: `ok` or `WRONG`, and the words."""
    argv = [binary(), "check", "--config", config, "--state-dir", state]
    ended = subprocess.run(
        argv, env=environment(**env), capture_output=True, text=True, timeout=60, check=False
    )
    found = {}
    for line in (ended.stdout + ended.stderr).splitlines():
        mark, _, rest = line.partition(" ")
        subject, _, words = rest.strip().partition(": ")
        found[subject] = f"{mark} {words}"
    return found
