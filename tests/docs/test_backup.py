"""The backup and the restore of docs/operating.md, as they stand there, with a real server that works
meanwhile."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from harness.api import Api
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import ROOT, command, serving

PAGE = ROOT / "docs/operating.md"
LARGE = 50_000
"""Characters of an output that has a file of its own."""
PASSWORD = "wonder land"


def script(name: str) -> str:
    """The page's block that begins with this comment."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(f"# {name}: ")]
    return found


def run(name: str, state: Path, copy: Path) -> None:
    """Run one of them."""
    settings = f'state="{state}" copy="{copy}"\n'
    ended = subprocess.run(
        ["sh", "-c", settings + script(name)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def facts(api: Api, ended: int, upload: str) -> list[object]:
    """What a backup has to bring back."""
    path = f"/history/{ended}"
    wanted = [path, f"{path}/log?size=-1", f"{path}/statements", f"/uploads/{upload}"]
    answers = [api.get(one) for one in wanted]
    assert [answer.status_code for answer in answers] == [200] * len(wanted)
    return [answer.json() for answer in answers]


def test_a_backup_brings_back_what_is_stored(tmp_path: Path) -> None:
    """Of a server that works: history with a large output and logs, an upload, a token; a session that ran is
    dead, one that waited starts; nothing in the copy is open to others, and no driver's secret is in it."""
    fake = Fake(tmp_path / "fake")
    state, copy, users = tmp_path / "state", tmp_path / "copy", tmp_path / "users"
    assert command("passwd", str(users), "alice", stdin=PASSWORD + "\n").returncode == 0
    settings = {
        **fake.settings,
        "access.mode": ["basic", "token"],
        "access.basic_file": str(users),
        "limits.sessions": 1,
    }
    with serving(settings, state_dir=state) as server:
        api = server.user("alice", PASSWORD)
        ended = api.create()
        ended.wait("idle")
        assert len(ended.text(f"print {LARGE}")) == LARGE
        ended.post("die")
        ended.wait("dead")
        ran = api.create(name="ran")
        ran.wait("idle")
        assert ran.text("ledger first") == "first"
        waits = api.create(name="waits")
        token = api.post("/tokens", json={"name": "t"}).json()["token"]
        upload = api.post("/uploads", files={"file": ("job.py", b"1\n")}).json()["id"]
        wait_until("it is in the history", lambda: api.get(f"/history/{ended.id}").status_code == 200, 10)
        before = facts(api, ended.id, upload)

        busy = ran.post("sleep 1 meanwhile")
        run("backup", state, copy)
        assert ran.wait_statement(busy["id"])["output"]["status"] == "ok"
        # All of it is gone by the restore.
        assert api.delete(f"/uploads/{upload}").status_code == 200

    files = subprocess.run(
        ["tar", "-tf", copy / "files.tar"], capture_output=True, text=True, timeout=60, check=True
    ).stdout.splitlines()
    assert "./link.key" in files
    assert [name for name in files if re.match(r"\./(firesteel\.db|agent|link/|lock|run/.*/own)", name)] == []
    assert all(path.stat().st_mode & 0o077 == 0 for path in (copy, *copy.iterdir()))

    state.rename(tmp_path / "lost")
    run("restore", state, copy)
    assert state.stat().st_mode & 0o077 == 0
    with serving(settings, state_dir=state) as server:
        api = server.user("alice", PASSWORD)
        assert facts(api, ended.id, upload) == before
        assert server.bearer(token).get("/sessions").status_code == 200
        shown = api.get(f"/history/{ran.id}").json()
        assert shown["state"] == "dead"
        assert shown["diagnosis"]
        first = api.get(f"/history/{ran.id}/statements/0").json()
        assert first["output"]["data"] == {"text/plain": "first"}
        again = api.get("/sessions/waits").json()
        assert again["id"] == waits.id
        wait_until("it starts", lambda: api.get("/sessions/waits/state").json()["state"] == "idle", 30)
