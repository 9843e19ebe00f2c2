"""The units as systemd reads them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from harness.server import ROOT

UNITS = ("firesteel.service", "firesteel.socket")
EXPOSURE = 52
"""The most that systemd may find exposed, in tenths: what is left has its reason in the unit."""


def verified(root: Path) -> subprocess.CompletedProcess:
    """What systemd says of the units of a root directory, to which the host's own units are given."""
    shutil.copytree("/lib/systemd/system", root / "lib/systemd/system", dirs_exist_ok=True, symlinks=True)
    argv = ["systemd-analyze", "verify", "--man=no", f"--root={root}", *UNITS]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def installed(root: Path, text: str) -> Path:
    """A root directory with the units, the service's with that text, and a program where it names one."""
    (root / "etc/systemd/system").mkdir(parents=True)
    (root / "usr/local/bin").mkdir(parents=True)
    shutil.copy2("/bin/true", root / "usr/local/bin/firesteel")
    shutil.copy(ROOT / "docker/systemd/firesteel.socket", root / "etc/systemd/system")
    (root / "etc/systemd/system/firesteel.service").write_text(text)
    return root


def test_units_are_valid(tmp_path: Path) -> None:
    """Nothing is said of them; of an unknown setting, or a program that is missing, something is."""
    text = (ROOT / "docker/systemd/firesteel.service").read_text()
    ended = verified(installed(tmp_path / "good", text))
    assert ended.returncode == 0, ended.stderr
    assert not [line for line in ended.stderr.splitlines() if "firesteel" in line]
    for name, wrong in (
        ("setting", text.replace("KillMode=process", "KilMode=process")),
        ("program", text.replace("/usr/local/bin/firesteel", "/usr/local/bin/firestell")),
    ):
        assert "firesteel.service" in verified(installed(tmp_path / name, wrong)).stderr, name


def test_hardening() -> None:
    """What systemd finds exposed does not grow."""
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}"]
    ended = subprocess.run(
        [*argv, ROOT / "docker/systemd/firesteel.service"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Overall exposure level for firesteel.service" in ended.stdout + ended.stderr
    assert ended.returncode == 0, ended.stdout + ended.stderr
