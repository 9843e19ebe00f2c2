"""A small ResourceManager: it answers as YARN's REST API does for applications that a test gives it, counts
what it is asked, and may be on standby or silent. It runs nothing."""

from __future__ import annotations

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

CLUSTER = "/ws/v1/cluster/"
LIVE = ("NEW", "NEW_SAVING", "SUBMITTED", "ACCEPTED", "RUNNING")
TAGS = re.compile(r"^spark\.yarn\.tags=(.*)$", re.MULTILINE)


class Asked(NamedTuple):
    """A request."""

    at: float
    method: str
    path: str
    query: dict[str, str]
    body: bytes


def tags_in(properties: str) -> str:
    """The tags in what spark-submit was given."""
    found = TAGS.search(properties)
    assert found, properties
    return found.group(1)


class ResourceManager:
    """On loopback, on a free port."""

    def __init__(self, standby_of: str = ""):
        self.apps: dict[str, dict[str, Any]] = {}
        self.asked: list[Asked] = []
        self.silent = False
        self.lock = threading.Lock()
        manager = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                manager._serve(self, b"")

            def do_PUT(self) -> None:
                manager._serve(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.standby_of = standby_of
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def _serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        url = urlsplit(handler.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        with self.lock:
            self.asked.append(Asked(time.monotonic(), handler.command, url.path, query, body))
        if self.silent:
            handler.close_connection = True
            return
        status, answer, headers = 200, b"", {}
        if self.standby_of:
            status, headers = 307, {"Location": self.standby_of + handler.path, "Content-Type": "text/plain"}
            answer = b"This is standby RM."
        elif handler.command == "PUT":
            status, answer = self._put(url.path.removeprefix(CLUSTER), body)
        else:
            answer = self._list(query)
        handler.send_response(status)
        for name, value in ({"Content-Type": "application/json;charset=utf-8"} | headers).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    def _put(self, path: str, body: bytes) -> tuple[int, bytes]:
        _, app_id, what = path.split("/")
        assert what == "state" and json.loads(body) == {"state": "KILLED"}, (path, body)
        with self.lock:
            for app in self.apps.values():
                if app["id"] == app_id:
                    app.update(
                        state="KILLED", finalStatus="KILLED", diagnostics="Application killed by user."
                    )
                    return 202, b'{"state":"RUNNING"}'
        return 404, b"{}"

    def _list(self, query: dict[str, str]) -> bytes:
        wanted, states = set(query["applicationTags"].split(",")), query.get("states", "").split(",")
        with self.lock:
            found = [
                app
                for app in self.apps.values()
                if wanted & set(app["applicationTags"].split(","))
                and (states == [""] or app["state"] in states)
            ]
            return json.dumps({"apps": {"app": found} if found else None}).encode()

    def add(self, tags: str, state: str = "RUNNING", final: str = "UNDEFINED", diagnostics: str = "") -> dict:
        """An application, with all that a real one's entry has."""
        with self.lock:
            number = len(self.apps) + 1
            app_id = f"application_1700000000000_{number:04d}"
            container = f"container_1700000000000_{number:04d}_01_000001"
            app = {
                "id": app_id,
                "user": "root",
                "name": "report",
                "queue": "default",
                "state": state,
                "finalStatus": final,
                "progress": 10.0,
                "trackingUI": "ApplicationMaster",
                "trackingUrl": f"{self.url}/proxy/{app_id}/",
                "diagnostics": diagnostics,
                "clusterId": 1700000000000,
                "applicationType": "SPARK",
                "applicationTags": tags,
                "priority": 0,
                "startedTime": 1700000000000,
                "launchTime": 1700000001000,
                "finishedTime": 0,
                "elapsedTime": 1000,
                "amContainerLogs": f"http://127.0.0.1:9/node/containerlogs/{container}/root",
                "amHostHttpAddress": "127.0.0.1:9",
                "amRPCAddress": "127.0.0.1:9",
                "masterNodeId": "127.0.0.1:9",
                "allocatedMB": 2048,
                "allocatedVCores": 2,
                "reservedMB": 0,
                "reservedVCores": 0,
                "runningContainers": 2,
                "memorySeconds": 100,
                "vcoreSeconds": 100,
                "queueUsagePercentage": 1.0,
                "clusterUsagePercentage": 1.0,
                "resourceSecondsMap": {"entry": {"key": "memory-mb", "value": "100"}},
                "preemptedResourceMB": 0,
                "preemptedResourceVCores": 0,
                "numNonAMContainerPreempted": 0,
                "numAMContainerPreempted": 0,
                "preemptedMemorySeconds": 0,
                "preemptedVcoreSeconds": 0,
                "preemptedResourceSecondsMap": {},
                "logAggregationStatus": "DISABLED",
                "unmanagedApplication": False,
                "amNodeLabelExpression": "",
                "timeouts": {"timeout": [{"type": "LIFETIME", "expiryTime": "UNLIMITED"}]},
            }
            self.apps[app_id] = app
            return app

    def change(self, app: dict, **fields: Any) -> None:
        """Make something else of it."""
        with self.lock:
            app.update(fields)

    def lists(self) -> list[Asked]:
        """The requests for lists so far."""
        with self.lock:
            return [asked for asked in self.asked if asked.method == "GET"]

    def stop(self) -> None:
        """End it."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)
