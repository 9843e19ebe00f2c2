"""Kubernetes on loopback: the real API server with etcd, controllers and scheduler, on free ports, in a
directory of its own, with one node (`kubelet`)."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Iterator

import requests
import yaml

from harness.api import Session
from harness.batch import LIMIT, ClusterBatch
from harness.certificates import Authority
from harness.daemons import Daemon, program
from harness.kubelet import Image, Kubelet, Refused
from harness.processes import wait_until
from harness.server import ROOT, environment, free_port
from harness.spark import SHORT_LIVED, Spark

START_LIMIT = 120.0
NAMESPACE = "spark"
IMAGE = "spark:test"
# What the cluster needs of the controllers; the others would be idle.
CONTROLLERS = (
    "garbage-collector-controller,serviceaccount-controller,root-ca-certificate-publisher-controller"
)
CONTROLLERS += ",resourcequota-controller,namespace-controller"


@lru_cache
def kubernetes_program() -> str:
    """Where Kubernetes' daemons are, in one program."""
    script = ROOT / "scripts/kubernetes.sh"
    return subprocess.run([script], capture_output=True, text=True, check=True).stdout.strip()


def manifest() -> list[dict]:
    """The service accounts and roles that the server's documents give."""
    return list(yaml.safe_load_all((ROOT / "docker/kubernetes/rbac.yaml").read_text()))


def _role(made: list[dict], name: str) -> dict:
    return next(found for found in made if (found["kind"], found["metadata"]["name"]) == ("Role", name))


def granted(role: str) -> set[tuple[str, str]]:
    """What the manifest's role of this name allows: resources with their verbs."""
    return {
        (resource, verb)
        for rule in _role(manifest(), role)["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def without(resource: str, verb: str) -> list[dict]:
    """The manifest with one permission of the server's less."""
    made = manifest()
    _role(made, "firesteel")["rules"] = [
        {"apiGroups": [""], "resources": [one], "verbs": [other]}
        for one, other in granted("firesteel")
        if (one, other) != (resource, verb)
    ]
    return made


def image(spark: Spark) -> Image:
    """An image of Spark's as the kubelet runs it."""
    java = os.environ.get("JAVA_HOME") or str(Path(program("java")).resolve().parent.parent)
    env = {
        "PATH": f"{java}/bin:/usr/local/bin:/usr/bin:/bin",
        "JAVA_HOME": java,
        "SPARK_HOME": spark.home,
        "PYSPARK_PYTHON": spark.python,
        "PYSPARK_DRIVER_PYTHON": spark.python,
        "SPARK_LAUNCHER_OPTS": SHORT_LIVED,
        "LC_ALL": "C.UTF-8",
    }
    return Image([str(ROOT / "tests/harness/spark_image.sh")], env)


class Kubernetes:
    """A control plane and a node; a namespace for Spark, with the service accounts and roles that the
    documents give: `firesteel` for the server, `driver` for drivers."""

    def __init__(self, images: dict[str, Image], cpus: int = 8, memory: str = "16Gi"):
        self.home = Path(tempfile.mkdtemp(prefix="firesteel-kubernetes-"))
        self.authority = Authority(self.home / "keys")
        self.port, self.admin = free_port(), secrets.token_hex(16)
        self.url = f"https://127.0.0.1:{self.port}"
        self.audit = self.home / "audit.log"
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.verify = str(self.authority.path)
        self.http.headers["Authorization"] = f"Bearer {self.admin}"
        self.kubelet: Kubelet | None = None
        self.daemons: list[Daemon] = []
        try:
            etcd = self._etcd()
            self.api = self._api_server(etcd)
            self.wait_ready()
            config = self.kubeconfig("admin", self.admin)
            common = [f"--kubeconfig={config}", "--leader-elect=false", "--bind-address=127.0.0.1"]
            keys = self.home / "keys"
            for name, more in (
                (
                    "kube-controller-manager",
                    [
                        f"--root-ca-file={self.authority.path}",
                        f"--controllers={CONTROLLERS}",
                        f"--service-account-private-key-file={keys}/accounts.key",
                        # Newly used resources are counted at once, not every five minutes.
                        "--resource-quota-sync-period=2s",
                    ],
                ),
                ("kube-scheduler", []),
            ):
                port = free_port()
                argv = [kubernetes_program(), name, *common, f"--secure-port={port}", *more]
                self._daemon(argv, name, [port])
            self.kubelet = Kubelet(self, "node", images, cpus, memory)
            self.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
            self.apply(manifest())
            trusted = f"/api/v1/namespaces/{NAMESPACE}/configmaps/kube-root-ca.crt"
            wait_until("the controllers work", lambda: self.find(trusted), START_LIMIT)
        except BaseException:
            self.stop()
            raise

    def _daemon(self, argv: list[str], name: str, ports: list[int]) -> Daemon:
        daemon = Daemon(argv, self.home / f"{name}.log", ports, environment(), limit=START_LIMIT)
        self.daemons.append(daemon)
        daemon.start()
        return daemon

    def _etcd(self) -> str:
        client, peer = free_port(), free_port()
        url = f"http://127.0.0.1:{client}"
        peers = f"http://127.0.0.1:{peer}"
        argv = [kubernetes_program(), "etcd", f"--data-dir={self.home}/etcd", f"--listen-client-urls={url}"]
        argv += [f"--advertise-client-urls={url}", f"--listen-peer-urls={peers}", "--logger=zap"]
        argv += [f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=default={peers}"]
        self._daemon(argv, "etcd", [client])
        return url

    def _api_server(self, etcd: str) -> Daemon:
        certificate, key = self.authority.issue("kubernetes")
        client, client_key = self.authority.issue("kube-apiserver")
        public, accounts = self.authority.issue("accounts")
        tokens = self.home / "keys/tokens.csv"
        tokens.write_text(f"{self.admin},admin,admin,system:masters\n")
        issuer = "https://kubernetes.default.svc"
        argv = [
            *(kubernetes_program(), "kube-apiserver"),
            f"--etcd-servers={etcd}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--cert-dir={self.home}/keys",
            f"--audit-policy-file={self._audit_policy()}",
            f"--audit-log-path={self.audit}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            f"--service-account-issuer={issuer}",
            f"--service-account-key-file={public}",
            f"--service-account-signing-key-file={accounts}",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--kubelet-certificate-authority={self.authority.path}",
            f"--kubelet-client-certificate={client}",
            f"--kubelet-client-key={client_key}",
            "--kubelet-preferred-address-types=InternalIP",
            # The controller that takes these taints away does not run.
            "--disable-admission-plugins=TaintNodesByCondition",
        ]
        return self._daemon(argv, "kube-apiserver", [self.port])

    def _audit_policy(self) -> Path:
        policy = self.home / "keys/audit.json"
        rule = {"level": "Metadata", "omitStages": ["RequestReceived"]}
        made = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [rule]}
        policy.write_text(json.dumps(made))
        return policy

    def used(self, account: str) -> set[tuple[str, str]]:
        """What a service account has asked for of the namespace's objects: resources with their verbs."""
        found = set()
        for line in self.audit.read_text().splitlines():
            event = json.loads(line)
            thing = event.get("objectRef", {})
            if event["user"]["username"] == f"system:serviceaccount:{NAMESPACE}:{account}" and thing:
                part = f"/{thing['subresource']}" if "subresource" in thing else ""
                found.add((thing["resource"] + part, event["verb"]))
        return found

    def allowed(self, resource: str, verb: str) -> bool:
        """Whether the server's account may do this now."""
        name, _, part = resource.partition("/")
        spec = {
            "user": f"system:serviceaccount:{NAMESPACE}:firesteel",
            "resourceAttributes": {
                "namespace": NAMESPACE,
                "resource": name,
                "subresource": part,
                "verb": verb,
            },
        }
        made = self.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec})
        return made["status"]["allowed"]

    def wait_ready(self) -> None:
        """Wait until the API server works."""

        def is_ready() -> bool:
            assert self.api.process and self.api.process.poll() is None, self.api.said()[-2000:]
            try:
                return self.http.get(f"{self.url}/readyz", timeout=10).ok
            except requests.ConnectionError:
                return False

        wait_until("the API server is ready", is_ready, START_LIMIT)

    def restart_api(self) -> None:
        """Kill the API server and start another on the same store."""
        self.api.kill()
        self.api.start()
        self.wait_ready()

    # The API

    def call(
        self, method: str, path: str, body: Any = None, type: str = "application/json", **query: Any
    ) -> Any:
        """Ask the API server; its answer."""
        data = None if body is None else json.dumps(body)
        answer = self.http.request(
            method, f"{self.url}{path}", data=data, headers={"Content-Type": type}, params=query, timeout=60
        )
        if not answer.ok:
            raise Refused(answer.status_code, answer.text)
        return answer.json()

    def watch(self, path: str, **query: Any) -> Iterator[dict]:
        """Events as they come, for a while."""
        query = {**query, "watch": "true", "timeoutSeconds": "5"}
        with self.http.get(f"{self.url}{path}", params=query, stream=True, timeout=60) as answer:
            for line in answer.iter_lines(chunk_size=None):
                yield json.loads(line)

    def create(self, path: str, body: dict) -> dict:
        """Make an object."""
        return self.call("POST", path, body)

    def find(self, path: str) -> dict | None:
        """An object, if it is there."""
        try:
            return self.call("GET", path)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def pods(self, role: str = "driver", **labels: str) -> list[dict]:
        """The pods of Spark's in the namespace, oldest first."""
        selector = ",".join(f"{key}={value}" for key, value in {"spark-role": role, **labels}.items())
        found = self.call("GET", f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector=selector)["items"]
        return sorted(found, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def pod(self, name: str) -> dict | None:
        """One of them."""
        return self.find(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}")

    def pod_of(self, of: Session | ClusterBatch) -> dict:
        """The pod of a session's or batch's driver, once it is there."""

        def there() -> dict | None:
            app_id = of.get()["appId"]
            found = app_id and self.pods(**{"spark-app-selector": app_id})
            return found[0] if found else None

        return wait_until("its pod is known", there, LIMIT, 0.2)

    def log(self, name: str) -> str:
        """What a pod's container has written."""
        path = f"{self.url}/api/v1/namespaces/{NAMESPACE}/pods/{name}/log"
        return self.http.get(path, timeout=60).text

    def delete_pod(self, name: str, grace: int = 5) -> None:
        """Delete one, as an operator would."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}"
        self.call("DELETE", path, {"gracePeriodSeconds": grace})

    def apply(self, objects: list[dict]) -> None:
        """Make objects, or put them in the place of those that are there."""
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        places = {
            "Role": (rbac, "roles"),
            "RoleBinding": (rbac, "rolebindings"),
            "ServiceAccount": ("/api/v1", "serviceaccounts"),
            "ResourceQuota": ("/api/v1", "resourcequotas"),
        }
        for made in objects:
            group, kind = places[made["kind"]]
            base, name = f"{group}/namespaces/{NAMESPACE}/{kind}", made["metadata"]["name"]
            if found := self.find(f"{base}/{name}"):
                version = found["metadata"]["resourceVersion"]
                made = {**made, "metadata": {**made["metadata"], "resourceVersion": version}}
                self.call("PUT", f"{base}/{name}", made)
            else:
                self.create(base, made)

    def delete(self, path: str) -> None:
        """Delete an object of the namespace."""
        self.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}/{path}")

    def left(self) -> list[str]:
        """What applications have left: pods, services, ConfigMaps and Secrets, by kind and name."""
        found = []
        for kind in ("pods", "services", "configmaps", "secrets"):
            for item in self.call("GET", f"/api/v1/namespaces/{NAMESPACE}/{kind}")["items"]:
                found.append(f"{kind}/{item['metadata']['name']}")
        return [name for name in found if name != "configmaps/kube-root-ca.crt"]

    # Who asks

    def token(self, account: str) -> str:
        """A token of a service account."""
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token"
        return self.create(path, {"spec": {"expirationSeconds": 36000}})["status"]["token"]

    def kubeconfig(self, name: str, token: str) -> Path:
        """A file that names this cluster for who has this token, as context `name` among others."""
        authority = base64.b64encode(self.authority.path.read_bytes()).decode()
        there = {"server": self.url, "certificate-authority-data": authority}
        nowhere = {"server": "https://127.0.0.1:9"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "there", "cluster": there}, {"name": "nowhere", "cluster": nowhere}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [
                {"name": name, "context": {"cluster": "there", "user": name, "namespace": NAMESPACE}},
                {"name": "nowhere", "context": {"cluster": "nowhere", "user": name}},
            ],
            "current-context": name,
        }
        path = self.home / f"{name}.kubeconfig"
        path.write_text(json.dumps(config))
        path.chmod(0o600)
        return path

    def settings(self, spark: Spark) -> dict[str, Any]:
        """A server's settings for this cluster."""
        config = self.kubeconfig("firesteel", self.token("firesteel"))
        return {
            **spark.settings,
            "spark.master": f"k8s://{self.url}",
            "spark.deploy_mode": "cluster",
            "spark.conf": self.conf(),
            "driver.env": {**spark.settings["driver.env"], "SPARK_LOCAL_IP": "127.0.0.1"},
            "cluster.kubernetes.namespace": NAMESPACE,
            "cluster.kubernetes.kubeconfig": str(config),
        }

    def conf(self) -> dict[str, str]:
        """What Spark needs to run small applications here."""
        return {
            "spark.kubernetes.container.image": IMAGE,
            "spark.kubernetes.authenticate.driver.serviceAccountName": "driver",
            # There is no name service for `kubernetes.default.svc`.
            "spark.kubernetes.driver.master": self.url,
            "spark.kubernetes.driver.request.cores": "100m",
            "spark.kubernetes.executor.request.cores": "100m",
            "spark.driver.memory": "512m",
            "spark.executor.memory": "512m",
            "spark.executor.instances": "1",
            "spark.sql.shuffle.partitions": "2",
            "spark.default.parallelism": "2",
            "spark.driver.extraJavaOptions": SHORT_LIVED,
            "spark.executor.extraJavaOptions": SHORT_LIVED,
        }

    def stop(self) -> None:
        """End the pods, then the daemons."""
        if self.kubelet is not None:
            self.kubelet.stop()
        for daemon in reversed(self.daemons):
            daemon.stop()
        shutil.rmtree(self.home, ignore_errors=True)
