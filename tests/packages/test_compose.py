"""The compose files, beside the images that they name."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from harness.server import ROOT
from packages.built import judged

DOCKER = ROOT / "docker"
BASE, STANDALONE = "docker/compose.yaml", "docker/compose.standalone.yaml"


def merged(*files: str) -> dict:
    """What compose makes of files, each over the one before; it reads them with its own schema."""
    argv = ["docker-compose", *(word for file in files for word in ("-f", file)), "config"]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return yaml.safe_load(ended.stdout)


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """A Dockerfile's instructions with their arguments."""
    text = re.sub(r"(?m)^#.*\n", "", dockerfile.read_text()).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def said(dockerfile: Path, name: str) -> list[str]:
    """The words of all instructions of a name."""
    return [word for found, rest in instructions(dockerfile) if found == name for word in rest.split()]


DOCKERFILES = {
    "firesteel:latest": DOCKER / "server/Dockerfile",
    "firesteel-notebook:latest": DOCKER / "notebook/Dockerfile",
}


@pytest.mark.parametrize("files", [(BASE,), (BASE, STANDALONE)], ids=["base", "standalone"])
def test_compose(files: tuple[str, ...]) -> None:
    """Each image, port and volume is one of a Dockerfile's, nothing is published beyond loopback, and nobody
    keeps a privilege."""
    found = merged(*files)
    services = found["services"]
    assert services
    for name, service in services.items():
        dockerfile = DOCKERFILES[service["image"]]
        if "build" in service:
            context = Path(service["build"]["context"])
            assert context / service["build"]["dockerfile"] == dockerfile
        shared = [other for other in services.values() if other.get("network_mode") == f"service:{name}"]
        inside = [dockerfile, *(DOCKERFILES[other["image"]] for other in shared)]
        exposed = {port for file in inside for port in said(file, "EXPOSE")}
        for port in service.get("ports", []):
            address, _, target = str(port).split(":")
            assert address == "127.0.0.1", name
            # Spark's own page, of which the image knows nothing.
            assert target.split("/")[0] in exposed | {"8080"}, name
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            assert source in found["volumes"], name
            assert target in said(dockerfile, "VOLUME"), name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in services[other], name


def test_standalone_settings(tmp_path: Path) -> None:
    """The image's configuration with the variables that the file sets is valid, and its master is the one
    that runs."""
    services = merged(BASE, STANDALONE)["services"]
    variables = services["server"]["environment"]
    found = judged(DOCKER / "server/firesteel.toml", tmp_path, **variables)
    assert found["configuration"].startswith("ok"), found
    master = dict(zip(*[iter(services["master"]["command"])] * 2))
    assert variables["FIRESTEEL_SPARK__MASTER"] == f"spark://{master['--host']}:{master['--port']}"
    assert services["worker"]["command"][-1] == variables["FIRESTEEL_SPARK__MASTER"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES.values(), ids=lambda path: path.parent.name)
def test_dockerfile(dockerfile: Path) -> None:
    """What is copied is in the repository and in the context, and nobody is root."""
    (user,) = said(dockerfile, "USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    ignored = (ROOT / ".dockerignore").read_text().split()
    for name, rest in instructions(dockerfile):
        sources = [] if name != "COPY" or "--from=" in rest or rest == ". ." else rest.split()[:-1]
        for source in sources:
            assert list(ROOT.glob(source)), source
            assert f"!{source.split('/')[0]}" in ignored, source
    entry = next(json.loads(rest) for name, rest in instructions(dockerfile) if name == "ENTRYPOINT")
    assert entry[:2] == ["/usr/bin/tini", "--"]


def test_rust_is_the_one_that_is_needed() -> None:
    """The server's image is built with the version that Cargo.toml asks for."""
    (needed,) = re.findall(r'^rust-version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert f"RUST=rust:{needed}-bookworm" in said(DOCKER / "server/Dockerfile", "ARG")


def test_image_configuration(tmp_path: Path) -> None:
    """The server's configuration is valid."""
    found = judged(DOCKER / "server/firesteel.toml", tmp_path)
    assert found["configuration"].startswith("ok"), found
