"""Figures, each beside its peer of the same run, and the report that is made of them.

A script adds its figures to a `Report`, which prints each and, where it has a file, writes them all as a
JSON list whose entries have the fields of `Figure`. `run.py` merges the lists of all scripts into one
page.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable, NamedTuple, Optional, Sequence

QUIET = 1.0
"""The load average above which a round that begins is noisy."""


class Aim(NamedTuple):
    """What a figure should be: `of` is the field of `Figure` that is meant."""

    is_most: bool
    limit: float
    of: str

    def text(self, unit: str) -> str:
        """In words."""
        names = {"ours": "", "ours_max": "most"}
        tail = "" if self.of == "ratio" or not unit else f" {unit}"
        sign = "\N{LESS-THAN OR EQUAL TO}" if self.is_most else "\N{GREATER-THAN OR EQUAL TO}"
        return f"{names.get(self.of, self.of)} {sign} {self.limit:g}{tail}".strip()

    def missed_by(self, value: float) -> float:
        """The share by which a value misses it; 0 or less when it does not."""
        if not self.limit:
            return value if self.is_most else -value
        return value / self.limit - 1 if self.is_most else 1 - value / self.limit


def at_most(limit: float, of: str = "ours") -> Aim:
    """No more than this."""
    return Aim(True, limit, of)


def at_least(limit: float, of: str = "ours") -> Aim:
    """No less than this."""
    return Aim(False, limit, of)


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass
class Figure:
    """One row of the report. `ours` and `peer` are medians over the rounds, `ratio` the median of the rounds'
    ratios of ours to the peer's, p99 that of every single value."""

    section: str = ""
    name: str = ""
    unit: str = ""
    ours: Optional[float] = None
    ours_min: Optional[float] = None
    ours_max: Optional[float] = None
    p99: Optional[float] = None
    peer_name: str = ""
    peer: Optional[float] = None
    peer_min: Optional[float] = None
    peer_max: Optional[float] = None
    peer_p99: Optional[float] = None
    ratio: Optional[float] = None
    aim: str = ""
    met: Optional[bool] = None
    missed: str = ""
    rounds: int = 1
    loads: list[float] = field(default_factory=list)
    """The load average at each round's start."""

    note: str = ""

    @classmethod
    def read(cls, entry: dict[str, Any]) -> Figure:
        """An entry of a list that any script wrote; fields that are not known here are left out."""
        known = {one.name for one in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in entry.items() if key in known and value is not None})

    def judge(self, aims: Sequence[Aim]) -> None:
        """Say what the aims are and whether they are met."""
        self.aim = ", ".join(aim.text(self.unit) for aim in aims)
        pairs = [(aim, getattr(self, aim.of)) for aim in aims]
        misses = [(aim, aim.missed_by(value)) for aim, value in pairs if value is not None]
        self.met = all(miss <= 0 for _, miss in misses) if misses else None
        names = {"ours": "", "ours_max": "most "}
        self.missed = ", ".join(
            f"{names.get(aim.of, aim.of + ' ')}by {miss:.0%}" for aim, miss in misses if miss > 0
        )

    @property
    def noisy(self) -> int:
        """How many rounds began when the machine had other work."""
        return sum(load > QUIET for load in self.loads)

    @property
    def verdict(self) -> str:
        """Of its aims."""
        if self.met is None:
            return ""
        return "met" if self.met else f"missed: {self.missed}" if self.missed else "missed"

    def line(self) -> str:
        """In one line."""
        parts = [f"{self.name}: {spread(self, 'ours')} {self.unit}"]
        parts += [f"p99 {number(self.p99)}"] if self.p99 is not None else []
        parts += [f"{self.peer_name} {spread(self, 'peer')}"] if self.peer is not None else []
        parts += [f"ratio {number(self.ratio)}"] if self.ratio is not None else []
        parts += [f"aim {self.aim}: {self.verdict}"] if self.aim else []
        parts += [self.note] if self.note else []
        return "; ".join(parts)


def number(value: Optional[float]) -> str:
    """Three digits that count, and all of a large number's."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(figure: Figure, whose: str) -> str:
    """A median with the least and the most, where there are several rounds."""
    middle, low, high = (getattr(figure, whose + end) for end in ("", "_min", "_max"))
    if low is None or high is None or low == high:
        return number(middle)
    return f"{number(middle)} ({number(low)} to {number(high)})"


Rounds = Sequence[Sequence[float]]
"""The values of each round."""


class Report:
    """The figures of one script."""

    def __init__(self, section: str, path: Optional[Path]):
        self.section = section
        self.path = path
        self.figures: list[Figure] = []
        print(f"{section}, load {os.getloadavg()[0]:.2f}", flush=True)

    def add(self, figure: Figure, *aims: Aim) -> Figure:
        """One more, judged and printed."""
        figure.section = figure.section or self.section
        if aims:
            figure.judge(aims)
        self.figures.append(figure)
        print("  " + figure.line(), flush=True)
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            entries = [dataclasses.asdict(one) for one in self.figures]
            self.path.write_text(json.dumps(entries, indent=2) + "\n")
        return figure

    def value(self, name: str, unit: str, value: float, *aims: Aim, note: str = "") -> Figure:
        """A figure of one round, without a peer."""
        return self.rounds(name, unit, [[value]], *aims, loads=[os.getloadavg()[0]], note=note)

    def rounds(
        self,
        name: str,
        unit: str,
        ours: Rounds,
        *aims: Aim,
        peer_name: str = "",
        peer: Rounds = (),
        loads: Sequence[float] = (),
        note: str = "",
    ) -> Figure:
        """A figure of several rounds, beside a peer where there is one."""
        figure = Figure(name=name, unit=unit, rounds=len(ours), loads=list(loads), note=note)
        mine = measure(figure, "ours", "p99", ours)
        if peer:
            figure.peer_name = peer_name
            theirs = measure(figure, "peer", "peer_p99", peer)
            figure.ratio = statistics.median(one / other for one, other in zip(mine, theirs))
        return self.add(figure, *aims)


def measure(figure: Figure, whose: str, p99: str, rounds: Rounds) -> list[float]:
    """Fill in one side of a figure; the median of each round."""
    medians = [statistics.median(one) for one in rounds]
    setattr(figure, whose, statistics.median(medians))
    setattr(figure, f"{whose}_min", min(medians))
    setattr(figure, f"{whose}_max", max(medians))
    values = [value for one in rounds for value in one]
    # Of fewer, it would be the largest.
    if len(values) >= 100:
        setattr(figure, p99, quantile(values, 0.99))
    return medians


# ---- The page

HEAD = "| figure | ours | p99 | peer | the peer's | p99 | ours / peer | aim | | rounds | load |"


def row(figure: Figure, is_again: bool = False) -> str:
    """A figure's line of its section's table; `is_again` where the line above has it beside another peer."""
    rounds = str(figure.rounds) + (f", {figure.noisy} noisy" if figure.noisy else "")
    loads = f"{min(figure.loads):.1f} to {max(figure.loads):.1f}" if figure.loads else ""
    name = f"{figure.name}, {figure.unit}" if figure.unit else figure.name
    what = [name, spread(figure, "ours"), number(figure.p99)]
    cells = [
        *(["", "", ""] if is_again else what),
        figure.peer_name,
        spread(figure, "peer"),
        number(figure.peer_p99),
        number(figure.ratio),
        str(figure.aim),
        figure.verdict,
        rounds,
        loads,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page(figures: Sequence[Figure], machine: dict[str, Any], failed: Sequence[str]) -> str:
    """All of them as Markdown."""
    lines = ["# Figures", "", f"Made by `make bench` on {machine['time']}.", ""]
    lines += [f"* {name}: {value}" for name, value in machine.items() if name != "time"]
    lines += [
        "",
        "Each figure is beside its peer of the same run, which took turns with it. Shown are medians over",
        "the rounds, with the least and the most. `noisy` are rounds that began above a load average of",
        f"{QUIET:g}: only their ratios can be trusted.",
    ]
    judged = [figure for figure in figures if figure.met is not None]
    if judged:
        missed = [figure for figure in judged if not figure.met]
        lines += ["", f"Aims: {len(judged) - len(missed)} of {len(judged)} met."]
        lines += [f"* {figure.section}, {figure.name}: {figure.verdict} ({figure.aim})" for figure in missed]
    lines += [f"* {one}: failed, its figures are not all here" for one in failed]
    for section in dict.fromkeys(figure.section for figure in figures):
        mine = [figure for figure in figures if figure.section == section]
        again = [
            False,
            *(one.name == other.name and one.ours == other.ours for one, other in zip(mine, mine[1:])),
        ]
        lines += ["", f"## {section}", "", HEAD, "|" + "---|" * (HEAD.count("|") - 1), *map(row, mine, again)]
        notes = dict.fromkeys(f"{figure.name}: {figure.note}" for figure in mine if figure.note)
        lines += ["", *(f"* {note}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"
