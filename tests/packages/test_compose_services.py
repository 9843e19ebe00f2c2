"""The compose files, run by docker-compose: networks, health and privileges are as the files say."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from typing import Callable, Iterator

import pytest
from harness.processes import wait_until
from harness.server import free_port
from packages.docker import START_LIMIT, Compose, Docker
from packages.jupyter import Kernel

BASE, STANDALONE = "docker/compose.yaml", "docker/compose.standalone.yaml"


@pytest.fixture(scope="module")
def images(server_image: str, notebook_image: str) -> None:
    """What the files name is there."""


@pytest.fixture
def projects(docker: Docker, images: None) -> Iterator[list[Compose]]:
    """Projects that end with the test."""
    made: list[Compose] = []
    yield made
    for project in made:
        project("down", "--volumes", "--timeout", "60")


def notebook(project: Compose, port: int) -> Kernel:
    """A PySpark notebook, as soon as Jupyter serves."""
    log = project.service("notebook").wait_for("/lab?token=")
    (token, *_) = re.findall(r"/lab\?token=([0-9a-f]+)", log)
    return Kernel(f"http://127.0.0.1:{port}", token, "pysparkkernel")


def test_server_and_notebook(docker: Docker, projects: list[Compose], figures: Callable[[str], None]) -> None:
    """From nothing that runs to a cell's result; the examples are there; the server is healthy."""
    port = free_port()
    project = docker.compose("firesteel", BASE, NOTEBOOK_PORT=str(port))
    projects.append(project)
    begun = time.monotonic()
    project("up", "--detach", "--no-build")
    created = time.monotonic()
    kernel = notebook(project, port)
    opened = time.monotonic()
    assert "499500" in kernel.run("spark.range(1000).groupBy().sum('id').first()[0]")
    shown = time.monotonic()
    figures(
        f"from nothing that runs: containers {created - begun:.1f} s, a notebook {opened - created:.1f} s, "
        f"its first cell with its Spark session {shown - opened:.1f} s; together {shown - begun:.1f} s"
    )
    assert "2" in kernel.run("1 + 1")
    kernel.close()
    there = project.service("notebook").run("ls", "/home/notebook/firesteel")
    assert "dataframes.ipynb" in there
    server = project.service("server")
    wait_until("the server is healthy", lambda: server.state()["Health"]["Status"] == "healthy", START_LIMIT)
    project("stop", "--timeout", "60")
    assert server.state()["ExitCode"] == 0, server.log()[-3000:]


def workers(port: int) -> list[dict]:
    """The workers that the standalone master's page tells of."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/", timeout=10) as answer:
        found = json.load(answer)
    return [worker for worker in found["workers"] if worker["state"] == "ALIVE"]


def test_standalone(docker: Docker, projects: list[Compose]) -> None:
    """A cell's tasks run in the containers of two workers."""
    port, page = free_port(), free_port()
    project = docker.compose("cluster", BASE, STANDALONE, NOTEBOOK_PORT=str(port), MASTER_PORT=str(page))
    projects.append(project)
    project("up", "--detach", "--no-build", "--scale", "worker=2")
    wait_until("both workers are there", lambda: len(workers(page)) == 2, START_LIMIT)
    kernel = notebook(project, port)
    assert "spark://master:7077" in kernel.run("sc.master")
    hosts = "lambda rows: [__import__('socket').gethostname()]"
    ran = kernel.run(f"len(set(sc.parallelize(range(200), 200).mapPartitions({hosts}).collect()))")
    assert "2" in ran, project.service("server").log()[-3000:]
    kernel.close()
