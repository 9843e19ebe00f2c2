"""The real clusters take minutes: `make test-yarn` and `make test-k8s` run them, and `make test` the rest."""

from __future__ import annotations

import os

REAL = ["test_yarn*.py", "test_standalone.py", "test_several_standalone.py", "test_conformance.py"]
collect_ignore_glob = [] if os.environ.get("FIRESTEEL_TEST_CLUSTERS") else REAL
if not os.environ.get("FIRESTEEL_TEST_KUBERNETES"):
    collect_ignore_glob = [*collect_ignore_glob, "test_kubernetes.py"]
