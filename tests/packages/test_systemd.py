"""The Debian package under a real systemd: the unit is hardened, and sessions outlive the server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Iterator

import pytest
from harness.api import Api
from harness.server import free_port
from packages.built import package
from packages.docker import Docker
from packages.machine import Machine, written

SERVICE = "firesteel.service"
DOCKERFILE = """
FROM debian:bookworm-slim
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \\
    dbus openjdk-17-jre-headless procps python3 systemd
COPY --from={server} /opt /opt
COPY {deb} /opt/firesteel.deb
RUN dpkg --install /opt/firesteel.deb && systemctl enable firesteel.socket firesteel.service
COPY etc /etc/
CMD ["/lib/systemd/systemd"]
"""
WRITTEN = {
    "firesteel/firesteel.toml": """[spark]
home = "/opt/spark"
python = "/opt/python/bin/python"
master = "local[2]"
""",
    # As `systemctl edit` makes it: another port, and a watchdog that the test need not wait a minute for.
    "systemd/system/firesteel.socket.d/override.conf": """[Socket]
ListenStream=
ListenStream=127.0.0.1:{port}
""",
    "systemd/system/firesteel.service.d/override.conf": """[Service]
WatchdogSec=5s
""",
}
"""What is written below /etc after the installation."""


@pytest.fixture(scope="module")
def api() -> Api:
    """The server's address."""
    return Api(f"http://127.0.0.1:{free_port()}")


@pytest.fixture(scope="module")
def machine(
    docker: Docker, server_image: str, api: Api, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """It is up, and its server is ready."""
    context: Path = tmp_path_factory.mktemp("systemd")
    deb, port = package(context).name, api.url.rpartition(":")[2]
    written(context, {"Dockerfile": DOCKERFILE.format(server=server_image, deb=deb)})
    written(context / "etc", {name: text.format(port=port) for name, text in WRITTEN.items()})
    image = docker.build("Dockerfile", "firesteel-systemd:latest", context=context)
    shutil.rmtree(context)
    made = Machine(docker, image)
    made.running(SERVICE)
    yield made
    made.remove()


def test_hardening(machine: Machine, api: Api) -> None:
    """The server and its drivers have no privilege, can gain none, and change nothing of the system."""
    status = machine.container.run("cat", f"/proc/{machine.running(SERVICE)}/status")
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(found["CapEff"], 16) == 0
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    session = api.create(kind="pyspark")
    session.wait("idle")
    said = session.error("open('/usr/share/mine', 'w')")
    assert "Read-only file system" in said["evalue"]
    who = machine.container.run("id", "--user", "firesteel").strip()
    code = "import os\nprint(os.getuid(), open('/proc/self/status').read().count('NoNewPrivs:\\t1'))"
    assert session.text(code).split() == [who, "1"]
    # Native code is made and run: the JVM's, and what Spark unpacks.
    assert session.text("spark.range(100).groupBy().sum('id').first()[0]") == "4950"
    session.delete()


def test_sessions_outlive_the_server(machine: Machine, api: Api) -> None:
    """A statement goes on while the server is restarted, upgraded, killed, and replaced by the watchdog."""
    session = api.create(kind="pyspark")
    session.wait("idle")
    assert session.text("kept = 42\nkept") == "42"
    waits = "import os, time\nwhile not os.path.exists('/var/lib/firesteel/{}'): time.sleep(0.05)\nkept"
    run = machine.container.run
    ways = {
        "restarted": lambda _server: machine.systemctl("restart", SERVICE),
        "upgraded": lambda _server: run("dpkg", "--install", "/opt/firesteel.deb"),
        "killed": lambda server: run("kill", "-KILL", str(server)),
        "stopped": lambda server: run("kill", "-STOP", str(server)),
    }
    for name, replace in ways.items():
        before = machine.running(SERVICE)
        statement = session.post(waits.format(name))["id"]
        session.wait_statement(statement, "running")
        replace(before)
        machine.next(SERVICE, before)
        run("touch", f"/var/lib/firesteel/{name}")
        ended = session.wait_statement(statement, "available")
        assert ended["output"]["data"]["text/plain"] == "42", name
    session.delete()
