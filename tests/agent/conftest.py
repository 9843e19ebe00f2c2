"""Drivers for the tests: one for a module and each Spark of FIRESTEEL_TEST_SPARKS.

The variable lists Python executables of environments that have pyspark, separated by colons; the default is
the Python that runs the tests.
"""

import os
import sys

import pytest
from driven import Driver

SPARKS = os.environ.get("FIRESTEEL_TEST_SPARKS", sys.executable).split(":")


@pytest.fixture(scope="module", params=SPARKS)
def python(request):
    """A Python executable that has pyspark."""
    return request.param


@pytest.fixture(scope="module")
def driver(python):
    """A driver that the module's tests share."""
    started = Driver(python)
    try:
        started.ready()
        yield started
    finally:
        started.close()


@pytest.fixture
def own_driver(python):
    """Starts drivers that a test has for itself: `own_driver(conf=..., sql_max_rows=...)`."""
    drivers = []

    def start(**options):
        drivers.append(Driver(python, **options))
        return drivers[-1]

    yield start
    for started in drivers:
        started.close()
