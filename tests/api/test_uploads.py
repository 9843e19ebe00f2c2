"""Files that are sent ahead, used by batches and sessions, and removed when nobody refers to them."""

from __future__ import annotations

import hashlib
import threading
import uuid
import zipfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import requests
from conftest import SMALL
from harness.api import Api, Session
from harness.processes import wait_until
from harness.server import Server, command
from harness.spark import Spark
from harness.wire import Wire

BATCH = """\
import sys
import helper
from pyspark import SparkFiles
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
print("helped", helper.double(21), sys.argv[1:])
print("data", open(SparkFiles.get("data.txt")).read())
spark.stop()
"""


def send(api: Api, name: str = "a.txt", content: bytes = b"abc") -> requests.Response:
    """POST /uploads."""
    return api.post("/uploads", files={"file": (name, content)})


def sent(api: Api, name: str = "a.txt", content: bytes = b"abc") -> dict[str, Any]:
    """An upload that is taken."""
    answer = send(api, name, content)
    assert answer.status_code == 201, answer.text
    return answer.json()


def entries(server: Server) -> list[str]:
    """What lies in the directory of uploads."""
    return sorted(path.name for path in (server.state_dir / "uploads").iterdir())


def is_there(api: Api, upload: dict[str, Any]) -> bool:
    """Whether it is still found."""
    return api.get(f"/uploads/{upload['id']}").status_code == 200


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two users, with the same password."""
    file = tmp_path_factory.mktemp("uploads") / "users"
    for name in ("ada", "bob"):
        ended = command("passwd", str(file), name, stdin="secret\n")
        assert ended.returncode == 0, ended.stderr
    return file


@pytest.fixture(scope="module")
def real(default_spark: Spark) -> Iterator[Server]:
    """A server with a real Spark. No local file is allowed."""
    server = Server({**default_spark.settings, "spark.master": "local[1]"})
    yield server
    server.stop()


def test_what_is_answered(stub_server: Server, stub_api: Api) -> None:
    """Its id, URI, name, size and digest; and it is found again."""
    content = bytes(range(256)) * 5000
    answer = send(stub_api, "my job ü.py", content)
    assert answer.status_code == 201, answer.text
    upload = answer.json()
    assert list(upload) == ["id", "uri", "name", "size", "sha256"]
    assert answer.headers["Location"] == f"/uploads/{upload['id']}"
    assert upload["uri"] == f"upload://{upload['id']}/my%20job%20%C3%BC.py"
    assert (upload["name"], upload["size"]) == ("my job ü.py", len(content))
    assert upload["sha256"] == hashlib.sha256(content).hexdigest()
    assert str(uuid.UUID(upload["id"])) == upload["id"]
    assert stub_api.get(f"/uploads/{upload['id']}").json() == upload
    listed = stub_api.get("/uploads").json()
    assert list(listed) == ["from", "total", "uploads"]
    assert upload in listed["uploads"]
    path = stub_server.state_dir / "uploads" / upload["id"] / upload["name"]
    assert path.read_bytes() == content
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    deleted = stub_api.delete(f"/uploads/{upload['id']}")
    assert (deleted.status_code, deleted.json()) == (200, {"msg": "deleted"})
    for gone in (stub_api.get(f"/uploads/{upload['id']}"), stub_api.delete(f"/uploads/{upload['id']}")):
        assert (gone.status_code, gone.json()) == (404, {"msg": f"Upload '{upload['id']}' not found."})
    assert not path.parent.exists()


BAD_NAMES = [
    "",
    ".",
    "..",
    "../a",
    "/etc/a",
    "a/b",
    "a\\\\b",
    "a\tb",
    "a,b",
    "a#b",
    "a%2fb",
    "a*",
    " a",
    "x" * 256,
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_refused(stub_server: Server, stub_api: Api, name: str) -> None:
    """With a sentence, and nothing is left; the connection is good for the next request."""
    before = entries(stub_server)
    body = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\nabc\r\n--x--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = stub_api.post("/uploads", data=body.encode(), headers=kind)
    assert answer.status_code == 400
    assert "file name" in answer.json()["msg"], answer.text
    assert stub_api.get("/ping").status_code == 200
    assert entries(stub_server) == before


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (b'name="file"; filename="\xff\xfe"', "UTF-8"),
        (b"name=\"file\"; filename*=utf-8''%ff", "UTF-8"),
        (b"name=\"file\"; filename*=utf-8''..%2fa", "file name"),
        (b'name="file"', "no file name"),
        (b'name="other"; filename="a"', "part named"),
        (b'filename="a"', "name"),
    ],
)
def test_a_part_that_is_refused(stub_server: Server, stub_api: Api, part: bytes, words: str) -> None:
    """One that is named oddly, or not at all."""
    before = entries(stub_server)
    body = b"--x\r\nContent-Disposition: form-data; " + part + b"\r\n\r\nabc\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = stub_api.post("/uploads", data=body, headers=kind)
    assert answer.status_code == 400
    assert words in answer.json()["msg"], answer.text
    assert entries(stub_server) == before


def test_a_torn_body(stub_server: Server, stub_api: Api) -> None:
    """A form without its end, no form at all, two files, and a client that leaves: nothing is left."""
    before = entries(stub_server)
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    whole = head + b"\r\n--x--\r\n"
    for body, headers in [
        (head, kind),
        (b"", kind),
        (whole, {"Content-Type": "text/plain"}),
        (whole, {"Content-Type": "multipart/form-data"}),
        (head + b"\r\n" + whole, kind),
    ]:
        answer = stub_api.post("/uploads", data=body, headers=headers)
        assert answer.status_code == 400, answer.text
    with Wire(stub_server.port) as wire:
        length = f"Content-Length: {len(whole) + 1000}"
        wire.send("POST /uploads HTTP/1.1", f"Content-Type: {kind['Content-Type']}", length, body=head)
        wait_until("it is being written", lambda: len(entries(stub_server)) > len(before))
    wait_until("nothing is left", lambda: entries(stub_server) == before)


def test_a_slow_body(serve: Callable[..., Server], make_stub: Callable[..., Any]) -> None:
    """A file that does not come in time is refused, and nothing is left."""
    server = serve({**make_stub().settings, "server.body_timeout": "1s"})
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'
    with Wire(server.port) as wire:
        kind = "Content-Type: multipart/form-data; boundary=x"
        wire.send("POST /uploads HTTP/1.1", kind, f"Content-Length: {len(head) + 1000}", body=head)
        assert wire.answer().status == 408
    assert not entries(server)


def test_limits(serve: Callable[..., Server], make_stub: Callable[..., Any], users: Path) -> None:
    """Of one upload, of an owner's, of all, and of how many come at the same time."""
    sizes = {"max_bytes": "300KiB", "owner_bytes": "500KiB", "total_bytes": "600KiB", "at_once": 1}
    settings = {f"upload.{key}": value for key, value in sizes.items()}
    access = {"access.mode": "basic", "access.basic_file": users}
    server = serve({**make_stub().settings, **settings, **access})
    ada, bob = server.user("ada", "secret"), server.user("bob", "secret")
    too_large = [send(ada, content=b"x" * ((300 << 10) + 1)), send(ada, content=b"x" * (5 << 20))]
    for answer in too_large:
        assert answer.status_code == 413
        assert "upload.max_bytes" in answer.json()["msg"]
    first = sent(ada, content=b"x" * (300 << 10))
    over_quota = send(ada, content=b"x" * (201 << 10))
    assert over_quota.status_code == 413
    assert "upload.owner_bytes" in over_quota.json()["msg"]
    second = sent(bob, content=b"x" * (200 << 10))
    full = send(bob, content=b"x" * (101 << 10))
    assert full.status_code == 503
    assert "upload.total_bytes" in full.json()["msg"]
    assert full.headers["Retry-After"]
    assert len(entries(server)) == 4
    # What is deleted makes room, what is refused has taken none.
    assert ada.delete(f"/uploads/{first['id']}").status_code == 200
    assert bob.delete(f"/uploads/{second['id']}").status_code == 200
    entered, leave = threading.Event(), threading.Event()

    def slow() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'
        entered.set()
        leave.wait(30)
        yield b"\r\n--x--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    other = server.user("ada", "secret")
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(other.post("/uploads", data=slow(), headers=kind))
    )
    thread.start()
    assert entered.wait(30)
    wait_until("it is being written", lambda: any(name.endswith(".part") for name in entries(server)))
    busy = send(bob)
    leave.set()
    thread.join()
    assert (busy.status_code, answers[0].status_code) == (503, 201)
    assert "upload.at_once" in busy.json()["msg"]
    wait_until("the slot is free", lambda: send(bob).status_code == 201)


def test_anothers(serve: Callable[..., Server], make_stub: Callable[..., Any], users: Path) -> None:
    """Is not listed, not found, not deleted, and as if it weren't there in a request."""
    server = serve({**make_stub().settings, "access.mode": "basic", "access.basic_file": users})
    ada, bob = server.user("ada", "secret"), server.user("bob", "secret")
    hers = sent(ada, "job.py")
    none = {**hers, "uri": f"upload://{uuid.uuid4()}/job.py"}
    assert bob.get("/uploads").json()["uploads"] == []
    assert bob.get(f"/uploads/{hers['id']}").status_code == 404
    assert bob.delete(f"/uploads/{hers['id']}").status_code == 404
    for field, wrapped in [
        ("file", lambda uri: {"file": uri}),
        ("pyFiles", lambda uri: {"file": uri, "pyFiles": [uri]}),
        ("archives", lambda uri: {"archives": [uri + "#box"]}),
        ("spark.jars", lambda uri: {"conf": {"spark.jars": f"hdfs:///a.jar {uri}"}}),
        ("spark.metrics.conf", lambda uri: {"conf": {"spark.metrics.conf": uri}}),
    ]:
        for uri in (hers["uri"], none["uri"]):
            body = wrapped(uri)
            path = "/batches" if field == "file" else "/sessions"
            answer = bob.post(path, body)
            assert answer.status_code == 400, answer.text
            assert answer.json()["msg"].startswith(f"Rejected, Reason: {field}: there is no upload"), (
                answer.text
            )
    # Nor by its path, though the directory is the server's own.
    path = server.state_dir / "uploads" / hers["id"] / "job.py"
    for api in (ada, bob):
        for uri in (str(path), f"file://{path}", f"local:{path}"):
            answer = api.post("/batches", {"file": uri})
            assert answer.status_code == 400
            assert "cannot be added to user sessions" in answer.text
    assert ada.post("/batches", {"file": "UPLOAD" + hers["uri"].removeprefix("upload")}).status_code == 201
    wrong_name = hers["uri"].replace("job.py", "other.py")
    climbing = hers["uri"].replace("job.py", "../job.py")
    for uri in (wrong_name, climbing, f"upload:{hers['id']}/job.py", "upload://", "upload:/x"):
        assert ada.post("/batches", {"file": uri}).status_code == 400


def test_how_long_it_stays(serve: Callable[..., Server], make_stub: Callable[..., Any]) -> None:
    """As long as a live session or batch refers to it, through a restart, and `upload.kept` after that."""
    server = serve({**make_stub().settings, "upload.kept": "1s", "shutdown.sessions": "keep"})
    api = server.api
    unused, used, batched = (sent(api, name) for name in ("unused", "used.jar", "job.py"))
    session = Session(api, api.post("/sessions", {"jars": [used["uri"]]}).json())
    batch = api.post("/batches", {"file": batched["uri"]}).json()
    assert session.get()["jars"] == [used["uri"]]
    for upload in (used, batched):
        refused = api.delete(f"/uploads/{upload['id']}")
        assert refused.status_code == 409
        assert upload["id"] in refused.json()["msg"]
    wait_until("nobody needs it", lambda: not is_there(api, unused))
    (server.state_dir / "uploads" / f"{uuid.uuid4()}.part").mkdir()
    (server.state_dir / "uploads" / f"{uuid.uuid4()}.json").write_text("torn")
    server.restart()
    api = server.api
    assert len(entries(server)) == 4
    fresh = sent(api, "fresh")
    wait_until("nobody needs it", lambda: not is_there(api, fresh))
    assert is_there(api, used)
    assert is_there(api, batched)
    session = Session(api, {"id": session.id})
    session.delete()
    api.delete(f"/batches/{batch['id']}")
    wait_until("nobody needs them", lambda: not entries(server))


def test_a_batch(real: Server) -> None:
    """One that has all of its files from uploads, on a server that allows no local file."""
    api = real.api
    job = sent(api, "job.py", BATCH.encode())
    helper = sent(api, "helper.py", b"def double(n): return 2 * n\n")
    data = sent(api, "data.txt", b"some data")
    body = {"file": job["uri"], "pyFiles": [helper["uri"]], "files": [data["uri"]], "args": ["one"]}
    batch = api.post("/batches", body).json()

    def state() -> str:
        return api.get(f"/batches/{batch['id']}/state").json()["state"]

    wait_until("it ends", lambda: state() in ("success", "dead", "killed"), 90)
    log = api.get(f"/batches/{batch['id']}/log?from=0&size=1000").json()["log"]
    assert state() == "success", "\n".join(log)
    assert "helped 42 ['one']" in log
    assert "data some data" in log
    for upload in (job, helper, data):
        assert api.delete(f"/uploads/{upload['id']}").status_code == 200


def test_a_session(real: Server, tmp_path: Path) -> None:
    """Files, modules and archives under an alias, named in fields and in the conf."""
    with zipfile.ZipFile(tmp_path / "box.zip", "w") as archive:
        archive.writestr("inside.txt", "in the box")
    api = real.api
    data = sent(api, "data.txt", b"some data")
    helper = sent(api, "helper.py", b"def double(n): return 2 * n\n")
    box = sent(api, "box.zip", (tmp_path / "box.zip").read_bytes())
    conf = {**SMALL, "spark.files": data["uri"]}
    session = api.create(conf=conf, pyFiles=[helper["uri"]], archives=[box["uri"] + "#box"])
    session.wait("idle")
    code = """
import helper
from pyspark import SparkFiles
print(helper.double(4), *(open(SparkFiles.get(name)).read() for name in ("data.txt", "box/inside.txt")))
"""
    assert session.text(code) == "8 some data in the box"
    session.delete()
