"""Which Python runs the interpreter, and which the executors. Calls nobody.

Starts the executors' Python once, to ask for its version.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Dict, Optional

ASK_SECONDS = 20.0
"""How long a Python may take to tell its version."""


class PythonProgram:
    """The interpreter's Python: a command, a path, or one in an archive (`./NAME/bin/python`)."""

    def __init__(self, python: str):
        self._python = python
        self._executors = os.environ.get("PYSPARK_PYTHON") or "python3"
        in_archive = "/" in python and not python.startswith("/")
        self.path = "" if in_archive else python
        """What to start; empty until the archive is unpacked."""

    def unpacked(self, root: str, local: bool) -> None:
        """Spark has unpacked its archives below `root`.

        With a local master the executors are in the driver's JVM, and their Python is the same one.
        """
        self.path = str(Path(root, self._python))
        if local and self._executors == self._python:
            self._executors = self.path

    def environment(self) -> Dict[str, str]:
        """The interpreter's environment. PySpark takes the executors' Python from it."""
        return {**os.environ, "PYSPARK_PYTHON": self._executors}

    def differs(self) -> bool:
        """Whether the executors' Python is named otherwise; one in an archive of a cluster's is not."""
        return self._executors not in (self.path, self._python)

    def mismatch(self, version: str) -> Optional[str]:
        """A sentence when the executors' Python is of another minor version, as far as this host can tell.

        Blocks.
        """
        found = shutil.which(self._executors)
        if found is None:
            return None
        ask = "import sys; print('%d.%d' % sys.version_info[:2])"
        asked = subprocess.run(
            [found, "-c", ask],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=ASK_SECONDS,
            check=True,
        )
        theirs, ours = asked.stdout.decode().strip(), ".".join(version.split(".")[:2])
        if theirs == ours:
            return None
        return (
            f"Python functions can't run on executors: their Python, {self._executors}, is {theirs}, and the"
            f" session's, {self.path}, is {ours}. Set spark.pyspark.python to one that is {ours} everywhere."
        )
