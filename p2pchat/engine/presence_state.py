"""What a node remembers of availability between inputs, and forgets when it stops.

Decides: its shape. Does not know: what any of it is used for. All values are frozen, as in the
rest of `Live`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pchat.engine.undo import UndoDict, UndoFields
from p2pchat.ids import AccountId, DeviceId, RoomId
from p2pchat.wire.messages.presence import Presence


@dataclass(slots=True)
class PresenceState(UndoFields):
    """Ours and that of others, as far as it is not in the ledger."""

    active_at: float | None = None  # when a front end last saw its user; None: none has ever told
    do_not_disturb: bool = False  # these are the hours
    announced: bool | None = None  # what the daemon was told last: whether this machine shows itself
    told: UndoDict[int, Presence] = field(default_factory=UndoDict)  # what was last said on a link
    seen: UndoDict[DeviceId, Presence] = field(default_factory=UndoDict)  # what machines that are here said
    withheld: UndoDict[AccountId, float] = field(
        default_factory=UndoDict
    )  # who is owed receipts, and when he gets them at the latest
    typing: UndoDict[tuple[RoomId, AccountId], float] = field(
        default_factory=UndoDict
    )  # until when it is believed
    typing_told: UndoDict[RoomId, float] = field(default_factory=UndoDict)  # when we last said that we type
    words: UndoDict[DeviceId, tuple[float, float]] = field(
        default_factory=UndoDict
    )  # how much more a machine may say of typing, since
    changes: UndoDict[DeviceId, tuple[float, float]] = field(default_factory=UndoDict)  # and of its presence
