"""Archives are bytes to the server (S13): it unpacks nothing, whatever their names, links and sizes."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Callable

import pytest
from harness import processes
from harness.server import Server, everything_below

MIB = 2**20


def slip() -> bytes:
    """A zip whose names lead out of it."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in (
            "../canary",
            "../../../../../../tmp/canary",
            "/tmp/canary",
            "a/../../canary",
            "..\\canary",
        ):
            archive.writestr(name, b"escaped")
    return data.getvalue()


def links() -> bytes:
    """A tar whose links lead out of it, and are written through."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, target in (("out", "/tmp"), ("up", ".."), ("passwd", "/etc/passwd")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        inside = tarfile.TarInfo("out/canary")
        inside.size = 7
        archive.addfile(inside, io.BytesIO(b"escaped"))
        device = tarfile.TarInfo("null")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    return data.getvalue()


def bomb() -> bytes:
    """A small file that would be a gigabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = bytes(MIB)
    return b"".join(packer.compress(piece) for _ in range(1024)) + packer.flush()


@pytest.mark.parametrize("make", [slip, links, bomb], ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", ["lib.zip", "env.tar.gz", "a.jar", "b.gz"])
def test_an_archive_is_kept_as_it_is(stub_server: Server, make: Callable[[], bytes], name: str) -> None:
    """As an upload, and named by a session: one file with these bytes, and nothing beside it."""
    data = make()
    before = processes.rss_mib(stub_server.pid)
    files = everything_below(stub_server.home)
    api = stub_server.api
    sent = api.post("/uploads", files={"file": (name, data)})
    assert sent.status_code == 201, sent.text
    upload = sent.json()
    assert upload["size"] == len(data)
    session = api.create(archives=[upload["uri"] + "#env"], pyFiles=[upload["uri"]])
    new = everything_below(stub_server.home) - files
    in_uploads = {path for path in new if stub_server.state_dir / "uploads" in path.parents}
    kept = stub_server.state_dir / "uploads" / upload["id"] / name
    assert in_uploads == {kept, kept.parent, kept.parent.with_suffix(".json")}
    assert kept.read_bytes() == data
    assert not [path for path in new if "canary" in path.name or path.is_symlink()]
    assert not Path("/tmp/canary").exists()
    assert processes.rss_mib(stub_server.pid) - before < 64
    session.delete()
