"""How a SQL cell is cut into statements, without Spark."""

import random
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "agent"))
from firesteel_agent.sql.text import in_place, line_of, split

CASES = [
    ("", []),
    (" \n\t ", []),
    (";", []),
    (";; \n;", []),
    ("-- only a comment", []),
    ("/* a; b */ -- c;", []),
    ("select 1", ["select 1"]),
    ("select 1;", ["select 1"]),
    ("; select 1", ["select 1"]),
    ("select 1; select 2", ["select 1", "select 2"]),
    ("select 1;;select 2;", ["select 1", "select 2"]),
    ("select ';'; x", ["select ';'", "x"]),
    ('select ";"; x', ['select ";"', "x"]),
    ("select `;`; x", ["select `;`", "x"]),
    ("select 'a\\';b'; x", ["select 'a\\';b'", "x"]),
    ("select 'a\\\\'; x", ["select 'a\\\\'", "x"]),
    ("select 'a'';b'; x", ["select 'a'';b'", "x"]),
    ('select "a"";b"; x', ['select "a"";b"', "x"]),
    ("select `a``;b`; x", ["select `a``;b`", "x"]),
    ("select r'\\'; x", ["select r'\\'", "x"]),
    ('select R"\\"; x', ['select R"\\"', "x"]),
    ("select bar'\\';'; x", ["select bar'\\';'", "x"]),
    ("select X'00'; x", ["select X'00'", "x"]),
    ("select 1 -- a; b\n; x", ["select 1", "x"]),
    ("select 1 -- a \\\n; b\n; x", ["select 1", "x"]),
    ("select 1 - -1; x", ["select 1 - -1", "x"]),
    ("select 1 /* ; */ + 2; x", ["select 1 /* ; */ + 2", "x"]),
    ("select 1 /* /* ; */ ; */; x", ["select 1", "x"]),
    ("select /*+ HINT(a) */ 1; x", ["select /*+ HINT(a) */ 1", "x"]),
    ("select '/*'; select '*/'", ["select '/*'", "select '*/'"]),
    ("select 1 /* open; x", ["select 1"]),
    ("select 'open; x", ["select 'open; x"]),
    ("select `open; x", ["select `open; x"]),
    ("select $tag$ a;b $tag$; x", ["select $tag$ a;b $tag$", "x"]),
    ("select case when a then ';' end; x", ["select case when a then ';' end", "x"]),
    ("begin select 1; select 2; end", ["begin select 1; select 2; end"]),
    ("begin select 1; end; x", ["begin select 1; end", "x"]),
    ("x; BEGIN begin select 1; end; END; y", ["x", "BEGIN begin select 1; end; END", "y"]),
    ("begin if a then b; end if; end; x", ["begin if a then b; end if; end", "x"]),
    ("begin while a do b; end while; end; x", ["begin while a do b; end while; end", "x"]),
    ("begin l: loop leave l; end loop l; end; x", ["begin l: loop leave l; end loop l; end", "x"]),
    ("begin select case a when 1 then 2 end; end; x", ["begin select case a when 1 then 2 end; end", "x"]),
    (
        "begin case a when 1 then b; end case; c; end; x",
        ["begin case a when 1 then b; end case; c; end", "x"],
    ),
    ("begin select t.end, t.begin; end; x", ["begin select t.end, t.begin; end", "x"]),
    ("begin select 'end'; end; x", ["begin select 'end'; end", "x"]),
    ("begin select 1; x", ["begin select 1; x"]),
    ("select begin; x", ["select begin", "x"]),
    ("\ufeffselect é; 漢字", ["\ufeffselect é", "漢字"]),
]


@pytest.mark.parametrize("code, expected", CASES)
def test_split(code, expected):
    found = [piece.text for piece in split(code)]
    if len(expected) == 1 and ";" not in code:
        assert found == [code]
    else:
        assert found == expected


def test_places():
    code = "select 1;\n\n  select\n 2; select 3"
    first, second, third = split(code)
    assert [line_of(code, piece) for piece in (first, second, third)] == [1, 3, 4]
    assert in_place(code, second) == "\n\n  select\n 2"
    assert in_place(code, third) == "\n\n\n    select 3"
    assert [piece.first for piece in (first, second, third)] == [True, False, False]


def test_any_text_is_cut_in_bounded_time():
    """Pieces are parts of the text in order, whatever it is; nothing between them but what is left out."""
    rng = random.Random(5)
    parts = [
        "'",
        '"',
        "`",
        ";",
        "--",
        "/*",
        "*/",
        "\n",
        "\\",
        "begin",
        " end ",
        "case ",
        "$a$",
        "r'",
        "x",
        " ",
    ]
    for _round in range(3000):
        code = "".join(rng.choice(parts) for _ in range(rng.randrange(30)))
        at = 0
        for piece in split(code):
            assert piece.start >= at and code.startswith(piece.text, piece.start)
            at = piece.start + len(piece.text)
    for unit in ("select 'x', `y`; -- c\n", "/* ", "'", "begin ", "$$", "x" * 9 + " "):
        began = time.monotonic()
        split(unit * 20_000)
        assert time.monotonic() - began < 20
