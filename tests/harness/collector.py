"""A collector of OpenTelemetry's: takes spans by OTLP over HTTP and tells what they are."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

from harness.server import ROOT

JUDGE = ROOT / "tests/harness/otlp_judge.py"
PYTHON = ROOT / ".venv/airflow/bin/python"
"""Airflow's has OpenTelemetry's own description of the protocol."""


class Collector:
    """Listens on loopback. `status` is what it answers; 200 unless a test says otherwise."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.refused = 0
        self._read: list[dict[str, Any]] = []
        self._seen = 0
        self._changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector._take(self.path, dict(self.headers), body)
                self.send_response(collector.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        with self._changed:
            if self.status == 200 and path == "/v1/traces":
                self.bodies.append(body)
                self.headers.append(headers)
            else:
                self.refused += 1
            self._changed.notify_all()

    def spans(self) -> list[dict[str, Any]]:
        """All that have come, each with its attributes as a dictionary."""
        with self._changed:
            bodies = self.bodies[self._seen :]
            self._seen += len(bodies)
        if bodies:
            self._read += judged(bodies)
        return self._read

    def wait(
        self, found: Callable[[list[dict[str, Any]]], Any], limit: float = 60.0, what: str = "spans"
    ) -> Any:
        """Wait until there is something in the spans that have come, and give that."""
        result = None

        def there() -> bool:
            nonlocal result
            result = found(self.spans())
            return bool(result)

        # Looking takes a process, so it is done once for each body that has come.
        done = there()
        while not done:
            with self._changed:
                count = len(self.bodies)
                assert count > self._seen or self._changed.wait(limit), (what, self._read)
            done = there()
        return result

    def wait_refused(self, count: int, limit: float = 60.0) -> None:
        """Wait until so many requests were refused."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.refused >= count, limit)

    def stop(self) -> None:
        """Close it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def judged(bodies: list[bytes]) -> list[dict[str, Any]]:
    """The spans of these requests, read by OpenTelemetry's own description of the protocol."""
    with tempfile.TemporaryDirectory() as directory:
        paths = []
        for index, body in enumerate(bodies):
            paths.append(Path(directory, str(index)))
            paths[-1].write_bytes(body)
        told = subprocess.run(
            [str(PYTHON), "-I", str(JUDGE), *map(str, paths)],
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
    return json.loads(told.stdout)
