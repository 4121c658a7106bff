"""Hostile names, written for real: as a file each, and all in one manifest.

The inbox lies in a folder with things that must not change; what is outside has the same hash
before and after, whatever a name says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pchat.errors import RemoteProtocolError
from p2pchat.files import manifest
from p2pchat.files.inbox import forget, place
from p2pchat.files.names import clean, same_key
from p2pchat.files.pieces import check_offer
from p2pchat.wire.codec import decode, encode
from p2pchat.wire.messages.files import Entry, Offer
from tests.hostile.file_names import HOSTILE, check_safe
from tests.kit.transfers import ID, Places, contents, offer_of, put_all, tree_hash

CAN_BE_SENT = [name for name in HOSTILE if name.encode("utf-8", "replace").decode() == name]
"""Lone surrogates are no UTF-8: no record can hold them."""

NEIGHBOURS = ("etc/passwd", "home/.bashrc", "home/.ssh/authorized_keys", "Windows/win.ini")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[Places, Path]]:
    """An inbox with neighbours: what `..` would reach, a home, and a shell's start-up file."""
    places = Places(tmp_path / "home")
    for path in (*NEIGHBOURS, "home/sources/x"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("precious")
    (tmp_path / "home" / "link").symlink_to(tmp_path / "etc")
    yield places, tmp_path
    places.close()


def outside(root: Path) -> list[str]:
    """Everything that is neither inbox nor staging: names, and hashes of what is in them."""
    folders = [root / "etc", root / "Windows", root / "home" / "sources", root / "home" / ".ssh"]
    found = [tree_hash(path) for path in folders] + [(root / "home" / ".bashrc").read_text()]
    return found + sorted(os.listdir(root)) + sorted(os.listdir(root / "home"))


def test_the_set_is_complete() -> None:
    assert len(CAN_BE_SENT) >= 300


def test_each_name_as_a_file(house: tuple[Places, Path]) -> None:
    places, root = house
    before = outside(root)
    for number, name in enumerate(CAN_BE_SENT):
        data = b"%d" % number
        offer = offer_of(data, name=name)
        assert decode(Offer, encode(offer)) == offer
        try:
            check_offer(offer)
        except RemoteProtocolError:
            assert len(name.encode()) > 1024
        staging = places.begin(offer)
        put_all(staging, offer, data)
        seen = set(os.listdir(places.inbox_path))
        landed = place(staging, places.inbox, 0)
        staging.close()
        forget(places.staging, ID)
        new = set(os.listdir(places.inbox_path)) - seen
        assert new == {landed.name}, f"{name!r} became {new}"
        check_safe(landed.name)
        assert landed.path == f"{places.inbox_path}/{landed.name}", "what is shown is what is written"
        assert (places.inbox_path / landed.name).read_bytes() == data
        if landed.how == "new":
            assert landed.name == clean(name).name
    assert outside(root) == before
    assert os.listdir(places.staging_path) == []
    assert all(path.parent == places.inbox_path for path in places.inbox_path.rglob("*"))


@pytest.mark.parametrize("where", ["file", "folder", "inner"])
def test_all_of_them_in_one_manifest(house: tuple[Places, Path], where: str) -> None:
    """As files of one folder, as folders with a file in each, and as a file in such a folder."""
    places, root = house
    before = outside(root)
    fitting = sorted(name for name in CAN_BE_SENT if len(name.encode()) <= 1000)
    assert len(fitting) >= 300
    paths: list[tuple[str, ...]] = {
        "file": [(name,) for name in fitting],
        "folder": [(name, "inside") for name in fitting],
        "inner": [(name, name) for name in fitting],
    }[where]
    bodies = [b"%d" % number for number in range(len(paths))]
    entries = [Entry(path, False, len(body), 1) for path, body in zip(paths, bodies, strict=True)]
    head = manifest.make(entries)
    stream = head + b"".join(bodies)
    offer = offer_of(stream, name="..", head=len(head), files=len(entries), mtime=0)
    staging = places.begin(check_offer(offer))
    put_all(staging, offer, stream)
    written = {"/".join(found.path): body for found, body in zip(staging.places, bodies, strict=True)}
    landed = place(staging, places.inbox, 0)
    staging.close()
    forget(places.staging, ID)
    assert landed.name == "unnamed"
    found = contents(Path(landed.path))
    assert {path: body for path, body in found.items() if body is not None} == written
    assert len(written) == len(paths)
    for path in found:
        for name in path.split("/"):
            check_safe(name)
    for folder in [Path(landed.path), *(path for path in Path(landed.path).rglob("*") if path.is_dir())]:
        names = os.listdir(folder)
        assert len({same_key(name) for name in names}) == len(names), "twins on some system"
    assert outside(root) == before
    assert os.listdir(places.inbox_path) == ["unnamed"]


def test_a_name_that_is_no_text_is_refused_by_the_codec() -> None:
    raw = encode(offer_of(b"", name="XX"))
    assert raw.count(b"XX") == 1
    with pytest.raises(RemoteProtocolError):
        decode(Offer, raw.replace(b"XX", b"\xff\xfe"))
