"""Wraps the SparkContext that the agent made: `spark`, `sc`, `sqlContext`.

Calls numbers, own_context, unpacked and PySpark.
"""

import importlib
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Optional

from ...numbers import TRACE_KEY, description_of, group_of
from ...own_context import makes_its_own
from ...unpacked import prefer_unpacked


def import_pyspark() -> None:
    """The slow part, done while the SparkContext is made."""
    prefer_unpacked()
    import pyspark.java_gateway
    import pyspark.sql  # noqa: F401

    with suppress(
        ImportError
    ):  # Spark 4 writes every error of a query to stderr; the traceback says it already.
        from pyspark.logger import PySparkLogger

        for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
            PySparkLogger.getLogger(name).disabled = True


class SparkHandle:
    """The interpreter's own view of the SparkContext; user code may have stopped or replaced it."""

    def __init__(self, names: Dict[str, Any]):
        self._names = names
        self._gateway: Any = None
        self.context: Any = None
        self.session: Any = None
        self.sql_context: Any = None
        self._may_replace = False
        self._jvm_context: Any = None
        self.trace: Optional[str] = None
        """The `traceparent` of the statement that runs."""
        self._is_traced = False

    def attach(self, port: int, secret: str) -> None:
        """Open the gateway and predefine the names. The secret is in the environment only meanwhile."""
        from pyspark.java_gateway import launch_gateway

        os.environ.update(PYSPARK_GATEWAY_PORT=str(port), PYSPARK_GATEWAY_SECRET=secret)
        try:
            self._gateway = launch_gateway()
        finally:
            del os.environ["PYSPARK_GATEWAY_PORT"], os.environ["PYSPARK_GATEWAY_SECRET"]
        self._context_class: Any = sys.modules["pyspark"].SparkContext
        self._bind()
        deploy_mode = self._context_class._active_spark_context.getConf().get(
            "spark.submit.deployMode", "client"
        )
        self._may_replace = deploy_mode == "client"

    def prepare(self, statement: int, code: str) -> bool:
        """Put the main thread's jobs into the statement's group; True when a stopped context was replaced.

        Code that makes a context of its own finds none in its way.
        """
        replaced = False
        try:
            self._forget_stopped()
            if self._context_class._active_spark_context is None and self._may_replace:
                replaced = not makes_its_own(code)
                if replaced:
                    self._bind()
        except Exception as failure:
            replaced = False
            print(f"The SparkContext is gone and no other can be made: {failure}", file=sys.__stderr__)
        with suppress(Exception):  # Plain Python runs without Spark.
            context = self._context_class._active_spark_context._jsc
            context.setJobGroup(group_of(statement), description_of(statement, self.trace), True)
            self._is_traced = self._is_traced or self.trace is not None
            if self._is_traced:
                context.setLocalProperty(TRACE_KEY, self.trace)
        return replaced

    def _forget_stopped(self) -> None:
        """Let go of a context that the JVM has stopped: so it does when its cluster ends the application."""
        if self.context is None or self.context is not self._context_class._active_spark_context:
            return
        if self._may_replace and self._jvm_context.isStopped():
            self.context.stop()

    def include(self, name: str) -> None:
        """What `sc.addPyFile` does beside `addFile`, for a file that was added already."""
        try:
            from pyspark import SparkFiles

            context = self._context_class._active_spark_context
            if context is not None and name[-4:].lower() in context.PACKAGE_EXTENSIONS:
                context._python_includes.append(name)
                sys.path.insert(1, str(Path(SparkFiles.getRootDirectory(), name)))
            importlib.invalidate_caches()
        except Exception as failure:
            print(f"{name} can't be imported: {failure}", file=sys.__stderr__)

    def _bind(self) -> None:
        """Wrap the JVM's SparkContext, or make one where user code stopped it, and predefine the names."""
        from pyspark import SparkConf
        from pyspark.sql import SparkSession, SQLContext

        jvm = self._gateway.jvm
        active = getattr(getattr(jvm, "org.apache.spark.SparkContext$"), "MODULE$").getActive()
        if active.isDefined():
            wrapped = jvm.JavaSparkContext.fromSparkContext(active.get())
            conf = SparkConf(_jconf=wrapped.sc().conf())
            context = self._context_class(gateway=self._gateway, jsc=wrapped, conf=conf)
        else:
            context = self._context_class(gateway=self._gateway)
        session = SparkSession(context)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sql_context = SQLContext(context, session)
        self.context, self.session, self.sql_context = context, session, sql_context
        self._jvm_context = context._jsc.sc()
        self._names.update(sc=context, spark=session, sqlContext=sql_context)
        self._root()

    def _root(self) -> None:
        """As in Livy, relative paths start where `sc.addFile` puts files.

        In a cluster they start where the application's own files are.
        """
        from pyspark import SparkFiles

        if self.context.getConf().get("spark.submit.deployMode", "client") != "client":
            return
        os.chdir(SparkFiles.getRootDirectory())
