"""A hand that writes events with the keys of a person, whatever his own machine would do.

Decides: headers, links, stamps and signatures of one chain as a test wants them. Does not know:
any test, or what becomes of them.
"""

from __future__ import annotations

from p2pchat.crypto.epochs import seal_body
from p2pchat.crypto.primitives import ed25519_sign
from p2pchat.engine import inputs as happened
from p2pchat.engine import log, rooms
from p2pchat.ids import NO_EPOCH, ZERO_ID, EventId, RoomId
from p2pchat.model import EpochRow
from p2pchat.wire.codec import Record, encode
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages.events import Event, Header
from p2pchat.wire.messages.link import Events
from tests.engine.play import Actor


class Hand:
    """The further chain of `actor` in one room, from where his machine left it."""

    def __init__(self, actor: Actor, room: RoomId) -> None:
        self.actor, self.room = actor, room
        cached = rooms.room(actor.look(), room)
        head = cached.heads.get(actor.device)
        self.seq, self.prev = (head.seq, head.id) if head else (0, EventId(ZERO_ID))
        self.auth = cached.graph.heads
        self.key: EpochRow | None = max(
            (row for row in cached.epochs.values() if row.key is not None),
            key=lambda row: row.gen,
            default=None,
        )

    def twin(self) -> Hand:
        """The same chain once more: what both write from here on is a fork."""
        other = Hand(self.actor, self.room)
        other.seq, other.prev, other.auth, other.key = self.seq, self.prev, self.auth, self.key
        return other

    def write(
        self,
        kind: int,
        body: Record | bytes,
        *,
        auth: tuple[EventId, ...] | None = None,
        hlc_ms: int | None = None,
        goes_on: bool = True,
    ) -> Event:
        """The next event of the chain. An act is linked to by the next one unless not `goes_on`."""
        me = self.actor.me
        plain = body if isinstance(body, bytes) else encode(body)
        sealed = not ev.is_control(kind) and self.key is not None
        size = len(plain) + (log.SEAL_OVERHEAD if sealed else 0)
        clock = log.stamp(self.actor.now().wall_ms if hlc_ms is None else hlc_ms) + self.seq % 65_536
        links = self.auth if auth is None else auth
        epoch = self.key.epoch if sealed and self.key is not None else NO_EPOCH

        def header(digest: bytes) -> Header:
            return Header(
                1, self.room, me.device, self.seq + 1, self.prev, (), links, clock, kind, epoch, digest, size
            )

        stored = plain
        if sealed and self.key is not None and self.key.key is not None:
            blank = encode(header(ZERO_ID))
            stored = seal_body(
                self.key.key, self.room, me.device, self.seq + 1, blank, plain, (self.seq + 1).to_bytes(24)
            )
        raw = encode(header(log.body_hash(stored)))
        signature = ed25519_sign(me.signing_key, ev.SIGNED + raw)
        self.seq, self.prev = self.seq + 1, log.event_id(raw, signature)
        if ev.is_control(kind) and goes_on:
            self.auth = (self.prev,)
        return Event(raw, signature, stored)

    def give(self, to: Actor, *written: Event, by: Actor | None = None) -> None:
        """Hand these over, `by` somebody else if not by the author, in frames of at most 60,000 bytes."""
        stage, hands = self.actor.stage, by or self.actor
        number = next(n for n, (end, far, _) in stage.links.items() if (end, far) == (to, hands))
        frame: list[Event] = []
        for event in (*written, None):
            if event is None or sum(map(log.size, [*frame, event])) > 60_000 or len(frame) == 256:
                if frame:
                    to.feed(happened.FromPeer(number, Events(tuple(frame))))
                frame = []
            if event is not None:
                frame.append(event)
        stage.settle()
