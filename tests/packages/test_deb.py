"""The Debian package."""

from __future__ import annotations

import gzip
import re
import subprocess
import time
from pathlib import Path

import pytest
from harness.server import ROOT, binary
from packages.built import judged, package
from packages.test_units import verified


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package."""
    return package(tmp_path_factory.mktemp("deb"))


def told(*argv: object) -> str:
    """What a program writes."""
    return subprocess.run([*map(str, argv)], capture_output=True, text=True, timeout=60, check=True).stdout


def test_contents(deb: Path) -> None:
    """Everything has its place, belongs to root, and can be written by nobody else."""
    listed = [line.split(maxsplit=5) for line in told("dpkg-deb", "--contents", deb).splitlines()]
    found = {name.lstrip("."): mode for mode, _, _, _, _, name in listed}
    for path, mode in {
        "/usr/bin/firesteel": "-rwxr-xr-x",
        "/etc/firesteel/firesteel.toml": "-rw-r--r--",
        "/lib/systemd/system/firesteel.service": "-rw-r--r--",
        "/lib/systemd/system/firesteel.socket": "-rw-r--r--",
        "/usr/share/man/man1/firesteel.1.gz": "-rw-r--r--",
        "/usr/share/man/man1/firesteel-serve.1.gz": "-rw-r--r--",
        "/usr/share/bash-completion/completions/firesteel": "-rw-r--r--",
        "/usr/share/zsh/vendor-completions/_firesteel": "-rw-r--r--",
        "/usr/share/fish/vendor_completions.d/firesteel.fish": "-rw-r--r--",
        "/usr/share/doc/firesteel/copyright": "-rw-r--r--",
    }.items():
        assert found.get(path) == mode, path
    assert {owner for _, owner, *_ in listed} == {"root/root"}
    assert not [name for name, mode in found.items() if mode[5] == "w" or mode[8] == "w"]


def test_control(deb: Path, tmp_path: Path) -> None:
    """Name, version and conffile, and scripts that can be run."""
    version = told(binary(), "--version").split()[1]
    assert deb.name == f"firesteel_{version}_{told('dpkg', '--print-architecture').strip()}.deb"
    fields = told("dpkg-deb", "--show", "--showformat=${Package} ${Version} ${Depends}", deb)
    assert fields.startswith(f"firesteel {version} adduser, libc6 (>= 2.")
    told("dpkg-deb", "--control", deb, tmp_path / "control")
    assert (tmp_path / "control/conffiles").read_text().split() == ["/etc/firesteel/firesteel.toml"]
    for name in ("postinst", "prerm", "postrm"):
        assert (tmp_path / "control" / name).stat().st_mode & 0o777 == 0o755, name


def test_unpacked(deb: Path, tmp_path: Path) -> None:
    """The binary runs, the configuration is valid, manual pages and completions are whole, and the units
    name what is there."""
    root = tmp_path / "root"
    told("dpkg-deb", "--extract", deb, root)
    assert told(root / "usr/bin/firesteel", "--version") == told(binary(), "--version")
    said = judged(root / "etc/firesteel/firesteel.toml", tmp_path / "state")
    assert said["configuration"].startswith("ok"), said
    page = gzip.decompress((root / "usr/share/man/man1/firesteel.1.gz").read_bytes()).decode()
    assert re.search(r"^\.SH SYNOPSIS$", page, re.MULTILINE)
    subprocess.run(["bash", "-n", root / "usr/share/bash-completion/completions/firesteel"], check=True)
    ended = verified(root)
    assert ended.returncode == 0, ended.stderr
    assert "firesteel" not in ended.stderr


def test_same_again(deb: Path, tmp_path: Path) -> None:
    """A package that is made a second time, and at another time, is the same, byte for byte."""
    made = int(time.time())
    while int(time.time()) == made:
        time.sleep(0.05)
    assert package(tmp_path).read_bytes() == deb.read_bytes()


def test_binary_is_built(tmp_path: Path) -> None:
    """Without a binary the script says what to do, and makes nothing."""
    argv = [ROOT / "scripts/deb.sh", tmp_path / "firesteel", tmp_path]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "cargo build --release" in ended.stderr
    assert not list(tmp_path.iterdir())
