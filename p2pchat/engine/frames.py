"""Events on their way to somebody: in which order, with what they are judged by, in which frames.

Decides: how events are packed, and which others go along so that each can be judged as it comes.
Does not know: who may have them (sync), or whether they are allowed (receive).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from p2pchat.engine.context import Context
from p2pchat.ids import EventId
from p2pchat.model import StoredEvent
from p2pchat.wire.codec import decode
from p2pchat.wire.limits import MAX_PLAINTEXT, MAX_UNSIGNED_RUN
from p2pchat.wire.messages.events import LAST_CONTROL, Event, Header
from p2pchat.wire.messages.link import Events

FRAME_BYTES: Final = MAX_PLAINTEXT - 4096
FRAME_ENOUGH: Final = 24 * 1024
"""A frame this full ends with the signature of the next run: what it holds can be judged without
the next one, and within the milliseconds that others wait for it."""
FRAME_FULL: Final = 40 * 1024
"""And one of events that are signed one by one this full: no long run can follow half way."""


def in_frames(events: Iterable[StoredEvent]) -> Iterable[Events]:
    """Events packed into frames, a run and its cover in one where they fit."""
    pending: list[Event] = []
    size = unsigned = 0
    for stored in events:
        event = Event(stored.header, stored.signature, stored.body)
        cost = len(event.header) + len(event.signature) + len(event.body or b"") + 16
        if pending and size + cost > FRAME_BYTES:
            yield Events(tuple(pending))
            pending, size = [], 0
        pending.append(event)
        size += cost
        if not event.signature:
            unsigned += 1
            continue
        if size >= (FRAME_ENOUGH if unsigned else FRAME_FULL):
            yield Events(tuple(pending))
            pending, size = [], 0
        unsigned = 0
    if pending:
        yield Events(tuple(pending))


def with_covers(ctx: Context, events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """`events` in an order in which each can be judged, unsigned ones with their cover."""
    chosen = {event.id: event for event in events}
    followed = {event.prev for event in events}
    for event in sorted(events, key=lambda e: (e.device, e.seq)):
        if event.signature or event.id in followed:
            continue  # covered by itself, or by whatever covers the next
        run = ctx.ledger.events.run(event.room, event.device, event.seq + 1, event.seq + MAX_UNSIGNED_RUN, 64)
        for later in run:
            if later.id in chosen and later.signature:
                break
            chosen.setdefault(later.id, later)
            if later.signature:
                break
    return sorted(chosen.values(), key=lambda e: (e.kind > 31, e.device, e.seq, e.id))


def behind_what_they_name(events: Iterable[StoredEvent]) -> list[StoredEvent]:
    """`events` in an order of which every beginning can be judged: acts behind those they link to, and
    content behind all acts; a run stays together with its cover."""
    runs: list[list[StoredEvent]] = []
    for event in sorted(events, key=lambda e: (e.kind > LAST_CONTROL, e.device, e.seq, e.id)):
        last = runs[-1][-1] if runs else None
        if last is not None and not last.signature and event.prev == last.id:
            runs[-1].append(event)
        else:
            runs.append([event])
    where = {event.id: at for at, run in enumerate(runs) for event in run}
    found: list[StoredEvent] = []
    done: set[int] = set()
    for start, first in enumerate(runs):
        if first[0].kind > LAST_CONTROL:
            found += first
            continue
        ahead = [(start, False)]
        while ahead:
            at, ready = ahead.pop()
            if ready:
                found += runs[at]
            elif at not in done:
                done.add(at)
                ahead.append((at, True))
                named = (one for event in runs[at] for one in decode(Header, event.header).auth)
                ahead += [(where[EventId(one)], False) for one in named if one in where]
    return found
