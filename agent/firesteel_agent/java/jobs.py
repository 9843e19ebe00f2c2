"""What Livy's jars offer to run a job in Kryo's form: its reader and writer, and its job context.

Every method may block: call it on a `worker.Worker` only. Calls spark.
"""

import base64
from typing import Any, List, Optional

from py4j.protocol import Py4JJavaError

from ..spark import SESSION_CLASSES, Spark

LIBRARIES = {
    "livy-api": "org.apache.livy.Job",
    "livy-rsc": "org.apache.livy.rsc.driver.BypassJob",
}
"""Libraries of the group org.apache.livy, each with a class that it has."""

VERSION = "0.7.1-incubating"
"""The version whose classes these calls were made for."""


class NoLivy(Exception):
    """The session's class path lacks Livy's classes."""

    def __init__(self, missing: List[str]):
        super().__init__(
            "Java and Scala jobs run through Livy's own classes, and the session's class path lacks "
            f"{' and '.join(missing)} (org.apache.livy, {VERSION}, of Maven Central): name their jars in the "
            "session's jars."
        )


class JavaJobs:
    """Runs the session's jobs with one job context."""

    def __init__(self, spark: Spark):
        self._spark = spark
        self._entries: Any = None
        self._context: Any = None
        self._session: Any = None

    def check(self) -> None:
        """Raises `NoLivy` where the session's class path lacks a library."""
        missing = [library for library, name in LIBRARIES.items() if not self._has(name)]
        if missing:
            raise NoLivy(missing)

    def run(self, encoded: bytes) -> Optional[bytes]:
        """Call a job that came in base64; its result in Kryo's form, or None for null."""
        self.check()
        spark = self._spark
        spark.adopt_thread()
        # A new one sees jars that were added since, and has this thread's class loader.
        serializer = spark.named("org.apache.livy.client.common.Serializer")(self._array("java.lang.Class"))
        job = self._new("BypassJob", serializer, bytearray(base64.b64decode(encoded)))
        # From the first call to the last all is Java's: py4j would change the types of numbers.
        return job.call(self._job_context())

    def _has(self, name: str) -> bool:
        try:
            self._spark.loader.loadClass(name)
        except Py4JJavaError:
            return False
        return True

    def _job_context(self) -> Any:
        spark = self._spark
        if self._context is None:
            conf = spark.context().conf()
            rsc_conf = spark.named("org.apache.livy.rsc.RSCConf")(spark.jvm.java.util.Properties())
            # It is asked for its conf and starts nothing.
            driver = spark.named("org.apache.livy.rsc.driver.RSCDriver")(conf, rsc_conf)
            self._entries = spark.named("org.apache.livy.rsc.driver.SparkEntries")(conf)
            attributes = self._array("java.nio.file.attribute.FileAttribute")
            directory = spark.jvm.java.nio.file.Files.createTempDirectory("jobs-", attributes).toFile()
            self._context = self._new("JobContextImpl", self._entries, directory, driver)
        session = spark.session()
        if session is not self._session:
            self._session = session
            java_context = spark.named("org.apache.spark.api.java.JavaSparkContext")(spark.context())
            self._set("sc", "org.apache.spark.api.java.JavaSparkContext", java_context)
            self._set("sparksession", SESSION_CLASSES[-1], session)
            self._set("sqlctx", "org.apache.spark.sql.SQLContext", session.sqlContext())
        return self._context

    def _set(self, field: str, type_name: str, value: Any) -> None:
        """Give Livy's holder of contexts ours: its own makers call what Spark 4 has no more.

        Reflection would look at all of its fields, and one is of a class that Spark 3 has no more.
        """
        handles, loader = self._spark.jvm.java.lang.invoke.MethodHandles, self._spark.loader
        holder = self._entries.getClass()
        lookup = handles.privateLookupIn(holder, handles.lookup())
        setter = lookup.findSetter(holder, field, loader.loadClass(type_name))
        arguments = self._spark.jvm.java.util.ArrayList()
        arguments.add(self._entries)
        arguments.add(value)
        setter.invokeWithArguments(arguments)

    def _new(self, name: str, *arguments: Any) -> Any:
        """An object of one of the driver's classes that are not public, which have one constructor each."""
        found = self._spark.loader.loadClass(f"org.apache.livy.rsc.driver.{name}")
        constructor = found.getDeclaredConstructors()[0]
        constructor.setAccessible(True)
        return constructor.newInstance(self._array("java.lang.Object", *arguments))

    def _array(self, type_name: str, *items: Any) -> Any:
        array = self._spark.gateway.new_array(self._spark.named(type_name), len(items))
        for index, item in enumerate(items):
            array[index] = item
        return array
