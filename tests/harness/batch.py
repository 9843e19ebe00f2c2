"""A batch that was asked for, whatever its cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from harness.processes import wait_until
from harness.server import Server

LIMIT = 240.0


class ClusterBatch:
    """A batch whose driver may take minutes to start."""

    def __init__(self, server: Server | SimpleNamespace, file: str, *args: str, **body: Any):
        self.server = server
        answer = server.api.post("/batches", {"file": file, "args": list(args), **body})
        assert answer.status_code == 201, answer.text
        self.path = f"/batches/{answer.json()['id']}"

    def get(self) -> dict:
        """The batch."""
        return self.server.api.get(self.path).json()

    def log(self) -> list[str]:
        """Its whole log."""
        return self.server.api.get(f"{self.path}/log", params={"from": 0, "size": -1}).json()["log"]

    def wait(self, *states: str) -> dict:
        """Wait for one of these states; another end fails at once."""

        def there() -> dict | None:
            found = self.get()
            assert found["state"] in (*states, "starting", "running"), "\n".join(self.log())
            return found if found["state"] in states else None

        return wait_until(f"{self.path} is {states}", there, LIMIT, 0.2)
