"""500 batches, eight at a time, from 50 connections at once: each in its turn and with its own exit code, and
nothing is left of them."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

from harness.processes import open_files, rss_mib, wait_until
from harness.server import Server
from harness.stub import Stub
from harness.volume import Connection, share

BATCHES = 500
AT_ONCE = 8
CONNECTIONS = 50
GROWTH_MIB = 24
"""What the server may have grown by once all are deleted: the caches of the allocator, the store and the
runtime. All that the applications print has 33 MiB."""

PLACE = re.compile(rf"{AT_ONCE} batches run \(limits\.batches\), (\d+) wait before this one")
# A batch's last two arguments are its mark and its exit code. The first eight wait until they may end.
APPLICATION = """\
mark=${@: -2:1}
echo "start $mark" >> HOME/events
yes "batch $mark: some sixty characters, as many as a line has" | head -n 1000
while [ ! -e HOME/go ]; do sleep 0.05; done
echo "end $mark" >> HOME/events
exit ${@: -1}
"""


def exit_code(mark: int) -> int:
    """Neighbours have different ones; every tenth succeeds."""
    return 0 if mark % 10 == 0 else mark % 125 + 1


def events(home: Path) -> list[tuple[str, int]]:
    """What the applications have said, in order: `start` or `end`, and the mark."""
    lines = (home / "events").read_text().splitlines() if (home / "events").exists() else []
    return [(word, int(mark)) for word, mark in map(str.split, lines)]


def check_turns(said: list[tuple[str, int]], places: dict[int, int]) -> None:
    """At no moment run more than eight, and nobody overtakes more than those who are on their way in."""
    alive: set[int] = set()
    waiting = set(places)
    for word, mark in said:
        if word == "end":
            alive.remove(mark)
            continue
        waiting.remove(mark)
        alive.add(mark)
        assert len(alive) <= AT_ONCE, alive
        overtaken = [other for other in waiting if places[other] < places[mark]]
        assert len(overtaken) < AT_ONCE, (mark, overtaken)
    assert not alive
    assert not waiting


def rows(server: Server) -> list[int]:
    """How many the store has of batches and of drivers."""
    with closing(sqlite3.connect(server.database)) as store:
        counts = [store.execute(f"SELECT count(*) FROM {table}") for table in ("batches", "drivers")]
        return [count.fetchone()[0] for count in counts]


class Many:
    """A client with 50 connections. A batch is known by its mark."""

    def __init__(self, server: Server, file: Path):
        self.server = server
        self.file = file
        self.numbers: dict[int, int] = {}

    def each(self, ask: Callable[[Connection, int], Any]) -> dict[int, Any]:
        """What each gives, by its mark."""
        asked = share(self.server.port, CONNECTIONS, range(BATCHES), lambda *of: (of[1], ask(*of)))
        return dict(asked)

    def post(self, connection: Connection, mark: int) -> int:
        body = {"file": str(self.file), "args": [str(mark), str(exit_code(mark))]}
        answer = connection.request("POST", "/batches", body)
        assert answer.status == 201, answer
        return answer.json()["id"]

    def place(self, connection: Connection, mark: int) -> int:
        """How many wait before it, by its log; -1 for one that does not wait."""
        path = f"/batches/{self.numbers[mark]}/log?from=0&size=2000"
        lines = connection.request("GET", path).json()["log"]
        found = [int(told.group(1)) for told in map(PLACE.search, lines) if told]
        assert len(found) <= 1, found
        return found[0] if found else -1

    def show(self, connection: Connection, mark: int) -> tuple[str, str]:
        """Its state and exit code."""
        batch = connection.request("GET", f"/batches/{self.numbers[mark]}").json()
        return batch["state"], batch["appInfo"]["exitCode"]

    def delete(self, connection: Connection, mark: int) -> int:
        return connection.request("DELETE", f"/batches/{self.numbers[mark]}").status

    def all_ended(self) -> bool:
        listed = self.server.api.get(f"/batches?size={BATCHES}").json()["sessions"]
        assert len(listed) == BATCHES
        return all(batch["state"] in ("success", "dead") for batch in listed)


def test_many_batches(
    serve: Callable[..., Server],
    make_stub: Callable[..., Stub],
    tmp_path: Path,
    figures: Callable[[str], None],
) -> None:
    """All are posted while the first eight run; then these may end."""
    stub = make_stub(APPLICATION.replace("HOME", str(tmp_path)))
    file = tmp_path / "any.py"
    file.touch()
    server = serve({**stub.settings, "files.allow": [str(tmp_path)], "limits.batches": AT_ONCE})
    files, memory = open_files(server.pid), [rss_mib(server.pid)]
    many = Many(server, file)

    many.numbers = many.each(many.post)
    assert sorted(many.numbers.values()) == list(range(BATCHES))
    wait_until("eight run", lambda: len(events(tmp_path)) == AT_ONCE)
    places = many.each(many.place)
    assert sorted(mark for mark, place in places.items() if place < 0) == sorted(
        mark for _, mark in events(tmp_path)
    )
    assert sorted(places.values()) == [-1] * AT_ONCE + list(range(BATCHES - AT_ONCE))
    memory.append(rss_mib(server.pid))

    (tmp_path / "go").touch()
    wait_until("all have ended", many.all_ended, 240, 0.5)
    check_turns(events(tmp_path), places)
    for mark, shown in many.each(many.show).items():
        assert shown == ("success" if exit_code(mark) == 0 else "dead", str(exit_code(mark))), mark
    memory.append(rss_mib(server.pid))

    assert set(many.each(many.delete).values()) == {200}
    assert server.api.get("/batches").json()["total"] == 0
    wait_until("no file is left", lambda: not server.run_files())
    wait_until("no row is left", lambda: rows(server) == [0, 0])
    assert not server.driver_processes()
    wait_until("as many descriptors", lambda: abs(open_files(server.pid) - files) <= 2)
    memory.append(rss_mib(server.pid))
    told = "{:.0f} MiB before, {:.0f} all posted, {:.0f} all ended, {:.0f} all deleted".format(*memory)
    figures(f"{BATCHES} batches, the server's memory: {told}")
    assert memory[-1] - memory[0] <= GROWTH_MIB, memory
