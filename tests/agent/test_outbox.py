"""What is kept for the server: random histories against a model, full disks, torn tails, meddling."""

import contextlib
import json
import os
import random
import resource

import pytest
from firesteel_agent.frames import Decoder, encode
from firesteel_agent.outbox import SMALL_FRAME, STUCK_FACTOR, Outbox
from peer import parse

MAX_FRAME = 1 << 24
SEEDS = [int(os.environ["FIRESTEEL_TEST_SEED"])] if "FIRESTEEL_TEST_SEED" in os.environ else range(40)


@contextlib.contextmanager
def full_disk(room):
    """No file of this process gets longer: the write that would is done in part, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def decoded(data):
    ((header, body),) = Decoder(MAX_FRAME).feed(data)
    return header, body


def all_of(outbox):
    frames = []
    while (data := outbox.next()) is not None:
        frames.append(decoded(data))
    return frames


def result(number):
    return {"type": "result", "id": number, "state": "available", "started": 1, "completed": 2}


def is_cut(body):
    return body.startswith(b"{") and json.loads(body)["ename"] == "ResultTooLarge"


class Model:
    """An outbox, and what it must do."""

    def __init__(self, path, random_):
        self.random = random_
        self.path = path
        self.keep, self.most = random_.choice([(20_000, 200_000), (5_000, 60_000), (100_000, 100_000)])
        self.outbox = Outbox(str(path), self.keep, self.most)
        self.kept = []
        self.given = 0
        self.seq = 0
        self.disk_was_full = False
        self.cuts = self.spills = 0

    def add(self):
        self.seq += 1
        size = self.random.choice([0, 50, 3000, 8000, 30_000])
        header = result(self.seq) if size else {"type": "started", "id": self.seq, "at": 1}
        body = self.random.randbytes(size)
        self.outbox.add(header, body)
        self.kept.append([dict(header, seq=self.seq), body])

    def add_on_a_full_disk(self):
        self.disk_was_full = True
        with full_disk(self.random.choice([0, 10_000, 50_000])):
            self.add()

    def acknowledge(self):
        upto = self.random.randint(max(0, self.seq - len(self.kept)), self.seq)
        self.outbox.acknowledge(upto)
        dropped = len(self.kept)
        self.kept = [frame for frame in self.kept if frame[0]["seq"] > upto]
        self.given = max(0, self.given - (dropped - len(self.kept)))
        if not self.kept and self.path.exists():
            assert self.path.stat().st_size == 0

    def give(self):
        for _ in range(self.random.randint(1, 5)):
            data = self.outbox.next()
            if self.given == len(self.kept):
                assert data is None
                return
            self.expect(self.given, *decoded(data))
            self.given += 1

    def breaks(self):
        self.outbox.away = True
        self.outbox.rewind()
        self.outbox.spill()
        self.given = 0

    def welcomed(self):
        self.outbox.away = False

    def expect(self, index, header, body):
        """Frame `index` of those kept is this one, or had no room."""
        cut = header.pop("cut", None)
        assert cut is None or (cut["what"] == "outbox" and is_cut(body))
        assert header == self.kept[index][0]
        if body != self.kept[index][1]:
            assert header["type"] == "result" and len(self.kept[index][1]) > 3000 and is_cut(body)
            assert self.seq > 1, "the first one always has room"
            self.kept[index][1] = body
            self.cuts += 1

    def check(self):
        """What the file and the memory hold."""
        assert len(self.outbox) == len(self.kept)
        data = self.path.read_bytes() if self.path.exists() else b""
        frames, end = parse(data)
        assert end == len(data), "torn without a death"
        seqs = [header["seq"] for header, _body in frames]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)) if seqs else [])
        mine = {frame[0]["seq"]: index for index, frame in enumerate(self.kept)}
        for header, body in frames:
            if header["seq"] in mine:
                self.expect(mine[header["seq"]], header, body)
        self.spills += bool(frames)
        assert len(data) < self.most + SMALL_FRAME * 100
        if not self.disk_was_full:
            assert self.outbox._memory_bytes <= self.keep
            if self.outbox.away:
                assert set(mine) <= set(seqs)
        assert self.outbox._memory_bytes <= self.keep * STUCK_FACTOR + 100 * SMALL_FRAME


@pytest.mark.parametrize("seed", SEEDS)
def test_any_history(tmp_path, seed):
    """300 random steps: whatever happens, each frame comes out once a round, in order, whole or marked."""
    print(f"FIRESTEEL_TEST_SEED={seed}")
    dice = random.Random(seed)
    model = Model(tmp_path / "outbox", dice)
    steps = [model.add, model.add, model.add, model.acknowledge, model.give, model.breaks, model.welcomed]
    if seed % 2:
        steps.append(model.add_on_a_full_disk)
    for _ in range(300):
        dice.choice(steps)()
        model.check()
    model.breaks()
    assert len(all_of(model.outbox)) == len(model.kept)
    model.outbox.acknowledge(model.seq)
    assert len(model.outbox) == 0 and model.outbox.next() is None
    assert model.spills > 20
    assert model.path.stat().st_size == 0
    assert model.path.stat().st_mode & 0o777 == 0o600


def test_no_file_while_the_server_takes_all(tmp_path):
    outbox = Outbox(str(tmp_path / "outbox"), 1000, 10_000)
    outbox.away = False
    for seq in range(1, 101):
        outbox.add(result(seq), b"x" * 500)
        assert outbox.next() is not None
        outbox.acknowledge(seq)
    assert not list(tmp_path.iterdir())


def test_a_torn_tail_hides_nothing_before_it(tmp_path):
    """Cut at every byte, as by a death: the whole frames before the cut are read."""
    outbox = Outbox(str(tmp_path / "outbox"), 1000, 10_000)
    sent = []
    for seq, body in enumerate([b"", b"x" * 40, b"y"], 1):
        outbox.add(result(seq), body)
        sent.append((dict(result(seq), seq=seq), body))
    data = (tmp_path / "outbox").read_bytes()
    ends = [len(encode(*sent[0])), len(encode(*sent[0]) + encode(*sent[1])), len(data)]
    for cut in range(len(data) + 1):
        whole = sum(end <= cut for end in ends)
        assert parse(data[:cut])[0] == sent[:whole]


def test_beyond_the_bound_states_stay(tmp_path):
    outbox = Outbox(str(tmp_path / "outbox"), 10_000, 50_000)
    for seq in range(1, 11):
        outbox.add(result(seq), b"x" * 20_000)
    frames = all_of(outbox)
    assert [header["id"] for header, _body in frames] == list(range(1, 11))
    assert [len(body) == 20_000 for _header, body in frames] == [True, True] + [False] * 8
    told = json.loads(frames[-1][1])
    assert told["ename"] == "ResultTooLarge" and told["execution_count"] == 10
    assert "48.8 kB" in told["evalue"] or "50.0 kB" in told["evalue"], told
    outbox.acknowledge(10)
    outbox.add(result(11), b"x" * 20_000)
    assert len(all_of(outbox)[0][1]) == 20_000


def test_a_full_disk_is_told_once_and_used_again(tmp_path, capfd):
    outbox = Outbox(str(tmp_path / "outbox"), 10_000, 1 << 20)
    with full_disk(15_000):
        for seq in range(1, 21):
            outbox.add(result(seq), b"x" * 10_000)
        assert [header["seq"] for header, _body in parse((tmp_path / "outbox").read_bytes())[0]] == [1]
    assert capfd.readouterr().err.count("can't be written") == 1
    outbox.add(result(21), b"x" * 10_000)
    assert outbox._memory_bytes == 0, "there is room again"
    cut = [is_cut(body) for _header, body in all_of(outbox)]
    # One in the file, as many as memory may hold, and the first after the disk had room.
    assert cut == [False] * 8 + [True] * 12 + [False]
    assert len(parse((tmp_path / "outbox").read_bytes())[0]) == 21


def test_what_is_not_ours_is_left_alone(tmp_path, capfd):
    """User code may put anything at the path, or write what is there: no frame's number is lost."""
    path = tmp_path / "outbox"
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    path.symlink_to(target)
    outbox = Outbox(str(path), 10_000, 1 << 20)
    outbox.add(result(1), b"x" * 5000)
    assert target.read_bytes() == b"precious" and len(all_of(outbox)[0][1]) == 5000
    path.unlink()
    outbox.add(result(2), b"x" * 5000)
    os.truncate(path, 100)
    outbox.rewind()
    frames = all_of(outbox)
    assert [header["seq"] for header, _body in frames] == [1, 2] and all(is_cut(body) for _h, body in frames)
    with path.open("r+b") as file:
        file.write(b"\xff" * 20_000)
    outbox.rewind()
    assert all_of(outbox) == frames
    path.unlink()
    outbox.rewind()
    assert all_of(outbox) == frames
    told = capfd.readouterr().err
    assert told.count("can't be written") == told.count("can't be read back") == 1
