"""Install sparkmagic's PySpark, Spark and SparkR kernels for the Python that runs this, and its settings.

The settings are `sparkmagic_config/config.json` with the endpoint, user and password that are given.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

KERNELS = ("pysparkkernel", "sparkkernel", "sparkrkernel")
CONFIG = Path(__file__).resolve().parent.parent / "sparkmagic_config/config.json"


def install(kernels: Path, config: Path, url: str, user: str = "", password: str = "") -> None:
    """Write the kernels below `kernels` (a Jupyter data directory) and config.json into `config`."""
    spec = find_spec("sparkmagic")
    if spec is None or spec.origin is None:
        sys.exit("sparkmagic is not installed for this Python: pip install sparkmagic==0.23.0")
    for name in KERNELS:
        target = kernels / "kernels" / name
        source = Path(spec.origin).parent / "kernels" / name
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        kernel = json.loads((target / "kernel.json").read_text())
        # The package's own kernel names `python`, which may be any.
        kernel["argv"][0] = sys.executable
        (target / "kernel.json").write_text(json.dumps(kernel, indent=2) + "\n")
    settings = json.loads(CONFIG.read_text())
    for name in ("kernel_python_credentials", "kernel_scala_credentials", "kernel_r_credentials"):
        settings[name]["url"] = url
        if user:
            settings[name]["auth"] = "Basic_Access"
            settings[name]["username"] = user
            settings[name]["base64_password"] = base64.b64encode(password.encode()).decode()
    config.mkdir(parents=True, exist_ok=True)
    written = config / "config.json"
    written.touch(mode=0o600)
    written.chmod(0o600)
    written.write_text(json.dumps(settings, indent=2) + "\n")


def main() -> None:
    """The command line; a password is read from standard input, never from the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", type=Path, required=True, help="a Jupyter data directory")
    parser.add_argument(
        "--config", type=Path, required=True, help="the directory that SPARKMAGIC_CONF_DIR names"
    )
    parser.add_argument("--url", required=True, help="the server, such as http://127.0.0.1:8998")
    parser.add_argument("--user", default="", help="with a password on standard input: Basic authentication")
    given = parser.parse_args()
    password = sys.stdin.readline().rstrip("\n") if given.user else ""
    install(given.kernels, given.config, given.url, given.user, password)


if __name__ == "__main__":
    main()
