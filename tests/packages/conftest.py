"""A real Docker with the project's images, which are built only when asked for: `make test-images`."""

from __future__ import annotations

import os
from typing import Iterator

import pytest
from packages.docker import PREBUILT, SERVER, Docker


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """A daemon that goes, with all that it has, when the tests end."""
    if not os.environ.get("FIRESTEEL_TEST_IMAGES"):
        pytest.skip("FIRESTEEL_TEST_IMAGES=1: images are built, as root")
    made = Docker()
    yield made
    made.close()


@pytest.fixture(scope="session")
def server_image(docker: Docker) -> str:
    """The server's image with Spark, of the binary under test."""
    return docker.build(SERVER, "firesteel:latest", **PREBUILT)


@pytest.fixture(scope="session")
def notebook_image(docker: Docker) -> str:
    """The notebook's image."""
    return docker.build("docker/notebook/Dockerfile", "firesteel-notebook:latest")
