"""What a node remembers of availability between inputs, and forgets when it stops.

Decides: its shape. Does not know: what any of it is used for. All values are frozen, as in the
rest of `Live`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pchat.ids import AccountId, DeviceId, RoomId
from p2pchat.wire.messages.presence import Presence


@dataclass(slots=True)
class PresenceState:
    """Ours and that of others, as far as it is not in the ledger."""

    active_at: float | None = None  # when a front end last saw its user; None: none has ever told
    do_not_disturb: bool = False  # these are the hours
    announced: bool | None = None  # what the daemon was told last: whether this machine shows itself
    told: dict[int, Presence] = field(default_factory=dict)  # what was last said on a link
    seen: dict[DeviceId, Presence] = field(default_factory=dict)  # what machines that are here said
    withheld: dict[AccountId, float] = field(
        default_factory=dict
    )  # who is owed receipts, and when he gets them at the latest
    typing: dict[tuple[RoomId, AccountId], float] = field(default_factory=dict)  # until when it is believed
    typing_told: dict[RoomId, float] = field(default_factory=dict)  # when we last said that we type
    words: dict[DeviceId, tuple[float, float]] = field(
        default_factory=dict
    )  # how much more a machine may say of typing, since
    changes: dict[DeviceId, tuple[float, float]] = field(default_factory=dict)  # and of its presence

    def copy(self) -> PresenceState:
        """A copy that later changes to this one do not reach."""
        return PresenceState(
            self.active_at,
            self.do_not_disturb,
            self.announced,
            self.told.copy(),
            self.seen.copy(),
            self.withheld.copy(),
            self.typing.copy(),
            self.typing_told.copy(),
            self.words.copy(),
            self.changes.copy(),
        )
