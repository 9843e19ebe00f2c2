"""Batches of a server that is killed and started again: a stub that leaves a line for each run, clients, and
what must hold afterwards."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from random import Random

from faults.chaos.client import Client, NoAnswer, NotSent
from faults.chaos.history import ACCEPTED, REFUSED, UNKNOWN
from faults.chaos.plan import SEEDS, rng
from faults.chaos.points import Point
from harness.chance import SEED
from harness.processes import wait_until
from harness.server import Server, failpoints_binary, free_port
from harness.stub import Stub

CLIENTS = 3
SETTLE_SECONDS = 60
KEPT = 10
"""Batches that have ended and stay for the next round's kill."""
# Arguments: conf and file, then the batch's word, its exit code, how long it takes.
SCRIPT = """
while [ $# -gt 3 ]; do shift; done
echo "$1" >> LEDGER
sleep "$3"
exit "$2"
"""


@dataclass
class Batch:
    """One that was asked for."""

    word: str
    code: int
    seconds: float
    key: str | None
    outcome: str = UNKNOWN
    number: int | None = None
    delete_asked: bool = False
    deleted: bool = False
    """Whether a client was told so."""

    @property
    def path(self) -> str:
        """Its path."""
        return f"/batches/{self.number}"


def has_ended(batch: dict) -> bool:
    """What the API says of it."""
    return batch["state"] not in ("starting", "running")


class Batches:
    """The server, its state directory and its clients' memory, for all points."""

    def __init__(self, home: Path):
        self.stub = Stub(home / "spark", SCRIPT.replace("LEDGER", str(home / "ledger")))
        self.ledger = home / "ledger"
        self.ledger.touch()
        self.file = home / "job.py"
        self.file.touch()
        self.batches: list[Batch] = []
        self.lock = threading.Lock()
        settings = {
            **self.stub.settings,
            "files.allow": [str(home)],
            "limits.batches": 3,
            "batch.ended_kept": 100_000,
            "shutdown.sessions": "keep",
        }
        port = free_port()
        self.client = Client(port)
        self.server = Server(settings, program=failpoints_binary(), port=port, start=False)
        self.port = port

    # Clients

    def ask(self, random: Random) -> Batch:
        """A batch that is about to be asked for."""
        with self.lock:
            word = f"w{len(self.batches)}"
            key = f"key-{word}" if random.random() < 0.5 else None
            batch = Batch(word, random.randrange(3), random.choice((0, 0, 0.05, 0.2)), key)
            self.batches.append(batch)
        return batch

    def post(self, client: Client, batch: Batch) -> None:
        """Ask for it, and remember what was said."""
        args = [batch.word, str(batch.code), str(batch.seconds)]
        body = {"file": str(self.file), "name": batch.word, "args": args}
        answer = client.post("/batches", body, batch.key)
        assert answer.status == 201, f"{batch}: {answer}"
        batch.outcome, batch.number = ACCEPTED, answer.body["id"]

    def delete(self, client: Client, batch: Batch) -> None:
        """Delete it, and remember that it is gone."""
        batch.delete_asked = True
        assert client.delete(batch.path).status in (200, 404)
        batch.deleted = True

    def work(self, random: Random, failures: list[Exception]) -> None:
        """One client, until there is no server: makes batches, waits for some, deletes some in each state."""
        client = Client(self.port)
        try:
            while True:
                batch = self.ask(random)
                self.post(client, batch)
                end = random.choice(("delete", "wait", "wait and delete", "leave"))
                while "wait" in end and not has_ended(client.get(batch.path).body):
                    pass
                if "delete" in end:
                    self.delete(client, batch)
        except (NoAnswer, NotSent):
            pass
        except Exception as error:
            failures.append(error)
        finally:
            client.close()

    # A round

    def kill_at(self, point: Point) -> str:
        """`SEEDS` kills there, each followed by a start and the checks. The figures, in words."""
        random = rng("R1", point.name)
        before = len(self.batches)
        for _ in range(SEEDS):
            skip = random.randrange(point.most)
            self.server.spawn(FAILPOINTS=f"{point.name}={skip}*off->return")
            # What is taken back may pass the point before the server listens.
            if self.server.comes_up():
                self._traffic(random, point.name)
            self.client.close()
            self.server.start()
            self.settle()
            self.server.kill9()
        return f"R1 {point.name}: {SEEDS} kills (seed {SEED}), {len(self.batches) - before} batches"

    def _traffic(self, random: Random, point: str) -> None:
        failures: list[Exception] = []
        clients = [
            threading.Thread(target=self.work, args=(rng(point, random.random()), failures))
            for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join(SETTLE_SECONDS)
            assert not client.is_alive(), f"{point} was not reached: the run is void"
        assert not failures, failures
        self.server.process.wait(SETTLE_SECONDS)

    def settle(self) -> None:
        """Ask again what was not answered, wait for every end, compare; a few stay for the next round."""
        for batch in self.batches:
            if batch.outcome == UNKNOWN:
                self._resolve(batch)
            if batch.delete_asked and not batch.deleted and batch.outcome == ACCEPTED:
                self.delete(self.client, batch)
        wait_until("every batch ends", lambda: all(map(has_ended, self._list())), SETTLE_SECONDS, pause=0.01)
        self.check()
        for batch in self.batches[:-KEPT]:
            if batch.outcome == ACCEPTED and not batch.deleted:
                self.delete(self.client, batch)

    def _resolve(self, batch: Batch) -> None:
        """The same key asks again; one without is looked for by its name."""
        if batch.key is not None:
            self.post(self.client, batch)
            return
        answer = self.client.get(f"/batches/{batch.word}")
        batch.outcome = ACCEPTED if answer.status == 200 else REFUSED
        batch.number = answer.body["id"] if answer.status == 200 else None

    def _list(self) -> list[dict]:
        answer = self.client.get("/batches?size=100000")
        assert answer.status == 200, answer
        return answer.body["sessions"]

    def check(self) -> None:
        """Everything accepted is there, ran once and ended as it should; nothing else is there or ran."""
        ran = self.ledger.read_text().split()
        assert len(ran) == len(set(ran)), "a batch ran twice"
        shown = {one["id"]: one for one in self._list()}
        expected = {one.number for one in self.batches if one.outcome == ACCEPTED and not one.deleted}
        assert set(shown) == expected
        for batch in self.batches:
            if batch.outcome == REFUSED:
                assert batch.word not in ran, f"{batch} ran"
            elif not batch.deleted:
                one = shown[batch.number]
                assert batch.word in ran, f"{batch} never ran"
                assert one["name"] == batch.word
                assert one["state"] == ("success" if batch.code == 0 else "dead"), f"{batch}: {one}"
                assert one["appInfo"]["exitCode"] == str(batch.code), f"{batch}: {one}"

    def finish(self) -> None:
        """Delete everything and see that nothing is left."""
        try:
            self.server.start()
            self.client.close()
            for batch in self.batches:
                if batch.outcome == ACCEPTED and not batch.deleted:
                    self.delete(self.client, batch)
            wait_until("no process is left", lambda: not self.server.driver_processes(), 20)
            wait_until("no file is left", lambda: not self.server.run_files(), 20)
        finally:
            self.client.close()
            self.server.stop()
