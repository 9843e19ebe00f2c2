"""The agent's own lines in the driver's log. Calls nobody.

They must never fail: the log's reader is the keeper, and that it is gone is one of the things to be said.
"""

import contextlib
import os


def say(text: str) -> None:
    """Write to stderr what it can take."""
    with contextlib.suppress(OSError):
        os.write(2, f"firesteel: {text}\n".encode("utf-8", "backslashreplace"))
