"""Acts on file, and a bench that says which of them count once some removals are in force.

Decides: where a person stands at a point of a room's history (member and role, left, removed),
what the settings are there, whether an act had its right there, and which concurrent acts a
removal voids (docs/decisions/0007-membership-races.md). Does not know: which removals are in
force (engine/control_graph decides that, in order of rank) or what anything is stored as.

Everything here is asked at a `Reach`, the set of acts below some act or some `auth`, and at a
`Bench`, a choice of removals in force: both together give one answer, for ever.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar, cast

from p2pchat.engine import graph_rights as rights
from p2pchat.engine.graph_cuts import Reach
from p2pchat.engine.graph_rights import ADMISSION, ANNOUNCE, LEFT, REMOVED, Act, RoomSettings, Root
from p2pchat.ids import AccountId, DeviceId
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.rooms import MEMBER, OWNER, RANK, Cut

T = TypeVar("T")

OK: Final = -1
"""Mark of an act that counts. A mark of 0 or more is the number of the act that voids it."""
IDLE: Final = -2
"""Mark of an act that is allowed and changes nothing: an `add` of somebody who left."""
IN: Final = "in"


@dataclass(slots=True)
class Node:
    """An act with what its own ancestors alone say of it, which never changes."""

    act: Act
    index: int
    reach: Reach
    depth: int
    mark: int = OK
    proof: bool = False  # of a revoke: whether its proof holds
    lowers: bool = False  # of a role: whether it is a demotion
    sort: str = ""  # of a removal: remove, demote or revoke
    rank: tuple[object, ...] = ()  # of a removal: the smaller, the earlier it is decided
    cuts: dict[DeviceId, Cut] = field(default_factory=dict)
    fallen: dict[int, int] = field(default_factory=dict)  # removals void by its own ancestors


class Standing(NamedTuple):
    """Where somebody stands: `status` is IN, LEFT, REMOVED or None; `source` the number of the act
    that let him in (-1: the root); `cause` the act that put him out, or voids what let him in (-1: none)."""

    status: str | None
    role: str
    source: int
    depth: int
    cause: int


NOBODY: Final = Standing(None, "", -1, 0, -1)
_FIXED: Final = Standing(IN, OWNER, -1, 0, -1)


@dataclass(slots=True)
class Person:
    """Acts about one account: what lets it in (most senior first), what puts it out, its roles."""

    sources: list[tuple[int, bytes, int]] = field(default_factory=list)
    kills: list[int] = field(default_factory=list)
    roles: list[int] = field(default_factory=list)


class Wanted(Exception):
    """Raised inside a question whose answer hangs on an act that is not settled yet."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class File:
    """All acts of one room, found by whom and what they concern."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.nodes: list[Node] = []
        self.people: dict[AccountId, Person] = {}
        self.setters: dict[str, list[int]] = {}
        self.revokes: dict[DeviceId, list[int]] = {}
        self.removals_of: dict[AccountId, list[int]] = {}
        self.by_account: dict[AccountId, list[int]] = {}
        self.by_device: dict[DeviceId, list[int]] = {}
        self.removals: list[int] = []
        self.creator: AccountId | None = None
        self.hits: dict[int, int] = {}  # removal → concurrent acts above its cut, as bits
        self.evaluations = 0
        """How often an act's right was worked out: what a test of effort counts."""

    def index(self, node: Node) -> None:
        """Take an act that is right by its own ancestors into the lists."""
        act, body, i = node.act, node.act.body, node.index
        match body:
            case wire.Create():
                self.creator = act.account
                self._source(act.account, node)
                for key in (rights.ADMISSION, rights.ANNOUNCE, rights.HISTORY, rights.TITLE):
                    self.setters.setdefault(key, []).append(i)
            case wire.Add():
                self._source(AccountId(body.account), node)
            case wire.Join():
                self._source(act.account, node)
            case wire.Leave():
                self.person(act.account).kills.append(i)
            case wire.Remove():
                self.person(AccountId(body.account)).kills.append(i)
            case wire.Role():
                self.person(AccountId(body.account)).roles.append(i)
            case wire.Settings():
                for change in body.changes:
                    self.setters.setdefault(change.key, []).append(i)
            case _:
                pass
        if node.sort:
            self.removals.append(i)
            if isinstance(body, wire.Revoke):
                self.revokes.setdefault(DeviceId(body.device), []).append(i)
            else:
                target = AccountId(cast(wire.Remove | wire.Role, body).account)
                self.removals_of.setdefault(target, []).append(i)

    def person(self, account: AccountId) -> Person:
        """The lists of one account, made when first named."""
        found = self.people.get(account)
        return found if found is not None else self.people.setdefault(account, Person())

    def _source(self, account: AccountId, node: Node) -> None:
        insort(self.person(account).sources, (node.depth, node.act.id, node.index))

    def against(self, account: AccountId, device: DeviceId) -> Iterator[int]:
        """Removals that cut this machine of this person."""
        yield from self.removals_of.get(account, ())
        yield from self.revokes.get(device, ())


class Bench:
    """Which acts count, with the removals that `force` marks OK in force.

    `suspect` are the acts that some removal may void; an act that reaches none of them is what
    its own ancestors say it is, so in a history without races nothing is worked out twice.
    """

    __slots__ = ("fell", "file", "force", "marks", "stood", "suspect")

    def __init__(self, file: File, suspect: int, force: dict[int, int] | None = None) -> None:
        self.file = file
        self.suspect = suspect
        self.force = {} if force is None else force
        self.stood = 0  # of `force` those that are OK, as bits
        self.fell = 0  # and the others
        self.marks: dict[int, int] = {}

    def decide(self, removal: int, verdict: int) -> None:
        """Put a removal in force (OK), or say which act voids it."""
        self.force[removal] = verdict
        if verdict == OK:
            self.stood |= 1 << removal
        else:
            self.fell |= 1 << removal

    def mark(self, index: int) -> int:
        """OK, IDLE or the number of the voiding act; Wanted if that must be settled first."""
        node = self.file.nodes[index]
        if node.mark >= 0 or not self.suspect:
            return node.mark
        known = self.marks.get(index)
        if known is None:
            known = self.force.get(index)
            if known is None:
                if not self.suspect >> index & 1 and not node.reach.common(self.suspect):
                    return node.mark
                raise Wanted(index)
        return known

    def ask(self, question: Callable[[], T]) -> T:
        """The answer to `question`, settling what it hangs on; no recursion, however long the chain."""
        waiting: list[int] = []
        while True:
            try:
                if not waiting:
                    return question()
                index = waiting[-1]
                self.marks[index] = self._judge(index)
                waiting.pop()
            except Wanted as wanted:
                waiting.append(wanted.index)

    def settled(self, index: int) -> int:
        """`mark`, worked out if need be."""
        return self.ask(lambda: self.mark(index))

    def hit(self, index: int) -> int | None:
        """The removal in force that voids a concurrent act, the first by rank; None if none does.

        Of concurrent cuts of one sort the highest holds, of revokes also a later one.
        """
        if not self.suspect >> index & 1:
            return None
        file, nodes = self.file, self.file.nodes
        act = nodes[index].act
        cutting = [r for r in file.against(act.account, act.device) if self.force.get(r) == OK]
        hitting = [r for r in cutting if file.hits.get(r, 0) >> index & 1]
        if not hitting:
            return None
        sparing = [s for s in cutting if s not in hitting and self._spares(s, index)]
        left = [nodes[r] for r in hitting if not any(raises(nodes[s], nodes[r]) for s in sparing)]
        return min(left, key=lambda node: node.rank).index if left else None

    def _spares(self, removal: int, index: int) -> bool:
        """Whether the act lies below the removal's cut, or is its ancestor."""
        return not self.file.nodes[index].reach.has(removal)

    def _judge(self, index: int) -> int:
        node = self.file.nodes[index]
        by = self.hit(index)
        return ruling(self, node, node.reach) if by is None else by


def raises(one: Node, other: Node) -> bool:
    """Whether the cut of `one` can spare what the cut of `other` would void."""
    if one.sort != other.sort:
        return False
    return one.sort == "revoke" or not (one.reach.has(other.index) or other.reach.has(one.index))


def standing(bench: Bench, account: AccountId, reach: Reach) -> Standing:
    """Where `account` stands after the acts in `reach`. Whatever puts somebody out undoes every
    way in that does not descend from it."""
    file = bench.file
    if file.root.kind == rights.DIRECT:
        return _FIXED if account in file.root.accounts else NOBODY
    person = file.people.get(account)
    if person is None:
        return NOBODY
    nodes = file.nodes
    out = _tops(bench, person.kills, reach)
    for depth, _, index in person.sources:
        if reach.has(index) and _above(nodes[index], out) and bench.mark(index) == OK:
            role = _role(bench, person, reach, out, nodes[index])
            return Standing(IN, role, index, depth, -1)
    return _gone(bench, person, reach, out)


def _above(node: Node, out: list[Node]) -> bool:
    return all(node.reach.has(kill.index) for kill in out)


def _tops(bench: Bench, indexes: list[int], reach: Reach) -> list[Node]:
    """Of acts that count those no later one of them descends from."""
    tops: list[Node] = []
    for index in reversed(indexes):
        if any(index < top.reach.base for top in tops):
            break
        if not reach.has(index) or any(top.reach.has(index) for top in tops):
            continue
        if bench.mark(index) == OK:
            tops.append(bench.file.nodes[index])
    return tops


def _role(bench: Bench, person: Person, reach: Reach, out: list[Node], source: Node) -> str:
    tops = [node for node in _tops(bench, person.roles, reach) if _above(node, out)]
    if not tops:
        return OWNER if source.act.kind == ev.CREATE else MEMBER
    roles = [(node, cast(wire.Role, node.act.body).role) for node in tops]
    lower = [role for node, role in roles if node.lowers]
    if lower:  # a demotion is not undone by what does not know it
        return min(lower, key=lambda role: RANK[role])
    return max(roles, key=lambda pair: (pair[0].act.hlc, pair[0].act.id))[1]


def _gone(bench: Bench, person: Person, reach: Reach, out: list[Node]) -> Standing:
    nodes = bench.file.nodes
    inside = [i for _, _, i in person.sources if reach.has(i)]
    if not out:
        cause = next((mark for i in inside if (mark := bench.mark(i)) >= 0), -1)
        return Standing(None, "", -1, 0, cause)
    outstanding = [
        node
        for node in out
        if node.act.kind == ev.REMOVE
        and not any(nodes[i].reach.has(node.index) and bench.mark(i) == OK for i in inside)
    ]
    last = max(outstanding or out, key=lambda node: (node.act.hlc, node.act.id))
    return Standing(REMOVED if outstanding else LEFT, "", -1, 0, last.index)


def lost_role(bench: Bench, account: AccountId, reach: Reach) -> int:
    """The act that voids a role somebody would have, -1 if there is none."""
    person = bench.file.people.get(account)
    marks = [bench.mark(i) for i in person.roles if reach.has(i)] if person else []
    void = [bench.file.nodes[mark] for mark in marks if mark >= 0]
    return min(void, key=lambda node: (node.depth, node.act.id)).index if void else -1


def revoker(bench: Bench, device: DeviceId, reach: Reach) -> int:
    """The revoke of `device` that counts in `reach`, the first by rank; -1 if there is none."""
    found = [i for i in bench.file.revokes.get(device, ()) if reach.has(i) and bench.mark(i) == OK]
    return min(found, key=lambda i: bench.file.nodes[i].rank) if found else -1


def setting(bench: Bench, key: str, reach: Reach) -> str | None:
    """What `key` was last set to: the later in the graph, of concurrent ones the later stamp."""
    tops = _tops(bench, bench.file.setters.get(key, []), reach)
    if not tops:
        return None
    body = max(tops, key=lambda node: (node.act.hlc, node.act.id)).act.body
    if isinstance(body, wire.Create):
        return {
            rights.ADMISSION: body.admission,
            rights.ANNOUNCE: str(int(body.announce)),
            rights.HISTORY: body.history,
            rights.TITLE: body.title,
        }[key]
    return next(change.value for change in cast(wire.Settings, body).changes if change.key == key)


def settings(bench: Bench, reach: Reach) -> RoomSettings:
    """All settings after the acts in `reach`."""
    start = rights.start_settings(bench.file.root)

    def value(key: str, default: str) -> str:
        found = setting(bench, key, reach)
        return default if found is None else found

    return RoomSettings(
        admission=value(ADMISSION, start.admission),
        announce=value(ANNOUNCE, "0") == "1",
        history=value(rights.HISTORY, start.history),
        retention_days=int(value(rights.RETENTION, str(start.retention_days))),
        title=value(rights.TITLE, start.title),
    )


def admission(bench: Bench, reach: Reach) -> str:
    """Who gets in, after the acts in `reach`."""
    return setting(bench, ADMISSION, reach) or rights.start_settings(bench.file.root).admission


def ruling(bench: Bench, node: Node, reach: Reach) -> int:
    """Whether an act had its right at `reach`: OK, IDLE or the number of what it is void by,
    its own where its author had no right at all."""
    file, act, own = bench.file, node.act, node.index
    file.evaluations += 1
    room, body = file.root.kind, act.body
    if isinstance(body, wire.Create):
        root = (
            room == rights.ROOM and bytes(act.id) == bytes(file.root.room) and act.seq == 1 and not act.auth
        )
        return OK if root else own
    if (by := revoker(bench, act.device, reach)) >= 0:
        return by
    author = standing(bench, act.account, reach)
    if isinstance(body, wire.Join):
        if author.status != IN and rights.may_join(room, admission(bench, reach), author.status):
            return OK
        return own if author.status == IN else _or_own(author.cause, own)
    if author.status != IN:
        return _or_own(author.cause, own)
    if not rights.may(room, False, act.kind, author.role):
        return _or_own(lost_role(bench, act.account, reach), own)
    match body:
        case wire.Add():
            if admission(bench, reach) == wire.CLOSED:
                return own
            return IDLE if standing(bench, AccountId(body.account), reach).status == LEFT else OK
        case wire.Remove():
            target = AccountId(body.account)
            if not ever(file, target, reach):
                return own
            stands = standing(bench, target, reach)
            return own if stands.status == IN and RANK[stands.role] > RANK[author.role] else OK
        case wire.Role():
            stands = standing(bench, AccountId(body.account), reach)
            if stands.status != IN:
                return _or_own(stands.cause, own)
            return OK if RANK[stands.role] <= RANK[author.role] else own
        case wire.Settings():
            fixed = room == rights.DIRECT
            beyond = fixed and any(change.key not in rights.DIRECT_SETTINGS for change in body.changes)
            return own if beyond else OK
        case wire.Revoke():
            return OK if node.proof else own
        case _:
            return OK


def ever(file: File, account: AccountId, reach: Reach | None = None) -> bool:
    """Whether something let `account` in, void or not, among all acts or those in `reach`."""
    if file.root.kind == rights.DIRECT:
        return account in file.root.accounts
    person = file.people.get(account)
    return person is not None and any(reach is None or reach.has(i) for _, _, i in person.sources)


def _or_own(cause: int, own: int) -> int:
    return cause if cause >= 0 else own
