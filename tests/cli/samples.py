"""Answers of a daemon, with every field of the contract, made by the real rendering functions."""

from __future__ import annotations

from typing import Any

from p2pchat.control.operations import fields
from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
from p2pchat.model import MessageView, PeerView, QueueRow, RoomRow

ANN = AccountId(bytes([0xA1]) * 32)
BOB = AccountId(bytes([0xB0]) * 32)
ANN_BOX = DeviceId(bytes([0xA2]) * 32)
BOB_BOX = DeviceId(bytes([0xB2]) * 32)
CHAT = RoomId(bytes([0xC0]) * 32)
NOON = 1_795_435_200_000  # 2026-11-23T12:00:00Z


class Names:
    """Ann is me, Bob is the other."""

    def __init__(self, bob: str = "Bob") -> None:
        self._names = {ANN: "Ann", BOB: bob}

    def person(self, account: AccountId) -> str:
        return self._names.get(account, "~" + account.hex()[:4])

    def owner(self, device: DeviceId) -> AccountId | None:
        return {ANN_BOX: ANN, BOB_BOX: BOB}.get(device)

    def device_name(self, device: DeviceId) -> str:
        return ""

    def room(self, room: RoomId) -> RoomRow | None:
        return RoomRow(room, "direct", "", BOB) if room == CHAT else None


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


def message(
    number: int = 1, text: str | None = "hello", *, bob: str = "Bob", **changes: Any
) -> dict[str, Any]:
    return fields.message_fields(view(number, text, **changes), Names(bob))


def page(*views: MessageView, bob: str = "Bob", has_more: bool = False) -> dict[str, Any]:
    return fields.page_fields(CHAT, views, Names(bob), cursor=7, has_more=has_more)


def peer(name: str = "Bob", *, connected: bool = True) -> dict[str, Any]:
    return fields.peer_fields(
        PeerView(BOB, BOB_BOX, name, name, CHAT, connected, "10.0.0.2:26700", "unverified", NOON)
    )


def queue_entry(preview: str = "hello") -> dict[str, Any]:
    row = QueueRow(EventId(bytes([1]) * 32), CHAT, (BOB,), "queued", NOON, preview)
    return fields.queue_fields(row, Names())


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
