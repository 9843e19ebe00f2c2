"""What the server makes of the database that it finds: one of a newer or an older Firesteel, one of another
program, a damaged one, and damaged rows in a good one (R13)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from harness.api import Api
from harness.chance import seeded
from harness.processes import wait_until
from harness.server import ROOT, Server, binary, environment, serving
from harness.spark import newest
from harness.stub import Stub

FAILPOINTS = Path(
    os.environ.get("FIRESTEEL_TEST_FAILPOINTS_BIN") or ROOT / "target/debug/firesteel-failpoints"
)
MIGRATIONS = sorted((ROOT / "src/store/migrations").glob("*.sql"))
NEWEST = int(MIGRATIONS[-1].name.split("_")[0])
DAMAGED = r"row in the store is damaged"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of a server whose drivers only sleep."""
    stub = Stub(tmp_path_factory.mktemp("stub") / "spark")
    return {**stub.settings, "spark.python": newest().python}


def database(state: Path, *scripts: str) -> Path:
    """The database of a state directory, with these scripts run on it and no log beside it."""
    state.mkdir(exist_ok=True, mode=0o700)
    path = state / "firesteel.db"
    with closing(sqlite3.connect(path)) as store:
        for script in scripts:
            store.executescript(script)
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def rows(path: Path, query: str, *values: Any) -> list[tuple]:
    """What a query gives, without changing anything."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        return store.execute(query, values).fetchall()


def old(count: int) -> str:
    """What makes a database of the first `count` versions of the tables, as the server records them."""
    script = (
        "PRAGMA journal_mode = WAL; CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description"
        " TEXT NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL,"
        " checksum BLOB NOT NULL, execution_time BIGINT NOT NULL);"
    )
    for path in MIGRATIONS[:count]:
        version, _, name = path.stem.partition("_")
        digest = hashlib.sha384(path.read_bytes()).hexdigest()
        script += path.read_text()
        script += (
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES"
            f" ({int(version)}, '{name.replace('_', ' ')}', TRUE, x'{digest}', 0);"
        )
    return script


def ended(number: int, **more: Any) -> str:
    """An ended session with three statements, in the tables that every version has."""
    values = {"state": "'dead'", "request": "'{}'", "diagnosis": f"'end {number}'", **more}
    statements = "".join(
        "INSERT INTO statements (session_id, id, kind, code, state, output, accepted, started, completed)"
        f" VALUES ({number}, {at}, 'pyspark', 'code {at}', 'available',"
        f" '{json.dumps({'status': 'ok', 'execution_count': at, 'data': {'text/plain': f'{number}.{at}'}})}',"
        f" 1, 2, 3);"
        for at in range(3)
    )
    return (
        "INSERT INTO sessions (id, kind, state, request, epoch, diagnosis, created, ended) VALUES"
        f" ({number}, 'pyspark', {values['state']}, {values['request']}, 1, {values['diagnosis']},"
        f" strftime('%s') * 1000 - 5000, strftime('%s') * 1000);"
        f"UPDATE server SET value = {number + 1} WHERE name = 'next_session_id'; {statements}"
    )


def refusal(state: Path, settings: dict[str, Any]) -> str:
    """The one line with which a start on this state directory is refused."""
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    argv = [str(binary()), "serve", "--listen", "127.0.0.1:0", "--state-dir", str(state), *sets]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=environment(), check=False)
    assert done.returncode == 1, done
    assert "panicked" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("firesteel: ")]
    assert len(lines) == 1, done.stderr
    assert done.stderr.rstrip().endswith(lines[0]), done.stderr
    return lines[0]


def test_newer_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    """With the file, its version, and what to do; not a byte of it is changed."""
    path = database(
        tmp_path / "state",
        old(len(MIGRATIONS)),
        ended(7),
        "INSERT INTO _sqlx_migrations VALUES (9001, 'to come', CURRENT_TIMESTAMP, TRUE, x'00', 0);",
    )
    before = path.read_bytes()
    line = refusal(path.parent, settings)
    for word in (str(path), "newer Firesteel", "9001", str(NEWEST), "server.state_dir"):
        assert word in line, line
    assert path.read_bytes() == before
    assert rows(path, "SELECT value FROM server WHERE name = 'epoch'") == [(0,)]
    assert not list(path.parent.glob("*.v*")), "nothing is copied that will not be migrated"


def test_what_is_none_of_ours_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Another program's database, another build's, and files that are no databases."""
    other = database(tmp_path / "other", "CREATE TABLE books (title TEXT);")
    build = database(
        tmp_path / "build",
        old(len(MIGRATIONS)),
        "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1;",
    )
    text = tmp_path / "text/firesteel.db"
    half = tmp_path / "half/firesteel.db"
    whole = database(tmp_path / "whole", old(len(MIGRATIONS)), *(ended(number) for number in range(50)))
    for path in (text, half):
        path.parent.mkdir()
    text.write_text("this is no database, whatever its name says\n" * 100)
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for path, words in (
        (other, "another program"),
        (build, "another build"),
        (text, "damaged"),
        (half, "damaged"),
    ):
        before = path.read_bytes()
        line = refusal(path.parent, settings)
        assert words in line, line
        assert str(path) in line, line
        assert path.read_bytes() == before
    held = sqlite3.connect(whole, isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    line = refusal(whole.parent, {**settings, "store.busy_timeout": "200ms"})
    held.close()
    assert "held by another process" in line, line


@pytest.mark.parametrize("declared", ["version BIGINT", "checksum BLOB", "epoch            BIGINT"])
def test_declarations_that_are_no_text_are_refused(
    tmp_path: Path, settings: dict[str, Any], declared: str
) -> None:
    """A column's type with a byte in it that is no UTF-8."""
    path = database(tmp_path / "state", old(len(MIGRATIONS)), ended(7))
    whole = path.read_bytes()
    damaged = whole.replace(declared.encode(), declared[:-1].encode() + b"\xff")
    assert damaged != whole
    path.write_bytes(damaged)
    line = refusal(path.parent, settings)
    assert "damaged" in line, line
    assert path.read_bytes() == damaged


def test_older_is_copied_and_migrated(tmp_path: Path, settings: dict[str, Any]) -> None:
    """The copy is the database as it was; older copies go, the newest stays."""
    state = tmp_path / "state"
    path = database(state, old(1), ended(3), ended(4))
    (state / "firesteel.db.v0").write_text("an older copy")
    (state / "firesteel.db.vault").write_text("somebody's own file")
    with serving(settings, state_dir=state) as server:
        shown = server.api.get("/history").json()
        assert [session["id"] for session in shown["sessions"]] == [4, 3]
        answer = server.api.get("/history/3/statements/2").json()
        assert answer["output"]["data"]["text/plain"] == "3.2"
        assert server.api.create().id == 5
    copy = state / "firesteel.db.v1"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert rows(copy, "SELECT max(version) FROM _sqlx_migrations") == [(1,)]
    assert rows(copy, "SELECT id FROM sessions ORDER BY id") == [(3,), (4,)]
    assert rows(path, "SELECT max(version) FROM _sqlx_migrations") == [(NEWEST,)]
    assert {one.name for one in state.glob("firesteel.db.*")} == {"firesteel.db.v1", "firesteel.db.vault"}
    with serving(settings, state_dir=state):
        assert rows(copy, "SELECT max(version) FROM _sqlx_migrations") == [(1,)], "kept"


def test_older_secrets_go(tmp_path: Path, settings: dict[str, Any]) -> None:
    """An older Firesteel kept secrets of what had ended: they go with the migration, and nothing else."""
    conf = {
        "spark.z": "1",
        "a.PassWord": "canary",
        "b.access_key": "canary",
        "bXaccessXkey": "2",
        "c.token": "",
    }
    kept = {key: "*********(redacted)" if key[:2] in ("a.", "b.", "c.") else conf[key] for key in conf}
    request = {"kind": "pyspark", "echo": {"conf": conf, "ttl": "é"}, "driver": {"conf": conf}}
    expected = {"kind": "pyspark", "echo": {"conf": kept, "ttl": "é"}, "driver": {"conf": kept}}
    batch = f"(0, 'dead', '{json.dumps(request)}', 1, 1, strftime('%s') * 1000)"
    path = database(
        tmp_path / "state",
        old(11),
        ended(3, request=f"'{json.dumps(request)}'"),
        ended(4, request="'no JSON'"),
        f"INSERT INTO batches (id, state, request, epoch, created, ended) VALUES {batch};",
    )
    # The batch's request has no more than its conf.
    with serving(settings, state_dir=path.parent, allowed=(r"can't be taken back",)):
        found = rows(path, "SELECT request FROM sessions ORDER BY id")
        assert [json.loads(found[0][0]), found[1][0]] == [expected, "no JSON"]
        assert list(json.loads(found[0][0])["echo"]["conf"]) == list(conf), "in its order"
        stored = json.loads(rows(path, "SELECT request FROM batches")[0][0])
        assert stored["driver"]["conf"] == kept


@pytest.mark.parametrize("point", ["begun", "half", "committed"])
@pytest.mark.parametrize("versions", [0, 1])
def test_killed_while_migrating(tmp_path: Path, settings: dict[str, Any], versions: int, point: str) -> None:
    """At each point of a new database and of an old one: the next start has all or nothing of it, and goes
    on."""
    state = tmp_path / "state"
    path = state / "firesteel.db"
    if versions:
        database(state, old(versions), ended(3))
    server = Server(settings, state_dir=state, program=FAILPOINTS, start=False)
    try:
        status = server.start_to_die(FAILPOINTS=f"migration.{point}=return")
        assert status == -9, server.log()
        applied = rows(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'quarantine'")
        assert applied == [(int(point == "committed"),)]
        server.start()
        assert server.api.get("/history").json()["total"] == versions
        server.api.create()
        expected = (len(MIGRATIONS), NEWEST)
        assert rows(path, "SELECT count(*), max(version) FROM _sqlx_migrations") == [expected]
        assert (state / "firesteel.db.v1").exists() == bool(versions)
    finally:
        server.stop()


def counted(api: Api) -> int:
    """How many the history says that it has."""
    return api.get("/history?size=1000").json()["total"]


def test_damaged_rows_cost_themselves(tmp_path: Path, settings: dict[str, Any]) -> None:
    """A hundred sessions whose row makes no sense, each in one column: they are set aside and named once; the
    others and all lists are as they were. A statement's row that makes no sense is an error output."""
    chance = seeded()
    state = tmp_path / "state"
    wrong = {
        "state": "'bewildered'",
        "created": "'yesterday'",
        "ended": "'later'",
        "epoch": "'first'",
        "kind": "x'ff00fe'",
        "diagnosis": "x'c328'",
    }
    numbers = range(200)
    broken = {number: chance.choice(list(wrong)) for number in chance.sample(numbers, 100)}
    damage = [
        f"UPDATE sessions SET {column} = {wrong[column]} WHERE id = {number};"
        for number, column in broken.items()
    ]
    whole = [number for number in numbers if number not in broken]
    odd = {
        (number, at): chance.choice(
            [
                "state = 'perplexed'",
                "started = 'soon'",
                "output = '{\"status\": '",
                "code = x'ff'",
                "kind = 'cobol'",
                "completed = 'never'",
            ]
        )
        for number, at in ((number, chance.randrange(3)) for number in chance.sample(whole, 50))
    }
    damage += [
        f"UPDATE statements SET {change} WHERE session_id = {number} AND id = {at};"
        for (number, at), change in odd.items()
    ]
    path = database(state, old(len(MIGRATIONS)), *(ended(number) for number in numbers), *damage)
    for _ in range(2):
        with serving(settings, state_dir=state, allowed=(DAMAGED,)) as server:
            for _ in range(3):
                shown = server.api.get("/history?size=1000").json()
                found = sorted(session["id"] for session in shown["sessions"])
                assert found == whole
            # What is damaged is put aside once it has been seen.
            wait_until("the damaged ones are put aside", lambda api=server.api: counted(api) == len(whole))
            for number in whole:
                listed = server.api.get(f"/history/{number}/statements")
                assert listed.status_code == 200, listed.text
                assert [one["id"] for one in listed.json()["statements"]] == [0, 1, 2]
                for at, statement in enumerate(listed.json()["statements"]):
                    alone = server.api.get(f"/history/{number}/statements/{at}").json()
                    assert alone["output"] == statement["output"]
                    if (number, at) in odd:
                        assert statement["output"]["ename"] == "StoredRowDamaged", statement
                        assert statement["state"] == "available"
                    else:
                        assert statement["output"]["data"]["text/plain"] == f"{number}.{at}"
            for number in broken:
                assert server.api.get(f"/history/{number}").status_code == 404
            log = server.log()
    aside = {int(session) for (session,) in rows(path, "SELECT session FROM quarantine")}
    assert aside == set(broken)
    named = re.findall(r"a session's row in the store is damaged", log)
    assert not named, "set aside for good: the second start says nothing of them"
    for number, column in broken.items():
        shown = rows(path, f"SELECT {column} = {wrong[column]} FROM sessions WHERE id = ?", number)
        assert shown == [(1,)], "left as it is"


def test_damaged_rows_of_live_sessions(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Of three sessions that run, two have damaged rows when the server starts again: the third goes on, the
    drivers of the two are ended, and each is named once."""
    state = tmp_path / "state"
    server = Server(
        {**settings, "shutdown.sessions": "keep"}, state_dir=state, allowed=(DAMAGED, "can't be taken back")
    )
    try:
        sessions = [server.api.create(name=f"number {number}") for number in range(3)]
        server.kill9()
        with closing(sqlite3.connect(server.database)) as store:
            store.execute("UPDATE sessions SET state = 'bewildered' WHERE id = 0")
            store.execute("UPDATE sessions SET created = 'once' WHERE id = 2")
            store.commit()
        server.start()
        assert [session["id"] for session in server.api.sessions()] == [1]
        assert server.api.get(f"/sessions/{sessions[1].id}").json()["state"] == "starting"
        log = server.log()
        for number in (0, 2):
            told = [
                line for line in log.splitlines() if "set aside" in line and f'session.id="{number}"' in line
            ]
            assert len(told) == 1, log
        # What the server is to end it ends beside its other work.
        wait_until("only one driver is left", lambda: len(server.running_drivers()) == 1, 30)
        server.api.create(name="number 0").delete()
        server.api.delete("/sessions/1")
    finally:
        server.stop()


@pytest.mark.timeout(600)
def test_flipped_bytes(tmp_path: Path, settings: dict[str, Any]) -> None:
    """A hundred databases with bytes flipped, zeroed or cut off anywhere: each start either works or is
    refused with a sentence; nothing panics, and no answer is anything but 200, 404, or 503 with Retry-
    After."""
    chance = seeded()
    sound = database(
        tmp_path / "sound", old(len(MIGRATIONS)), *(ended(number) for number in range(60))
    ).read_bytes()
    started = refused = errors = 0
    for round_ in range(100):
        state = tmp_path / f"state{round_}"
        state.mkdir(mode=0o700)
        content = bytearray(sound)
        kind = chance.choice(["flip", "flip", "flip", "zero", "cut"])
        if kind == "cut":
            del content[chance.randrange(len(content)) :]
        else:
            for _ in range(chance.choice([1, 4, 64])):
                at = chance.randrange(len(content))
                length = 1 if kind == "flip" else chance.randrange(1, 600)
                for byte in range(at, min(at + length, len(content))):
                    content[byte] = chance.randrange(256) if kind == "flip" else 0
        (state / "firesteel.db").write_bytes(content)
        server = Server(settings, state_dir=state, allowed=(DAMAGED, "can't be written"), start=False)
        server.spawn()
        try:
            if not server.comes_up():
                refused += 1
                assert server.process.wait(10) == 1, server.log()
                assert "panicked" not in server.log(), server.log()
                last = server.log().splitlines()[-1]
                assert last.startswith("firesteel: ")
                assert str(state) in last, last
                continue
            started += 1
            paths = ["/history?size=100", "/sessions", "/readiness"]
            paths += [f"/history/{number}/statements" for number in range(0, 60, 7)]
            for path in paths:
                answer = server.api.get(path)
                assert answer.status_code in (200, 404, 503), (path, answer.text)
                assert answer.status_code != 503 or answer.headers["Retry-After"], path
                errors += answer.status_code == 503
            answer = server.api.post("/sessions", {"kind": "pyspark"})
            assert answer.status_code in (201, 503), answer.text
            assert "panicked" not in server.log(), server.log()
        finally:
            if server.process.poll() is None:
                server.kill9()
            server.discard()
            shutil.rmtree(state, ignore_errors=True)
    print(f"{started} started, {refused} refused, {errors} answers 503")
    assert started + refused == 100
    assert started >= 10 and refused >= 10
