"""What is kept of a text over its limit: exactly the head, the marker line and the tail."""

import json
import random

import pytest
from firesteel_agent import output
from firesteel_agent.capture import Capture, is_json, keep, size
from firesteel_agent.python.child import table, values
from kept import expected, shown

MIB = 1 << 20


def captured(data, limit, rng=None):
    """A stream that got the data in pieces."""
    stream = Capture((limit + 1) // 2)
    at = 0
    while at < len(data):
        step = rng.choice((1, 7, 100, 5000)) if rng else 5000
        stream.add(data[at : at + step])
        at += step
    return stream


def assert_kept(data, limit, rng=None):
    kept = keep(captured(data, limit, rng), Capture(limit), limit)
    assert kept.text() == shown(data, limit)
    if len(data) <= limit:
        assert not kept.marker
        return
    assert (kept.head, kept.tail, kept.seen) == (*expected(data, limit), len(data))


TEXTS = {
    "lines": lambda n: b"".join(b"line %d\n" % i for i in range(n))[:n],
    "one line": lambda n: b"x" * n,
    "characters": lambda n: ("é漢🎉" * n).encode()[:n],
    "progress": lambda n: b"".join(b"%3d%%|####|\r" % (i % 100) for i in range(n))[:n],
    "windows": lambda n: b"".join(b"line %d\r\n" % i for i in range(n))[:n],
    "binary": lambda n: (bytes(range(256)) * (n // 256 + 1))[:n],
    "continuation": lambda n: b"\x80" * n,
    "newlines": lambda n: b"\n" * n,
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("limit", [64, 101, 1000])
def test_each_side_of_each_boundary(name, limit):
    for count in (0, 1, 10, limit - 1, limit, limit + 1, limit + 2, 2 * limit, 10 * limit + 3):
        assert_kept(TEXTS[name](count), limit)


def test_line_ends_at_every_place():
    for end in (b"\n", b"\r", b"\r\n", "é".encode(), "🎉".encode()):
        for place in range(70):
            for back in (0, 1, 30, 33, 40, 62, 63, 64, 65):
                data = bytearray(b"x" * 200)
                data[place : place + len(end)] = end
                data[200 - back - len(end) : 200 - back] = end
                assert_kept(bytes(data), 64)


def test_random_bytes_in_random_pieces():
    rng = random.Random(7)
    for _ in range(300):
        alphabet = rng.choice((b"ab\n", b"a\r\n", bytes(range(256)), "aé🎉\n".encode(), b"x" * 30 + b"\n"))
        data = bytes(rng.choice(alphabet) for _ in range(rng.randrange(400)))
        assert_kept(data, rng.choice((64, 65, 128)), rng)


def test_stdout_comes_before_stderr():
    for out, err in ((10, 500), (500, 10), (40, 40), (64, 1), (0, 200)):
        stdout, stderr = b"o" * out, b"e" * err
        kept = keep(captured(stdout, 64), captured(stderr, 64), 64)
        head, tail = expected(stdout + stderr, 64)
        assert (kept.head, kept.tail) == (head, tail)


def test_the_end_is_stripped_as_python_does():
    composer = output.Composer(4096, 64 * MIB)
    spaces = " \t\n\r\x0b\x1c\x85\xa0\u2003\u2028\u3000"
    for text in ("", "a", spaces, "a" + spaces * 500, " a ", spaces * 300 + "é" + spaces):
        out = captured(text.encode(), 64 << 10)
        told = json.loads(output.Composer(64 << 10, 64 * MIB).ok(0, out, Capture(1)).json)
        assert told["data"]["text/plain"] == text.rstrip()
    long = ("x" * 5000 + spaces * 1000).encode()
    told = json.loads(composer.ok(0, captured(long, 4096), Capture(1)).json)
    assert told["data"]["text/plain"].endswith(" ...]\n")


@pytest.mark.parametrize(
    "line, is_one",
    [
        (b'{"a": 1}', True),
        (b'[{"a": 1}, {"a": 2}]', True),
        (b"{'a': 1}", False),
        (b"{broken", False),
        (b"text", False),
        (b"[1, 2]", False),
    ],
)
def test_what_a_program_reads_is_not_cut(line, is_one):
    """Lines of any length: many in each half, or none whole in either."""
    for count, limit in ((1, 64), (1000, 64), (1000, 100), (3, len(line) + 2)):
        assert is_json(captured((line + b"\n") * count, limit)) == is_one
    key, rest = line[:3], line[3:]
    for pad in (0, 30, 100, 1000):
        long = key + b"x" * pad + rest
        assert is_json(captured((long + b"\n") * 3, 64)) == is_one, long
    # R's one line has no end.
    assert is_json(captured(line, 64)) == is_one


def test_an_output_is_not_much_longer_than_its_limit():
    """Escapes make JSON longer than text; it is cut to less then, and stays head, marker and tail."""
    limit = 64 << 10
    composer = output.Composer(limit, 64 * MIB)
    for byte in (b"\0", b"\xff", b"\n", b'"', b"\x1b[0m", bytes(range(256))):
        data = byte * (3 * limit // len(byte))
        for told in (
            composer.ok(3, captured(data, limit), Capture(1), strip=False),
            composer.failed(
                3, captured(data, limit), Capture(1), {"ename": "E", "evalue": "v", "traceback": ["t\n"]}
            ),
        ):
            assert limit < len(told.json) <= limit * 3 // 2 + 200, (byte, len(told.json))
            text = json.loads(told.json)["data"]["text/plain"]
            head, tail = text.split("[... ")[0], text.split(" ...]\n")[1]
            whole = data.decode("utf-8", "replace")
            assert head and whole.startswith(head.rstrip("\n"))
            assert whole.endswith(tail) and (tail or byte == b"\n")
            assert told.cut == {"what": "text", "limit": limit, "seen": len(data)}


def test_json_lines_may_be_as_long_as_their_escapes_make_them():
    limit = 64 << 10
    line = b'{"":"","a":"","b":""}\n'
    data = line * (limit // len(line))
    told = output.Composer(limit, 64 * MIB).ok(0, captured(data, limit), Capture(1))
    assert len(told.json) > limit * 3 // 2 and told.cut is None
    assert json.loads(told.json)["data"]["text/plain"] == data.decode().rstrip()
    told = output.Composer(limit, 64 * MIB).ok(0, captured(data + line, limit), Capture(1))
    failure = json.loads(told.json)
    assert failure["ename"] == "ResultTooLarge"
    for word in (size(len(data + line)), size(limit), "output.max_bytes", "fewer rows"):
        assert word in failure["evalue"]
    assert told.cut == {"what": "structured", "limit": limit, "seen": len(data + line)}


def test_values_are_read_no_further_than_the_limit():
    """Also what would never end, or has no room in memory once it is written."""

    class Endless(list):
        def __iter__(self):
            while True:
                yield "x" * 100

    class Array:
        size = 1 << 40

        def tolist(self):
            raise AssertionError("it must not be copied")

    Array.__module__ = "numpy"
    limit = 64 << 10
    for value in (Endless(), "x" * limit, [["x" * limit]], {"k": "é" * limit}, Array()):
        with pytest.raises(values.TooLarge) as raised:
            values.dumps(value, limit)
        assert raised.value.seen > limit
    for value in ([1] * limit, [{"a": 1}] * limit, "x" * (limit + 1), [[b"x" * (limit + 1)]], Array()):
        with pytest.raises(values.TooLarge):
            table.to_table(value, limit)
    exact = ["x" * 10] * 100
    whole = values.dumps(exact)
    assert values.dumps(exact, len(whole)) == whole
    with pytest.raises(values.TooLarge):
        values.dumps(exact, len(whole) - 1)
