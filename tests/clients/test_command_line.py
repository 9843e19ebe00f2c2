"""`firesteel submit`, `exec`, `repl` and the rest against the real server and Spark, as a script and as a
person at a terminal use them."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Iterator

import pexpect
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from harness.server import Server, binary, command, environment, free_port
from harness.spark import Spark

USAGE, UNREACHABLE, REFUSED, SIGINT = 64, 69, 77, 130
LIMIT = 90
NOBODY = 65534
QUIET = ["--conf", "spark.ui.enabled=false"]
NAMED = ["--session", "shared", *QUIET]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose files the server reads itself."""
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def server(default_spark: Spark, jobs: Path) -> Iterator[Server]:
    """A server for the whole file; the session `shared` is made by the first test that names it."""
    settings = {**default_spark.settings, "spark.master": "local[1]", "files.allow": [str(jobs)]}
    server = Server({**settings, "shutdown.sessions": "keep"}, port=free_port())
    yield server
    for kind in ("sessions", "batches"):
        for left in server.api.sessions(f"/{kind}"):
            server.api.delete(f"/{kind}/{left['id']}")
    server.stop()


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has nothing configured."""
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}


@pytest.fixture
def run(server: Server, home: dict[str, str]) -> Callable[..., subprocess.CompletedProcess]:
    """Run the command line in a script."""
    return lambda *argv, **more: command(*argv, limit=LIMIT, FIRESTEEL_URL=server.url, **home, **more)


@pytest.fixture
def terminal(server: Server, home: dict[str, str]) -> Iterator[Callable[..., pexpect.spawn]]:
    """Run the command line at a terminal."""
    opened = []

    def start(*argv: str) -> pexpect.spawn:
        env = environment(FIRESTEEL_URL=server.url, TERM="xterm", **home)
        child = pexpect.spawn(
            str(binary()), list(argv), env=env, encoding="utf-8", timeout=LIMIT, dimensions=(40, 120)
        )
        opened.append(child)
        return child

    yield start
    for child in opened:
        child.close(force=True)


def status(child: pexpect.spawn) -> int:
    """How a command at a terminal ended."""
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


def script(jobs: Path, name: str, text: str) -> str:
    """A file that the server reads."""
    (jobs / name).write_text(text)
    return f"file:{jobs / name}"


def batches(server: Server) -> list[dict[str, Any]]:
    return server.api.sessions("/batches")


def sessions(server: Server) -> set[str | None]:
    """The names of the sessions there are."""
    return {session["name"] for session in server.api.sessions()}


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A directory that is somebody else's, where there is somebody else, and holds a copy of the program."""
    directory = Path(tempfile.mkdtemp(prefix="firesteel-elsewhere-"))
    shutil.copy(binary(), directory / "firesteel")
    yield directory
    shutil.rmtree(directory)


def test_submit_uploads_what_is_local(server: Server, elsewhere: Path) -> None:
    """Script, modules and data are another user's and in no directory that the server reads; the job runs on
    what was sent, its exit code comes back, and nothing is left of it."""
    (elsewhere / "lib").mkdir()
    (elsewhere / "lib" / "helper.py").write_text(
        "def total(lines):\n    return sum(int(line) for line in lines)\n"
    )
    (elsewhere / "data.txt").write_text("1\n2\n4\n")
    (elsewhere / "job.py").write_text(
        "import os, sys, helper\nfrom pyspark import SparkFiles\nfrom pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "print('arguments', sys.argv[1:], flush=True)\n"
        "data = SparkFiles.get('numbers')\n"
        "print('files', __file__, helper.__file__, data, os.getcwd(), flush=True)\n"
        "found = helper.total(open(data))\nspark.stop()\nsys.exit(found)\n"
    )
    user = {}
    if os.geteuid() == 0:
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        for path in (elsewhere, *elsewhere.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    with_files = ["--py-files", "lib/helper.py", "--files", "data.txt#numbers"]
    done = subprocess.run(
        [str(elsewhere / "firesteel"), "submit", *QUIET, *with_files, "job.py", "--name", "x y", "$HOME"],
        env=environment(FIRESTEEL_URL=server.url, HOME=str(elsewhere)),
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        **user,
    )
    assert done.returncode == 7, done.stderr
    assert "arguments ['--name', 'x y', '$HOME']\n" in done.stdout
    (files,) = [line for line in done.stdout.splitlines() if line.startswith("files ")]
    assert str(elsewhere) not in files
    assert "exit code 7" in done.stderr
    uploads = server.state_dir / "uploads"
    assert [path for path in uploads.rglob("*") if path.is_file()] == []
    assert sorted(path.name for path in elsewhere.iterdir()) == ["data.txt", "firesteel", "job.py", "lib"]
    assert not server.driver_processes()


def test_submit_streams_and_tells(server: Server, run: Callable, jobs: Path) -> None:
    """Standard output is the job's, standard error Spark's and ours; JSON has the batch."""
    code = "print('to out')\n"
    done = run("submit", "--name", "streams", script(jobs, "streams.py", code))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "to out\n"
    assert "incubator modules" in done.stderr
    assert "\x1b" not in done.stderr
    done = run("submit", "--output", "json", script(jobs, "fails.py", "1 / 0\n"))
    assert done.returncode == 1
    batch = json.loads(done.stdout)
    assert (batch["state"], batch["appInfo"]["exitCode"]) == ("dead", "1")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"firesteel: batch/{batch['id']} ended dead: ")
    assert last.endswith("ZeroDivisionError: division by zero")


def test_a_detached_batch_is_followed_listed_and_deleted(server: Server, run: Callable, jobs: Path) -> None:
    """`ls` prints what the other commands take; `logs -f` ends with the batch."""
    go = jobs / "go"
    code = (
        "import os, time\nprint('begun', flush=True)\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.05)\nprint('over')\n"
    )
    done = run("submit", "--detach", "--name", "detached", script(jobs, "detached.py", code))
    assert done.returncode == 0, done.stderr
    (address,) = done.stdout.split()
    number = int(re.fullmatch(r"batch/(\d+)", address).group(1))
    (row,) = [line for line in run("ls").stdout.splitlines() if line.startswith(address)]
    assert "detached" in row
    shown = json.loads(run("show", "detached", "--output", "json").stdout)
    assert (shown["id"], shown["state"]) == (number, "running")
    assert re.search(r"^state +running$", run("show", address).stdout, re.M)
    env = environment(FIRESTEEL_URL=server.url)
    following = subprocess.Popen(
        [str(binary()), "logs", "-f", "batch/detached"], stdout=subprocess.PIPE, text=True, env=env
    )
    assert "begun\n" in following.stdout
    go.touch()
    rest, _ = following.communicate(timeout=LIMIT)
    assert following.returncode == 0
    assert "over" in rest.splitlines()
    whole = run("logs", "detached").stdout.splitlines()
    assert whole[:3] == ["stdout: ", "begun", "over"]
    listed = json.loads(run("ls", "--all", "--output", "json").stdout)
    assert [batch["state"] for batch in listed["batches"] if batch["id"] == number] == ["success"]
    assert address not in run("ls").stdout
    assert run("gc").returncode == USAGE
    gone = run("gc", "--yes")
    assert (gone.returncode, f"{address} deleted" in gone.stdout) == (0, True)
    done = run("show", address)
    assert (done.returncode, f"there is no {address}" in done.stderr) == (1, True)


def test_a_restart_amid_a_batch(server: Server, run: Callable, jobs: Path) -> None:
    """The server is killed and comes back; submit goes on, prints each line once, and has the exit code."""
    go = jobs / "restarted"
    code = (
        "import os, sys, time\nprint('before', flush=True)\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.05)\nprint('after')\nsys.exit(5)\n"
    )
    env = environment(FIRESTEEL_URL=server.url)
    argv = [str(binary()), "submit", script(jobs, "restart.py", code)]
    job = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    assert job.stdout.readline() == "before\n"
    server.kill9()
    go.touch()
    server.start()
    out, err = job.communicate(timeout=LIMIT)
    assert (job.returncode, out) == (5, "after\n"), err


def test_a_lost_answer_makes_no_second_batch(server: Server, home: dict[str, str], jobs: Path) -> None:
    """The answer to the first POST never comes: it is sent again and answered with the same batch."""
    before = {batch["id"] for batch in batches(server)}
    with Proxy(server.port) as proxy:
        done = command(
            "submit", script(jobs, "once.py", "print('once')\n"), FIRESTEEL_URL=proxy.url, limit=LIMIT, **home
        )
    assert (done.returncode, done.stdout) == (0, "once\n"), done.stderr
    assert proxy.dropped == 1
    assert len({batch["id"] for batch in batches(server)} - before) == 1


def test_ctrl_c_asks_then_cancels(server: Server, terminal: Callable, jobs: Path) -> None:
    """The first Ctrl-C says what a second does; the second deletes the batch."""
    code = "import time; print('here', flush=True); time.sleep(600)"
    child = terminal("submit", "--name", "long", script(jobs, "long.py", code))
    child.expect("here")
    found = server.api.get("/batches/long").json()
    child.sendintr()
    child.expect(f"Ctrl-C again cancels batch/{found['id']}")
    assert server.api.get("/batches/long/state").json()["state"] == "running"
    child.sendintr()
    child.expect("was cancelled")
    assert status(child) == SIGINT
    assert server.api.get("/batches/long").status_code == 404


def test_sigterm_cancels(server: Server, jobs: Path) -> None:
    """A script that is ended takes its batch along: there is nobody to ask."""
    argv = [
        str(binary()),
        "submit",
        script(jobs, "term.py", "import time; print(1, flush=True); time.sleep(600)"),
    ]
    job = subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment(FIRESTEEL_URL=server.url))
    assert job.stdout.readline() == b"1\n"
    before = len(batches(server))
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=LIMIT)
    assert job.returncode == 128 + signal.SIGTERM
    assert len(batches(server)) == before - 1


def test_exec_leaves_no_session(server: Server, run: Callable) -> None:
    """The session is made for the code, and deleted after it."""
    before = sessions(server)
    done = run("exec", *QUIET, "-c", "print(6 * 7)\nraise SystemError('meant')")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" in done.stderr
    assert done.stderr.rstrip().endswith("SystemError: meant")
    assert sessions(server) == before


def test_exec_in_a_named_session(server: Server, run: Callable, tmp_path: Path) -> None:
    """It is made once and kept; results, rows and errors go where scripts look for them."""
    done = run("exec", *NAMED, "-c", "kept = 21")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "shared" in sessions(server)
    (tmp_path / "more.py").write_text("print('from a file')\nkept * 2\n")
    assert run("exec", *NAMED, str(tmp_path / "more.py")).stdout == "from a file\n42\n"
    assert run("exec", *NAMED, "-", stdin="kept + 1").stdout == "22\n"
    sql = run(
        "exec", *NAMED, "--kind", "sql", "-c", "select id, concat('s', id) as s from range(2) order by id"
    )
    assert sql.stdout == "id  s\n0   s0\n1   s1\n"
    output = json.loads(run("exec", *NAMED, "--output", "json", "-c", "kept").stdout)
    assert (output["status"], output["data"]["text/plain"]) == ("ok", "21")
    failed = run("exec", *NAMED, "--output", "json", "-c", "kept.none")
    assert (failed.returncode, json.loads(failed.stdout)["ename"]) == (1, "AttributeError")
    number = server.api.get("/sessions/shared").json()["id"]
    assert run("exec", "--session", str(number), "-c", "kept").stdout == "21\n"
    assert run("exec", "--session", "9999", "-c", "1").returncode == 1


def test_ctrl_c_cancels_a_statement(server: Server, run: Callable, terminal: Callable) -> None:
    """The session stays and takes the next one."""
    assert run("exec", *NAMED, "-c", "1").returncode == 0
    child = terminal("exec", *NAMED, "-c", "import time; time.sleep(600)")
    child.expect("running")
    child.sendintr()
    child.expect("cancelled")
    assert status(child) == SIGINT
    assert run("exec", *NAMED, "-c", "1 + 1").stdout == "2\n"


def test_repl(server: Server, terminal: Callable, tmp_path: Path) -> None:
    """Lines, blocks, completion, history, an error, a cancel, and the end."""
    child = terminal("repl", *NAMED)
    child.expect("pyspark> ")
    child.sendline("zebra_count = 40 + 2")
    child.expect("pyspark> ")
    child.send("print('a', zebra_c\t)\n")
    child.expect("a 42\r")
    child.expect("pyspark> ")
    child.send("for n in range(2):\n  print('n is', n * 10)\n\n")
    child.expect("n is 0\r\nn is 10\r")
    child.expect("pyspark> ")
    child.sendline("1 / 0")
    child.expect("ZeroDivisionError: division by zero")
    child.expect("pyspark> ")
    child.sendline("import time; time.sleep(600)")
    child.expect("running")
    child.sendintr()
    child.expect("cancelled")
    child.expect("pyspark> ")
    child.send("half a li")
    child.sendintr()
    child.expect("pyspark> ")
    child.sendeof()
    assert status(child) == 0
    history = tmp_path / "firesteel/history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "zebra_count = 40 + 2" in history.read_text()
    child = terminal("repl", *NAMED)
    child.expect("pyspark> ")
    child.send("\x1b[A" * 2 + "\n")
    child.expect("ZeroDivisionError: division by zero")
    child.expect("pyspark> ")
    child.sendeof()
    assert status(child) == 0
    assert "shared" in sessions(server)


def test_repl_wants_a_terminal(run: Callable) -> None:
    """A pipe is told what to use."""
    done = run("repl", stdin="1 + 1\n")
    assert (done.returncode, "exec -" in done.stderr) == (USAGE, True)


def test_kill(stub_server: Server, home: dict[str, str]) -> None:
    """Sessions by name; what is not there is told, and the rest is ended all the same."""
    number = stub_server.api.create(name="victim").id
    done = command("kill", "session/none", "victim", FIRESTEEL_URL=stub_server.url, **home)
    assert (done.returncode, done.stdout) == (1, f"session/{number} deleted\n")
    assert "session/none" in done.stderr
    assert "victim" not in sessions(stub_server)


def test_exit_codes(server: Server, run: Callable, tmp_path: Path) -> None:
    """Wrong usage is 64, nobody there 69."""
    for argv in (
        ["ls", "--nosuch"],
        ["show", "3"],
        ["submit"],
        ["submit", str(tmp_path / "none.py")],
        ["submit", str(tmp_path)],
        ["submit", "--conf", "novalue", "file:/x.py"],
        ["exec"],
        ["ls", "--url", "spark.example"],
        ["ls", "--url", "http://user:secret@127.0.0.1"],
        ["ls", "--user", "ann"],
        ["ls", "--password-file", "x"],
    ):
        done = run(*argv, stdin="")
        assert done.returncode == USAGE, (argv, done)
        assert "secret" not in done.stderr
    done = run("ls", "--url", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == UNREACHABLE
    assert "check that the server runs" in done.stderr
    refused = run("submit", "file:/etc/passwd")
    assert (refused.returncode, "cannot be added" in refused.stderr) == (1, True)


def test_who_calls(
    serve: Callable[..., Server], make_stub: Callable, home: dict[str, str], tmp_path: Path
) -> None:
    """Refused without a user and with a wrong one; the password comes from a file, which is private."""
    users = tmp_path / "users"
    assert command("passwd", str(users), "ann", stdin="right").returncode == 0
    settings = {"access.mode": "basic", "access.basic_file": str(users)}
    server = serve({**make_stub().settings, **settings})
    call = lambda *argv, **env: command("ls", *argv, **{"FIRESTEEL_URL": server.url, **home, **env})  # noqa: E731
    nobody = call()
    assert (nobody.returncode, "Give --user" in nobody.stderr) == (REFUSED, True)
    password = tmp_path / "password"
    password.write_text("wrong\n")
    open_to_others = call("--user", "ann", "--password-file", str(password))
    assert (open_to_others.returncode, "chmod 600" in open_to_others.stderr) == (USAGE, True)
    password.chmod(0o600)
    assert call("--user", "ann", "--password-file", str(password)).returncode == REFUSED
    password.write_text("right\n")
    assert call("--password-file", str(password), FIRESTEEL_USER="ann").returncode == 0
    assert call(FIRESTEEL_TOKEN="none").returncode == REFUSED
    config = tmp_path / "firesteel"
    config.mkdir()
    (config / "client.toml").write_text(f"url = '{server.url}/'\nuser = 'ann'\npassword = 'right'\n")
    assert call(FIRESTEEL_URL="").returncode == USAGE
    (config / "client.toml").chmod(0o600)
    assert call(FIRESTEEL_URL="").returncode == 0
    elsewhere = f"http://localhost:{server.port}"
    assert call(FIRESTEEL_URL=elsewhere).returncode == REFUSED


CHATTY = """\
for round in 1 2 3 4 5 6 7 8; do
    i=0
    while [ $i -lt 700 ]; do echo "out $round $i"; echo "err $round $i" >&2; i=$((i + 1)); done
    echo same; echo same; echo same; echo same; echo same; echo same; echo same
    sleep 0.3
done
printf 'half a '; sleep 3; echo line
"""


def test_every_line_comes_once(
    serve: Callable[..., Server], make_stub: Callable, home: dict[str, str], tmp_path: Path
) -> None:
    """Both streams grow while they are read; each comes whole and in its order."""
    (tmp_path / "any.py").write_text("")
    server = serve({**make_stub(CHATTY).settings, "files.allow": [str(tmp_path)]})
    done = command("submit", f"file:{tmp_path}/any.py", FIRESTEEL_URL=server.url, limit=LIMIT, **home)
    assert done.returncode == 0, done.stderr
    out, err = [], []
    for number in range(1, 9):
        out += [*(f"out {number} {line}" for line in range(700)), *["same"] * 7]
        err += [f"err {number} {line}" for line in range(700)]
    assert done.stdout.replace("half a \nline", "half a line").splitlines() == [*out, "half a line"]
    assert [line for line in done.stderr.splitlines() if not line.startswith("firesteel: ")] == err


def test_a_log_over_its_limit_is_followed(
    serve: Callable[..., Server], make_stub: Callable, home: dict[str, str], tmp_path: Path
) -> None:
    """The server drops the log's middle meanwhile; what comes after it is printed, none of it twice."""
    (tmp_path / "any.py").write_text("")
    settings = {"files.allow": [str(tmp_path)], "log.max_bytes": "64KiB"}
    server = serve({**make_stub(CHATTY).settings, **settings})
    done = command("submit", f"file:{tmp_path}/any.py", FIRESTEEL_URL=server.url, limit=LIMIT, **home)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("out ")]
    assert len(lines) == len(set(lines))
    assert lines[:3] == ["out 1 0", "out 1 1", "out 1 2"]
    assert {f"out {number} 699" for number in (1, 8)} <= set(lines)


class Answers(BaseHTTPRequestHandler):
    """A server without sessions; it is too full for the first request."""

    is_full = False
    asked: list[str]

    def do_GET(self) -> None:
        """An empty list."""
        self.asked.append(self.path)
        refuses = self.is_full and len(self.asked) == 1
        text = json.dumps({"msg": "Too full."} if refuses else {"total": 0, "sessions": []}).encode()
        self.send_response(503 if refuses else 200)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def answering(tls: ssl.SSLContext | None = None, **how: Any) -> Iterator[tuple[int, list[str]]]:
    """Such a server: its port, and the paths it was asked for."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Answers,), {**how, "asked": asked}))
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()


def test_retry_after_is_honoured(home: dict[str, str]) -> None:
    """A server that is full is asked again; what is shown is its own sentence."""
    with answering(is_full=True) as (port, asked):
        done = command("ls", FIRESTEEL_URL=f"http://127.0.0.1:{port}", **home)
    assert (done.returncode, done.stderr) == (0, "firesteel: Too full. Trying again.\n")
    assert len(asked) == 3


def test_https(home: dict[str, str], tmp_path: Path) -> None:
    """A certificate that nobody vouches for is refused; SSL_CERT_FILE vouches."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, none = Encoding.PEM, NoEncryption()
    (tmp_path / "certificate").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "key").write_bytes(key.private_bytes(pem, PrivateFormat.PKCS8, none))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    with answering(tls) as (port, asked):
        url = f"https://localhost:{port}/base"
        strange = command("ls", FIRESTEEL_URL=url, **home)
        assert (strange.returncode, "certificate" in strange.stderr) == (UNREACHABLE, True), strange
        assert not asked
        trusted = str(tmp_path / "certificate")
        done = command("ls", FIRESTEEL_URL=url, SSL_CERT_FILE=trusted, **home)
    assert done.returncode == 0, done.stderr
    assert [path.partition("?")[0] for path in asked] == ["/base/sessions", "/base/batches"]


def test_completions_and_manual_pages(tmp_path: Path) -> None:
    """They are made from the commands themselves."""
    for shell in ("bash", "zsh", "fish"):
        made = command("completions", shell)
        assert made.returncode == 0
        assert "py-files" in made.stdout
    checked = subprocess.run(
        ["bash", "-n"], input=command("completions", "bash").stdout, text=True, check=False
    )
    assert checked.returncode == 0
    assert command("man", str(tmp_path / "man")).returncode == 0
    pages = {path.name for path in (tmp_path / "man").iterdir()}
    assert {"firesteel.1", "firesteel-submit.1", "firesteel-repl.1"} <= pages
    assert "firesteel-keeper.1" not in pages


class Proxy:
    """Hands connections on to a port; swallows the answer to the first POST."""

    def __init__(self, port: int):
        self.target = port
        self.dropped = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._hand_on, args=(client,), daemon=True).start()

    def _hand_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            while request := client.recv(1 << 20):
                server.sendall(request)
                answer = server.recv(1 << 20)
                if request.startswith(b"POST /batches") and not self.dropped:
                    self.dropped += 1
                    return
                client.sendall(answer)
