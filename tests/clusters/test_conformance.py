"""The same tests on every master: Livy's exchanges, sparkmagic and a sample of cells, with drivers on a
standalone cluster and in YARN's cluster mode in place of a local master."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Iterator

import pytest
from harness.server import ROOT
from harness.spark import Cluster, sparks
from harness.yarn import Yarn

SPARK = sparks()[0]
SUITE = ("tests/api/test_golden.py", "tests/clients/test_sparkmagic.py", "tests/cells/test_served_cells.py")
LIMIT = 1500


@pytest.fixture(params=["standalone", "yarn-cluster"])
def elsewhere(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """A cluster, as `harness.server.ELSEWHERE` has it."""
    if request.param == "standalone":
        cluster = Cluster(SPARK, cores=16, memory="8g")
        small = {"spark.cores.max": "2", "spark.executor.memory": "512m"}
        settings = {
            "spark.master": cluster.url,
            "spark.deploy_mode": "client",
            "spark.conf": small,
            "driver.env": {"SPARK_LOCAL_IP": "127.0.0.1"},
        }
        yield {"settings": settings, "environment": {}}
        cluster.stop()
        return
    yarn = Yarn(memory=12288, cores=24)
    yield {"settings": yarn.settings(SPARK, "cluster"), "environment": yarn.environment()}
    yarn.stop()


def test_the_suite_passes(elsewhere: dict[str, Any]) -> None:
    env = {
        **os.environ,
        "FIRESTEEL_TEST_ELSEWHERE": json.dumps(elsewhere),
        "FIRESTEEL_TEST_SPARKS": SPARK.python,
    }
    argv = [sys.executable, "-m", "pytest", "-q", "--tb=short", "--timeout", "400", *SUITE]
    ended = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=LIMIT)
    assert ended.returncode == 0, ended.stdout[-12000:] + ended.stderr[-2000:]
