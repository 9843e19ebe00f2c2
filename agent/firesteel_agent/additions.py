"""Jars, Python files and other files that are added to the live SparkContext, for all interpreters.

Runs on the loop; what calls the JVM is on a worker for each, so that neither a statement nor a slow file
system stands in the way. Calls spark and its workers.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Set
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from .frames import Header
from .loop import Loop
from .worker import Worker

if TYPE_CHECKING:
    from .spark import Spark

MOST = 8
"""How many may be under way."""

Answer = Callable[[Header, Optional[str]], None]


class Additions:
    """Adds one file after another, or several at once; `answer` gets the header and what went wrong."""

    def __init__(self, loop: Loop, run_dir: str, answer: Answer, include: Callable[[str], None]):
        self._loop = loop
        self._copies = Path(run_dir, "jars")
        self._answer = answer
        self._include = include
        self._under_way = 0
        self._jars: Set[str] = set()
        """The URIs of the jars that were added."""
        self.py_files: List[str] = []
        """Their names below Spark's own directory of files."""

    def add(self, header: Header, body: bytes, spark: "Optional[Spark]") -> None:
        """Add `header["uri"]` as a `jar`, `pyfile` or `file`; one of the server's host comes with its bytes.

        Without a SparkContext there is no `spark`.
        """
        if spark is None or self._under_way >= MOST:
            why = (
                "There is no SparkContext yet." if spark is None else f"{MOST} files are being added already."
            )
            self._answer(header, f"{why} Try again.")
            return
        what, uri = header["what"], header["uri"]

        def done(name: Optional[str], failure: Optional[Exception]) -> None:
            self._under_way -= 1
            if name is not None and what == "pyfile" and name not in self.py_files:
                self.py_files.append(name)
                self._include(name)
            self._answer(header, str(failure) if failure is not None else None)

        self._under_way += 1
        worker = Worker(self._loop, "add")
        worker.submit(lambda: self._added(spark, what, uri, body if header.get("is_sent") else None), done)
        worker.submit(spark.release_thread)
        worker.close()

    def _added(self, spark: "Spark", what: str, uri: str, content: Optional[bytes]) -> str:
        """The file's name, once Spark has it. What goes wrong has a sentence."""
        name = unquote(uri.partition("#")[0].rstrip("/").rpartition("/")[2])
        try:
            if content is not None:
                uri = self._write(name, content)
            context = spark.context()
            if context is None:
                raise RuntimeError("The SparkContext is stopped.")
            if what == "jar":
                self._add_jar(spark, context, uri, name)
            else:
                context.addFile(uri)
        except RuntimeError:
            raise
        except Exception as failure:
            raise RuntimeError(f"Spark can't add {name}: {spark.reason_of(failure)}") from None
        return name

    def _add_jar(self, spark: "Spark", context: Any, uri: str, name: str) -> None:
        """Into the SparkContext, for executors, and into the class loader of cells."""
        if uri in self._jars:
            return
        # Spark says of neither of these more than a line in its log.
        if name in _jars_of(context):
            raise RuntimeError(f"A jar named {name} was added before.")
        local = self._local(spark, context, uri, name)
        context.addJar(uri)
        if name not in _jars_of(context):
            raise RuntimeError(f"Spark did not take the jar {name}.")
        spark.add_to_loader(str(local))
        self._jars.add(uri)

    def _write(self, name: str, content: bytes) -> str:
        """Put what the server has sent into a file; its URI."""
        directory = self._copies / uuid4().hex
        directory.mkdir(0o700, parents=True)
        path = directory / name
        path.write_bytes(content)
        return path.as_uri()

    def _local(self, spark: "Spark", context: Any, uri: str, name: str) -> Path:
        """The jar on this host: a copy of one that is elsewhere."""
        parts = urlsplit(uri)
        if parts.scheme in ("", "file", "local"):
            local = Path(unquote(parts.path))
        else:
            directory = self._copies / uuid4().hex
            directory.mkdir(0o700, parents=True)
            local = directory / name
            path = spark.named("org.apache.hadoop.fs.Path")
            source = path(uri)
            system = source.getFileSystem(context.hadoopConfiguration())
            system.copyToLocalFile(False, source, path(str(local)), True)
        if not local.is_file():
            raise RuntimeError(f"The jar {name} is no file.")
        return local


def _jars_of(context: Any) -> List[str]:
    """The names of the jars that a SparkContext has."""
    jars = context.listJars().mkString("\n")
    return [unquote(jar.rpartition("/")[2]) for jar in jars.splitlines()]
