"""schemathesis against the OpenAPI document: no server error but those that are meant, every answer
as the document has it, no error that tells of the inside (S24). `make fuzz` does it for longer."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest
from faults.test_secrets import INSIDE
from harness.api import Api
from harness.chance import SEED
from harness.fake import Fake
from harness.server import ROOT, Server, command

PROGRAM = Path(os.environ.get("FIRESTEEL_TEST_SCHEMATHESIS") or ROOT / ".venv/fuzz/bin/schemathesis")
HARNESS = ROOT / "tests/harness"
SECONDS = float(os.environ.get("FIRESTEEL_TEST_FUZZ_SECONDS") or 0)
"""How long it goes on with one seed after another; 0 for one short round."""
PASSWORD = "all and more"
KEPT = 5


@contextlib.contextmanager
def janitor(server: Server, auth: tuple[str, str] | None) -> Iterator[None]:
    """Deletes sessions and batches while the run makes more, but for the last few."""
    over = threading.Event()

    def clean() -> None:
        api = Api(server.url, auth)
        while not over.wait(0.5):
            for path, name in (("/sessions", "sessions"), ("/batches", "sessions")):
                listed = api.get(f"{path}?size=1000").json()[name]
                for one in listed[:-KEPT]:
                    api.delete(f"{path}/{one['id']}")

    thread = threading.Thread(target=clean, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)


def run(server: Server, auth: tuple[str, str] | None, seed: int, examples: int) -> str:
    """One run of schemathesis, all phases and all checks; what it says at its end."""
    argv = [str(PROGRAM), "--config-file", str(HARNESS / "schemathesis.toml"), "--no-color", "run"]
    argv += [str(ROOT / "openapi/openapi.json"), "--url", server.url, "--seed", str(seed)]
    argv += ["--max-examples", str(examples), "--checks", "all", "--generation-database", "none"]
    argv += ["--suppress-health-check", "all"]
    if auth:
        argv += ["--auth", ":".join(auth)]
    inside = {"FIRESTEEL_FUZZ_INSIDE": INSIDE.pattern, "FIRESTEEL_FUZZ_HOME": str(server.home)}
    environment = {
        **os.environ,
        **inside,
        "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        "PYTHONPATH": str(HARNESS),
    }
    environment = {name: value for name, value in environment.items() if "proxy" not in name.lower()}
    done = subprocess.run(argv, capture_output=True, text=True, cwd=server.home, env=environment, check=False)
    assert done.returncode == 0, f"seed {seed}:\n{done.stdout[-20_000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.timeout(SECONDS + 600)
@pytest.mark.parametrize("names", [False, True], ids=["without names", "with names"])
def test_every_route(
    serve: Callable[..., Server], tmp_path: Path, figures: Callable[[str], None], names: bool
) -> None:
    """On a server whose drivers start in a moment, with and without authentication."""
    assert PROGRAM.is_file(), f"{PROGRAM} is missing: run 'scripts/envs fuzz'"
    settings = {
        **Fake(tmp_path / "fake").settings,
        "limits.sessions": 3,
        "limits.batches": 1,
        "output.inline_bytes": "1KiB",
        "driver.stop_grace": "100ms",
        "driver.kill_grace": "500ms",
    }
    auth = None
    if names:
        users = tmp_path / "users"
        assert command("passwd", str(users), "alice", stdin=PASSWORD + "\n").returncode == 0
        settings |= {"access.mode": "basic", "access.basic_file": users, "access.impersonation": True}
        auth = ("alice", PASSWORD)
    server = serve(settings)
    cases, seed = 0, SEED
    begun = time.monotonic()
    with janitor(server, auth):
        while True:
            said = run(server, auth, seed, 60 if SECONDS else 3)
            found = re.search(r"Operations: +(\d+) selected.*?(\d+) generated", said, re.DOTALL)
            assert found, said[-3000:]
            cases += int(found.group(2))
            seed += 1
            if time.monotonic() - begun > SECONDS / 2:
                break
    took = time.monotonic() - begun
    figures(
        f"schemathesis, {'with' if names else 'without'} names: {found.group(1)} operations, {cases} cases of"
        f" {seed - SEED} seeds in {took:.0f} s, 0 faults"
    )
    assert server.api.get("/ping").status_code == 200
    assert "panicked" not in server.log()
