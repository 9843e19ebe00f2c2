"""Output is captured whole, within its limits, whatever user code does with its descriptors."""

import json
from pathlib import Path

import pytest

MIB = 1 << 20


def rss(pid):
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def test_a_flood_is_cut_on_lines(driver):
    driver.run("1")
    before = rss(driver.agent_pid())
    text = driver.run("for i in range(200000): print('line', i, 'x' * 300)", timeout=120).text
    assert len(text) <= MIB + 200
    lines = text.split("\n")
    markers = [line for line in lines if line.startswith("[... ")]
    assert len(markers) == 1 and "output.max_bytes is 1 MiB" in markers[0]
    cut = int(markers[0].split()[1])
    assert lines[0].startswith("line 0 x") and lines[-1].startswith("line 199999 x")
    assert all(line.startswith("line ") for line in lines if line not in markers)
    assert cut + len(lines) - 1 == 200000
    assert rss(driver.agent_pid()) - before < 8 * MIB


def test_one_endless_line_is_cut_on_a_character(driver):
    text = driver.run("print('é漢' * 3_000_000)").text
    assert len(text.encode()) <= MIB + 200
    head, marker, tail = text.split("\n")
    assert set(head) == set(tail) == {"é", "漢"}
    assert marker.startswith("[... ") and "MB cut" in marker


def test_stdout_and_stderr_share_the_limit(driver):
    code = "import sys\nfor i in range(60000):\n    print('o' * 20)\n    print('e' * 20, file=sys.stderr)"
    text = driver.run(code).text
    assert len(text) <= MIB + 200
    assert text.startswith("o" * 20) and text.endswith("e" * 20)


def test_control_characters_fit_the_frame(own_driver):
    limited = own_driver(output_max_bytes=4 * MIB, max_frame=6 * MIB)
    limited.ready()
    result = limited.run("print('\\x00' * (3 << 20))")
    assert len(result.raw) < 6 * MIB
    assert "cut: output.max_bytes is 4 MiB" in result.text


def test_lines_of_json_over_the_limit_are_an_error(driver):
    code = "import json\nfor i in range(50000): print(json.dumps({'id': i, 'pad': 'x' * 50}))"
    output = driver.run(code).output
    assert output["ename"] == "ResultTooLarge"
    assert "output.max_bytes is 1 MiB" in output["evalue"]
    lines = driver.run("for i in range(100): print(json.dumps({'id': i}))").text.split("\n")
    assert [json.loads(line)["id"] for line in lines] == list(range(100))


@pytest.mark.parametrize("magic", ["%json", "%table"])
def test_structured_results_over_the_limit_are_an_error(driver, magic):
    output = driver.run(f"big = ['x' * 1000] * 2000\n{magic} big").output
    assert output["ename"] == "ResultTooLarge"
    assert driver.run("'alive'").text == "'alive'"


def test_a_huge_exception_is_cut(driver):
    result = driver.run("raise ValueError('x' * 5_000_000)")
    assert result.output["ename"] == "ValueError" and len(result.raw) < MIB + 100_000


DESCRIPTORS = [
    ("import os; _n = os.write(1, b'raw\\n')", "raw"),
    ("import os; os.close(1)", ""),
    ("import os; os.close(2); os.close(0)", ""),
    ("import os; os.dup2(os.open('/dev/null', os.O_WRONLY), 1); print('lost')", ""),
    ("import sys; sys.stdout.close()", ""),
    ("import sys; sys.stderr.close(); sys.stdout = None", ""),
    ("import sys, io; sys.stdout = io.StringIO(); print('in memory'); sys.stdout = sys.__stdout__", ""),
    ("import os; _s = os.system('echo from a child; echo error >&2')", "from a child\nerror"),
    ("import subprocess; _r = subprocess.run(['sh', '-c', 'printf unended'])", "unended"),
    ("import ctypes; _n = ctypes.CDLL(None).printf(b'from C\\n')", "from C"),
    (
        "import os\npid = os.fork()\n"
        "if pid == 0:\n    print('child', flush=True)\nelse:\n    _s = os.waitpid(pid, 0)",
        "child",
    ),
    ("import os\npid = os.fork()\nif pid == 0: os._exit(0)\n_s = os.waitpid(pid, 0)", ""),
]


@pytest.mark.parametrize("code, text", DESCRIPTORS)
def test_descriptors(driver, code, text):
    assert driver.run(code).text == text
    for word in ("one", "two", "three"):
        assert driver.run(f"print('{word}')").text == word
    assert driver.run("import sys; print('err', file=sys.stderr)").text == "err"


def test_a_child_left_behind_does_not_hold_the_result(driver):
    assert (
        driver.run("import subprocess\nchild = subprocess.Popen(['sleep', '30'])\n'at once'").text
        == "'at once'"
    )
    assert driver.run("child.kill()").text == ""


def test_output_between_statements_belongs_to_none(driver):
    code = (
        "import threading\n"
        "go = threading.Event()\n"
        "def late():\n    go.wait()\n    print('LATE' + 'R')\n    said.set()\n"
        "said = threading.Event()\n"
        "threading.Thread(target=late).start()"
    )
    driver.run(code)
    # The timer lets the statement end first.
    assert driver.run("threading.Timer(0.2, go.set).start()").text == ""
    driver.wait_log("LATER")
    assert driver.run("said.is_set()").text == "True"
