"""The Debian package and the Dataproc action in a root directory of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness.server import ROOT, binary
from packages.built import package
from packages.docker import ran, rootfs

pytestmark = pytest.mark.skipif(
    not os.environ.get("FIRESTEEL_TEST_IMAGES"),
    reason="FIRESTEEL_TEST_IMAGES=1: as root, in a root directory",
)


@pytest.fixture
def debian(tmp_path: Path) -> Path:
    """A root directory."""
    root = tmp_path / "debian"
    ran("cp", "-a", "--reflink=auto", rootfs("bookworm"), root)
    return root


def inside(root: Path, *argv: str) -> str:
    """What a program of a root directory writes."""
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    return ran("chroot", root, *argv, env=env)


def test_deb(debian: Path) -> None:
    """It is installed, upgraded, removed and purged; what an administrator has written stays until then."""
    deb = package(debian / "tmp")
    within = f"/tmp/{deb.name}"
    inside(debian, "dpkg", "--install", within)
    assert inside(debian, "firesteel", "--version") == ran(binary(), "--version")
    state = "stat -c '%U %a' /var/lib/firesteel /etc/firesteel /etc/firesteel/firesteel.toml"
    assert inside(debian, "sh", "-c", state).splitlines() == ["firesteel 700", "root 750", "root 644"]
    assert "/usr/sbin/nologin" in inside(debian, "getent", "passwd", "firesteel")
    config = debian / "etc/firesteel/firesteel.toml"
    config.write_text('[spark]\nhome = "/opt/mine"\n')
    (debian / "var/lib/firesteel/kept").write_text("")
    inside(debian, "dpkg", "--install", within)
    assert "/opt/mine" in config.read_text()
    inside(debian, "dpkg", "--remove", "firesteel")
    assert not (debian / "usr/bin/firesteel").exists()
    assert config.exists()
    assert (debian / "var/lib/firesteel/kept").exists()
    inside(debian, "dpkg", "--purge", "firesteel")
    assert not (debian / "etc/firesteel").exists()
    assert not (debian / "var/lib/firesteel").exists()


def dataproc(root: Path, role: str, **more: str) -> subprocess.CompletedProcess:
    """Run the action on a node of a role, whose metadata has these as well."""
    asked = root / "usr/share/google/get_metadata_value"
    asked.parent.mkdir(parents=True, exist_ok=True)
    values = {"dataproc-role": role, **{key.replace("_", "-"): value for key, value in more.items()}}
    cases = "".join(f"attributes/{key}) echo '{value}' ;;\n" for key, value in values.items())
    asked.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}*) exit 1 ;;\nesac\n')
    asked.chmod(0o755)
    shutil.copy(ROOT / "docker/dataproc/firesteel.sh", root / "tmp")
    argv = ["chroot", root, "bash", "/tmp/firesteel.sh"]
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)


def seen(root: Path) -> dict[str, tuple[float, bytes]]:
    """The files that the action writes, with their times."""
    places = ("usr/lib/spark/conf", "etc/firesteel", "etc/systemd/system")
    files = [path for place in places for path in (root / place).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): (path.stat().st_mtime, path.read_bytes()) for path in files}


def test_dataproc(debian: Path) -> None:
    """A worker gets the Python and the seed, a master the server as well; a second time changes nothing."""
    conf = debian / "usr/lib/spark/conf"
    conf.mkdir(parents=True)
    (conf / "spark-env.sh").write_text("export OF_DATAPROC=1\n")
    (conf / "spark-defaults.conf").write_text("spark.of.dataproc=1\n")
    python = {"firesteel_python": "/opt/conda/default/bin/python"}
    ended = dataproc(debian, "Worker", **python)
    assert ended.returncode == 0, ended.stderr
    assert (conf / "spark-env.sh").read_text().splitlines() == [
        "export OF_DATAPROC=1",
        "# firesteel begin",
        "export PYSPARK_PYTHON=/opt/conda/default/bin/python",
        "export PYTHONHASHSEED=0",
        "# firesteel end",
    ]
    assert "spark.executorEnv.PYTHONHASHSEED=0" in (conf / "spark-defaults.conf").read_text()
    assert not (debian / "usr/bin/firesteel").exists()

    ended = dataproc(debian, "Master", **python)
    assert ended.returncode == 1
    assert "firesteel-deb is missing" in ended.stderr
    assert dataproc(debian, "Driver").returncode == 1

    deb = {"firesteel_deb": f"/tmp/{package(debian / 'tmp').name}"}
    ended = dataproc(debian, "Master", **python, **deb)
    assert ended.returncode == 0, ended.stderr
    assert inside(debian, "firesteel", "--version") == ran(binary(), "--version")
    check = [
        "sh",
        "-c",
        "firesteel check --config /etc/firesteel/firesteel.toml --state-dir /tmp/state || true",
    ]
    assert "configuration: valid" in inside(debian, *check)
    before = seen(debian)
    ended = dataproc(debian, "Master", **python, **deb)
    assert ended.returncode == 0, ended.stderr
    assert seen(debian) == before
    # Another Python takes the place of the first.
    assert dataproc(debian, "Master", firesteel_python="/usr/bin/python3", **deb).returncode == 0
    assert "conda" not in (conf / "spark-env.sh").read_text()
    assert "/usr/bin/python3" in (debian / "etc/firesteel/firesteel.toml").read_text()
