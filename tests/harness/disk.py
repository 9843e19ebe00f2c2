"""A disk that is full, broken or slow, for chosen files of one server: a shim between it and the C library
fails the very system calls. It needs no rights and no mounts, so it works wherever the suite is built."""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

from harness.server import ROOT

FIELDS = ("error", "syncs", "well", "fails", "pause", "calls", "failed")


class Disk:
    """The files whose path begins with `prefix`; `env` goes to the server."""

    def __init__(self, home: Path, prefix: Path):
        library = home / "disk_shim.so"
        source = ROOT / "tests/harness/disk_shim.c"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True, timeout=60
        )
        control = home / "disk_control"
        control.write_bytes(bytes(8 * len(FIELDS)))
        with control.open("r+b") as file:
            self.control = mmap.mmap(file.fileno(), 8 * len(FIELDS))
        self.env = {
            "LD_PRELOAD": str(library),
            "DISK_CONTROL": str(control),
            "DISK_PREFIX": str(prefix),
        }

    def _set(self, **values: int) -> None:
        for name, value in values.items():
            struct.pack_into("<q", self.control, 8 * FIELDS.index(name), value)

    def _get(self, name: str) -> int:
        return struct.unpack_from("<q", self.control, 8 * FIELDS.index(name))[0]

    def fail(self, error: int, *, well: int = 0, times: int = -1, syncs: bool = False) -> None:
        """After `well` more calls that write (or sync, with `syncs`), fail `times` of them; -1: all."""
        self._set(error=0, failed=0)
        self._set(well=well, fails=times, syncs=int(syncs))
        self._set(error=error)

    def heal(self) -> None:
        """As it was."""
        self._set(error=0, pause=0)

    def slow(self, seconds: float) -> None:
        """Each sync takes so much longer."""
        self._set(pause=int(seconds * 1e6))

    @property
    def calls(self) -> int:
        """Calls seen so far."""
        return self._get("calls")

    @property
    def failed(self) -> int:
        """Calls failed since the last `fail`."""
        return self._get("failed")
