"""The README's first session, pasted as it stands, against a server."""

from __future__ import annotations

import re
import subprocess

from harness.server import ROOT, Server
from harness.spark import Spark


def test_three_curl_lines(serve, default_spark: Spark) -> None:
    """They give 2 for 1 + 1."""
    server: Server = serve({**default_spark.settings, "spark.master": "local[2]"})
    (block,) = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = block.splitlines()
    assert len(lines) == 3
    assert all("curl" in line for line in lines)
    script = block.replace("http://127.0.0.1:8998", server.url)
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=180, check=True)
    assert '"text/plain":"2"' in ended.stdout.replace(" ", ""), ended.stdout + ended.stderr


def test_make_run_and_the_quick_start_say_the_same() -> None:
    """What they tell to try is what the README tells."""
    (block,) = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    script = (ROOT / "scripts/run.sh").read_text().replace("$url", "http://127.0.0.1:8998")
    quick = (ROOT / "docs/quick-start.md").read_text()
    for line in block.splitlines():
        assert line in script, line
        assert line in quick, line
