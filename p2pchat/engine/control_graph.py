"""Who may what in a room: its membership as signed causal history.

Decides: who is a member with which role, what the settings are, which machines are revoked and
what is cut, now or at any point of the history, and whether any event of the room is allowed
(docs/rooms.md; docs/protocol.md, "Rooms"). Does not know: chains, bodies of content, keys,
statements, the archive, or who is on the line.

Pure: the outcome depends on the set of acts only, never on the order in which they came. What
each act is by its own ancestors is worked out once, when it comes. An act on top of all others
changes nothing that was decided; only a removal that reaches into a concurrent branch has the
removals judged again (`evaluations` counts the work).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from heapq import nlargest
from typing import Final

from p2pchat.engine import graph_court as court
from p2pchat.engine import graph_rights as rights
from p2pchat.engine.graph_court import IN, OK, Bench, Node
from p2pchat.engine.graph_cuts import CutInForce, Reach
from p2pchat.engine.graph_races import Below, Races
from p2pchat.engine.graph_rights import (
    ALLOWED,
    NEVER,
    Act,
    Member,
    RoomSettings,
    Root,
    Verdict,
    check_body,
)
from p2pchat.ids import AccountId, DeviceId, EventId
from p2pchat.wire.limits import MAX_AUTH
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.rooms import Revoke

__all__ = [
    "ALLOWED",
    "NEVER",
    "Act",
    "CutInForce",
    "Graph",
    "Member",
    "RoomSettings",
    "Root",
    "Verdict",
    "check_body",
]

MAX_MEMO: Final = 8192
"""Verdicts, and `auth` tuples, remembered."""
MAX_HEADS_WEIGHED: Final = 64
"""Heads among which those to link to are chosen, when somebody floods a room with branches."""


class _Open(tuple[int, ...]):
    """Right by the graph; the removals whose cuts must still be asked."""


class Graph:
    """All control events of one room and what they come to."""

    def __init__(self, root: Root, proof_holds: Callable[[Revoke], bool], below: Below) -> None:
        """`below` says whether a machine's event (seq, id) lies at or below a cut of its chain;
        `proof_holds` whether the proof in a `revoke` shows what it claims. Where the latter would
        answer differently from now on, `reconsider` must be called."""
        self.root = root
        self._proof_holds = proof_holds
        self._below = below
        self._version = 0
        self._begin()

    def _begin(self) -> None:
        self.ever_open = False
        """Whether an act ever opened the room to the office: who joined then may not be known yet."""
        self._races = Races(self.root, self._proof_holds, self._below)
        self._heads: dict[EventId, Node] = {}
        self._links: tuple[EventId, ...] | None = ()
        self._reaches: dict[tuple[EventId, ...], Reach] = {}
        self._start_over()

    def _start_over(self) -> None:
        """Verdicts on known acts may have changed."""
        self._rebuilt = self._races.rebuilt
        self._members: dict[AccountId, Member] = {}
        self._former: dict[AccountId, str] = {}
        self._moved: set[AccountId] = {*self.root.accounts, *self._races.file.people}
        self._void: dict[EventId, EventId] = {}
        self._voided = 0  # acts looked at for `_void`
        self._settings: RoomSettings | None = None
        self._forget()

    def _forget(self) -> None:
        """Verdicts on events may have changed."""
        self._version += 1
        self._memo: dict[tuple[AccountId, DeviceId, int, tuple[EventId, ...]], Verdict | _Open | None] = {}
        self._cuts: dict[DeviceId, tuple[CutInForce, ...]] | None = None
        self._named: dict[EventId, set[AccountId | None]] | None = None

    def add(self, act: Act) -> None:
        """Take one authentic act whose body was checked. All of its `auth` must be known
        (LocalProtocolError). A known act changes nothing."""
        if act.id in self._races.index:
            return
        node = self._races.enter(act)
        for parent in act.auth:
            self._heads.pop(parent, None)
        self._heads[act.id] = node
        self._links = None
        if isinstance(act.body, wire.Create):
            self.ever_open |= act.body.admission == wire.OFFICE
        elif isinstance(act.body, wire.Settings):
            self.ever_open |= any(one.value == wire.OFFICE for one in act.body.changes)
        if node.mark >= 0:
            return
        if node.sort:
            self._forget()
        match act.body:
            case wire.Settings():
                self._settings = None
            case wire.Add() | wire.Remove() | wire.Role():
                self._moved.add(AccountId(act.body.account))
            case wire.Create() | wire.Join() | wire.Leave():
                self._settings = None
                self._moved.add(act.account)
            case _:
                pass

    def reconsider(self) -> None:
        """Work everything out anew: what `proof_holds` answers has changed (a statement came)."""
        nodes = self._races.file.nodes
        self._begin()
        for node in nodes:
            self.add(node.act)

    @property
    def unproved(self) -> Collection[DeviceId]:
        """Machines that a revoke names whose proof does not hold, by what is known: once more
        statements are, `reconsider`."""
        return self._races.unproved.keys()

    def _bench(self) -> Bench:
        bench = self._races.now()
        if self._races.rebuilt != self._rebuilt:
            self._start_over()
        return bench

    # -- what it comes to ---------------------------------------------------

    def knows(self, event: EventId) -> bool:
        """Whether that act was added."""
        return event in self._races.index

    @property
    def version(self) -> int:
        """Another number whenever the verdict on a known event may have changed."""
        self._bench()
        return self._version

    @property
    def evaluations(self) -> int:
        """How often the right of an act was worked out: the effort, for a test."""
        return self._races.file.evaluations

    @property
    def heads(self) -> tuple[EventId, ...]:
        """Acts no other names, void or not, sorted; of more than 8 those that together reach most,
        such that count before void ones: whoever floods a room with branches hides little of it."""
        if self._links is None:
            self._links = self._choose() if len(self._heads) > MAX_AUTH else tuple(sorted(self._heads))
        return self._links

    def _choose(self) -> tuple[EventId, ...]:
        void = self.void
        sizes = {
            head: (head not in void, node.reach.base + node.reach.bits.bit_count(), head)
            for head, node in self._heads.items()
        }
        left = nlargest(MAX_HEADS_WEIGHED, self._heads, key=lambda head: sizes[head])
        masks = {head: self._heads[head].reach.mask() | 1 << self._heads[head].index for head in left}
        reached, chosen = 0, []
        for _ in range(MAX_AUTH):
            gains = {head: (head not in void, (masks[head] & ~reached).bit_count(), head) for head in left}
            best = max(left, key=lambda head: gains[head])
            reached |= masks[best]
            left.remove(best)
            chosen.append(best)
        return tuple(sorted(chosen))

    @property
    def members(self) -> dict[AccountId, Member]:
        """Who is in now. Not to be changed by the caller, nor kept across an `add`."""
        if self._moved or self._races.stale or self._races.rebuilt != self._rebuilt:
            bench = self._bench()
            if self._moved:
                self._settle(bench)
        return self._members

    @property
    def former(self) -> dict[AccountId, str]:
        """Who was in and is not: "left" or "removed"."""
        bench = self._bench()
        if self._moved:
            self._settle(bench)
        return self._former

    def _settle(self, bench: Bench) -> None:
        whole = self._races.whole()
        moved, self._moved = self._moved, set()
        for account in moved:
            self._members.pop(account, None)
            self._former.pop(account, None)
            stands = _standing(bench, account, whole)
            if stands.status == IN:
                self._members[account] = self._member(stands)
            elif stands.status is not None:
                self._former[account] = stands.status

    def _member(self, stands: court.Standing) -> Member:
        source = self._races.file.nodes[stands.source].act.id if stands.source >= 0 else None
        return Member(stands.role, source, stands.depth)

    def ever(self, account: AccountId) -> bool:
        """Whether an act ever let that person in, even one that is void by now."""
        return court.ever(self._races.file, account)

    @property
    def settings(self) -> RoomSettings:
        """The settings now."""
        if self._settings is None or self._races.stale or self._races.rebuilt != self._rebuilt:
            bench = self._bench()
            whole = self._races.whole()
            self._settings = bench.ask(lambda: court.settings(bench, whole))
        return self._settings

    @property
    def revoked(self) -> dict[DeviceId, EventId]:
        """Machines under an allowed `revoke`, and which act it is (the first by rank)."""
        return self._revoked(self._races.whole())

    @property
    def void(self) -> dict[EventId, EventId]:
        """Acts that do not count, and the act that voids each: itself if its author had no right.
        Not to be changed by the caller."""
        bench, nodes = self._bench(), self._races.file.nodes
        for index in range(self._voided, len(nodes)):
            mark = bench.settled(index)
            if mark >= 0:
                self._void[nodes[index].act.id] = nodes[mark].act.id
        self._voided = len(nodes)
        return self._void

    @property
    def cuts(self) -> dict[DeviceId, tuple[CutInForce, ...]]:
        """Every cut in force per machine. A machine of somebody in `cut_accounts` for which no cut
        of the act named there is listed is cut at 0 by it."""
        self._bench()
        if self._cuts is None:
            found: dict[DeviceId, list[CutInForce]] = {}
            for node in self._races.in_force():
                for device, cut in node.cuts.items():
                    entry = CutInForce(node.act.id, node.sort, cut.seq, EventId(cut.id))
                    found.setdefault(device, []).append(entry)
            self._cuts = {device: tuple(sorted(entries)) for device, entries in found.items()}
        return self._cuts

    @property
    def cut_accounts(self) -> dict[AccountId, tuple[EventId, ...]]:
        """Removals and demotions in force against each person."""
        self._bench()
        found: dict[AccountId, list[EventId]] = {}
        for node in self._races.in_force():
            if isinstance(node.act.body, wire.Remove | wire.Role):
                found.setdefault(AccountId(node.act.body.account), []).append(node.act.id)
        return {account: tuple(sorted(acts)) for account, acts in found.items()}

    def cut_names(self, event: EventId, account: AccountId | None = None) -> bool:
        """Whether a cut in force names this event, which makes it authentic without a signature.
        With `account`, its author: only if the cut is of that person or of a revoked machine."""
        self._bench()
        if self._named is None:
            self._named = {}
            for node in self._races.in_force():
                body = node.act.body
                if isinstance(body, wire.Remove | wire.Role | Revoke):
                    target = None if isinstance(body, Revoke) else AccountId(body.account)
                    for cut in body.cut:
                        self._named.setdefault(EventId(cut.id), set()).add(target)
        targets = self._named.get(event, set())
        return bool(targets if account is None else targets & {None, account})

    def named_in(self, event: EventId) -> tuple[AccountId, ...]:
        """Whom a known act is by or about."""
        if event not in self._races.index:
            return ()
        act = self._races.file.nodes[self._races.index[event]].act
        about = getattr(act.body, "account", b"")
        return (act.account, AccountId(about)) if about else (act.account,)

    def past(self, account: AccountId) -> frozenset[EventId]:
        """The acts somebody who is out may know: those up to his own ends in the room, and to what
        took away the place that somebody else's act gave him. Unless he was put out, also those up to
        where a room that was open to him is so no more: else he would go on taking it for open."""
        nodes, index, mask = self._races.file.nodes, self._races.index, 0
        for node in nodes:
            body, by = node.act.body, self.void.get(node.act.id)
            leaves = isinstance(body, wire.Leave) and node.act.account == account
            if leaves or (isinstance(body, wire.Remove) and body.account == account):
                if by is None:
                    mask |= node.reach.mask() | 1 << node.index
            elif isinstance(body, wire.Add) and body.account == account and by not in (None, node.act.id):
                for one in (node, nodes[index[by]]):
                    mask |= one.reach.mask() | 1 << one.index
            elif by is None and isinstance(body, wire.Settings) and self._shuts(node, body):
                if self.former.get(account) != "removed":
                    mask |= node.reach.mask() | 1 << node.index
        return frozenset(node.act.id for node in nodes if mask >> node.index & 1)

    def _shuts(self, node: Node, body: wire.Settings) -> bool:
        """Whether a room was open to the office until this act."""
        if all(one.key != rights.ADMISSION or one.value == wire.OFFICE for one in body.changes):
            return False
        bench = self._bench()
        return bench.ask(lambda: court.admission(bench, node.reach)) == wire.OFFICE

    def follows(self, auth: tuple[EventId, ...], act: EventId) -> bool:
        """Whether who linked to `auth` knew that act. All must be known."""
        return self._reach(auth).has(self._races.index[act])

    def depth(self, auth: tuple[EventId, ...]) -> int:
        """How many acts he knew who linked to `auth`, void ones too. All must be known."""
        reach = self._reach(auth)
        return reach.base + reach.bits.bit_count()

    # -- at some point of the history -----------------------------------------

    def role_at(self, auth: tuple[EventId, ...], account: AccountId) -> str | None:
        """The role of `account` by the acts reachable from `auth`, void ones left out."""
        stands = _standing(self._bench(), account, self._reach(auth))
        return stands.role if stands.status == IN else None

    def members_at(self, auth: tuple[EventId, ...]) -> dict[AccountId, Member]:
        """Who is in, by the acts reachable from `auth`, void ones left out."""
        bench, reach = self._bench(), self._reach(auth)
        accounts = dict.fromkeys((*self.root.accounts, *self._races.file.people))
        found = {account: _standing(bench, account, reach) for account in accounts}
        return {account: self._member(stands) for account, stands in found.items() if stands.status == IN}

    def settings_at(self, auth: tuple[EventId, ...]) -> RoomSettings:
        """The settings, by the acts reachable from `auth`, void ones left out."""
        bench, reach = self._bench(), self._reach(auth)
        return bench.ask(lambda: court.settings(bench, reach))

    def revoked_at(self, auth: tuple[EventId, ...]) -> dict[DeviceId, EventId]:
        """Revoked machines, by the acts reachable from `auth`, void ones left out."""
        return self._revoked(self._reach(auth))

    def _revoked(self, reach: Reach) -> dict[DeviceId, EventId]:
        bench, file = self._bench(), self._races.file
        found = {device: _revoker(bench, device, reach) for device in file.revokes}
        return {device: file.nodes[by].act.id for device, by in found.items() if by >= 0}

    def _reach(self, auth: tuple[EventId, ...]) -> Reach:
        reach = self._reaches.get(auth)
        if reach is None:
            reach = self._races.reach(auth)
            if len(self._reaches) >= MAX_MEMO:
                self._reaches.clear()
            self._reaches[auth] = reach
        return reach

    # -- verdicts -------------------------------------------------------------

    def judge(
        self,
        device: DeviceId,
        account: AccountId,
        seq: int,
        id: EventId,
        auth: tuple[EventId, ...],
        kind: int,
    ) -> Verdict:
        """Whether an event of `device`, a machine of `account`, is allowed: its author's right by
        what is reachable from its `auth`, and every known cut. All of `auth` must be known.

        An act that was added is judged with its body; of any other event only the kind counts.
        """
        if self._races.stale or self._races.rebuilt != self._rebuilt:
            self._bench()
        if id in self._races.index:
            return self._known(id)
        key = (account, device, kind, auth)
        if key in self._memo:
            found = self._memo[key]
        else:
            if len(self._memo) >= MAX_MEMO:
                self._memo.clear()
            found = self._memo[key] = self._weigh(self._bench(), account, device, kind, self._reach(auth))
        if isinstance(found, _Open):
            return self._cut(found, device, seq, id)
        return Verdict("void", id) if found is None else found

    def _known(self, event: EventId) -> Verdict:
        by = self.void.get(event)
        if by is None:
            return ALLOWED
        file = self._races.file
        node = file.nodes[self._races.index[event]]
        stranger = node.mark == node.index and not court.ever(file, node.act.account, node.reach)
        return NEVER if stranger else Verdict("void", by)

    def _weigh(
        self, bench: Bench, account: AccountId, device: DeviceId, kind: int, reach: Reach
    ) -> Verdict | _Open | None:
        """A verdict on all such events; None: void, by themselves; or the cuts to ask for each."""
        file, room = self._races.file, self.root.kind
        by = _revoker(bench, device, reach)
        stands = _standing(bench, account, reach)
        if stands.status == IN:
            announce = bench.ask(lambda: court.setting(bench, rights.ANNOUNCE, reach)) == "1"
            allowed = rights.may(room, announce, kind, stands.role)
        else:
            door = bench.ask(lambda: court.admission(bench, reach))
            allowed = kind == ev.JOIN and rights.may_join(room, door, stands.status)
        if not allowed and not court.ever(file, account, reach) and not self._might_join(kind, reach):
            return NEVER
        if by >= 0:
            return Verdict("void", file.nodes[by].act.id)
        if not allowed:
            if stands.status == IN or stands.cause < 0:
                return None
            return Verdict("void", file.nodes[stands.cause].act.id)
        cutting = [i for i in file.against(account, device) if not reach.has(i) and bench.settled(i) == OK]
        if not ev.is_control(kind):
            cutting = [i for i in cutting if file.nodes[i].sort != "demote"]
        return _Open(cutting) if cutting else ALLOWED

    def _might_join(self, kind: int, reach: Reach) -> bool:
        """Whether a stranger may come in by what lies in `reach` alone, whatever voids it: what is
        never kept must be so for everybody, from the event and its past."""
        bench = self._races.alone(reach)
        door = bench.ask(lambda: court.admission(bench, reach))
        return kind == ev.JOIN and rights.may_join(self.root.kind, door, None)

    def _cut(self, removals: _Open, device: DeviceId, seq: int, event: EventId) -> Verdict:
        nodes = [self._races.file.nodes[i] for i in removals]
        spare = [node for node in nodes if self._races.at_or_below(node, device, seq, event)]
        cutting = [
            node for node in nodes if node not in spare and not any(court.raises(s, node) for s in spare)
        ]
        if not cutting:
            return ALLOWED
        return Verdict("void", min(cutting, key=lambda node: node.rank).act.id)


def _standing(bench: Bench, account: AccountId, reach: Reach) -> court.Standing:
    return bench.ask(lambda: court.standing(bench, account, reach))


def _revoker(bench: Bench, device: DeviceId, reach: Reach) -> int:
    return bench.ask(lambda: court.revoker(bench, device, reach))
