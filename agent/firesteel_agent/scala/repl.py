"""One Scala REPL in the driver's JVM: Spark's own SparkILoop, seen through py4j.

Every method may block: call it on a `worker.Worker` only. Calls spark. Scala 2.12 (Spark 3) and 2.13 differ
in how the REPL is made; everything else is called by names that both have.

The REPL's classes are written to `spark.class_dir` and loaded by `spark.loader`, which every REPL of the
driver shares, so that a class of a cell is one class everywhere. A second REPL therefore counts its lines on
from where the first one stopped: no class name comes twice.
"""

import contextlib
import functools
import re
import threading
import time
from typing import Any, Callable, Iterator, List

from py4j.protocol import Py4JError, Py4JJavaError

from ..spark import Spark
from .magics import SOURCE

PREDEFINED = """\
@transient val spark = org.apache.spark.sql.SparkSession.getDefaultSession.get
@transient val sc = spark.sparkContext
import org.apache.spark.SparkContext._
import spark.implicits._
import spark.sql
import org.apache.spark.sql.functions._
"""
"""What spark-shell predefines, in one piece: each piece costs two runs of the compiler."""

IN_USER_CODE = "$line"
"""In the stack of a thread that runs a cell's code: the packages of the REPL's classes begin with this."""

SPARE_LINES = 100
"""Classes that an abandoned REPL may still make; its successor's begin after them."""

SEVERITIES = tuple(f"scala.reflect.internal.Reporter${name}$" for name in ("INFO", "WARNING", "ERROR"))
"""Classes that a compiler needs to say that it ran out of stack: it could not even load them then, and never
again after that."""

MAX_CANDIDATES = 1000

LOOK_SECONDS = 0.05
"""How often a completion looks whether the compiler has come to a cell's code, which does not need it."""

_CANDIDATE = re.compile(r"CompletionCandidate\((.*?),\w+,\w+,(true|false),")
"""Scala 2.13's candidate: its name, and whether every value has such a member."""


def _told(method: Callable) -> Callable:
    """What the JVM raises becomes a RuntimeError with its text, which the loop can read without a call."""

    @functools.wraps(method)
    def called(self, *arguments):
        try:
            return method(self, *arguments)
        except Py4JJavaError as failure:
            raise RuntimeError(self._spark.sentence_of(failure)) from None

    return called


class ScalaRepl:
    """A compiler with the names that cells have defined."""

    def __init__(self, spark: Spark):
        self._spark = spark
        self.intp: Any = None
        self.thread: Any = None
        """The JVM thread that interprets."""
        self._context: Any = None
        self._completer: Any = None
        self._has_magics = False
        self._known_jars = 0
        """How many of the jars that were added later the compiler knows."""
        self._turns = threading.Condition()
        self._interpreting = False
        self._completing = False

    @_told
    def start(self, after: int) -> str:
        """Make the REPL with spark-shell's names, its classes numbered above `after`; Scala's version."""
        spark, jvm = self._spark, self._spark.jvm
        self.thread = spark.adopt_thread()
        version = spark.static("scala.util.Properties$").versionNumberString()
        settings = spark.named("scala.tools.nsc.Settings")()
        settings.embeddedDefaults(spark.loader)
        arguments = ["-usejavacp", "-Yrepl-class-based", "-Yrepl-outdir", spark.class_dir]
        known = len(spark.added_jars)
        arguments += ["-classpath", ":".join(self._jars())]
        settings.processArguments(spark.scala_list(arguments), True)
        file = jvm.java.io.FileOutputStream(spark.output.echo_path)
        writer = jvm.java.io.PrintWriter(jvm.java.io.OutputStreamWriter(file, "UTF-8"), True)
        nothing = jvm.java.io.BufferedReader(jvm.java.io.StringReader(""))
        loop = spark.named("org.apache.spark.repl.SparkILoop")(nothing, writer)
        if version.startswith("2.12."):
            getattr(loop, "settings_$eq")(settings)
            loop.createInterpreter()
            self.intp = loop.intp()
            self.intp.initializeSynchronous()
        else:
            loop.createInterpreter(settings)
            self.intp = loop.intp()
            self.intp.initializeCompiler()
        for name in SEVERITIES:
            with contextlib.suppress(Py4JError):  # Another Scala may not have it.
                jvm.java.lang.Class.forName(name)
        while self._fresh_line() < after:
            pass
        self._known_jars = known
        self._predefine()
        return version

    def _jars(self) -> List[str]:
        """The session's jars, which spark-submit gave to a class loader of its own."""
        jars: List[str] = []
        loader = self._spark.loader
        while loader is not None:
            if loader.getClass().getSimpleName() in ("MutableURLClassLoader", "ChildFirstURLClassLoader"):
                urls = [url for url in loader.getURLs() if url.getProtocol() == "file"]
                jars += [self._spark.jvm.java.io.File(url.toURI()).getPath() for url in urls]
            loader = loader.getParent()
        return jars

    def _fresh_line(self) -> int:
        number = self.intp.naming().freshLineId()
        return number if isinstance(number, int) else number.apply()

    def used_lines(self) -> int:
        """A number above those of all classes that this REPL has made, or may still make."""
        return self._fresh_line() + SPARE_LINES

    def _predefine(self) -> None:
        self._spark.session()
        self._context = self._spark.context()
        result = self.intp.quietRun(PREDEFINED).toString()
        if result != "Success":
            raise RuntimeError(f"the names of spark-shell can't be defined ({result})")

    @_told
    def prepare(self, number: int, code: str) -> bool:
        """Before a statement: output, job group, context. True when a stopped one was replaced."""
        spark = self._spark
        self.thread = spark.adopt_thread()
        self._learn_jars()
        revived = False
        if self._context is None or self._context.isStopped():
            revived = spark.context_or_new(code)
            if spark.context() is not None:
                with self._compiling():
                    self._predefine()
        spark.set_group(number)
        return revived

    def _learn_jars(self) -> None:
        """Tell the compiler of the jars that were added since."""
        new = self._spark.added_jars[self._known_jars :]
        if new:
            with self._compiling():
                self.intp.addUrlsToClassPath(self._spark.scala_list(map(self._spark.url_of, new)))
            self._known_jars += len(new)

    @_told
    def interpret(self, code: str) -> str:
        """Run a piece: `Success`, `Error` or `Incomplete`; what the REPL has to say goes to the echo."""
        # An interrupted compiler fails: a piece before may have interrupted its own thread.
        self._spark.jvm.java.lang.Thread.interrupted()
        with self._compiling():
            return self.intp.interpret(code).toString()

    @contextlib.contextmanager
    def _compiling(self) -> Iterator[None]:
        """Have the compiler, which a completion reads: what was compiled meanwhile would fail."""
        with self._turns:
            while self._completing:
                self._turns.wait()
            self._interpreting = True
        try:
            yield
        finally:
            with self._turns:
                self._interpreting = False
                self._turns.notify_all()

    @_told
    def magic(self, name: str, variable: str, limit: int) -> str:
        """What `magics.SOURCE` answers of a variable; an empty text where it can't be had."""
        with self._compiling():
            if not self._has_magics:
                if not self.intp.compileString(SOURCE):
                    raise RuntimeError("the code of the magics does not compile")
                self._has_magics = True
            code = f"_root_.firesteel.Magics.{name}({variable}, {limit})"
            if self.intp.interpretSynthetic(code).toString() != "Success":
                return ""
        return self.intp.lastRequest().lineRep().call("$result", self._spark.scala_list([]))

    def interrupt(self) -> bool:
        """Interrupt the thread that interprets if it runs a cell's code, and not the compiler."""
        if not self.in_user_code():
            return False
        self.thread.interrupt()
        return True

    def in_user_code(self) -> bool:
        """Whether the thread that interprets runs a cell's code."""
        thread, jvm = self.thread, self._spark.jvm
        shown, text = jvm.java.lang.Throwable(), jvm.java.io.StringWriter()
        shown.setStackTrace(thread.getStackTrace())  # The one way to have it as text in a few calls.
        shown.printStackTrace(jvm.java.io.PrintWriter(text))
        return IN_USER_CODE in text.toString()

    def complete(self, code: str, cursor: int, seconds: float) -> List[str]:
        """The names that may stand at the cursor; none where the compiler is busy for so long."""
        deadline = time.monotonic() + seconds
        with self._turns:
            while self._interpreting and not self.in_user_code():
                if time.monotonic() > deadline:
                    return []
                self._turns.wait(LOOK_SECONDS)
            self._completing = True
        try:
            return self._complete(code, cursor)
        finally:
            with self._turns:
                self._completing = False
                self._turns.notify_all()

    def _complete(self, code: str, cursor: int) -> List[str]:
        spark = self._spark
        if self._completer is None:
            try:
                accumulator = spark.named("scala.tools.nsc.interpreter.shell.Accumulator")()
                make = spark.named("scala.tools.nsc.interpreter.shell.ReplCompletion")
                self._completer = make(self.intp, accumulator)
            except (TypeError, Py4JError):  # Scala 2.12.
                make = spark.named("scala.tools.nsc.interpreter.PresentationCompilerCompleter")
                self._completer = make(self.intp)
        spark.restore_error_stream()
        found = self._completer.complete(code, cursor).candidates().take(MAX_CANDIDATES).mkString("\n")
        lines = found.split("\n") if found else []
        told = [_CANDIDATE.match(line) for line in lines]
        own = [match.group(1) for match in told if match and match.group(2) == "false"]
        return own or [match.group(1) if match else line for match, line in zip(told, lines)]
