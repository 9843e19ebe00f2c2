"""Look at processes through /proc: whose they are, what they hold, and that none is left."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Callable, Iterable, NamedTuple

PROC = Path("/proc")


class Process(NamedTuple):
    """One process as it was when looked at."""

    pid: int
    argv: list[str]
    environ: dict[str, str]

    def __str__(self) -> str:
        return f"{self.pid}: {' '.join(self.argv)[:300]}"


def pids() -> list[int]:
    """Every process there is."""
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def look(pid: int) -> Process | None:
    """One process, or None when it has ended (a zombie has)."""
    try:
        argv = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        pairs = (PROC / str(pid) / "environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    if not argv:
        return None
    return Process(pid, argv, dict(pair.split("=", 1) for pair in pairs if "=" in pair))


def processes() -> list[Process]:
    """Every process that can be looked at, this one aside."""
    found = (look(pid) for pid in pids() if pid != os.getpid())
    return [process for process in found if process is not None]


def start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot: with the pid it is a name. None when it has ended."""
    try:
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def children(pid: int) -> list[int]:
    """The direct children of a process, those of all of its threads."""
    found = []
    for task in (PROC / str(pid) / "task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def rss_mib(pid: int, peak: bool = False) -> float:
    """Resident memory in MiB, now or at its highest since `forget_peak`."""
    name = "VmHWM:" if peak else "VmRSS:"
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no {name} of process {pid}")


def forget_peak(pid: int) -> None:
    """Let the highest resident memory count from now on."""
    (PROC / str(pid) / "clear_refs").write_text("5")


def open_files(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(list((PROC / str(pid) / "fd").iterdir()))


def wait_until(what: str, check: Callable[[], object], limit: float = 60.0, pause: float = 0.05):
    """Look again and again until `check` gives something true, and give that; `what` names it when it never
    does."""
    deadline = time.monotonic() + limit
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit:.0f} s: {what}")
        time.sleep(pause)


def kill(left: Iterable[Process]) -> None:
    """End what should have ended by itself, so that one failure does not become many."""
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
