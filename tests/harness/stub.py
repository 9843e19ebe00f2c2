"""Homes of Spark whose `spark-submit` is a script of ours: no Spark starts, and what it was given is on
record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# Sleeps until it is ended, as a driver does that never gets ready.
SLEEPS = "exec sleep 1000000\n"
# What every script does first; the arguments come last, so that they tell that all is there.
RECORD = r"""#!/bin/bash
cp /proc/$$/environ CALLS/environ.$$
printf '%s\0' "$@" > CALLS/argv.$$.tmp
for word; do
    [ "$previous" = --properties-file ] && cp "$word" CALLS/properties.$$
    previous=$word
done
mv CALLS/argv.$$.tmp CALLS/argv.$$
"""


class Stub:
    """A directory that `spark.home` can name."""

    def __init__(self, home: Path, body: str | None = SLEEPS, mode: int = 0o755):
        self.home = home
        self.calls = home / "calls"
        self.calls.mkdir(parents=True)
        (home / "bin").mkdir()
        if body is not None:
            script = home / "bin/spark-submit"
            record = RECORD.replace("CALLS", str(self.calls))
            script.write_text(record + body)
            script.chmod(mode)

    @property
    def settings(self) -> dict[str, Any]:
        """What a server needs to use it."""
        # A script does not listen to the link: it is ended by SIGTERM, soon. None waits for another, which is
        # never ready.
        waits = {"driver.stop_grace": "100ms", "driver.kill_grace": "500ms", "limits.starting": 1000}
        return {"spark.home": str(self.home), **waits}

    def argvs(self) -> list[list[str]]:
        """The arguments of every call so far, oldest first."""
        paths = sorted(self.calls.glob("argv.*[0-9]"), key=lambda path: path.stat().st_mtime_ns)
        return [path.read_bytes().decode().split("\0")[:-1] for path in paths]

    def environs(self) -> list[dict[str, str]]:
        """The environment of every call so far."""
        texts = [path.read_bytes().decode() for path in self.calls.glob("environ.*")]
        return [dict(pair.split("=", 1) for pair in text.split("\0") if "=" in pair) for text in texts]

    def properties(self) -> list[str]:
        """The properties file of every call so far, as text."""
        return [path.read_text() for path in self.calls.glob("properties.*")]

    def __repr__(self) -> str:
        return json.dumps(str(self.home))
