"""A notebook over nbclient, cell by cell: the kernel is a process of its own, as in Jupyter."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Sequence

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from harness.server import ROOT, environment


def environment_for(home: Path, url: str, options: Sequence[str] = (), secret: str = "") -> dict[str, str]:
    """Kernels, example notebooks and configuration below `home`, installed as a user does."""
    script = ROOT / "sparkmagic_config/install.py"
    places = [
        "--kernels",
        str(home / "data"),
        "--config",
        str(home / "config"),
        "--notebooks",
        str(home / "work"),
    ]
    argv = [sys.executable, str(script), *places, "--url", url, *options]
    subprocess.run(argv, check=True, timeout=60, input=secret + "\n", text=True)
    python = home / "data/kernels/plain/kernel.json"
    python.parent.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    python.write_text(json.dumps({"argv": argv, "display_name": "Python", "language": "python"}))
    mine = {"SPARKMAGIC_CONF_DIR": str(home / "config"), "SPARKMAGIC_CONF_FILE": "config.json"}
    # HOME too: sparkmagic writes its log there.
    # What pandas warns of is no error of a cell.
    mine["PYTHONWARNINGS"] = "ignore"
    return environment(**mine, HOME=str(home), IPYTHONDIR=str(home / "ipython"), JUPYTER_PLATFORM_DIRS="1")


class Notebook:
    """One kernel, and the cells that it has run."""

    def __init__(
        self,
        kernel: str,
        home: Path,
        url: str,
        limit: int = 180,
        options: Sequence[str] = (),
        secret: str = "",
    ):
        """`options` and `secret` are install.py's."""
        env = environment_for(home, url, options, secret)
        specs = KernelSpecManager(kernel_dirs=[str(home / "data/kernels")], ensure_native_kernel=False)
        self.loop = asyncio.new_event_loop()
        self.book = nbformat.v4.new_notebook()
        manager = AsyncKernelManager(kernel_name=kernel, kernel_spec_manager=specs)
        self.client = NotebookClient(
            self.book, km=manager, timeout=limit, allow_errors=True, kernel_name=kernel
        )
        # nbclient would play the front end's part for output widgets, and wait for the kernel inside a cell.
        self.client.comm_open_handlers.clear()
        self.loop.run_until_complete(self._start(env, home / "work"))

    async def _start(self, env: dict[str, str], cwd: Path) -> None:
        await self.client.async_start_new_kernel(env=env, cwd=str(cwd))
        await self.client.async_start_new_kernel_client()

    def run(self, source: str) -> NotebookNode:
        """Run one cell and give it with its outputs."""
        cell = nbformat.v4.new_code_cell(source)
        self.book.cells.append(cell)
        self.loop.run_until_complete(self.client.async_execute_cell(cell, len(self.book.cells) - 1))
        return cell

    def interrupt(self) -> None:
        """What the stop button does; from another thread, while a cell runs."""
        os.kill(self.client.km.provisioner.pid, signal.SIGINT)

    def close(self) -> None:
        """End the kernel as Jupyter does, which gives it time to end its session."""
        try:
            self.loop.run_until_complete(self.client._async_cleanup_kernel())
        finally:
            self.loop.close()

    def __enter__(self) -> Notebook:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def texts(cell: NotebookNode) -> str:
    """Everything that a cell shows, as text."""
    found = []
    for output in cell.outputs:
        if output.output_type == "stream":
            found.append(output.text)
        elif output.output_type == "error":
            found.append(f"{output.ename}: {output.evalue}")
        else:
            found += [str(value) for value in output.get("data", {}).values()]
    return "\n".join(found)


def errors(cell: NotebookNode) -> str:
    """What a cell shows as wrong: the kernel writes its errors to stderr."""
    streams = [output.text for output in cell.outputs if output.get("name") == "stderr"]
    raised = [f"{output.ename}: {output.evalue}" for output in cell.outputs if output.output_type == "error"]
    return "\n".join(streams + raised)
