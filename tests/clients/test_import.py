"""`firesteel import`: Livy's own configuration and three as they are found, key by key, and servers that
start with what comes of it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
import tomllib
from harness.certificates import Authority
from harness.directory import PASSWORDS, PEOPLE, Directory
from harness.server import ROOT, Server, command, free_port
from harness.spark import Spark

USAGE = 64
CONFIGURATIONS = Path(__file__).parent / "livy_conf"
NAMES = ["template", "hadoop", "ldap", "kubernetes"]
PLACE = re.compile(r"^(?:(?P<file>/\S+?)(?::\d+)?|Livy's default): (?P<key>\S+): (?P<words>.+)$")
COMMENT = re.compile(r"^# ((?:livy\.|spark-)[\w.-]+)(?:: .*)?$")
SECRET = "-secret"
STORE_PASSWORD = "changeit"

EXPECTED: dict[str, dict[str, Any]] = {
    "hadoop": {
        "server": {"listen": "127.0.0.1:8999"},
        "spark": {"master": "yarn", "deploy_mode": "cluster", "hive": True},
        "hadoop": {
            "keytab": "/etc/security/keytabs/livy.service.keytab",
            "principal": "livy/_HOST@EXAMPLE.COM",
            "proxy_user": True,
            "renew_interval": "30m",
        },
        "cluster": {"poll_interval": "500ms", "lookup_timeout": "5m"},
        "session": {"idle_timeout": "1h", "start_timeout": "10m", "ended_shown": "1h"},
        "batch": {"ended_shown": "1h"},
        "statement": {"kept": 5000},
        "driver": {"orphan_grace": "1h"},
        "limits": {"starting": 20},
        "files": {"allow": ["/usr/lib/spark", "/opt/jobs"]},
        "policy": {
            "conf": {
                "deny": [
                    "spark.master",
                    "spark.submit.deployMode",
                    "spark.yarn.jars",
                    "spark.yarn.archive",
                    "spark.hadoop.yarn.resourcemanager.address",
                ]
            }
        },
        "access": {
            "mode": ["kerberos"],
            "csrf": True,
            "impersonation": True,
            "superusers": ["knox", "hue", "zeppelin"],
            "view_users": ["auditor"],
            "allowed_users": ["*"],
            "kerberos": {
                "keytab": "/etc/security/keytabs/spnego.service.keytab",
                "principal": "HTTP/_HOST@EXAMPLE.COM",
            },
        },
    },
    "ldap": {
        "server": {
            "listen": "0.0.0.0:443",
            "tls": {"cert": "/etc/livy/livy.jks.crt.pem", "key": "/etc/livy/livy.jks.key.pem"},
        },
        "spark": {
            "home": "/opt/spark",
            "master": "spark://master.example.com:7077",
            "history_server": "https://history.example.com",
        },
        "session": {"idle_timeout": "12h", "ttl": "2days"},
        "upload": {"max_bytes": "2048MiB"},
        "sql": {"max_rows": 250000, "max_rows_ceiling": 250000},
        "limits": {"sessions": 30},
        "access": {
            "mode": ["ldap"],
            "superusers": ["ada"],
            "modify_users": ["ada"],
            "view_users": ["ada", "bob"],
            "allowed_users": ["ada", "bob", "eve"],
            "ldap": {
                "url": "ldap://ldap.example.com:389",
                "user_dn": "uid={user},ou=people,dc=example,dc=com",
            },
        },
    },
    "kubernetes": {
        "server": {"listen": "127.0.0.1:8998"},
        "spark": {
            "home": "/opt/spark",
            "master": "k8s://https://kubernetes.default.svc.cluster.local:443",
            "deploy_mode": "cluster",
            "history_server": "http://spark-history-server.spark.svc",
        },
        "cluster": {"poll_interval": "15s", "lookup_timeout": "10m"},
        "session": {"idle_timeout": "0s", "start_timeout": "5m", "ended_shown": "7days"},
        "batch": {"ended_shown": "7days"},
        "limits": {"starting": 10},
        "files": {"allow": ["/opt/jars", "/opt/.livy-sessions/"]},
        "access": {"mode": ["basic"], "basic_file": "/etc/firesteel/users"},
    },
}


def keys_of(file: Path) -> set[str]:
    """The keys that one of Livy's files sets, read without the help of what is tested."""
    if file.name in ("livy-env.sh", "log4j.properties", "spark-blacklist.conf"):
        return {file.name}
    text = re.sub(r"\\\n\s*", "", file.read_text())
    lines = (line.strip() for line in text.splitlines())
    return {re.split(r"[=:\s]", line, maxsplit=1)[0] for line in lines if line and line[0] not in "#!"}


def imported(*argv: object, **env: str) -> tuple[str, str]:
    """What goes to standard output and to standard error."""
    ended = command("import", *map(str, argv), **env)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, ended.stderr


def refused(*argv: object) -> str:
    """What an import says that is refused; nothing comes out of it."""
    ended = command("import", *map(str, argv))
    assert (ended.returncode, ended.stdout) == (USAGE, ""), ended
    return ended.stderr


def told(report: str) -> dict[str, str]:
    """What is said of each key that is listed: the words."""
    lines = [line for line in report.splitlines() if not line.startswith("firesteel: ")]
    found = {}
    for line in lines:
        match = PLACE.match(line)
        assert match, line
        assert match["key"] not in found, line
        found[match["key"]] = match["words"]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_mapped_or_listed(name: str) -> None:
    """Each key that is set is above a key of the new file, or is listed with a reason; and none is both
    unless it leaves something to do."""
    directory = CONFIGURATIONS / name
    text, report = imported(directory)
    expected = set().union(*(keys_of(file) for file in directory.iterdir()))
    assert len(expected) > 25
    mapped = {found[1] for found in map(COMMENT.match, text.splitlines()) if found}
    listed = told(report)
    # Livy's default, which is told of where no file sets it.
    assert (mapped | listed.keys()) - expected <= {"livy.server.host"}
    assert expected <= mapped | listed.keys(), expected - mapped - listed.keys()
    assert {listed[key].split(":")[0] for key in mapped & listed.keys()} <= {"to do"}
    for key in listed.keys() - mapped:
        assert re.match(r"(no counterpart|nothing to set): .{5}|unknown to Livy and here", listed[key]), key
    counted = re.search(r"mapped: (\d+) .* counterpart: (\d+); unknown: (\d+)\n$", report)
    assert counted and sum(map(int, counted.groups())) == len(expected), report


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_out_is_taken(name: str, tmp_path: Path) -> None:
    """`firesteel check` finds the configuration valid, whatever the environment has."""
    config = tmp_path / "firesteel.toml"
    imported(CONFIGURATIONS / name, "--output", config, FIRESTEEL_SERVER__LISTEN="nowhere")
    checked = command("check", "--config", str(config), "--state-dir", str(tmp_path / "state"))
    assert checked.stdout.splitlines()[0] == "ok    configuration: valid"
    made = tomllib.loads(config.read_text())
    if name in EXPECTED:
        assert made == EXPECTED[name]
    else:
        # Livy's defaults open nothing here.
        assert made["server"] == {"listen": "127.0.0.1:8998"}
        assert made["access"] == {"csrf": False, "impersonation": False}


def test_no_secret_is_shown() -> None:
    """Neither what Livy keeps secret nor any value that has no counterpart."""
    for name in NAMES:
        text, report = imported(CONFIGURATIONS / name)
        assert SECRET not in text + report
    for name, key in [
        ("ldap", "livy.keystore.password"),
        ("ldap", "livy.key-password"),
        ("kubernetes", "livy.server.kubernetes.oauthTokenValue"),
        ("kubernetes", "livy.server.auth.gateway.param.secret"),
        ("hadoop", "livy.rsc.client.auth.secret"),
        ("hadoop", "livy.server.zk.ssl.truststore.password"),
    ]:
        assert SECRET in "".join(file.read_text() for file in (CONFIGURATIONS / name).iterdir())
        assert "a secret, which is not taken over" in told(imported(CONFIGURATIONS / name)[1])[key]


def test_unknown_keys() -> None:
    """What neither Livy nor Firesteel knows is listed as such, with the key that was meant."""
    listed = told(imported(CONFIGURATIONS / "hadoop")[1])
    unknown = {key: words for key, words in listed.items() if words.startswith("unknown")}
    assert unknown == {
        "livy.server.session.factory": "unknown to Livy and here",
        "livy.server.yarn.app-lookup-timeuot": "unknown to Livy and here: did you mean "
        "livy.server.yarn.app-lookup-timeout?",
    }


def test_what_is_left_to_do_stands_in_both() -> None:
    """In the new file above its key, and on standard error with file and line."""
    text, report = imported(CONFIGURATIONS / "ldap")
    place = f"{CONFIGURATIONS}/ldap/livy.conf:5: livy.keystore: to do: "
    line = next(line for line in report.splitlines() if line.startswith(place))
    assert f"# livy.keystore: TO DO: {line.removeprefix(place)}\ncert = " in text


def test_files_and_directories(tmp_path: Path) -> None:
    """Each file may be named; of two that set a key the first counts; what is commented out is not set."""
    (tmp_path / "livy.conf").write_text("#livy.server.port = 1\nlivy.rsc.sql.num-rows = 10\n")
    (tmp_path / "livy-client.conf").write_text(
        "livy.rsc.sql.num-rows = 20\nlivy.rsc.server.idle-timeout = 5m\n"
    )
    (tmp_path / "livy.conf.template").write_text("livy.server.port = 2\n")
    text, report = imported(tmp_path)
    assert tomllib.loads(text) == {
        "server": {"listen": "127.0.0.1:8998"},
        "sql": {"max_rows": 10},
        "driver": {"orphan_grace": "5m"},
    }
    again = (
        f"{tmp_path}/livy-client.conf:1: livy.rsc.sql.num-rows: set again: {tmp_path}/livy.conf:2 counts\n"
    )
    assert again in report
    text, _ = imported(tmp_path / "livy-client.conf", tmp_path / "livy.conf")
    assert tomllib.loads(text)["sql"] == {"max_rows": 20}


def test_the_output_is_a_file_of_its_owners(tmp_path: Path) -> None:
    """0600 from the beginning, never replaced without --force, and then only by a whole one."""
    output = tmp_path / "firesteel.toml"
    argv = [CONFIGURATIONS / "ldap", "--output", output]
    text, report = imported(*argv)
    assert text == "" and "livy.keystore: to do" in report
    assert output.stat().st_mode & 0o777 == 0o600
    assert output.read_text() == imported(CONFIGURATIONS / "ldap")[0]
    assert f"{output}: is there already: name another file, or add --force" in refused(*argv)
    output.write_text("mine")
    output.chmod(0o644)
    refused(*argv)
    assert output.read_text() == "mine"
    imported(*argv, "--force")
    assert tomllib.loads(output.read_text()) == EXPECTED["ldap"]
    assert output.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [output]
    assert f"{tmp_path}/nowhere/x" in refused(CONFIGURATIONS / "ldap", "--output", tmp_path / "nowhere/x")
    # --force is of no use alone.
    assert command("import", str(CONFIGURATIONS / "ldap"), "--force").returncode == USAGE


def test_what_is_wrong(tmp_path: Path) -> None:
    """File, line, key and fix; nothing is written, and the value, which may be a secret, is not shown."""
    conf = tmp_path / "livy.conf"
    output = tmp_path / "firesteel.toml"
    for text, words in [
        ("livy.server.port = port-secret", ":1: livy.server.port: must be a port, from 0 to 65535"),
        ("# a\nlivy.superusers = *", ":2: livy.superusers: access.superusers: `*` would make"),
        ("\n\nlivy.keystore = livy.jks", ":3: livy.keystore: server.tls.cert: "),
        ("a = b\nlivy.server.host = \\u12", ":2: livy.server.host: not a properties file: "),
        (
            "livy.impersonation.enabled = true # yes",
            ":1: livy.impersonation.enabled: must be true or false; a # ",
        ),
    ]:
        conf.write_text(text + "\n")
        said = refused(tmp_path, "--output", output)
        assert f"firesteel: {conf}{words}" in said
        assert SECRET not in said and not output.exists()
    conf.write_bytes(b"livy.server.host = \xff\n")
    assert f"{conf}: stream did not contain valid UTF-8" in refused(conf)
    conf.write_bytes(b"#" * (1 << 20) + b"\n")
    assert f"{conf}: is over 1 MiB" in refused(conf)
    conf.unlink()
    assert f"{conf}: No such file" in refused(conf)
    assert f"{tmp_path}: has none of livy.conf, livy-client.conf" in refused(tmp_path)
    assert command("import").returncode == USAGE


def serve(config: Path, authority: Path | None = None, **env: str) -> Server:
    """A server with just this configuration: its address too is the file's."""
    server = Server(start=False, authority=authority, env=env)
    own = ["--set", "shutdown.sessions=end", "--set", "driver.class_archive=false"]
    server.argv = [*server.argv[:2], "--config", str(config), "--state-dir", str(server.state_dir), *own]
    server.start()
    return server


def test_a_server_with_what_came_of_it(default_spark: Spark, tmp_path: Path) -> None:
    """Port, Spark, allowed files, refused conf and row limit are what Livy's files said."""
    port = free_port()
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "livy.conf").write_text(
        f"livy.server.host = localhost\nlivy.server.port = {port}\nlivy.spark.master = local[1]\n"
        f"livy.server.spark-home = {default_spark.home}\nlivy.file.local-dir-whitelist = {tmp_path}/jobs\n"
        "livy.server.csrf-protection.enabled = true\nlivy.ui.basePath = /behind/a/proxy\n"
    )
    (conf / "livy-client.conf").write_text("livy.rsc.sql.num-rows = 7\n")
    (conf / "spark-blacklist.conf").write_text("spark.executor.memory\n")
    config = tmp_path / "firesteel.toml"
    imported(conf, "--output", config)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/ok.py").write_text("print('ran')")
    server = serve(config)
    try:
        assert server.port == port
        assert server.api.post("/sessions", {"kind": "sql"}).status_code == 400
        server.api.http.headers["X-Requested-By"] = "test"
        answer = server.api.post("/sessions", {"conf": {"spark.executor.memory": "1g"}})
        assert answer.status_code == 400 and "spark.executor.memory" in answer.text
        assert server.api.post("/batches", {"file": f"{tmp_path}/other.py"}).status_code == 400
        conf = {"spark.ui.enabled": "false"}
        batch = server.api.post("/batches", {"file": f"{tmp_path}/jobs/ok.py", "conf": conf})
        assert batch.status_code == 201, batch.text
        session = server.api.create(kind="sql", conf=conf)
        session.wait("idle")
        rows = session.ok("SELECT * FROM range(20)")["application/json"]["data"]
        assert rows == [[number] for number in range(7)]
        session.delete()
        server.api.delete(f"/batches/{batch.json()['id']}")
    finally:
        server.stop()


def run(*argv: str, **env: str) -> None:
    """Run a program that must succeed."""
    subprocess.run(argv, check=True, capture_output=True, timeout=60, env={**os.environ, **env})


def test_a_server_with_livys_directory_and_keystore(
    directory: Directory, stub: dict, tmp_path: Path, make_keystore: Callable[[Path], Path]
) -> None:
    """Livy's users log in over HTTPS, with the certificate of Livy's own keystore."""
    authority = make_keystore(tmp_path / "livy.jks")
    conf = tmp_path / "livy.conf"
    conf.write_text(
        f"livy.server.host = 127.0.0.1\nlivy.server.port = {free_port()}\n"
        f"livy.keystore = {tmp_path}/livy.jks\n"
        f"livy.keystore.password = {STORE_PASSWORD}\nlivy.server.auth.type = ldap\n"
        f"livy.server.auth.ldap.url = {directory.url}\nlivy.server.auth.ldap.base-dn = {PEOPLE}\n"
        f"livy.server.spark-home = {stub['spark.home']}\nlivy.server.access-control.enabled = true\n"
        "livy.server.access-control.allowed-users = alice\n"
    )
    config = tmp_path / "firesteel.toml"
    imported(conf, "--output", config)
    server = serve(config, authority)
    try:
        assert server.url.startswith("https://")

        def status(user: str, password: str) -> int:
            return server.user(user, password).get("/sessions").status_code

        assert status("alice", PASSWORDS["alice"]) == 200
        assert status("alice", "wrong") == 401
        assert status("bob", PASSWORDS["bob"]) == 403
    finally:
        server.stop()


@pytest.fixture
def make_keystore(tmp_path: Path) -> Callable[[Path], Path]:
    """Make a keystore of Java's, and export from it as docs/from-livy.md says; gives the authority of its
    certificate."""

    def make(keystore: Path) -> Path:
        authority = Authority(tmp_path / "authority")
        cert, key = authority.issue("localhost")
        given = {"PASSWORD": STORE_PASSWORD}
        first, second = f"{keystore}.first.p12", tmp_path / "livy.p12"
        argv = ["openssl", "pkcs12", "-export", "-in", str(cert), "-inkey", str(key), "-out", first]
        run(*argv, "-passout", "env:PASSWORD", **given)
        store = ["-srcstorepass:env", "PASSWORD", "-deststorepass:env", "PASSWORD", "-noprompt"]
        argv = ["keytool", "-importkeystore", "-srckeystore", first, "-destkeystore", str(keystore)]
        run(*argv, "-deststoretype", "JKS", *store, **given)
        # From here on it is the page's.
        page = (ROOT / "docs/from-livy.md").read_text()
        commands = re.findall(r"(keytool -importkeystore [^`]+|openssl pkcs12 -in [^\n)]+)", page)
        assert len(commands) == 3
        for words in commands:
            asked = store if words.startswith("keytool") else ["-passin", "env:PASSWORD"]
            argv = words.replace("livy.jks", str(keystore)).replace("livy.p12", str(second)).split()
            run(*argv, *asked, **given)
        return authority.path

    return make


@pytest.fixture
def stub(make_stub: Callable[..., Any]) -> dict:
    """A Spark that sleeps: none is started here."""
    return make_stub().settings


def test_a_way_in_of_ones_own_leaves_no_door_open(stub: dict, tmp_path: Path) -> None:
    """The server does not start before somebody has said who may call."""
    config = tmp_path / "firesteel.toml"
    conf = tmp_path / "livy.conf"
    conf.write_text(f"livy.server.auth.type = mine\nlivy.server.port = {free_port()}\n")
    imported(conf, "--output", config)
    text = config.read_text()
    config.write_text(text.replace("/etc/firesteel/users", f"{tmp_path}/users"))
    assert config.read_text() != text
    own = ["--state-dir", str(tmp_path / "state"), "--set", f"spark.home={stub['spark.home']}"]
    ended = command("serve", "--config", str(config), *own)
    assert ended.returncode != 0 and f"{tmp_path}/users" in ended.stderr


def test_the_page_shows_what_is_said() -> None:
    """The lines that docs/from-livy.md shows are of the kind that is printed."""
    page = (ROOT / "docs/from-livy.md").read_text()
    shown = re.findall(r"^    /etc/livy/conf/livy.conf:\d+: (\S+): (.+?)(?: \.\.\.)?$", page, re.MULTILINE)
    listed = told(imported(CONFIGURATIONS / "ldap")[1])
    assert len(shown) == 2
    for key, words in shown:
        assert listed[key].startswith(words), key
