"""What an earlier run left in the staging folder: all of it goes that no transfer needs, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trio.testing import MockClock

from p2pchat.daemon.shelf import SPOOL
from p2pchat.daemon.tidying import tidy
from p2pchat.engine.file_inputs import StillNeeded
from p2pchat.engine.inputs import Command
from tests.kit.bulks import Machine, office

OTHERS = ("notes.txt", f"{'0' * 31}.state", f"spool-{'g' * 32}", f"{'a' * 32}.state.bak")
"""Not ours, whoever put it there."""


async def after_a_crash(machine: Machine, needed: set[bytes]) -> list[str]:
    """What lies there once a run has looked through it, the archive needing these."""

    async def ask(make: Callable[[int], Command]) -> Any:
        question = make(0)
        assert isinstance(question, StillNeeded)
        return needed & set(question.offers)

    await tidy(machine.disk, machine.bulk.shelf, ask)
    return sorted(path.name for path in (machine.base / "staging").iterdir())


async def test_what_was_piped_in_and_offered_to_nobody_goes(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Of two pipes one was offered, the other was cut off by a kill; of two files one message was written."""
    async with office(tmp_path) as house:
        ann = await house.add("ann")
        shelf = ann.bulk.shelf
        kept, cut = [await shelf.spool() for _ in "ab"]
        for spool in (kept, cut):
            await shelf.spool_add(spool, b"line\n" * 1000)
        piped, _ = await shelf.prepare_spool(kept, "build.log")
        (tmp_path / "x").write_bytes(b"x" * 1000)
        said, unsaid = [await shelf.prepare(str(tmp_path / "x")) for _ in "ab"]
        staging = ann.base / "staging"
        assert len([p for p in staging.iterdir() if p.name.startswith(SPOOL)]) == 2
        left = await after_a_crash(ann, {piped.id, said.id})
        own = [f"{SPOOL}{piped.id.hex()}", f"{piped.id.hex()}.state", f"{said.id.hex()}.state"]
        assert left == sorted(own)
        assert unsaid.id.hex() not in str(left)


async def test_what_was_taken_back_a_moment_before_goes(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A half of a transfer that was given up, with its log and list; nothing that is not ours is touched."""
    async with office(tmp_path) as house:
        ann = await house.add("ann")
        staging = ann.base / "staging"
        staging.mkdir(mode=0o700)
        gone, here = b"\x0a" * 16, b"\x0b" * 16
        for offer in (gone, here):
            (staging / offer.hex() / "tree").mkdir(parents=True)
            (staging / offer.hex() / "tree" / "a").write_bytes(b"half")
            (staging / f"{offer.hex()}.state").write_bytes(b"log")
            (staging / f"{offer.hex()}.list").write_bytes(b"list")
        for name in OTHERS:
            (staging / name).write_bytes(b"mine")
        own = [f"{here.hex()}{end}" for end in ("", ".state", ".list")]
        assert await after_a_crash(ann, {here}) == sorted([*own, *OTHERS])


async def test_a_folder_that_can_not_be_read_stops_nobody(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with office(tmp_path) as house:
        ann = await house.add("ann")
        (ann.base / "staging").write_bytes(b"in the way")

        async def ask(make: Callable[[int], Command]) -> Any:
            raise AssertionError("nothing was found")

        await tidy(ann.disk, ann.bulk.shelf, ask)
