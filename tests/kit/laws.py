"""What must hold, whatever happened: the laws of both simulators.

Decides: which facts are promises (docs/protocol.md, "What is promised") and how they are
looked up in archives. Does not know: who caused what, or how machines are run.

`Book` keeps what people wished for and what they were answered; `check` holds it against
the archives once everything has healed. While time runs, `speaks` is asked about every
frame that leaves a machine. A law that does not hold raises `Broken`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from p2pchat.engine import ranges, rooms
from p2pchat.engine.context import Context
from p2pchat.engine.items import VectorItems
from p2pchat.engine.log import event_id
from p2pchat.engine.node import Node, rebuild_views
from p2pchat.engine.ports import Ranges
from p2pchat.engine.reconcile import Reconciler
from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
from p2pchat.model import CANCELLED, DELIVERED, DIRECT, READ, MessageView, Now, StoredEvent
from p2pchat.store.ledger import Ledger
from p2pchat.wire.codec import Record, decode
from p2pchat.wire.limits import MAX_RECONCILE_FRAME
from p2pchat.wire.messages import holders
from p2pchat.wire.messages import link as wire
from p2pchat.wire.messages.events import BODIES, CREATE, LAST_CONTROL, SETTINGS, Header
from p2pchat.wire.messages.registers import HAVE
from p2pchat.wire.messages.rooms import OFFICE

TOKEN: Final = re.compile(r"zq[0-9]{6}x")
"""Every text begins with one of these: by it a text is known in views and in raw bytes."""


class Broken(AssertionError):
    """A law does not hold. The text says which, where and of whom."""


def law(holds: bool, sentence: str) -> None:
    """Broken unless it holds."""
    if not holds:
        raise Broken(sentence)


@dataclass(frozen=True, slots=True)
class Site:
    """A machine as the laws see it. `crooked`: its wall clock was ever wrong."""

    name: str
    account: AccountId
    device: DeviceId
    ledger: Ledger
    node: Node
    crooked: bool = False


@dataclass(slots=True)
class Try:
    """Something asked for: what it would make of the message, and whether it was answered."""

    value: str
    acked: bool = False
    remove: bool = False


@dataclass(slots=True)
class Wish:
    """One thing somebody wanted to say, and all he then wanted to do about it."""

    token: str
    site: str
    author: AccountId
    peer: AccountId
    text: str
    key: str = ""
    due_ms: int | None = None
    draft: str = ""
    ids: dict[EventId, None] = field(default_factory=dict)
    acked: bool = False
    refused: str = ""
    edits: list[Try] = field(default_factory=list)
    deletes: list[Try] = field(default_factory=list)
    reactions: dict[tuple[AccountId, str], list[Try]] = field(default_factory=dict)
    place: RoomId | None = None
    """The made room it was said in (then `peer` is its author), None for a direct chat."""

    @property
    def room(self) -> RoomId:
        """Where it was said."""
        return self.place or rooms.direct_id(self.author, self.peer)

    @property
    def id(self) -> EventId | None:
        """Its id, once answered."""
        return next(iter(self.ids), None)


@dataclass(slots=True)
class Book:
    """Everything wished for, and the ids of changes that were answered."""

    wishes: list[Wish] = field(default_factory=list)
    changes: list[tuple[str, RoomId, EventId]] = field(default_factory=list)
    receipts: dict[tuple[str, int, RoomId, DeviceId], Ranges] = field(default_factory=dict)
    crooked: dict[AccountId, None] = field(default_factory=dict)
    """People with a machine whose clock was ever wrong: their edits may order otherwise."""
    entrusted: dict[EventId, set[AccountId]] = field(default_factory=dict)
    """For whom events were given to holders."""
    many: dict[AccountId, None] = field(default_factory=dict)
    """People with several machines: which of two edits is the later, only the clocks say."""

    def plain(self, account: AccountId) -> bool:
        """Whether this person's own order of doing is the order everybody must see."""
        return account not in self.crooked and account not in self.many

    def shared(self, sites: Iterable[Site], room: RoomId) -> list[Site]:
        """The machines of a direct chat's two people."""
        everybody = list(sites)
        return [
            site
            for site in everybody
            if any(rooms.direct_id(site.account, other.account) == room for other in everybody)
        ]


# -- while time runs ---------------------------------------------------------------------------


def speaks(book: Book, site: Site, run: int, peer: AccountId, message: Record) -> None:
    """A frame may leave only if it is of a room of both ends, and true of what is durable."""
    if isinstance(message, holders.Deposit | holders.Handed | holders.Holding | holders.Withdraw):
        _of_holders(book, site, peer, message)
        return
    common = rooms.direct_id(site.account, peer)
    own = site.account == peer
    told = getattr(message, "room", None)
    if isinstance(told, bytes):
        fine = own or told == common or _heard_there(site, RoomId(told), peer) or _says_nothing(message)
        law(fine, f"{site.name} speaks to an outsider of a room: {type(message).__name__}")
    if isinstance(message, wire.Events):
        ids = []
        for event in message.events:
            header, identity = decode(Header, event.header), event_id(event.header, event.signature)
            room = identity if header.kind == CREATE else header.room
            fine = own or room == common or _heard_there(site, RoomId(room), peer, header.kind)
            law(fine, f"{site.name} hands an event to somebody outside its room")
            ids.append(identity)
        law(not site.ledger.events.missing(ids), f"{site.name} sent an event that it had not committed")
    elif isinstance(message, wire.Receipt):
        place = (site.name, run, RoomId(message.room), DeviceId(message.author))
        checked = book.receipts.get(place, ())
        fresh = ranges.minus(message.ranges, checked)
        holds(site, RoomId(message.room), DeviceId(message.author), fresh)
        book.receipts[place] = ranges.union(checked, fresh)


def _of_holders(book: Book, site: Site, peer: AccountId, message: Record) -> None:
    """To holders goes nothing that can be read, and only to verified ones; what they have goes only to
    those for whom it was given, and to its author."""
    if isinstance(message, holders.Deposit):
        trust = site.node.cache.trust.get(peer)
        fine = not site.node.loaded or (trust is not None and trust.verified)
        law(fine, f"{site.name} entrusts something to a stranger")
        ids = []
        for event in message.events:
            header = decode(Header, event.header)
            law(header.kind <= LAST_CONTROL or any(header.epoch), f"{site.name} entrusts what can be read")
            ids.append(event_id(event.header, event.signature))
            people = book.entrusted.setdefault(ids[-1], set())
            people.update(AccountId(one.account) for one in message.to)
        law(not site.ledger.events.missing(ids), f"{site.name} entrusts what it had not committed")
    elif isinstance(message, holders.Handed):
        for event in message.events:
            header, identity = decode(Header, event.header), event_id(event.header, event.signature)
            room = RoomId(identity if header.kind == CREATE else header.room)
            # By which act he came in a newcomer hands over to who was in by then.
            own_way = header.kind <= LAST_CONTROL and _heard_there(site, room, peer, header.kind)
            fine = own_way or peer in book.entrusted.get(identity, set())
            law(fine, f"{site.name} hands an event to somebody for whom it was not held")


def _says_nothing(message: Record) -> bool:
    """Whether it answers that there is nothing here. He may have asked about a room only heard of, and
    turn out to be nobody in it by what came with the next frame, before the answer left."""
    if not isinstance(message, wire.Reconcile) or message.asking:
        return False
    step = Reconciler(VectorItems(()), MAX_RECONCILE_FRAME, initiator=True).reconcile(message.message)
    return not step.need and step.reply is None


def _heard_there(site: Site, room: RoomId, peer: AccountId, kind: int = 0) -> bool:
    """Whether that person may be spoken to about a made room: he is or was let in, or its door is or
    was open to the office and no content is handed over."""
    cache = site.node.cache
    if not site.node.loaded:
        return True  # a batch was refused, and all that was read forgotten
    if room not in cache.known_rooms:
        return room in site.node.live.heard_of and not kind
    cached = cache.rooms.get(room)
    if cached is None or cached.row.kind == DIRECT:
        return cached is None  # the batch was refused and all that was read forgotten
    if peer in cached.graph.members or cached.graph.ever(peer):
        return True
    return kind <= LAST_CONTROL and any(
        getattr(body, "admission", "") == OFFICE
        or any(one.value == OFFICE for one in getattr(body, "changes", ()))
        for event in site.ledger.events.control(room)
        if event.kind in (CREATE, SETTINGS) and event.body is not None
        for body in (decode(BODIES[event.kind], event.body),)
    )


def holds(site: Site, room: RoomId, author: DeviceId, told: Ranges) -> None:
    """A receipt never runs ahead: each event is here, readable, or lawfully without body."""
    for low, high in told:
        found = site.ledger.events.run(room, author, low, high, 2 * (high - low + 1) + 4096)
        readable = {e.seq for e in found if not e.flags & StoredEvent.KEYLESS}
        missing = [seq for seq in range(low, high + 1) if seq not in readable]
        law(not missing, f"{site.name} said it has {missing[:5]} of {author.hex()[:8]}, and has not")


def delivered(sites: Sequence[Site], wish_room: RoomId, author: AccountId, event: EventId) -> bool:
    """Whether a machine of the other person has committed it."""
    return any(
        site.account != author
        and rooms.direct_id(site.account, author) == wish_room
        and site.ledger.events.get(event) is not None
        for site in sites
    )


# -- after healing -----------------------------------------------------------------------------


def check(book: Book, sites: Sequence[Site], now: dict[str, Now]) -> None:
    """Every law about the end of a history."""
    contexts = {site.name: site.node.look(now[site.name]) for site in sites}
    pairs = {
        rooms.direct_id(a.account, b.account): (a.account, b.account)
        for a in sites
        for b in sites
        if a.account != b.account
    }
    for site in sites:
        _nothing_waits(site, contexts[site.name])
        _memory_is_a_cache(site, contexts[site.name], now[site.name])
        _views_follow_from_events(site, now[site.name])
    for room in sorted(pairs):
        inside = [site for site in sites if site.account in pairs[room]]
        _same_events(inside, room)
        _same_views(book, inside, room)
        _receipts_arrived(inside, room, contexts)
    for site in sites:
        _only_own_rooms(book, site)
    by_site = {site.name: _by_token(site) for site in sites}
    for wish in book.wishes:
        if wish.place is not None:
            continue  # see room_laws
        inside = [site for site in sites if site.account in (wish.author, wish.peer)]
        _wish(book, wish, inside, by_site)
    for name, room, event in book.changes:
        for site in book.shared(sites, room):  # nobody for a made room: see room_laws
            law(
                not site.ledger.events.missing([event]),
                f"the change {event.hex()[:8]} that {name} was answered is missing at {site.name}",
            )


def _count(site: Site, sql: str) -> int:
    return int(site.ledger.connection.execute(sql).fetchone()[0])


def _nothing_waits(site: Site, ctx: Context) -> None:
    chats = "SELECT id FROM room WHERE kind = 'direct'"
    parked = _count(site, f"SELECT count(*) FROM parked WHERE room IN ({chats})")
    law(parked == 0, f"{site.name} still has parked events")
    known = f"room IN (SELECT n FROM ident WHERE id IN ({chats}))"
    keyless = _count(site, f"SELECT count(*) FROM event WHERE (flags & 4) != 0 AND {known}")
    law(keyless == 0, f"{site.name} has {keyless} events without their key")
    law(not ctx.live.contested, f"{site.name} still has contested links")
    law(not ctx.live.receipt_due, f"{site.name} still owes receipts")
    law(len(ctx.live.links) == len(ctx.live.by_device), f"{site.name} has links it does not use")
    law(ctx.batch.tails == {} and ctx.batch.fresh == {}, f"{site.name} has an open batch")


def _memory_is_a_cache(site: Site, ctx: Context, now: Now) -> None:
    """What the node remembers is what a new one would read."""
    fresh = Node(site.node.me, site.ledger, site.node.entropy, name=site.node.name).look(now)
    for room_id in sorted(ctx.cache.rooms.keys() - ctx.live.heard_of.keys()):
        kept, read = ctx.cache.rooms[room_id], rooms.room(fresh, room_id)
        for part in ("members", "former", "settings", "revoked", "void", "heads"):
            law(
                getattr(kept.graph, part) == getattr(read.graph, part),
                f"{site.name} remembers other {part} of a graph than its archive has",
            )
        for part in ("row", "accounts", "heads", "epochs", "have", "read", "awaited", "forks"):
            law(
                getattr(kept, part) == getattr(read, part),
                f"{site.name} remembers other {part} of a room than its archive has",
            )
        for part in ("their_have", "their_read", "custody"):
            law(getattr(kept, part) == getattr(read, part), f"{site.name} remembers another {part}")
    for part in ("owner", "prekeys", "profiles", "trust", "addresses", "own_prekeys", "known_rooms"):
        law(
            getattr(ctx.cache, part) == getattr(fresh.cache, part),
            f"{site.name} remembers other {part} than its archive has",
        )


def _views_of(site: Site) -> dict[EventId, MessageView]:
    rows = site.ledger.connection.execute(
        "SELECT e.id FROM message m JOIN event e ON e.pk = m.pk ORDER BY m.place, e.id"
    ).fetchall()
    found = {}
    for (identity,) in rows:
        view = site.ledger.views.message(EventId(identity))
        law(view is not None, f"{site.name} lists a message that it cannot show")
        if view is not None:
            found[view.id] = view
    return found


def _views_follow_from_events(site: Site, now: Now) -> None:
    before = _views_of(site)
    site.ledger.begin()
    site.ledger.views.clear_views()
    rebuild_views(site.node, now)
    after = _views_of(site)
    site.ledger.rollback()
    site.node.forget()
    # A void message of which only an edit came may be listed, hidden, or not: it is never shown.
    before, after = (
        {one: view for one, view in views.items() if "void" not in view.flags or not view.hidden}
        for views in (before, after)
    )
    law(list(before) == list(after), f"{site.name}: rebuilt views are other messages, or in another order")
    for identity, view in before.items():
        law(view == after[identity], f"{site.name}: a rebuilt view differs:\n{view}\n{after[identity]}")


def _events_of(site: Site, room: RoomId) -> dict[EventId, StoredEvent]:
    found: dict[EventId, StoredEvent] = {}
    for device, head in site.ledger.events.heads(room).items():
        for event in site.ledger.events.run(room, device, 1, head.seq, 2 * head.seq):
            law(event.id not in found, f"{site.name} has an event twice")
            found[event.id] = event
    return found


def _same_events(inside: Sequence[Site], room: RoomId) -> None:
    held = {site.name: _events_of(site, room) for site in inside}
    everything = {identity for events in held.values() for identity in events}
    authors = {site.device: site.name for site in inside}
    for site in inside:
        lacking = sorted(everything - held[site.name].keys())
        law(not lacking, f"{site.name} lacks {len(lacking)} events of {_names(inside)}")
        for event in held[site.name].values():
            law(event.device in authors, f"{site.name} has an event of a machine outside the room")
            law(not event.flags & StoredEvent.FORKED, f"{site.name} sees a fork without a clone")
        for control in (True, False):
            weeks = site.ledger.items.weeks(room, control)
            other = inside[0].ledger.items.weeks(room, control)
            law(weeks == other, f"{site.name} and {inside[0].name} count different sets")
            counted = {
                packed[at + 8 : at + 40]
                for week in weeks
                for packed in (site.ledger.items.packed(room, control, week.week),)
                for at in range(0, len(packed), 40)
            }
            expected = {e.id for e in held[site.name].values() if (e.kind <= 31) == control}
            law(counted == expected, f"{site.name} counts other items than it has events")


def _names(inside: Sequence[Site]) -> str:
    return ", ".join(site.name for site in inside)


def _shown(view: MessageView) -> tuple[object, ...]:
    """What must look the same on both sides. Marks of what was in flight may differ."""
    if view.deleted:
        return (view.id, view.account, view.seq, view.hlc, "deleted", view.text)
    return (
        view.id, view.account, view.device, view.seq, view.hlc, view.text, view.reply_to, view.thread,
        view.urgent, view.pinned, view.mentions, view.reactions,
    )  # fmt: skip


def _same_views(book: Book, inside: Sequence[Site], room: RoomId) -> None:
    first = {i: v for i, v in _views_of(inside[0]).items() if v.room == room}
    for site in inside[1:]:
        here = {i: v for i, v in _views_of(site).items() if v.room == room}
        law(here.keys() == first.keys(), f"{site.name} and {inside[0].name} show other messages")
        for identity, view in here.items():
            mine, yours = _shown(view), _shown(first[identity])
            law(mine == yours, f"{site.name} and {inside[0].name} differ:\n{mine}\n{yours}")
        future = {i for i in here if "future" in here[i].flags or "future" in first[i].flags}
        order = [i for i in here if i not in future]
        law(order == [i for i in first if i not in future], f"{site.name} shows another order")
    if all(book.plain(site.account) for site in inside):
        order = list(first)
        for view in first.values():
            if view.reply_to in first:
                sound = order.index(view.reply_to) < order.index(view.id)
                law(sound, f"{inside[0].name} shows an answer before what it answers")


def _receipts_arrived(inside: Sequence[Site], room: RoomId, contexts: dict[str, Context]) -> None:
    """Everybody has everything, and every author knows it of every machine."""
    for site in inside:
        heads = site.ledger.events.heads(room)
        told = {(who, author): r for who, author, kind, r in site.ledger.seen.seen(room) if kind == HAVE}
        for author, head in heads.items():
            if author != site.device:
                have = told.get((site.device, author))
                law(have == ((1, head.seq),), f"{site.name} counts {have} of {head.seq} as had")
        for other in inside:
            head = heads.get(site.device)
            if other is site or head is None:
                continue
            have = told.get((other.device, site.device))
            law(
                have == ((1, head.seq),),
                f"{site.name} knows {have} of its {head.seq} events to be at {other.name}",
            )


def _only_own_rooms(book: Book, site: Site) -> None:
    """No event, key or word of a room that this person is not in, anywhere in the bytes."""
    mine = {wish.token: wish for wish in book.wishes}
    text = site.ledger.serialize().decode("latin-1")
    for token in dict.fromkeys(TOKEN.findall(text)):
        wish = mine.get(token)
        if wish is not None and wish.place is not None:
            continue  # see room_laws
        inside = wish is not None and site.account in (wish.author, wish.peer)
        law(inside, f"the archive of {site.name} holds the text {token} of others")


def _by_token(site: Site) -> dict[str, list[MessageView]]:
    found: dict[str, list[MessageView]] = {}
    for view in _views_of(site).values():
        token = TOKEN.match(view.text or "")
        if token is not None:
            found.setdefault(token.group(), []).append(view)
    return found


def _wish(
    book: Book, wish: Wish, inside: Sequence[Site], by_site: dict[str, dict[str, list[MessageView]]]
) -> None:
    law(len(wish.ids) <= 1, f"{wish.token} under one key became {len(wish.ids)} messages")
    gone = any(one.acked for one in wish.deletes)
    maybe_gone = bool(wish.deletes)
    for site in inside:
        shown = by_site[site.name].get(wish.token, [])
        law(len(shown) <= 1, f"{wish.token} stands {len(shown)} times at {site.name}")
        law(not (shown and gone), f"{wish.token} was taken back and still stands at {site.name}")
        law(
            not (shown and wish.refused),
            f"{wish.token} was refused ({wish.refused}) and stands at {site.name}",
        )
        must = wish.acked and not maybe_gone and not wish.draft
        law(bool(shown) or not must, f"{wish.token} was answered and is lost at {site.name}")
        if wish.draft and wish.due_ms is not None and not maybe_gone and wish.author not in book.crooked:
            law(bool(shown), f"the draft {wish.token} was due and is not at {site.name}")
        for view in shown:
            _looks(book, wish, site, view)
        if wish.id is not None:
            event = site.ledger.events.get(wish.id)
            law(event is not None, f"{wish.token} was answered and its event is missing at {site.name}")
            if event is not None and gone:
                law(event.body is None, f"{wish.token} was taken back and {site.name} keeps its body")


def _looks(book: Book, wish: Wish, site: Site, view: MessageView) -> None:
    law(view.account == wish.author and view.room == wish.room, f"{wish.token} stands in a wrong place")
    if wish.id is not None:
        law(view.id == wish.id, f"{wish.token} stands at {site.name} under another id")
    allowed = {wish.text, *(one.value for one in wish.edits)}
    if book.plain(wish.author):
        last = max((n for n, one in enumerate(wish.edits) if one.acked), default=-1)
        allowed = {one.value for one in wish.edits[max(last, 0) :]}
        allowed |= {wish.text} if last < 0 else set()
    law(view.text in allowed, f"{wish.token} reads {view.text!r} at {site.name}, not one of {allowed}")
    if site.device == view.device:
        law(view.state in (DELIVERED, READ), f"{wish.token} is {view.state} after all has healed")
    law(view.state != CANCELLED, f"{wish.token} is cancelled without having been taken back")
    for (account, emoji), tries in wish.reactions.items():
        if book.plain(account) and all(one.acked for one in tries):
            who = dict(view.reactions).get(emoji, ())
            law(
                (account in who) != tries[-1].remove,
                f"{emoji} on {wish.token} at {site.name} is not what was asked for last",
            )
