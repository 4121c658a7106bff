"""What must hold in made rooms once everything has healed: the laws about membership.

Decides: what members must agree on, what must have reached whom, and what nobody outside may
hold (docs/protocol.md, "Rooms"; docs/rooms.md). Does not know: who caused what, or how machines
are run. A law that does not hold raises `Broken`.

The judge puts all acts of all archives into one graph of its own, so that what each archive
comes to is held against what the whole history comes to. Who knew what at some point is asked of
a graph filled with nothing but the ancestors of that point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from p2pchat.engine import acts, keys, ranges, rooms, views
from p2pchat.engine.context import Context, RoomCache
from p2pchat.engine.control_graph import Act, Graph, Root
from p2pchat.ids import AccountId, DeviceId, EpochId, EventId, RoomId
from p2pchat.model import DELIVERED, DIRECT, READ, ROOM, MessageView, Now, StoredEvent
from p2pchat.wire.codec import decode
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.events import MESSAGE, Epoch, Header, is_control
from p2pchat.wire.messages.registers import HAVE
from tests.kit.laws import TOKEN, Book, Site, Wish, law

GIVES = (wire.Create, wire.Add, wire.Join)
TAKES = (wire.Remove, wire.Leave)


@dataclass(slots=True)
class Home:
    """One archive's side of a room."""

    site: Site
    ctx: Context
    room: RoomCache
    events: dict[EventId, StoredEvent]
    views: dict[EventId, MessageView] = field(default_factory=dict)
    readable: dict[EventId, StoredEvent] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its machine."""
        return self.site.name


class Court:
    """One room, with everything that anybody holds of it."""

    def __init__(self, room: RoomId, homes: Sequence[Home], lawless: frozenset[AccountId]) -> None:
        self.room, self.homes = room, list(homes)
        self.content: dict[EventId, StoredEvent] = {}
        self.owner: dict[DeviceId, AccountId] = {}
        for home in homes:
            self.owner.update(home.ctx.cache.owner)
        self.beyond = self._beyond(lawless)
        self.told: dict[EventId, Act] = {}  # all acts, also those beyond
        for home in homes:
            for event in home.events.values():
                if is_control(event.kind) and event.id not in self.told:
                    act = acts.act_of(home.ctx, event, decode(Header, event.header))
                    if act is not None:
                        self.told[event.id] = act
                elif not is_control(event.kind) and event.id not in self.beyond:
                    self.content.setdefault(event.id, event)
        self.acts = {one: act for one, act in self.told.items() if one not in self.beyond}
        self.children = {parent for act in self.acts.values() for parent in act.auth}
        self.graph = self._fill(self.acts)
        self._then: dict[frozenset[EventId], Graph] = {}
        self._past: dict[tuple[EventId, ...], frozenset[EventId]] = {}
        self.members = dict(self.graph.members)
        self.inside = [home for home in homes if home.site.account in self.members]
        self.headers = {one: decode(Header, event.header) for one, event in self.content.items()}
        self.here = {one for home in self.inside for one in home.events}
        self.epochs: dict[EpochId, Act] = {}
        for act in sorted(self.acts.values(), key=lambda one: (one.hlc, one.id)):
            if isinstance(act.body, Epoch):
                self.epochs.setdefault(EpochId(act.body.epoch_id), act)
        bodies = [act.body for act in self.acts.values()]
        places: dict[tuple[DeviceId, int], EventId] = {}
        events = [event for home in homes for event in home.events.values()]
        self.forked = {e.device for e in events if places.setdefault((e.device, e.seq), e.id) != e.id}
        self.always_joined = all(
            getattr(body, "history", wire.JOINED) == wire.JOINED
            and all(one.value != wire.ALL for one in getattr(body, "changes", ()) if one.key == "history")
            for body in bodies
        )
        self.ever_joined = any(
            getattr(body, "history", "") == wire.JOINED
            or any(one.value == wire.JOINED for one in getattr(body, "changes", ()))
            for body in bodies
        )

    def _beyond(self, lawless: frozenset[AccountId]) -> set[EventId]:
        """What is no part of the room. One who does as he pleases may make somebody believe to be in of
        whom no member knows: what he told him, and all that rests on it, nobody can pass on to a member."""
        inside = [home for home in self.homes if home.site.account in home.room.graph.members]
        known = {home.site.account for home in inside}
        known |= {
            h.site.account for h in self.homes if any(c.room.graph.ever(h.site.account) for c in inside)
        }
        held = {one for home in self.homes if home.site.account in known for one in home.events}
        alone = {one: e for home in self.homes for one, e in home.events.items() if one not in held}
        found = {one for one, event in alone.items() if self.owner[event.device] in lawless}
        auth = {one: decode(Header, event.header).auth for one, event in alone.items()}
        while more := {one for one in alone if one not in found and not found.isdisjoint(auth[one])}:
            found |= more
        return found

    def _below(self, device: DeviceId, seq: int, event: EventId, cut: wire.Cut) -> bool:
        at, place = EventId(cut.id), cut.seq
        while place > seq:
            stored = next((home.events[at] for home in self.homes if at in home.events), None)
            if stored is None or (stored.device, stored.seq) != (device, place):
                return True  # what is missing decides nothing
            at, place = stored.prev, place - 1
        return place == seq and at == event

    def _fill(self, chosen: dict[EventId, Act]) -> Graph:
        proof: Callable[[wire.Revoke], bool] = lambda body: any(  # noqa: E731
            acts.proof_holds(home.ctx, self.room, body) for home in self.homes
        )
        graph = Graph(Root(ROOM, self.room), proof, self._below)
        waiting = sorted(chosen.values(), key=lambda act: (act.hlc, act.id))
        while waiting:
            later = []
            for act in waiting:
                if all(graph.knows(one) for one in act.auth):
                    graph.add(act)
                else:
                    later.append(act)
            law(len(later) < len(waiting), f"acts of {self.room.hex()[:8]} name acts that nobody holds")
            waiting = later
        return graph

    def past(self, auth: tuple[EventId, ...]) -> frozenset[EventId]:
        """All acts reachable from `auth`, itself included."""
        found = self._past.get(auth)
        if found is None:
            seen: dict[EventId, None] = {}
            todo = list(auth)
            while todo:
                one = todo.pop()
                if one not in seen and one in self.acts:
                    seen[one] = None
                    todo += self.acts[one].auth
            found = self._past[auth] = frozenset(seen)
        return found

    def then(self, auth: tuple[EventId, ...]) -> Graph:
        """What somebody knew who had seen `auth` and what lies before it, and no more."""
        past = self.past(auth)
        graph = self._then.get(past)
        if graph is None:
            graph = self._then[past] = self._fill({one: self.acts[one] for one in past})
        return graph

    def about(
        self, account: AccountId, kinds: tuple[type, ...], among: dict[EventId, Act] | None = None
    ) -> list[Act]:
        """Acts that let that person in, or put him out."""
        return [
            act
            for act in (self.acts if among is None else among).values()
            if isinstance(act.body, kinds) and getattr(act.body, "account", act.account) == account
        ]

    def auth(self, event: EventId) -> tuple[EventId, ...]:
        """Of a content event."""
        return tuple(EventId(one) for one in self.headers[event].auth)

    def allowed(self, event: StoredEvent) -> bool:
        """By everything that is known."""
        auth = self.auth(event.id)
        if not all(one in self.acts for one in auth):
            return False
        who = self.owner[event.device]
        verdict = self.graph.judge(event.device, who, event.seq, event.id, auth, event.kind)
        return verdict.standing == "allowed"

    def unsure(self, event: StoredEvent) -> bool:
        """Whether members may differ about what a lawless machine wrote. Where newcomers do not see what
        was before they have no old part of a chain, by which its branches are told apart; and what is
        dated back is of a time of which holders do not speak to all. Nothing else excuses it."""
        if self.graph.settings.history != wire.JOINED:
            return False
        return event.device in self.forked or any(event.hlc < self.since(one) for one in self.members)

    def since(self, account: AccountId) -> int:
        """From which hlc on he may have content."""
        member = self.members.get(account)
        if self.graph.settings.history != wire.JOINED or member is None or member.added_by is None:
            return 0
        return self.acts[member.added_by].hlc

    def knew(self, account: AccountId, event: EventId) -> bool:
        """Whether its author knew, whatever his clock said, of the act that lets that member in."""
        member = self.members.get(account)
        return member is not None and member.added_by in self.past(self.auth(event))

    def to_be_had(self, account: AccountId, event: EventId) -> bool:
        """Whether a member has it, or who wrote it is out and knows that this one may have it. Who is out
        is told nothing more: neither of who came in after him, nor that somebody came in anew, under an
        earlier date of his own. So what he said when nobody else was in stays with him; and what others
        said is not taken from him, who may have been put out for what he does to it."""
        author = self.owner[self.content[event].device]
        return event in self.here or any(
            event in home.events
            and home.site.account == author
            and account in home.room.graph.members
            and rooms.may_read(home.ctx, home.room, account, home.events[event])
            for home in self.homes
        )

    def opens(self, account: AccountId, epoch: EpochId) -> bool:
        """Whether he, a member now, is owed the key."""
        act = self.epochs.get(epoch)
        if act is None:
            return False
        body = act.body
        assert isinstance(body, Epoch)
        shared = body.shareable and self.graph.settings.history == wire.ALL
        return shared or account in self.then(act.auth).members

    def might_open(self, account: AccountId, auth: tuple[EventId, ...]) -> bool:
        """Whether he may hold what was written by somebody who knew `auth`: he was in by that, or there
        was an act letting him in that its author had not seen. Or he is found to have been in by now:
        what put him out is void, and members give him the key as to any other."""
        past = self.past(auth)
        if account in self.then(auth).members or account in self.graph.members_at(auth):
            return True
        return any(act.id not in past for act in self.about(account, GIVES))

    def steady(self, account: AccountId, auth: tuple[EventId, ...]) -> bool:
        """In by `auth`, and never put out since, as far as anybody knows."""
        past = self.past(auth)
        inside = account in self.then(auth).members and account in self.members
        return inside and all(act.id in past for act in self.about(account, TAKES))


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
            if court.opens(who, event.epoch) and one in whole:
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
