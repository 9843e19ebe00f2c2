"""What every script here begins with: where the harness is, the options, the report."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

MASTER = "local[2]"


def parser(about: str | None, rounds: int | None = None) -> argparse.ArgumentParser:
    """The options that all have; `--rounds` where they are asked for."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--binary", type=Path, default=ROOT / "target/release/firesteel")
    made.add_argument("--json", type=Path, help="where the figures go, as `report.py` has them")
    if rounds is not None:
        made.add_argument("--rounds", type=int, default=rounds)
    return made


def options(made: argparse.ArgumentParser) -> argparse.Namespace:
    """What was given. The binary is what the harness's `Server` starts from here on."""
    given = made.parse_args()
    given.binary = given.binary.resolve()
    os.environ["FIRESTEEL_TEST_BIN"] = str(given.binary)
    return given
