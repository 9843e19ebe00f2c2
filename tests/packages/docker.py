"""A Docker of the tests' own: a daemon as root with a store that goes with it, and no registry. The base
images that the Dockerfiles name are roots that debootstrap makes. The host's firewall and routes stay as they
are."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from harness.processes import wait_until
from harness.server import ROOT, binary, environment

SUITES = {"debian:bookworm-slim": "bookworm"}
"""The base images of the Dockerfiles, and the Debian that each is."""
SERVER = "docker/server/Dockerfile"
PREBUILT = {"RUST": "debian:bookworm-slim", "PREBUILT": "target/release/firesteel"}
"""What takes the binary under test into the server's image."""
BUILD_LIMIT = 3600.0
START_LIMIT = 120.0
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
REGISTRIES = ("PIP_INDEX_URL", "PIP_PROXY", "http_proxy", "https_proxy", "no_proxy")
"""How this host reaches the package registries: the builds get it, and no file of the repository has it."""
TRUSTED = "/etc/host-authorities.crt"
"""Where the base images have this host's authorities, which may be more than Debian's."""


def ran(*argv: object, limit: float = BUILD_LIMIT, **more: Any) -> str:
    """What a program writes; it must do well."""
    words = [str(word) for word in argv]
    ended = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=limit,
        check=False,
        **more,
    )
    assert ended.returncode == 0, f"{words}: {ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
    return ended.stdout


def rootfs(suite: str) -> Path:
    """A Debian, made once for this checkout."""
    made = ROOT / "target/debootstrap" / suite
    if not made.is_dir():
        made.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=made.parent))
        ran("debootstrap", "--variant=minbase", suite, scratch)
        shutil.copy(AUTHORITIES, scratch / TRUSTED.lstrip("/"))
        scratch.chmod(0o755)
        scratch.rename(made)
    return made


class Docker:
    """The daemon, and what it has built and runs."""

    def __init__(self) -> None:
        assert os.geteuid() == 0, "images are built as root"
        self.home = Path(tempfile.mkdtemp(prefix="firesteel-docker-"))
        socket = f"unix://{self.home}/docker.sock"
        self.env = environment(
            DOCKER_HOST=socket, DOCKER_BUILDKIT="0", DOCKER_CONFIG=str(self.home / "client")
        )
        self.based: set[str] = set()
        self.context = self._context()
        argv = ["dockerd", "--host", socket, "--storage-driver", "overlay2", "--pidfile", self.home / "pid"]
        argv += ["--data-root", self.home / "data", "--exec-root", self.home / "exec"]
        # Networks of compose files have bridges of their own; nothing goes from there to the outside.
        argv += ["--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]
        self.log = self.home / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until("the Docker daemon answers", self._answers, START_LIMIT)
        except BaseException:
            self._end()
            raise

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        argv = ["docker", "version"]
        return subprocess.run(argv, env=self.env, capture_output=True, check=False).returncode == 0

    def _context(self) -> Path:
        """The checkout's own files, and the binary under test where a release build leaves it."""
        context = self.home / "context"
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        for name in ran(*listed, cwd=ROOT).split("\0"):
            if name and (ROOT / name).is_file():
                (context / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, context / name)
        release = context / "target/release"
        release.mkdir(parents=True)
        shutil.copy2(binary(), release / "firesteel")
        return context

    def __call__(self, *argv: object, **more: Any) -> str:
        """What a command of Docker's client writes."""
        return ran("docker", *argv, env=self.env, **more)

    def base(self, name: str) -> None:
        """A base image."""
        if name in self.based:
            return
        pip = {key: value for key, value in os.environ.items() if key in REGISTRIES}
        settings = [f"ENV {key}={value}" for key, value in {"PIP_CERT": TRUSTED, **pip}.items()]
        changes = [word for setting in settings for word in ("--change", setting)]
        archive = self.home / "base.tar"
        ran("tar", "--directory", rootfs(SUITES[name]), "--create", "--file", archive, ".")
        self("import", *changes, archive, name)
        archive.unlink()
        self.based.add(name)

    def build(self, dockerfile: Path | str, tag: str, context: Path | None = None, **arguments: str) -> str:
        """Run a Dockerfile's steps, from the checkout's root without another context; the image's name."""
        context = context or self.context
        for name in SUITES:
            if name in (context / dockerfile).read_text() or name in arguments.values():
                self.base(name)
        given = [word for pair in arguments.items() for word in ("--build-arg", "=".join(pair))]
        # The host's network, for the package registries.
        self("build", "--network", "host", "-f", dockerfile, "-t", tag, *given, ".", cwd=context)
        return tag

    def run(self, image: str, *argv: object, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
        """Run a program in a container of its own, to its end, without a network."""
        words = ["docker", "run", "--rm", "--pull", "never", "--network", "none", *options, image, *argv]
        return subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=300, check=False)

    def container(self, image: str, *options: str) -> Container:
        """Start a container as the image says."""
        number = self("run", "--detach", "--pull", "never", *options, image).strip()
        return Container(self, number)

    def compose(self, project: str, *files: Path | str, **env: str) -> Compose:
        """Services of compose files, over one another."""
        return Compose(self, project, files, env)

    def close(self) -> None:
        """End what runs, and remove all."""
        running = self("ps", "--all", "--quiet").split()
        if running:
            self("rm", "--force", "--volumes", *running)
        self._end()

    def _end(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        # The one file that the daemon leaves mounted.
        subprocess.run(["umount", self.home / "exec/netns/default"], capture_output=True, check=False)
        shutil.rmtree(self.home)


class Container:
    """One that runs."""

    def __init__(self, docker: Docker, number: str):
        self.docker = docker
        self.number = number

    def log(self) -> str:
        """What it has written."""
        argv = ["docker", "logs", self.number]
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run(argv, env=self.docker.env, text=True, check=True, **both).stdout

    def wait_for(self, words: str) -> str:
        """Wait until its log has these; the log."""

        def has() -> str:
            log = self.log()
            assert self.state()["Running"], log[-3000:]
            return log if words in log else ""

        return wait_until(f"{words!r} is in the container's log", has, START_LIMIT)

    def state(self) -> dict[str, Any]:
        """What Docker knows of it."""
        return json.loads(self.docker("inspect", "--format", "{{json .State}}", self.number))

    def run(self, *argv: object, **more: Any) -> str:
        """What a program in it writes; it must do well."""
        return self.docker("exec", self.number, *argv, **more)

    def processes(self) -> list[tuple[int, str]]:
        """The user and the command of each that runs in it."""
        lines = self.docker("top", self.number, "-eo", "pid,uid,args").splitlines()[1:]
        return [(int(uid), command) for _, uid, command in (line.split(None, 2) for line in lines)]

    def stop(self) -> int:
        """End it as an engine does, by SIGTERM; with what status it ended."""
        self.docker("stop", "--time", "60", self.number)
        return self.state()["ExitCode"]

    def remove(self) -> None:
        """End whatever is left of it."""
        self.docker("rm", "--force", "--volumes", self.number)


class Compose:
    """A project of docker-compose's."""

    def __init__(self, docker: Docker, project: str, files: tuple[Path | str, ...], env: dict[str, str]):
        self.docker = docker
        self.env = {**docker.env, **env}
        limits = docker.home / f"{project}.yaml"
        # A host may allow fewer open files than the file asks for.
        most = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        limits.write_text(f"services:\n  server:\n    ulimits:\n      nofile: {most}\n")
        named = [word for file in (*files, limits) for word in ("-f", file)]
        self.argv = ["docker-compose", "-p", project, *named]

    def __call__(self, *argv: object) -> str:
        """What a command of docker-compose's writes."""
        return ran(*self.argv, *argv, cwd=self.docker.context, env=self.env)

    def service(self, name: str) -> Container:
        """The container of a service."""
        return Container(self.docker, self("ps", "--quiet", name).strip())
