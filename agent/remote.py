"""What spark-submit starts where the driver runs in a cluster: `remote.py DIRECTORY`.

The directory has the agent's archive (docs/link.md): the agent itself, `agent.json` and `secret`. YARN has
unpacked it; in Kubernetes it is a Secret's mount, with the archive as it is. It can't be written, so the
driver has a directory of its own. Calls the supervisor.
"""

import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any, Dict

ARCHIVE = "agent.tar.gz"
"""The archive in a Secret's mount."""

OWN = "__firesteel_driver__"


def main(given: str) -> int:
    """Make the driver's directory and run the agent there; the exit code."""
    package = Path(given).absolute()
    if (package / ARCHIVE).exists():
        # A container's working directory may be closed; Spark has a volume of the pod's for its own files.
        run_dir = package = Path(os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0], OWN).absolute()
        run_dir.mkdir(0o700)
        # Python before 3.12 may have no filters.
        checked: Dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        with tarfile.open(Path(given, ARCHIVE)) as archive:
            archive.extractall(run_dir, **checked)
    else:
        run_dir = Path(OWN).absolute()
        run_dir.mkdir(0o700)
        for name in ("agent.json", "secret"):
            shutil.copyfile(package / name, run_dir / name)
            (run_dir / name).chmod(0o600)
    sys.path.insert(0, str(package))
    from firesteel_agent.supervisor import main as run

    return run([str(run_dir)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
