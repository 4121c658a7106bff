"""What must hold in made rooms once everything has healed: the laws about membership.

Decides: what members must agree on, what must have reached whom, and what nobody outside may
hold (docs/protocol.md, "Rooms"; docs/rooms.md). Does not know: who caused what, or how machines
are run. A law that does not hold raises `Broken`.

What each archive comes to is held against what the whole history comes to (room_court).
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pchat.engine import keys, ranges, rooms, views
from p2pchat.engine.context import Context
from p2pchat.ids import AccountId, EventId, RoomId
from p2pchat.model import DELIVERED, DIRECT, READ, MessageView, Now, StoredEvent
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.events import MESSAGE, is_control
from p2pchat.wire.messages.registers import HAVE
from tests.kit.laws import TOKEN, Book, Site, Wish, law
from tests.kit.room_court import GIVES, TAKES, Court, Home


def check_rooms(
    book: Book, sites: Sequence[Site], now: dict[str, Now], *, lawless: frozenset[AccountId] = frozenset()
) -> list[Court]:
    """Every law about made rooms. `lawless`: people whose machines do as they please; their archives
    are asked for what they must not hold and for nothing else."""
    contexts = {site.name: site.node.look(now[site.name]) for site in sites}
    ids = {
        row.id
        for ctx in contexts.values()
        for row in ctx.cache.known_rooms.values()
        if row.kind not in (DIRECT, "lobby")
    }
    courts = []
    for room in sorted(ids):
        everybody = [_home(site, contexts[site.name], room) for site in sites]
        homes = [home for home in everybody if home is not None]
        honest = [home for home in homes if home.site.account not in lawless]
        court = Court(room, honest, lawless)
        courts.append(court)
        _agree(court, lawless)
        _everything_is_there(court, lawless)
        _looks_alike(court, lawless)
        _states_are_true(court, lawless)
        _secrets(court, homes, lawless)
        for wish in book.wishes:
            if wish.place == room and wish.author not in lawless:
                _wish(book, wish, court)
    _no_words_of_others(book, sites, courts, lawless)
    return courts


def _home(site: Site, ctx: Context, room: RoomId) -> Home | None:
    if room not in ctx.cache.known_rooms:
        return None
    events: dict[EventId, StoredEvent] = {}
    for device, head in site.ledger.events.heads(room).items():
        for event in site.ledger.events.run(room, device, 1, head.seq, 2 * head.seq + 64):
            law(event.id not in events, f"{site.name} has an event twice")
            events[event.id] = event
    home = Home(site, ctx, rooms.room(ctx, room), events)
    for event in events.values():
        if event.kind == MESSAGE:
            view = site.ledger.views.message(event.id)
            if view is not None:
                home.views[event.id] = view
        absent = event.body is None and views.lawfully_absent(ctx, event)
        if not is_control(event.kind) and (absent or keys.open_plain(home.room, event) is not None):
            home.readable[event.id] = event
    return home


def _agree(court: Court, lawless: frozenset[AccountId]) -> None:
    """All members agree on members, roles, settings and what counts; nobody else counts himself in."""
    short = court.room.hex()[:8]
    here = {home.site.account for home in court.inside}
    lacking = [one.hex()[:8] for one in court.members if one not in here and one not in lawless]
    law(not lacking, f"{lacking} are in {short} and do not know the room")
    for home in court.homes:
        graph = home.room.graph
        if home not in court.inside:
            law(home.site.account not in graph.members, f"{home.name} believes to be in {short}")
            continue
        counted = {one for one in home.events if one in court.acts and one not in graph.void}
        expected = {one for one in court.acts if one not in court.graph.void}
        lacks = sorted(one.hex()[:8] for one in expected - counted)
        law(not lacks, f"{home.name} lacks the acts {lacks[:4]} of {short}")
        more = sorted(one.hex()[:8] for one in counted - expected)
        law(not more, f"{home.name} counts the void acts {more[:4]} of {short}")
        for part in ("members", "settings", "revoked"):
            mine, whole = getattr(graph, part), getattr(court.graph, part)
            law(mine == whole, f"{home.name} has other {part} of {short}:\n{mine}\n{whole}")


def _everything_is_there(court: Court, lawless: frozenset[AccountId]) -> None:
    """Every allowed event is with every member who may have it, once, and counted in his sets.

    What the lawless wrote is owed to nobody unless a member has it."""
    short = court.room.hex()[:8]
    allowed = {one: event for one, event in court.content.items() if court.allowed(event)}
    unsure = {
        one
        for one, event in court.content.items()
        if court.owner[event.device] in lawless and (one not in court.here or court.unsure(event))
    }
    everywhere = {one for home in court.inside for one in home.events if one not in unsure}
    acts_everywhere = {one for one in everywhere if one in court.acts}
    whole = {one for home in court.inside for one, event in home.events.items() if event.body is not None}
    for home in court.inside:
        since, who = court.since(home.site.account), home.site.account
        owed = {
            one
            for one, event in allowed.items()
            if one not in unsure
            and (event.hlc >= since or court.knew(who, one))
            and court.to_be_had(who, one)
        }
        void = {
            one
            for one in everywhere - allowed.keys()
            if one in court.content and court.content[one].hlc >= since
        }
        absent = sorted(one.hex()[:8] for one in acts_everywhere - home.events.keys())
        law(not absent, f"{home.name} lacks the acts {absent[:4]} of {short}, void or not")
        lacking = sorted(void - home.events.keys())
        names = [f"{court.content[one].device.hex()[:6]}/{court.content[one].seq}" for one in lacking[:4]]
        law(not lacking, f"{home.name} lacks {len(lacking)} void events of {short}: {names}")
        lacks = sorted(owed - home.events.keys())
        names = [f"{allowed[one].device.hex()[:6]}/{allowed[one].seq}" for one in lacks[:4]]
        law(not lacks, f"{home.name} lacks {len(lacks)} events of {short}: {names}")
        for one in sorted(owed):
            event = home.events[one]
            law(not event.flags & StoredEvent.VOID, f"{home.name} hides an allowed event of {short}")
            if court.opens(who, event.epoch) and one in whole and court.to_be_opened(event.epoch, lawless):
                law(one in home.readable, f"{home.name} cannot read {one.hex()[:8]} of {short}")
        for one, event in home.events.items():
            hidden = one in unsure or one in allowed or bool(event.flags & StoredEvent.VOID)
            hidden = hidden or is_control(event.kind)
            law(hidden, f"{home.name} counts the void event {one.hex()[:8]} of {short}")
        _sets(home, court)
        told = {
            author: seen
            for device, author, kind, seen in home.site.ledger.seen.seen(court.room)
            if kind == HAVE and device == home.site.device
        }
        for author in sorted(home.room.heads.keys() - {home.site.device}):
            mine = [event for event in home.events.values() if event.device == author]
            held = {event.seq for event in mine}
            said = set(ranges.seqs(told.get(author, ())))
            law(said <= held, f"{home.name} counts events of {author.hex()[:8]} as had that are not here")
            must = {e.seq for e in mine if is_control(e.kind) or (e.id in allowed and e.id in home.readable)}
            missing = sorted(must - said)
            law(not missing, f"{home.name} does not count {missing[:5]} of {author.hex()[:8]} as had")


def _sets(home: Home, court: Court) -> None:
    for control in (True, False):
        weeks = home.site.ledger.items.weeks(court.room, control)
        counted = {
            packed[at + 8 : at + 40]
            for week in weeks
            for packed in (home.site.ledger.items.packed(court.room, control, week.week),)
            for at in range(0, len(packed), 40)
        }
        expected = {one for one, event in home.events.items() if is_control(event.kind) == control}
        law(counted == expected, f"{home.name} counts other items than it has events (control {control})")
        law(sum(week.count for week in weeks) == len(counted), f"{home.name} counts an item twice")


def _shown(home: Home) -> dict[EventId, MessageView]:
    # Who never had its body shows nothing of a deleted message.
    found = {one: view for one, view in home.views.items() if not view.hidden and not view.deleted}
    return dict(sorted(found.items(), key=lambda pair: (pair[1].hlc, pair[0])))


def _looks_alike(court: Court, lawless: frozenset[AccountId]) -> None:
    """Members who may read the same see the same, in the same order; what is void is seen nowhere.

    Where newcomers do not see what was before, they cannot tell the branches of a lawless chain."""
    short = court.room.hex()[:8]
    by_sight: dict[frozenset[EventId], list[Home]] = {}
    for home in court.inside:
        counted = frozenset(o for o in home.readable if not home.events[o].flags & StoredEvent.VOID)
        by_sight.setdefault(counted, []).append(home)
        for one, view in home.views.items():
            if home.events[one].flags & StoredEvent.VOID:
                law(view.hidden and "void" in view.flags, f"{home.name} shows a void message")
        order = [row[0] for row in _in_history(home)]
        due = [one for one, view in _shown(home).items() if "future" not in view.flags]
        law([o for o in order if o in set(due)] == due, f"{home.name} shows another order than all others")
    for homes in by_sight.values():
        first = {one: _look(view) for one, view in _shown(homes[0]).items()}
        for home in homes[1:]:
            here = {one: _look(view) for one, view in _shown(home).items()}
            shown = first
            if court.graph.settings.history == wire.JOINED:
                # a later change of what was before newcomers came shows to who holds that, and not to them
                held = home.events.keys() & homes[0].events.keys()
                held = {
                    one
                    for one in held
                    if court.owner[home.events[one].device] not in lawless
                    or not court.unsure(home.events[one])
                }
                here, shown = ({one: v for one, v in views.items() if one in held} for views in (here, first))
            differ = [one.hex()[:8] for one in here.keys() ^ shown.keys()]
            law(not differ, f"{home.name} and {homes[0].name} show other messages of {short}: {differ[:4]}")
            for one in here:
                law(here[one] == shown[one], f"{home.name}, {homes[0].name}:\n{here[one]}\n{shown[one]}")
        texts = {f: _text(homes[0], court.room, f) for f in wire.NAME_FIELDS}
        for home in homes[1:]:
            mine = {f: _text(home, court.room, f) for f in wire.NAME_FIELDS}
            law(mine == texts, f"{home.name} and {homes[0].name} call it {mine} and {texts}")


def _text(home: Home, room: RoomId, name: str) -> str | None:
    text = home.ctx.cache.texts.get((room, name))
    return None if text is None else text.value


def _in_history(home: Home) -> list[tuple[EventId]]:
    rows = home.site.ledger.connection.execute(
        "SELECT e.id FROM message m JOIN event e ON e.pk = m.pk JOIN ident i ON i.n = e.room"
        " WHERE i.id = ? ORDER BY m.place, e.id",
        (home.room.row.id,),
    )
    return [(EventId(identity),) for (identity,) in rows]


def _look(view: MessageView) -> tuple[object, ...]:
    """What must be the same everywhere. Marks of what was in flight may differ."""
    return (
        view.id, view.account, view.device, view.seq, view.hlc, view.text, view.reply_to, view.thread,
        view.urgent, view.pinned, view.mentions, view.reactions, view.ack_by_ms, "forked" in view.flags,
    )  # fmt: skip


def _states_are_true(court: Court, lawless: frozenset[AccountId]) -> None:
    """A message is told to be with everybody only if it is in an archive of each; and it is told."""
    held: dict[AccountId, set[EventId]] = {}
    for home in court.homes:
        held.setdefault(home.site.account, set()).update(home.events)
    for home in court.inside:
        for one, view in home.views.items():
            if view.device != home.site.device or view.deleted or view.hidden:
                continue
            auth = court.auth(one)
            others = [a for a in court.members if a not in (home.site.account, *lawless)]
            steady = [a for a in others if court.steady(a, auth)]
            short = f"{one.hex()[:8]} of {home.name}"
            if view.state in (DELIVERED, READ):
                lacks = [a.hex()[:8] for a in steady if one not in held.get(a, set())]
                law(not lacks, f"{short} is told to be {view.state} and {lacks} have not got it")
            elif steady and not lawless:
                owed = [a for a in steady if home.events[one].hlc >= court.since(a)]
                law(owed != steady, f"{short} is {view.state} though everybody has it")


def _secrets(court: Court, homes: Sequence[Home], lawless: frozenset[AccountId]) -> None:
    """Nobody holds a key, or a body he can open, of a time at which he was known to be out; in a room
    of joined history a newcomer neither of the time before."""
    short = court.room.hex()[:8]
    for home in homes:
        who = home.site.account
        for epoch, row in home.room.epochs.items():
            act = court.epochs.get(epoch)
            if row.key is None or act is None or act.account in lawless or act.account == who:
                continue
            if any(court.might_open(rogue, act.auth) for rogue in lawless):
                continue  # who may have had it obeys no rule: he may have given it to anybody who asked
            fine = court.might_open(who, act.auth)
            law(fine, f"{home.name} holds a key of {short} from a time when it was out")
            if court.always_joined:
                fine = who in court.then(act.auth).members
                law(fine, f"{home.name} holds a key of {short} from before it came in")
        for one in home.readable:
            event = home.events[one]  # its own copy: a body may be absent by right
            if one not in court.content or event.body is None or court.owner[event.device] in (who, *lawless):
                continue
            auth = court.auth(one)
            if any(court.might_open(rogue, auth) for rogue in lawless):
                continue
            law(court.might_open(who, auth), f"{home.name} reads what {short} said when it was out")
            if court.always_joined:
                fine = who in court.then(auth).members
                law(fine, f"{home.name} reads what {short} said before it came in")


def _wish(book: Book, wish: Wish, court: Court) -> None:
    """What was answered is there, or void for everybody; nothing stands twice."""
    law(len(wish.ids) <= 1, f"{wish.token} under one key became {len(wish.ids)} messages")
    gone = any(one.acked for one in wish.deletes)
    texts = {wish.text, *(one.value for one in wish.edits)}
    steady = not court.about(wish.author, TAKES) and book.plain(wish.author)
    if steady and wish.edits:
        last = max((n for n, one in enumerate(wish.edits) if one.acked), default=-1)
        texts = {one.value for one in wish.edits[max(last, 0) :]} | ({wish.text} if last < 0 else set())
    for home in court.inside:
        views = [
            v for v in _shown(home).values() if TOKEN.match(v.text or "") and wish.token in (v.text or "")
        ]
        found = [view for view in views if (view.text or "").startswith(wish.token)]
        law(len(found) <= 1, f"{wish.token} stands {len(found)} times at {home.name}")
        law(not (found and wish.refused), f"{wish.token} was refused and stands at {home.name}")
        for view in found:
            law(view.account == wish.author, f"{wish.token} stands under another name at {home.name}")
            law(wish.id in (None, view.id), f"{wish.token} stands at {home.name} under another id")
            whole = steady and not court.ever_joined
            law(view.text in texts or not whole, f"{wish.token} reads {view.text!r} at {home.name}")
        event = court.content.get(wish.id) if wish.id else None
        if wish.id is None or wish.draft or wish.id in court.beyond:
            continue
        law(event is not None, f"{wish.token} was answered and nobody has it")
        if event is None or not court.allowed(event) or not court.to_be_had(home.site.account, event.id):
            continue
        if event.hlc < court.since(home.site.account) and not court.knew(home.site.account, event.id):
            continue
        if court.opens(home.site.account, event.epoch) and not wish.deletes and not _emptied(wish, court):
            law(bool(found), f"{wish.token} was answered and is lost at {home.name}")
        if gone and steady and not court.ever_joined:
            law(not found, f"{wish.token} was taken back and still stands at {home.name}")


def _emptied(wish: Wish, court: Court) -> bool:
    """Whether its author changed it before anybody had it, and the change, all its text, is void."""
    held = [home.events[wish.id] for home in court.inside if wish.id in home.events]
    return bool(wish.edits) and all(event.body is None for event in held)


def _no_words_of_others(
    book: Book, sites: Sequence[Site], courts: Sequence[Court], lawless: frozenset[AccountId]
) -> None:
    """No word of a room anywhere in the bytes of somebody who was never in it, unless one of the
    lawless was, who may tell everybody."""
    by_room = {court.room: court for court in courts}
    wishes = {wish.token: wish for wish in book.wishes if wish.place is not None}
    for site in sites:
        text = site.ledger.serialize().decode("latin-1")
        for token in dict.fromkeys(TOKEN.findall(text)):
            wish = wishes.get(token)
            if wish is None or wish.place is None or wish.author == site.account:
                continue
            court = by_room.get(wish.place)
            tellers = (site.account, *lawless)
            inside = court is not None and any(court.about(one, GIVES, court.told) for one in tellers)
            inside = inside or wish.author in lawless  # he was in his own room, and may tell everybody
            law(inside, f"the archive of {site.name} holds the text {token} of others")
