"""One `listen`: the durable feed from a cursor on, and what is told and not kept.

Decides: the order of lines, what a subscriber sees of each row now, and when a cursor is
too old. Does not know: sockets, or how the feed is written.

Nobody is pushed anything: this reads the feed from its own cursor whenever it is asked
for the next line. What is not kept (peers, warnings) waits in a short queue, and a
subscriber so slow that it overflows is told so once. How far files have come is looked
at when bytes move, and told where it differs: who is slow misses steps, not the end.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol, TypeVar

import trio

from p2pchat.control.operations import fields, missing_fields, presence_fields
from p2pchat.control.operations.fields import Json
from p2pchat.daemon.looks import Looks
from p2pchat.daemon.moving import Bulk
from p2pchat.daemon.shown import Acked, Shown, Transfers, acked
from p2pchat.engine.inputs import Tell
from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
from p2pchat.model import ACTIVE, HELD, FeedRow, MessageView, TransferView
from p2pchat.store.reader import Reader

T = TypeVar("T")

BATCH: Final = 200
"""Rows read from the feed at once: some 10 ms of SQLite at most."""

MAX_TOLD: Final = 1000
"""What is not kept waits in a queue of at most this many per subscriber."""

STOPPED_S: Final = 0.5
"""How long nothing may move before it is told: at its end the archive says so in a moment."""

MESSAGES: Final = frozenset({"message", "edit", "delete", "reaction", "pin"})
"""Types whose object is a message."""


class Source(Protocol):
    """Where lines come from."""

    @property
    def looks(self) -> Looks: ...
    @property
    def bulk(self) -> Bulk | None:
        """Who moves files; None where nobody does."""

    @property
    def inbox(self) -> str:
        """Absolute path of the folder where received files land if no other was named."""

    @property
    def feed_changed(self) -> trio.Event:
        """Set when rows were added; then another takes its place."""

    @property
    def tells(self) -> dict[object, Callable[[Tell], None]]:
        """Who hears what is not kept."""

    async def read(self, question: Callable[[Reader], T]) -> T:
        """Ask the archive, in a thread."""


class Listening:
    """A subscription: what is wanted of it, and how far it has come."""

    def __init__(
        self,
        source: Source,
        *,
        rooms: Sequence[RoomId],
        accounts: Sequence[AccountId],
        types: Sequence[str],
        mentions: bool,
    ) -> None:
        """`rooms` and `accounts` are those of the targets, empty for all; `types` empty for all."""
        self._source = source
        self._rooms = frozenset(rooms)
        self._accounts = frozenset(accounts)
        self._types = frozenset(types)
        self._mentions = mentions
        self._told: deque[Tell] = deque()
        self._overflow = False
        self._wake = trio.Event()
        self._cursor = 0
        self._on_the_way: dict[bytes, TransferView] = {}
        self._told_of: dict[bytes, tuple[Any, ...]] = {}  # how these stood when it was last told
        self._stopped: dict[bytes, float] = {}  # since when nothing moves of what was told to

    async def lines(self, since: int | None) -> AsyncIterator[Json]:
        """`ready` first, then everything after the cursor, for ever.

        Hearing starts before the cursor is read, so nothing falls between the two.
        """
        self._source.tells[self] = self._hear
        try:
            warning = await self._begin(since)
            if self._files:
                self._follow(await self._source.read(lambda reader: reader.transfers()))
                render = self._render()
                self._told_of = {ident: _stands(render.one(v)) for ident, v in self._on_the_way.items()}
            yield fields.line_fields(self._cursor, "ready")
            if warning:
                yield fields.line_fields(self._cursor, "warning", fields.warning_fields("cursor", warning))
            while True:
                changed = self._source.feed_changed
                rows = await self._source.read(lambda reader: reader.feed(self._cursor, BATCH))
                for line in await self._durable(rows):
                    yield line
                bulk = self._source.bulk
                moved = [bulk.changed] if bulk is not None and self._files else []
                for line in (*self._fleeting(), *self._progress()):
                    yield line
                if len(rows) < BATCH:
                    await self._rest(changed, *(moved if self._on_the_way else []))
        finally:
            del self._source.tells[self]

    async def _begin(self, since: int | None) -> str:
        """Set the cursor; a sentence if what was asked for is not all here."""
        newest, oldest = await self._source.read(lambda r: (r.last_cursor(), r.oldest_cursor()))
        if since is None:
            self._cursor = newest
        elif since > newest:
            self._cursor = newest
            return f"cursor {since} is ahead of this archive: going on from now, {newest}"
        else:
            self._cursor = max(since, oldest - 1)
            if 0 < since < oldest - 1:
                return f"cursor {since} is older than what is kept: going on from {oldest}; see history"
        return ""

    async def _rest(self, *changed: trio.Event) -> None:
        """Until the feed grew, something was told, or bytes of a file moved."""
        if self._told or self._overflow:
            return
        self._wake = trio.Event()
        with trio.move_on_after(STOPPED_S if self._stopped else math.inf):
            await self._first(*changed)

    async def _first(self, *changed: trio.Event) -> None:
        async with trio.open_nursery() as nursery:
            for event in (*changed, self._wake):
                nursery.start_soon(_then, event.wait, nursery.cancel_scope.cancel)

    def _hear(self, tell: Tell) -> None:
        if len(self._told) >= MAX_TOLD:
            self._overflow = True
            self._told.clear()
        self._told.append(tell)
        self._wake.set()

    # -- lines ---------------------------------------------------------------------------

    async def _durable(self, rows: Sequence[FeedRow]) -> list[Json]:
        """Rows joined with what messages look like now. The cursor moves past them."""
        if not rows:
            return []
        of_messages = [r for r in rows if r.type not in ("room", "file") and self._takes(r.type)]
        wanted = list(dict.fromkeys(EventId(row.ref) for row in of_messages))
        changes = any(row.type == "room" and self._takes("room") for row in rows)
        offers = list(dict.fromkeys(row.ref for row in rows if row.type == "file" and self._files))

        def ask(
            reader: Reader,
        ) -> tuple[list[MessageView], Acked, dict[RoomId, int], list[TransferView | None]]:
            views = reader.messages(wanted)
            unread = reader.unread_counts() if changes else {}
            return views, acked(reader, views), unread, [reader.transfer(one) for one in offers]

        views, noted, unread, kept = await self._source.read(ask)
        looks = self._source.looks
        transfers = {one.row.id: one for one in kept if one is not None}
        self._follow(transfers.values())
        render = self._render() if transfers else None
        directory = looks.directory()
        shown = Shown(looks, directory, noted)
        messages = {view.id: view for view in views}
        rooms = {view.id: view for view in looks.room_views(True, None)} if changes else {}
        found = []
        for row in rows:
            self._cursor = row.cursor
            if not self._takes(row.type):
                continue
            detail = dict(row.detail)
            if row.type == "room":
                changed = rooms.get(RoomId(row.ref))
                if changed is not None and not self._mentions and self._wants(changed.id):
                    now = fields.room_fields(changed, directory, unread.get(changed.id, 0))
                    found.append(fields.feed_fields(row, fields.room_change_fields(now, detail, directory)))
                continue
            if row.type == "file":
                transfer = transfers.get(row.ref)
                if transfer is not None and render is not None and self._wants(transfer.row.room):
                    now = render.one(transfer)
                    found.append(fields.feed_fields(row, now))
                    if row.ref in self._on_the_way:
                        self._told_of[row.ref] = _stands(now)
                continue
            view = messages.get(EventId(row.ref))
            if view is None or not self._concerns(row.type, view):
                continue
            if row.type in MESSAGES:
                found.append(fields.feed_fields(row, {**shown.message(view), **detail}))
            elif row.type == "ack":
                acks = looks.acks(view, noted.get(view.id, ()))
                if acks is not None:
                    by = AccountId(bytes.fromhex(detail["person"]))
                    found.append(fields.feed_fields(row, fields.noted_fields(view, acks, directory, by)))
            elif row.type == "receipt" and "state" in detail:  # notes were told so once, without a state
                person = AccountId(bytes.fromhex(detail["person"])) if "person" in detail else None
                held = detail["state"] == HELD and "device" in detail
                machine = DeviceId(bytes.fromhex(detail["device"])) if held else None  # which one holds it
                receipt = fields.receipt_fields(
                    view.room, view.id, detail["state"], directory, person, machine
                )
                found.append(fields.feed_fields(row, receipt))
        return found

    # -- files ---------------------------------------------------------------------------

    @property
    def _files(self) -> bool:
        """Whether transfers are told at all."""
        return self._takes("file") and not self._mentions

    def _render(self) -> Transfers:
        return Transfers(self._source.looks, self._source.bulk, self._source.inbox)

    def _follow(self, views: Iterable[TransferView]) -> None:
        """Look after those of which something may move, and after no others."""
        for view in views:
            if view.state == ACTIVE and self._wants(view.row.room):
                self._on_the_way[view.row.id] = view
            else:
                for kept in (self._on_the_way, self._told_of, self._stopped):
                    kept.pop(view.row.id, None)

    def _progress(self) -> Iterator[Json]:
        """What has moved since it was last told; it bears the last durable cursor."""
        if not self._on_the_way:
            return
        at, render, bulk = trio.current_time(), self._render(), self._source.bulk
        for ident, view in self._on_the_way.items():
            now = render.one(view)
            if _stands(now) == self._told_of.get(ident):
                self._stopped.pop(ident, None)
            elif (bulk and bulk.moving(ident)) or at - self._stopped.setdefault(ident, at) >= STOPPED_S:
                self._stopped.pop(ident, None)
                self._told_of[ident] = _stands(now)
                yield fields.line_fields(self._cursor, "file", now)

    # -- what is wanted ------------------------------------------------------------------

    def _wants(self, room: RoomId) -> bool:
        return not self._rooms or room in self._rooms

    def _takes(self, type: str) -> bool:
        return not self._types or type in self._types

    def _concerns(self, type: str, view: MessageView) -> bool:
        if not self._wants(view.room):
            return False
        return not self._mentions or (type in MESSAGES and view.mentions_me)

    def _fleeting(self) -> Iterator[Json]:
        """What was told meanwhile; it bears the last durable cursor."""
        if self._overflow:
            self._overflow = False
            lost = fields.warning_fields("overflow", "some changes of peers were not told: `p2pchat peers`")
            yield fields.line_fields(self._cursor, "warning", lost)
        told, self._told = self._told, deque()
        for tell in told:
            if not self._takes(tell.type) or (self._mentions and tell.type != "warning"):
                continue
            for subject in self._subjects(tell):
                yield fields.line_fields(self._cursor, tell.type, subject)

    def _subjects(self, tell: Tell) -> list[Json]:
        if tell.type == "warning" and isinstance(tell.subject, tuple):
            kind, text = tell.subject
            return [fields.warning_fields(str(kind), str(text))]
        # Targets are rooms by their id; only those that are people say anything of peers.
        if tell.type == "typing" and isinstance(tell.subject, tuple):
            room, account, on = tell.subject
            directory = self._source.looks.directory()
            return (
                [presence_fields.typing_fields(directory, room, account, on=on)] if self._wants(room) else []
            )
        if tell.type == "history" and isinstance(tell.subject, tuple):
            of, count, giver = tell.subject
            names = self._source.looks.directory()
            return [missing_fields.backfill_fields(of, (count, giver), names)] if self._wants(of) else []
        if tell.type in ("peer", "presence") and (not self._rooms or tell.subject in self._accounts):
            peers = self._source.looks.peer_views()
            return [fields.peer_fields(peer) for peer in peers if peer.account == tell.subject]
        return []


def _stands(transfer: Json) -> tuple[Any, ...]:
    """What of a transfer is told again when it changes while it moves."""
    return tuple(transfer[key] for key in ("state", "bytes_done", "rate_bps", "sources"))


async def _then(wait: Callable[[], Any], act: Callable[[], None]) -> None:
    await wait()
    act()
