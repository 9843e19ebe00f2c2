"""Much is printed, by everything that can print: exactly head, marker and tail come back, and the agent keeps
no more than it may."""

import pytest
from harness.processes import forget_peak, rss_mib
from kept import shown

MIB = 1 << 20
SIZE = 24 * MIB

LINE = b"0123456789abcdef-line \xc3\xa9\xe6\xbc\xa2\n"
LINES = LINE * (SIZE // len(LINE))
ONE_LINE = b"x" * SIZE
BAR = b"\r 50%|#####     | 12/24"
PROGRESS = BAR * (SIZE // len(BAR))
PART = b"not all of it is text: \xff\xfe\x80\xc3 \xf0\x9f, "
BINARY = PART * (SIZE // len(PART))

AS_LINE = repr(LINE.decode())
COUNT = SIZE // len(LINE)

FLOODS = {
    "python, lines": ("pyspark", f"for i in range({COUNT}): print({AS_LINE}, end='')", LINES),
    "python, one line": ("pyspark", f"print('x' * {SIZE}, end='')", ONE_LINE),
    "python, its value": ("pyspark", f"'x' * {SIZE}", b"'" + ONE_LINE + b"'\n"),
    "python, a progress bar": (
        "pyspark",
        f"import sys\nfor i in range({SIZE // len(BAR)}): _ = sys.stderr.write({BAR.decode()!r})",
        PROGRESS,
    ),
    "python, binary": (
        "pyspark",
        f"import sys\nfor i in range({SIZE // len(PART)}): _ = sys.stdout.buffer.write({PART!r})",
        BINARY,
    ),
    "a child of Python": (
        "pyspark",
        f"import subprocess\n_ = subprocess.run(['sh', '-c', 'yes 0123456789abcde | head -c {SIZE}'])",
        b"0123456789abcde\n" * (SIZE // 16),
    ),
    "C in Python": (
        "pyspark",
        "import ctypes\nputs = ctypes.CDLL(None).puts\n"
        f"for i in range({SIZE // 4096}): _ = puts(b'c' * 4095)",
        (b"c" * 4095 + b"\n") * (SIZE // 4096),
    ),
    "scala, lines": (
        "spark",
        f'val line = "s" * 1023\nfor (i <- 1 to {SIZE // 1024}) println(line)',
        None,
    ),
    "scala, one line": ("spark", f'print("y" * {SIZE})', b"y" * SIZE),
    "R, lines": (
        "sparkr",
        f"line <- strrep('r', 1023)\nfor (i in 1:{SIZE // 1024}) cat(line, '\\n', sep = '')",
        (b"r" * 1023 + b"\n") * (SIZE // 1024),
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood(driver, name):
    kind, code, printed = FLOODS[name]
    driver.run("1", kind, timeout=180)
    agent = driver.agent_pid()
    before = rss_mib(agent)
    forget_peak(agent)
    result = driver.run(code, kind, timeout=180)
    text = result.text
    if printed is None:  # How much of the value the REPL tells depends on its version.
        printed = text.partition("\n")[0].encode() + b"\n" + (b"s" * 1023 + b"\n") * (SIZE // 1024)
        assert printed.removeprefix(b"val ").startswith(b"line: String = ss")
    whole = shown(printed, MIB)
    assert text == (whole if kind == "spark" else whole.rstrip())
    assert result.header["cut"] == {"what": "text", "limit": MIB, "seen": len(printed)}
    # Twice the limit for what is kept of the streams, and what makes a frame of it.
    assert rss_mib(agent, peak=True) - before < 12


def test_both_sides_of_the_limit(driver):
    for count in (MIB - 1, MIB, MIB + 1):
        result = driver.run(f"print('x' * {count}, end='')")
        assert result.text == shown(b"x" * count, MIB)
        assert (result.header["cut"] is None) == (count <= MIB)


def test_what_is_no_text_is_an_error_that_says_what_to_do(driver):
    cases = {
        "pyspark": [
            "big = ['x' * 1000] * 2000\n%json big",
            "big = {i: 'x' for i in range(1_000_000)}\n%json big",
            "class Endless(list):\n    def __iter__(self):\n        while True: yield 'x'\n"
            "big = Endless()\n%json big",
            "big = [[1, 'x' * 100]] * 20_000\n%table big",
        ],
        "spark": ['val big = Seq.fill(2000)("x" * 1000)\n%json big', "%table big"],
        "sql": ["SELECT repeat('x', 2000) FROM range(1000)", "SELECT repeat('x', 3000000)"],
    }
    for kind, codes in cases.items():
        for code in codes:
            result = driver.run(code, kind, timeout=180)
            assert result.output["ename"] == "ResultTooLarge", result.output
            for word in ("output.max_bytes is 1 MiB", "fewer rows or columns", "storage"):
                assert word in result.output["evalue"]
            assert result.header["cut"]["what"] == "structured"
            assert result.header["cut"]["seen"] > result.header["cut"]["limit"] == MIB
    printed = driver.run("print('before')\n%json big").output
    assert printed["ename"] == "ResultTooLarge" and printed["data"] == {"text/plain": "before"}


def test_a_giant_value_is_not_copied_more_than_needed(driver):
    """Its repr is needed; beside that, pieces."""
    driver.run("giant = 'x' * 200_000_000")
    pid = driver.interpreter_pid()
    before = rss_mib(pid)
    forget_peak(pid)
    assert driver.run("giant").header["cut"]["seen"] == 200_000_003
    assert rss_mib(pid, peak=True) - before < 240
    forget_peak(pid)
    assert driver.run("%json giant").output["ename"] == "ResultTooLarge"
    assert driver.run("giant = [0] * 20_000_000\n%json giant").output["ename"] == "ResultTooLarge"
    assert rss_mib(pid, peak=True) - before < 240


def test_rows_of_sql_that_are_huge_stay_where_they_are(driver):
    """A few hundred MB of text in rows that take nothing on the way, since they are compressed: they are
    measured, not fetched."""
    output = driver.run("SELECT id, repeat('x', 900000) FROM range(900)", "sql").output
    assert output["ename"] == "ResultTooLarge", output
    rows = driver.run("SELECT id, repeat('y', 400000) FROM range(2)", "sql").output["data"][
        "application/json"
    ]
    assert [[row[0], len(row[1])] for row in rows["data"]] == [[0, 400000], [1, 400000]]
