"""YARN whose web servers ask for Kerberos: the real daemons and a real KDC. Their cookies last two seconds,
so that tickets are shown again."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest
import requests
from harness.processes import wait_until
from harness.realm import NAME, Realm
from harness.yarn import Yarn
from harness.yarn_batch import LIMIT, Batch, server_of


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A KDC, which knows the server too; the test itself has a ticket."""
    made = Realm(tmp_path_factory.mktemp("kdc") / "realm")
    made.admin("addprinc -randkey firesteel")
    made.daemon.start()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in made.log_in("alice").items():
            patched.setenv(name, value)
        yield made
    made.daemon.stop()


@pytest.fixture(scope="module")
def yarn(realm: Realm) -> Iterator[Yarn]:
    """A ResourceManager and a NodeManager."""
    yarn = Yarn(realm=realm)
    yield yarn
    yarn.stop()


def test_the_servers_ticket_is_shown(realm: Realm, yarn: Yarn, jobs: Path, tmp_path: Path):
    """Followed to its end with its log, and killed."""
    with requests.Session() as stranger:
        stranger.trust_env = False
        assert stranger.get(f"{yarn.url}/ws/v1/cluster/info", timeout=30).status_code == 401
    settings = {
        "hadoop.keytab": realm.user_keytab("firesteel"),
        "hadoop.principal": f"firesteel@{NAME}",
        "driver.env_pass": ["KRB5_CONFIG"],
    }
    server = server_of(yarn, jobs, "cluster", env=realm.env, **settings)
    try:
        good = Batch(server, jobs)
        good.wait("success")
        assert "sum 45" in good.log()
        killed = Batch(server, jobs, str(tmp_path / "never"))
        killed.wait("running")
        app_id = killed.wait_id()
        assert server.api.delete(killed.path).status_code == 200
        assert yarn.wait_over(app_id)["state"] == "KILLED"
        assert "Negotiate" not in server.log() and "hadoop.auth" not in server.log()
    finally:
        server.stop()


def test_without_a_ticket_it_is_said_why(realm: Realm, yarn: Yarn, jobs: Path, tmp_path: Path):
    env = {**realm.env, "KRB5CCNAME": f"FILE:{tmp_path}/none"}
    server = server_of(yarn, jobs, "cluster", env=env)
    try:
        batch = Batch(server, jobs)
        told = "asks for Kerberos, and there is no ticket (hadoop.keytab, else KRB5CCNAME): "
        wait_until("its log tells", lambda: any(told in line for line in batch.log()), LIMIT)
    finally:
        server.stop()
