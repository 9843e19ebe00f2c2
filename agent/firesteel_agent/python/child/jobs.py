"""Programmatic jobs: a pickled function is called with the job context, and what it returns is pickled.

Calls PySpark.
"""

import base64
import collections
import importlib
import importlib.util
import pickle
import sys
import tempfile
import threading
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Optional

from .attach import SparkHandle

MAX_SHARED = 100
"""Shared objects, as in Livy; the one that was not used for longest goes first."""


class JobContext:
    """What a job is called with: the names are those of Livy's Python API."""

    def __init__(self, spark: SparkHandle, directory: str):
        self._spark = spark
        self._directory = directory
        self._own_directory = ""
        self._lock = threading.Lock()
        self._hive: Any = None
        self._streaming: Any = None
        self._shared: collections.OrderedDict[str, Any] = collections.OrderedDict()

    @property
    def sc(self) -> Any:
        """The SparkContext."""
        return self._spark.context

    @property
    def spark_session(self) -> Any:
        """The SparkSession."""
        return self._spark.session

    @property
    def sql_ctx(self) -> Any:
        """The SQLContext."""
        return self._spark.sql_context

    @property
    def hive_ctx(self) -> Any:
        """A HiveContext, made on first use."""
        with self._lock:
            if self._hive is None:
                from pyspark.sql import HiveContext

                self._hive = HiveContext(self.sc)
            return self._hive

    def create_streaming_ctx(self, batch_duration: float) -> None:
        """Make the session's StreamingContext; the duration is in seconds."""
        with self._lock:
            if self._streaming is not None:
                raise ValueError("Streaming context already exists")
            from pyspark.streaming import StreamingContext

            self._streaming = StreamingContext(self.sc, batch_duration)

    @property
    def streaming_ctx(self) -> Any:
        """The StreamingContext, once `create_streaming_ctx` was called."""
        with self._lock:
            if self._streaming is None:
                raise ValueError("create_streaming_ctx function should be called first")
            return self._streaming

    def stop_streaming_ctx(self) -> None:
        """Stop the StreamingContext; the SparkContext stays."""
        with self._lock:
            if self._streaming is None:
                raise ValueError("Cannot stop streaming context. Streaming context is None")
            self._streaming.stop(stopSparkContext=False)
            self._streaming = None

    @property
    def local_tmp_dir_path(self) -> str:
        """A directory on the driver's host, which goes with the driver."""
        with self._lock:
            if not self._own_directory:
                self._own_directory = tempfile.mkdtemp(prefix="jobs-", dir=self._directory)
            return self._own_directory

    def get_shared_object(self, name: str) -> Any:
        """What an earlier job set under this name; None when there is nothing."""
        with self._lock:
            if name not in self._shared:
                return None
            self._shared.move_to_end(name)
            return self._shared[name]

    def set_shared_object(self, name: str, object: Any) -> None:
        """Keep an object for later jobs of the session."""
        with self._lock:
            self._shared[name] = object
            self._shared.move_to_end(name)
            while len(self._shared) > MAX_SHARED:
                self._shared.popitem(last=False)

    def remove_shared_object(self, name: str) -> None:
        """Forget an object; one that is not there is no error."""
        with self._lock:
            self._shared.pop(name, None)


class Jobs:
    """Runs the session's jobs."""

    def __init__(self, spark: SparkHandle):
        # The driver's own directory: it is gone with the driver.
        self._context = JobContext(spark, str(Path.cwd()))
        self._cloudpickle: Optional[ModuleType] = None

    def run(self, encoded: bytes) -> bytes:
        """Call a function that came pickled and in base64; what it returns, pickled."""
        if self._cloudpickle is None:
            self._cloudpickle = _cloudpickle()
        # The encoding is for strings that Python 2 pickled; Livy's interpreter gives the same.
        function = pickle.loads(base64.b64decode(encoded), encoding="bytes")
        return self._cloudpickle.dumps(function(self._context))


def _cloudpickle() -> ModuleType:
    """`cloudpickle`, which pickles of clients name, and whose names a client finds in ours.

    Where the package is not installed it is PySpark's copy under that name.
    """
    try:
        return importlib.import_module("cloudpickle")
    except ImportError:
        copy = importlib.import_module("pyspark.cloudpickle")
    spec = ModuleSpec("cloudpickle", None, is_package=True)
    spec.submodule_search_locations = list(copy.__path__)
    package = sys.modules["cloudpickle"] = importlib.util.module_from_spec(spec)
    part = importlib.import_module("cloudpickle.cloudpickle")
    if not hasattr(part, "dumps"):
        # Up to version 2 there are two modules. Pickles of version 3 look for all names in the first.
        for name, value in vars(importlib.import_module("cloudpickle.cloudpickle_fast")).items():
            part.__dict__.setdefault(name, value)
    package.__dict__.update({name: value for name, value in vars(part).items() if not name.startswith("_")})
    return package
