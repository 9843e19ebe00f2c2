"""Jars, Python files and other files that come to a live session, on real Sparks."""

from __future__ import annotations

import io
import subprocess
import zipfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import requests
from conftest import SMALL
from harness.api import Session
from harness.processes import wait_until
from harness.server import Server, environment
from harness.spark import Spark

GREETER = """\
package greet

object Greeter { def greet(name: String): String = "hello " + name }

class Shout extends org.apache.spark.sql.api.java.UDF1[String, String] {
  def call(text: String): String = text.toUpperCase + "!"
}
"""


@pytest.fixture(scope="module")
def server(spark: Spark, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for this file's session; `open` is on the allow-list."""
    opened = tmp_path_factory.mktemp("open")
    settings = {"spark.master": "local[2]", "files.allow": [str(opened)], "shutdown.sessions": "keep"}
    server = Server({**spark.settings, **settings})
    server.opened = opened
    yield server
    for number in list(server.api.ids()):
        server.api.delete(f"/sessions/{number}")
    server.stop()


@pytest.fixture(scope="module")
def session(server: Server) -> Session:
    """One session for the whole file."""
    session = server.api.create(kind="shared", conf=SMALL)
    session.wait("idle")
    return session


@pytest.fixture(scope="module")
def jar(spark: Spark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library, compiled with the compiler that Spark has."""
    home = tmp_path_factory.mktemp("jar")
    (home / "Greeter.scala").write_text(GREETER)
    jar = home / "greeter.jar"
    classes = f"{spark.home}/jars/*"
    compiler = ["java", "-XX:TieredStopAtLevel=1", "-cp", classes, "scala.tools.nsc.Main", "-usejavacp"]
    subprocess.run([*compiler, "-d", str(jar), str(home / "Greeter.scala")], check=True, env=environment())
    return jar


def upload(session: Session, route: str, name: str, content: bytes, part: str = "file") -> requests.Response:
    """Send a file to a session."""
    return session.api.post(f"{session.path}/{route}", files={part: (name, content)})


def added(answer: requests.Response) -> None:
    """Livy's answer to what was added."""
    assert (answer.status_code, answer.content) == (200, b""), answer.text


def python(session: Session, code: str) -> str:
    """Run Python and give what it shows."""
    return session.ok(code, "pyspark")["text/plain"]


def test_a_jar(session: Session, jar: Path) -> None:
    """Its classes are there for Scala, also on executors, for Python and for SQL."""
    session.error('greet.Greeter.greet("nobody")', "spark")
    added(upload(session, "upload-jar", jar.name, jar.read_bytes(), "jar"))
    assert 'hello you"'.strip('"') in session.ok('greet.Greeter.greet("you")', "spark")["text/plain"]
    code = 'sc.parallelize(1 to 2, 2).map(n => greet.Greeter.greet(n.toString)).collect().mkString(",")'
    assert "hello 1,hello 2" in session.ok(code, "spark")["text/plain"]
    assert python(session, 'print(sc._jvm.greet.Greeter.greet("snake"))') == "hello snake"
    python(session, 'spark.udf.registerJavaFunction("shout", "greet.Shout")')
    table = session.ok("SELECT shout('so') AS said", "sql")["application/json"]
    assert table["data"] == [["SO!"]]
    again = upload(session, "upload-jar", jar.name, jar.read_bytes(), "jar")
    assert again.status_code == 400
    assert "A jar named greeter.jar was added before" in again.json()["msg"]


def test_python_files(session: Session) -> None:
    """A module and a package in a zip are importable in the next statement and on executors, in a new
    interpreter too."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("boxed/__init__.py", "def size(n): return n * 10\n")
    python(session, "before = 1")
    added(
        upload(session, "upload-pyfile", "fresh module.py".replace(" ", "_"), b"def twice(n): return 2 * n\n")
    )
    added(upload(session, "upload-pyfile", "boxed.zip", packed.getvalue()))
    code = "import fresh_module, boxed; print(fresh_module.twice(4), boxed.size(4))"
    assert python(session, code) == "8 40"
    code = """
def work(n):
    import boxed, fresh_module
    return fresh_module.twice(n) + boxed.size(n)
print(sc.parallelize([1, 2], 2).map(work).collect())
"""
    assert python(session, code) == "[12, 24]"
    assert session.run("import os; os._exit(3)", "pyspark")["output"]["status"] == "error"
    assert python(session, "import boxed; print(boxed.size(1))") == "10"
    assert python(session, code) == "[12, 24]"


def test_a_file(session: Session) -> None:
    """SparkFiles finds it, here and on executors."""
    added(upload(session, "upload-file", "words and.txt", "grün".encode()))
    code = """
from pyspark import SparkFiles
def read(_):
    return open(SparkFiles.get("words and.txt"), encoding="utf-8").read()
print(read(0), sc.parallelize([0]).map(read).collect())
"""
    assert python(session, code) == "grün ['grün']"
    other = upload(session, "upload-file", "words and.txt", b"other")
    assert other.status_code == 400
    assert "words and.txt" in other.json()["msg"]


def test_while_a_statement_runs(session: Session, tmp_path: Path) -> None:
    """A statement that runs is not waited for, and it finds the file."""
    code = f"""
import os, time
from pyspark import SparkFiles
open({str(tmp_path / "runs")!r}, "w").close()
while not os.path.exists(SparkFiles.get("signal")):
    time.sleep(0.02)
print("seen")
"""
    number = session.post(code, "pyspark")["id"]
    wait_until("it runs", (tmp_path / "runs").exists)
    added(upload(session, "upload-file", "signal", b""))
    assert session.wait_statement(number)["output"]["data"]["text/plain"] == "seen"


def test_adding(server: Server, session: Session) -> None:
    """What lies on the server, or was uploaded before, is added by its URI."""
    api = session.api
    opened: Path = server.opened
    (opened / "near.txt").write_text("near")
    added(api.post(f"{session.path}/add-file", {"uri": str(opened / "near.txt")}))
    made = api.post(
        "/uploads", files={"file": ("far module.py".replace(" ", "_"), b"where = 'far'\n")}
    ).json()
    added(api.post(f"{session.path}/add-pyfile", {"uri": made["uri"]}))
    assert api.delete(f"/uploads/{made['id']}").status_code == 200
    code = 'import far_module; print(far_module.where, open(SparkFiles.get("near.txt")).read())'
    assert python(session, "from pyspark import SparkFiles\n" + code) == "far near"
    for body, status, words in [
        ({"uri": "file:///etc/passwd"}, 400, "Local path /etc/passwd cannot be added to user sessions."),
        ({"uri": made["uri"]}, 400, "uri: there is no upload"),
        ({"uri": str(opened / "none.jar")}, 400, "does not exist"),
        ({"uri": "relative.jar"}, 400, "is not absolute"),
        ({"uri": ""}, 400, "uri"),
        ({}, 400, "uri"),
    ]:
        answer = api.post(f"{session.path}/add-jar", body)
        assert answer.status_code == status, answer.text
        assert words in answer.text
    (opened / "directory").mkdir()
    refused = api.post(f"{session.path}/add-file", {"uri": str(opened / "directory")})
    assert refused.status_code == 400, refused.text


def test_nothing_sent(session: Session) -> None:
    """Livy's sentences."""
    for route, part in (("upload-jar", "jar"), ("upload-pyfile", "file"), ("upload-file", "file")):
        for more in ({}, {"files": {"other": ("a.jar", b"x")}}, {"json": {}}):
            answer = session.api.post(f"{session.path}/{route}", **more)
            assert (answer.status_code, answer.json()) == (400, f"No {part} sent!")


def test_a_restart_and_the_end(server: Server, session: Session, jar: Path) -> None:
    """The driver keeps what it has, the next server adds more, and all of it goes with the session."""
    server.restart()
    session = Session(server.api, {"id": session.id})
    session.wait("idle")
    assert python(session, "import far_module; print(far_module.where)") == "far"
    assert "hello again" in session.ok('greet.Greeter.greet("again")', "spark")["text/plain"]
    added(upload(session, "upload-pyfile", "later.py", b"when = 'later'\n"))
    assert python(session, "import later; print(later.when)") == "later"
    assert list((server.state_dir / "uploads").iterdir())
    session.delete()
    wait_until("nothing is left", lambda: not list((server.state_dir / "uploads").iterdir()))
    gone: Any = upload(session, "upload-file", "late.txt", b"x")
    assert gone.status_code == 404


def test_executors_of_their_own(default_spark: Spark, serve: Callable[..., Server], jar: Path) -> None:
    """Where executors are other processes, they get the jar, the module and the file from the driver."""
    server = serve({**default_spark.settings, "spark.master": "local-cluster[1,1,1024]"})
    session = server.api.create(kind="shared", conf=SMALL)
    added(upload(session, "upload-jar", jar.name, jar.read_bytes(), "jar"))
    added(upload(session, "upload-pyfile", "there.py", b"def twice(n): return 2 * n\n"))
    added(upload(session, "upload-file", "data", b"far"))
    code = 'sc.parallelize(1 to 2, 2).map(n => greet.Greeter.greet(n.toString)).collect().mkString(",")'
    assert "hello 1,hello 2" in session.ok(code, "spark")["text/plain"]
    code = """
def work(n):
    import there
    from pyspark import SparkFiles
    return there.twice(n), open(SparkFiles.get("data")).read()
print(sc.parallelize([4], 1).map(work).collect())
"""
    assert python(session, code) == "[(8, 'far')]"
    session.delete()


def test_a_session_that_starts_is_waited_for(server: Server) -> None:
    """As in Livy, whose Java client sends its jars at once."""
    session = server.api.create(kind="pyspark", conf=SMALL)
    added(upload(session, "upload-pyfile", "early.py", b"who = 'bird'\n"))
    assert session.text("import early; print(early.who)") == "bird"
    session.delete()
