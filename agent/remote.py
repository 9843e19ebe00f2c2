"""What spark-submit starts where the driver runs in a cluster: `remote.py DIRECTORY`.

The directory is the agent's archive, which the cluster manager has unpacked (docs/link.md): the agent itself,
`agent.json` and `secret`. It can't be written, so the driver has a directory of its own beside it. Calls the
supervisor.
"""

import shutil
import sys
from pathlib import Path


def main(unpacked: str) -> int:
    """Make the driver's directory and run the agent there; the exit code."""
    package, run_dir = Path(unpacked).absolute(), Path("__firesteel_driver__").absolute()
    run_dir.mkdir(0o700)
    for name in ("agent.json", "secret"):
        shutil.copyfile(package / name, run_dir / name)
        (run_dir / name).chmod(0o600)
    sys.path.insert(0, str(package))
    from firesteel_agent.supervisor import main as run

    return run([str(run_dir)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
