"""Who may what in a room: its membership as signed causal history.

Decides: which control events of one room count, in what order removals are judged where they
race, and so who is a member with which role, what the settings are, and whether any event of
the room is allowed (docs/rooms.md; docs/protocol.md, "Rooms"). Does not know: chains, bodies
of content, keys, statements, the archive, or who is on the line.

Pure: the outcome depends on the set of acts only, never on the order in which they came. What
each act is by its own ancestors is worked out once, when it comes. An act on top of all others
changes nothing that was decided; only a removal that reaches into a concurrent branch has the
removals judged again (`evaluations` counts the work).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Literal, cast

from p2pchat.engine import graph_court as court
from p2pchat.engine import graph_rights as rights
from p2pchat.engine.graph_court import IDLE, IN, OK, Bench, File, Node
from p2pchat.engine.graph_cuts import EMPTY, CutInForce, Place, Reach, effective, joined
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
from p2pchat.errors import LocalProtocolError
from p2pchat.ids import AccountId, DeviceId, EventId
from p2pchat.wire.limits import MAX_AUTH
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.rooms import RANK, Cut, Revoke

MAX_BENCHES: Final = 16
"""Points of view kept that differ in what they know of races; each costs its marks."""
MAX_MEMO: Final = 8192
"""Verdicts, and `auth` tuples, remembered."""

Below = Callable[[DeviceId, int, EventId, Cut], bool]
_Key = tuple[int, tuple[tuple[int, int], ...]]


class _Open(tuple[int, ...]):
    """Right by the graph; removals whose cuts must still be asked."""


class Graph:
    """All control events of one room and what they come to."""

    def __init__(self, root: Root, proof_holds: Callable[[Revoke], bool], below: Below) -> None:
        """`below` says whether a machine's event (seq, id) lies at or below a cut of its chain;
        `proof_holds` whether the proof in a `revoke` shows what it claims. Where either would
        answer differently from now on, `reconsider` must be called."""
        self.root = root
        self._proof_holds = proof_holds
        self._below = below
        self._reset()

    def _reset(self) -> None:
        self._file = File(self.root)
        self._index: dict[EventId, int] = {}
        self._heads: set[int] = set()
        self._pairs = 0  # acts that some removal may void, as bits
        self._removals = 0  # the same of removals
        self._plain = Bench(self._file, 0, {})
        self._now = Bench(self._file, 0, {})
        self._stale = False
        self._benches: OrderedDict[_Key, Bench] = OrderedDict()
        self._version = 0
        self._reaches: dict[tuple[EventId, ...], Reach] = {}
        self._forget()
        self._members: dict[AccountId, Member] = {}
        self._former: dict[AccountId, str] = {}
        self._moved: set[AccountId] = set(self.root.accounts)
        self._settings: RoomSettings | None = None
        self._void: dict[EventId, EventId] = {}

    def _forget(self) -> None:
        """Verdicts may have changed: cuts or voids did."""
        self._version += 1
        self._memo: dict[tuple[AccountId, DeviceId, int, tuple[EventId, ...]], Verdict | _Open | None] = {}
        self._cuts: dict[DeviceId, tuple[CutInForce, ...]] | None = None
        self._named: dict[EventId, AccountId | None] | None = None

    # -- growing ------------------------------------------------------------

    def add(self, act: Act) -> None:
        """Take one authentic act; all of its `auth` must be known and its body checked. A known
        one changes nothing."""
        if act.id in self._index:
            return
        file = self._file
        above = [file.nodes[i] for i in self._numbers(act.auth)]
        reach = joined((node.reach, node.index) for node in above)
        node = Node(act, len(file.nodes), reach, 1 + max((n.depth for n in above), default=-1))
        newest = reach.base == node.index  # it knows all that we know
        if isinstance(act.body, Revoke):
            node.proof = self._proof_holds(act.body)
        bench = self._bench(reach)
        file.nodes.append(node)
        self._index[act.id] = node.index
        self._heads.difference_update(n.index for n in above)
        self._heads.add(node.index)
        self._head_ids: tuple[EventId, ...] | None = None
        node.mark = bench.ask(lambda: court.ruling(bench, node, reach))
        file.by_device.setdefault(act.device, []).append(node.index)
        file.by_account.setdefault(act.account, []).append(node.index)
        if node.mark >= 0:
            self._void[act.id] = file.nodes[node.mark].act.id
            return
        self._describe(node, bench)
        file.index(node)
        if node.sort:
            self._removals |= 1 << node.index
        changes = False if newest else self._concurrent(node)
        if self._stale:
            pass
        elif changes:
            self._stale = True
        elif node.sort:
            self._now.force[node.index] = self._turn(self._now, node)
        elif bench is self._now and not self._pairs >> node.index & 1:
            self._now.marks[node.index] = node.mark
        self._follow(node)

    def reconsider(self) -> None:
        """Work everything out anew: what `below` or `proof_holds` answer has changed (a fork was
        found, a statement came)."""
        nodes = self._file.nodes
        version = self._version
        self._reset()
        self._version += version
        for node in nodes:
            self.add(node.act)

    def _numbers(self, auth: tuple[EventId, ...]) -> list[int]:
        try:
            return [self._index[parent] for parent in auth]
        except KeyError as error:
            raise LocalProtocolError("an act before what it names in auth") from error

    def _describe(self, node: Node, bench: Bench) -> None:
        """What kind of removal it is, how it ranks, how far it cuts."""
        act, body = node.act, node.act.body
        match body:
            case wire.Role():
                old = bench.ask(lambda: court.standing(bench, AccountId(body.account), node.reach))
                node.lowers = RANK[body.role] < RANK[old.role]
                node.sort = "demote" if node.lowers else ""
            case wire.Remove():
                node.sort = "remove"
            case wire.Revoke():
                node.sort = "revoke"
            case _:
                return
        if not node.sort:
            return
        author = bench.ask(lambda: court.standing(bench, act.account, node.reach))
        creator = act.account == self._file.creator
        node.rank = (
            -RANK[author.role],
            not creator,
            author.depth,
            act.account,
            node.sort != "revoke",
            node.depth,
            act.id,
        )
        inside = node.reach.common(self._removals)
        node.fallen = {i: by for i, by in bench.force.items() if by != OK and inside >> i & 1}
        known = [self._file.nodes[i] for i in self._targets(node) if node.reach.has(i)]
        node.cuts = effective(
            cast(wire.Remove | wire.Role | wire.Revoke, body).cut,
            [(n.act.device, Place(n.act.seq, n.act.id)) for n in known],
        )

    def _targets(self, node: Node) -> list[int]:
        """Acts by whom a removal is aimed at."""
        body = node.act.body
        if isinstance(body, wire.Revoke):
            return self._file.by_device.get(DeviceId(body.device), [])
        return self._file.by_account.get(AccountId(cast(wire.Remove | wire.Role, body).account), [])

    def _concurrent(self, node: Node) -> bool:
        """Note who may void whom among concurrent acts; True if verdicts on known acts may change."""
        file, act, i = self._file, node.act, node.index
        for r in file.against(act.account, act.device):
            if r != i and not node.reach.has(r) and not self._covers(file.nodes[r], act):
                self._pair(r, i)
        if not node.sort:
            return False
        changes = bool(node.reach.common(self._pairs) or self._pairs >> i & 1)
        for e in self._targets(node):
            other = file.nodes[e]
            if e == i or other.mark >= 0:
                continue
            if node.reach.has(e) or self._covers(node, other.act):
                changes |= bool(self._pairs >> e & 1)  # it may spare what another voids
            else:
                self._pair(i, e)
                changes = True
        return changes and not self._loses(node)

    def _pair(self, removal: int, act: int) -> None:
        self._file.hits[removal] = self._file.hits.get(removal, 0) | 1 << act
        self._pairs |= 1 << act
        self._now.suspect |= 1 << act

    def _loses(self, node: Node) -> bool:
        """Whether a new removal is void by one before it, so that it moves nothing."""
        return not self._stale and self._now.hit(node.index, node.rank) is not None

    def _covers(self, removal: Node, act: Act) -> bool:
        return self._at_or_below(removal, act.device, act.seq, act.id)

    def _at_or_below(self, removal: Node, device: DeviceId, seq: int, event: EventId) -> bool:
        cut = removal.cuts.get(device)
        return cut is not None and self._below(device, seq, event, cut)

    def _follow(self, node: Node) -> None:
        """What is remembered of the outcome, after an act that is right by its own ancestors."""
        act, body = node.act, node.act.body
        if self._stale or node.sort:
            self._forget()
        if self._stale:
            return
        mark = self._now.settled(node.index)
        if mark >= 0:
            self._void[act.id] = self._file.nodes[mark].act.id
        match body:
            case wire.Create():
                self._settings = None
                self._moved.add(act.account)
            case wire.Settings():
                self._settings = None
            case wire.Add() | wire.Remove() | wire.Role():
                self._moved.add(AccountId(body.account))
            case wire.Join() | wire.Leave():
                self._moved.add(act.account)
            case _:
                pass

    # -- races --------------------------------------------------------------

    def _bench(self, reach: Reach) -> Bench:
        """The bench of whoever knows just the acts in `reach`."""
        if not reach.common(self._pairs):
            return self._plain
        if reach.base == len(self._file.nodes):
            return self._current()
        pairs = tuple(
            (r, seen) for r, acts in self._file.hits.items() if reach.has(r) and (seen := reach.common(acts))
        )
        if not pairs:
            return self._plain
        key = (reach.common(self._removals), pairs)
        bench = self._benches.get(key)
        if bench is None:
            bench = self._benches[key] = self._build(key)
            if len(self._benches) > MAX_BENCHES:
                self._benches.popitem(last=False)
        else:
            self._benches.move_to_end(key)
        return bench

    def _current(self) -> Bench:
        """The bench of all acts, built anew if a removal reached into a concurrent branch."""
        if self._stale:
            self._stale = False
            self._now = self._build((self._removals, tuple(self._file.hits.items())))
            self._settings = None
            self._moved.update(self._file.people)
            self._void = {}
            for node in self._file.nodes:
                if (mark := self._now.settled(node.index)) >= 0:
                    self._void[node.act.id] = self._file.nodes[mark].act.id
            self._forget()
        return self._now

    def _build(self, key: _Key) -> Bench:
        """Removals judged in order of rank, each by those before it and its own ancestors."""
        removals, pairs = key
        suspect = 0
        for _, acts in pairs:
            suspect |= acts
        order = [self._file.nodes[i] for i in self._file.removals if removals >> i & 1]
        bench = Bench(self._file, suspect, {})
        for node in sorted(order, key=lambda node: node.rank):
            bench.force[node.index] = self._turn(bench, node)
        return bench

    def _turn(self, bench: Bench, node: Node) -> int:
        """OK or the number of the act that voids a removal, given the verdicts on those that
        rank before it. Nothing that ranks after it reopens this."""
        by = bench.hit(node.index, node.rank)
        if by is not None:
            return by
        nodes, hits, reach = self._file.nodes, self._file.hits, node.reach
        if not reach.common(bench.suspect):
            return OK
        before = {i: verdict for i, verdict in bench.force.items() if nodes[i].rank < node.rank}
        for i, verdict in before.items():
            if reach.has(i):
                if (verdict == OK) == (i in node.fallen):
                    break
            elif verdict == OK and i in hits and reach.common(hits[i]):
                break
        else:
            return OK  # its own ancestors say so, and nothing they say has changed
        view = Bench(self._file, bench.suspect, before)
        own = [nodes[i] for i in self._file.removals if reach.has(i) and i not in before]
        for removal in own:
            spoilt = bench.hit(removal.index, node.rank)
            view.force[removal.index] = node.fallen.get(removal.index, OK) if spoilt is None else spoilt
        mark = view.ask(lambda: court.ruling(view, node, reach))
        return OK if mark == OK else mark

    # -- what it comes to ---------------------------------------------------

    def knows(self, event: EventId) -> bool:
        """Whether that act was added."""
        return event in self._index

    @property
    def version(self) -> int:
        """Another number whenever the verdict on a known event may have changed."""
        self._current()
        return self._version

    @property
    def evaluations(self) -> int:
        """How often the right of an act was worked out."""
        return self._file.evaluations

    @property
    def heads(self) -> tuple[EventId, ...]:
        """Acts no other names, void or not, sorted; of more than 8 those that together reach most,
        such that count before void ones: whoever floods a room with branches hides none of it."""
        if self._head_ids is None:
            self._head_ids = self._choose_heads()
        return self._head_ids

    _head_ids: tuple[EventId, ...] | None = ()

    def _choose_heads(self) -> tuple[EventId, ...]:
        nodes = [self._file.nodes[i] for i in self._heads]
        if len(nodes) > MAX_AUTH:
            void, masks = self.void, {n.index: n.reach.mask() | 1 << n.index for n in nodes}
            reached, chosen = 0, []
            for _ in range(MAX_AUTH):
                best = min(
                    nodes,
                    key=lambda n: (n.act.id in void, -(masks[n.index] & ~reached).bit_count(), n.act.id),  # noqa: B023
                )
                reached |= masks[best.index]
                nodes.remove(best)
                chosen.append(best)
            nodes = chosen
        return tuple(sorted(n.act.id for n in nodes))

    def _refresh(self) -> Reach:
        bench = self._current()
        whole = Reach(len(self._file.nodes), 0)
        moved, self._moved = self._moved, set()
        for account in moved:
            self._members.pop(account, None)
            self._former.pop(account, None)
            stands = bench.ask(lambda: court.standing(bench, account, whole))  # noqa: B023
            if stands.status == IN:
                self._members[account] = self._member(stands)
            elif stands.status is not None:
                self._former[account] = stands.status
        return whole

    def _member(self, stands: court.Standing) -> Member:
        source = self._file.nodes[stands.source].act.id if stands.source >= 0 else None
        return Member(stands.role, source, stands.depth)

    @property
    def members(self) -> dict[AccountId, Member]:
        """Who is in now. Not to be changed by the caller, nor kept across an `add`."""
        self._refresh()
        return self._members

    @property
    def former(self) -> dict[AccountId, str]:
        """Who was in and is not: "left" or "removed"."""
        self._refresh()
        return self._former

    def ever(self, account: AccountId) -> bool:
        """Whether an act ever let that person in, even one that is void by now."""
        return court.ever(self._file, account)

    @property
    def settings(self) -> RoomSettings:
        """The settings now."""
        bench = self._current()
        if self._settings is None:
            whole = Reach(len(self._file.nodes), 0)
            self._settings = bench.ask(lambda: court.settings(bench, whole))
        return self._settings

    @property
    def revoked(self) -> dict[DeviceId, EventId]:
        """Machines under an allowed `revoke`, and which act it is (the first by rank)."""
        return self._revoked(Reach(len(self._file.nodes), 0))

    @property
    def void(self) -> dict[EventId, EventId]:
        """Acts that do not count, and the act that voids each: itself if its author had no right."""
        self._current()
        return self._void

    @property
    def cuts(self) -> dict[DeviceId, tuple[CutInForce, ...]]:
        """Every cut in force per machine. A machine of somebody in `cut_accounts` that is not here,
        or lacks the act that is named there, is cut at 0 by it."""
        bench = self._current()
        if self._cuts is None:
            found: dict[DeviceId, list[CutInForce]] = {}
            for node in self._in_force(bench):
                for device, cut in node.cuts.items():
                    entry = CutInForce(node.act.id, node.sort, cut.seq, EventId(cut.id))
                    found.setdefault(device, []).append(entry)
            self._cuts = {device: tuple(sorted(entries)) for device, entries in found.items()}
        return self._cuts

    @property
    def cut_accounts(self) -> dict[AccountId, tuple[EventId, ...]]:
        """Removals and demotions in force against each person."""
        found: dict[AccountId, list[EventId]] = {}
        for node in self._in_force(self._current()):
            if not isinstance(node.act.body, Revoke):
                target = AccountId(cast(wire.Remove | wire.Role, node.act.body).account)
                found.setdefault(target, []).append(node.act.id)
        return {account: tuple(sorted(acts)) for account, acts in found.items()}

    def cut_names(self, event: EventId, account: AccountId | None = None) -> bool:
        """Whether a cut in force names this event, which makes it authentic without a signature.
        With `account`, its author: only if the cut is of that person or of a revoked machine."""
        bench = self._current()
        if self._named is None:
            self._named = {}
            for node in self._in_force(bench):
                body = cast(wire.Remove | wire.Role | Revoke, node.act.body)
                target = None if isinstance(body, Revoke) else AccountId(body.account)
                self._named.update((EventId(cut.id), target) for cut in body.cut)
        if event not in self._named:
            return False
        return account is None or self._named[event] in (None, account)

    def _in_force(self, bench: Bench) -> list[Node]:
        file = self._file
        return [file.nodes[i] for i in file.removals if bench.settled(i) == OK]

    # -- at some point of the history -----------------------------------------

    def role_at(self, auth: tuple[EventId, ...], account: AccountId) -> str | None:
        """The role of `account` by the acts reachable from `auth`, void ones left out."""
        bench, reach = self._current(), self._reach(auth)
        stands = bench.ask(lambda: court.standing(bench, account, reach))
        return stands.role if stands.status == IN else None

    def members_at(self, auth: tuple[EventId, ...]) -> dict[AccountId, Member]:
        """Who is in, by the acts reachable from `auth`, void ones left out."""
        bench, reach = self._current(), self._reach(auth)
        found: dict[AccountId, Member] = {}
        for account in (*self.root.accounts, *self._file.people):
            stands = bench.ask(lambda: court.standing(bench, account, reach))  # noqa: B023
            if stands.status == IN:
                found[account] = self._member(stands)
        return found

    def settings_at(self, auth: tuple[EventId, ...]) -> RoomSettings:
        """The settings, by the acts reachable from `auth`, void ones left out."""
        bench, reach = self._current(), self._reach(auth)
        return bench.ask(lambda: court.settings(bench, reach))

    def revoked_at(self, auth: tuple[EventId, ...]) -> dict[DeviceId, EventId]:
        """Revoked machines, by the acts reachable from `auth`, void ones left out."""
        return self._revoked(self._reach(auth))

    def _revoked(self, reach: Reach) -> dict[DeviceId, EventId]:
        bench, found = self._current(), {}
        for device in self._file.revokes:
            by = bench.ask(lambda: court.revoker(bench, device, reach))  # noqa: B023
            if by >= 0:
                found[device] = self._file.nodes[by].act.id
        return found

    def _reach(self, auth: tuple[EventId, ...]) -> Reach:
        reach = self._reaches.get(auth)
        if reach is None:
            nodes = self._file.nodes
            reach = joined((nodes[i].reach, i) for i in self._numbers(auth))
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
        event: EventId,
        auth: tuple[EventId, ...],
        kind: int,
    ) -> Verdict:
        """Whether an event of `device`, a machine of `account`, is allowed: its author's right by
        what is reachable from its `auth`, and every known cut. All of `auth` must be known."""
        if event in self._index:
            return self._known(event)
        self._current()
        key = (account, device, kind, auth)
        if key in self._memo:
            found = self._memo[key]
        else:
            if len(self._memo) >= MAX_MEMO:
                self._memo.clear()
            found = self._memo[key] = self._weigh(account, device, kind, self._reach(auth))
        if isinstance(found, _Open):
            return self._cut(found, device, seq, event)
        return Verdict("void", event) if found is None else found

    def _known(self, event: EventId) -> Verdict:
        by = self.void.get(event)
        if by is None:
            return ALLOWED
        node = self._file.nodes[self._index[event]]
        stranger = not court.ever(self._file, node.act.account, node.reach)
        return NEVER if by == event and stranger else Verdict("void", by)

    def _weigh(self, account: AccountId, device: DeviceId, kind: int, reach: Reach) -> Verdict | _Open | None:
        """A verdict that holds for all such events; None: void by itself; or the cuts to ask."""
        bench = self._now
        nodes = self._file.nodes
        if (by := bench.ask(lambda: court.revoker(bench, device, reach))) >= 0:
            return Verdict("void", nodes[by].act.id)
        stands = bench.ask(lambda: court.standing(bench, account, reach))
        if kind == ev.JOIN and stands.status != IN:
            door = bench.ask(lambda: court.admission(bench, reach))
            allowed = rights.may_join(self.root.kind, door, stands.status)
        elif stands.status == IN:
            announce = bench.ask(lambda: court.setting(bench, rights.ANNOUNCE, reach)) == "1"
            allowed = rights.may(self.root.kind, announce, kind, stands.role)
        else:
            allowed = False
        if not allowed:
            if stands.status == IN:
                return None
            return Verdict("void", nodes[stands.cause].act.id) if stands.cause >= 0 else NEVER
        cutting = [
            nodes[i]
            for i in self._file.against(account, device)
            if not reach.has(i) and bench.settled(i) == OK
        ]
        if not ev.is_control(kind):
            cutting = [node for node in cutting if node.sort != "demote"]
        return _Open(node.index for node in cutting) if cutting else ALLOWED

    def _cut(self, removals: _Open, device: DeviceId, seq: int, event: EventId) -> Verdict:
        nodes = [self._file.nodes[i] for i in removals]
        spare = [node for node in nodes if self._at_or_below(node, device, seq, event)]
        hitting = [
            node for node in nodes if node not in spare and not any(court.raises(s, node) for s in spare)
        ]
        if not hitting:
            return ALLOWED
        return Verdict("void", min(hitting, key=lambda node: node.rank).act.id)


__all__ = [
    "ALLOWED",
    "EMPTY",
    "IDLE",
    "NEVER",
    "Act",
    "CutInForce",
    "Graph",
    "Literal",
    "Member",
    "RoomSettings",
    "Root",
    "Verdict",
    "check_body",
]
