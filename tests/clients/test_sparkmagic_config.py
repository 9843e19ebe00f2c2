"""Each config.*.json of sparkmagic_config in the real sparkmagic, against one server with a real Spark that
takes passwords, tokens and Kerberos tickets; and the scripts that write them on other hosts."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
from harness.notebook import Notebook, errors, texts
from harness.realm import Realm
from harness.server import ROOT, Server, command, environment
from harness.spark import Spark
from traitlets.config.loader import PyFileConfigLoader

FOLDER = ROOT / "sparkmagic_config"
KERNELS = ["pysparkkernel", "sparkkernel", "sparkrkernel", "sqlkernel"]
PASSWORD = "wonder land: ü"


@pytest.fixture(scope="module")
def server(default_spark: Spark, realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All ways at once."""
    users = tmp_path_factory.mktemp("access") / "users"
    assert command("passwd", str(users), "alice", stdin=PASSWORD + "\n").returncode == 0
    ways = {**realm.settings, "access.mode": ["kerberos", "basic", "token"], "access.basic_file": str(users)}
    made = Server({**default_spark.settings, **ways, "spark.master": "local[2]"}, env=realm.env)
    yield made
    made.stop()


def load(folder: Path) -> Any:
    """What sparkmagic itself reads of a config.json, in a process of its own."""
    script = (
        "import json, sparkmagic.utils.configuration as c\n"
        "credentials = [c.base64_kernel_python_credentials(), c.base64_kernel_scala_credentials(),"
        " c.base64_kernel_r_credentials()]\n"
        "print(json.dumps({'credentials': credentials, 'headers': c.custom_headers(), 'kerberos':"
        " c.kerberos_auth_configuration(), 'timeout': c.livy_session_startup_timeout_seconds()}))"
    )
    env = environment(SPARKMAGIC_CONF_DIR=str(folder), SPARKMAGIC_CONF_FILE="config.json", HOME=str(folder))
    argv = [sys.executable, "-W", "ignore", "-c", script]
    ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(ended.stdout)


def test_the_files_differ_in_authentication_alone() -> None:
    """Each is whole, and any other setting is the same in all of them."""
    found = {path.name.split(".")[1]: json.loads(path.read_text()) for path in FOLDER.glob("config.*.json")}
    assert sorted(found) == ["basic", "kerberos", "none", "token"]
    for settings in found.values():
        settings.pop("kerberos_auth_configuration", None)
        settings["custom_headers"].pop("Authorization", None)
        for name in ("kernel_python_credentials", "kernel_scala_credentials", "kernel_r_credentials"):
            assert settings.pop(name)["url"] == "http://127.0.0.1:8998"
    assert len({json.dumps(settings, sort_keys=True) for settings in found.values()}) == 1


@pytest.mark.parametrize("way", ["basic", "token", "kerberos"])
def test_config(
    way: str, server: Server, realm: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's session is its user's."""
    # The name that the server's key is for.
    url = f"http://localhost:{server.port}"
    user, options, secret = "alice", ["--auth", way], ""
    alice = server.user("alice", PASSWORD)
    if way == "basic":
        options += ["--user", "alice"]
        secret = PASSWORD
    elif way == "token":
        secret = alice.post("/tokens", {"name": "notebook"}).json()["token"]
    else:
        user = "mallory"
        for name, value in realm.log_in("mallory").items():
            monkeypatch.setenv(name, value)
    with Notebook("pysparkkernel", tmp_path, url, options=options, secret=secret) as notebook:
        loaded = load(tmp_path / "config")
        assert {one["auth"] for one in loaded["credentials"]} == {
            {"basic": "Basic_Access", "token": "None", "kerberos": "Kerberos"}[way]
        }
        assert {one["url"] for one in loaded["credentials"]} == {url}
        assert loaded["timeout"] == 300
        cell = notebook.run("import os\nos.environ.get('USER'), 6 * 7")
        assert not errors(cell), texts(cell)
        assert "42" in texts(cell)
        listed = server.api.get("/sessions")
        assert listed.status_code == 401
        owners = [session["owner"] for session in alice.sessions()]
        assert owners == ([] if way == "kerberos" else [user])
    if way != "kerberos":
        # With another secret the same configuration is refused, and says so.
        wrong = tmp_path / "wrong"
        with Notebook("pysparkkernel", wrong, url, options=options, secret="fst_wrong") as notebook:
            assert "401" in errors(notebook.run("6 * 7"))


def jupyter_kernels(env: dict[str, str]) -> dict[str, Any]:
    """What Jupyter itself finds."""
    argv = [sys.executable, "-m", "jupyter", "kernelspec", "list", "--json"]
    ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(ended.stdout)["kernelspecs"]


def home_environment(home: Path, **more: str) -> dict[str, str]:
    """A new user's."""
    return environment(HOME=str(home), FIRESTEEL_PYTHON=sys.executable, **more)


def start(home: Path, *argv: str, secret: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run datalab/start.sh as a new user's."""
    program = str(FOLDER / "datalab/start.sh")
    env = home_environment(home, **more)
    return subprocess.run(
        [program, *argv], env=env, input=secret, capture_output=True, text=True, timeout=120, check=False
    )


def test_datalab(live_server: Server, tmp_path: Path) -> None:
    """A new host has kernels, settings and examples; a second run leaves what the user has changed."""
    ended = start(tmp_path, live_server.url)
    assert ended.returncode == 0, ended.stderr
    assert "No Firesteel answers" not in ended.stdout
    found = jupyter_kernels(home_environment(tmp_path))
    assert set(KERNELS) <= set(found)
    assert all(found[name]["spec"]["argv"][0] == sys.executable for name in KERNELS)
    written = tmp_path / ".sparkmagic/config.json"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert load(written.parent)["credentials"][0]["url"] == live_server.url
    example = tmp_path / "firesteel/sql.ipynb"
    example.write_text("mine")
    again = start(tmp_path, "http://127.0.0.1:9/firesteel", "basic", "alice", secret="wonder\n")
    assert again.returncode == 0, again.stderr
    assert "No Firesteel answers there now" in again.stdout
    assert example.read_text() == "mine"
    (one, _, _) = load(written.parent)["credentials"]
    assert one == {
        "username": "alice",
        "password": "wonder",
        "url": "http://127.0.0.1:9/firesteel",
        "auth": "Basic_Access",
    }
    for argv, says in [
        ((), "usage"),
        (("ftp://x",), "http://"),
        (("http://x", "magic"), "invalid choice"),
        (("http://x", "basic"), "--user"),
        (("http://x", "token"), "standard input"),
    ]:
        wrong = start(tmp_path, *argv)
        assert wrong.returncode != 0
        assert says in wrong.stderr, (argv, wrong.stderr)
    assert load(written.parent)["credentials"][0] == one


def test_jupyterhub(tmp_path: Path) -> None:
    """The hub starts users' servers through the script, which writes their settings; secrets end there."""
    loaded = PyFileConfigLoader("jupyterhub_config.py", path=str(FOLDER / "jupyterhub")).load_config()
    program, single = loaded.Spawner.cmd
    assert single == "jupyterhub-singleuser"
    assert os.access(program, os.X_OK)
    url = "http://spark.example.com/firesteel"
    base = {**dict(loaded.Spawner.environment), "FIRESTEEL_URL": url, "JUPYTERHUB_USER": "alice"}

    def spawn(**more: str) -> str:
        env = home_environment(tmp_path, **{**base, **more})
        argv = [program, "sh", "-c", 'echo "ran $1 ${FIRESTEEL_SECRET-none}"', "sh", "--port=1"]
        ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=True)
        assert "ran --port=1 none" in ended.stdout
        return ended.stderr

    assert spawn() == ""
    assert set(KERNELS) <= set(jupyter_kernels(home_environment(tmp_path)))
    assert load(tmp_path / ".sparkmagic")["credentials"][1]["url"] == url
    assert spawn(FIRESTEEL_AUTH="token", FIRESTEEL_SECRET="fst_abc") == ""
    assert load(tmp_path / ".sparkmagic")["headers"]["Authorization"] == "Bearer fst_abc"
    # Basic without a password: nothing to write. With it, and then without: the user's is kept.
    assert "standard input" in spawn(FIRESTEEL_AUTH="basic")
    spawn(FIRESTEEL_AUTH="basic", FIRESTEEL_SECRET="wonder")
    assert spawn(FIRESTEEL_AUTH="basic") == ""
    (one, _, _) = load(tmp_path / ".sparkmagic")["credentials"]
    assert (one["username"], one["password"]) == ("alice", "wonder")
