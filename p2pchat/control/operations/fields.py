"""Shared records as the JSON objects of the command-line contract.

Decides: which field holds what, and how times and ids are written. Does not know: where
a record comes from, how the object travels, or how a person sees it.

Pure functions. Fields of capabilities that are not built yet are present and empty, so
that a script written today keeps working.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from p2pchat import model
from p2pchat.ids import AccountId, DeviceId, RoomId, fingerprint, show
from p2pchat.model import (
    Acks,
    DeviceReceipt,
    FeedRow,
    MessageView,
    Notice,
    PeerView,
    Progress,
    QueueRow,
    RoomMember,
    RoomRow,
    RoomView,
    TransferView,
)

Json = dict[str, Any]
"""An object that `json.dumps` takes as it is."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last instant RFC 3339 can write


class Names(Protocol):
    """What people and rooms are called here; never raises, whatever the id."""

    def person(self, account: AccountId) -> str:
        """The shown name, with `~3f2a` where it is shared; the short tag if unknown."""

    def owner(self, device: DeviceId) -> AccountId | None:
        """The account of a machine."""

    def device_name(self, device: DeviceId) -> str:
        """What its owner calls the machine, or ""."""

    def room(self, room: RoomId) -> RoomRow | None: ...


def time(ms: int | None) -> str | None:
    """RFC 3339 in UTC with milliseconds; values outside the calendar are clamped to it."""
    if ms is None:
        return None
    moment = _EPOCH + timedelta(milliseconds=min(max(ms, 0), _LAST_MS))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def person_fields(names: Names, account: AccountId, device: DeviceId | None = None) -> Json:
    """A person in a list: `{"account","device","name"}`."""
    return {
        "account": show(account),
        "device": None if device is None else show(device),
        "name": names.person(account),
    }


def people_fields(names: Names, accounts: Iterable[AccountId]) -> list[Json]:
    """People in a list."""
    return [person_fields(names, account) for account in accounts]


def machine_fields(names: Names, device: DeviceId) -> Json:
    """The person behind a machine, in a list; account null if nobody here knows it."""
    account = names.owner(device)
    if account is None:
        return {"account": None, "device": show(device), "name": show(device)[:8]}
    return person_fields(names, account, device)


def holder_fields(names: Names, device: DeviceId) -> Json:
    """A machine that keeps something: `{"account","device","name","machine"}`; `machine` is what I call it,
    "" of a machine that is not mine."""
    return {**machine_fields(names, device), "machine": names.device_name(device)}


def room_brief(names: Names, room: RoomId) -> Json:
    """A room in `history` and `read`: `{"id","name","kind"}`."""
    row = names.room(room)
    return {"id": show(room), "name": _room_name(names, row), "kind": row.kind if row else model.DIRECT}


def _room_name(names: Names, row: RoomRow | None) -> str:
    if row is None:
        return ""
    return names.person(row.peer) if row.peer is not None else row.name


def message_fields(
    view: MessageView,
    names: Names,
    *,
    progress: Progress | None = None,
    acks: Acks | None = None,
    held_by: Sequence[DeviceId] = (),
) -> Json:
    """A message with every field of the contract; a deleted one has `text` null.

    `progress` is of own messages; `acks` of those that ask everybody to take note.
    """
    row = names.room(view.room)
    shown_flags = [word for word, on in (("urgent", view.urgent), ("pinned", view.pinned)) if on]
    return {
        "id": show(view.id),
        "room": show(view.room),
        "room_name": _room_name(names, row),
        "kind": row.kind if row else model.DIRECT,
        "author": show(view.account),
        "author_name": names.person(view.account),
        "device": show(view.device),
        "seq": view.seq,
        "written_at": time(view.written_ms),
        "received_at": time(view.received_ms),
        "text": None if view.deleted else view.text,
        "reply_to": None if view.reply_to is None else show(view.reply_to),
        "thread": None if view.thread is None else show(view.thread),
        "edited": view.edited,
        "deleted": view.deleted,
        "pinned": view.pinned,
        "urgent": view.urgent,
        "mine": view.mine,
        "mentions_me": view.mentions_me,
        "reactions": [
            {"emoji": emoji, "by": people_fields(names, accounts)} for emoji, accounts in view.reactions
        ],
        "mentions": people_fields(names, view.mentions),
        "files": [{"id": show(one.id), "name": one.name, "size": one.size} for one in view.files],
        "ack": None if acks is None else ack_fields(acks, names),
        "state": view.state,
        "progress": None if progress is None else progress_fields(progress),
        "delivered_to": people_fields(names, progress.delivered if progress else ()),
        "read_by": people_fields(names, progress.read if progress else ()),
        "held_by": [holder_fields(names, device) for device in held_by],
        "flags": [*view.flags, *(word for word in shown_flags if word not in view.flags)],
    }


def progress_fields(progress: Progress) -> Json:
    """How far an own message has come, counted in people."""
    return {"delivered": len(progress.delivered), "read": len(progress.read), "of": progress.of}


def ack_fields(acks: Acks, names: Names) -> Json:
    """Who has taken note: `{"by_time","acked","missing"}`; no time was set: `by_time` null."""
    return {
        "by_time": time(acks.by_ms or None),
        "acked": people_fields(names, acks.acked),
        "missing": people_fields(names, acks.missing),
    }


def noted_fields(view: MessageView, acks: Acks, names: Names, account: AccountId) -> Json:
    """An `ack` in `listen`: who has taken note now, and how it stands with all."""
    (person,) = people_fields(names, (account,))
    return {"id": show(view.id), "room": show(view.room), "person": person, **ack_fields(acks, names)}


def device_receipt_fields(receipt: DeviceReceipt, names: Names) -> Json:
    """An entry of `receipts`: how far a message has come on one machine."""
    return {**machine_fields(names, receipt.device), "state": receipt.state}


def page_fields(
    room: RoomId,
    messages: Iterable[MessageView],
    names: Names,
    *,
    shown: Callable[[MessageView], Json] | None = None,
    notices: Iterable[Notice] = (),
    gaps: Iterable[Json] = (),
    coming: Json | None = None,
    has_more: bool = False,
    cursor: int = 0,
) -> Json:
    """The answer of `history` and `read`; `shown` renders a message with how far it has come."""
    render = shown or (lambda view: message_fields(view, names))
    return {
        "room": room_brief(names, room),
        "messages": [render(view) for view in messages],
        "notices": [notice_fields(notice, names) for notice in notices],
        "gaps": list(gaps),
        "coming": {"count": 0, "from": []} if coming is None else coming,
        "has_more": has_more,
        "cursor": str(cursor),
    }


def notice_fields(notice: Notice, names: Names) -> Json:
    """Something that happened to a room: `{"id","type","at","by","who","detail","before","act"}`."""
    return {
        "id": show(notice.id),
        "type": notice.type,
        "at": time(notice.at_ms),
        "by": machine_fields(names, notice.device),
        "who": None if notice.who is None else person_fields(names, notice.who),
        "detail": notice.detail,
        "before": notice.before,
        "act": notice.act,
    }


# -- rooms -------------------------------------------------------------------------------


def room_fields(view: RoomView, names: Names, unread: int) -> Json:
    """An entry of `room list`. What belongs to the room alone is null or empty in a direct chat."""
    muted = view.muted_until_ms is not None or view.mentions_only
    return {
        "id": show(view.id),
        "name": names.person(view.peer) if view.peer is not None else view.name,
        "topic": view.topic,
        "rules": view.rules,
        "kind": view.kind,
        "peer": None if view.peer is None else person_fields(names, view.peer),
        "membership": view.membership,
        "members": view.members,
        "unread": unread,
        "role": view.role or None,
        "admission": view.admission,
        "announce": view.announce,
        "history": view.history,
        "retention": view.retention_days,
        "epoch": None if view.epoch is None else show(view.epoch),
        "mute": {"until": _until(view.muted_until_ms), "mentions_only": view.mentions_only}
        if muted
        else None,
    }


def _until(ms: int | None) -> str | None:
    return None if ms is None or ms < 0 else time(ms)


def member_fields(member: RoomMember, names: Names, devices: Iterable[Json]) -> Json:
    """An entry of `room members`: `{"account","name","role","devices"}`."""
    return {
        "account": show(member.account),
        "name": names.person(member.account),
        "role": member.role,
        "devices": list(devices),
    }


def device_fields(
    names: Names, device: DeviceId, *, this: bool, last_seen_ms: int | None, revoked: bool
) -> Json:
    """A machine: `{"device","name","this","last_seen","revoked"}`."""
    return {
        "device": show(device),
        "name": names.device_name(device),
        "this": this,
        "last_seen": time(last_seen_ms),
        "revoked": revoked,
    }


def room_change_fields(room: Json, detail: Mapping[str, str], names: Names) -> Json:
    """A room in `listen`: the room as it is now, what happened to it, by whom and to whom."""

    def person(key: str) -> Json | None:
        given = detail.get(key)
        return person_fields(names, AccountId(bytes.fromhex(given))) if given else None

    return {
        **room,
        "change": detail.get("change", ""),
        "by": person("by"),
        "who": person("who"),
        "detail": detail.get("detail", ""),
        "before": detail.get("before", ""),
        "act": detail.get("act", ""),
    }


def request_fields(room: RoomId, notice: Notice, names: Names) -> Json:
    """An entry of `inbox.requests`: somebody who is not verified has added me to a room."""
    return {
        "kind": model.ROOM,
        "room": show(room),
        "name": _room_name(names, names.room(room)),
        "by": machine_fields(names, notice.device),
        "at": time(notice.at_ms),
    }


def awaited_fields(view: MessageView, names: Names, preview: str) -> Json:
    """An entry of `inbox.acks`: a message of which I am asked to take note."""
    return {
        "id": show(view.id),
        "room": show(view.room),
        "name": _room_name(names, names.room(view.room)),
        "author": person_fields(names, view.account),
        "by_time": time(view.ack_by_ms or None),
        "preview": preview,
    }


# -- files -------------------------------------------------------------------------------


class Motion(Protocol):
    """How a transfer stands just now (daemon/moving.Moving)."""

    @property
    def bytes_done(self) -> int: ...
    @property
    def rate_bps(self) -> float: ...
    @property
    def sources(self) -> int: ...
    @property
    def pieces_here(self) -> int: ...
    @property
    def pieces(self) -> int: ...
    @property
    def state(self) -> str: ...


def transfer_fields(
    view: TransferView, names: Names, *, motion: Motion | None, inbox: str, have: bool = True
) -> Json:
    """An entry of `file list`. `motion` None: nothing of it moves; `inbox` is where files land by default.

    What is wanted counts as `active` only while something of it moves, else as `waiting`.
    """
    row = view.row
    room = names.room(row.room)
    done = view.state == model.DONE
    still = view.state == model.ACTIVE and (motion is None or motion.state != model.ACTIVE)
    other = person_fields(names, row.author, row.device) if row.incoming else None
    if not row.incoming and room is not None and room.peer is not None:
        other = person_fields(names, room.peer)
    return {
        "id": show(row.id),
        "name": row.name,
        "size": row.size,
        "files": row.files,
        "direction": "in" if row.incoming else "out",
        "peer": other,
        "room": show(row.room),
        "room_name": _room_name(names, room),
        "kind": room.kind if room else model.DIRECT,
        "message": show(row.event),
        "state": model.WAITING if still else view.state,
        "bytes_done": row.size if done else motion.bytes_done if motion else 0,
        "rate_bps": round(motion.rate_bps) if motion and not done else 0,
        "pieces": motion.pieces if motion else None,
        "pieces_here": motion.pieces_here if motion else None,
        "path": (row.path or None) if done else None,
        "folder": (row.to or inbox) if row.incoming else None,
        "sources": motion.sources if motion else 0,
        "have": people_fields(names, view.have) if have else [],
        "declined": people_fields(names, view.declined),
        "flags": list(view.flags),
        "error": {"kind": row.error_kind, "message": row.error} if row.error or row.error_kind else None,
        "offered_at": time(row.made_ms),
        "expires": time(row.expires_ms or None),
    }


# -- people, the queue, the stream ---------------------------------------------------------


def peer_fields(peer: PeerView) -> Json:
    """An entry of `peers`; of somebody who is hidden from us as if he were not here."""
    return {
        "account": show(peer.account),
        "device": show(peer.device),
        "name": peer.shown_name,
        "fingerprint": fingerprint(peer.account),
        "room": show(peer.room),
        "connected": peer.connected,
        "address": peer.address if peer.connected else None,
        "presence": peer.presence,
        "status_message": peer.status_message,
        "trust": peer.trust,
        "last_seen": time(peer.last_seen_ms),
    }


def queue_fields(row: QueueRow, names: Names) -> Json:
    """An entry of `queue list`. `id` of a draft is `draft-…`, given as bytes of that text."""
    return {
        "id": reference(row.id),
        "room": show(row.room),
        "to": people_fields(names, row.to),
        "held_by": [holder_fields(names, device) for device in row.held_by],
        "state": row.state,
        "at": time(row.at_ms),
        "since": time(row.since_ms),
        "attempts": row.attempts,
        "preview": row.preview,
    }


def reference(identifier: bytes | str) -> str:
    """An id as hex; a draft's (text, or bytes of that text) as it is."""
    if isinstance(identifier, str):
        return identifier
    if identifier.startswith(b"draft-"):
        return identifier.decode("ascii", "replace")
    return show(identifier)


def receipt_fields(
    room: RoomId,
    message: bytes,
    state: str,
    names: Names,
    account: AccountId | None,
    device: DeviceId | None = None,
) -> Json:
    """A receipt in `listen`: who moved this message to which state, or holds it; `person` null for
    ourselves."""
    person = None if account is None else person_fields(names, account, device)
    if person is not None and device is not None:
        person["machine"] = names.device_name(device)
    return {"id": reference(message), "room": show(room), "state": state, "person": person}


def line_fields(cursor: int, type: str, subject: Json | None = None) -> Json:
    """One line of `listen`: `{"cursor","type",T:{…}}`; `ready` has no object."""
    line: Json = {"cursor": str(cursor), "type": type}
    if subject is not None:
        line[type] = subject
    return line


def feed_fields(row: FeedRow, subject: Json) -> Json:
    """A durable line of `listen`."""
    return line_fields(row.cursor, row.type, subject)


def warning_fields(kind: str, message: str) -> Json:
    """The object of a `warning` line."""
    return {"kind": kind, "message": message}


def unread_fields(room: RoomId, count: int, mentions: int, names: Names) -> Json:
    """An entry of `inbox`: `{"room","name","count","mentions"}`."""
    return {
        "room": show(room),
        "name": _room_name(names, names.room(room)),
        "count": count,
        "mentions": mentions,
    }


def inbox_fields(
    unread: Sequence[Json], requests: Sequence[Json], files: Sequence[Json], acks: Sequence[Json]
) -> Json:
    """The answer of `inbox`."""
    return {"unread": list(unread), "requests": list(requests), "files": list(files), "acks": list(acks)}


def result_fields(message: Json, snippet: str) -> Json:
    """A result of `search`: a message and its `snippet`."""
    return {**message, "snippet": snippet}
