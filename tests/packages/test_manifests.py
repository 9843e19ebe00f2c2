"""The Kubernetes manifests: with each other here, and on a real API server where it is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from harness.kubernetes import NAMESPACE, Kubernetes
from harness.server import ROOT
from packages.built import judged

PLACE = ROOT / "docker/kubernetes"
APIS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
}


def objects() -> list[dict]:
    """Everything that the kustomization names, which is every manifest there is."""
    listed = yaml.safe_load((PLACE / "kustomization.yaml").read_text())["resources"]
    assert {*listed, "kustomization.yaml"} == {path.name for path in PLACE.glob("*.yaml")}
    return [made for name in listed for made in yaml.safe_load_all((PLACE / name).read_text())]


def one(kind: str, name: str = "firesteel") -> dict:
    """The object of a kind and name."""
    (found,) = [made for made in objects() if made["kind"] == kind and made["metadata"]["name"] == name]
    return found


def test_configuration(tmp_path: Path) -> None:
    """It is valid, with the mode of listening that off loopback is allowed."""
    config = tmp_path / "firesteel.toml"
    config.write_text(one("ConfigMap")["data"]["firesteel.toml"])
    found = judged(config, tmp_path / "state")
    assert found["configuration"].startswith("ok"), found


def test_they_fit_together() -> None:
    """One namespace, and whatever is named is there: accounts, volumes, ports, pods."""
    made = objects()
    assert {one["metadata"]["namespace"] for one in made} == {NAMESPACE}
    server = one("StatefulSet")["spec"]
    pod = server["template"]["spec"]
    one("ServiceAccount", pod["serviceAccountName"])
    (container,) = pod["containers"]
    volumes = {
        volume["name"]
        for volume in pod["volumes"]
        + [{"name": claim["metadata"]["name"]} for claim in server["volumeClaimTemplates"]]
    }
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    labels = server["template"]["metadata"]["labels"].items()
    assert server["selector"]["matchLabels"].items() <= labels
    for service in (one("Service"), one("Service", server["serviceName"])):
        assert service["spec"]["selector"].items() <= labels
        assert all(port["targetPort"] in ports for port in service["spec"]["ports"])
    # One state directory, one server.
    assert server["replicas"] == 1
    assert ports == {"https": 8998, "link": 8999}
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    config = one("ConfigMap")["data"]["firesteel.toml"]
    for key in ("/var/lib/firesteel", "/etc/firesteel/users", "/etc/firesteel/tls"):
        assert key in mounts
        assert key in config
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_user_is_the_image_s() -> None:
    """The pod's user is the one to whom the image's directories belong."""
    context = one("StatefulSet")["spec"]["template"]["spec"]["securityContext"]
    user = f"USER {context['runAsUser']}:{context['runAsGroup']}\n"
    assert user in (ROOT / "docker/server/Dockerfile").read_text()


@pytest.mark.skipif(
    not os.environ.get("FIRESTEEL_TEST_KUBERNETES"), reason="FIRESTEEL_TEST_KUBERNETES=1: a real API server"
)
def test_api_server_takes_them() -> None:
    """All of them, and no field is unknown to it."""
    cluster = Kubernetes({})
    try:
        for made in objects():
            name = made["metadata"]["name"]
            path = APIS[made["kind"]].format(NAMESPACE)
            options = {"dryRun": "All", "fieldValidation": "Strict"}
            if found := cluster.find(f"{path}/{name}"):
                version = found["metadata"]["resourceVersion"]
                made = {**made, "metadata": {**made["metadata"], "resourceVersion": version}}
                answer = cluster.call("PUT", f"{path}/{name}", made, **options)
            else:
                answer = cluster.call("POST", path, made, **options)
            assert answer["metadata"]["name"] == name
    finally:
        cluster.stop()
