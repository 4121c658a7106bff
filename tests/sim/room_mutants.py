"""Rooms made wrong on purpose: what the laws of rooms must catch, or they are no laws.

Decides: which mistakes a history must reveal. Each is one patch of the product's own code
that a careless change could make.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from p2pchat.engine import (
    handing,
    keys,
    membership,
    outbox,
    room_commands,
    rooms,
    shares,
    sync,
    talk,
    views,
)
from p2pchat.model import ROOM

Patch = pytest.MonkeyPatch


def seals_to_everybody(patch: Patch) -> None:
    """Who was removed gets the keys of the time after him."""

    def devices(ctx: Any, room: Any) -> list[Any]:
        return [d for account in ctx.cache.accounts.values() for d in account.devices]

    patch.setattr(rooms, "devices", devices)


def gives_keys_to_all(patch: Patch) -> None:
    """Whoever asks gets a key."""
    patch.setattr(keys, "may_have", lambda ctx, room, row, account: True)
    patch.setattr(rooms, "access", lambda ctx, link, room: rooms.ALL)


def shows_the_past(patch: Patch) -> None:
    """Newcomers of a room of joined history get what was before."""
    patch.setattr(keys, "may_have", lambda ctx, room, row, account: True)
    patch.setattr(shares, "readable_from", lambda ctx, room, account: 0)
    patch.setattr(rooms, "readable_from", lambda ctx, room, account: 0)


def voids_nothing(patch: Patch) -> None:
    """What a removal cuts stays in view where it came before the removal."""
    patch.setattr(membership, "_judge_again", lambda ctx, room, before: None)


def leaves_void_acts_behind(patch: Patch) -> None:
    """Acts that count are handed over, void ones are not."""
    give = handing.hand_over

    def those_that_count(ctx: Any, link: Any, room: Any, ids: Any) -> None:
        give(ctx, link, room, [one for one in ids if one not in room.graph.void])

    patch.setattr(handing, "hand_over", those_that_count)


def keeps_what_he_said(patch: Patch) -> None:
    """What somebody said before he went is not taken from him."""
    patch.setattr(sync, "asks_past", lambda ctx, link, room: False)


def tells_nothing_when_out(patch: Patch) -> None:
    """Who is out hands members nothing, not even what they may have from him. Not one of ALL: what it takes
    to show is that he alone was told of acts, and of people who keep the rules all members hear."""
    give = handing.hand_over

    def those_who_are_in(ctx: Any, link: Any, room: Any, ids: Any) -> None:
        if room.row.kind != ROOM or ctx.me.account in room.graph.members:
            give(ctx, link, room, ids)

    patch.setattr(handing, "hand_over", those_who_are_in)


def waits_for_nobody(patch: Patch) -> None:
    """A message is told to be delivered when one has it."""
    patch.setattr(membership, "_await_new", lambda ctx, room, **_: None)
    patch.setattr(outbox, "settle", lambda ctx, room: None)
    patch.setattr(views, "own_state", lambda ctx, room, seq: "delivered")


def speaks_without_right(patch: Patch) -> None:
    """Nobody looks whether he may write, nor whether what he did not write under may be read."""
    patch.setattr(room_commands, "need_to_write", lambda ctx, room, kind: None)
    patch.setattr(talk.room_commands, "need_to_write", lambda ctx, room, kind: None)


ALL: dict[str, Callable[[Patch], None]] = {
    "keys are sealed to everybody": seals_to_everybody,
    "keys are given to all": gives_keys_to_all,
    "newcomers see the past": shows_the_past,
    "nothing is voided afterwards": voids_nothing,
    "void acts stay behind": leaves_void_acts_behind,
    "the last words of who left are lost": keeps_what_he_said,
    "delivered means sent": waits_for_nobody,
    "nobody asks for his right": speaks_without_right,
}
