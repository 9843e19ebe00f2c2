"""GPUs that are leased (docs/gpus.md), with declared devices and a driver without Spark that locks them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest
from faults.chaos.plan import rounds
from harness.api import Session
from harness.chance import seeded
from harness.fake import Fake
from harness.processes import wait_until
from harness.server import Server, command, free_port

DEVICES = [
    "GPU-1 80GiB NVIDIA H100",
    "GPU-2 80GiB NVIDIA H100",
    "GPU-3 16GiB Tesla T4",
    "MIG-4 40GiB NVIDIA H100 MIG 3g.40gb",
]
GPUS = "firesteel.gpus"
MEMORY = "firesteel.gpu.memory"
TYPE = "firesteel.gpu.type"
SPARK = "spark.driver.resource.gpu.amount"

SEQUENCES = rounds(200, 60)


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """A driver without Spark."""
    return Fake(tmp_path / "fake")


@pytest.fixture
def start(serve: Callable[..., Server], fake: Fake) -> Callable[..., Server]:
    """A server with it."""
    own = {**fake.settings, "gpu.devices": DEVICES}
    return lambda **settings: serve({**own, **settings}, port=free_port())


def held(session: Session) -> str | None:
    """What the server says that the session holds."""
    return session.get()["appInfo"].get("gpus")


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({GPUS: "-1"}, [GPUS, "from 0 to 1000"]),
        ({GPUS: "0.7"}, [GPUS, "gpu.sharing"]),
        ({GPUS: "99"}, [GPUS, "2 NVIDIA H100 (80.0 GiB)", "1 Tesla T4 (16.0 GiB)"]),
        ({GPUS: "all"}, [GPUS, "a number"]),
        ({TYPE: "B200"}, [TYPE, "B200", "1 Tesla T4"]),
        ({MEMORY: "141g"}, [MEMORY, "2 NVIDIA H100 (80.0 GiB)"]),
        ({GPUS: "1", SPARK: "2"}, [GPUS, SPARK]),
        ({SPARK: "0.5"}, [SPARK, "whole"]),
        ({"firesteel.profile": "huge"}, ["firesteel.profile", "huge", "there are team"]),
    ],
)
def test_bad_asks(start: Callable[..., Server], conf: dict[str, str], words: list[str]) -> None:
    """400 that names the key and what there is; nothing is left of the session."""
    server = start(**{"profile.team.about": "for a test"})
    for path, body in (("/sessions", {}), ("/batches", {"file": "local:/x.py"})):
        refused = server.api.post(path, json={**body, "conf": conf})
        assert refused.status_code == 400, refused.text
        assert all(word in refused.text for word in words), refused.text
    assert server.api.get("/sessions").json()["total"] == 0


def test_one_after_another(start: Callable[..., Server], fake: Fake) -> None:
    """One that waits is told its place and who holds, and starts when a holder has ended; kill -9 of the
    server changes nothing."""
    server = start(**{"session.watch_interval": "200ms"})
    conf = {GPUS: "1", TYPE: "T4"}
    first = server.api.create(conf=conf)
    first.wait("idle")
    assert held(first) == "GPU-3 (Tesla T4, 16.0 GiB)"
    assert any("GPUs: GPU-3" in line for line in first.log())
    second, third = (server.api.create(conf=conf) for _ in range(2))
    unrelated = server.api.create()
    unrelated.wait("idle")
    for session, ahead in ((second, 0), (third, 1)):
        assert session.get()["state"] == "starting"
        told = f"Waiting for GPUs: {ahead} wait before this one; held are GPU-3 by session {first.id}."
        assert told in session.log()
    server.kill9()
    server.start()
    first, second, third = (Session(server.api, session.created) for session in (first, second, third))
    first.wait("idle")
    assert held(first) == "GPU-3 (Tesla T4, 16.0 GiB)" and held(second) is held(third) is None
    first.delete()
    second.wait("idle")
    assert held(second) and third.get()["state"] == "starting"
    moved = f"Waiting for GPUs: 0 wait before this one; held are GPU-3 by session {second.id}."
    wait_until("its log says that the line has moved", lambda: moved in third.log())
    second.delete()
    third.wait("idle")
    assert held(third) == "GPU-3 (Tesla T4, 16.0 GiB)"
    assert not fake.has("conflict")


def test_the_wait_is_bounded(start: Callable[..., Server]) -> None:
    """One that waits too long ends, and says why."""
    server = start(**{"gpu.wait": "1s"})
    first = server.api.create(conf={GPUS: "2", TYPE: "H100"})
    first.wait("idle")
    late = server.api.create(conf={GPUS: "1", TYPE: "H100", MEMORY: "80g"})
    late.wait("dead")
    assert any("within 1s (gpu.wait)" in line for line in late.log())


def test_idle_gpus_end_a_session(start: Callable[..., Server]) -> None:
    """A session whose GPUs do nothing is warned in its log, then ended; one without GPUs is left alone, and
    so is one that works."""
    times = {"gpu.idle_timeout": "2s", "gpu.idle_warning": "1s", "session.watch_interval": "100ms"}
    server = start(**times)
    idle, busy, without = (server.api.create(conf=conf) for conf in ({GPUS: "1"}, {GPUS: "1"}, {}))
    for session in (idle, busy, without):
        session.wait("idle")
    busy.post("sleep 5 works")
    idle.wait("dead")
    log = idle.log()
    assert any("Its GPUs do nothing: the session ends in" in line for line in log)
    assert any("did nothing for 2s (gpu.idle_timeout)" in line for line in log)
    assert busy.get()["state"] == "busy" and without.get()["state"] == "idle"
    shown = {gpu["uuid"]: [held["by"] for held in gpu["held"]] for gpu in gpus(server)["gpus"]}
    assert [f"session {busy.id}"] in shown.values() and [f"session {idle.id}"] not in shown.values()
    told = busy.get()["appInfo"]
    assert int(told["gpuSeconds"]) >= 2 and told["gpuBusySeconds"] == "0" and "gpuUtilization" not in told


def test_quotas(start: Callable[..., Server]) -> None:
    """More than the quota in all is refused at once; what is over it now waits."""
    server = start(**{"gpu.limit": 1})
    refused = server.api.post("/sessions", json={"conf": {GPUS: "2"}})
    assert refused.status_code == 400 and "gpu.limit" in refused.text
    first, second = (server.api.create(conf={GPUS: "1"}) for _ in range(2))
    first.wait("idle")
    assert second.get()["state"] == "starting"
    first.delete()
    second.wait("idle")


def test_random_sequences(start: Callable[..., Server], fake: Fake) -> None:
    """Sessions come and go, drivers die, the server is killed, GPUs are lost: no GPU has two drivers, all
    that wait get theirs, and nothing is held in the end."""
    chance = seeded()
    server = start(**{"gpu.sharing": True, "limits.sessions": 1000})
    for _ in range(SEQUENCES):
        live: dict[int, Session] = {}
        lost = False
        for step in chance.choices(["ask", "delete", "die", "restart", "lose"], [60, 27, 10, 2, 1], k=6):
            if step == "ask":
                answer = server.api.post("/sessions", {"kind": "pyspark", "conf": ask(chance)})
                # What can't be met by those that are left is refused.
                assert answer.status_code == 201 or (lost and answer.status_code == 400), answer.text
                if answer.status_code == 201:
                    session = Session(server.api, answer.json())
                    live[session.id] = session
            elif step == "delete" and live:
                live.pop(chance.choice(list(live))).delete()
            elif step == "die":
                idle = [session for session in live.values() if session.get()["state"] == "idle"]
                if idle:
                    session = chance.choice(idle)
                    session.post("die")
                    session.wait("dead")
                    live.pop(session.id).delete()
            elif step in ("restart", "lose"):
                lost |= step == "lose"
                devices = chance.sample(DEVICES, 2) if step == "lose" else DEVICES
                live = again(server, live, devices)
            check(server)
        if lost:
            live = again(server, live, DEVICES)
        # The oldest end one after another: each that waits has its turn.
        while live:
            session = live.pop(min(live))
            session.wait("idle")
            session.delete()
            check(server)
        wait_until("nothing is held", lambda: not any(gpu["held"] for gpu in gpus(server)["gpus"]))
        assert gpus(server)["waiting"] == 0
    assert not fake.has("conflict")
    assert sum(line.what == "gpus" for line in fake.lines()) > SEQUENCES


def again(server: Server, live: dict[int, Session], devices: list[str]) -> dict[int, Session]:
    """Kill the server and start it with these devices; the sessions as its clients see them."""
    server.kill9()
    server.start(FIRESTEEL_GPU__DEVICES=",".join(devices))
    return {number: Session(server.api, session.created) for number, session in live.items()}


def gpus(server: Server) -> dict[str, Any]:
    """What the server tells of its GPUs."""
    return server.api.get("/gpus").json()


def ask(chance: Any) -> dict[str, str]:
    """What a session asks for."""
    return chance.choice(
        [
            {GPUS: "1"},
            {GPUS: "2"},
            {GPUS: "0.5", TYPE: "H100"},
            {MEMORY: "8g"},
            {SPARK: "1"},
            {GPUS: "1", TYPE: "T4"},
            {GPUS: "1", TYPE: "mig"},
            {},
        ]
    )


def check(server: Server) -> None:
    """What the server says that sessions hold is never too much."""
    shares: dict[str, float] = {}
    for session in server.api.get("/sessions", params={"size": 1000}).json()["sessions"]:
        told = session["appInfo"].get("gpus")
        if told is None or session["state"] in ("dead", "shutting_down"):
            continue
        for part in told.split("), "):
            uuid, _, rest = part.partition(" ")
            amount = rest.rpartition(", ")[2].rstrip(")")
            some, _, whole = amount.partition(" of ")
            size = float(some.split(" ")[0]) / float((whole or some).split(" ")[0])
            shares[uuid] = shares.get(uuid, 0) + size
    assert all(share <= 1.001 for share in shares.values()), shares


def test_without_gpus(serve: Callable[..., Server], fake: Fake) -> None:
    """A host without NVIDIA's software: a line in the log, and an ask is refused."""
    server = serve(fake.settings, port=free_port())
    refused = server.api.post("/sessions", json={"conf": {GPUS: "1"}})
    assert refused.status_code == 400 and "this server has no GPU" in refused.text
    wait_until("the line is there", lambda: "no GPUs: " in server.log())


def test_names_of_others(start: Callable[..., Server], tmp_path: Path) -> None:
    """Who waits learns what is held, but not by which session of another user's."""
    users = tmp_path / "users"
    for name in ("ada", "bob"):
        assert command("passwd", str(users), name, stdin="secret\n").returncode == 0
    server = start(**{"access.mode": "basic", "access.basic_file": users, "gpu.owner_limit": 2})
    ada, bob = (server.user(name, "secret") for name in ("ada", "bob"))
    held = ada.create(conf={GPUS: "1", TYPE: "T4"})
    held.wait("idle")
    waits = bob.create(conf={GPUS: "1", TYPE: "T4"})
    assert any("held are GPU-3 by another user." in line for line in waits.log())
    for api, told in ((ada, f"session {held.id}"), (bob, "another user")):
        shown = api.get("/gpus").json()
        one = next(gpu for gpu in shown["gpus"] if gpu["uuid"] == "GPU-3")
        assert one["held"] == [{"by": told, "memory": 16 << 30, "shared": False}] and shown["waiting"] == 1
    refused = ada.post("/sessions", {"conf": {GPUS: "3"}})
    assert refused.status_code == 400 and "gpu.owner_limit" in refused.text
    held.delete()
    waits.wait("idle")
    waits.delete()


def test_check(tmp_path: Path, fake: Fake) -> None:
    """`firesteel check` shows the GPUs, or what is wrong with their configuration."""
    sets = [f"server.state_dir={tmp_path}", f"spark.home={fake.home}"]
    for setting, told in (
        ("gpu.devices=GPU-1 80GiB NVIDIA H100", "ok    gpus: GPU-1 (NVIDIA H100, 80.0 GiB)"),
        ("gpu.devices=GPU-1 80GiB", "WRONG gpus: gpu.devices: "),
        ("gpu.rapids=/nowhere/rapids.jar", "WRONG gpus: gpu.rapids: there is no file"),
        ("gpu.rapids=rapids.jar", "gpu.rapids: is neither the absolute path"),
    ):
        said = command("check", *(word for one in (*sets, setting) for word in ("--set", one)))
        assert told in said.stdout, said.stdout + said.stderr
