"""Make the Python environments .venv/NAME from pinned requirements; a stamp in each makes the second time
quick."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = {
    "spark-4.1": ROOT / "scripts/requirements/spark-4.1.txt",
    "spark-3.5": ROOT / "scripts/requirements/spark-3.5.txt",
    "test": ROOT / "tests/requirements.txt",
    "driver": ROOT / "scripts/requirements/driver.txt",
    "arrow": ROOT / "scripts/requirements/arrow.txt",
    "airflow": ROOT / "scripts/requirements/airflow.txt",
    "fuzz": ROOT / "scripts/requirements/fuzz.txt",
    "notebook": ROOT / "scripts/requirements/notebook.txt",
}
# sparkmagic's Kerberos dependency is compiled, against Kerberos' headers and Python's.
NEEDS_KERBEROS = {"test", "notebook"}


def stamp_of(requirements: Path) -> str:
    """What an environment depends on: the pinned packages and the Python that runs them."""
    text = requirements.read_bytes() + sys.version.encode() + sys.executable.encode()
    return hashlib.sha256(text).hexdigest()


def make(name: str) -> None:
    """Make one environment, unless its stamp says that it is there."""
    requirements = REQUIREMENTS[name]
    home = ROOT / ".venv" / name
    stamp = home / "stamp"
    wanted = stamp_of(requirements)
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    if name in NEEDS_KERBEROS and not (shutil.which("krb5-config") and shutil.which("cc")):
        sys.exit("The Kerberos headers (libkrb5-dev) are missing: run 'make deps' first.")
    if name in NEEDS_KERBEROS and not Path(sysconfig.get_config_var("INCLUDEPY"), "Python.h").is_file():
        sys.exit("Python's headers are missing: install them (Debian: apt-get install python3-dev).")
    print(f"setting up .venv/{name} from {requirements.relative_to(ROOT)}", flush=True)
    venv.create(home, with_pip=True, clear=True)
    pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--requirement", str(requirements)], check=False).returncode != 0:
        sys.exit(f"Setting up .venv/{name} failed: what pip said is above.")
    stamp.write_text(wanted)


def main() -> None:
    """Make the environments named on the command line, one process at a time."""
    unknown = sorted(set(sys.argv[1:]) - set(REQUIREMENTS))
    if unknown:
        sys.exit(f"unknown environment {', '.join(unknown)}: there are {', '.join(REQUIREMENTS)}")
    (ROOT / ".venv").mkdir(exist_ok=True)
    with (ROOT / ".venv/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.environ.pop("PIP_USER", None)
        for name in sys.argv[1:]:
            make(name)


if __name__ == "__main__":
    main()
