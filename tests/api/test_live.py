"""What a session does, live (docs/live.md): events, text page by page, the log as it grows."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from harness.api import Session
from harness.chance import seeded
from harness.events import Event, Stream
from harness.fake import Fake
from harness.processes import open_files, rss_mib, wait_until
from harness.server import Server, free_port

CUTS = 200
IDLE = 1000


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """A driver without Spark."""
    return Fake(tmp_path / "fake")


@pytest.fixture
def start(serve: Callable[..., Server], fake: Fake) -> Callable[..., Server]:
    """A server with it, that is told often what statements print."""
    own = {**fake.settings, "output.live_interval": "5ms"}
    return lambda **settings: serve({**own, **settings}, port=free_port())


def ready(server: Server) -> Session:
    session = server.api.create()
    session.wait("idle")
    return session


def events(server: Server, session: Session, last: str | None = None, **more: Any) -> Stream:
    stream = Stream(server.port, session.path + "/events", last, **more)
    assert stream.status == 200
    assert stream.answer.headers["Content-Type"] == "text/event-stream"
    return stream


def lines(count: int, size: int) -> str:
    """What the fake driver prints for `drip COUNT MS SIZE`."""
    return "".join(f"{at} ".ljust(size - 1, "é" if at % 2 else ".") + "\n" for at in range(count))


def shown(session: Session, number: int) -> dict[str, Any]:
    """A statement, for a client that asks for what there is so far."""
    return session.api.get(f"{session.path}/statements/{number}", headers={"X-Firesteel-Live": "true"}).json()


def page(session: Session, number: int, **query: Any) -> dict[str, Any]:
    answer = session.api.get(f"{session.path}/statements/{number}/output", params=query)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert list(found) == ["source", "state", "from", "next", "total", "text"]
    return found


def read_all(session: Session, number: int, size: int, **query: Any) -> str:
    """A text page by page."""
    text, at = "", 0
    while True:
        found = page(session, number, size=size, **{"from": at}, **query)
        assert found["from"] == at
        assert len(found["text"].encode()) == found["next"] - at <= size
        if found["next"] == at:
            assert at == found["total"]
            return text
        text, at = text + found["text"], found["next"]


def test_events_tell_what_happens(start: Callable[..., Server]) -> None:
    """A quick statement has no piece; a slow one has all that it prints, before its end."""
    server = start()
    session = ready(server)
    with events(server, session) as stream:
        first = stream.next()
        assert (first.name, first.data["reason"], first.data["state"]) == ("reset", "new", "idle")
        assert first.data["statements"] == first.data["output"] == []
        for path in ("/events", "/log?follow=true"):
            assert session.api.request("HEAD", session.path + path).status_code == 200
        session.run("ledger quick")
        seen = stream.until("state", state="idle")
        assert [(event.name, event.data["state"]) for event in seen] == [
            ("statement", "waiting"),
            ("statement", "running"),
            ("state", "busy"),
            ("statement", "available"),
            ("state", "idle"),
        ]
        assert [event.seq for event in seen] == list(range(first.seq + 1, first.seq + 6))
        session.post("drip 20 10 30")
        seen = stream.until("statement", id=1, state="available")
        pieces = [event.data for event in seen if event.name == "output"]
        assert len(pieces) > 2
        assert "".join(piece["text"] for piece in pieces) == lines(20, 30)
        assert seen[-1].data == {"id": 1, "state": "available", "progress": 1.0}
        assert session.statement(1)["output"]["data"]["text/plain"] == lines(20, 30)
        # Who comes now has what is kept of the last text.
        with events(server, session) as late:
            output = late.next().data["output"]
        text = lines(20, 30)
        assert output == [{"id": 1, "from": 0, "next": len(text.encode()), "text": text}]
        session.post("sleep 60 never")
        stream.until("statement", id=2, state="running")
        session.cancel(2)
        seen = stream.until("statement", id=2, state="cancelled")
        assert "cancelling" in [event.data["state"] for event in seen if event.name == "statement"]
        session.delete()
        assert [event.data["state"] for event in stream if event.name == "state"][-1] == "dead"


def test_a_client_that_is_cut_off_goes_on(
    start: Callable[..., Server], figures: Callable[[str], None]
) -> None:
    """Again and again, at any event: each comes once."""
    chance = seeded()
    server = start()
    session = ready(server)
    stream = events(server, session)
    seen: list[Event] = [stream.next()]
    count, size = 700, 60
    session.post(f"drip {count} 5 {size}")
    for _ in range(CUTS):
        for _ in range(chance.randrange(3)):
            seen.append(stream.next())
        # In the middle of what comes, as often as not.
        stream.answer.read1(chance.randrange(1, 40))
        stream.close()
        stream = events(server, session, last=seen[-1].id)
    cut_at = seen[-1].seq
    seen += stream.until("statement", id=0, state="available")
    stream.close()
    assert [event.seq for event in seen] == list(range(seen[0].seq, seen[-1].seq + 1))
    assert [event.name for event in seen].count("reset") == 1
    pieces = [event.data for event in seen if event.name == "output"]
    at = 0
    for piece in pieces:
        assert (piece["from"], piece["skipped"]) == (at, 0)
        at = piece["next"]
    assert "".join(piece["text"] for piece in pieces) == lines(count, size)
    figures(f"{CUTS} cuts over {cut_at} of {seen[-1].seq} events: {len(pieces)} pieces, each once")


def test_what_is_no_longer_kept_is_a_reset(start: Callable[..., Server]) -> None:
    """Outside the window, after a restart of the server, and for an id that makes no sense."""
    server = start(**{"events.replay_bytes": "4KiB", "output.live_bytes": "4KiB"})
    session = ready(server)
    with events(server, session) as stream:
        old = stream.next().id
    # Nobody reads meanwhile: one who is slower than the prints would be dropped.
    session.post("drip 200 5 60")
    session.wait_statement(0, "available")
    text = lines(200, 60)
    with events(server, session, last=old) as stream:
        reset = stream.next()
    assert (reset.name, reset.data["reason"]) == ("reset", "too_old")
    (kept,) = reset.data["output"]
    assert text.endswith(kept["text"]) and 4000 < len(kept["text"].encode()) <= 4096
    assert kept["next"] == len(text.encode())
    session.post("drip 100000 10 60")
    session.wait_statement(1, "running")
    wait_until("it prints", lambda: page(session, 1)["total"])
    server.restart()
    for last in (old, "0-0", "nonsense", "99-99999999999999999999"):
        with events(server, session, last=last) as stream:
            reset = stream.next()
            assert (reset.name, reset.data["reason"]) == ("reset", "restarted"), last
    with events(server, session) as stream:
        seen = stream.until("output", id=1)
        more = stream.until("output", id=1)[-1].data
    assert seen[0].data["reason"] == "new"
    first = next(event.data for event in seen if event.name == "output")
    told = seen[0].data["output"]
    assert told or first["skipped"] == first["from"] > 0, "what an earlier server was told is a gap"
    assert more["skipped"] == 0
    assert "bytes are not shown live" in shown(session, 1)["output"]["data"]["text/plain"]
    assert session.statement(1)["output"] is None
    session.cancel(1)
    session.wait_statement(1, "cancelled")


def test_a_slow_client_is_dropped(start: Callable[..., Server], figures: Callable[[str], None]) -> None:
    """It is told why, and has all there is when it comes back; nothing is kept for it meanwhile."""
    server = start(**{"events.replay_bytes": "256KiB"})
    session = ready(server)
    before = rss_mib(server.pid)
    with events(server, session, receive=4096) as stream:
        session.post("burst 1200 2 30000")
        session.wait_statement(0)
        rose = rss_mib(server.pid) - before
        seen = list(stream)
    assert seen[-1].name == "dropped" and "events.replay_bytes" in seen[-1].data["reason"]
    pieces = [event.data for event in seen if event.name == "output"]
    assert all(a["next"] <= b["from"] for a, b in zip(pieces, pieces[1:]))
    with events(server, session, last=seen[-2].id) as stream:
        reset = stream.next()
        assert (reset.name, reset.data["reason"]) == ("reset", "too_old")
    printed = int(session.statement(0)["output"]["data"]["text/plain"])
    kept = page(session, 0, source="printed")
    assert kept["total"] == printed
    figures(f"a client that does not read {printed >> 20} MiB of prints: the server rose by {rose:.1f} MiB")
    assert rose < 24


def test_idle_clients_cost_little(start: Callable[..., Server], figures: Callable[[str], None]) -> None:
    """A thousand, and no more than the limit."""
    server = start(**{"events.clients": IDLE})
    session = ready(server)
    with contextlib.ExitStack() as stack:
        # What the first ones make the server set up is not counted.
        for _ in range(8):
            with events(server, session) as stream:
                stream.next()
        wait_until("they are gone", lambda: server.api.get("/ping").ok)
        files, before = open_files(server.pid), rss_mib(server.pid)
        streams = []
        while len(streams) < IDLE:
            stream = Stream(server.port, session.path + "/events")
            if stream.status == 200:
                streams.append(stack.enter_context(stream))
                stream.next()
            else:
                # The eight's places are given back when the server notices.
                stream.close()
                time.sleep(0.1)
        each = (rss_mib(server.pid) - before) * 1024 / IDLE
        refused = server.api.get(session.path + "/events")
        assert refused.status_code == 503 and "events.clients" in refused.json()["msg"]
        assert int(refused.headers["Retry-After"]) > 0
        session.run("ledger seen")
        for stream in streams:
            stream.until("statement", id=0, state="available")
        after = (rss_mib(server.pid) - before) * 1024 / IDLE
    figures(f"{IDLE} idle clients of events: {each:.1f} KiB each, {after:.1f} KiB after a statement")
    assert each < 20
    wait_until("all is closed", lambda: open_files(server.pid) <= files, 40)


def test_text_page_by_page(start: Callable[..., Server]) -> None:
    """While it runs and afterwards; of an output in the store, and of one in a file."""
    server = start()
    session = ready(server)
    for number, (count, size) in enumerate(((100, 60), (100, 300))):
        text = lines(count, size)
        session.post(f"drip {count} 10 {size}")
        session.wait_statement(number, "running")
        so_far = wait_until("it prints", lambda n=number: page(session, n)["text"])
        assert text.startswith(so_far)
        live = shown(session, number)
        assert live["state"] == "running" and list(live["output"]) == ["status", "execution_count", "data"]
        assert live["output"]["execution_count"] == number
        assert text.startswith(live["output"]["data"]["text/plain"])
        assert len(live["output"]["data"]["text/plain"]) >= len(so_far)
        done = session.wait_statement(number)
        assert shown(session, number) == done
        assert done["output"]["data"]["text/plain"] == text
        for most in (4, 7, 1000) if number == 0 else (5000,):
            assert read_all(session, number, most) == text
        assert read_all(session, number, 1 << 20, source="printed") == text
        assert page(session, number)["source"] == "output"
        middle = page(session, number, **{"from": text.encode().index("é".encode()) + 1}, size=10)
        assert middle["from"] == text.encode().index("é".encode()) + 2 and middle["text"] == "é" * 5
        assert page(session, number, **{"from": 1 << 40}) == page(
            session, number, **{"from": len(text.encode())}
        )
    session.run("error nothing")
    assert page(session, 2) == {
        **{"source": "output", "state": "available", "from": 0, "next": 0, "total": 0, "text": ""}
    }
    assert page(session, 2, source="printed")["total"] == 0
    for query in ("from=-1", "from=x", "size=-1", "source=other"):
        answer = session.api.get(f"{session.path}/statements/0/output?{query}")
        assert answer.status_code == 400 and query.split("=")[0] in answer.json()["msg"]
    assert session.api.get(f"{session.path}/statements/99/output").status_code == 404


def test_a_log_is_followed(start: Callable[..., Server]) -> None:
    """From now on, from a line on, to its end; a client that leaves gives its place back."""
    server = start(**{"events.clients": 2})
    session = ready(server)
    path = f"{session.path}/log?follow=true"
    with Stream(server.port, path) as now, Stream(server.port, f"{path}&from=0") as whole:
        assert (now.status, whole.status) == (200, 200)
        assert now.answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert server.api.get(path).status_code == 503
        reader = whole.lines()
        assert next(reader) == "stdout: \n"
        session.run("flood 640000 x")
        line = "x" * 99 + "\n"
        assert [found for found, _ in zip(now.lines(), range(10000))] == [line] * 10000
        session.delete()
        rest = [*reader]
    assert rest.count(line) == 12800
    server.api.get("/ping")
    session = ready(server)
    session.post("die")
    session.wait("dead")
    told = Stream(server.port, f"{session.path}/log?follow=true&from=0")
    followed = "".join(told.lines()).split("\n")
    told.close()
    assert "\n".join(followed[:-1]) == "\n".join(session.log())


BAR = """
import os, sys, time
def seen(what):
    while not os.path.exists({signs!r} + "/" + what):
        time.sleep(0.01)
print("epochs: 3", flush=True)
seen("epochs")
for epoch in range(3):
    for step in range(0, 101, 20):
        sys.stderr.write(f"\\r{{epoch}}: {{step:3d}}%|{{'#' * (step // 10):10}}|")
        sys.stderr.flush()
    seen(f"bar {{epoch}}")
    print(f"\\nepoch {{epoch}}: loss {{1 / (epoch + 1):.3f}}", flush=True)
    seen(f"loss {{epoch}}")
sys.stderr.write("\\n")
"done"
"""


def test_a_training_loop_is_readable(live_server: Server, live: Session, tmp_path: Path) -> None:
    """Prints and a progress bar as tqdm draws it, with carriage returns on standard error: by events, by
    GET and by pages while it runs, and afterwards. Real Spark. The loop goes on once each part was seen, so
    that the order of its two streams is known."""
    pieces: list[dict[str, Any]] = []
    with events(live_server, live) as stream:
        stream.next()
        number = live.post(BAR.format(signs=str(tmp_path)))["id"]
        printed = until_printed(stream, pieces, "epochs: 3\n")
        (tmp_path / "epochs").touch()
        for epoch in range(3):
            bar = "".join(f"\r{epoch}: {step:3d}%|{'#' * (step // 10):10}|" for step in range(0, 101, 20))
            printed = until_printed(stream, pieces, printed + bar)
            assert live_text(live, number) == printed
            so_far = page(live, number)
            assert (so_far["source"], so_far["state"], so_far["text"]) == ("printed", "running", printed)
            (tmp_path / f"bar {epoch}").touch()
            loss = f"\nepoch {epoch}: loss {1 / (epoch + 1):.3f}\n"
            printed = until_printed(stream, pieces, printed + loss)
            (tmp_path / f"loss {epoch}").touch()
        rest = stream.until("statement", id=number, state="available")
    pieces += [event.data for event in rest if event.name == "output"]
    assert [piece["skipped"] for piece in pieces] == [0] * len(pieces)
    whole = "".join(piece["text"] for piece in pieces)
    assert whole.startswith(printed + "\n") and "'done'" in whole
    assert read_all(live, number, 100, source="printed") == whole
    output = live.statement(number)["output"]["data"]["text/plain"]
    assert "\r2: 100%" in output and "epoch 2: loss 0.333" in output and "'done'" in output
    assert read_all(live, number, 1000) == output
    quick = live.run("print('quick')")
    assert page(live, quick["id"])["text"] == "quick"


def until_printed(stream: Stream, pieces: list[dict[str, Any]], wanted: str) -> str:
    """Adds pieces until this has been printed, which is given back."""
    while (text := "".join(piece["text"] for piece in pieces)) != wanted:
        assert wanted.startswith(text), (text, wanted)
        event = stream.next()
        if event.name == "output":
            pieces.append(event.data)
    return wanted


def live_text(session: Session, number: int) -> str:
    return shown(session, number)["output"]["data"]["text/plain"]
