"""Histories of rooms for tests: people who write control events, honestly or not.

`Play` writes acts by hand, one call each, each author knowing what he was shown. `step` turns a
few numbers into an act of somebody on some view of the history, for generated histories.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from p2pchat.engine.control_graph import Act, Graph, Root, check_body
from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
from p2pchat.wire.codec import Record
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.rooms import Cut, Revoke

ZERO = bytes(32)
GOOD_PROOF = (b"statement", b"signature")
BAD_PROOF = (b"statement", b"nonsense")


def account(name: str) -> AccountId:
    return AccountId(name.encode().ljust(32, b"."))


def device(name: str) -> DeviceId:
    """`ann` is her first machine, `ann/2` her second."""
    return DeviceId(f"device of {name}".encode().ljust(32, b"."))


def owner_of(machine: str) -> str:
    return machine.partition("/")[0]


def proof_holds(revoke: Revoke) -> bool:
    return revoke.proof == GOOD_PROOF


class Play:
    """One room being made. Acts are named; `auth` defaults to all heads of what is written."""

    def __init__(self, kind: str = "room", people: Sequence[str] = (), **settings: object) -> None:
        self.acts: dict[str, Act] = {}
        self.seqs: dict[DeviceId, int] = {}
        self.branches: dict[EventId, int] = {}
        self.clock = 0
        if kind == "room":
            self.root = Root("room", RoomId(self._id("create")))
            admission = str(settings.get("admission", wire.INVITE))
            announce = bool(settings.get("announce", False))
            history = str(settings.get("history", wire.ALL))
            body = wire.Create(1, bytes(16), admission, announce, history, "")
            self.write("create", people[0] if people else "ann", ev.CREATE, body, auth=())
        else:
            accounts = tuple(sorted(account(name) for name in people)) if kind == "direct" else ()
            self.root = Root(kind, RoomId(self._id(kind)), accounts)

    @staticmethod
    def _id(name: str) -> EventId:
        return EventId(f"act {name}".encode().ljust(32, b"."))

    def heads(self) -> tuple[str, ...]:
        named = {parent for act in self.acts.values() for parent in act.auth}
        return tuple(name for name, act in self.acts.items() if act.id not in named)

    def write(
        self,
        name: str,
        machine: str,
        kind: int,
        body: Record,
        auth: Iterable[str] | None = None,
        seq: int | None = None,
        hlc: int | None = None,
        branch: int = 0,
    ) -> Act:
        check_body(kind, body)
        self.clock += 1
        where = device(machine)
        number = self.seqs.get(where, 0) + 1 if seq is None else seq
        self.seqs[where] = max(number, self.seqs.get(where, 0))
        parents = tuple(self.acts[one].id for one in (self.heads() if auth is None else auth))
        stamp = self.clock if hlc is None else hlc
        who = account(owner_of(machine))
        act = Act(self._id(name), where, who, number, stamp, parents, kind, body)
        self.acts[name] = act
        self.branches[act.id] = branch
        return act

    def content(self, machine: str, count: int = 1) -> int:
        """`machine` says something `count` times; the number of the last in its chain."""
        self.seqs[device(machine)] = self.seqs.get(device(machine), 0) + count
        return self.seqs[device(machine)]

    def cut(self, *places: tuple[str, int]) -> tuple[Cut, ...]:
        cuts = [Cut(device(machine), seq, self._id(f"{machine} {seq}")) for machine, seq in places]
        return tuple(sorted(cuts, key=lambda cut: cut.device))

    def add(self, who: str, whom: str, auth: Iterable[str] | None = None, name: str = "", **more: int) -> Act:
        return self.write(name or f"add {whom}", who, ev.ADD, wire.Add(1, account(whom)), auth, **more)

    def remove(
        self,
        who: str,
        whom: str,
        auth: Iterable[str] | None = None,
        cut: tuple[Cut, ...] = (),
        name: str = "",
        **more: int,
    ) -> Act:
        body = wire.Remove(1, account(whom), cut)
        return self.write(name or f"remove {whom}", who, ev.REMOVE, body, auth, **more)

    def role(
        self,
        who: str,
        whom: str,
        role: str,
        auth: Iterable[str] | None = None,
        cut: tuple[Cut, ...] = (),
        name: str = "",
        **more: int,
    ) -> Act:
        body = wire.Role(1, account(whom), role, cut)
        return self.write(name or f"{whom} {role}", who, ev.ROLE, body, auth, **more)

    def set(
        self,
        who: str,
        auth: Iterable[str] | None = None,
        name: str = "settings",
        hlc: int | None = None,
        **values: str,
    ) -> Act:
        changes = tuple(wire.Setting(key, values[key]) for key in sorted(values))
        return self.write(name, who, ev.SETTINGS, wire.Settings(1, changes), auth, hlc=hlc)

    def revoke(
        self,
        who: str,
        machine: str,
        auth: Iterable[str] | None = None,
        cut: tuple[Cut, ...] = (),
        proof: tuple[bytes, ...] = GOOD_PROOF,
        name: str = "",
    ) -> Act:
        body = wire.Revoke(1, device(machine), proof, cut)
        return self.write(name or f"revoke {machine}", who, ev.REVOKE, body, auth)

    def join(self, who: str, auth: Iterable[str] | None = None, name: str = "") -> Act:
        return self.write(name or f"join {who}", who, ev.JOIN, wire.Join(1), auth)

    def leave(self, who: str, auth: Iterable[str] | None = None, name: str = "") -> Act:
        return self.write(name or f"leave {who}", who, ev.LEAVE, wire.Leave(1), auth)

    def epoch(self, who: str, auth: Iterable[str] | None = None, name: str = "") -> Act:
        body = ev.Epoch(1, bytes(16), 1, ZERO, True)
        return self.write(name or f"epoch {len(self.acts)}", who, ev.EPOCH, body, auth)

    def below(self, machine: DeviceId, seq: int, event: EventId, cut: Cut) -> bool:
        """Chains as the play wrote them: branch 0 is the trunk under every other."""
        branch, named = self.branches.get(event, 0), self.branches.get(EventId(cut.id), 0)
        return seq <= cut.seq and branch in (0, named)

    def graph(self, order: Iterable[str] | None = None) -> Graph:
        graph = Graph(self.root, proof_holds, self.below)
        for name in self.acts if order is None else order:
            graph.add(self.acts[name])
        return graph

    def names(self, graph: Graph) -> dict[str, str]:
        """Void acts and what voids them, by name."""
        known = {act.id: name for name, act in self.acts.items()}
        return {known[act]: known[by] for act, by in graph.void.items()}

    def roles(self, graph: Graph) -> dict[str, str]:
        return {bytes(who).decode().rstrip("."): member.role for who, member in graph.members.items()}

    def says(
        self,
        graph: Graph,
        machine: str,
        auth: Iterable[str],
        seq: int | None = None,
        kind: int = ev.MESSAGE,
    ) -> str:
        """What comes of something `machine` says: allowed, never, or the name of what voids it
        ("itself" where its author had no right)."""
        number = self.seqs.get(device(machine), 0) + 1 if seq is None else seq
        event = self._id(f"{machine} {number}")
        parents = tuple(self.acts[one].id for one in auth)
        who = account(owner_of(machine))
        verdict = graph.judge(device(machine), who, number, event, parents, kind)
        if verdict.by is None:
            return verdict.standing
        known = {act.id: name for name, act in self.acts.items()} | {event: "itself"}
        return known[verdict.by]


PEOPLE = ("ann", "bob", "cid", "dot", "eve")
MACHINES = ("ann", "bob", "cid", "dot", "eve", "ann/2", "bob/2")
KINDS = (
    ev.REMOVE,
    ev.REMOVE,
    ev.ADD,
    ev.ADD,
    ev.ROLE,
    ev.ROLE,
    ev.ROLE,
    ev.REVOKE,
    ev.SETTINGS,
    ev.LEAVE,
    ev.JOIN,
    ev.EPOCH,
)
ROLES = (wire.OWNER, wire.MODERATOR, wire.MEMBER)
CHANGES = (
    ("admission", wire.OFFICE),
    ("admission", wire.INVITE),
    ("admission", wire.CLOSED),
    ("announce", "1"),
    ("announce", "0"),
    ("history", wire.JOINED),
    ("retention", "7"),
)

Step = tuple[int, int, int, int, int, tuple[int, ...], int, int]
"""machine, kind, whom, value, view, its places, cut, clock (and whether the chain forks)."""


def step(play: Play, numbers: Step) -> Act:
    """An act of somebody. `view` 0–2: on all that is written; 3: on all but the newest; 4: on the
    acts at `places`, as somebody who missed the rest or says he did; else on acts of late."""
    machine, kind, whom, value, view, places, cutting, clock = numbers
    author = MACHINES[machine % len(MACHINES)]
    target = PEOPLE[whom % len(PEOPLE)]
    names = list(play.acts)
    auth: tuple[str, ...] | None = None
    if view == 3 and len(names) > 2:
        gone = names[-1]
        rest = {parent for name in names[:-1] for parent in play.acts[name].auth}
        auth = tuple(name for name in names[:-1] if name != gone and play.acts[name].id not in rest)
    elif view > 3 and names:
        near = [place % len(names) if view == 4 else -1 - place % min(len(names), 6) for place in places]
        auth = tuple(dict.fromkeys(names[place] for place in near))
    if auth is None:
        auth = play.heads()
    what = KINDS[kind % len(KINDS)]
    cuts: list[Cut] = []
    owned = [m for m in MACHINES if owner_of(m) == target]
    if what == ev.REVOKE:
        owned = [owned[value % len(owned)]]
    for number, one in enumerate(owned):
        last = play.seqs.get(device(one), 0)
        chosen = (last, last + 2, max(last - 1, 0), 0)[(cutting >> 2 * number) & 3]
        if chosen:
            named = next(
                (a.id for a in play.acts.values() if a.device == device(one) and a.seq == chosen),
                Play._id(f"{one} {chosen}"),
            )
            cuts.append(Cut(device(one), chosen, named))
    cut = tuple(sorted(cuts, key=lambda entry: entry.device))
    role = ROLES[value % 3]
    key, setting = CHANGES[value % len(CHANGES)]
    body: Record
    match what:
        case ev.REMOVE:
            body = wire.Remove(1, account(target), cut)
        case ev.ADD:
            body = wire.Add(1, account(target))
        case ev.ROLE:
            body = wire.Role(1, account(target), role, cut)
        case ev.REVOKE:
            proof = BAD_PROOF if value > 7 else GOOD_PROOF
            body = wire.Revoke(1, device(owned[0]), proof, cut)
        case ev.SETTINGS:
            body = wire.Settings(1, (wire.Setting(key, setting),))
        case ev.LEAVE:
            body = wire.Leave(1)
        case ev.JOIN:
            body = wire.Join(1)
        case _:
            body = ev.Epoch(1, bytes(16), 1, ZERO, True)
    again = clock == 15 and play.seqs.get(device(author), 0) > 1
    number = play.seqs[device(author)] if again else None
    name = f"{len(play.acts)} {(clock * 7 + kind) % 10}"
    return play.write(name, author, what, body, auth, number, play.clock + clock - 8, int(again))
