"""Which removals count where they race.

Decides: what each act is by its own ancestors, which concurrent acts a removal may void, the order
in which removals are judged, and so the bench of those in force: for all acts, and for whoever
knew only some (docs/decisions/0007-membership-races.md). Does not know: what is asked of a room
(engine/control_graph), chains, or statements.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, cast

from p2pchat.engine import graph_court as court
from p2pchat.engine.graph_court import OK, Bench, File, Node
from p2pchat.engine.graph_cuts import Place, Reach, effective, joined
from p2pchat.engine.graph_rights import Act, Root
from p2pchat.errors import LocalProtocolError
from p2pchat.ids import AccountId, DeviceId, EventId
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.rooms import RANK, Cut, Revoke

MAX_BENCHES: Final = 16
"""Points of view kept that differ in what they know of races; each costs its marks."""

Below = Callable[[DeviceId, int, EventId, Cut], bool]
_Key = tuple[int, tuple[tuple[int, int], ...]]


class Races:
    """All acts of a room, and the bench on which those in force sit."""

    def __init__(self, root: Root, proof_holds: Callable[[Revoke], bool], below: Below) -> None:
        self.file = File(root)
        self.index: dict[EventId, int] = {}
        self.rebuilt = 0
        """How often verdicts on known acts may have changed."""
        self.unproved: dict[DeviceId, None] = {}
        """Machines that a revoke names whose proof does not hold, by what is known."""
        self._proof_holds = proof_holds
        self._below = below
        self._pairs = 0  # acts that some removal may void, as bits
        self._removals = 0  # the same of removals
        self._plain = Bench(self.file, 0)
        self._now = Bench(self.file, 0)
        self.stale = False
        self._benches: OrderedDict[_Key, Bench] = OrderedDict()

    def numbers(self, auth: tuple[EventId, ...]) -> list[int]:
        """The acts named in `auth`; LocalProtocolError if one is not known."""
        try:
            return [self.index[parent] for parent in auth]
        except KeyError as error:
            raise LocalProtocolError("auth names an act that is not known") from error

    def reach(self, auth: tuple[EventId, ...]) -> Reach:
        """What is reachable from `auth`."""
        nodes = self.file.nodes
        return joined((nodes[i].reach, i) for i in self.numbers(auth))

    def whole(self) -> Reach:
        """All acts."""
        return Reach(len(self.file.nodes), 0)

    def enter(self, act: Act) -> Node:
        """Take a new act: what it is by its own ancestors, and whom it may void or be void by."""
        file = self.file
        above = [file.nodes[i] for i in self.numbers(act.auth)]
        reach = joined((node.reach, node.index) for node in above)
        node = Node(act, len(file.nodes), reach, 1 + max((n.depth for n in above), default=-1))
        if isinstance(act.body, Revoke):
            node.proof = self._proof_holds(act.body)
            if not node.proof:
                self.unproved[DeviceId(act.body.device)] = None
        bench = self.alone(reach)
        file.nodes.append(node)
        self.index[act.id] = node.index
        node.mark = bench.ask(lambda: court.ruling(bench, node, reach))
        file.by_device.setdefault(act.device, []).append(node.index)
        file.by_account.setdefault(act.account, []).append(node.index)
        if node.mark >= 0:
            return node
        self._describe(node, bench)
        file.index(node)
        newest = reach.base == node.index  # it knows all that we know, so nothing is concurrent
        later_revoke = self._pairs and node.sort == "revoke"  # it may spare what an earlier one voids
        reaches_out = self._concurrent(node) if later_revoke or not newest else False
        if node.sort:
            self._removals |= 1 << node.index
            self._weigh(node, newest, reaches_out)
        elif bench is self._now and newest:
            self._now.marks[node.index] = node.mark
        return node

    def now(self) -> Bench:
        """The bench of all acts; built anew if a removal reached into a concurrent branch."""
        if self.stale:
            self.stale = False
            self.rebuilt += 1
            self._now = self._build((self._removals, tuple(self.file.hits.items())))
        return self._now

    def at_or_below(self, removal: Node, device: DeviceId, seq: int, event: EventId) -> bool:
        """Whether an event of that machine is spared by the removal's cut."""
        cut = removal.cuts.get(device)
        return cut is not None and self._below(device, seq, event, cut)

    def in_force(self) -> list[Node]:
        """Removals that count."""
        bench = self.now()
        return [self.file.nodes[i] for i in self.file.removals if bench.settled(i) == OK]

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
        creator = act.account == self.file.creator
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
        known = [self.file.nodes[i] for i in self._targets(node) if node.reach.has(i)]
        node.cuts = effective(
            body.cut,
            [(n.act.device, Place(n.act.seq, n.act.id)) for n in known],
        )

    def _targets(self, node: Node) -> list[int]:
        """Acts by whom a removal is aimed at."""
        body = node.act.body
        if isinstance(body, wire.Revoke):
            return self.file.by_device.get(DeviceId(body.device), [])
        return self.file.by_account.get(AccountId(cast(wire.Remove | wire.Role, body).account), [])

    def _concurrent(self, node: Node) -> bool:
        """Note who may void whom among concurrent acts. True if a removal, should it count, may
        change the verdict on a known act: by voiding it, or by sparing what another voids."""
        file, act, i = self.file, node.act, node.index
        for r in file.against(act.account, act.device):
            if r != i and not node.reach.has(r):
                self._pair(r, i)
        if not node.sort:
            return False
        changes = False
        for e in self._targets(node):
            other = file.nodes[e]
            if e == i or other.mark >= 0:
                continue
            if node.reach.has(e):
                changes |= bool(self._pairs >> e & 1)
            else:
                self._pair(i, e)
                changes = True
        return changes

    def _pair(self, removal: int, act: int) -> None:
        self.file.hits[removal] = self.file.hits.get(removal, 0) | 1 << act
        self._pairs |= 1 << act
        self._now.suspect |= 1 << act

    def _weigh(self, node: Node, newest: bool, changes: bool) -> None:
        """Give a new removal its place among those judged already."""
        if self.stale:
            return
        nodes, now, verdict = self.file.nodes, self._now, OK
        if not newest:  # else its own ancestors are all there is
            earlier = Bench(self.file, now.suspect)
            for i, known in now.force.items():
                if nodes[i].rank < node.rank:
                    earlier.decide(i, known)
            verdict = self._turn(earlier, node)
        if verdict == OK and changes:
            self.stale = True
        else:
            now.decide(node.index, verdict)

    def alone(self, reach: Reach) -> Bench:
        """The bench of whoever knows just the acts in `reach`."""
        if not reach.common(self._pairs):
            return self._plain
        if reach.base == len(self.file.nodes):
            return self.now()
        pairs = tuple(
            (r, seen) for r, acts in self.file.hits.items() if reach.has(r) and (seen := reach.common(acts))
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

    def _build(self, key: _Key) -> Bench:
        """Removals judged in order of rank, each by those before it and its own ancestors."""
        removals, pairs = key
        suspect = 0
        for _, acts in pairs:
            suspect |= acts
        order = [self.file.nodes[i] for i in self.file.removals if removals >> i & 1]
        bench = Bench(self.file, suspect)
        for node in sorted(order, key=lambda node: node.rank):
            bench.decide(node.index, self._turn(bench, node))
        return bench

    def _turn(self, bench: Bench, node: Node) -> int:
        """OK or the number of the act that voids a removal. `bench` holds the verdicts on those
        that rank before it; nothing that ranks after it reopens this."""
        by = bench.hit(node.index)
        if by is not None:
            return by
        reach = node.reach
        if not reach.common(bench.suspect) or not self._shaken(bench, node):
            return OK  # its own ancestors say so, and what they say of each other has not changed
        view = Bench(self.file, bench.suspect, dict(bench.force))
        for i in self.file.removals:
            if reach.has(i) and i not in bench.force:
                spoilt = bench.hit(i)
                view.force[i] = node.fallen.get(i, OK) if spoilt is None else spoilt
        return view.ask(lambda: court.ruling(view, node, reach))

    def _shaken(self, bench: Bench, node: Node) -> bool:
        """Whether a removal in force beyond a removal's ancestors may void one of them, or spare
        what they void among themselves."""
        file, reach = self.file, node.reach
        for r, acts in file.hits.items():
            if not reach.common(acts):
                continue
            if not reach.has(r):
                if bench.stood >> r & 1:
                    return True
                continue
            body = file.nodes[r].act.body
            group = (
                file.revokes[DeviceId(body.device)]
                if isinstance(body, Revoke)
                else file.removals_of[AccountId(cast(wire.Remove | wire.Role, body).account)]
            )
            if any(bench.stood >> s & 1 and not reach.has(s) for s in group):
                return True
        return False
