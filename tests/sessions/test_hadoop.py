"""Drivers on a secured Hadoop: the server's Kerberos ticket and for whom drivers act with it, users' own
tickets, users' own directories of configuration. The KDC is MIT's; what has to be a driver's word is a real
Spark's."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from conftest import SMALL
from harness import processes
from harness.daemons import program
from harness.processes import wait_until
from harness.realm import NAME, Realm
from harness.server import Server, command, environment
from harness.spark import SHORT_LIVED, Spark, sparks
from harness.stub import Stub
from harness.unix import PASSWORD, is_root, open_directory, run_as_server, users

PRINCIPAL = f"firesteel/gateway@{NAME}"
USERS = ("alice", "bob", "root")
GOT = f"a Kerberos ticket for {PRINCIPAL} was got"
SECURED = """<configuration>
  <property><name>hadoop.security.authentication</name><value>kerberos</value></property>
  <property><name>hadoop.proxyuser.firesteel.hosts</name><value>*</value></property>
  <property><name>hadoop.proxyuser.firesteel.users</name><value>*</value></property>
</configuration>
"""
WHO = """
import json, os
UGI = sc._jvm.org.apache.hadoop.security.UserGroupInformation
me = UGI.getCurrentUser()
real = me.getRealUser()
print(json.dumps({
    "user": me.getUserName(), "how": me.getAuthenticationMethod().name(), "spark": sc.sparkUser(),
    "real": real.getUserName(), "real_how": real.getAuthenticationMethod().name(),
    "dirs": [os.environ["SPARK_CONF_DIR"], os.environ["HADOOP_CONF_DIR"]],
    "cache": os.environ["KRB5CCNAME"], "mine": spark.conf.get("spark.test.mine"),
}))
"""


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A realm with the server's principal, whose tickets last for seconds."""
    made = Realm(tmp_path_factory.mktemp("hadoop") / "realm")
    made.daemon.start()
    made.admin(f"addprinc -randkey {PRINCIPAL}")
    made.admin(f'modprinc -maxlife "12 seconds" {PRINCIPAL}')
    keytab(made, PRINCIPAL, made.home / "launch.keytab")
    yield made
    made.daemon.stop()


@pytest.fixture(scope="module")
def user_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """USERS with one password."""
    file = tmp_path_factory.mktemp("users") / "users"
    for name in USERS:
        assert command("passwd", str(file), name, stdin=PASSWORD + "\n").returncode == 0
    return file


def keytab(kdc: Realm, principal: str, path: Path) -> Path:
    """A new key of a principal in a keytab; the one before counts no more."""
    path.unlink(missing_ok=True)
    kdc.admin(f"ktadd -k {path} {principal}")
    return path


def launching(kdc: Realm, file: Path, **more: Any) -> dict[str, Any]:
    """The configuration of a server whose drivers act for their users."""
    return {
        "access.mode": "basic",
        "access.basic_file": file,
        "access.impersonation": True,
        "access.superusers": ["root"],
        "hadoop.keytab": kdc.home / "launch.keytab",
        "hadoop.principal": PRINCIPAL,
        "hadoop.retry_interval": "200ms",
        **more,
    }


def spark_3() -> Spark:
    """Spark 3.5, whose Hadoop is the older one."""
    return next(spark for spark in sparks() if spark.short == "3.5")


@pytest.fixture(scope="module")
def secured(kdc: Realm, user_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a real Spark and a secured Hadoop's configuration, one directory for alice and one for
    bob's group."""
    home = tmp_path_factory.mktemp("conf")
    dirs: dict[str, Any] = {}
    for name, whose in (("hers", {"users": ["alice"]}), ("theirs", {"groups": ["lab"]})):
        for kind in ("spark", "hadoop"):
            (home / name / kind).mkdir(parents=True)
            dirs[f"conf_dir.{name}.{kind}"] = home / name / kind
        dirs |= {f"conf_dir.{name}.{key}": value for key, value in whose.items()}
        (home / name / "spark/spark-defaults.conf").write_text(f"spark.test.mine {name}\n")
        (home / name / "hadoop/core-site.xml").write_text(SECURED)
    spark = spark_3()
    options = f"{SHORT_LIVED} -Djava.security.krb5.conf={kdc.env['KRB5_CONFIG']}"
    settings = {
        **spark.settings,
        "spark.conf": {"spark.driver.extraJavaOptions": options},
        "spark.master": "local[2]",
        "access.groups": {"lab": ["bob"]},
        **dirs,
    }
    server = Server(launching(kdc, user_file, **settings), env=kdc.env)
    yield server
    server.stop()


def test_a_driver_acts_for_its_user(secured: Server, kdc: Realm) -> None:
    """On the cluster it is its user, by the server's ticket; each user's has that one's configuration. The
    ticket is got anew before it ends, where drivers find it."""
    sessions = {
        name: secured.user(name, PASSWORD).create(kind="pyspark", conf=SMALL) for name in ("alice", "bob")
    }
    found = {}
    for name, session in sessions.items():
        session.wait("idle")
        found[name] = json.loads(session.text(WHO))
    cache = secured.state_dir / "krb5cc"
    for name, mine in (("alice", "hers"), ("bob", "theirs")):
        told = found[name]
        assert (told["user"], told["how"], told["spark"]) == (name, "PROXY", name)
        assert (told["real"], told["real_how"]) == (PRINCIPAL, "KERBEROS")
        assert (told["mine"], told["cache"]) == (mine, str(cache))
        assert [Path(path).parent.name for path in told["dirs"]] == [mine, mine]
    # What the JVM does in other languages it does as the same user.
    alice = sessions["alice"]
    me = "org.apache.hadoop.security.UserGroupInformation.getCurrentUser.toString"
    for code in (me, f"sc.parallelize(Seq(1), 1).map(_ => {me}).first"):
        scala = alice.ok(code, kind="spark")
        assert f"alice (auth:PROXY) via {PRINCIPAL} (auth:KERBEROS)" in scala["text/plain"]

    assert stat.S_IMODE(cache.stat().st_mode) == 0o600
    drivers = [one for one in secured.driver_processes() if "FIRESTEEL_DRIVER_ID" in one.environ]
    assert len(drivers) >= 4
    hidden = (str(kdc.home / "launch.keytab"), "KRB5_CONFIG")
    for one in drivers:
        assert not any(
            word in " ".join([*one.argv, *one.environ, *one.environ.values()]) for word in hidden
        ), one
    for path in secured.run_files():
        if path.is_file():
            assert hidden[0].encode() not in path.read_bytes(), path

    # Beyond the first ticket's end there is another one, which the driver's own Kerberos takes.
    before = cache.stat().st_ino
    wait_until("another ticket is in its place", lambda: cache.stat().st_ino != before, 30)
    again = "print(UGI.getUGIFromTicketCache(os.environ['KRB5CCNAME'], None).toString())"
    assert alice.text(again) == f"{PRINCIPAL} (auth:KERBEROS)"
    assert secured.log().count(GOT) >= 2


def test_for_whom(
    kdc: Realm, user_file: Path, make_stub: Callable[..., Stub], serve: Callable[..., Server]
) -> None:
    """Sessions and batches: for the owner, or for whom the owner acts; no request says otherwise, none has a
    keytab of its own, and none can be handed over. Without the ticket the same."""
    named = [
        {"conf": {key: "x"}}
        for key in ("spark.kerberos.keytab", "spark.yarn.principal", "KERBEROS.Principal")
    ]
    without = {"hadoop.keytab": "", "hadoop.principal": "", "hadoop.proxy_user": True}
    for more, cache in (({}, True), (without, False)):
        stub = make_stub()
        server = serve(launching(kdc, user_file, **{**stub.settings, **more}), env=kdc.env)
        alice, root = (server.user(name, PASSWORD) for name in ("alice", "root"))
        alice.create(kind="pyspark")
        assert alice.post("/batches", {"file": "hdfs:///x.py"}).status_code == 201
        root.create(kind="pyspark", proxyUser="bob")
        wait_until("all three are started", lambda stub=stub: len(stub.argvs()) == 3)
        acted = [argv[argv.index("--proxy-user") + 1] for argv in stub.argvs()]
        assert sorted(acted) == ["alice", "alice", "bob"]
        caches = {environ.get("KRB5CCNAME") for environ in stub.environs()}
        assert caches == ({str(server.state_dir / "krb5cc")} if cache else {None})
        handed = root.post(f"/sessions/{next(iter(alice.ids()))}/owner", {"user": "bob"})
        assert (handed.status_code, "hadoop.keytab" in handed.json()["msg"]) == (409, True)
        for body in named:
            answer = alice.post("/sessions", {"kind": "pyspark", **body})
            assert answer.status_code == 400, body
            assert "Blacklisted configuration values" in answer.json()["msg"]


def test_the_submit_phase_of_a_cluster_is_closed(
    kdc: Realm, user_file: Path, make_stub: Callable[..., Stub], serve: Callable[..., Server]
) -> None:
    """CVE-2023-22946: with `--proxy-user` nothing of a request's is on a class path, though the administrator
    allows all keys that load code."""
    cluster = {"spark.master": "yarn", "spark.deploy_mode": "cluster", "policy.conf.allow": ["*"]}
    # Nobody is there; what is asked of it is not what this is about.
    cluster["cluster.yarn.resource_manager"] = ["http://127.0.0.1:1"]
    server = serve(launching(kdc, user_file, **make_stub().settings, **cluster), env=kdc.env)
    alice = server.user("alice", PASSWORD)
    for key in (
        "spark.driver.extraClassPath",
        "spark.driver.defaultExtraClassPath",
        "driver.extraJavaOptions",
        "SPARK.submit.proxyUser.allowCustomClasspathInClusterMode",
    ):
        answer = alice.post("/batches", {"file": "hdfs:///x.py", "conf": {key: "hdfs:///evil.jar"}})
        assert answer.status_code == 400, key
        assert key in answer.json()["msg"]
    assert alice.post("/batches", {"file": "hdfs:///x.py"}).status_code == 201


def test_without_a_ticket(
    kdc: Realm,
    user_file: Path,
    tmp_path: Path,
    make_stub: Callable[..., Stub],
    serve: Callable[..., Server],
) -> None:
    """The server starts; a session and a batch end with a sentence; the log has the reason once. A right
    keytab mends it, and a ticket that is good is used by the next server, which gets none."""
    stub = make_stub()
    wrong = keytab(kdc, "HTTP/other", tmp_path / "keytab")
    settings = launching(kdc, user_file, **stub.settings, **{"hadoop.keytab": wrong})
    server = serve(settings, env=kdc.env)
    alice = server.user("alice", PASSWORD)
    sentence = (
        f"The driver could not be started: the server has no Kerberos ticket for {PRINCIPAL} (hadoop.keytab)"
    )
    session = alice.create(kind="pyspark")
    assert session.wait("dead") == "dead"
    assert session.log()[0].startswith(sentence)
    batch = alice.post("/batches", {"file": "hdfs:///x.py"}).json()["id"]
    wait_until("the batch ends", lambda: alice.get(f"/batches/{batch}").json()["state"] == "dead")
    assert sentence in "\n".join(alice.get(f"/batches/{batch}/log").json()["log"])
    assert server.log().count("no Kerberos ticket could be got with hadoop.keytab: kinit:") == 1
    assert not stub.argvs()

    (kdc.home / "right.keytab").unlink(missing_ok=True)
    kdc.admin(f"ktadd -norandkey -k {kdc.home / 'right.keytab'} {PRINCIPAL}")
    (kdc.home / "right.keytab").replace(wrong)
    wait_until("there is a ticket", lambda: GOT in server.log(), 30)
    alice.create(kind="pyspark")
    wait_until("a driver is started", lambda: len(stub.argvs()) == 1)
    wrong.unlink()
    server.restart()
    assert "the one that there is ends in" in server.log()
    server.user("alice", PASSWORD).create(kind="pyspark")
    wait_until("another driver is started", lambda: len(stub.argvs()) >= 2)


def test_check_says_what_is_wrong(kdc: Realm, tmp_path: Path) -> None:
    """A right keytab, then each way in which one can't be used."""
    own = tmp_path / "keytab"
    own.write_bytes((kdc.home / "launch.keytab").read_bytes())
    own.chmod(0o600)
    other = keytab(kdc, "HTTP/other", tmp_path / "other")

    def said(path: Path, *more: str, **env: str) -> str:
        sets = {"hadoop.keytab": path, "hadoop.principal": PRINCIPAL}
        words = [f"--set={key}={value}" for key, value in sets.items()]
        ended = command("check", *words, *more, **{**kdc.env, **env})
        (line,) = [line for line in ended.stdout.splitlines() if line[6:].startswith("hadoop:")]
        return line

    assert said(own) == f"ok    hadoop: the KDC gives a ticket for {PRINCIPAL}"
    assert "WRONG" in said(other)
    assert "Keytab contains no suitable keys" in said(other)
    assert "can't be read" in said(tmp_path / "nowhere")
    assert "there is no kinit on PATH" in said(own, PATH=str(tmp_path))
    own.chmod(0o644)
    assert "can be read by other users of this host" in said(own)
    ended = command("check", "--set=conf_dir.x.users=ada", "--set=conf_dir.x.spark=/no/such/place", **kdc.env)
    assert "WRONG directories of configuration: conf_dir.x.spark: there is no directory" in ended.stdout


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hadoop.keytab": "/k", "hadoop.principal": "firesteel"}, "hadoop.principal"),
        ({"hadoop.principal": "a@B"}, "set hadoop.keytab"),
        ({"hadoop.proxy_user": True, "pool.size": 1}, "a warm driver is nobody's"),
        ({"hadoop.proxy_user": True, "run_as.mode": "owner"}, "run_as.keytabs"),
        ({"run_as.keytabs": "/k/%u"}, 'set run_as.mode = "owner"'),
        ({"run_as.keytabs": "/k", "run_as.mode": "owner"}, "has no %u"),
        ({"conf_dir.x.users": ["ada"]}, "conf_dir.x.spark"),
        ({"conf_dir.x.hadoop": "/etc"}, "conf_dir.x.users"),
        ({"conf_dir.x.users": ["ada"], "conf_dir.x.hadoop": "etc"}, "absolute"),
    ],
)
def test_what_does_not_go_together(user_file: Path, settings: dict[str, object], words: str) -> None:
    """The server does not start, and names the key."""
    server = Server({"access.mode": "basic", "access.basic_file": user_file, **settings}, start=False)
    try:
        assert server.start_to_die() == 64
        assert words in server.log()
    finally:
        server.discard()


# Says whose ticket it has, before it sleeps.
CANARY = r"""
stat -c '%u %a' "$KRB5CCNAME" > CALLS/cache.$$
KLIST -c "$KRB5CCNAME" > CALLS/klist.$$
for word; do last=$word; done
touch CALLS/done.$$
exec sleep 1000000
"""


@pytest.mark.skipif(not is_root(), reason="only root runs processes as others")
def test_users_own_tickets(kdc: Realm, tmp_path: Path) -> None:
    """A driver that runs as its user has that one's ticket, got with that one's keytab, in a cache of its own
    that is renewed while it lives; without a keytab it ends with a sentence."""
    with users(2) as (one, other), open_directory() as directory:
        stub = Stub(directory / "spark", "")
        script = stub.home / "bin/spark-submit"
        canary = CANARY.replace("CALLS", str(stub.calls)).replace("KLIST", program("klist"))
        script.write_text(script.read_text() + canary)
        stub.calls.chmod(0o1777)
        krb5 = directory / "krb5.conf"
        krb5.write_text(Path(kdc.env["KRB5_CONFIG"]).read_text())
        keytabs = directory / "keytabs"
        keytabs.mkdir(mode=0o711)
        for user in (one, other):
            kdc.admin(f'addprinc -randkey -maxlife "8 seconds" {user.pw_name}')
        path = keytab(kdc, one.pw_name, keytabs / f"{one.pw_name}.keytab")
        os.chown(path, one.pw_uid, one.pw_gid)
        # Another's that it may not read: its own keytab is missing.
        closed = keytab(kdc, other.pw_name, keytabs / f"{other.pw_name}.keytab")
        assert (closed.stat().st_uid, stat.S_IMODE(closed.stat().st_mode)) == (0, 0o600)
        settings = {
            **stub.settings,
            "run_as.keytabs": str(keytabs / "%u.keytab"),
            "hadoop.retry_interval": "200ms",
        }
        names = [one.pw_name, other.pw_name]
        server = run_as_server(settings, names, tmp_path, env={"KRB5_CONFIG": str(krb5)})
        try:
            server.start()
            owns_its_ticket(server, stub, one, path)
            refused = server.user(other.pw_name, PASSWORD).create(kind="pyspark")
            assert refused.wait("dead") == "dead"
            expected = f"No Kerberos ticket for {other.pw_name} could be got (run_as.keytabs): kinit:"
            assert refused.log()[0].startswith(expected)
            assert not any(stub.calls.glob(f"*{other.pw_name}*"))
        finally:
            server.stop()


def owns_its_ticket(server: Server, stub: Stub, user: pwd.struct_passwd, path: Path) -> None:
    """What a driver says of its ticket, and what becomes of that."""
    session = server.user(user.pw_name, PASSWORD).create(kind="pyspark")
    (done,) = wait_until("the canary has written", lambda: list(stub.calls.glob("done.*")))
    pid = int(done.suffix[1:])
    assert (stub.calls / f"cache.{pid}").read_text().strip() == f"{user.pw_uid} 600"
    assert f"Default principal: {user.pw_name}@{NAME}" in (stub.calls / f"klist.{pid}").read_text()
    found = processes.look(pid)
    assert found is not None
    cache = Path(found.environ["KRB5CCNAME"])
    assert cache.parent.name == "own"
    assert str(path) not in " ".join([*found.argv, *found.environ.values()])
    before = cache.stat().st_ino
    wait_until("another ticket is in its place", lambda: cache.stat().st_ino != before, 30)
    assert (cache.stat().st_uid, stat.S_IMODE(cache.stat().st_mode)) == (user.pw_uid, 0o600)
    asked = [program("klist"), "-s", "-c", str(cache)]
    assert subprocess.run(asked, env=environment(), check=False).returncode == 0
    path.unlink()
    trouble = f"No Kerberos ticket for {user.pw_name} could be got (run_as.keytabs): kinit:"
    wait_until("its log says that it is not renewed", lambda: trouble in "\n".join(session.log()), 30)
