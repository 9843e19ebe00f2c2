"""The images, built and run; the Debian package and the Dataproc action in a Debian of their own. As root, in
minutes, and only where it is asked for: `make test-images`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Iterator

import pytest
from harness.api import Api
from harness.server import ROOT, binary, free_port
from packages.built import package
from packages.images import Container, Images, ran, rootfs

pytestmark = pytest.mark.skipif(
    not os.environ.get("FIRESTEEL_TEST_IMAGES"), reason="FIRESTEEL_TEST_IMAGES=1: images are built, as root"
)
DEBIAN = "debian:bookworm-slim"
USER = 10998


@pytest.fixture(scope="module")
def images() -> Iterator[Images]:
    """A store of images that goes with the tests."""
    made = Images()
    yield made
    made.close()


@pytest.fixture(scope="module")
def server_image(images: Images) -> str:
    """The server's image with Spark, of the binary under test."""
    return images.build(
        "docker/server/Dockerfile", "firesteel:latest", RUST=DEBIAN, PREBUILT="target/release/firesteel"
    )


def command(container: Container) -> list[str]:
    """What the image starts."""
    said = json.loads(ran(*container.images.buildah, "inspect", container.name))["OCIv1"]["config"]
    assert said["User"] == f"{USER}:{USER}"
    return [*said["Entrypoint"], *said["Cmd"]]


def serving(container: Container, **env: str) -> Api:
    """Start the server of a container."""
    port = free_port()
    container.start(*command(container), FIRESTEEL_SERVER__LISTEN=f"127.0.0.1:{port}", **env)
    container.wait_for(f"firesteel listening on http://127.0.0.1:{port}")
    return Api(f"http://127.0.0.1:{port}")


def owner(pid: int) -> int:
    """Whose a process is."""
    return Path(f"/proc/{pid}").stat().st_uid


def counted(api: Api) -> None:
    """A session runs a job."""
    session = api.create(kind="pyspark")
    session.wait("idle")
    assert session.text("spark.range(10).repartition(4).count()") == "10"


def test_server(images: Images, server_image: str) -> None:
    """It serves as a user of its own, runs a session, and ends its drivers when the container is to end."""
    container = images.container(server_image)
    api = serving(container)
    assert api.get("/version").json()["version"]
    counted(api)
    running = [one for one in container.processes() if not one.argv[0].startswith("buildah")]
    assert [one for one in running if "java" in one.argv[0]]
    assert {owner(one.pid) for one in running} == {USER}
    container.stop()
    assert not container.processes()
    found = container.run(
        "sh", "-c", "touch /etc/firesteel/firesteel.toml /usr/local/bin/firesteel /opt/spark/x"
    )
    assert found.returncode != 0
    assert found.stderr.count("Permission denied") == 3, found.stderr


def test_server_without_spark(images: Images, server_image: str) -> None:
    """The smaller image says what is missing. The CUDA image takes the binary out of another image; here its
    base is Debian, so that what is NVIDIA's is not looked at."""
    tag = images.build(
        "docker/cuda/Dockerfile", "firesteel-cuda:latest", BASE=DEBIAN, SERVER=server_image, SPARK="none"
    )
    container = images.container(tag)
    command(container)
    found = container.run("firesteel", "check")
    said = found.stdout + found.stderr
    assert "configuration: valid" in said
    assert "ok    java: 17" in said
    assert "/opt/spark (spark.home) has no bin/spark-submit" in said or "WRONG spark" in said, said
    assert container.run("firesteel", "--version").stdout == ran(binary(), "--version")
    assert not (container.mount / "opt/python/lib/python3.11/site-packages/pyspark").exists()


# --- The package and the action, in a Debian of their own ---


@pytest.fixture
def debian(tmp_path: Path) -> Path:
    """A root directory."""
    root = tmp_path / "debian"
    ran("cp", "-a", "--reflink=auto", rootfs("bookworm"), root)
    return root


def inside(root: Path, *argv: str) -> str:
    """What a program of a root directory writes."""
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    return ran("chroot", root, *argv, env=env)


def test_deb(debian: Path) -> None:
    """It is installed, upgraded, removed and purged; what an administrator has written stays until then."""
    deb = package(debian / "tmp")
    within = f"/tmp/{deb.name}"
    inside(debian, "dpkg", "--install", within)
    assert inside(debian, "firesteel", "--version") == ran(binary(), "--version")
    state = "stat -c '%U %a' /var/lib/firesteel /etc/firesteel /etc/firesteel/firesteel.toml"
    assert inside(debian, "sh", "-c", state).splitlines() == ["firesteel 700", "root 750", "root 644"]
    assert "/usr/sbin/nologin" in inside(debian, "getent", "passwd", "firesteel")
    config = debian / "etc/firesteel/firesteel.toml"
    config.write_text('[spark]\nhome = "/opt/mine"\n')
    (debian / "var/lib/firesteel/kept").write_text("")
    inside(debian, "dpkg", "--install", within)
    assert "/opt/mine" in config.read_text()
    inside(debian, "dpkg", "--remove", "firesteel")
    assert not (debian / "usr/bin/firesteel").exists()
    assert config.exists()
    assert (debian / "var/lib/firesteel/kept").exists()
    inside(debian, "dpkg", "--purge", "firesteel")
    assert not (debian / "etc/firesteel").exists()
    assert not (debian / "var/lib/firesteel").exists()


def dataproc(root: Path, role: str, **more: str) -> subprocess.CompletedProcess:
    """Run the action on a node of a role, whose metadata has these as well."""
    asked = root / "usr/share/google/get_metadata_value"
    asked.parent.mkdir(parents=True, exist_ok=True)
    values = {"dataproc-role": role, **{key.replace("_", "-"): value for key, value in more.items()}}
    cases = "".join(f"attributes/{key}) echo '{value}' ;;\n" for key, value in values.items())
    asked.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}*) exit 1 ;;\nesac\n')
    asked.chmod(0o755)
    shutil.copy(ROOT / "docker/dataproc/firesteel.sh", root / "tmp")
    argv = ["chroot", root, "bash", "/tmp/firesteel.sh"]
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)


def seen(root: Path) -> dict[str, tuple[float, bytes]]:
    """The files that the action writes, with their times."""
    places = ("usr/lib/spark/conf", "etc/firesteel", "etc/systemd/system")
    files = [path for place in places for path in (root / place).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): (path.stat().st_mtime, path.read_bytes()) for path in files}


def test_dataproc(debian: Path) -> None:
    """A worker gets the Python and the seed, a master the server as well; a second time changes nothing."""
    conf = debian / "usr/lib/spark/conf"
    conf.mkdir(parents=True)
    (conf / "spark-env.sh").write_text("export OF_DATAPROC=1\n")
    (conf / "spark-defaults.conf").write_text("spark.of.dataproc=1\n")
    python = {"firesteel_python": "/opt/conda/default/bin/python"}
    ended = dataproc(debian, "Worker", **python)
    assert ended.returncode == 0, ended.stderr
    assert (conf / "spark-env.sh").read_text().splitlines() == [
        "export OF_DATAPROC=1",
        "# firesteel begin",
        "export PYSPARK_PYTHON=/opt/conda/default/bin/python",
        "export PYTHONHASHSEED=0",
        "# firesteel end",
    ]
    assert "spark.executorEnv.PYTHONHASHSEED=0" in (conf / "spark-defaults.conf").read_text()
    assert not (debian / "usr/bin/firesteel").exists()

    ended = dataproc(debian, "Master", **python)
    assert ended.returncode == 1
    assert "firesteel-deb is missing" in ended.stderr
    assert dataproc(debian, "Driver").returncode == 1

    deb = {"firesteel_deb": f"/tmp/{package(debian / 'tmp').name}"}
    ended = dataproc(debian, "Master", **python, **deb)
    assert ended.returncode == 0, ended.stderr
    assert inside(debian, "firesteel", "--version") == ran(binary(), "--version")
    check = [
        "sh",
        "-c",
        "firesteel check --config /etc/firesteel/firesteel.toml --state-dir /tmp/state || true",
    ]
    assert "configuration: valid" in inside(debian, *check)
    before = seen(debian)
    ended = dataproc(debian, "Master", **python, **deb)
    assert ended.returncode == 0, ended.stderr
    assert seen(debian) == before
    # Another Python takes the place of the first.
    assert dataproc(debian, "Master", firesteel_python="/usr/bin/python3", **deb).returncode == 0
    assert "conda" not in (conf / "spark-env.sh").read_text()
    assert "/usr/bin/python3" in (debian / "etc/firesteel/firesteel.toml").read_text()
