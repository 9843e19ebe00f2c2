"""Two users' sessions on one host, as Unix users of their own: neither gets anything of the other's
(faults.md S12, S14 to S16, S26), and what one takes too much of costs the other nothing (R19, R20)."""

from __future__ import annotations

import json
import pwd
import statistics
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest
from conftest import SMALL
from faults.chaos.plan import IS_MEASURED
from harness import processes
from harness.api import Session
from harness.processes import wait_until
from harness.server import Server
from harness.spark import Spark
from harness.unix import PASSWORD, is_root, owners, run_as_server, users

pytestmark = pytest.mark.skipif(not is_root(), reason="only root runs processes as others")

LIMITS = {
    "driver.memory_max": "1536MiB",
    "driver.pids_max": 1000,
    "driver.disk_max": "300MiB",
    "driver.watch_interval": "200ms",
}
"""What a small session needs, and a little."""

SLOWER = 2.0
"""How much longer another user's statements may take, at the median (asserted where times are)."""

# Statements that take too much; each ends its session, the last but one not.
BOMBS = {
    "memory": ("held = []\nwhile True: held.append(bytearray(16 << 20))", "driver.memory_max of 1.5 GiB"),
    "forks": (
        "import os, time\n"
        "while True:\n    try:\n        os.fork()\n    except OSError:\n        time.sleep(0.01)",
        "driver.pids_max of 1000",
    ),
    "disk": (
        "import itertools\nfor n in itertools.count(): open(f'full{n}', 'wb').write(bytes(8 << 20))",
        "driver.disk_max of 300.0 MiB",
    ),
}
CORES = (
    "import subprocess, sys\n"
    "spin = [sys.executable, '-S', '-c', 'while True: pass']\n"
    "spinning = [subprocess.Popen(spin) for _ in range(8)]\n"
    "while True: pass"
)

# What one session tries on another. It prints what worked: nothing is to.
ATTACK = r"""
import concurrent.futures, json, os, signal, socket, struct
worked = []
def attempt(what, call, *words):
    try:
        found = call(*words)
    except Exception:
        return
    worked.append((what, str(found)[:200]))

def read(path):
    with open(path, 'rb') as file:
        found = file.read(100)
    # That of a process that is just ending.
    assert found, path
    return found

def processes_of(uid):
    for name in os.listdir('/proc'):
        if name.isdigit() and os.stat(f'/proc/{name}').st_uid == uid:
            yield int(name)

def ports_of(uid):
    for table in ('/proc/net/tcp', '/proc/net/tcp6'):
        for line in open(table).read().splitlines()[1:]:
            fields = line.split()
            if fields[3] == '0A' and int(fields[7]) == uid:
                yield int(fields[1].split(':')[1], 16)

def talk(port, words):
    with socket.create_connection(('127.0.0.1', port), 3) as talking:
        talking.settimeout(1)
        talking.sendall(words)
        return talking.recv(1000)

def http(port):
    answer = talk(port, b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    assert answer.startswith(b'HTTP/1') and b' 200 ' in answer.splitlines()[0], answer
    return answer

def py4j(port):
    # A call of java.lang.System.getProperty by somebody who has no secret.
    answer = talk(port, b'c\nz:java.lang.System\ngetProperty\nsuser.name\ne\n')
    assert answer.startswith(b'!y'), answer
    return answer

def rpc(port):
    # As this session's own JVM would call its own driver.
    spark = sc._jvm.org.apache.spark
    address = spark.rpc.RpcAddress('127.0.0.1', port)
    return spark.SparkEnv.get().rpcEnv().setupEndpointRef(address, 'HeartbeatReceiver')

def link(path, driver):
    hello = json.dumps({'type': 'hello', 'protocol': 1, 'driver': driver, 'nonce': 'ab' * 32, 'received': 0})
    calling = socket.socket(socket.AF_UNIX)
    calling.settimeout(3)
    calling.connect(path)
    calling.sendall(struct.pack('>II', len(hello) + 4, len(hello)) + hello.encode())
    answer = calling.recv(1000)
    assert b'challenge' in answer, answer
    return answer

def attack(uid, state_dir, run_dir, files):
    seen = {'processes': 0, 'ports': 0}
    for pid in processes_of(uid):
        seen['processes'] += 1
        for name in ('environ', 'maps', 'mem', 'auxv', 'io', 'stack'):
            attempt(f'{pid} {name}', read, f'/proc/{pid}/{name}')
        for name in ('cwd', 'exe', 'root'):
            attempt(f'{pid} {name}', os.readlink, f'/proc/{pid}/{name}')
        for name in ('fd', 'map_files'):
            attempt(f'{pid} {name}', os.listdir, f'/proc/{pid}/{name}')
        for number in (0, signal.SIGTERM):
            attempt(f'{pid} signal {number}', os.kill, pid, number)
    own = f'{run_dir}/own'
    parts = [f'{state_dir}/{name}' for name in ('run', 'uploads', 'outputs')]
    for path in (state_dir, *parts, run_dir, own, f'{own}/work'):
        attempt(f'list {path}', os.listdir, path)
        attempt(f'write {path}', lambda: open(f'{path}/planted', 'w').close())
    names = ('firesteel.db', 'firesteel.db-wal', 'link.key', 'lock')
    logs = ('notes', 'keeper.json', 'stdout.000000', 'stderr.000000')
    inside = ('agent.json', 'spark.properties', 'outbox', 'jvm.out', 'secret')
    paths = [f'{state_dir}/{name}' for name in names] + [f'{run_dir}/{name}' for name in logs]
    for path in paths + [f'{own}/{name}' for name in inside] + files:
        attempt(f'read {path}', read, path)
    ports = sorted(set(ports_of(uid)))
    seen['ports'] = len(ports)
    # Some of them wait for more than they are sent.
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        for port in ports:
            for call in (http, py4j, rpc):
                pool.submit(attempt, f'{call.__name__} {port}', call, port)
    attempt('link', link, f'{state_dir}/link/link.sock', run_dir.rpartition('/')[2])
    return seen
"""


@pytest.fixture(scope="module")
def two() -> Iterator[list[pwd.struct_passwd]]:
    """Two users of this host."""
    with users(2) as made:
        yield made


@pytest.fixture(scope="module")
def server(
    default_spark: Spark, two: list[pwd.struct_passwd], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One server for both."""
    # How long a caller waits for a port that does not answer it.
    waits = {"spark.network.auth.rpcTimeout": "4s", "spark.rpc.lookupTimeout": "4s"}
    conf = {**default_spark.settings["spark.conf"], **waits}
    # The launcher's options are the server's own.
    settings = {
        **default_spark.settings,
        "driver.env": {},
        **LIMITS,
        "spark.master": "local[2]",
        "spark.conf": conf,
    }
    names = [user.pw_name for user in two]
    server = run_as_server(settings, names, tmp_path_factory.mktemp("users"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def sessions(server: Server, two: list[pwd.struct_passwd]) -> dict[str, Session]:
    """The first user has one for each bomb and another, the second user one."""
    first, second = (server.user(user.pw_name, PASSWORD) for user in two)
    started = {bomb: first.create(conf=SMALL) for bomb in BOMBS}
    started |= {"first": first.create(conf=SMALL), "second": second.create(conf=SMALL)}
    for session in started.values():
        session.wait("idle")
    return started


def directory_of(server: Server, session: Session) -> Path:
    """The session's run directory."""
    driver = session.text("import os; print(os.environ['FIRESTEEL_DRIVER_ID'])").strip()
    return server.state_dir / "run" / driver


def test_neither_gets_anything_of_the_others(
    server: Server, sessions: dict[str, Session], two: list[pwd.struct_passwd]
) -> None:
    """One session's script tries the other's processes, files, ports and link."""
    secret = (
        "import os, tempfile\n"
        "print('secret', file=open('mine', 'w'))\n"
        "temporary = tempfile.NamedTemporaryFile()"
    )
    files = {}
    for name in ("first", "second"):
        sessions[name].ok(secret)
        told = sessions[name].text("print(os.path.abspath('mine'), temporary.name)").split()
        files[name] = told
        sessions[name].ok(ATTACK)
    for mine, other, whose in (("first", "second", two[1]), ("second", "first", two[0])):
        found = [
            whose.pw_uid,
            str(server.state_dir),
            str(directory_of(server, sessions[other])),
            files[other],
        ]
        text = sessions[mine].text(f"print(json.dumps([attack(*{found!r}), worked]))")
        # Spark's own words on calls that fail may follow.
        seen, worked = json.loads(text.splitlines()[0])
        assert worked == []
        # It saw what there is: JVM, agent and interpreter; py4j's, Spark's and the blocks' ports.
        assert seen["processes"] >= 3
        assert seen["ports"] >= 3
        # What it tried does work where it may.
        ours = sessions[mine].text(
            "port = sc._jvm.org.apache.spark.SparkEnv.get().rpcEnv().address().port()\n"
            "print(type(rpc(port)).__name__, len(read('/proc/self/environ')), read('mine'))"
        )
        assert ours.strip().startswith("JavaObject 100 b'secret\\n'"), ours
        # The other is as it was.
        assert sessions[other].text("print(open('mine').read())").strip() == "secret"
    strangers = [server.user(user.pw_name, PASSWORD) for user in two]
    for session, stranger in zip((sessions["first"], sessions["second"]), reversed(strangers)):
        for path in ("", "/log", "/statements", "/statements/0"):
            assert stranger.get(session.path + path).status_code == 404


def test_what_each_makes_is_its_own(
    server: Server, sessions: dict[str, Session], two: list[pwd.struct_passwd]
) -> None:
    """Processes and files, those of Spark and of its workers too."""
    for name, user in zip(("first", "second"), two):
        session = sessions[name]
        names = session.text(
            "import os; print(os.getuid(), sc._jvm.System.getProperty('user.name'), sc.sparkUser())"
        )
        assert names.split() == [str(user.pw_uid), user.pw_name, user.pw_name]
        session.ok("import pathlib; pathlib.Path.home().joinpath('made').write_text('x')")
        session.ok("spark.range(100).write.mode('overwrite').parquet('table')")
        session.ok("sc.parallelize(range(2), 2).map(lambda n: open(f'worker{n}', 'w').write('x')).collect()")
        worker = session.text(
            "print(sc.parallelize([0], 1).map(lambda _: __import__('os').getuid()).first())"
        )
        assert worker.strip() == str(user.pw_uid)
        at_home = Path(user.pw_dir, "made")
        found = owners(directory_of(server, session) / "own") | {at_home: at_home.stat().st_uid}
        assert {path.name for path in found} >= {"worker0", "worker1", "made", "_SUCCESS"}
        assert set(found.values()) == {user.pw_uid}
        for path in found:
            if path.is_file():
                assert path.stat().st_mode & 0o077 == 0, path


def test_nothing_of_it_is_in_tmp(sessions: dict[str, Session], two: list[pwd.struct_passwd]) -> None:
    """S26: no names that others can guess, or take before: what is temporary is in the run directory."""
    sessions["second"].ok("spark.range(10).repartition(3).count()")
    own = {user.pw_uid for user in two}
    assert [path for path in Path("/tmp").iterdir() if path.lstat().st_uid in own] == []


def test_secrets_are_in_no_argument_and_no_log(server: Server, sessions: dict[str, Session]) -> None:
    """S16: Spark's own secret, made for this driver, is nowhere to be seen by others."""
    secret = sessions["second"].text(
        "manager = sc._jvm.org.apache.spark.SparkEnv.get().securityManager()\n"
        "print(manager.isAuthenticationEnabled(), manager.getSecretKey())"
    )
    on, key = secret.split()
    assert on == "True"
    assert len(key) >= 32
    for process in processes.processes():
        assert key not in " ".join(process.argv)
        assert key not in "".join(process.environ.values())
    assert key not in server.log()
    assert all(key not in "\n".join(session.log()) for session in sessions.values())
    other = sessions["first"].text(
        "print(sc._jvm.org.apache.spark.SparkEnv.get().securityManager().getSecretKey())"
    )
    assert other.strip() != key
    assert sessions["first"].text("print(sc.uiWebUrl)").strip() == "None"


def latencies(session: Session, go_on: Callable[[int], bool]) -> list[float]:
    """The times of statements, one after the other, each of which succeeds."""
    times: list[float] = []
    while go_on(len(times)):
        began = time.monotonic()
        assert session.text(f"{len(times)} + 1") == str(len(times) + 1)
        times.append(time.monotonic() - began)
    return times


def test_who_takes_too_much(sessions: dict[str, Session], figures: Callable[[str], None]) -> None:
    """A session that takes all memory, processes, disk or processors is ended with a sentence, or held to
    its share; the other user's statements all succeed, and the first user's other session stays. Last,
    since it ends sessions."""

    def beside(what: str, go_on: Callable[[int], bool]) -> None:
        times = latencies(sessions["second"], go_on)
        median = statistics.median(times)
        figures(
            f"isolation: another's statement beside {what}: {median * 1000:.1f} ms "
            f"(the slowest of {len(times)}: {max(times) * 1000:.0f}), before {calm * 1000:.1f} ms"
        )
        if IS_MEASURED:
            assert median <= SLOWER * calm

    calm = statistics.median(latencies(sessions["second"], lambda count: count < 50))
    for bomb, (code, words) in BOMBS.items():
        session = sessions[bomb]
        session.post(code)
        beside(bomb, lambda count, session=session: not count or session.state() != "dead")
        log = session.log()
        assert log[0].startswith("The driver was ended: it"), log[0]
        assert words in log[0]
        assert log[0] == log[-1]
    busy = sessions["first"]
    running = busy.post(CORES)
    wait_until("it computes", lambda: busy.statement(running["id"])["state"] == "running")
    beside("a session on every core", lambda count: count < 50)
    busy.cancel(running["id"])
    busy.wait("idle")
    busy.ok("for one in spinning: one.kill()")
    assert busy.text("1 + 1") == "2"
