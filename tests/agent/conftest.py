"""Drivers for the tests: one for a module and each Spark under test."""

import pytest
from driven import Driver
from harness.spark import sparks


@pytest.fixture(scope="module", params=sparks(), ids=lambda spark: f"spark-{spark.short}")
def python(request):
    """A Python executable that has pyspark."""
    return request.param.python


@pytest.fixture(scope="module")
def driver(python, request):
    """A driver that the module's tests share, with the module's `DRIVER` as its options."""
    started = Driver(python, **getattr(request.module, "DRIVER", {}))
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
