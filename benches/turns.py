"""Peers take turns, so that whatever else the machine does meets all of them."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Callable, NamedTuple, Protocol, Sequence

from report import Aim, Report


class Peer(Protocol):
    """One call is one round trip."""

    name: str

    def __call__(self) -> None: ...

    def close(self) -> None: ...


class Turns(NamedTuple):
    """Milliseconds of each call, by peer and round."""

    loads: list[float]
    times: dict[str, list[list[float]]]

    def report(self, report: Report, name: str, aims: dict[str, Sequence[Aim]] | None = None) -> None:
        """A figure for each peer of the first; `aims` by the peer's name."""
        ours, *peers = self.times.items()
        for peer, times in peers:
            theirs = {"peer_name": peer, "peer": times, "loads": self.loads}
            report.rounds(name, "ms", ours[1], *(aims or {}).get(peer, ()), **theirs)
        if not peers:
            report.rounds(name, "ms", ours[1], *(aims or {}).get("", ()), loads=self.loads)


def timed(once: Callable[[], None], count: int) -> list[float]:
    """Milliseconds of each call."""
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        once()
        times.append((time.perf_counter() - begun) * 1000)
    return times


def take_turns(peers: Sequence[Peer], rounds: int, count: int, warm_up: int) -> Turns:
    """Time each of the peers in turn, for each round. Closes them."""
    with contextlib.ExitStack() as ending:
        for peer in peers:
            ending.callback(peer.close)
        for peer in peers:
            timed(peer, warm_up)
        turns = Turns([], {peer.name: [] for peer in peers})
        for _ in range(rounds):
            turns.loads.append(os.getloadavg()[0])
            for peer in peers:
                turns.times[peer.name].append(timed(peer, count))
        return turns
