"""Files between machines when something of our own is in the way: disks, descriptors, silence, haste."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from p2pchat.engine.file_inputs import FileTrouble
from p2pchat.files.state import StateLog
from p2pchat.files.trouble import told_of
from tests.kit.bulks import office
from tests.kit.transfers import pattern

MIB = 1 << 20


def written(path: Path, size: int, seed: int = 0) -> Path:
    """A file of that many bytes."""
    path.write_bytes(pattern(size, seed))
    return path


async def test_the_givers_own_disk_is_full_for_a_while(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hashes of what is read can not be noted: that is no changed source, and it goes on by itself."""
    full: dict[str, bool] = {}
    append = StateLog.append

    def refusing(log: StateLog, kind: int, body: bytes) -> None:
        if full and tmp_path / "ann" in Path(log._path).parents:
            raise told_of(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "write", log._path)
        append(log, kind, body)

    monkeypatch.setattr(StateLog, "append", refusing)
    async with office(tmp_path, latency_s=0.02) as house:
        ann, bob, cyn = [await house.add(name) for name in ("ann", "bob", "cyn")]
        offer = await ann.offer(written(tmp_path / "x", 20 * MIB))
        full["now"] = True
        for one in (bob, cyn):
            one.fetch(offer, ann)
        await ann.until(lambda: bool(ann.troubles()))
        await trio.sleep(20)
        assert {(one.kind, one.final) for one in ann.troubles()} == {("disk_full", False)}
        assert bob.troubles() == cyn.troubles() == []
        full.clear()
        for one in (bob, cyn):
            await one.until(lambda one=one: one.landed(offer) is not None, 90)
            assert (one.inbox / "x").read_bytes() == pattern(20 * MIB)
        assert FileTrouble(offer.id, "", "", False) in ann.told, "and it is told that it goes on"
