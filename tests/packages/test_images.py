"""The images, built by their Dockerfiles and run by Docker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import requests
from harness.api import Api
from harness.certificates import Authority
from harness.server import binary, free_port
from packages.docker import PREBUILT, SERVER, TRUSTED, Container, Docker, ran

USER = 10998
COMPILER = """
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends build-essential ca-certificates
COPY . /usr/local/
ENV CARGO_HTTP_CAINFO={authorities} CARGO_HOME=/usr/local/cargo
"""
"""Stands for the image of Rust's that the server's Dockerfile names: this host's own toolchain on Debian."""


def serving(docker: Docker, image: str, *more: str, scheme: str = "http") -> tuple[Container, str]:
    """Start an image's server on the host's loopback; its URL."""
    address = f"127.0.0.1:{free_port()}"
    options = ["--network", "host", "--env", f"FIRESTEEL_SERVER__LISTEN={address}"]
    container = docker.container(image, *options, *more, "--cap-drop", "ALL")
    container.wait_for(f"firesteel listening on {scheme}://{address}")
    return container, f"{scheme}://{address}"


def test_server(docker: Docker, server_image: str) -> None:
    """It serves as a user of its own, runs a session, and ends its drivers when the container is to end."""
    container, url = serving(docker, server_image)
    api = Api(url)
    assert api.get("/version").json()["version"]
    session = api.create(kind="pyspark")
    session.wait("idle")
    assert session.text("spark.range(10).repartition(4).count()") == "10"
    running = container.processes()
    assert [command for _, command in running if "java" in command]
    assert {uid for uid, _ in running} == {USER}
    assert container.stop() == 0
    container.remove()
    tried = "touch /etc/firesteel/firesteel.toml /usr/local/bin/firesteel /opt/spark/x"
    found = docker.run(server_image, "-c", tried, options=("--entrypoint", "sh"))
    assert found.returncode != 0
    assert found.stderr.count("Permission denied") == 3, found.stderr


def test_names_and_tls(docker: Docker, server_image: str, tmp_path: Path) -> None:
    """As docs/deployment.md says: `passwd` makes a file in a volume, and the server reads it there."""
    users = ("--volume", "users:/users")
    argv = ["docker", "run", "--rm", "--interactive", "--pull", "never", "--network", "none", *users]
    argv += ["--entrypoint", "firesteel", server_image, "passwd", "/users/users", "alice"]
    made = subprocess.run(
        argv, env=docker.env, input="secret of hers\n", capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    certificate, key = Authority(tmp_path / "tls").issue("server")
    for path in (tmp_path, tmp_path / "tls", certificate, key):
        os.chown(path, USER, USER)
    settings = {
        "SERVER__TLS__CERT": f"/tls/{certificate.name}",
        "SERVER__TLS__KEY": f"/tls/{key.name}",
        "ACCESS__MODE": "basic",
        "ACCESS__BASIC_FILE": "/users/users",
    }
    options = [*users, "--volume", f"{tmp_path / 'tls'}:/tls:ro"]
    for name, value in settings.items():
        options += ["--env", f"FIRESTEEL_{name}={value}"]
    container, url = serving(docker, server_image, *options, scheme="https")
    trusted = str(tmp_path / "tls/authority.pem")
    assert requests.get(f"{url}/sessions", verify=trusted, timeout=30).status_code == 401
    found = requests.get(f"{url}/sessions", verify=trusted, auth=("alice", "secret of hers"), timeout=30)
    assert found.json()["total"] == 0
    container.remove()


def test_server_without_spark(docker: Docker) -> None:
    """The smaller image says what is missing."""
    image = docker.build(SERVER, "firesteel:bare", SPARK="none", **PREBUILT)
    said = json.loads(docker("inspect", "--format", "{{json .Config}}", image))
    assert said["User"] == f"{USER}:{USER}"
    found = docker.run(image, "check", options=("--entrypoint", "firesteel"))
    words = found.stdout + found.stderr
    assert "configuration: valid" in words
    assert "ok    java: 17" in words
    assert "/opt/spark (spark.home) has no bin/spark-submit" in words or "WRONG spark" in words, words
    version = docker.run(image, "--version", options=("--entrypoint", "firesteel")).stdout
    assert version == ran(binary(), "--version")
    missing = docker.run(image, "-c", "import pyspark", options=("--entrypoint", "/opt/python/bin/python"))
    assert "No module named 'pyspark'" in missing.stderr


def test_source(docker: Docker, tmp_path: Path) -> None:
    """Without a binary that is built already, the Dockerfile compiles one of what the context has."""
    toolchain = ran("rustc", "--print", "sysroot").strip()
    documents = ("share", "doc")
    shutil.copytree(toolchain, tmp_path / "rust", symlinks=True, ignore=shutil.ignore_patterns(*documents))
    (tmp_path / "rust/Dockerfile").write_text(COMPILER.format(authorities=TRUSTED))
    rust = docker.build("Dockerfile", "rust:here", context=tmp_path / "rust")
    prebuilt = docker.context / "target/release/firesteel"
    aside = prebuilt.rename(tmp_path / "firesteel")
    try:
        image = docker.build(SERVER, "firesteel:source", RUST=rust, SPARK="none")
    finally:
        shutil.move(aside, prebuilt)
    version = docker.run(image, "--version", options=("--entrypoint", "firesteel"))
    assert version.stdout.startswith("firesteel "), version.stderr
