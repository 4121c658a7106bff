"""Events and messages made up for the archive's tests, and for its figures.

Decides: what a plausible row looks like. Ids follow from a counter, so the same calls give
the same rows. Does not know: signatures; the store never looks at one.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from p2pchat.ids import NO_EPOCH, ZERO_ID, AccountId, DeviceId, EpochId, EventId, RoomId
from p2pchat.model import QUEUED, RECEIVED, MessageView, StoredEvent
from p2pchat.store.ledger import Ledger
from p2pchat.wire.messages.events import MESSAGE, is_control

START_MS = 1_790_000_000_000
EPOCH = EpochId(bytes(range(16)))


def made(*parts: object) -> bytes:
    """32 bytes that follow from `parts`."""
    return blake2b(repr(parts).encode(), digest_size=32).digest()


ME = AccountId(made("account", "me"))
MY_DEVICE = DeviceId(made("device", "me"))
BOB = AccountId(made("account", "bob"))
BOBS_DEVICE = DeviceId(made("device", "bob"))
ROOM = RoomId(made("room", 1))
OTHER_ROOM = RoomId(made("room", 2))


class Samples:
    """Makes rows one second apart, in chains without holes unless asked."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self.now_ms = start_ms
        self._count = 0
        self._seq: dict[tuple[bytes, bytes], int] = {}

    def event(
        self,
        *,
        room: RoomId = ROOM,
        device: DeviceId = BOBS_DEVICE,
        seq: int | None = None,
        kind: int = MESSAGE,
        hlc: int | None = None,
        **changes: Any,
    ) -> StoredEvent:
        """The next event of a chain, or the one at `seq`."""
        self._count += 1
        self.now_ms += 1000
        if seq is None:
            seq = self._seq.get((room, device), 0) + 1
        self._seq[room, device] = max(seq, self._seq.get((room, device), 0))
        identity = EventId(made("event", room, device, seq, self._count))
        event = StoredEvent(
            id=identity,
            header=made("header", identity) * 7,
            signature=made("signature", identity) * 2,
            body=made("body", identity) * 3,
            room=room,
            device=device,
            seq=seq,
            prev=EventId(ZERO_ID) if seq == 1 else EventId(made("prev", identity)),
            hlc=self.now_ms << 16 if hlc is None else hlc,
            kind=kind,
            epoch=NO_EPOCH if is_control(kind) else EPOCH,
            received_ms=self.now_ms,
        )
        return event._replace(**changes)

    def message(
        self,
        *,
        text: str | None = "hello",
        mine: bool = False,
        room: RoomId = ROOM,
        seq: int | None = None,
        hlc: int | None = None,
        **changes: Any,
    ) -> tuple[StoredEvent, MessageView]:
        """A message and its event; `changes` are fields of the view."""
        device = MY_DEVICE if mine else BOBS_DEVICE
        event = self.event(room=room, device=device, seq=seq, hlc=hlc)
        view = MessageView(
            id=event.id,
            room=room,
            account=ME if mine else BOB,
            device=device,
            seq=event.seq,
            hlc=event.hlc,
            written_ms=event.hlc >> 16,
            received_ms=event.received_ms,
            text=text,
            reply_to=None,
            thread=None,
            urgent=False,
            edited=False,
            deleted=False,
            pinned=False,
            hidden=False,
            mine=mine,
            mentions=(),
            mentions_me=False,
            reactions=(),
            state=QUEUED if mine else RECEIVED,
        )
        return event, view._replace(**changes)

    def put(self, ledger: Ledger, **fields: Any) -> MessageView:
        """Write one message with its event and item, in the open transaction."""
        event, view = self.message(**fields)
        ledger.events.add(event)
        ledger.items.add(event.room, False, [(event.hlc >> 16, event.id)])
        ledger.views.put_message(view)
        return view
