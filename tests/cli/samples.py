"""Answers of a daemon, with every field of the contract, made by the real rendering functions."""

from __future__ import annotations

from typing import Any

from p2pchat.control.operations import fields, presence_fields
from p2pchat.control.operations.missing_fields import Coming, coming_fields, gap_fields
from p2pchat.ids import AccountId, DeviceId, EpochId, EventId, RoomId
from p2pchat.model import (
    Acks,
    Availability,
    Gap,
    MessageView,
    Notice,
    PeerView,
    Progress,
    QueueRow,
    RoomMember,
    RoomRow,
    RoomView,
    TransferRow,
    TransferView,
)
from p2pchat.wire.codec import encode
from p2pchat.wire.messages.files import Offer

ANN = AccountId(bytes([0xA1]) * 32)
BOB = AccountId(bytes([0xB0]) * 32)
ANN_BOX = DeviceId(bytes([0xA2]) * 32)
BOB_BOX = DeviceId(bytes([0xB2]) * 32)
CARL_BOX = DeviceId(b"\xc5" * 32)
CARL = AccountId(bytes([0xCA]) * 32)
CHAT = RoomId(bytes([0xC0]) * 32)
LAUNCH = RoomId(bytes([0x1A]) * 32)
LOBBY = RoomId(bytes([0x10]) * 32)
NOON = 1_795_435_200_000  # 2026-11-23T12:00:00Z


class Names:
    """Ann is me, Bob is the other, Carl is in the room `launch` with both."""

    def __init__(self, bob: str = "Bob", launch: str = "launch") -> None:
        self._names = {ANN: "Ann", BOB: bob, CARL: "Carl"}
        self._launch = launch

    def person(self, account: AccountId) -> str:
        return self._names.get(account, "~" + account.hex()[:4])

    def owner(self, device: DeviceId) -> AccountId | None:
        return {ANN_BOX: ANN, BOB_BOX: BOB, CARL_BOX: CARL}.get(device)

    def device_name(self, device: DeviceId) -> str:
        return ""

    def room(self, room: RoomId) -> RoomRow | None:
        return {
            CHAT: RoomRow(room, "direct", "", BOB),
            LAUNCH: RoomRow(room, "room", self._launch, None),
            LOBBY: RoomRow(room, "lobby", "lobby", None),
        }.get(room)


def view(number: int = 1, text: str | None = "hello", *, mine: bool = False, **changes: Any) -> MessageView:
    """A message of Bob, or of me."""
    values: dict[str, Any] = {
        "id": EventId(number.to_bytes(2, "big") * 16),
        "room": CHAT,
        "account": ANN if mine else BOB,
        "device": ANN_BOX if mine else BOB_BOX,
        "seq": number,
        "hlc": NOON << 16,
        "written_ms": NOON + number * 60_000,
        "received_ms": NOON + number * 60_000 + 5,
        "text": text,
        "reply_to": None,
        "thread": None,
        "urgent": False,
        "edited": False,
        "deleted": False,
        "pinned": False,
        "hidden": False,
        "mine": mine,
        "mentions": (),
        "mentions_me": False,
        "reactions": (),
        "state": "delivered" if mine else "received",
    }
    return MessageView(**{**values, **changes})


def rendered(
    message: MessageView, names: Names, progress: Progress | None = None, acks: Acks | None = None
) -> dict[str, Any]:
    """A message as the daemon renders it; in the direct chat the state says how far it has come."""
    if progress is None and message.mine:
        got = {"delivered": (BOB,), "read": (BOB,)}.get(message.state, ())
        progress = Progress(got, got if message.state == "read" else (), 1)
    return fields.message_fields(message, names, progress=progress, acks=acks)


def message(
    number: int = 1, text: str | None = "hello", *, bob: str = "Bob", **changes: Any
) -> dict[str, Any]:
    return rendered(view(number, text, **changes), Names(bob))


def page(
    *views: MessageView,
    bob: str = "Bob",
    has_more: bool = False,
    room: RoomId = CHAT,
    notices: tuple[Notice, ...] = (),
    gaps: tuple[Gap, ...] = (),
    coming: Coming = (0, None),
) -> dict[str, Any]:
    names = Names(bob)
    return fields.page_fields(
        room,
        views,
        names,
        shown=lambda view: rendered(view, names),
        notices=notices,
        gaps=[gap_fields(gap, names) for gap in gaps],
        coming=coming_fields(coming, names),
        cursor=7,
        has_more=has_more,
    )


def room_view(**changes: Any) -> RoomView:
    """The room `launch`: Ann owns it, Bob and Carl are in."""
    values: dict[str, Any] = {
        "id": LAUNCH,
        "kind": "room",
        "name": "launch",
        "topic": "the first of May",
        "rules": "",
        "peer": None,
        "membership": "joined",
        "members": 3,
        "role": "owner",
        "admission": "invite",
        "announce": False,
        "history": "all",
        "retention_days": 0,
        "epoch": EpochId(bytes([0xE0]) * 16),
    }
    return RoomView(**{**values, **changes})


def room(*, unread: int = 0, **changes: Any) -> dict[str, Any]:
    return fields.room_fields(room_view(**changes), Names(), unread)


def direct_room(**changes: Any) -> dict[str, Any]:
    return room(id=CHAT, kind="direct", name="", topic="", peer=BOB, members=2, **changes)


def members(bob: str = "Bob") -> dict[str, Any]:
    names = Names(bob)
    device = fields.device_fields(names, BOB_BOX, this=False, last_seen_ms=NOON, revoked=False)
    found = [(RoomMember(ANN, "owner", (ANN_BOX,)), []), (RoomMember(BOB, "member", (BOB_BOX,)), [device])]
    return {
        "room": fields.room_brief(names, LAUNCH),
        "members": [fields.member_fields(member, names, devices) for member, devices in found],
    }


def notice(
    number: int, type: str, *, by: AccountId = ANN, who: AccountId | None = None, detail: str = ""
) -> Notice:
    """Something that happened `number` minutes after noon."""
    at = NOON + number * 60_000
    box = {ANN: ANN_BOX, BOB: BOB_BOX, CARL: CARL_BOX}[by]
    return Notice(EventId(bytes([0xA0 + number]) * 32), type, at, box, who, detail)


def changed_room(change: str, *, bob: str = "Bob", **detail: AccountId) -> dict[str, Any]:
    """A `room` line of `listen`."""
    told = {"change": change, **{key: account.hex() for key, account in detail.items()}}
    return fields.room_change_fields(room(), told, Names(bob))


def peer_view(name: str = "Bob", *, connected: bool = True, trust: str = "unverified") -> PeerView:
    word = "available" if connected else "offline"
    return PeerView(BOB, BOB_BOX, name, name, CHAT, connected, "10.0.0.2:26700", trust, NOON, presence=word)


def peer(name: str = "Bob", *, connected: bool = True) -> dict[str, Any]:
    return fields.peer_fields(peer_view(name, connected=connected))


def queue_entry(preview: str = "hello") -> dict[str, Any]:
    row = QueueRow(EventId(bytes([1]) * 32), CHAT, (BOB,), "queued", NOON, preview)
    return fields.queue_fields(row, Names())


def transfer_view(
    number: int = 1,
    *,
    incoming: bool = True,
    state: str = "offered",
    have: tuple[AccountId, ...] = (),
    declined: tuple[AccountId, ...] = (),
    flags: tuple[str, ...] = (),
    **changes: Any,
) -> TransferView:
    """What Bob offers me, or I him: a report of 1.2 MB."""
    values: dict[str, Any] = {
        "id": bytes([0xF0 + number]) * 16,
        "room": CHAT,
        "event": EventId(bytes([0xE0 + number]) * 32),
        "author": BOB if incoming else ANN,
        "device": BOB_BOX if incoming else ANN_BOX,
        "incoming": incoming,
        "offer": encode(
            Offer(bytes([0xF0 + number]) * 16, 1_200_000, 0, 1, "report.pdf", "", 0, b"k" * 32, 1 << 20, 0)
        ),
        "name": "report.pdf",
        "size": 1_200_000,
        "files": 1,
        "state": state,
        "path": "" if incoming else "/home/ann/report.pdf",
        "to": "",
        "conflict": "rename",
        "root": b"",
        "error_kind": "",
        "error": "",
        "expires_ms": 0,
        "made_ms": NOON + number * 60_000,
        "told": -1,
    }
    return TransferView(TransferRow(**{**values, **changes}), state, have, declined, flags)


def transfer(
    number: int = 1, *, bob: str = "Bob", launch: str = "launch", motion: Any = None, **changes: Any
) -> dict[str, Any]:
    """The same as the daemon renders it."""
    names = Names(bob, launch)
    return fields.transfer_fields(
        transfer_view(number, **changes), names, motion=motion, inbox="/home/ann/inbox"
    )


class Motion:
    """How a transfer stands just now."""

    def __init__(self, done: int, rate: float = 0.0, *, sources: int = 1, state: str = "active") -> None:
        self.bytes_done, self.rate_bps, self.sources, self.state = done, rate, sources, state
        self.pieces_here, self.pieces = done // 1_000_000, 2


AVAILABLE = Availability("available", "available", "", None, (), False, False, False)


def presence(mine: Availability = AVAILABLE, quiet_hours: str = "") -> dict[str, Any]:
    return presence_fields.presence_fields(mine, Names(), quiet_hours)


def status(**changes: Any) -> dict[str, Any]:
    return {
        "me": {"account": ANN.hex(), "device": ANN_BOX.hex(), "name": "Ann", "fingerprint": ANN.hex()[:32]},
        "office": {"name": "", "managed": False},
        "daemon": {"pid": 4242, "version": "0.1.0", "uptime_s": 61.5, "listen": ["10.0.0.1:26700"]},
        "peers": {"connected": 1, "known": 2},
        "unread": 3,
        "queue": {"waiting": 1, "only_here": 1},
        "free_bytes": 5_000_000_000,
        "encrypted_at_rest": False,
        "presence": "available",
        "cursor": "7",
        "already_running": False,
        "warnings": [{"kind": "recovery_key", "message": "the recovery key lies here", "fix": "print it"}],
        **changes,
    }


TRUST = {
    "account": BOB.hex(),
    "name": "Bob",
    "trust": "verified",
    "fingerprint": BOB.hex()[:32],
    "safety_number": " ".join(["12345"] * 12),
    "devices": [{"device": BOB_BOX.hex(), "name": "box", "this": False, "last_seen": None, "revoked": False}],
}
