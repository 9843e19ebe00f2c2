"""A server that is killed and started again, its fake drivers, its clients, and what they have told."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator

from faults.chaos import oracle
from faults.chaos.client import Client, NoAnswer, NotSent
from faults.chaos.history import ACCEPTED, REFUSED, UNKNOWN, Asked, History, Posted
from faults.chaos.plan import IS_MEASURED, percentile
from faults.chaos.traffic import Actor, send_cancel, send_delete, send_session, send_statement
from harness import processes
from harness.chance import SEED
from harness.fake import Fake
from harness.server import Server, free_port

SETTINGS = {
    "shutdown.sessions": "keep",
    "statement.answer_within": "20ms",
    "statement.cancel_grace": "100ms",
    # All of them are compared, to the last.
    "statement.kept": 1_000_000,
    "session.watch_interval": "100ms",
    "driver.stop_grace": "300ms",
    "driver.kill_grace": "300ms",
    "limits.sessions": 300,
}
SETTLE_LIMIT = 60.0
"""How long statements may take that were accepted: a guard, not a measure."""
PAGE = 1000

HEALTHY_LIMIT = 1.0
USABLE_LIMIT = 2.0
"""Seconds from a start, where times are asserted."""


class Gate:
    """Lets clients work while there is a server, and tells when all of them stand still."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_open = False
        self._has_ended = False
        self._generation = 0
        self._inside: set[int] = set()
        self._failed: dict[int, int] = {}
        self.shut = threading.Event()
        self.shut.set()

    def enter(self) -> bool:
        """Wait until there is a server; false when there will be none."""
        me = threading.get_ident()
        with self._changed:
            self._inside.discard(me)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._has_ended or self._may_enter(me))
            if self._has_ended:
                return False
            self._inside.add(me)
            return True

    def _may_enter(self, me: int) -> bool:
        return self._is_open and self._failed.get(me) != self._generation

    def leave(self) -> None:
        """The server did not answer this client: it waits for the next one."""
        with self._changed:
            self._failed[threading.get_ident()] = self._generation
            self._inside.discard(threading.get_ident())
            self._changed.notify_all()

    def open(self) -> None:
        """There is a server."""
        with self._changed:
            self._generation += 1
            self._is_open = True
            self.shut.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Wait until every client stands still."""
        with self._changed:
            self._is_open = False
            self.shut.set()
            assert self._changed.wait_for(lambda: not self._inside, SETTLE_LIMIT), (
                "clients do not stand still"
            )

    def end(self) -> None:
        """Clients end."""
        with self._changed:
            self._has_ended = True
            self.shut.set()
            self._changed.notify_all()


class World:
    """All of it. `start`, `recover` and kills are for one thread; clients are threads of their own."""

    def __init__(
        self,
        name: str,
        program: Path,
        settings: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
    ):
        self.name = name
        self.home = Path(tempfile.mkdtemp(prefix="firesteel-chaos-"))
        self.fake = Fake(self.home / "fake")
        self.port = free_port()
        self.history = History(f"{name}.")
        self.ledger = oracle.Ledger()
        self.gate = Gate()
        self.actors: list[Actor] = []
        self.complaints: list[str] = []
        self.healthy: list[float] = []
        """Seconds from each start until the server was ready."""
        self.usable: list[float] = []
        """Seconds from each start until every session had run a statement."""
        self.stable: list[Asked] = []
        """Sessions that live as long as the world."""
        self._pids: dict[str, tuple[int, int]] = {}
        self._log_read = 0
        self._begun = time.monotonic()
        self.client = Client(self.port)
        self.server = Server(
            {**SETTINGS, **self.fake.settings, **(settings or {})}, program=program, port=self.port, env=env
        )

    # Traffic

    def session(self, **conf: str) -> Asked:
        """A session that lives as long as the world."""
        session = self.history.session(conf)
        assert send_session(self.client, session).status == 201
        processes.wait_until(
            f"{session.token} is idle",
            lambda: self.client.get(f"{session.path}/state").body["state"] == "idle",
            pause=0.01,
        )
        self.stable.append(session)
        return session

    def act(self, *actors: Actor) -> None:
        """Let clients begin; they stand still until `gate.open`."""
        for actor in actors:
            self.actors.append(actor)
            actor.start()

    def dismiss(self) -> None:
        """The clients end."""
        self.gate.end()
        for actor in self.actors:
            actor.join(SETTLE_LIMIT)
            assert not actor.is_alive(), f"{actor.name} does not end"
        self._hear_actors()
        self.actors = []
        self.gate = Gate()

    def pause(self, seconds: float) -> None:
        """For a client between two looks; ends with the server."""
        if self.gate.shut.wait(seconds):
            raise NotSent("the server is away")

    # Kills

    def start(self, **env: str) -> bool:
        """Start the server. False where it died before it listened, by its own SIGKILL."""
        self.client.close()
        self._begun = time.monotonic()
        self.server.spawn(**env)
        if not self.server.comes_up():
            self._died()
            return False
        try:
            while self.client.get("/readiness").status != 200:
                time.sleep(0.005)
        except (NoAnswer, NotSent):
            self._died()
            return False
        self.healthy.append(time.monotonic() - self._begun)
        return True

    def await_death(self, what: str, limit: float = 30.0) -> None:
        """The server kills itself at the point that it was started with; else the run is void."""
        try:
            self.server.process.wait(limit)
        except Exception:
            self.kill()
            self._hear_actors()
            self.complaints.append(f"{what} was not reached within {limit:.0f} s: the run is void")
            self.assert_well()
        self._died()
        self.gate.close()

    def work(self, seconds: float) -> None:
        """Let clients go on for a while."""
        self.gate.open()
        time.sleep(seconds)

    def kill(self) -> None:
        """`kill -9`, now; nothing where it has died already."""
        self.server.kill9()
        self.gate.close()

    def revive(self) -> None:
        """A server that nothing is to kill."""
        self.kill()
        assert self.start(), "the server died though nothing was to kill it"

    def _died(self) -> None:
        status = self.server.process.wait(SETTLE_LIMIT)
        assert status == -signal.SIGKILL, f"the server ended with {status}:\n{self.server.log()[-4000:]}"

    # Checks

    def recover(self) -> bool:
        """What must hold after a start: sessions are usable, and what was accepted ends as it should.

        Complaints are kept. False where the server died meanwhile: the rest is checked after the next start.
        """
        try:
            self._cancel_left()
            self._use_sessions()
            self._resolve_sessions()
            self._resolve_statements()
            self._check()
        except (NoAnswer, NotSent):
            self._died()
            return False
        return True

    def _live(self) -> Iterator[Asked]:
        """Sessions that are there and that nobody has asked to end."""
        for session in self.history.sessions:
            if session.outcome == ACCEPTED and not session.delete_asked:
                yield session

    def count_live(self) -> int:
        """How many sessions there are, or may be."""
        return sum(one.outcome != REFUSED and not one.delete_asked for one in self.history.sessions)

    def _cancel_left(self) -> None:
        """What was to be cancelled when the server died stands in the way of everything else."""
        for session in self.stable:
            if session.settles:
                for statement in self._page(session, session.checked):
                    if statement["state"] not in oracle.DONE:
                        self._cancel(session, statement)

    def _page(self, session: Asked, start: int) -> list[dict]:
        answer = self.client.get(f"{session.path}/statements?from={start}&size={PAGE}")
        return answer.body["statements"] if answer.status == 200 else []

    def _use_sessions(self) -> None:
        probes = []
        for session in self.stable:
            if session.settles:
                probe = self.history.statement(session, "ledger")
                answer = send_statement(self.client, session, probe)
                if answer.status != 201:
                    self.complaints.append(
                        f"{session.token} takes no statement: {answer.status} {answer.body}"
                    )
                    session.settles = False
                    continue
                probes.append((session, probe))
        for session, probe in probes:
            self._until_done(session, probe)
        if probes:
            self.usable.append(time.monotonic() - self._begun)

    def _until_done(self, session: Asked, posted: Posted) -> None:
        deadline = time.monotonic() + SETTLE_LIMIT
        while True:
            answer = self.client.get(f"{session.path}/statements/{posted.number}")
            if answer.status != 200 or answer.body["state"] in oracle.DONE:
                return  # What it is then is for the oracle.
            if time.monotonic() > deadline:
                self.complaints.append(
                    f"{session.token} {posted.number} does not end: {answer.body['state']}"
                )
                return
            time.sleep(0.005)

    def _resolve_sessions(self) -> None:
        """Whether a session that was not answered is there: the same key asks again, else the list tells."""
        unknown = [session for session in self.history.sessions if session.outcome == UNKNOWN]
        for session in unknown:
            if session.key is not None:
                answer = send_session(self.client, session)
                if answer.status != 201:
                    self.complaints.append(f"{session.token} again: {answer.status} {answer.body}")
        if any(session.key is None for session in unknown):
            shown = {one["name"]: one["id"] for one in self._list()}
            for session in unknown:
                if session.key is None:
                    session.number = shown.get(session.token)
                    session.outcome = REFUSED if session.number is None else ACCEPTED

    def _resolve_statements(self) -> None:
        """The same for statements with a key; those without are looked for among what is shown."""
        for session in self._live():
            for posted in session.posted:
                if posted.outcome == UNKNOWN and posted.key is not None:
                    answer = send_statement(self.client, session, posted)
                    if answer.status != 201:
                        self.complaints.append(f"{posted.code!r} again: {answer.status} {answer.body}")

    def _list(self) -> list[dict]:
        answer = self.client.get("/sessions?size=10000")
        assert answer.status == 200, answer
        return answer.body["sessions"]

    def _check(self) -> None:
        listed = {one["id"]: one for one in self._list()}
        known = {session.number for session in self.history.sessions if session.number is not None}
        self.complaints += [
            f"nobody asked for session {one}" for one in listed.values() if one["id"] not in known
        ]
        for session in self.history.sessions:
            if session.number is not None:
                one = listed.get(session.number)
                status = 200 if one else 404
                self.complaints += oracle.of_session(session, status, one["state"] if one else None)
        shown = {session.token: self._settled(session) for session in self._live() if session.settles}
        # The ledger is read after the API: what is shown to have run has been written.
        self.complaints += self.ledger.take(self.fake.new_lines(), self.history.by_nonce)
        for session in self._live():
            if session.settles:
                self._check_statements(session, shown[session.token])
        self._check_drivers()
        self._hear_actors()
        self._read_log()

    def _settled(self, session: Asked) -> dict[int, dict]:
        """The statements that have not been checked yet, once none of them runs or waits any more."""
        deadline = time.monotonic() + SETTLE_LIMIT
        while True:
            shown: dict[int, dict] = {}
            while page := self._page(session, session.checked + len(shown)):
                shown.update({statement["id"]: statement for statement in page})
                if len(page) < PAGE:
                    break
            open_ones = [one for one in shown.values() if one["state"] not in oracle.DONE]
            if not open_ones or time.monotonic() > deadline:
                return shown
            for statement in open_ones:
                self._cancel(session, statement)
            time.sleep(0.01)

    def _cancel(self, session: Asked, statement: dict) -> None:
        """Ask for the end of one that was to be cancelled, unless that was answered before."""
        posted = self.history.by_nonce.get(statement["code"].rsplit(" ", 1)[-1])
        if posted is not None and posted.is_endless and not posted.cancel_answered:
            posted.number = statement["id"]
            if send_cancel(self.client, session, posted) != 200:
                self.complaints.append(f"{session.token} {posted.number} can't be cancelled")

    def _check_statements(self, session: Asked, shown: dict[int, dict]) -> None:
        numbers = oracle.numbers_of(shown)
        self.complaints += oracle.of_listing(session, shown)
        for posted in session.posted:
            if posted.number is None or posted.number >= session.checked:
                ran = self.ledger.ran.get(posted.nonce, [])
                interrupted = posted.nonce in self.ledger.interrupted
                self.complaints += oracle.of_statement(session, posted, shown, numbers, ran, interrupted)
                if posted.outcome == UNKNOWN:
                    found = numbers.get(posted.code)
                    # What the dead server did not store nobody will.
                    posted.outcome = ACCEPTED if found else REFUSED
                    posted.number = found[0] if found else None
        session.checked = max(shown, default=session.checked - 1) + 1

    def _check_drivers(self) -> None:
        """Each session has the driver that it had."""
        found = {}
        for process in processes.processes():
            if process.environ.get("FAKE_LEDGER") == str(self.fake.ledger):
                found[process.environ["FIRESTEEL_DRIVER_ID"]] = process.pid
        for session in self._live():
            drivers = self.ledger.drivers.get(session.token, [])
            if not (session.lives and session.settles and drivers):
                continue
            pid = found.get(drivers[-1])
            if pid is None and drivers[-1] in self.ledger.claimed:
                continue  # The server was killed before it knew whose that one was: another is on its way.
            start = processes.start_time(pid) if pid else None
            if pid is None or start is None:
                self.complaints.append(f"{session.token}'s driver {drivers[-1]} is gone")
                session.lives = False
            elif self._pids.setdefault(session.token, (pid, start)) != (pid, start):
                self.complaints.append(
                    f"{session.token}'s driver is another process: {self._pids[session.token]}, {pid}"
                )

    def _hear_actors(self) -> None:
        for actor in self.actors:
            if actor.failure:
                self.complaints.append(f"{actor.name}: {actor.failure}")
                actor.failure = ""

    def _read_log(self) -> None:
        text = self.server.log()
        new, self._log_read = text[self._log_read :], len(text)
        self.complaints += [line for line in new.splitlines() if "panicked at" in line]

    def assert_well(self) -> None:
        """Fail with the complaints so far, once."""
        complaints, self.complaints = self.complaints, []
        told = "\n".join(complaints[:20])
        assert not complaints, f"seed {SEED}: {len(complaints)} complaints\n{told}"

    def times(self) -> str:
        """The figures of the starts so far, in words; and forget them."""
        if IS_MEASURED:
            assert max(self.healthy, default=0.0) <= HEALTHY_LIMIT, self.healthy
            assert max(self.usable, default=0.0) <= USABLE_LIMIT, self.usable
        parts = []
        for what, values in (("healthy", self.healthy), ("usable", self.usable)):
            median, worst = percentile(values, 0.5), max(values, default=0.0)
            parts.append(
                f"{what} after {median:.2f} s (median), {worst:.2f} s (worst) of {len(values)} starts"
            )
        self.healthy, self.usable = [], []
        return "; ".join(parts)

    # The end

    def finish(self) -> None:
        """Delete every session and see that nothing is left; clients have been dismissed."""
        try:
            for session in self.history.sessions:
                if session.number is not None:
                    assert send_delete(self.client, session) in (200, 404)
            self._wait_for_none("processes", self.server.driver_processes)
            self._wait_for_none("files", self._files_left)
            self.complaints += self.ledger.take(self.fake.new_lines(), self.history.by_nonce)
            self.assert_well()
        finally:
            self.close()

    def _files_left(self) -> list[Path]:
        """Files of drivers, but for logs of sessions that ended by themselves: retention sees to those."""
        ended = [one.token for one in self.history.sessions if one.delete_asked and not one.lives]
        logs = {driver for token in ended for driver in self.ledger.drivers.get(token, [])}
        found = self.server.run_files()
        names = ("stdout.", "stderr.", "notes", "exit.json", *logs)
        return [path for path in found if not (logs & set(path.parts) and path.name.startswith(names))]

    def _wait_for_none(self, what: str, look: Callable[[], list]) -> None:
        deadline = time.monotonic() + 20
        while left := look():
            if time.monotonic() > deadline:
                self.complaints.append(f"{what} are left: " + "; ".join(map(str, left[:5])))
                return
            time.sleep(0.05)

    def close(self) -> None:
        """End the server and remove what the world has on disk."""
        try:
            self.server.stop()
        finally:
            if not os.environ.get("FIRESTEEL_TEST_KEEP"):
                shutil.rmtree(self.home, ignore_errors=True)
