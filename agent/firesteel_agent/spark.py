"""The driver's JVM seen through py4j: the SparkContext, the session, gateways for interpreters, job groups.

Every method may block: call it on a `worker.Worker` only. Calls py4j, jvm_output, numbers and own_context.
"""

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Optional

from py4j.clientserver import ClientServer, JavaParameters, PythonParameters
from py4j.protocol import Py4JError, Py4JJavaError

from .jvm_output import JvmOutput
from .numbers import TRACE_KEY, description_of, group_of
from .own_context import ContextStopped, makes_its_own

SESSION_CLASSES = ("org.apache.spark.sql.classic.SparkSession", "org.apache.spark.sql.SparkSession")
"""Where the session's class is: Spark 4, and Spark 3."""

STOPPING_SECONDS = 10.0
"""How long a context that is being stopped may take, before a new one is made in its place."""

CLASSES_KEY = "spark.repl.class.outputDir"
"""Spark serves this directory to the executors, where the Scala REPL writes the classes of cells."""

MAX_CAUSES = 32
"""How far a chain of Java exceptions is followed."""


class Described(NamedTuple):
    """What `ready` tells of the SparkContext."""

    app_id: str
    spark_version: str
    ui_url: Optional[str]


class Gateway(NamedTuple):
    """An interpreter's own door to the JVM: shut down, it frees whatever the interpreter held there."""

    server: Any
    port: int
    secret: str


class RBackend(NamedTuple):
    """Where SparkR reaches the JVM."""

    server: Any
    port: int
    secret: str


R_COMMANDS = ("spark.r.shell.command", "spark.r.driver.command", "spark.r.command")
"""Conf keys that name R's program, the first that is set counts."""


class Spark:
    """The SparkContext and what hangs on it."""

    def __init__(self, port: str, secret: str, run_dir: str, output: JvmOutput):
        # Both kinds of server of the JVM (pinned threads or not) answer this client, and it gives
        # every Python thread a JVM thread of its own either way.
        self.gateway = ClientServer(
            java_parameters=JavaParameters(port=int(port), auth_token=secret, auto_convert=True),
            python_parameters=PythonParameters(port=0, eager_load=False),
        )
        self.jvm = self.gateway.jvm
        self.class_dir = str(Path(run_dir, "classes"))
        """Where the Scala REPL writes classes; it goes away with the run directory."""
        self.output = output
        """Where what the JVM prints is read."""
        self.loader: Any = None
        """The class loader of cells: it has the REPL's classes and the jars of the session."""
        self.added_jars: List[str] = []
        """Paths of the jars that were added to it since, which a REPL's compiler has to be told of."""
        self.string_class = self.jvm.java.lang.String
        self._system_out: Any = None
        self._system_err: Any = self.jvm.java.lang.System.err
        self._conf: Any = None
        self._context: Any = None
        self._session: Any = None
        self._companion: Any = None
        self._replacing = threading.Lock()
        self._cancels_future_jobs = False
        self.trace: Optional[str] = None
        """The `traceparent` of the statement that runs."""
        self._is_traced = False

    def named(self, name: str) -> Any:
        """The Java class of that name."""
        found = self.jvm
        for part in name.split("."):
            found = getattr(found, part)
        return found

    def static(self, name: str) -> Any:
        """The Scala object of that name, which ends with `$`."""
        return getattr(getattr(self.jvm, name), "MODULE$")

    def scala_list(self, items: Iterable[Any]) -> Any:
        """A scala.collection.immutable.List."""
        found = self.jvm.java.util.ArrayList()
        for item in items:
            found.add(item)
        return self.static("org.apache.spark.api.python.PythonUtils$").toSeq(found).toList()

    def start(self) -> Described:
        """Make the SparkContext and the SparkSession."""
        self._make_loader()
        self.adopt_thread()
        self._conf = self.named("org.apache.spark.SparkConf")()
        for key, value in (("spark.app.name", "firesteel"), ("spark.master", "local[*]")):
            self._conf.setIfMissing(key, value)
        self._conf.setIfMissing("spark.serializer.objectStreamReset", "100")
        self._conf.setIfMissing("spark.rdd.compress", "True")
        context = self._make_context()
        self._cancels_future_jobs = int(context.version().partition(".")[0]) >= 4
        described = self.describe()
        assert described is not None
        return described

    def describe(self) -> Optional[Described]:
        """What there is to tell of the SparkContext that lives now."""
        context = self.context()
        if context is None:
            return None
        url = context.uiWebUrl()
        return Described(
            app_id=context.applicationId(),
            spark_version=context.version(),
            ui_url=url.get() if url.isDefined() else None,
        )

    def _make_context(self) -> Any:
        context = self.named("org.apache.spark.api.java.JavaSparkContext")(self._conf)
        self.session()
        return context

    def context(self) -> Any:
        """The SparkContext that lives now, or None: user code may have stopped it, or made another."""
        context = self._context
        if context is not None and not context.isStopped():
            return context
        if self._companion is None:
            self._companion = self.named("org.apache.spark.SparkContext$.MODULE$")
        active = self._companion.getActive()
        found = active.get() if active.isDefined() else None
        self._context = found if found is not None and not found.isStopped() else None
        return self._context

    def context_or_new(self, code: str = "") -> bool:
        """See that there is a SparkContext; True when a new one was made, since user code stopped the last.

        None is made for code that makes its own. Raises `ContextStopped` in cluster mode, where the cluster
        ends the application with its context.
        """
        with self._replacing:
            if self.context() is not None or makes_its_own(code):
                return False
            if self.runs_in_cluster():
                raise ContextStopped
            deadline = time.monotonic() + STOPPING_SECONDS
            while self._companion.getActive().isDefined() and time.monotonic() < deadline:
                time.sleep(0.02)
            self.adopt_thread()
            self._make_context()
            return True

    def session(self) -> Any:
        """The session that Python and SQL statements share; made anew when its context was stopped."""
        context, (owner, session) = self.context(), self._session or (None, None)
        if session is not None and owner is context:
            return session
        for name in SESSION_CLASSES:
            session_class = self.named(name)
            try:
                session = session_class.builder().getOrCreate()
            except TypeError:  # py4j's answer for a package: there is no such class.
                continue
            self._session = (self.context(), session)
            return session
        raise RuntimeError("This Spark has no SparkSession.")

    def _make_loader(self) -> None:
        """One class loader for the REPL's classes, which Spark's own threads inherit from their maker.

        So a class of a cell is the same in the REPL, in what an executor sends back, and, on a local
        master, in the executor itself.
        """
        Path(self.class_dir).mkdir(0o700, exist_ok=True)
        self.jvm.java.lang.System.setProperty(CLASSES_KEY, self.class_dir)
        urls = self.gateway.new_array(self.jvm.java.net.URL, 1)
        urls[0] = self.url_of(self.class_dir)
        parent = self.jvm.java.lang.Thread.currentThread().getContextClassLoader()
        self.loader = self.named("org.apache.spark.util.MutableURLClassLoader")(urls, parent)

    def add_to_loader(self, jar: str) -> None:
        """Let every interpreter find the classes of a jar."""
        self.loader.addURL(self.url_of(jar))
        self.added_jars.append(jar)

    def url_of(self, path: str) -> Any:
        """The java.net.URL of a file."""
        return self.jvm.java.io.File(path).toURI().toURL()

    def adopt_thread(self) -> Any:
        """Give this thread's JVM thread the class loader and the output of cells; answers the JVM thread.

        What user code did to System.out and System.err is undone.
        """
        jvm = self.jvm
        thread = jvm.java.lang.Thread.currentThread()
        jvm.java.lang.Thread.interrupted()  # A cell may have interrupted its own thread.
        thread.setContextClassLoader(self.loader)
        stream = self._system_out
        if stream is not None:
            stream.print("")  # A closed stream finds its trouble only when it is used.
        if stream is None or stream.checkError():
            pipe = jvm.java.io.FileOutputStream(self.output.out_path)
            stream = jvm.java.io.PrintStream(pipe, True, "UTF-8")
            self._system_out = stream
        jvm.java.lang.System.setOut(stream)
        self.restore_error_stream()
        # scala.Console has the stream of when it was loaded, or what its user's thread was given since.
        self.static("scala.Console$").setOutDirect(stream)
        return thread

    def restore_error_stream(self) -> None:
        """Put System.err back, which user code may have set to null: the compilers write to it."""
        self.jvm.java.lang.System.setErr(self._system_err)

    def open_gateway(self) -> Gateway:
        """Start a gateway of an interpreter's own."""
        server = self.named("org.apache.spark.api.python.Py4JServer")(self._conf)
        server.start()
        return Gateway(server, server.getListeningPort(), server.secret())

    def close_gateway(self, gateway: Gateway) -> None:
        """Shut an interpreter's gateway down."""
        gateway.server.shutdown()

    def put_conf(self, conf: Dict[str, str]) -> None:
        """Have the context, one that is made in its place, and a new `SparkConf` in user code say this."""
        system, live = self.jvm.java.lang.System, self.context().conf()
        for key, value in conf.items():
            live.set(key, value)
            self._conf.set(key, value)
            system.setProperty(key, value)

    def has_hive(self) -> bool:
        """Whether the catalog is a Hive metastore, which opens with the first query."""
        return self._conf.get("spark.sql.catalogImplementation", "in-memory") == "hive"

    def files_root(self) -> str:
        """Where Spark puts the session's files, and unpacks its archives, on this host."""
        if self.runs_in_cluster():
            return str(Path.cwd())  # The cluster manager has put them there.
        return self.named("org.apache.spark.SparkFiles").getRootDirectory()

    def runs_in_cluster(self) -> bool:
        """Whether a cluster manager has started this driver, and ends it with its SparkContext."""
        return self._conf.get("spark.submit.deployMode", "client") != "client"

    def is_local(self) -> bool:
        """Whether the executors are in this JVM."""
        context = self.context()
        return context is not None and context.isLocal()

    def r_command(self) -> Optional[str]:
        """The program that the conf or the environment names for R, as Spark's own R shell takes it."""
        named = [os.environ.get("SPARKR_DRIVER_R"), *(self._conf.get(key, None) for key in R_COMMANDS)]
        return next(filter(None, named), None)

    def open_r_backend(self) -> RBackend:
        """Start what SparkR speaks to."""
        server = self.named("org.apache.spark.api.r.RBackend")()
        opened = server.init()
        return RBackend(server, opened._1(), opened._2().secret())

    def set_group(self, statement: int) -> None:
        """Put what this thread starts from now on into the statement's job group."""
        context = self.context()
        if context is not None:
            trace = self.trace
            context.setJobGroup(group_of(statement), description_of(statement, trace), True)
            self._is_traced = self._is_traced or trace is not None
            if self._is_traced:  # A thread may still have the last one's.
                context.setLocalProperty(TRACE_KEY, trace)

    def cancel_group(self, statement: int) -> None:
        """Cancel the statement's Spark jobs."""
        self.cancel_jobs(group_of(statement))

    def cancel_jobs(self, group: str) -> None:
        """Cancel the Spark jobs of a group."""
        context = self.context()
        if context is None:
            return
        if self._cancels_future_jobs:
            # One that the JVM is about to submit, too.
            context.cancelJobGroupAndFutureJobs(group)
        else:
            context.cancelJobGroup(group)

    def enter_group(self, group: str, session: Any) -> None:
        """Put what this thread and threads that it starts do into a job group, under the session's conf."""
        context = session.sparkContext()
        conf = self.named("scala.collection.JavaConverters").mapAsJavaMap(
            session.sessionState().conf().getAllConfs()
        )
        # As Spark does for an action of a data frame: tasks read their SQL conf there.
        context.getLocalProperties().putAll(conf)
        context.setJobGroup(group, "a result on its way", True)

    def arrow_schema(self, session: Any, frame: Any) -> bytes:
        """The message with which an Arrow stream of the frame's rows begins."""
        conf = session.sessionState().conf()
        target = self.jvm.java.io.ByteArrayOutputStream()
        # What has no Arrow type, or two fields of one name in a struct, is an error here.
        given = [frame.schema(), target, conf.sessionLocalTimeZone(), True]
        if self._cancels_future_jobs:
            given.append(conf.arrowUseLargeVarTypes())
        self.named("org.apache.spark.sql.execution.arrow.ArrowBatchStreamWriter")(*given)
        return target.toByteArray()

    def release_thread(self) -> None:
        """Close this Python thread's connection, and with it its JVM thread."""
        client = self.gateway._gateway_client
        connection = client.get_thread_connection()
        if connection is not None:
            with contextlib.suppress(ValueError):
                client.deque.remove(connection)
            connection.close(False)

    def progress(self, statement: int) -> Dict[str, int]:
        """How many tasks of the statement's jobs are done, and how many there are."""
        context = self.context()
        done = total = 0
        if context is not None:
            tracker = context.statusTracker()
            for job in tracker.getJobIdsForGroup(group_of(statement)):
                info = tracker.getJobInfo(job)
                for stage in info.get().stageIds() if info.isDefined() else ():
                    seen = tracker.getStageInfo(stage)
                    if seen.isDefined():
                        done += seen.get().numCompletedTasks()
                        total += seen.get().numTasks()
        return {"done": done, "total": total}

    def sentence_of(self, error: Optional[BaseException]) -> str:
        """One line that says what failed."""
        text = error.java_exception.toString() if isinstance(error, Py4JJavaError) else str(error)
        return _sentence(text or type(error).__name__)

    def reason_of(self, error: BaseException) -> str:
        """One sentence that says why the JVM refused: the message of the innermost Java exception."""
        if not isinstance(error, Py4JJavaError):
            return _sentence(f"{type(error).__name__}: {error}")
        cause = error.java_exception
        try:
            for _ in range(MAX_CAUSES):
                inner = cause.getCause()
                if inner is None:
                    break
                cause = inner
            name, message = cause.getClass().getSimpleName(), cause.getMessage()
            master = self._conf.get("spark.master")
        except Py4JError:
            return "The driver's JVM ended."
        if name in ("ClassNotFoundException", "NoClassDefFoundError"):
            message = f"The class {message} is not found"
        elif name in ("UnknownHostException", "UnresolvedAddressException"):
            message = f"The host {message or ''} is unknown"
        elif message and "stopped SparkContext" in message:
            # The cluster's side gave up while the context was being made.
            message = f"The master {master} can't be reached, or it refused the application"
        return _sentence(message or name)

    def stop(self) -> None:
        """Stop the SparkContext, if one lives."""
        context, self._context, self._session = self.context(), None, None
        if context is not None:
            context.stop()


def _sentence(text: str) -> str:
    """The first line with something in it, as a sentence of at most 500 characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "no reason was given")
    line = line if len(line) <= 500 else line[:497] + "..."
    return line if line[-1] in ".!?" else line + "."
