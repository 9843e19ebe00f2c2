"""What keeps people from using a page, as axe-core finds it: contrast, names, roles, the keyboard's order."""

from __future__ import annotations

import json
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.chromium import Chromium
from harness.server import ROOT

GRAVE = ("serious", "critical")


@lru_cache
def script() -> str:
    """The checker itself."""
    got = subprocess.run([str(ROOT / "scripts/axe.sh")], capture_output=True, text=True, check=False)
    assert got.returncode == 0, got.stderr
    return Path(got.stdout.strip()).read_text()


def findings(browser: Chromium) -> list[str]:
    """Grave findings on the page as it is, each with the elements. The checker comes in by DevTools, which no
    policy of the page holds back."""
    if not browser.js("'axe' in window"):
        browser.send("Runtime.evaluate", expression=script())
    found: list[dict[str, Any]] = browser.js(
        """axe.run(document, { resultTypes: ["violations"], iframes: false }).then(({ violations }) =>
            violations.map(({ id, impact, help, nodes }) => ({ id, impact, help,
                nodes: nodes.map((one) => ({ at: one.target.join(" "), why: one.failureSummary })) })))"""
    )
    return [
        f"{one['impact']} {one['id']}: {one['help']}: {json.dumps(one['nodes'][:4])}"
        for one in found
        if one["impact"] in GRAVE
    ]
