"""The agent's end of the link, without a driver: servers that die, lie, freeze or come back as another."""

import contextlib
import os
import random
import shutil
import socket
import statistics
import threading
import time
from pathlib import Path

import pytest
from firesteel_agent import link as link_module
from firesteel_agent.config import Config
from firesteel_agent.dialer import Dialer
from firesteel_agent.frames import encode
from firesteel_agent.link import Link
from firesteel_agent.loop import Loop
from peer import Peer

SEEDS = [int(os.environ["FIRESTEEL_TEST_SEED"])] if "FIRESTEEL_TEST_SEED" in os.environ else range(6)


class Agent:
    """A link on a loop of its own, and the server's side of it."""

    def __init__(self, keep_bytes=100_000, outbox_bytes=10_000_000):
        self.peer = Peer()
        self.received = []
        self.others = []
        limits = {"output_max_bytes": 1, "sql_max_rows": 1, "interrupt_again_ms": 1, "cancel_grace_ms": 1}
        config = Config(
            driver=self.peer.id,
            socket=self.peer.path,
            secret=self.peer.secret.encode(),
            python="",
            kind="pyspark",
            max_frame=1 << 24,
            orphan_grace_ms=1,
            outbox=str(self.peer.outbox),
            keep_bytes=keep_bytes,
            outbox_bytes=outbox_bytes,
            **limits,
        )
        self.loop = Loop()
        self.link = Link(
            self.loop, config, Dialer(config), lambda header, body: self.received.append((header, body))
        )
        self.link.on_other_server = lambda: self.others.append(self.link.epoch)
        self.thread = threading.Thread(target=self.loop.run, daemon=True)
        self.thread.start()

    def send(self, number, body=b""):
        header = {"type": "result", "id": number, "state": "available", "started": 1, "completed": 2}
        self.loop.post(lambda: self.link.send(header, body))

    def wait(self, what, check, seconds=10):
        """Wait for something that the peer or the link does."""
        deadline = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            time.sleep(0.002)

    def welcomed(self, count=1):
        self.wait(f"welcome {count}", lambda: self.peer.connections >= count and self.link.connected)

    def close(self):
        self.loop.post(self.loop.stop)
        self.thread.join(10)
        self.peer.go_away()
        shutil.rmtree(self.peer.dir)


@pytest.fixture
def agent():
    """An agent that its server has welcomed."""
    started = Agent()
    started.welcomed()
    yield started
    started.close()


@pytest.fixture
def quick(monkeypatch):
    """All of the agent's waits between calls are five times as short."""
    for name in ("REDIAL_FIRST", "REDIAL_SOON", "REDIAL_LATER", "REJECTED_MOST"):
        monkeypatch.setattr(link_module, name, getattr(link_module, name) / 5)


def ids(frames):
    return [header["id"] for header, _body in frames]


@pytest.mark.parametrize("gone", ["socket closed", "socket removed"])
def test_a_restarted_server_is_found_soon(agent, gone):
    """Within 250 ms after it listens again as a rule, wherever in the agent's waiting that is."""
    waits = []
    for connection in range(2, 8):
        agent.peer.go_away()
        if gone == "socket removed":
            Path(agent.peer.path).unlink()
        time.sleep(0.03 * connection)
        agent.peer.come_back()
        began = time.monotonic()
        agent.welcomed(connection)
        waits.append(time.monotonic() - began)
    # Beside other tests the machine's other work takes its time now and then.
    assert statistics.median(waits) < 0.25, waits
    assert agent.others == [1, 2, 3, 4, 5, 6, 7]


def test_the_socket_is_made_anew_under_a_living_link(agent):
    """A temp cleaner takes the socket's file: the connection goes on; the next one finds the new socket."""
    old, before = agent.peer.listener, agent.peer.connection
    Path(agent.peer.path).unlink()
    agent.send(1, b"over the old connection")
    agent.wait("the frame", lambda: len(agent.peer.frames) == 1)
    assert agent.peer.connection is before
    agent.peer.listen()
    agent.peer.cut()
    agent.welcomed(2)
    assert agent.others == [1], "the same server"
    old.close()


def test_a_lower_epoch_is_refused(agent, quick, capfd):
    agent.peer.go_away()
    agent.peer.come_back(epoch=5)
    agent.welcomed(2)
    agent.peer.go_away()
    agent.send(1, b"kept")
    agent.peer.come_back(epoch=4)
    dials = agent.peer.dials
    agent.wait("three more calls", lambda: agent.peer.dials >= dials + 3)
    assert agent.peer.connections == 2 and not agent.peer.frames and not agent.link.connected
    agent.peer.go_away()
    agent.peer.come_back(epoch=5)
    agent.welcomed(3)
    agent.wait("the frame", lambda: ids(agent.peer.frames) == [1])
    assert agent.others == [1, 5]
    assert "epoch 4" in capfd.readouterr().err


def challenge(peer, end, _listener):
    """A server that does not know the secret."""
    end.sendall(
        encode({"type": "challenge", "nonce": "0" * 64, "proof": "0" * 64, "received": 9, "epoch": 9})
    )
    assert end.recv(1 << 16).startswith(b"\0")
    assert end.recv(1 << 16) == b"", "a proof for an impostor"
    raise EOFError


def says(data):
    """A server that answers these bytes and closes."""

    def greet(_peer, end, _listener):
        end.sendall(data)
        raise EOFError

    return greet


LIARS = {
    "impostor": challenge,
    "refuses": says(encode({"type": "refused", "reason": "no driver is expected"})),
    "closes": says(b""),
    "noise": says(b"\xff" * 1000),
    "half a frame": says(encode({"type": "challenge"})[:9]),
    "no JSON": says(b"\0\0\0\x06\0\0\0\x02{}"),
    "no fields": says(encode({"type": "challenge"})),
    "wrong types": says(
        encode({"type": "challenge", "nonce": 1, "proof": [], "received": "x", "epoch": None})
    ),
    "welcome first": says(encode({"type": "welcome"})),
    "huge": says(b"\xff\xff\xff\xff\0\0\0\x02{}"),
}


@pytest.mark.parametrize("liar", LIARS)
def test_a_wrong_server_gets_nothing(agent, quick, liar):
    """It is called again and again, ever more rarely; the right one is served as if nothing had been."""
    right, greet = agent.peer.greet, LIARS[liar]
    agent.peer.greet = lambda end, listener: greet(agent.peer, end, listener)
    agent.peer.cut()
    agent.send(1, b"kept")
    dials, began = agent.peer.dials, time.monotonic()
    agent.wait("three more calls", lambda: agent.peer.dials >= dials + 3)
    assert time.monotonic() - began > 0.05
    assert not agent.peer.frames and not agent.link.connected
    agent.peer.greet = right
    agent.welcomed(2)
    agent.wait("the frame", lambda: ids(agent.peer.frames) == [1])


def test_a_frozen_server_is_left_for_a_new_call(agent, quick, monkeypatch):
    """It takes the call and never answers, as one that is stopped; so does one that stops half-way."""
    monkeypatch.setattr(link_module, "HELLO_SECONDS", 0.2)
    right, held = agent.peer.greet, []

    def freeze(end, _listener):
        held.append(end)
        if len(held) == 2:
            end.sendall(b"\0\0\1")
        threading.Event().wait(30)

    agent.peer.greet = freeze
    agent.peer.cut()
    agent.wait("three calls", lambda: len(held) >= 3)
    agent.peer.greet = right
    agent.welcomed(2)
    for end in held:
        end.close()


def test_calls_cost_little_while_nobody_is_there(agent, quick, monkeypatch):
    """Ten a second at first, then two (here all five times as fast)."""
    monkeypatch.setattr(link_module, "SOON_SECONDS", 0.1)
    dials = []
    dial = agent.link._dial
    monkeypatch.setattr(agent.link, "_dial", lambda: (dials.append(time.monotonic()), dial()))
    agent.peer.go_away()
    agent.wait("slow dialing", lambda: len(dials) >= 8)
    gaps = [later - earlier for earlier, later in zip(dials, dials[1:])]
    assert all(gap > 0.018 for gap in gaps) and gaps[-1] > 0.09, gaps


def test_a_server_that_breaks_after_each_welcome_is_no_busy_loop(agent, quick):
    right = agent.peer.greet

    def greet(end, listener):
        right(end, listener)
        end.sendall(b"\xff" * 8)

    agent.peer.greet = greet
    agent.peer.cut()
    began, dials = time.monotonic(), agent.peer.dials
    agent.wait("ten calls", lambda: agent.peer.dials >= dials + 10)
    assert time.monotonic() - began > 0.16


def test_a_long_replay_is_handed_out_piece_by_piece(agent):
    """60 MB wait for the server: they cross in order, and neither the socket nor memory holds them all."""
    agent.peer.go_away()
    bodies = [bytes([number]) * 1_000_000 for number in range(60)]
    agent.link._outbox._file_bytes = 100_000_000
    for number, body in enumerate(bodies):
        agent.send(number, body)
    agent.wait("the file", lambda: len(agent.peer.kept()[0]) == 60)
    assert agent.link._outbox._memory_bytes == 0
    most = []
    channel_write = link_module.Channel.write

    def write(channel, data):
        channel_write(channel, data)
        most.append(channel.waiting)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link_module.Channel, "write", write)
        agent.peer.come_back()
        agent.wait("the replay", lambda: len(agent.peer.frames) == 60)
    assert [body for _header, body in agent.peer.frames] == bodies
    assert max(most) < 1_000_000 + link_module.WINDOW + 1000
    agent.wait("an empty outbox", lambda: agent.peer.outbox.stat().st_size == 0)


def test_unnumbered_frames_are_lost_in_a_break(agent):
    tell = {"type": "progress", "id": 1, "done": 1, "total": 2}
    agent.loop.post(lambda: agent.link.tell(tell))
    agent.wait("the frame", lambda: len(agent.peer.frames) == 1)
    agent.peer.go_away()
    agent.wait("the break", lambda: not agent.link.connected)
    agent.loop.post(lambda: agent.link.tell(tell))
    agent.send(2)
    agent.peer.come_back()
    agent.wait("the result", lambda: len(agent.peer.frames) == 2)
    assert ids(agent.peer.frames) == [1, 2] and "seq" not in agent.peer.frames[0][0]


class Cut:
    """A server's socket that breaks after so many bytes sent, or received."""

    def __init__(self, end, sent=1 << 30, received=1 << 30):
        self.end, self.sent, self.received = end, sent, received
        self.broken = threading.Event()

    def sendall(self, data):
        self.end.sendall(data[: max(0, self.sent)])
        self.sent -= len(data)
        if self.sent < 0:
            self._break()

    def recv(self, count):
        data = self.end.recv(min(count, self.received)) if self.received else b""
        self.received -= len(data)
        if not data:
            self._break()
        return data

    def _break(self):
        self.shutdown(socket.SHUT_RDWR)
        self.close()
        self.broken.set()
        raise EOFError

    def shutdown(self, how):
        self.end.shutdown(how)

    def close(self):
        self.end.close()


@pytest.mark.parametrize("direction", ["sent", "received"])
def test_a_conversation_cut_after_any_byte_goes_on(agent, monkeypatch, direction):
    """Hello, a statement and its result, cut at every byte of either side's: each frame is taken once."""
    monkeypatch.setattr(link_module, "REDIAL_FIRST", 0.001)
    monkeypatch.setattr(link_module, "REDIAL_SOON", 0.001)
    right, ends = agent.peer.greet, []
    # What each conversation has at least, so that every one is cut.
    least = {"sent": 340, "received": 450}[direction]
    for number in range(least):

        def greet(end, listener, number=number):
            if len(ends) > number:
                return right(end, listener)
            ends.append(Cut(end, **{direction: number}))
            right(ends[-1], listener)
            return ends[-1]

        agent.peer.greet = greet
        agent.peer.cut()
        agent.send(number, b"x" * 40)
        with contextlib.suppress(EOFError):
            agent.peer.send({"type": "run", "id": number, "kind": "sql"}, b"select 1")
        agent.wait(f"cut {number}", lambda number=number: len(ends) > number and ends[-1].broken.is_set())
        agent.wait("both", lambda number=number: len(agent.received) == len(agent.peer.frames) == number + 1)
        agent.wait("a call", lambda: agent.peer.connection not in (None, *ends))
    assert ids(agent.received) == ids(agent.peer.frames) == list(range(least))
    assert len(ends) == least


@pytest.mark.parametrize("seed", SEEDS)
def test_any_history(quick, seed):
    """Sends, breaks, restarts, late and lost acknowledgements: nothing is lost, doubled or out of order."""
    print(f"FIRESTEEL_TEST_SEED={seed}")
    dice = random.Random(seed)
    agent = Agent(keep_bytes=dice.choice([3000, 50_000]))
    sent, runs, bodies = 0, 0, []

    def all_there():
        agent.wait("all frames", lambda: len(set(ids(agent.peer.frames))) == sent)
        agent.wait("all runs", lambda: len(agent.received) == runs)

    try:
        for _ in range(120):
            step = dice.choice(["send", "send", "send", "run", "cut", "restart", "hold", "ack"])
            if step == "send":
                bodies.append(dice.randbytes(dice.choice([0, 100, 5000, 200_000])))
                agent.send(sent, bodies[-1])
                sent += 1
            elif step == "run":
                agent.peer.send({"type": "run", "id": runs, "kind": "sql"})
                runs += 1
            elif step == "cut":
                agent.peer.cut()
            elif step == "restart":
                # A server that stored all that it acknowledged and sends again what it had not sent.
                all_there()
                agent.peer.go_away()
                time.sleep(dice.random() / 50)
                agent.peer.come_back()
            elif step == "hold":
                agent.peer.hold_acks = True
            elif agent.peer.connection is not None and agent.peer.hold_acks:
                with contextlib.suppress(OSError):
                    agent.peer.ack()
            time.sleep(dice.random() / 500)
        all_there()
        assert ids(agent.received) == list(range(runs))
        seen = {}
        for header, body in agent.peer.frames:
            assert seen.setdefault(header["id"], body) == body == bodies[header["id"]]
        assert list(seen) == list(range(sent)), "out of order"
        agent.wait("a connection", lambda: agent.peer.connection is not None)
        agent.peer.ack()
        agent.wait("an empty outbox", lambda: agent.link.flushed())
        assert not agent.peer.outbox.exists() or agent.peer.outbox.stat().st_size == 0
        print(f"{sent} frames, {runs} runs, {agent.peer.connections} connections")
    finally:
        agent.close()
