"""The real clusters take minutes: `make test-yarn` and `make test-k8s` run them, and `make test` the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest
from harness.yarn import Yarn
from harness.yarn_batch import write_job

REAL = ["test_yarn*.py", "test_standalone.py", "test_several_standalone.py", "test_conformance.py"]
collect_ignore_glob = [] if os.environ.get("FIRESTEEL_TEST_CLUSTERS") else REAL
if not os.environ.get("FIRESTEEL_TEST_KUBERNETES"):
    collect_ignore_glob = [*collect_ignore_glob, "test_kubernetes*.py"]


@pytest.fixture(scope="module")
def yarn() -> Iterator[Yarn]:
    """A ResourceManager and a NodeManager."""
    yarn = Yarn()
    yield yarn
    yarn.stop()


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that requests may name, with the job."""
    jobs = tmp_path_factory.mktemp("jobs")
    write_job(jobs)
    return jobs
