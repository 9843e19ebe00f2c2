"""Every link between the repository's own pages leads to a file and a heading that are there, and every page
of docs/ is in its index."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

from harness.server import ROOT

FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
ELSEWHERE = ("http://", "https://", "mailto:")


@cache
def pages() -> list[Path]:
    """The Markdown of the repository, with what is not committed yet."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


@cache
def anchors(page: Path) -> frozenset[str]:
    """The names that a code host gives a page's headings."""
    found: list[str] = []
    for heading in HEADING.findall(FENCED.sub("", page.read_text())):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return frozenset(found)


def links(page: Path) -> list[str]:
    """Where a page's links lead, but for other sites'."""
    text = CODE.sub("", FENCED.sub("", page.read_text()))
    return [link for link in LINK.findall(text) if not link.startswith(ELSEWHERE)]


def broken(page: Path) -> list[str]:
    """Its links that lead nowhere."""
    found = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(f"{page.relative_to(ROOT)}: {link}")
    return found


def test_links_lead_somewhere() -> None:
    """Files and headings alike."""
    assert sum(len(links(page)) for page in pages()) > 200
    assert [each for page in pages() for each in broken(page)] == []


def test_the_index_has_every_page() -> None:
    """Once, in one of its groups."""
    index = ROOT / "docs/README.md"
    listed = re.findall(r"^\| \[[^\]]+\]\(([\w-]+\.md)\) \|", index.read_text(), re.MULTILINE)
    written = {page.name for page in (ROOT / "docs").glob("*.md")} - {index.name}
    assert sorted(listed) == sorted(written)
