"""What the files here share: one browser, where its screenshots go, and what each page is looked at for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable, Iterator

import pytest
from harness.axe import findings
from harness.chromium import Chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """One browser for a file."""
    made = Chromium()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: FIRESTEEL_TEST_ARTIFACTS where it is set."""
    place = Path(os.environ.get("FIRESTEEL_TEST_ARTIFACTS") or tmp_path_factory.mktemp("ui"))
    place.mkdir(parents=True, exist_ok=True)
    return place


@pytest.fixture(scope="module")
def looked_at(browser: Chromium, pictures: Path) -> Callable[[str], None]:
    """Look at the page as it is: pictures in light and in dark, which differ, and on a phone, where it fits.
    Nothing on it keeps people from using it."""

    def look(name: str) -> None:
        made = []
        for scheme in ("light", "dark"):
            browser.theme(scheme)
            made.append(browser.picture(pictures / f"{name}-{scheme}.png"))
            assert findings(browser) == [], (name, scheme)
        browser.theme("light")
        assert made[0] != made[1], name
        browser.size(390, 844)
        browser.picture(pictures / f"{name}-phone.png")
        assert browser.js("document.documentElement.scrollWidth") <= 390, name
        browser.size(1280, 900)

    return look
