"""The real clusters take minutes: `make test-yarn` runs them, and `make test` the rest."""

from __future__ import annotations

import os

REAL = ["test_yarn*.py", "test_standalone.py", "test_several_standalone.py"]
collect_ignore_glob = [] if os.environ.get("FIRESTEEL_TEST_CLUSTERS") else REAL
