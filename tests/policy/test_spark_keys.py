"""S11: every key of every supported Spark that may name files or code is on a list of the server's, or on one
of keys that somebody has looked at. A new Spark's new key fails this, until somebody has (CVE-2025-60012); so
does a new name of an old key (CVE-2026-62391)."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Iterator

import pytest
from harness import spark_keys
from harness.api import Api
from harness.server import Server, command, environment
from harness.spark import Spark
from harness.stub import Stub

# Words of keys that may name a file, a directory, code, or what is run.
WORDS = {
    "archive",
    "archives",
    "class",
    "classes",
    "classpath",
    "command",
    "dir",
    "directories",
    "directory",
    "dirs",
    "env",
    "exec",
    "extension",
    "extensions",
    "factory",
    "file",
    "filename",
    "filenames",
    "files",
    "filter",
    "filters",
    "folder",
    "home",
    "image",
    "impl",
    "implementation",
    "interceptor",
    "ivy",
    "jar",
    "jars",
    "jks",
    "keystore",
    "keytab",
    "lib",
    "library",
    "libs",
    "listener",
    "listeners",
    "loader",
    "location",
    "locations",
    "manager",
    "module",
    "modules",
    "options",
    "package",
    "packages",
    "pager",
    "path",
    "paths",
    "pem",
    "plugin",
    "plugins",
    "pod",
    "program",
    "properties",
    "provider",
    "providers",
    "python",
    "repositories",
    "repository",
    "root",
    "script",
    "scripts",
    "secret",
    "secrets",
    "serializer",
    "store",
    "template",
    "truststore",
    "uri",
    "uris",
    "url",
    "urls",
    "volume",
    "volumes",
    "xml",
}
REVIEWED = Path(__file__).with_name("reviewed.txt")


def words(key: str) -> set[str]:
    """The words of a key: between dots, and between capitals."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", key)}


def patterns() -> list[tuple[str, str]]:
    """The keys that somebody has looked at, and why each need not be on a list."""
    lines = [line.split(None, 1) for line in REVIEWED.read_text().splitlines() if line and line[0] != "#"]
    return [(pattern, reason.strip()) for pattern, reason in lines]


def is_reviewed(key: str) -> bool:
    """Whether somebody has looked at it. A `*` stands for any text."""
    return any(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), key) for pattern, _ in patterns())


@pytest.fixture(scope="module")
def known(spark: Spark) -> dict:
    """What a Spark knows."""
    ended = subprocess.run(
        [spark.python, spark_keys.__file__], capture_output=True, text=True, timeout=180, env=environment()
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    # What the scan is worth: keys from the registry, from SQL's, YARN's and Kubernetes' own.
    for key in (
        "spark.archives",
        "spark.sql.extensions",
        "spark.yarn.dist.archives",
        "spark.kubernetes.file.upload.path",
    ):
        assert key in found["keys"], f"{key} was not found: is its class loaded?"
    assert len(found["keys"]) > 1300
    return found


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one user."""
    file = tmp_path_factory.mktemp("keys") / "users"
    assert command("passwd", str(file), "ada", stdin="secret\n").returncode == 0
    return file


@pytest.fixture(scope="module")
def api(users: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A client of a server with authentication."""
    stub = Stub(tmp_path_factory.mktemp("keys-stub") / "spark")
    server = Server({**stub.settings, "access.mode": "basic", "access.basic_file": users})
    yield server.user("ada", "secret")
    server.stop()


def is_refused(api: Api, key: str, value: str) -> bool:
    """Whether the conf may not have it. The file is refused in any case, but is looked at after the conf."""
    answer = api.post("/batches", {"file": "relative.py", "conf": {key: value}})
    assert answer.status_code == 400, answer.text
    return "Path 'relative.py' is not absolute" not in answer.json()["msg"]


def test_keys_that_may_name_files_or_code(api: Api, known: dict) -> None:
    """None that nobody has looked at."""
    suspects = sorted(key for key in known["keys"] if words(key) & WORDS)
    assert len(suspects) > 200
    open_ones = [key for key in suspects if not is_refused(api, key, "/etc/passwd")]
    unseen = [key for key in open_ones if not is_reviewed(key)]
    told = "\n".join(f"{key}  {' '.join(known['keys'][key].split())[:150]}" for key in unseen)
    assert not unseen, f"{len(unseen)} keys are on no list:\n{told}"


def test_the_reviewed_are_needed(api: Api) -> None:
    """Each has its reason, and none is refused all the same."""
    seen = patterns()
    assert len({pattern for pattern, _ in seen}) == len(seen)
    for pattern, reason in seen:
        assert len(reason) > 5, pattern
        if "*" not in pattern:
            assert not is_refused(api, pattern, "/etc/passwd"), (
                f"{pattern} is on a list: no need to review it"
            )


def test_other_spellings(api: Api, known: dict) -> None:
    """What is refused is so in other letters, without its prefix, with blanks or another key around it."""
    refused = [
        key for key in sorted(known["keys"]) if words(key) & WORDS and is_refused(api, key, "/etc/passwd")
    ]
    assert len(refused) > 30
    for number, key in enumerate(refused):
        spellings = [
            key.upper(),
            key.removeprefix("spark."),
            key.title(),
            f"{key} ",
            f" {key}",
            f"{key}\t",
            f"{key}=x",
            f"{key}\u200b",
        ]
        for spelling in (*spellings[:2], spellings[number % 8]):
            assert is_refused(api, spelling, "/etc/passwd"), spelling
    for value in (
        "/etc/passwd",
        "file:/etc/passwd",
        "${env:HOME}/x",
        "hdfs:///a${spark.b}",
        "ivy://a:b:1",
        "local:/etc/passwd",
    ):
        for key in (
            "spark.jars",
            "spark.files",
            "spark.archives",
            "spark.yarn.dist.files",
            "spark.submit.pyFiles",
        ):
            assert is_refused(api, key, value), (key, value)


def test_other_names_of_a_key(users: Path, known: dict, tmp_path: Path) -> None:
    """A rule for a key is for every name that Spark reads it under, old ones too."""
    names = {key: others for key, others in known["names"].items() if others}
    assert "spark.yarn.keytab" in names["spark.kerberos.keytab"]
    assert len(names) > 20
    stub = Stub(tmp_path / "spark")
    access = {"access.mode": "basic", "access.basic_file": users}
    for rules in ({"policy.conf.deny": sorted(names)}, {"policy.rule.a": {"deny": sorted(names)}}):
        server = Server({**stub.settings, **access, **rules})
        try:
            api = server.user("ada", "secret")
            pairs = [(key, other) for key, others in sorted(names.items()) for other in others]
            open_ones = [pair for pair in pairs if not is_refused(api, pair[1], "1")]
        finally:
            server.stop()
        assert not open_ones, f"add these to src/policy/aliases.rs: {open_ones}"
