"""The Debian package under a real systemd, which is a container's first process: the units' hardening is in
force, and sessions outlive the server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Iterator

import pytest
from harness.api import Api
from harness.processes import wait_until
from harness.server import free_port
from packages.built import package
from packages.docker import START_LIMIT, Container, Docker

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
# What systemd needs to make units' file systems and groups.
OPTIONS = ["--cap-add", "SYS_ADMIN", "--cap-add", "SYS_NICE", "--security-opt", "seccomp=unconfined"]
OPTIONS += [
    "--security-opt",
    "apparmor=unconfined",
    "--cgroupns",
    "host",
    "--volume",
    "/sys/fs/cgroup:/sys/fs/cgroup",
]
OPTIONS += ["--tmpfs", "/run", "--tmpfs", "/tmp:exec", "--network", "host"]


class Machine:
    """A Debian with the service."""

    def __init__(self, container: Container, port: int):
        self.container = container
        self.api = Api(f"http://127.0.0.1:{port}")

    def systemctl(self, *words: str) -> str:
        """What systemd says."""
        return self.container.run("systemctl", *words)

    def server(self) -> int:
        """The server's process, as the container counts them, once it is ready."""

        def ready() -> int:
            shown = self.systemctl("show", "--property", "ActiveState,SubState,MainPID", "firesteel.service")
            found = dict(line.split("=", 1) for line in shown.splitlines())
            return int(found["MainPID"]) if found["SubState"] == "running" else 0

        return wait_until("the service runs", ready, START_LIMIT)

    def next_server(self, before: int) -> int:
        """Another server, which has taken the place of one."""

        def other() -> int:
            found = self.server()
            return 0 if found == before else found

        return wait_until("another server runs", other, START_LIMIT)


@pytest.fixture(scope="module")
def machine(docker: Docker, server_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """It is up, and its server is ready."""
    context: Path = tmp_path_factory.mktemp("systemd")
    deb, port = package(context).name, free_port()
    (context / "Dockerfile").write_text(DOCKERFILE.format(server=server_image, deb=deb))
    for name, text in WRITTEN.items():
        (context / "etc" / name).parent.mkdir(parents=True, exist_ok=True)
        (context / "etc" / name).write_text(text.format(port=port))
    image = docker.build("Dockerfile", "firesteel-systemd:latest", context=context)
    shutil.rmtree(context)
    made = Machine(docker.container(image, *OPTIONS), port)
    wait_until("the service is started", lambda: "firesteel" in str(made.container.processes()), START_LIMIT)
    made.server()
    yield made
    made.container.remove()


def test_hardening(machine: Machine) -> None:
    """The server and its drivers have no privilege, can gain none, and change nothing of the system."""
    status = machine.container.run("cat", f"/proc/{machine.server()}/status")
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(found["CapEff"], 16) == 0
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    session = machine.api.create(kind="pyspark")
    session.wait("idle")
    said = session.error("open('/usr/share/mine', 'w')")
    assert "Read-only file system" in said["evalue"]
    who = machine.container.run("id", "--user", "firesteel").strip()
    shown = session.text(
        "import os\nprint(os.getuid(), open('/proc/self/status').read().count('NoNewPrivs:\\t1'))"
    )
    assert shown.split() == [who, "1"]
    # Native code is made and run: the JVM's, and what Spark unpacks.
    assert session.text("spark.range(100).groupBy().sum('id').first()[0]") == "4950"
    session.delete()


def test_sessions_outlive_the_server(machine: Machine, tmp_path: Path) -> None:
    """A statement goes on while the server is restarted, upgraded, killed, and replaced by the watchdog."""
    session = machine.api.create(kind="pyspark")
    session.wait("idle")
    assert session.text("kept = 42\nkept") == "42"
    waits = "import os, time\nwhile not os.path.exists('/var/lib/firesteel/{}'): time.sleep(0.05)\nkept"
    ways = {
        "restarted": lambda server: machine.systemctl("restart", "firesteel.service"),
        "upgraded": lambda server: machine.container.run("dpkg", "--install", "/opt/firesteel.deb"),
        "killed": lambda server: machine.container.run("kill", "-KILL", str(server)),
        "stopped": lambda server: machine.container.run("kill", "-STOP", str(server)),
    }
    for name, replace in ways.items():
        before = machine.server()
        statement = session.post(waits.format(name))["id"]
        session.wait_statement(statement, "running")
        replace(before)
        machine.next_server(before)
        machine.container.run("touch", f"/var/lib/firesteel/{name}")
        ended = session.wait_statement(statement, "available")
        assert ended["output"]["data"]["text/plain"] == "42", name
    session.delete()
