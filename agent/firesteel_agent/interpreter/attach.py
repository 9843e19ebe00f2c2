"""Wraps the SparkContext that the agent made: `spark`, `sc`, `sqlContext`. Calls PySpark."""

import os
import sys
import warnings
from typing import Any, Dict, Optional


def import_pyspark() -> None:
    """The slow part, done while the SparkContext is made."""
    import pyspark.java_gateway
    import pyspark.sql  # noqa: F401


class SparkHandle:
    """The interpreter's own view of the SparkContext; user code may have stopped or replaced it."""

    def __init__(self, names: Dict[str, Any]):
        self._names = names
        self._gateway: Any = None

    def attach(self, port: int, secret: str) -> None:
        """Open the gateway and predefine the names. The secret is in the environment only meanwhile."""
        from pyspark.java_gateway import launch_gateway

        os.environ.update(PYSPARK_GATEWAY_PORT=str(port), PYSPARK_GATEWAY_SECRET=secret)
        try:
            self._gateway = launch_gateway()
        finally:
            del os.environ["PYSPARK_GATEWAY_PORT"], os.environ["PYSPARK_GATEWAY_SECRET"]
        self._bind()

    def _bind(self) -> None:
        from pyspark import SparkConf, SparkContext
        from pyspark.sql import SparkSession, SQLContext

        jvm = self._gateway.jvm
        module = getattr(getattr(jvm, "org.apache.spark.SparkContext$"), "MODULE$")
        java_context = jvm.JavaSparkContext.fromSparkContext(module.getActive().get())
        context = SparkContext(
            gateway=self._gateway, jsc=java_context, conf=SparkConf(_jconf=java_context.sc().conf())
        )
        session = SparkSession(context)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sql_context = SQLContext(context, session)
        self._names.update(sc=context, spark=session, sqlContext=sql_context)
        self._root()

    def _root(self) -> None:
        """As in Livy, relative paths start where `sc.addFile` puts files."""
        from pyspark import SparkFiles

        os.chdir(SparkFiles.getRootDirectory())

    def set_group(self, statement: int) -> None:
        """Put the main thread's jobs into the statement's group; quietly, for a context that was stopped."""
        module = sys.modules.get("pyspark")
        context: Optional[Any] = module and module.SparkContext._active_spark_context
        try:
            context._jsc.setJobGroup(f"firesteel-statement-{statement}", f"statement {statement}", True)
        except Exception:  # Plain Python runs without Spark.
            return
