"""A Debian whose first process is systemd, as a container: what is installed in it runs as on any machine."""

from __future__ import annotations

from pathlib import Path

from harness.processes import wait_until
from packages.docker import START_LIMIT, Docker

# What systemd needs to make units' file systems and groups.
OPTIONS = ["--cap-add", "SYS_ADMIN", "--cap-add", "SYS_NICE", "--security-opt", "seccomp=unconfined"]
OPTIONS += ["--security-opt", "apparmor=unconfined", "--cgroupns", "host"]
OPTIONS += ["--volume", "/sys/fs/cgroup:/sys/fs/cgroup", "--tmpfs", "/run", "--tmpfs", "/tmp:exec"]
OPTIONS += ["--network", "host"]


class Machine:
    """It runs until it is removed; its network is the host's."""

    def __init__(self, docker: Docker, image: str, *options: str):
        self.container = docker.container(image, *OPTIONS, *options)
        wait_until("systemd takes commands", self._takes_commands, START_LIMIT)

    def _takes_commands(self) -> bool:
        return "systemd-journald" in str(self.container.processes())

    def systemctl(self, *words: str) -> str:
        """What systemd says."""
        return self.container.run("systemctl", *words)

    def running(self, unit: str, limit: float = START_LIMIT) -> int:
        """The main process of a service, as the machine counts them, once it is ready."""

        def ready() -> int:
            shown = self.systemctl("show", "--property", "SubState,MainPID", unit)
            found = dict(line.split("=", 1) for line in shown.splitlines())
            return int(found["MainPID"]) if found["SubState"] == "running" else 0

        return wait_until(f"{unit} runs", ready, limit)

    def next(self, unit: str, before: int) -> int:
        """Another main process, which has taken the place of one."""

        def other() -> int:
            found = self.running(unit)
            return 0 if found == before else found

        return wait_until(f"another {unit} runs", other, START_LIMIT)

    def remove(self) -> None:
        """Switch it off."""
        self.container.remove()


def written(root: Path, files: dict[str, str]) -> None:
    """Write files below a directory."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
