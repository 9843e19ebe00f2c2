"""Livy's Python client as its wire has it: what it sends, what it relies on as it polls, its time limit."""

from __future__ import annotations

import base64
import pickle
import time
from typing import Any, Callable

import cloudpickle

from harness.api import Api

TIMEOUT = 10.0
"""Seconds for each of its requests."""
POLLED = ("STARTED", "QUEUED", "CANCELLED")
"""The states that it knows beside the two ends; any other ends its polling with an error."""
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class Failed(Exception):
    """A job failed; the text is the server's `error`."""


class Cancelled(Exception):
    """A job was cancelled. The real client waits for ever; the tests need not."""


class LivyClient:
    """A session of its own, or an existing one by its id."""

    def __init__(self, api: Api, session: int | None = None, conf: dict[str, str] | None = None):
        self.api = api
        if session is None:
            body = {"kind": "pyspark", "conf": conf or {}}
            answer = api.post("/sessions/", body, headers=HEADERS, timeout=TIMEOUT)
            assert answer.status_code == 201, answer.text
            session = answer.json()["id"]
        else:
            answer = api.post(f"/sessions/{session}/connect", headers=HEADERS, timeout=TIMEOUT)
            assert answer.status_code == 200, answer.text
        self.path = f"/sessions/{session}"

    def submit(self, job: Callable[[Any], Any]) -> Handle:
        """Run a function of the job context in its turn."""
        return self.send("submit-job", job)

    def run(self, job: Callable[[Any], Any]) -> Handle:
        """Run a function at once, as far as the server goes along with it."""
        return self.send("run-job", job)

    def send(self, command: str, job: Callable[[Any], Any]) -> Handle:
        """One of the two."""
        body = {"job": base64.b64encode(cloudpickle.dumps(job)).decode(), "jobType": "pyspark"}
        answer = self.api.post(f"{self.path}/{command}", body, headers=HEADERS, timeout=TIMEOUT)
        assert answer.status_code == 201, answer.text
        assert list(answer.json()) == ["id", "state", "result", "error"]
        return Handle(self, answer.json()["id"])

    def stop(self) -> None:
        """End the session."""
        headers = {"X-Requested-By": "livy"}
        self.api.delete(self.path, headers=headers, timeout=TIMEOUT).raise_for_status()


class Handle:
    """A job that was submitted."""

    def __init__(self, client: LivyClient, job: int):
        self.client = client
        self.id = job
        self.path = f"{client.path}/jobs/{job}"

    def status(self) -> dict[str, Any]:
        """The job as it is now."""
        answer = self.client.api.get(self.path, headers=HEADERS, timeout=TIMEOUT)
        assert answer.status_code == 200, answer.text
        status = answer.json()
        assert list(status) == ["id", "state", "result", "error"]
        assert status["id"] == self.id
        # What Livy's Java client demands of it, too.
        assert status["result"] is None or status["state"] == "SUCCEEDED", status
        assert (status["error"] is not None) == (status["state"] == "FAILED"), status
        return status

    def ended(self, limit: float = 120.0) -> dict[str, Any]:
        """The job once it has ended, polled as the client does."""
        deadline = time.monotonic() + limit
        while (status := self.status())["state"] in POLLED[:2]:
            assert time.monotonic() < deadline, f"job {self.id} is {status['state']} after {limit:.0f} s"
            time.sleep(0.1)
        assert status["state"] in (*POLLED, "SUCCEEDED", "FAILED"), status
        return status

    def result(self) -> Any:
        """What the function returned. Raises `Failed` and `Cancelled`."""
        status = self.ended()
        if status["state"] == "FAILED":
            raise Failed(status["error"])
        if status["state"] == "CANCELLED":
            raise Cancelled
        return pickle.loads(base64.b64decode(base64.b64decode(status["result"])))

    def cancel(self) -> None:
        """Cancel it: as Livy's Java client does, since the Python one calls what does not exist."""
        answer = self.client.api.post(f"{self.path}/cancel", headers=HEADERS, timeout=TIMEOUT)
        assert (answer.status_code, answer.content) == (200, b""), answer.text
