"""docs/operating.md: the sentences that its troubles quote are those of the server and the agent, its keys
are the configuration's, its alerts those of docker/prometheus."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

from harness.server import ROOT

PAGE = ROOT / "docs/operating.md"
ALERTS = ROOT / "docker/prometheus/alerts.yml"
GAP = "…"
"""What differs in a sentence, in the page's way."""

# A literal of Rust, and what may hold a quotation mark that begins none.
TOKEN = re.compile(
    r"""//[^\n]* | '(?:\\.[^']*|[^\\'\n])'
    | r(?P<hashes>\#*)"(?P<raw>.*?)"(?P=hashes) | "(?P<plain>(?:[^"\\]|\\.)*)" """,
    re.VERBOSE | re.DOTALL,
)
PLACE = re.compile(r"\{\{|\}\}|\{[^{}]*\}")
ESCAPE = re.compile(r"\\(?:\n\s*|(.))", re.DOTALL)
COMPLETE = (
    "src/driver/diagnosis.rs",
    "src/driver/watch.rs",
    "src/session/times.rs",
    "src/store/error.rs",
)
"""Sources whose sentences are all in the table."""
OTHERS = {"link.key", "link.tls.pem", "session.id", "batch.id"}
"""What looks like a key: files, and fields of the log."""


def shown(text: str) -> str:
    """A sentence of the source in the page's way: gaps where something is put in, and one line."""
    text = PLACE.sub(lambda found: {"{{": "{", "}}": "}"}.get(found[0], GAP), text)
    return text.replace("\n", "")


def rust(path: Path, constants: bool = True) -> list[str]:
    """The literals of a file, without those of its tests; without its constants those that it says, and not
    those that it looks for."""
    text = path.read_text().split("#[cfg(test)]")[0]
    if not constants:
        text = re.sub(r"^(?:pub\S* )?const [A-Z_]+: .*;$", "", text, flags=re.MULTILINE)
    found = [
        match["plain"] if match["raw"] is None else match["raw"]
        for match in TOKEN.finditer(text)
        if match["plain"] is not None or match["raw"] is not None
    ]
    return [shown(ESCAPE.sub(lambda m: {None: "", "n": "\n"}.get(m[1], m[1]), each)) for each in found]


def python(path: Path) -> list[str]:
    """The same of the agent."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return [shown(each) for each in found]


@cache
def sentences() -> str:
    """Everything that the server and the agent can say, a line each."""
    said = [each for path in sorted(ROOT.glob("src/**/*.rs")) for each in rust(path)]
    said += [each for path in sorted(ROOT.glob("agent/**/*.py")) for each in python(path)]
    return "\n".join(said)


def troubles() -> list[list[str]]:
    """The table's rows, as cells."""
    rows = [line for line in PAGE.read_text().split("\n## Troubles\n")[1].splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    return [row for row in cells if "`" in row[0]]


def quoted() -> list[str]:
    """What they quote, but for JSON without words."""
    found = [each for row in troubles() for each in re.findall(r"`([^`]+)`", row[0])]
    return [each for each in found if re.search("[a-z]", each)]


def test_each_quoted_sentence_is_in_the_source() -> None:
    """A sentence that is changed there has to be changed here."""
    assert len(quoted()) > 180
    assert [each for each in quoted() if each not in sentences()] == []


def test_each_row_says_something() -> None:
    """Three cells, the last one with what to do unless the meaning is all there is; no sentence twice."""
    for row in troubles():
        assert len(row) == 3, row
        assert row[1] or row[2], row
    assert len(set(quoted())) == len(quoted())


def test_the_most_frequent_reasons_are_all_there() -> None:
    """Why drivers do not start or end, and why the store is not written."""
    wanted = {
        sentence
        for path in COMPLETE
        for sentence in rust(ROOT / path, constants=False)
        if sentence[:1].isupper() and sentence.endswith((".", GAP)) and len(sentence.split()) > 3
    }
    assert len(wanted) > 35
    assert sorted(each for each in wanted if not any(row in each for row in quoted())) == []


def test_keys_are_the_configurations() -> None:
    """Each key that a page for everybody names is there."""
    keys, table = set(), ""
    for line in (ROOT / "docs/configuration.md").read_text().splitlines():
        if heading := re.fullmatch(r"### \[(.+)\]", line):
            table = heading[1]
        elif table and (row := re.match(r"\| `(\w+)` \|", line)):
            keys.add(f"{table}.{row[1]}")
    tables = {key.split(".")[0] for key in keys}
    for name in ("operating.md", "quick-start.md"):
        text = (ROOT / "docs" / name).read_text()
        for key in re.findall(r"(?<![\w./-])([a-z_]+(?:\.[a-z_]+)+)(?![\w./(-])", text):
            is_key = key.split(".")[0] in tables - {"spark"} and not key.endswith(".md")
            if is_key and key not in OTHERS:
                assert key in keys or any(one.startswith(f"{key}.") for one in keys), f"{name}: {key}"


def test_alerts_are_sound_and_explained() -> None:
    """Prometheus takes the rules, they ask for metrics that there are, and the page says what to do."""
    checked = subprocess.run(
        ["promtool", "check", "rules", ALERTS], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    rules = ALERTS.read_text()
    asked = set(re.findall(r"\b((?:firesteel|process)_\w+?)(?:_bucket)?\b(?=[\[{ )])", rules))
    listed = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    assert len(asked) > 7
    assert asked <= listed
    alerts = re.findall(r"- alert: (\w+)", rules)
    assert alerts == re.findall(r"^\| `(Firesteel\w+)` \|", PAGE.read_text(), re.MULTILINE)
