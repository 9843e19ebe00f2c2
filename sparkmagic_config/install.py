"""Install sparkmagic's kernels (PySpark, Spark, SparkR), this folder's SQL kernel and sparkmagic's settings,
for the Python that runs this.

The settings are `config.AUTH.json` of this folder with the endpoint, and what proves the user, filled in.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
KERNELS = ("pysparkkernel", "sparkkernel", "sparkrkernel")
AUTHENTICATIONS = ("none", "basic", "kerberos", "token")
CREDENTIALS = ("kernel_python_credentials", "kernel_scala_credentials", "kernel_r_credentials")
DEFAULT_URL = "http://127.0.0.1:8998"


def install_kernels(data: Path) -> None:
    """Write the kernels below `data`, a Jupyter data directory."""
    spec = find_spec("sparkmagic")
    if spec is None or spec.origin is None:
        sys.exit("sparkmagic is not installed for this Python: pip install sparkmagic==0.23.0")
    for name in KERNELS:
        target = data / "kernels" / name
        source = Path(spec.origin).parent / "kernels" / name
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        kernel = json.loads((target / "kernel.json").read_text())
        # The package's own kernel names `python`, which may be any.
        kernel["argv"][0] = sys.executable
        (target / "kernel.json").write_text(json.dumps(kernel, indent=2) + "\n")
    target = data / "kernels/sqlkernel"
    target.mkdir(parents=True, exist_ok=True)
    program = target / "firesteel_sql_kernel.py"
    shutil.copyfile(HERE / program.name, program)
    argv = [sys.executable, str(program.resolve()), "-f", "{connection_file}"]
    kernel = {"argv": argv, "display_name": "Spark SQL", "language": "sql"}
    (target / "kernel.json").write_text(json.dumps(kernel, indent=2) + "\n")


def settings(auth: str, url: str, user: str = "", secret: str = "") -> dict[str, Any]:
    """What config.json has to hold; `secret` is Basic's password, or the API token."""
    made: dict[str, Any] = json.loads((HERE / f"config.{auth}.json").read_text())
    for name in CREDENTIALS:
        made[name]["url"] = url
        if auth == "basic":
            made[name]["username"] = user
            made[name]["base64_password"] = base64.b64encode(secret.encode()).decode()
    if auth == "token":
        made["custom_headers"]["Authorization"] = f"Bearer {secret}"
    return made


def same_endpoint(written: Path, made: dict[str, Any]) -> bool:
    """Whether a config.json is there for the same endpoint, authentication and user."""
    try:
        there = json.loads(written.read_text())
        return all(
            there[name].get(key) == made[name].get(key)
            for name in CREDENTIALS
            for key in ("url", "auth", "username")
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def write_settings(config: Path, made: dict[str, Any]) -> None:
    """Write config.json into the directory `config`, whole or not at all, for its user alone."""
    config.mkdir(parents=True, exist_ok=True)
    beside = config / f".config.json.{os.getpid()}"
    beside.touch(mode=0o600)
    beside.chmod(0o600)
    beside.write_text(json.dumps(made, indent=2) + "\n")
    beside.replace(config / "config.json")


def copy_notebooks(target: Path) -> None:
    """Put the examples and firesteel_frame.py there; what is there already is the user's, and stays."""
    target.mkdir(parents=True, exist_ok=True)
    for source in [*sorted((HERE / "notebooks").glob("*.ipynb")), HERE / "firesteel_frame.py"]:
        if not (target / source.name).exists():
            shutil.copyfile(source, target / source.name)


def main() -> None:
    """The command line; a password or a token is read from standard input, never from the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", type=Path, required=True, help="a Jupyter data directory")
    parser.add_argument(
        "--config", type=Path, required=True, help="the directory that SPARKMAGIC_CONF_DIR names"
    )
    parser.add_argument("--url", default=DEFAULT_URL, help=f"the server; without it {DEFAULT_URL}")
    parser.add_argument("--auth", choices=AUTHENTICATIONS, help="without it basic for a user, else none")
    parser.add_argument("--user", default="", help="Basic's name; the password comes on standard input")
    parser.add_argument("--notebooks", type=Path, help="a directory for the example notebooks")
    parser.add_argument(
        "--keep", action="store_true", help="leave a config.json for the same endpoint and user as it is"
    )
    given = parser.parse_args()
    auth = given.auth or ("basic" if given.user else "none")
    if (auth == "basic") != bool(given.user):
        parser.error("--user goes with --auth basic, and --auth basic needs it")
    if not given.url.startswith(("http://", "https://")):
        parser.error(f"--url {given.url!r} must begin with http:// or https://")
    install_kernels(given.kernels)
    if given.notebooks is not None:
        copy_notebooks(given.notebooks)
    if given.keep and same_endpoint(given.config / "config.json", settings(auth, given.url, given.user)):
        return
    secret = ""
    if auth in ("basic", "token"):
        secret = sys.stdin.readline().rstrip("\r\n")
        if not secret:
            sys.exit(
                f"--auth {auth} reads the {'password' if auth == 'basic' else 'token'} from standard input"
            )
    write_settings(given.config, settings(auth, given.url, given.user, secret))


if __name__ == "__main__":
    main()
