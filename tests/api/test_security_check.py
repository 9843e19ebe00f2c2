"""`firesteel check --security` says what a configuration leaves open, and no longer once it is closed."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.server import command

DRIVERS = {"run_as.mode": "owner", "driver.memory_max": "4GiB", "driver.disk_max": "20GiB"}
"""What keeps users' drivers from one another."""


def said(tmp_path: Path, **settings: str) -> list[str]:
    """Its lines for a configuration."""
    (tmp_path / "state").mkdir(mode=0o700, exist_ok=True)
    (tmp_path / "state").chmod(0o700)
    sets = {"server.state_dir": str(tmp_path / "state"), **settings}
    ended = command("check", "--security", *(f"--set={key}={value}" for key, value in sets.items()))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A file of users that only its owner reads."""
    file = tmp_path / "users"
    assert command("passwd", str(file), "alice", stdin="wonder land\n").returncode == 0
    return file


def test_the_defaults_are_for_one_person(tmp_path: Path) -> None:
    """Nobody is asked for a name."""
    (line,) = said(tmp_path)
    assert line.startswith("Nobody is asked who calls")
    assert "(access.mode)" in line


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("server.listen", "0.0.0.0:8998", "Passwords and tokens come to 0.0.0.0:8998 in clear"),
        ("server.hosts", "[]", "Every Host is served"),
        ("access.csrf", "false", "State changes need no X-Requested-By"),
        ("metrics.access", "open", "may read its metrics"),
        ("access.superusers", "root", "root may act as anybody"),
        ("policy.conf.allow", "spark.driver.extraJava*,spark.app.name", "by spark.driver.extraJava* ("),
        ("policy.conf.allow", "*", "by * (policy.conf.allow)"),
        ("files.allow", "/", "read all below / (files.allow)"),
        ("spark.master", "spark://127.0.0.1:7077", "one secret for all applications"),
        ("spark.conf.spark.ui.enabled", "true", "Spark's own UI is on"),
        ("run_as.mode", "server", "All drivers run as the server's own user"),
        ("driver.memory_max", "0B", "the host's memory"),
        ("driver.pids_max", "0", "the host's processes and threads"),
        ("driver.disk_max", "0B", "the host's room on the disk"),
    ],
)
def test_what_one_key_opens(tmp_path: Path, users: Path, key: str, value: str, words: str) -> None:
    """A configuration that closes what is known leaves nothing; each key alone opens one thing."""
    closed = {
        "access.mode": "basic",
        "access.basic_file": str(users),
        "access.csrf": "true",
        "access.impersonation": "true",
        "server.hosts": "spark.example.com",
        "server.plain_http": "true",
        **DRIVERS,
    }
    assert said(tmp_path, **closed) == ["Nothing is known to be open."]
    (line,) = said(tmp_path, **{**closed, key: value})
    assert words in line


def test_files_that_others_can_read(tmp_path: Path, users: Path) -> None:
    """The file of users and the state directory."""
    closed = {
        "access.mode": "basic",
        "access.basic_file": str(users),
        "server.hosts": "a",
        "access.csrf": "true",
        **DRIVERS,
    }
    users.chmod(0o666)
    assert said(tmp_path, **closed) == [
        f"{users}: password hashes can be read by other users of this host.",
        f"{users}: users can be added or changed by other users of this host.",
    ]


def test_a_configuration_that_is_wrong(tmp_path: Path) -> None:
    """Is told as by `firesteel check`."""
    ended = command("check", "--security", "--set", "access.mode=basic", "--state-dir", str(tmp_path))
    assert ended.returncode == 1
    assert ended.stdout.startswith("WRONG configuration: ")
    assert "access.basic_file" in ended.stdout


def test_the_servers_ticket_in_users_reach(tmp_path: Path, users: Path) -> None:
    """With a keytab of the server's: who can read it, and who acts as the server; who can change what drivers
    start with."""
    keytab = tmp_path / "keytab"
    keytab.write_bytes(b"")
    keytab.chmod(0o600)
    hadoop = {"hadoop.keytab": str(keytab), "hadoop.principal": "firesteel@EXAMPLE.TEST"}
    named = {"access.mode": "basic", "access.basic_file": str(users)}
    reach, nameless = (
        "can read the server's keytab and its Kerberos ticket",
        "on the cluster as firesteel@EXAMPLE.TEST itself",
    )
    assert any(reach in line for line in said(tmp_path, **hadoop, **named))
    assert any(nameless in line for line in said(tmp_path, **hadoop))
    cluster = said(tmp_path, **hadoop, **named, **{"spark.master": "yarn", "spark.deploy_mode": "cluster"})
    assert not any(reach in line or nameless in line or "Kerberos" in line for line in cluster)
    keytab.chmod(0o644)
    assert f"{keytab}: the Kerberos key can be read by other users of this host." in said(
        tmp_path, **hadoop, **named
    )
    conf = tmp_path / "conf"
    conf.mkdir()
    conf.chmod(0o777)
    assert f"{conf}: what drivers start with can be changed by other users of this host." in said(
        tmp_path, **named, **{"conf_dir.x.users": "alice", "conf_dir.x.spark": str(conf)}
    )
