"""Random multipart bodies and file names: an answer that is no 5xx each time, and nothing outside of the
directory of uploads."""

from __future__ import annotations

import os
import random
import time
import uuid
from pathlib import Path
from typing import Any, Callable

from harness.chance import seeded
from harness.server import Server
from harness.wire import Wire

INPUTS = 10_000
ANSWERS = {201, 400, 413}
PIECES = [
    *(
        "..",
        "/",
        "\\",
        ".",
        "\0",
        "\r\n",
        "\n",
        '"',
        "'",
        ";",
        "%2e%2e%2f",
        "%00",
        "%",
        "#",
        ",",
        "*",
        "~",
        "$(id)",
    ),
    *(
        "name",
        ".py",
        "é",
        "\u202e",
        " ",
        "\t",
        "-",
        "x" * 200,
        "C:",
        "../../../CANARY",
        "/tmp/CANARY",
        "ID.json",
    ),
]
HEADERS = [
    b"Content-Type: text/plain",
    b"Content-Type: multipart/mixed; boundary=y",
    b"Content-Transfer-Encoding: base64",
    b"Content-Length: 5",
    b"Content-Length: 99999999999999999999",
    b"X: " + b"y" * 5000,
    b": nothing",
    b"no colon",
    b"\xff\xfe: \xff",
]
BOUNDARIES = ["x", "x" * 70, "--", "a b", '"q"', "é", ""]


def file_name(dice: random.Random, canary: str) -> bytes:
    """Pieces that mean something to a file system, a shell, a URI or a header."""
    text = "".join(dice.choice(PIECES) for _ in range(dice.randrange(5))).replace("CANARY", canary)
    if dice.random() < 0.6:
        text = f"plain{dice.randrange(100)}.txt"
    raw = text.encode()
    return raw + bytes([dice.randrange(256)]) if dice.random() < 0.05 else raw


def body(dice: random.Random, canary: str, boundary: bytes) -> bytes:
    """A form: whole, torn, or with something of it changed."""
    parts = []
    for _ in range(dice.choice((0, 1, 1, 1, 1, 2, 3))):
        name = dice.choice((b"file", b"file", b"file", b"jar", b"", b"f" * 300))
        star = dice.choice((b"", b"", b"", b"*"))
        value = b"utf-8''" + file_name(dice, canary) if star else b'"' + file_name(dice, canary) + b'"'
        headers = [b'Content-Disposition: form-data; name="' + name + b'"; filename' + star + b"=" + value]
        headers += dice.sample(HEADERS, dice.choice((0, 0, 0, 0, 1, 2)))
        dice.shuffle(headers)
        content = dice.randbytes(dice.choice((0, 3, 300, 3000)))
        parts.append(b"--" + boundary + b"\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + content + b"\r\n")
    whole = bytearray(
        b"".join(parts) + b"--" + boundary + b"--" + dice.choice((b"\r\n", b"", b"epilogue" * 50))
    )
    for _ in range(dice.choice((0, 0, 0, 0, 1, 5))):
        at = dice.randrange(len(whole))
        edit = dice.randrange(3)
        if edit == 0:
            whole[at] = dice.randrange(256)
        elif edit == 1:
            del whole[at : at + dice.randrange(1, 40)]
        else:
            whole[at:at] = whole[max(0, at - 30) : at]
        if not whole:
            break
    return bytes(whole)


def outside(server: Server) -> set[Path]:
    """All files of the server's home but the uploads."""
    return below(server.home, server.state_dir / "uploads")


def below(home: Path, but: Path | None = None) -> set[Path]:
    """All that is below a directory, without what is below another; what goes meanwhile is left out."""
    found: set[Path] = set()
    for directory, names, files in os.walk(home):
        found.update(Path(directory, name) for name in (*names, *files))
        names[:] = [name for name in names if Path(directory, name) != but]
    return found


def test_ten_thousand(
    serve: Callable[..., Server], make_stub: Callable[..., Any], figures: Callable[[str], None]
) -> None:
    """Over connections that are kept as long as the server keeps them."""
    dice, canary = seeded(), f"canary-{uuid.uuid4().hex}"
    room = {"upload.owner_bytes": "90GiB", "upload.total_bytes": "90GiB", "upload.kept": "2s"}
    server = serve({**make_stub().settings, **room})
    before = outside(server)
    counts: dict[int, int] = {}
    wire, begun = Wire(server.port), time.monotonic()
    for number in range(INPUTS):
        boundary = dice.choice(BOUNDARIES) if dice.random() < 0.1 else "x"
        form = body(dice, canary, boundary.encode())
        kind = "multipart/form-data; boundary=" + boundary if dice.random() < 0.98 else "multipart/"
        told = f"input {number}: {kind!r} {form!r}"
        wire.send(
            "POST /uploads HTTP/1.1", f"Content-Type: {kind}", f"Content-Length: {len(form)}", body=form
        )
        answer = wire.answer()
        assert answer.status in ANSWERS, f"{answer.data!r}\n{told}"
        counts[answer.status] = counts.get(answer.status, 0) + 1
        if answer.headers.get("connection") == "close":
            wire.socket.close()
            wire = Wire(server.port)
    wire.socket.close()
    figures(f"uploads fuzzed: {INPUTS} in {time.monotonic() - begun:.0f} s: {counts}")
    assert counts[201] > INPUTS / 20
    assert counts[400] > INPUTS / 20
    assert outside(server) == before
    for place in (Path("/tmp"), Path.cwd(), server.home.parent, Path("/")):
        assert not list(place.glob(f"*{canary}*"))
    for path in below(server.state_dir / "uploads"):
        assert path.resolve() == path
    assert server.api.get("/healthcheck").status_code == 200
