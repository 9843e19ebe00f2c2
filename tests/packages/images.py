"""Images built for real, without a daemon and without a registry: buildah, as root, on roots that debootstrap
makes and that have the names of the base images."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.processes import Process, processes, wait_until
from harness.server import ROOT, binary, environment

SUITES = {"debian:bookworm-slim": "bookworm", "debian:trixie-slim": "trixie"}
"""The base images of the Dockerfiles, and the Debian that each is."""
BUILD_LIMIT = 1200.0
START_LIMIT = 120.0
STOP_LIMIT = 60.0
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
REGISTRIES = ("PIP_INDEX_URL", "PIP_PROXY", "http_proxy", "https_proxy", "no_proxy")
"""How this host reaches the package registries: the builds get it, and no file of the repository has it."""


def rootfs(suite: str) -> Path:
    """A Debian, made once for this checkout."""
    made = ROOT / "target/debootstrap" / suite
    if not made.is_dir():
        made.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=made.parent))
        ran("debootstrap", "--variant=minbase", suite, scratch)
        scratch.chmod(0o755)
        scratch.rename(made)
    return made


def ran(*argv: object, limit: float = BUILD_LIMIT, **more) -> str:
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


class Images:
    """A store of images of its own, with the base images in it."""

    def __init__(self) -> None:
        assert os.geteuid() == 0, "images are built as root"
        self.home = Path(tempfile.mkdtemp(prefix="firesteel-images-"))
        self.buildah = ["buildah", "--storage-driver", "vfs"]
        self.buildah += ["--root", str(self.home / "store"), "--runroot", str(self.home / "run")]
        self.containers: list[Container] = []
        self.context = self._context()
        self.based: set[str] = set()

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

    def base(self, name: str) -> None:
        """A base image, with this host's authorities for pip, which may be more than Debian's."""
        if name in self.based:
            return
        made = ran(*self.buildah, "from", "scratch").strip()
        ran(*self.buildah, "add", "--quiet", made, rootfs(SUITES[name]), "/")
        ran(*self.buildah, "copy", "--quiet", made, AUTHORITIES, "/etc/host-authorities.crt")
        pip = {key: value for key, value in os.environ.items() if key in REGISTRIES}
        for key, value in {"PIP_CERT": "/etc/host-authorities.crt", **pip}.items():
            ran(*self.buildah, "config", "--env", f"{key}={value}", made)
        ran(*self.buildah, "commit", "--quiet", made, name)
        ran(*self.buildah, "rm", made)
        self.based.add(name)

    def build(self, dockerfile: str, tag: str, **arguments: str) -> str:
        """Run a Dockerfile's steps; the image's name."""
        for name in SUITES:
            if f"={name}" in (ROOT / dockerfile).read_text() or name in arguments.values():
                self.base(name)
        argv = [*self.buildah, "bud", "--isolation", "chroot", "--network", "host", "--pull-never"]
        argv += ["-f", dockerfile, "-t", f"localhost/{tag}"]
        for key, value in arguments.items():
            argv += ["--build-arg", f"{key}={value}"]
        ran(*argv, ".", cwd=self.context)
        return f"localhost/{tag}"

    def container(self, image: str) -> Container:
        """A container of an image; it runs what `start` and `run` say."""
        self.containers.append(Container(self, image))
        return self.containers[-1]

    def close(self) -> None:
        """End what runs, and remove all."""
        for container in self.containers:
            container.kill()
        ran(*self.buildah, "rm", "--all")
        shutil.rmtree(self.home)


class Container:
    """A root directory in which programs run as the image's user, in this host's network."""

    def __init__(self, images: Images, image: str):
        self.images = images
        self.name = ran(*images.buildah, "from", "--pull-never", image).strip()
        self.mount = Path(ran(*images.buildah, "mount", self.name).strip())
        self.log_path = images.home / f"{self.name}.log"
        self.process: subprocess.Popen | None = None

    def _argv(self, env: dict[str, str]) -> list[str]:
        argv = [*self.images.buildah, "run", "--isolation", "chroot", "--network", "host"]
        for key, value in env.items():
            argv += ["--env", f"{key}={value}"]
        return [*argv, self.name, "--"]

    def run(self, *argv: str, **env: str) -> subprocess.CompletedProcess:
        """Run a program to its end."""
        return subprocess.run(
            [*self._argv(env), *argv], capture_output=True, text=True, timeout=300, check=False
        )

    def start(self, *argv: str, **env: str) -> None:
        """Start what the container is for."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._argv(env), *argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
            )

    def log(self) -> str:
        """What it has written."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_for(self, words: str) -> None:
        """Wait until its log has these."""

        def has() -> bool:
            assert self.process and self.process.poll() is None, self.log()[-3000:]
            return words in self.log()

        wait_until(f"{words!r} is in the log of {self.name}", has, START_LIMIT)

    def processes(self) -> list[Process]:
        """Everything that runs in it: by its root directory."""
        mine = self.mount.stat()
        found = []
        for process in processes():
            with contextlib.suppress(OSError):
                root = Path(f"/proc/{process.pid}/root").stat()
                if (root.st_dev, root.st_ino) == (mine.st_dev, mine.st_ino):
                    found.append(process)
        return found

    def stop(self) -> None:
        """As an engine ends a container: SIGTERM to its first process, which must end it in time."""
        # buildah's own process is in the same root directory.
        (first,) = [one for one in self.processes() if one.argv[0] == "/usr/bin/tini"]
        os.kill(first.pid, 15)
        assert self.process is not None
        self.process.wait(STOP_LIMIT)

    def kill(self) -> None:
        """End whatever is left of it."""
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, 9)
        if self.process:
            self.process.kill()
            self.process.wait()
