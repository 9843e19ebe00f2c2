"""What the server tells the agent: `agent.json` and the link's secret. Reads files, calls nobody."""

import json
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional


class Config(NamedTuple):
    """The fields of `agent.json` (docs/link.md), the secret and where the outbox is."""

    driver: str
    secret: bytes
    python: str
    kind: str
    output_max_bytes: int
    sql_max_rows: int
    interrupt_again_ms: int
    cancel_grace_ms: int
    max_frame: int
    orphan_grace_ms: int
    outbox: str
    socket: str = ""
    """The Unix socket of a server on this host."""

    tls: Optional[Dict[str, Any]] = None
    """Where a driver in a cluster calls: `addresses`, tried in turn, and the `certificate` to trust."""

    keep_bytes: int = 32 << 20
    outbox_bytes: int = 1 << 30
    rich: bool = True
    live_interval_ms: int = 0
    run_dir: str = ""
    result_kept: int = 20
    result_max_rows: int = 0
    result_max_bytes: int = 0
    warm: Optional[Dict[str, Any]] = None
    """What a driver does that waits for its session: `imports`, `first_job`."""

    warm_up: bool = False


def load(run_dir: str) -> Config:
    """Read the run directory's `agent.json`, then read the secret and unlink its file."""
    given = json.loads(Path(run_dir, "agent.json").read_text(encoding="utf-8"))
    secret_file = Path(run_dir, given.pop("secret_file"))
    secret = secret_file.read_text(encoding="ascii").strip().encode("ascii")
    secret_file.unlink()
    given.update(secret=secret, outbox=str(Path(run_dir, "outbox")), run_dir=run_dir)
    return Config(**{name: given[name] for name in Config._fields if name in given})
