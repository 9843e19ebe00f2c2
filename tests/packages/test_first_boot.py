"""cloud-init's files on the first boot of machines: a master with the server, and a worker of it."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Iterator

import pytest
import yaml
from harness.api import Api
from harness.server import ROOT, free_port
from packages.built import package
from packages.docker import TRUSTED, Docker
from packages.machine import Machine, written

BOOT_LIMIT = 1200.0
DOCKERFILE = """
FROM debian:bookworm-slim
# As clouds' images have it.
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \\
    cloud-init dbus openssh-server sudo systemd
COPY firesteel.deb /opt/firesteel.deb
COPY seed /var/lib/cloud/seed/nocloud
COPY etc /etc/
CMD ["/lib/systemd/systemd"]
"""
WRITTEN = {
    "pip.conf": f"[global]\ncert = {TRUSTED}\n",
    # The network is there, and is not this machine's to set; no other language than C's is installed.
    "cloud/cloud.cfg.d/90_here.cfg": """datasource_list: [NoCloud]
network: {config: disabled}
locale: false
""",
}


class Ports:
    """Of the master and of the server: the two machines have one network, the host's."""

    def __init__(self) -> None:
        self.master, self.server = free_port(), free_port()


def user_data(role: str, ports: Ports) -> str:
    """A file as an administrator makes it theirs: the package's address, the master's, and the port."""
    text = (ROOT / f"docker/cloud-init/{role}.yaml").read_text()
    here = text.replace("https://packages.example.com/firesteel_0.1.0_amd64.deb", "file:///opt/firesteel.deb")
    here = here.replace("7077", str(ports.master))
    said = yaml.safe_load(here)
    listen = f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{ports.server}\n"
    override = {"path": "/etc/systemd/system/firesteel.socket.d/override.conf", "content": listen}
    said["write_files"].append(override)
    return "#cloud-config\n" + yaml.safe_dump(said)


@pytest.fixture(scope="module")
def ports() -> Ports:
    """Free ones."""
    return Ports()


@pytest.fixture(scope="module")
def machines(
    docker: Docker, ports: Ports, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Machine]]:
    """Both, booted for the first time."""
    made: dict[str, Machine] = {}
    for role in ("master", "worker"):
        context: Path = tmp_path_factory.mktemp(role)
        package(context).rename(context / "firesteel.deb")
        seed = {"user-data": user_data(role, ports), "meta-data": f"instance-id: {role}\n"}
        written(context, {"Dockerfile": DOCKERFILE})
        written(context / "seed", seed)
        written(context / "etc", WRITTEN)
        image = docker.build("Dockerfile", f"firesteel-{role}:latest", context=context)
        shutil.rmtree(context)
        names = ("master.internal", socket.gethostname())
        hosts = [word for name in names for word in ("--add-host", f"{name}:127.0.0.1")]
        made[role] = Machine(docker, image, *hosts)
    yield made
    for machine in made.values():
        machine.remove()


def test_a_cluster(machines: dict[str, Machine], ports: Ports) -> None:
    """Everything is installed and started, and a session's job runs on the worker."""
    for machine in machines.values():
        said = machine.container.run("sh", "-c", "cloud-init status --wait --long || true", limit=BOOT_LIMIT)
        log = machine.container.run("tail", "--lines", "40", "/var/log/cloud-init-output.log")
        assert "status: done" in said, said + log
    machines["master"].running("spark-master.service")
    machines["worker"].running("spark-worker.service")
    machines["master"].running("firesteel.service")
    session = Api(f"http://127.0.0.1:{ports.server}").create(kind="pyspark")
    session.wait("idle")
    assert session.text("sc.master") == f"'spark://master.internal:{ports.master}'"
    assert session.text("spark.range(1000).groupBy().sum('id').first()[0]") == "499500"
    # In the worker's state directory, which the master does not have.
    session.ok("sc.parallelize([0], 1).foreach(lambda _: open('/var/lib/spark/ran', 'w').close())")
    machines["worker"].container.run("test", "-e", "/var/lib/spark/ran")
    session.delete()
