"""Bodies of the events that make and change a room.

Decides: the fields of control events beyond epochs and seals, and of the content that
tells what a room is called and who has taken note (docs/protocol.md, "Rooms"). Does not
know: who may write which of them (engine/control_graph).
"""

from __future__ import annotations

from typing import Final

from p2pchat.wire.codec import Record

OWNER: Final = "owner"
MODERATOR: Final = "moderator"
MEMBER: Final = "member"
RANK: Final = {OWNER: 2, MODERATOR: 1, MEMBER: 0}
"""Roles by what they may do; nobody removes or demotes a higher one."""

INVITE: Final = "invite"
OFFICE: Final = "office"
CLOSED: Final = "closed"
ADMISSIONS: Final = (INVITE, OFFICE, CLOSED)
"""Who gets in: whom an owner or moderator adds; anyone of the office who joins; nobody."""

ALL: Final = "all"
JOINED: Final = "joined"
HISTORIES: Final = (ALL, JOINED)
"""What a newcomer reads: everything, or what was written since he was added."""

NAME_FIELDS: Final = ("name", "topic", "rules")


class Cut(Record, frozen=True):
    """How much of one machine's chain stands: up to `seq`, in the branch that ends in `id`."""

    device: bytes
    seq: int
    id: bytes


class Create(Record, frozen=True):
    """A room begins; the id of this event is the room's. `title` is readable by the whole
    office and empty unless the room is open."""

    v: int
    nonce: bytes  # 16 random bytes
    admission: str
    announce: bool
    history: str
    title: str


class Add(Record, frozen=True):
    """A person is in, as a member."""

    v: int
    account: bytes


class Remove(Record, frozen=True):
    """A person is out. A machine of his that no cut names is cut at 0."""

    v: int
    account: bytes
    cut: tuple[Cut, ...]


class Join(Record, frozen=True):
    """The author comes in by himself."""

    v: int


class Leave(Record, frozen=True):
    """The author goes."""

    v: int


class Role(Record, frozen=True):
    """A member gets another role; a demotion cuts control events of his machines."""

    v: int
    account: bytes
    role: str
    cut: tuple[Cut, ...]


class Setting(Record, frozen=True):
    """One setting: admission, announce (0 or 1), history, retention (days, 0: for ever), title."""

    key: str
    value: str


class Settings(Record, frozen=True):
    """Settings that change, sorted by key; what is not named stays as it is."""

    v: int
    changes: tuple[Setting, ...]


class Revoke(Record, frozen=True):
    """A machine writes here no more. `proof` is what allows it, whoever says it: a revoking
    statement and its signature, or header, signature, header, signature of a fork."""

    v: int
    device: bytes
    proof: tuple[bytes, ...]
    cut: tuple[Cut, ...]


class Name(Record, frozen=True):
    """What a room is called or says of itself: `field` is name, topic or rules."""

    v: int
    field: str
    value: str


class Ack(Record, frozen=True):
    """The author has taken note of `target`, which asked for it."""

    v: int
    target: bytes


class RulesAccepted(Record, frozen=True):
    """The author accepts the rules that the event `target` set."""

    v: int
    target: bytes
