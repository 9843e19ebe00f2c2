"""The parts that need no Spark."""

import hmac
import json

import pytest
from firesteel_agent import capture, frames, output, proof
from firesteel_agent.python.child import table, values
from firesteel_agent.sql import values as sql_values


def test_frames_survive_any_cut():
    sent = [({"type": "a", "n": 1}, b""), ({"type": "b", "t": "é\n"}, b"x" * 1000), ({"type": "c"}, b"\0")]
    data = b"".join(frames.encode(header, body) for header, body in sent)
    for step in (1, 3, 7, 8, 9, len(data)):
        decoder, got = frames.Decoder(2000), []
        for start in range(0, len(data), step):
            got += decoder.feed(data[start : start + step])
        assert got == sent


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 8,
        b"\0\0\0\x06\0\0\0\x03{}",
        b"\0\0\0\x06\0\0\0\x02[]",
        b"\0\0\0\x06\0\0\0\x02{}",
        b"\0\0\0\x06\0\0\0\x02\xff\xff",
        b"\0\0\0\x00\0\0\0\x00",
    ],
)
def test_bad_frames_are_refused(data):
    with pytest.raises(frames.BadFrame):
        frames.Decoder(100).feed(data)


def fill(limit, *pieces):
    stream = capture.Capture((limit + 1) // 2)
    for piece in pieces:
        stream.add(piece)
    return stream


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_capture_keeps_all_up_to_the_limit(size):
    data = (b"0123456789" * 20)[:size]
    for step in (1, 7, 100):
        stream = fill(100, *(data[i : i + step] for i in range(0, size, step)))
        assert stream.whole() == data
        assert capture.keep(stream, fill(100), 100).text() == data.decode()


def test_capture_keeps_head_and_tail():
    data = "".join(f"line {n}\n" for n in range(1000)).encode()
    for step in (1, 13, 5000):
        stream = fill(100, *(data[i : i + step] for i in range(0, len(data), step)))
        kept = capture.keep(stream, fill(100), 100)
        lines = kept.text().rstrip().split("\n")
        assert kept.marker in lines and lines[0] == "line 0" and lines[-1] == "line 999"
        marker = next(line for line in lines if line.startswith("[..."))
        assert int(marker.split()[1]) + len(lines) - 1 == 1000


def test_capture_cuts_between_characters():
    for lead in range(5):
        stream = fill(100, b"a" * lead + "漢".encode() * 500)
        assert "\ufffd" not in capture.keep(stream, fill(100), 100).text()


def test_capture_is_bounded():
    stream = fill(1 << 20, *(b"x" * 100_000 for _ in range(1000)))
    kept = len(stream._head) + sum(len(piece) for piece in stream._tail)
    assert kept < (1 << 20) + 2 * capture.COALESCE + 100_000


def test_hmac_is_the_standard_one():
    for key in (b"", b"k" * 64, b"k" * 65):
        assert proof.hmac_sha256(key, b"text") == hmac.new(key, b"text", "sha256").hexdigest()
    assert proof.equal("a1", "a1") and not proof.equal("a1", "a2") and not proof.equal("a1", "a")


def test_sizes_in_words():
    assert [capture.size(n) for n in (5, 16 << 20, 1_200_000_000, 1 << 30)] == [
        "5 bytes",
        "16 MiB",
        "1.2 GB",
        "1 GiB",
    ]


def test_outputs_replace_lone_surrogates():
    assert json.loads(output.error(1, "E", "a\ud800b").json) == {
        "status": "error",
        "execution_count": 1,
        "ename": "E",
        "evalue": "a\ufffdb",
        "traceback": [],
    }


def test_values_are_strict_json():
    assert json.loads(values.dumps({2: float("nan"), None: (1, "\udc00"), True: {}})) == {
        "2": None,
        "null": [1, "\ufffd"],
        "true": {},
    }
    for bad in ({1, 2}, {(1,): 1}, object()):
        with pytest.raises(TypeError):
            values.dumps(bad)


def test_table_of_columns_with_holes():
    assert table.to_table([{"a": 1}, {"b": "x"}]) == {
        "headers": [{"name": "a", "type": "INT_TYPE"}, {"name": "b", "type": "STRING_TYPE"}],
        "data": [[1, None], [None, "x"]],
    }
    with pytest.raises(TypeError):
        table.to_table([[[1, "a"]]])


def test_rows_become_arrays():
    fields = [
        {"name": "d", "type": "decimal(38,2)"},
        {"name": "f", "type": "double"},
        {"name": "s", "type": {"type": "struct", "fields": [{"name": "n", "type": "timestamp"}]}},
    ]
    write_row = sql_values.row_writer(fields)

    def write(text):
        return write_row(sql_values.decode(text, 0)[0])

    assert write('{"0":1234567890123456789.10,"1":"NaN","2":{"n":"2020-01-01T00:00:00.100000Z"}}') == (
        '[1234567890123456789.10,null,{"n":"2020-01-01T00:00:00.1Z"}]'
    )
    assert write('{"0":null,"1":1.0E10,"2":null}') == "[null,1.0E10,null]"
