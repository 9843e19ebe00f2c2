"""R3: kill -9 three times in a row while the server recovers, and while it migrates and forgets."""

from __future__ import annotations

from faults.chaos.older import make_older
from faults.chaos.plan import INSTANTS, rng
from faults.chaos.rounds import clients
from faults.chaos.traffic import send_session
from faults.chaos.world import World
from harness import processes
from harness.chance import SEED
from harness.server import failpoints_binary

# What has ended is forgotten at the next start.
AT_START = {"retention.sessions": 1, "retention.interval": "1h", "session.ended_shown": "50ms"}
DEEP = 3
SESSIONS = 4

# Points on the way back, and how many sessions may pass before the kill.
BACK = {
    "recovery.scanned": 1,
    "recovery.half": 1,
    "create.accepted": SESSIONS,
    "create.handshaken": SESSIONS,
}
MIGRATION = ("migration.begun", "migration.half", "migration.committed")
FORGETTING = ("retention.selected", "retention.deleted")


def kill_on_the_way(world: World, point: str, skip: int) -> None:
    """One start that ends at a point which it reaches without any client."""
    if world.start(FAILPOINTS=f"{point}={skip}*off->return"):
        world.await_death(point, 15)


def end_sessions(world: World, count: int) -> None:
    """Sessions that end by themselves and are no longer shown: there is something to be forgotten."""
    sessions = [world.history.session({"spark.fake.fail": "as it must"}) for _ in range(count)]
    for session in sessions:
        session.lives = session.settles = False
        session.delete_asked = True
        assert send_session(world.client, session).status == 201
    for session in sessions:
        processes.wait_until(
            "it is no longer shown", lambda at=session: world.client.get(at.path).status == 404, pause=0.01
        )


def test_kills_in_recovery(figures) -> None:
    """As R1 after each; the fourth start always succeeds, without anybody's help."""
    world = World("R3", failpoints_binary(), AT_START)
    random = rng("R3")
    while len(world.stable) < SESSIONS:
        world.session()
    world.act(*clients(world, "posters"))
    kills = 0
    for number in range(INSTANTS):
        kind = number % 10
        world.work(random.uniform(0.02, 0.3))
        if kind == 9:
            end_sessions(world, DEEP + 2)
        world.kill()
        if kind == 8:
            # What clients don't know is asked for first: the first version remembers no keys.
            world.revive()
            assert world.recover(), "the server died though nothing was to kill it"
            world.kill()
        for _ in range(DEEP):
            if kind == 8:
                make_older(world.server.database)
                kill_on_the_way(world, random.choice(MIGRATION), 0)
            elif kind == 9:
                kill_on_the_way(world, random.choice(FORGETTING), 0)
            else:
                point = random.choice(list(BACK))
                kill_on_the_way(world, point, random.randrange(BACK[point]))
            kills += 1
        assert world.start(), "the server died though nothing was to kill it"
        assert world.recover(), "the server died though nothing was to kill it"
        world.assert_well()
    world.dismiss()
    world.assert_well()
    statements = len(world.history.by_nonce)
    figures(
        f"R3: {INSTANTS} rounds (seed {SEED}), {kills} kills on the way back, {statements} statements; "
        f"{world.times()}"
    )
    world.finish()
    assert kills == INSTANTS * DEEP
