"""cloud-init's files, and what they write."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from harness.server import ROOT
from packages.built import judged

FILES = sorted((ROOT / "docker/cloud-init").glob("*.yaml"))
NAMED = [path.stem for path in FILES]


def written(path: Path) -> dict[str, str]:
    """The files that one writes."""
    return {file["path"]: file["content"] for file in yaml.safe_load(path.read_text())["write_files"]}


def test_all_are_there() -> None:
    """One for each machine."""
    assert NAMED == ["gpu", "master", "worker"]


@pytest.mark.skipif(
    not os.environ.get("FIRESTEEL_TEST_IMAGES"), reason="FIRESTEEL_TEST_IMAGES=1: cloud-init is here"
)
@pytest.mark.parametrize("path", FILES, ids=NAMED)
def test_schema(path: Path) -> None:
    """As cloud-init reads it."""
    argv = ["cloud-init", "schema", "--config-file", path]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Valid" in ended.stdout


@pytest.mark.parametrize("path", FILES, ids=NAMED)
def test_what_it_writes(path: Path, tmp_path: Path) -> None:
    """The configuration is valid, and each unit is one that systemd can read and is started."""
    files = written(path)
    started = " ".join(str(word) for line in yaml.safe_load(path.read_text())["runcmd"] for word in line)
    for name, text in files.items():
        if name.endswith(".toml"):
            (tmp_path / "firesteel.toml").write_text(text)
            found = judged(tmp_path / "firesteel.toml", tmp_path / "state")
            assert found["configuration"].startswith("ok"), found
        if name.endswith(".service"):
            unit = tmp_path / Path(name).name
            # The programs and the user that it names are not installed here.
            unit.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", text))
            argv = ["systemd-analyze", "verify", "--man=no", unit]
            ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
            assert not [line for line in ended.stderr.splitlines() if unit.name in line], ended.stderr
            assert unit.name in started


def test_one_spark() -> None:
    """Masters, workers and the images have the same Spark, which is the one that the tests run."""
    pinned = (ROOT / "scripts/requirements/spark-4.1.txt").read_text()
    (version,) = re.findall(r"^pyspark==\S+$", pinned, re.MULTILINE)
    assert all(version in path.read_text() for path in FILES)
    assert "ARG SPARK=4.1\n" in (ROOT / "docker/server/Dockerfile").read_text()


def test_one_master() -> None:
    """The address that the master listens on is the one that the server and the workers call."""
    addresses = set()
    for path in FILES:
        addresses |= set(re.findall(r"spark://\S+:7077", path.read_text().replace('"', " ")))
    (address,) = addresses
    master = written(ROOT / "docker/cloud-init/master.yaml")["/etc/systemd/system/spark-master.service"]
    host, port = address.removeprefix("spark://").split(":")
    assert f"--host {host} --port {port}" in master
