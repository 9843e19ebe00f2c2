"""Drivers that run as their users: who may, what a server needs for it, whose files are whose (faults.md S12,
S14, S26). The driver is a script here; what two real ones can do to each other is in
tests/sessions/test_isolation.py."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path
from typing import Callable, Iterator

import pytest
from harness import processes
from harness.api import Api
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import Server, binary, environment, everything_below
from harness.spark import newest
from harness.stub import Stub
from harness.unix import PASSWORD, is_root, open_directory, owners, run_as_server, users

needs_root = pytest.mark.skipif(not is_root(), reason="only root runs processes as others")

# Says who it is, and tries to give itself more, before it sleeps.
CANARY = r"""
id -u > CALLS/uid.$$
id -G > CALLS/groups.$$
umask > CALLS/umask.$$
pwd > CALLS/pwd.$$
grep -E '^(CapPrm|CapEff|CapAmb|NoNewPrivs):' /proc/self/status > CALLS/caps.$$
cat /proc/self/cgroup > CALLS/cgroup.$$
touch canary; mkdir -p deep/er; echo x > deep/er/file
touch "$TMPDIR/temporary"
for word; do last=$word; done
exec sleep 1000000
"""


@pytest.fixture(scope="module")
def two() -> Iterator[list[pwd.struct_passwd]]:
    """Two users of this host."""
    with users(2) as made:
        yield made


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    """A spark-submit that writes down who it is, where everybody can write."""
    with open_directory() as directory:
        home = directory / "spark"
        stub = Stub(home, CANARY.replace("CALLS", str(home / "calls")))
        stub.calls.chmod(0o1777)
        yield stub


@pytest.fixture(scope="module")
def server(
    stub: Stub, two: list[pwd.struct_passwd], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server for both, and for some who are no users of the host."""
    names = [user.pw_name for user in two]
    mapped = {"ada@EXAMPLE.COM": names[0], "eve@EXAMPLE.COM": "root"}
    everybody = [*names, *mapped, "root", "daemon", "stranger-to-the-host"]
    settings = {**stub.settings, "spark.python": newest().python, "run_as.users": mapped}
    more = {"access.impersonation": True, "access.superusers": ["root"]}
    server = run_as_server({**settings, **more}, everybody, tmp_path_factory.mktemp("users"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def opened() -> Iterator[Path]:
    """A directory that every user can reach."""
    with open_directory() as directory:
        yield directory


def said(stub: Stub, what: str) -> dict[int, str]:
    """What the canaries wrote down, by their pids."""
    return {int(path.suffix[1:]): path.read_text().strip() for path in stub.calls.glob(f"{what}.*")}


def started(stub: Stub, api: Api, **body: object) -> int:
    """Start a session and wait for its canary; its pid."""
    before = set(said(stub, "cgroup"))
    api.create(**body)
    (pid,) = wait_until("the canary has written", lambda: set(said(stub, "cgroup")) - before)
    wait_until("it sleeps", lambda: (found := processes.look(pid)) and found.argv[0] == "sleep")
    return pid


@needs_root
def test_a_driver_is_its_users_from_the_first_instruction(
    server: Server, stub: Stub, two: list[pwd.struct_passwd]
) -> None:
    """S12: what runs in the submit phase, whatever it was made to load, has the user's rights only."""
    for user in two:
        pid = started(stub, server.user(user.pw_name, PASSWORD))
        assert said(stub, "uid")[pid] == str(user.pw_uid)
        assert said(stub, "groups")[pid].split() == [str(user.pw_gid)]
        assert said(stub, "umask")[pid] == "0077"
        caps = dict(line.split(":\t") for line in said(stub, "caps")[pid].splitlines())
        assert {int(bits, 16) for name, bits in caps.items() if name.startswith("Cap")} == {0}
        assert caps["NoNewPrivs"] == "1"
        work = Path(said(stub, "pwd")[pid])
        made = owners(work)
        assert {path.name for path in made} >= {"canary", "file", "temporary"}
        assert set(made.values()) == {user.pw_uid}
        assert stat.S_IMODE((work / "canary").stat().st_mode) == 0o600
        assert stat.S_IMODE((work / "deep").stat().st_mode) == 0o700
        found = processes.look(pid)
        assert found is not None
        environ = found.environ
        assert (environ["HOME"], environ["USER"], environ["LOGNAME"]) == (
            user.pw_dir,
            user.pw_name,
            user.pw_name,
        )
        assert environ["TMPDIR"] == str(work)


@needs_root
def test_the_environment_is_a_list(server: Server, stub: Stub, two: list[pwd.struct_passwd]) -> None:
    """S14: a driver has none of the server's variables but those on the list, and no secret."""
    pid = started(stub, server.user(two[0].pw_name, PASSWORD))
    found = processes.look(pid)
    assert found is not None
    expected = {"FIRESTEEL_DRIVER_ID", "FIRESTEEL_KEEPER_PID", "HOME", "LOGNAME", "PATH", "TMPDIR", "USER"}
    spark = {"PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "SPARK_HOME", "SPARK_LOCAL_IP", "SPARK_SUBMIT_OPTS"}
    host = {"JAVA_HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ"}
    shell = {"PWD", "OLDPWD", "SHLVL", "_"}
    assert set(found.environ) <= expected | spark | host | shell
    assert set(found.environ) >= expected


@needs_root
def test_what_the_server_trusts_its_driver_cannot_touch(
    server: Server, stub: Stub, two: list[pwd.struct_passwd]
) -> None:
    """S26: of the state directory users read what all may; a driver's own part is its user's alone."""
    user = two[1]
    pid = started(stub, server.user(user.pw_name, PASSWORD))
    work = Path(said(stub, "pwd")[pid])
    own, run_dir = work.parent, work.parent.parent
    assert own.name == "own"
    for path, uid in owners(run_dir).items():
        assert uid == (user.pw_uid if own in (path, *path.parents) else 0), path
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o711
    open_to_all = {server.state_dir / name for name in ("agent", "class-archives")}
    passed = {server.state_dir, *(server.state_dir / name for name in ("run", "link", "uploads"))}
    passed |= set((server.state_dir / "run").iterdir())
    for path in everything_below(server.state_dir):
        if open_to_all & {path, *path.parents} or path.is_symlink():
            continue
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path in passed:
            assert mode == 0o711, path
        elif path.name == "link.sock":
            assert mode == 0o666
        elif own not in path.parents:
            assert mode & 0o077 == 0, (path, oct(mode))
    # As the user itself, and as the other one.
    tries = (
        "import os, sys\n"
        "done = []\n"
        "def attempt(what, call):\n"
        "    try:\n"
        "        call()\n"
        "    except OSError:\n"
        "        return\n"
        "    done.append(what)\n"
        f"state, run = {str(server.state_dir)!r}, {str(run_dir)!r}\n"
        "for name in ('firesteel.db', 'link.key', 'lock'):\n"
        "    attempt(name, lambda: open(f'{state}/{name}').close())\n"
        "for path in (state, f'{state}/run', f'{state}/uploads', run):\n"
        "    attempt('list ' + path, lambda: os.listdir(path))\n"
        "    attempt('write ' + path, lambda: open(path + '/forged', 'w').close())\n"
        "names = ('keeper.json', 'notes', 'exit.json', 'exit.json.new', 'stdout.000000', 'launch.json')\n"
        "for name in names:\n"
        "    attempt('read ' + name, lambda: open(f'{run}/{name}').close())\n"
        "    attempt('link ' + name, lambda: os.symlink('/etc/passwd', f'{run}/{name}'))\n"
        "attempt('move own', lambda: os.rename(f'{run}/own', f'{run}/other'))\n"
        "if len(sys.argv) > 1:\n"
        "    attempt('own', lambda: os.listdir(f'{run}/own'))\n"
        "print(done)\n"
    )
    for who, arguments in ((user, []), (two[0], ["stranger"])):
        argv = ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups"]
        ended = subprocess.run(
            [*argv, sys.executable, "-I", "-c", tries, *arguments],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        )
        assert ended.stdout.strip() == "[]", who.pw_name


@needs_root
def test_the_keeper_is_out_of_reach(server: Server, stub: Stub, two: list[pwd.struct_passwd]) -> None:
    """A driver can't end the process that ends it; the server can end it, and nothing is left."""
    api = server.user(two[0].pw_name, PASSWORD)
    before = set(api.ids())
    pid = started(stub, api)
    (number,) = set(api.ids()) - before
    keeper = int((processes.PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    assert processes.look(keeper).argv[1] == "keeper"
    argv = ["setpriv", f"--reuid={two[0].pw_uid}", "--clear-groups", "kill", "-9", str(keeper)]
    assert subprocess.run(argv, capture_output=True, check=False).returncode != 0
    work = Path(said(stub, "pwd")[pid])
    assert api.delete(f"/sessions/{number}").status_code == 200
    wait_until("it has ended", lambda: processes.look(pid) is None)
    wait_until("nothing is left", lambda: not work.parent.parent.exists())
    groups = [
        path for path in Path("/sys/fs/cgroup").glob("*/**/firesteel-driver-*") if work.parts[-3] in path.name
    ]
    assert not groups


@needs_root
def test_who_cannot_run_a_driver(server: Server) -> None:
    """Root, the system's users and those that the host does not know are refused with a sentence."""
    for name, words in {
        "root": "uid 0",
        "daemon": "run_as.min_uid",
        "eve@EXAMPLE.COM": "would run as root",
        "stranger-to-the-host": "is no user of the server's host",
    }.items():
        api = server.user(name, PASSWORD)
        for path, body in (("/sessions", {"kind": "pyspark"}), ("/batches", {"file": "hdfs:///x.py"})):
            answer = api.post(path, body)
            assert answer.status_code == 403, answer.text
            assert words in answer.json()["msg"]
            assert answer.json()["msg"].endswith(".")
    root = server.user("root", PASSWORD)
    assert root.get("/sessions").json()["total"] == len(list(root.ids()))


@needs_root
def test_names_of_elsewhere_and_proxy_users(server: Server, stub: Stub, two: list[pwd.struct_passwd]) -> None:
    """A mapped name is a Unix user; a proxied one runs as itself, without `--proxy-user`
    (CVE-2023-22946)."""
    pid = started(stub, server.user("ada@EXAMPLE.COM", PASSWORD))
    assert said(stub, "uid")[pid] == str(two[0].pw_uid)
    pid = started(stub, server.user("root", PASSWORD), proxyUser=two[1].pw_name)
    assert said(stub, "uid")[pid] == str(two[1].pw_uid)
    assert all("--proxy-user" not in argv for argv in stub.argvs())
    key = "spark.submit.proxyUser.allowCustomClasspathInClusterMode"
    for asked in (key, key.upper(), key.removeprefix("spark.")):
        answer = server.user("root", PASSWORD).post(
            "/sessions", {"proxyUser": two[1].pw_name, "conf": {asked: "true"}}
        )
        assert answer.status_code == 400, asked


@needs_root
def test_uploads_become_their_users(server: Server, stub: Stub, two: list[pwd.struct_passwd]) -> None:
    """The driver can read what its request names, and nobody else can."""
    user, other = two
    api = server.user(user.pw_name, PASSWORD)
    upload = api.post("/uploads", files={"file": ("helper.py", b"X = 1\n")}).json()
    started(stub, api, pyFiles=[upload["uri"]])
    path = server.state_dir / "uploads" / upload["id"] / "helper.py"
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (user.pw_uid, 0o600)
    assert (path.parent.stat().st_uid, stat.S_IMODE(path.parent.stat().st_mode)) == (0, 0o711)
    assert any(str(path) in text.replace("\\u003a", ":") for text in stub.properties())
    # A superuser's upload that two users' sessions name is the first one's.
    root = server.user("root", PASSWORD)
    shared = root.post("/uploads", files={"file": ("shared.py", b"X = 1\n")}).json()
    started(stub, root, pyFiles=[shared["uri"]], proxyUser=user.pw_name)
    second = root.create(pyFiles=[shared["uri"]], proxyUser=other.pw_name)
    assert second.wait("dead") == "dead"
    assert "another Unix user's" in second.log()[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"run_as.mode": "owner"}, "set access.mode"),
        ({"pool.owners": 0, "run_as.mode": "owner", "access.mode": "basic"}, "pool.owners"),
        ({"run_as.users": {"ada": "a/b"}}, "run_as.users"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, settings: dict[str, object], words: str) -> None:
    """The server does not start, and says why."""
    file = tmp_path / "users"
    file.write_text("ada:$argon2id$x\n")
    server = Server({"access.basic_file": file, **settings}, start=False)
    try:
        assert server.start_to_die() == 64
        assert words in server.log()
    finally:
        server.discard()


def test_without_the_rights_it_does_not_start(tmp_path: Path) -> None:
    """A server that is not root refuses `run_as.mode = "owner"`, with one sentence."""
    home = Path("/tmp") / f"firesteel-unprivileged-{os.getpid()}"
    home.mkdir(mode=0o711)
    try:
        (home / "users").write_text("ada:$argon2id$x\n")
        state = home / "state"
        state.mkdir()
        argv = [str(binary()), "serve", "--listen", "127.0.0.1:0", "--state-dir", str(state)]
        argv += ["--set", "run_as.mode=owner", "--set", f"access.basic_file={home / 'users'}"]
        argv += ["--set", "access.mode=basic"]
        if is_root():
            for path in (home / "users", state):
                os.chown(path, 65534, 65534)
            argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *argv]
        ended = subprocess.run(
            argv, capture_output=True, text=True, timeout=60, env=environment(HOME=str(home)), check=False
        )
        assert ended.returncode == 1, ended.stderr
        last = ended.stderr.strip().splitlines()[-1]
        assert last.startswith('firesteel: run_as.mode = "owner" needs a server that is started as root')
    finally:
        subprocess.run(["rm", "-rf", str(home)], check=True)


@needs_root
def test_a_state_directory_that_nobody_can_reach(tmp_path: Path, two: list[pwd.struct_passwd]) -> None:
    """It is found at the start, not by the first driver."""
    server = run_as_server({}, [two[0].pw_name], tmp_path)
    server.home.chmod(0o700)
    try:
        assert server.start_to_die() == 1
        assert f"{server.home} lets nobody but its owner through" in server.log()
    finally:
        server.discard()


def test_a_shared_user_is_told(
    serve: Callable[..., Server], make_stub: Callable[..., Stub], tmp_path: Path
) -> None:
    """With names and without users of their own, the log says at the start what that means."""
    file = tmp_path / "users"
    file.write_text("")
    server = serve({**make_stub().settings, "access.mode": "basic", "access.basic_file": file})
    assert "all drivers run as the server's own user, whoever calls" in server.log()


@needs_root
def test_a_server_that_comes_back_knows_whose_driver_it_is(
    two: list[pwd.struct_passwd], opened: Path, tmp_path: Path
) -> None:
    """The link lets in a driver's own user, before a restart and after, and nobody else."""
    fake = Fake(opened / "fake")
    fake.ledger.chmod(0o666)
    server = run_as_server({**fake.settings, "shutdown.sessions": "end"}, [two[0].pw_name], tmp_path)
    server.start()
    try:
        session = server.user(two[0].pw_name, PASSWORD).create()
        session.wait("idle")
        server.restart()
        session.api = server.user(two[0].pw_name, PASSWORD)
        session.wait("idle")
        (run_dir,) = (server.state_dir / "run").iterdir()
        agent = json.loads((run_dir / "own/agent.json").read_text())
        said = subprocess.run(
            [
                "setpriv",
                f"--reuid={two[1].pw_uid}",
                "--clear-groups",
                sys.executable,
                "-I",
                "-c",
                "import json, socket, struct, sys\n"
                "link = socket.socket(socket.AF_UNIX)\n"
                "link.connect(sys.argv[1])\n"
                "hello = json.dumps({'type': 'hello', 'protocol': 1, 'driver': sys.argv[2],"
                " 'nonce': 'ab' * 32, 'received': 0}).encode()\n"
                "link.sendall(struct.pack('>II', len(hello) + 4, len(hello)) + hello)\n"
                "print(link.recv(1000))\n",
                agent["socket"],
                agent["driver"],
            ],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        )
        assert "is expected" in said.stdout
    finally:
        server.stop()
