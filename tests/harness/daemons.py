"""Other people's servers that tests ask: found where Debian puts them, run without root, ended for sure."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from harness.processes import wait_until


def program(name: str) -> str:
    """A program of a Debian package that `make deps` installs."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    assert path, f"{name} is missing: run 'make deps' first"
    return path


class Daemon:
    """A process in the foreground, with its output in a file."""

    def __init__(
        self,
        argv: list[str],
        output: Path,
        ports: list[int],
        env: dict[str, str] | None = None,
        limit: float = 20,
    ):
        self.argv, self.output, self.ports, self.env, self.limit = argv, output, ports, env, limit
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it and wait until each of its ports takes connections."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.env
            )
        try:
            for port in self.ports:
                wait_until(f"port {port} answers", lambda port=port: self._answers(port), self.limit)
        except BaseException:
            self.stop()
            raise

    def _answers(self, port: int) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.argv[0]} ended: {self.said()[-2000:]}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def said(self) -> str:
        """What it has written so far."""
        return self.output.read_text(errors="replace")

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
