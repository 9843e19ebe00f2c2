"""Outputs that are too large for the store's rows: files that answers are read from, that go when they have
to, and leave their first lines."""

from __future__ import annotations

import base64
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest
from harness.api import Session
from harness.fake import Fake
from harness.processes import rss_mib, wait_until
from harness.server import Server
from harness.volume import Connection, share

MARKER = "removed to make room (output.session_bytes, output.total_bytes)"
SIZE = 100_000
KEPT = 500
"""The least that statement.kept may be."""


def noise(count: int, seed: object) -> str:
    """What the fake driver gives for `noise COUNT SEED`."""
    text = base64.b64encode(random.Random(str(seed)).randbytes(count)).decode()
    return "\n".join(text[at : at + 99] for at in range(0, count, 100))


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """A driver without Spark."""
    return Fake(tmp_path / "fake")


@pytest.fixture
def start(serve: Callable[..., Server], fake: Fake) -> Callable[..., Server]:
    """A server with it."""
    return lambda **settings: serve({**fake.settings, **settings})


def ready(server: Server) -> Session:
    session = server.api.create()
    session.wait("idle")
    return session


def run(session: Session, code: str) -> dict[str, Any]:
    """A statement to its end."""
    done = session.run(code)
    assert done["state"] == "available", done
    return done


def files(server: Server) -> dict[str, int]:
    """The outputs' files and their sizes."""
    outputs = server.state_dir / "outputs"
    return {str(path.relative_to(outputs)): path.stat().st_size for path in outputs.rglob("*.*")}


def text(output: dict[str, Any]) -> str:
    return output["data"]["text/plain"]


def test_large_outputs_are_files(start: Callable[..., Server]) -> None:
    """They are shown as they were, alone and in lists, plain and in gzip, before and after a restart and the
    end; small ones stay in the store."""
    server = start(**{"shutdown.sessions": "keep"})
    session = ready(server)
    for code in (f"noise {SIZE} 0", "ledger small", f"noise {SIZE} 2", f"print {SIZE}"):
        run(session, code)
    expected = [noise(SIZE, 0), "small", noise(SIZE, 2), "x" * SIZE]
    assert set(files(server)) == {f"{session.id}/{number}.zst" for number in (0, 2, 3)}
    assert files(server)[f"{session.id}/3.zst"] < SIZE // 100, "compressed"
    path = server.state_dir / "outputs" / f"{session.id}/0.zst"
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(server.database)) as store:
        largest = store.execute("SELECT max(length(CAST(output AS BLOB))) FROM statements").fetchone()[0]
    assert largest < 4096

    def check(prefix: str) -> None:
        for coding in ("gzip", "identity"):
            headers = {"Accept-Encoding": coding}
            page = server.api.get(f"{prefix}/statements?from=0&size=10", headers=headers).json()
            assert page["total_statements"] == 4
            assert [text(one["output"]) for one in page["statements"]] == expected
            for number in range(4):
                one = server.api.get(f"{prefix}/statements/{number}", headers=headers).json()
                assert one == page["statements"][number]
                assert one["output"]["execution_count"] == number
                assert list(one) == ["id", "code", "state", "output", "progress", "started", "completed"]

    check(f"/sessions/{session.id}")
    server.restart()
    check(f"/sessions/{session.id}")
    again = Session(server.api, session.created)
    assert text(run(again, f"noise {SIZE} 4")["output"]) == noise(SIZE, 4)
    again.delete()


def test_the_oldest_go_first(start: Callable[..., Server]) -> None:
    """Each session has its share and all have theirs; what has gone leaves its first lines."""
    server = start(**{"output.session_bytes": "250KiB", "output.total_bytes": "350KiB"})
    first, second = ready(server), ready(server)
    for number in range(5):
        run(first, f"noise {SIZE} {number}")
    gone, kept = (0, 1), (2, 3, 4)
    wait_until("the oldest are gone", lambda: set(files(server)) == {f"{first.id}/{n}.zst" for n in kept})
    shown = [text(one["output"]) for one in server.api.get(first.path + "/statements").json()["statements"]]
    for number in kept:
        assert shown[number] == noise(SIZE, number)
    for number in gone:
        lines = shown[number].split("\n")
        assert lines[:-1] == noise(SIZE, number).split("\n")[:10]
        assert MARKER in lines[-1]
        assert text(first.statement(number)["output"]) == shown[number]
    for number in range(2):
        run(second, f"noise {SIZE} {number}")
    assert sum(files(server).values()) <= 350 * 1024
    assert text(second.statement(1)["output"]) == noise(SIZE, 1)
    assert MARKER in text(first.statement(2)["output"])


def test_files_go_with_their_statements(start: Callable[..., Server]) -> None:
    """With those that are no longer kept, with a deleted session, and with one that is no longer kept."""
    server = start(
        **{
            "statement.kept": KEPT,
            "retention.sessions": 1,
            "retention.interval": "100ms",
            "session.ended_shown": "100ms",
        }
    )
    session = ready(server)
    for number in range(3):
        run(session, f"noise {SIZE} {number}")
    posted = [session.post("print 1") for _ in range(KEPT - 3)]
    session.wait_statement(posted[-1]["id"])
    assert len(files(server)) == 3
    for number in range(KEPT, KEPT + 3):
        run(session, f"noise {SIZE} {number}")
    later = {f"{session.id}/{number}.zst" for number in range(KEPT, KEPT + 3)}
    wait_until("the later ones are kept", lambda: set(files(server)) == later)
    deleted = ready(server)
    run(deleted, f"noise {SIZE} 0")
    deleted.delete()
    wait_until("a deleted session has none", lambda: len(files(server)) == 3)
    session.post("die")
    wait_until("its outputs are in the history", lambda: text_of_ended(server, session) == noise(SIZE, KEPT))
    for _ in range(2):
        ready(server).post("die")
    wait_until("retention removes them", lambda: not files(server))


def text_of_ended(server: Server, session: Session) -> str | None:
    """What the history shows of the first large output that is kept."""
    answer = server.api.get(f"/history/{session.id}/statements/{KEPT}")
    return text(answer.json()["output"]) if answer.status_code == 200 else None


def test_files_that_are_gone_or_damaged(start: Callable[..., Server]) -> None:
    """A missing one shows what is left; the answer of a damaged one is cut off, and no other."""
    server = start(**{"shutdown.sessions": "keep"})
    session = ready(server)
    for number in range(3):
        run(session, f"noise {SIZE} {number}")
    outputs = server.state_dir / "outputs" / str(session.id)
    (outputs / "0.zst").unlink()
    whole = (outputs / "1.zst").read_bytes()
    (outputs / "1.zst").write_bytes(whole[: len(whole) // 2])
    assert MARKER in text(session.statement(0)["output"])
    with pytest.raises(OSError):
        server.api.get(session.path + "/statements/1")
    assert text(session.statement(2)["output"]) == noise(SIZE, 2)
    # What a server leaves that is killed while it writes, and what belongs to nobody.
    (outputs / "7.part").write_bytes(b"half")
    stray = server.state_dir / "outputs/4242"
    stray.mkdir()
    (stray / "0.zst").write_bytes(whole)
    server.restart()
    assert not (outputs / "7.part").exists()
    wait_until("what belongs to nobody is gone", lambda: not stray.exists())
    again = Session(server.api, session.created)
    assert text(again.statement(2)["output"]) == noise(SIZE, 2)
    again.delete()


def test_memory(start: Callable[..., Server], figures: Callable[[str], None]) -> None:
    """Many large outputs, read and read again by many clients at once: the server stays small."""
    sessions, each, size, clients = 8, 10, 1_000_000, 64
    server = start()
    made = [ready(server) for _ in range(sessions)]
    before = rss_mib(server.pid)
    for session in made:
        for number in range(each):
            session.post(f"noise {size} {session.id}.{number}")
    for session in made:
        for number in range(each):
            session.wait_statement(number)
    names = [(session.id, number) for session in made for number in range(each)]

    def look(connection: Connection, name: tuple[int, int]) -> bool:
        answer = connection.request("GET", f"/sessions/{name[0]}/statements/{name[1]}")
        return text(answer.json()["output"]) == noise(size, f"{name[0]}.{name[1]}")

    assert all(share(server.port, clients, names * 3, look))
    peak = rss_mib(server.pid, peak=True)
    read = f"{len(names)} outputs of 1 MB read 3 times by {clients}"
    figures(f"{read}: {before:.0f} MiB before, {peak:.0f} at most")
    assert peak < 150
