"""One made room as the laws look at it: what every archive holds of it, and what all of that comes to.

Decides: what is part of a room's history, who could know what at some point of it, and how an
event stands by the whole of it. Does not know: which of this must hold (room_laws).

The judge puts all acts of all archives into one graph of its own, so that what each archive
comes to is held against what the whole history comes to. Who knew what at some point is asked of
a graph filled with nothing but the ancestors of that point.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from p2pchat.engine import acts, rooms
from p2pchat.engine.context import Context, RoomCache
from p2pchat.engine.control_graph import Act, Graph, Root
from p2pchat.ids import AccountId, DeviceId, EpochId, EventId, RoomId
from p2pchat.model import ROOM, MessageView, StoredEvent
from p2pchat.wire.codec import decode
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.events import Epoch, Header, is_control
from tests.kit.laws import Site, law

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


def _to_tell(home: Home, member: Home) -> Collection[EventId]:
    """What he of that archive, by what he knows himself, may tell that member of."""
    account, graph = member.site.account, home.room.graph
    may_come = graph.settings.admission == wire.OFFICE and graph.former.get(account) != "removed"
    return home.events if account in graph.members or may_come else graph.past(account)


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
        """What is no part of the room: what the lawless told only those who cannot pass it on to a member,
        and all that rests on it. That is somebody of whom no member knows, whom they made believe to be in;
        and somebody who is out and knows of no member that he may have it (docs/protocol.md, 6, "A peer may
        be told of a room": acts up to the end of whom he holds to be out). Members agree on what is with
        one of them; whoever had to hand on more would tell somebody who may be out what came after him.
        As soon as he who has it knows one of them to be in, it is owed to all."""
        inside = [home for home in self.homes if home.site.account in home.room.graph.members]
        members = list(inside)
        if not inside:  # all of them have left: whom he knew who made the room
            create = EventId(self.room)
            makers = {self.owner[h.events[create].device] for h in self.homes if create in h.events}
            inside = [home for home in self.homes if home.site.account in makers]
        known = {home.site.account for home in inside}
        known |= {
            h.site.account for h in self.homes if any(c.room.graph.ever(h.site.account) for c in inside)
        }
        held: set[EventId] = set()
        for home in self.homes:
            if home.site.account not in known:
                continue
            if home in inside or not members:
                held.update(home.events)
            else:
                held.update(*(home.events.keys() & _to_tell(home, member) for member in members))
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

    def to_be_opened(self, epoch: EpochId, lawless: frozenset[AccountId]) -> bool:
        """Whether that key can be given: one that the lawless made is owed by nobody unless an archive of
        somebody else has it."""
        held = (home.room.epochs.get(epoch) for home in self.homes)
        return self.epochs[epoch].account not in lawless or any(row and row.key is not None for row in held)

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
