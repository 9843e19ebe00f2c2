"""A kubelet for tests: it runs the pods that are bound to its node as processes of this host, in mount and
process namespaces of their own, and tells the API server what becomes of them.

An image is an entry of a table: how its containers are started and with which variables. What is not in the
table can't be pulled. Each pod has an address of loopback of its own; the names of services are in its
/etc/hosts."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

import requests

from harness.processes import children

HERE = Path(__file__).resolve().parent
# How long it goes on trying to pull before it says that it backs off.
BACK_OFF = 0.5
LOG_BYTES = 10 << 20
# How often somebody who follows a log is told what is new.
FOLLOW_SECONDS = 0.1


def now() -> str:
    """The time as Kubernetes writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Image:
    """How containers of an image are started."""

    entrypoint: list[str]
    env: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """The API server's answer is an error."""

    def __init__(self, status: int, text: str):
        super().__init__(f"{status}: {text}")
        self.status = status


class Kubelet:
    """One node, whose pods run here."""

    def __init__(self, cluster: Any, name: str, images: dict[str, Image], cpus: int, memory: str):
        self.cluster, self.name, self.images = cluster, name, images
        self.home = cluster.home / f"pods-{name}"
        self.home.mkdir()
        self.pods: dict[str, _Pod] = {}
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.next_address = 1
        self.server = self._serve()
        capacity = {"cpu": str(cpus), "memory": memory, "pods": "200", "ephemeral-storage": "20Gi"}
        node = {
            "metadata": {
                "name": name,
                "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
            }
        }
        self.call("POST", "/api/v1/nodes", node)
        status = {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now()}
            ],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.server.server_port}},
        }
        self.call("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, "application/merge-patch+json")
        self.threads = [
            threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True),
            threading.Thread(target=self._watch, daemon=True),
        ]
        for thread in self.threads:
            thread.start()

    def call(self, *args: Any, **query: Any) -> Any:
        """Ask the API server, again and again while it does not answer."""
        while True:
            try:
                return self.cluster.call(*args, **query)
            except (requests.RequestException, Refused) as error:
                is_final = isinstance(error, Refused) and error.status < 500
                if is_final or self.stopping.wait(0.2):
                    raise

    def _serve(self) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Logs,), {"kubelet": self}))
        server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.cluster.authority.issue(self.name))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.cluster.authority.path)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        return server

    def _watch(self) -> None:
        """Follow the node's pods until it is stopped."""
        while not self.stopping.is_set():
            try:
                query = {"fieldSelector": f"spec.nodeName={self.name}"}
                found = self.call("GET", "/api/v1/pods", **query)
                known = {pod["metadata"]["uid"] for pod in found["items"]}
                for pod in found["items"]:
                    self._see(pod)
                for uid in [uid for uid in self.pods if uid not in known]:
                    self._gone(uid)
                version = found["metadata"]["resourceVersion"]
                for event in self.cluster.watch("/api/v1/pods", resourceVersion=version, **query):
                    if self.stopping.is_set():
                        return
                    if event["type"] == "ERROR":
                        break
                    if event["type"] == "DELETED":
                        self._gone(event["object"]["metadata"]["uid"])
                    elif event["type"] in ("ADDED", "MODIFIED"):
                        self._see(event["object"])
            except (OSError, Refused, ValueError):
                self.stopping.wait(0.2)

    def _see(self, pod: dict) -> None:
        uid = pod["metadata"]["uid"]
        with self.lock:
            if uid not in self.pods:
                if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
                    if pod["metadata"].get("deletionTimestamp"):
                        self._forget(pod)
                    return
                address = self.next_address
                self.next_address += 1
                ip = f"127.{20 + address // 62500}.{address // 250 % 250}.{1 + address % 250}"
                self.pods[uid] = _Pod(self, pod, ip)
                self.pods[uid].start()
            mine = self.pods[uid]
        if pod["metadata"].get("deletionTimestamp"):
            mine.delete(pod["metadata"].get("deletionGracePeriodSeconds", 30))

    def _forget(self, pod: dict) -> None:
        """Have the API server forget a pod that has nothing left to end."""
        meta = pod["metadata"]
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
        with contextlib.suppress(Refused):
            self.call("DELETE", f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}", body)

    def _gone(self, uid: str) -> None:
        with self.lock:
            pod = self.pods.pop(uid, None)
        if pod is not None:
            pod.delete(0)

    def named(self, name: str) -> _Pod:
        """The pod of this name that it runs, or ran."""
        with self.lock:
            return next(pod for pod in self.pods.values() if pod.name == name)

    def run_out_of_memory(self, name: str) -> None:
        """Do to a pod's container what the kernel does to one that takes more memory than it may."""
        self.named(name).end("OOMKilled")

    def evict(self, name: str, message: str) -> None:
        """End a pod as a node does that has too little of something."""
        self.named(name).end("Evicted", message)

    def stop(self) -> None:
        """End all pods."""
        self.stopping.set()
        with self.lock:
            pods = list(self.pods.values())
        for pod in pods:
            pod.delete(0)
        for pod in pods:
            pod.join(20)
        self.server.shutdown()
        self.server.server_close()


class _Pod(threading.Thread):
    """One pod from its first sight to its end."""

    def __init__(self, kubelet: Kubelet, pod: dict, ip: str):
        super().__init__(daemon=True)
        self.kubelet, self.pod, self.ip = kubelet, pod, ip
        meta = pod["metadata"]
        self.name, self.namespace, self.uid = meta["name"], meta["namespace"], meta["uid"]
        self.path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        self.container = pod["spec"]["containers"][0]
        self.home = kubelet.home / self.uid
        self.log = self.home / "log"
        self.process: subprocess.Popen | None = None
        self.deleted = threading.Event()
        self.grace = 30.0
        self.why: tuple[str, str] | None = None
        self.lock = threading.Lock()

    def run(self) -> None:
        """Live."""
        try:
            if self._pull() and self._start():
                self._finish(self._wait())
            self.deleted.wait()
            self.kubelet._forget(self.pod)
        except (OSError, Refused):
            if not self.kubelet.stopping.is_set():
                raise
        finally:
            self._kill(signal.SIGKILL)
            shutil.rmtree(self.home, ignore_errors=True)

    def delete(self, grace: float) -> None:
        """Have it end within `grace` seconds."""
        with self.lock:
            self.grace = grace
            self.deleted.set()

    def end(self, reason: str, message: str = "") -> None:
        """Kill its container for a reason of the node's."""
        self.why = (reason, message)
        self._kill(signal.SIGKILL)

    # Its states

    def _tell(self, phase: str, state: dict, **more: Any) -> None:
        named = {
            "name": self.container["name"],
            "image": self.container["image"],
            "imageID": "",
            "restartCount": 0,
        }
        running = "running" in state
        container = {**named, "state": state, "ready": running, "started": running}
        conditions = [
            {
                "type": kind,
                "status": "True" if running or kind in ("Initialized", "PodScheduled") else "False",
            }
            for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
        ]
        status = {
            "phase": phase,
            "conditions": conditions,
            "containerStatuses": [container],
            "hostIP": "127.0.0.1",
        }
        if phase != "Pending":
            status |= {"podIP": self.ip, "podIPs": [{"ip": self.ip}], "startTime": self.started}
        body = {"metadata": {"uid": self.uid}, "status": {**status, **more}}
        with contextlib.suppress(Refused):
            self.kubelet.call("PATCH", f"{self.path}/status", body, "application/strategic-merge-patch+json")

    def _pull(self) -> bool:
        """Find the image; false when the pod is deleted before."""
        image = self.container["image"]
        if image in self.kubelet.images:
            return True
        failed = (
            f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": not found'
        )
        while True:
            for reason, message in (
                ("ErrImagePull", failed),
                ("ImagePullBackOff", f'Back-off pulling image "{image}"'),
            ):
                self._tell("Pending", {"waiting": {"reason": reason, "message": message}})
                if self.deleted.wait(BACK_OFF if reason == "ErrImagePull" else 10 * BACK_OFF):
                    return False

    def _start(self) -> bool:
        """Start the container; false when the pod is deleted before its volumes are there."""
        self._tell("Pending", {"waiting": {"reason": "ContainerCreating"}})
        self.home.mkdir()
        while (volumes := self._volumes()) is None:
            if self.deleted.wait(0.1):
                return False
        self.started = now()
        mounts = self.home / "mounts"
        lines = []
        for mount in sorted(self.container.get("volumeMounts", []), key=lambda mount: mount["mountPath"]):
            source = volumes[mount["name"]] / mount.get("subPath", "")
            lines.append(f"{source} {mount['mountPath']}\n")
        mounts.write_text("".join(lines))
        hosts = self.home / "hosts"
        hosts.write_text(self._hosts())
        image = self.kubelet.images[self.container["image"]]
        env = {**image.env, **self._env(), "HOSTNAME": self.name}
        command = self.container.get("command") or image.entrypoint
        argv = [self._expand(text, env) for text in (*command, *self.container.get("args", []))]
        # Whatever becomes of `unshare`, its process namespace ends with it.
        namespaces = ["--user", "--map-root-user", "--mount", "--pid", "--mount-proc"]
        namespaces += ["--fork", "--kill-child=KILL"]
        self.log.touch()
        # Both streams are a pipe, as a container's are.
        self.process = subprocess.Popen(
            ["unshare", *namespaces, HERE / "pod.sh", hosts, mounts, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=self.container.get("workingDir") or self.home,
            start_new_session=True,
        )
        self.copier = threading.Thread(target=self._copy, args=(self.process.stdout,), daemon=True)
        self.copier.start()
        self._tell("Running", {"running": {"startedAt": self.started}})
        return True

    def _copy(self, output: BinaryIO) -> None:
        """Each line with its time, when it is whole."""
        with output, self.log.open("wb", buffering=0) as log:
            for line in output:
                time = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
                log.write(f"{time} ".encode() + line.rstrip(b"\n") + b"\n")

    def _wait(self) -> int:
        """Wait for the container's end, and see to it once the pod is deleted."""
        asked: float | None = None
        while True:
            try:
                return self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                pass
            if not self.deleted.is_set():
                continue
            if asked is None:
                asked = time.monotonic()
                self._kill(signal.SIGTERM)
            with self.lock:
                grace = self.grace
            if time.monotonic() > asked + grace:
                self._kill(signal.SIGKILL)

    def _kill(self, number: signal.Signals) -> None:
        """Send a signal to the first process of the container."""
        if self.process is None or self.process.poll() is not None:
            return
        with contextlib.suppress(OSError):
            for child in children(self.process.pid):
                os.kill(child, number)
        if number == signal.SIGKILL:
            self.process.kill()

    def _finish(self, code: int) -> None:
        """Tell how the container ended."""
        self.copier.join(10)
        code = 128 - code if code < 0 else code
        reason, message = self.why or ("Completed" if code == 0 else "Error", "")
        if self.why:
            code = 137
        more = {}
        if reason == "Evicted":
            more, reason = {"reason": "Evicted", "message": message}, "Error"
        ended = {"exitCode": code, "reason": reason, "startedAt": self.started, "finishedAt": now()}
        self._tell("Succeeded" if code == 0 else "Failed", {"terminated": ended}, **more)

    # What it is given

    def _get(self, kind: str, name: str) -> dict | None:
        try:
            return self.kubelet.call("GET", f"/api/v1/namespaces/{self.namespace}/{kind}/{name}")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def _files(self, kind: str, source: dict, into: Path) -> bool:
        """Write what a ConfigMap or a Secret has; false while it is not there."""
        name = source.get("name") or source["secretName"]
        found = self._get(kind, name)
        if found is None:
            return bool(source.get("optional"))
        texts = {key: text.encode() for key, text in (found.get("data") or {}).items()}
        if kind == "secrets":
            texts = {key: base64.b64decode(text) for key, text in texts.items()}
        items = source.get("items") or [{"key": key, "path": key} for key in texts]
        for item in items:
            path = into / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(texts[item["key"]])
        return True

    def _volumes(self) -> dict[str, Path] | None:
        """Make all volumes; None while something that they hold is not there."""
        made = {}
        for volume in self.pod["spec"].get("volumes", []):
            into = self.home / "volumes" / volume["name"]
            into.mkdir(parents=True, exist_ok=True)
            made[volume["name"]] = into
            there = True
            if "configMap" in volume:
                there = self._files("configmaps", volume["configMap"], into)
            elif "secret" in volume:
                there = self._files("secrets", volume["secret"], into)
            elif "projected" in volume:
                there = all(self._project(source, into) for source in volume["projected"]["sources"])
            else:
                assert "emptyDir" in volume, f"a volume of a kind that is not known: {volume}"
            if not there:
                return None
        return made

    def _project(self, source: dict, into: Path) -> bool:
        if "configMap" in source:
            return self._files("configmaps", source["configMap"], into)
        if "secret" in source:
            return self._files("secrets", source["secret"], into)
        if "downwardAPI" in source:
            for item in source["downwardAPI"]["items"]:
                (into / item["path"]).write_text(self._field(item["fieldRef"]["fieldPath"]))
            return True
        token = source["serviceAccountToken"]
        account = self.pod["spec"]["serviceAccountName"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": self.name, "uid": self.uid}
        spec = {"audiences": [], "expirationSeconds": token["expirationSeconds"], "boundObjectRef": bound}
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        made = self.kubelet.call("POST", path, {"spec": spec})
        (into / token["path"]).write_text(made["status"]["token"])
        return True

    def _field(self, path: str) -> str:
        meta, spec = self.pod["metadata"], self.pod["spec"]
        return {
            "metadata.name": self.name,
            "metadata.namespace": self.namespace,
            "metadata.uid": self.uid,
            "status.podIP": self.ip,
            "status.hostIP": "127.0.0.1",
            "spec.nodeName": self.kubelet.name,
            "spec.serviceAccountName": spec.get("serviceAccountName", ""),
            **{f"metadata.labels['{key}']": text for key, text in meta.get("labels", {}).items()},
        }[path]

    def _env(self) -> dict[str, str]:
        server = urlsplit(self.kubelet.cluster.url)
        env = {"KUBERNETES_SERVICE_HOST": str(server.hostname), "KUBERNETES_SERVICE_PORT": str(server.port)}
        for variable in self.container.get("env", []):
            source = variable.get("valueFrom")
            if source is None:
                env[variable["name"]] = self._expand(variable.get("value", ""), env)
            elif "fieldRef" in source:
                env[variable["name"]] = self._field(source["fieldRef"]["fieldPath"])
            elif "secretKeyRef" in source:
                secret = self._get("secrets", source["secretKeyRef"]["name"])
                assert secret is not None
                env[variable["name"]] = base64.b64decode(
                    secret["data"][source["secretKeyRef"]["key"]]
                ).decode()
            else:
                raise AssertionError(f"a variable of a kind that is not known: {variable}")
        return env

    @staticmethod
    def _expand(text: str, env: dict[str, str]) -> str:
        for name, value in env.items():
            text = text.replace(f"$({name})", value)
        return text

    def _hosts(self) -> str:
        """Names of this pod, and of the services whose pods run."""
        lines = ["127.0.0.1 localhost", f"{self.ip} {self.name}"]
        with self.kubelet.lock:
            pods = [pod for pod in self.kubelet.pods.values() if pod.namespace == self.namespace]
        services = self.kubelet.call("GET", f"/api/v1/namespaces/{self.namespace}/services")["items"]
        for service in services:
            selector = (service["spec"].get("selector") or {}).items()
            name = service["metadata"]["name"]
            for pod in pods:
                if selector and selector <= pod.pod["metadata"].get("labels", {}).items():
                    lines.append(f"{pod.ip} {name} {name}.{self.namespace} {name}.{self.namespace}.svc")
        return "\n".join(lines) + "\n"


class _Logs(BaseHTTPRequestHandler):
    """What the API server asks a kubelet for when somebody reads a pod's log."""

    kubelet: Kubelet

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """/containerLogs/NAMESPACE/POD/CONTAINER?sinceTime=&timestamps=&follow="""
        url = urlsplit(self.path)
        asked = {key: texts[0] for key, texts in parse_qs(url.query).items()}
        parts = url.path.strip("/").split("/")
        pods = self.kubelet.pods.values()
        found = [
            pod for pod in pods if ["containerLogs", pod.namespace, pod.name, pod.container["name"]] == parts
        ]
        if not found or not found[0].log.exists():
            self.send_error(404, "no such container")
            return
        pod = found[0]
        since = asked.get("sinceTime", "").removesuffix("Z").encode()
        has_times = asked.get("timestamps") == "true"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Connection", "close")
        self.end_headers()
        with pod.log.open("rb") as log, contextlib.suppress(OSError):
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_BYTES))
            while True:
                ended = not pod.copier.is_alive()
                while line := log.readline():
                    time, text = line.split(b" ", 1)
                    if time >= since:
                        self.wfile.write(line if has_times else text)
                self.wfile.flush()
                if ended or asked.get("follow") != "true":
                    return
                pod.copier.join(FOLLOW_SECONDS)
