"""Pieces of what the running statement prints (docs/link.md, `output`)."""

import pytest
from driven import Driver
from firesteel_agent import live
from firesteel_agent.live import PIECE_BYTES, Live

INTERVAL = 50
DRIVER = {"live_interval_ms": INTERVAL}


class Clock:
    """A loop whose time a test lets pass."""

    def __init__(self):
        self.timers = []

    def later(self, _seconds, callback):
        timer = live.Timer(callback)
        self.timers.append(timer)
        return timer

    def tick(self):
        """All that waits is due."""
        due, self.timers = self.timers, []
        for timer in due:
            if timer.callback is not None:
                timer.callback()


class Told:
    """A `Live`, and what it told."""

    def __init__(self):
        self.clock = Clock()
        self.free = True
        self.pieces = []
        self.live = Live(self.clock, 100, lambda: self.free, lambda *piece: self.pieces.append(piece))
        self.live.begin(7)

    def print(self, *pieces):
        for piece in pieces:
            self.live.add(piece)


def test_a_quick_statement_has_no_piece():
    told = Told()
    told.print(b"a", b"b")
    told.live.finish()
    told.clock.tick()
    told.print(b"between")
    told.clock.tick()
    assert told.pieces == []


def test_the_rest_comes_before_the_end():
    told = Told()
    told.print(b"a\r", b"b")
    told.clock.tick()
    told.clock.tick()
    told.print(b"\rc")
    told.clock.tick()
    told.print(b"d")
    told.live.finish()
    assert told.pieces == [(7, 0, b"a\rb"), (7, 3, b"\rc"), (7, 5, b"d")]
    told.live.begin(8)
    told.print(b"e")
    told.clock.tick()
    assert told.pieces[-1] == (8, 0, b"e")


def test_characters_are_whole():
    told = Told()
    whole = "aé漢😀b".encode()
    for at in range(len(whole)):
        told.print(whole[at : at + 1])
        told.clock.tick()
    told.print(b"\xf0\x9f")
    told.clock.tick()
    told.live.finish()
    assert [piece.decode() for _, _, piece in told.pieces[:-1]] == list("aé漢😀b")
    assert told.pieces[-1] == (7, len(whole), b"\xf0\x9f")


@pytest.mark.parametrize("step", [1000, 65536, 3_000_000])
def test_the_end_of_too_much_is_told(step):
    told = Told()
    line = "é".encode() * 49 + b"\n"
    printed = line * 60_000
    for at in range(0, len(printed), step):
        told.print(printed[at : at + step])
    told.clock.tick()
    ((_, start, piece),) = told.pieces
    assert PIECE_BYTES - len(line) < len(piece) <= PIECE_BYTES
    assert start + len(piece) == len(printed) and start % len(line) == 0
    assert len(b"".join(told.live._gathered)) == 0


def test_nothing_waits_for_a_slow_link():
    told = Told()
    told.free = False
    for _ in range(1000):
        told.print(b"x" * 999 + b"\n")
        told.clock.tick()
    assert told.pieces == [] and told.live._bytes < 2 * PIECE_BYTES
    told.free = True
    told.clock.tick()
    assert [(start % 1000, start + len(piece)) for _, start, piece in told.pieces] == [(0, 1_000_000)]


CELLS = {
    "pyspark": "import time\nfor i in range(5):\n    print('line', i)\n    time.sleep(0.2)",
    "spark": 'for (i <- 0 until 5) { println(s"line $i"); Thread.sleep(200) }',
    "sparkr": "for (i in 0:4) { cat('line', i, '\\n'); Sys.sleep(0.2) }",
}


def pieces(driver: Driver, number: int):
    with driver.changed:
        return [(h["from"], body) for h, body in driver.frames if h["type"] == "output" and h["id"] == number]


@pytest.mark.parametrize("kind", CELLS)
def test_each_language_is_seen_live(driver, kind):
    driver.run("1", kind=kind)
    number = driver.submit(CELLS[kind], kind)
    result = driver.result(number)
    if kind == "sparkr" and result.output["status"] == "error":
        pytest.skip("no R here")
    told = pieces(driver, number)
    assert len(told) > 2
    at = 0
    for start, piece in told:
        assert start == at
        at += len(piece)
    lines = b"".join(piece for _, piece in told).decode().split("\n")
    assert [line.strip() for line in lines][:5] == [f"line {i}" for i in range(5)]
    with driver.changed:
        kinds = [h["type"] for h, _ in driver.frames if h.get("id") == number]
    assert kinds[-1] == "result"
    assert pieces(driver, driver.submit_after(number, "print(1)")) == []


def test_a_flood_costs_the_link_little(driver):
    """64 KiB in an interval, whatever is printed."""
    number = driver.submit("for i in range(500_000): print('line', i, 'x' * 90)")
    result = driver.result(number, 120)
    told = pieces(driver, number)
    seconds = (result.header["completed"] - result.header["started"]) / 1000
    assert told and all(len(piece) <= PIECE_BYTES for _, piece in told)
    assert len(told) <= seconds * 1000 / INTERVAL + 2
    for (before, piece), (after, text) in zip(told, told[1:]):
        assert before + len(piece) <= after
        # What comes after a gap begins with a line.
        assert before + len(piece) == after or text.startswith(b"line ")
