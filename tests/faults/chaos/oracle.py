"""What must hold, whatever was killed when.

Pure functions over what clients know, the ledger and the API's answers: each gives its complaints as
sentences, none when all is well. `test_oracle.py` shows that each can complain.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Iterable, Mapping

from faults.chaos.history import ACCEPTED, REFUSED, Asked, Posted
from harness.fake import Line

DONE = ("available", "error", "cancelled")


def numbers_of(shown: Mapping[int, dict]) -> dict[str, list[int]]:
    """Where each code stands in what the API lists."""
    found: dict[str, list[int]] = defaultdict(list)
    for number, statement in shown.items():
        found[statement["code"]].append(number)
    return found


def of_statement(
    session: Asked,
    posted: Posted,
    shown: Mapping[int, dict],
    numbers: Mapping[str, list[int]],
    ran: list[Line],
    interrupted: bool = False,
) -> list[str]:
    """One statement that has been settled. `shown` has what the API lists of its session by number, `numbers`
    the same by code."""
    who = f"{session.token} {posted.number} {posted.code!r} ({posted.outcome})"
    complaints = [f"{who} ran {len(ran)} times: {ran}"] if len(ran) > 1 else []
    found = numbers.get(posted.code, [])
    if len(found) > 1:
        complaints.append(f"{who} is there {len(found)} times, as {found}")
    if posted.outcome == REFUSED:
        if ran or found:
            complaints.append(
                f"{who} was refused with {posted.status}, ran {len(ran)} times, shown as {found}"
            )
        return complaints
    number = posted.number if posted.outcome == ACCEPTED else next(iter(found), None)
    statement = shown.get(number) if number is not None else None
    if statement is None:
        if posted.outcome == ACCEPTED:
            complaints.append(f"{who} is lost")
        elif ran:
            complaints.append(f"{who} ran and is not shown: {ran}")
        return complaints
    if statement["code"] != posted.code:
        complaints.append(f"{who} is shown with another's code: {statement['code']!r}")
    complaints += [
        f"{who} ran as another: {line}"
        for line in ran
        if line.statement != number or line.token != session.token
    ]
    return complaints + _of_end(who, posted, statement, bool(ran), interrupted)


def _of_end(who: str, posted: Posted, statement: dict, ran: bool, interrupted: bool) -> list[str]:
    """How a statement that is stored has ended."""
    state, output = statement["state"], statement["output"]
    if state not in DONE:
        return [f"{who} has not ended: {state}"]
    complaints = []
    end = (state, repr(output))
    if posted.seen is not None and posted.seen != end:
        complaints.append(f"{who} changed after its end from {posted.seen} to {end}")
    posted.seen = end
    if state == "cancelled":
        if not posted.cancelled:
            complaints.append(f"{who} was cancelled by nobody")
        if ran and not interrupted:
            complaints.append(f"{who} ran to its end and is shown as cancelled")
    elif interrupted:
        complaints.append(f"{who} was interrupted and is shown as {state}")
    elif output is None or output["status"] != "ok":
        complaints.append(f"{who} ended in an error: {output}")
    elif output["data"].get("text/plain") != posted.nonce:
        complaints.append(f"{who} has another's output: {output['data']}")
    elif not ran:
        complaints.append(f"{who} has a result and did not run")
    return complaints


class Ledger:
    """What drivers did, line by line: everything was asked for, once, and no session had two drivers."""

    def __init__(self) -> None:
        self.ran: dict[str, list[Line]] = defaultdict(list)
        self.interrupted: set[str] = set()
        self.drivers: dict[str, list[str]] = defaultdict(list)
        self.claimed: set[str] = set()
        """Warm drivers that a session has put its hand on, and that have run nothing yet."""

    def take(self, lines: Iterable[Line], known: Mapping[str, Posted]) -> list[str]:
        """The complaints of new lines; `known` has every statement by its nonce."""
        complaints = []
        for line in lines:
            if line.what in ("up", "claimed"):
                drivers = self.drivers[line.token]
                if drivers and drivers[-1] in self.claimed:
                    # The server was killed before it knew whose that one was: the session gets another.
                    drivers.pop()
                drivers.append(line.driver)
                if line.what == "claimed":
                    self.claimed.add(line.driver)
                if len(drivers) > 1:
                    complaints.append(f"{line.token} had drivers {drivers}")
                continue
            self.claimed.discard(line.driver)
            if line.what in ("warm", "ready"):
                continue
            posted = known.get(line.nonce)
            if posted is None:
                complaints.append(f"nobody posted what {line.what}: {line}")
            elif line.what == "interrupted":
                self.interrupted.add(line.nonce)
                if not posted.cancelled:
                    complaints.append(f"interrupted though nobody cancelled it: {line}")
            elif line.what == "ran":
                self.ran[line.nonce].append(line)
                if len(self.ran[line.nonce]) > 1:
                    complaints.append(
                        f"{line.nonce} ran {len(self.ran[line.nonce])} times: {self.ran[line.nonce]}"
                    )
                if posted.outcome == REFUSED:
                    complaints.append(f"{line.nonce} was refused with {posted.status} and ran: {line}")
        return complaints


def of_listing(session: Asked, shown: Mapping[int, dict]) -> list[str]:
    """Every statement that the API lists was posted, and numbers were given once."""
    codes = {posted.code for posted in session.posted}
    complaints = [
        f"{session.token} has a statement that nobody posted: {statement}"
        for statement in shown.values()
        if statement["code"] not in codes
    ]
    numbers: dict[int, str] = {}
    for posted in session.posted:
        if posted.outcome == ACCEPTED and posted.number is not None:
            if posted.number in numbers:
                complaints.append(
                    f"{session.token}: number {posted.number} was given to {numbers[posted.number]!r} "
                    f"and {posted.code!r}"
                )
            numbers[posted.number] = posted.code
    return complaints


def of_session(session: Asked, status: int, state: str | None) -> list[str]:
    """What `GET` says of a session: its status and, with 200, its state."""
    who = f"{session.token} {session.number} ({session.outcome})"
    if session.outcome == REFUSED and status != 404:
        return [f"{who} was refused with {session.status} and is there, {state}"]
    if session.deleted:
        return [f"{who} was deleted and is back, {state}"] if status != 404 else []
    if session.delete_asked:
        return []
    if session.outcome == ACCEPTED and status != 200:
        return [f"{who} is lost: {status}"]
    if session.lives and status == 200 and state in ("dead", "error", "killed", "shutting_down"):
        return [f"{who} died: {state}"]
    return []
