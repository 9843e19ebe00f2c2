"""sparkmagic and pylivy from PyPI against one server with a real Spark that takes Kerberos tickets, the
directory's passwords and a provider's tokens: each client logs in as its users do."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest
import requests
from harness.directory import PASSWORDS, Directory
from harness.issuer import Issuer
from harness.notebook import Notebook, errors, texts
from harness.realm import Realm
from harness.server import Server
from harness.spark import Spark
from livy import LivySession, SessionKind
from livy.client import LivyClient

CONF = {"spark.ui.enabled": "false"}


@pytest.fixture(scope="module")
def server(default_spark: Spark, directory: Directory, realm: Realm, issuer: Issuer) -> Iterator[Server]:
    """All three ways at once."""
    ways = {**directory.settings, **realm.settings, **issuer.settings}
    settings = {**default_spark.settings, **ways, "spark.master": "local[2]"}
    made = Server({**settings, "access.mode": ["kerberos", "ldap", "jwt"]}, env=realm.env)
    yield made
    made.stop()


def fine(notebook: Notebook, source: str) -> str:
    """Run a cell that must show no error, and give what it shows."""
    cell = notebook.run(source)
    assert not errors(cell), f"{source!r}: {texts(cell)}"
    return texts(cell)


def test_sparkmagic(server: Server, realm: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One kernel, a session by Kerberos, which proves the server, and one by name and password."""
    for name, value in realm.log_in("mallory").items():
        monkeypatch.setenv(name, value)
    # The name that the server's key is for.
    url = f"http://localhost:{server.port}"
    # Whose password has no blank, which the magic's arguments can't have.
    dave = server.user("dave", PASSWORDS["dave"])
    with Notebook("plain", tmp_path, url) as notebook:
        fine(notebook, "%load_ext sparkmagic.magics")
        basic = f"-t Basic_Access -a dave -p {PASSWORDS['dave']}"
        shown = fine(notebook, f"%spark add -s basic -l python -u {url} {basic}")
        assert "SparkSession available as 'spark'" in shown
        shown = fine(notebook, f"%spark add -s ticket -l python -u {url} -t Kerberos")
        assert "SparkSession available as 'spark'" in shown
        assert "42" in fine(notebook, "%%spark -s basic\n6 * 7")
        assert "43" in fine(notebook, "%%spark -s ticket\n6 * 7 + 1")
        assert [session["owner"] for session in dave.sessions()] == ["dave"]
        wrong = notebook.run(f"%spark add -s wrong -l python -u {url} -t Basic_Access -a dave -p wrong")
        assert "401" in texts(wrong)
        fine(notebook, "%spark cleanup")
    assert list(dave.ids()) == []


class Bearer(requests.auth.AuthBase):
    """A token, as pylivy takes it."""

    def __init__(self, token: str):
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def test_pylivy(server: Server, issuer: Issuer) -> None:
    """A session by a token; the same user by password sees it, others do not, and wrong ones get 401."""
    bearer = Bearer(issuer.token("bob"))
    made = LivySession.create(server.url, kind=SessionKind.PYSPARK, auth=bearer, spark_conf=CONF, echo=False)
    with made as session:
        assert session.run("6 * 7").text == "42"
        listed = {}
        for user in ("bob", "alice"):
            client = LivyClient(server.url, auth=(user, PASSWORDS[user].encode()))  # type: ignore[arg-type]
            listed[user] = [one.session_id for one in client.list_sessions()]
            client.close()
        assert listed == {"bob": [session.session_id], "alice": []}
        for wrong in (("bob", "wrong"), ("bob", ""), Bearer(issuer.token("bob", aud="other"))):
            client = LivyClient(server.url, auth=wrong)
            with pytest.raises(requests.HTTPError, match="401"):
                client.list_sessions()
            client.close()
