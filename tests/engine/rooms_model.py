"""A room's membership by brute force: the rules of docs/rooms.md over plain sets of acts.

Written against the text, not against the code it checks: nothing here is kept between questions
but answers for whole sets, every ancestor is found by walking, and rights are spelled out anew.
Slow on purpose; histories of a few dozen acts are its size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from p2pchat.engine.graph_rights import Act, Root
from p2pchat.ids import AccountId, DeviceId, EventId
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages.rooms import Cut, Revoke

RANKS = {"owner": 2, "moderator": 1, "member": 0}
Acts = frozenset[EventId]


@dataclass(frozen=True)
class Outcome:
    """What a set of acts comes to."""

    void: Acts
    idle: Acts
    force: Acts
    fell: Acts


@dataclass(frozen=True)
class Stand:
    status: str | None  # in, left, removed, None
    role: str = ""
    depth: int = 0
    known: bool = False


class Model:
    def __init__(
        self,
        root: Root,
        proof: Callable[[Revoke], bool],
        below: Callable[[DeviceId, int, EventId, Cut], bool],
    ) -> None:
        self.root, self.proof, self.below = root, proof, below
        self.acts: dict[EventId, Act] = {}
        self._outcomes: dict[Acts, Outcome] = {}
        self._own: dict[EventId, str] = {}

    def add(self, act: Act) -> None:
        self.acts[act.id] = act

    # -- the graph as sets

    def reach(self, auth: tuple[EventId, ...]) -> Acts:
        found: set[EventId] = set()
        left = list(auth)
        while left:
            one = left.pop()
            if one not in found:
                found.add(one)
                left += self.acts[one].auth
        return frozenset(found)

    def under(self, act: EventId) -> Acts:
        return self.reach(self.acts[act].auth)

    def apart(self, one: EventId, other: EventId) -> bool:
        return one != other and one not in self.under(other) and other not in self.under(one)

    def depth(self, act: EventId) -> int:
        return 1 + max((self.depth(parent) for parent in self.acts[act].auth), default=-1)

    def walk(self, world: Acts) -> list[EventId]:
        return sorted(world, key=lambda one: (len(self.under(one)), one))

    def subject(self, act: EventId) -> AccountId:
        return AccountId(self.acts[act].body.account)  # type: ignore[attr-defined]

    # -- removals

    def own(self, act: EventId) -> str:
        """What an act is by its ancestors alone: ok, idle or void."""
        if act not in self._own:
            before = self.under(act)
            self._own[act] = self.right(act, before, self.outcome(before))
        return self._own[act]

    def sort(self, act: EventId) -> str:
        kind = self.acts[act].kind
        if kind not in (ev.REMOVE, ev.REVOKE, ev.ROLE) or self.own(act) == "void":
            return ""
        if kind == ev.ROLE:
            before = self.under(act)
            old = self.stand(self.subject(act), before, self.outcome(before)).role
            return "demote" if RANKS[self.acts[act].body.role] < RANKS[old] else ""  # type: ignore[attr-defined]
        return "remove" if kind == ev.REMOVE else "revoke"

    def rank(self, act: EventId) -> tuple[object, ...]:
        before = self.under(act)
        author = self.acts[act].account
        stand = self.stand(author, before, self.outcome(before))
        creator = any(
            a.kind == ev.CREATE and a.account == author and a.id == self.root.room for a in self.acts.values()
        )
        order = (-RANKS[stand.role], not creator, stand.depth, author)
        return (*order, self.sort(act) != "revoke", self.depth(act), act)

    def aimed(self, removal: EventId, account: AccountId, device: DeviceId) -> bool:
        body = self.acts[removal].body
        return body.device == device if isinstance(body, Revoke) else body.account == account  # type: ignore[attr-defined]

    def spared(
        self, removal: EventId, account: AccountId, device: DeviceId, seq: int, event: EventId
    ) -> bool:
        """Whether an event lies at or below the removal's cut of its machine."""
        body = self.acts[removal].body
        cuts = [cut for cut in body.cut if cut.device == device]  # type: ignore[attr-defined]
        known = [
            act
            for one in self.under(removal)
            if (act := self.acts[one]).device == device and self.aimed(removal, act.account, act.device)
        ]
        if known:
            top = max(known, key=lambda act: (act.seq, [-byte for byte in act.id]))
            if not cuts or top.seq > cuts[0].seq:
                cuts = [Cut(device, top.seq, top.id)]
        return bool(cuts) and self.below(device, seq, event, cuts[0])

    def hit(self, act: EventId, force: set[EventId] | Acts) -> bool:
        """Whether one of `force` voids an act that is concurrent with it."""
        one = self.acts[act]
        aimed = [r for r in force if self.aimed(r, one.account, one.device) and r != act]
        hitting = [r for r in aimed if self.apart(r, act)]
        sparing = [r for r in aimed if act in self.under(r)]
        return any(not any(self.lifts(s, r) for s in sparing) for r in hitting)

    def lifts(self, one: EventId, other: EventId) -> bool:
        same = self.sort(one) == self.sort(other)
        return same and (self.sort(one) == "revoke" or self.apart(one, other))

    # -- what a set comes to

    def outcome(self, world: Acts) -> Outcome:
        if world not in self._outcomes:
            self._outcomes[world] = self._outcome(world)
        return self._outcomes[world]

    def _outcome(self, world: Acts) -> Outcome:
        removals = sorted((one for one in world if self.sort(one)), key=self.rank)
        force: set[EventId] = set()
        fell: set[EventId] = set()
        for removal in removals:
            if self.hit(removal, force):
                fell.add(removal)
                continue
            before = self.under(removal)
            told = self.outcome(before)
            fell_here, force_here = set(fell), set(force)
            for other in removals:
                if other in before and other not in force and other not in fell:
                    down = other in told.fell or self.hit(other, force)
                    (fell_here if down else force_here).add(other)
            seen = self.count(before, force_here, fell_here)
            (fell if self.right(removal, before, seen) == "void" else force).add(removal)
        return self.count(world, force, fell)

    def count(self, world: Acts, force: set[EventId], fell: set[EventId]) -> Outcome:
        """Which acts count, given which removals are in force."""
        void: set[EventId] = set()
        idle: set[EventId] = set()
        for act in self.walk(world):
            if self.own(act) == "void" or act in fell:
                void.add(act)
            elif act in force:
                continue
            elif self.hit(act, force):
                void.add(act)
            else:
                so_far = Outcome(frozenset(void), frozenset(idle), frozenset(force), frozenset(fell))
                found = self.right(act, self.under(act), so_far)
                if found != "ok":
                    (void if found == "void" else idle).add(act)
        return Outcome(frozenset(void), frozenset(idle), frozenset(force), frozenset(fell))

    def stand(self, account: AccountId, world: Acts, told: Outcome) -> Stand:
        if self.root.kind == "direct":
            inside = account in self.root.accounts
            return Stand("in", "owner", 0, True) if inside else Stand(None)
        lets_in = {
            one
            for one in world
            if self.own(one) != "void"
            and (
                (self.acts[one].kind == ev.ADD and self.subject(one) == account)
                or (self.acts[one].kind in (ev.JOIN, ev.CREATE) and self.acts[one].account == account)
            )
        }
        sources = lets_in - told.void - told.idle
        outs = {
            one
            for one in world - told.void
            if (self.acts[one].kind == ev.REMOVE and self.subject(one) == account)
            or (self.acts[one].kind == ev.LEAVE and self.acts[one].account == account)
        }
        alive = [one for one in sources if outs <= self.under(one)]
        if alive:
            first = min(alive, key=lambda one: (self.depth(one), one))
            return Stand("in", self._role(account, world - told.void, outs, first), self.depth(first), True)
        for out in outs:
            if self.acts[out].kind == ev.REMOVE and not any(out in self.under(one) for one in sources):
                return Stand("removed", known=True)
        return Stand("left" if outs else None, known=bool(lets_in))

    def _role(self, account: AccountId, world: Acts, outs: set[EventId], first: EventId) -> str:
        given = {
            one
            for one in world
            if self.acts[one].kind == ev.ROLE and self.subject(one) == account and outs <= self.under(one)
        }
        last = [one for one in given if not any(one in self.under(other) for other in given)]
        lower = [one for one in last if self.sort(one) == "demote"]
        value = {one: str(self.acts[one].body.role) for one in last}  # type: ignore[attr-defined]
        if lower:
            return min((value[one] for one in lower), key=lambda role: RANKS[role])
        if last:
            return value[max(last, key=lambda one: (self.acts[one].hlc, one))]
        return "owner" if self.acts[first].kind == ev.CREATE else "member"

    def setting(self, key: str, world: Acts, told: Outcome) -> str:
        values: dict[EventId, str] = {}
        for one in world - told.void:
            act = self.acts[one]
            if act.kind == ev.SETTINGS:
                for change in act.body.changes:  # type: ignore[attr-defined]
                    if change.key == key:
                        values[one] = change.value
            elif act.kind == ev.CREATE and key != "retention":
                value = getattr(act.body, key)
                values[one] = str(int(value)) if key == "announce" else value
        last = [one for one in values if not any(one in self.under(other) for other in values)]
        if last:
            return values[max(last, key=lambda one: (self.acts[one].hlc, one))]
        lobby = self.root.kind == "lobby"
        start = {"admission": "office" if lobby else "closed", "history": "all", "announce": "0", "title": ""}
        return start.get(key, "30" if lobby else "0")

    def is_revoked(self, device: DeviceId, world: Acts, told: Outcome) -> bool:
        return any(
            self.acts[one].kind == ev.REVOKE and self.acts[one].body.device == device  # type: ignore[attr-defined]
            for one in world - told.void
        )

    def right(self, act: EventId, world: Acts, told: Outcome) -> str:
        one = self.acts[act]
        if one.kind == ev.CREATE:
            return "ok" if act == self.root.room and not one.auth and self.root.kind == "room" else "void"
        if self.is_revoked(one.device, world, told):
            return "void"
        me = self.stand(one.account, world, told)
        if one.kind == ev.JOIN:
            open_door = self.setting("admission", world, told)
            back = me.status == "left" and open_door != "closed"
            fresh = me.status in ("left", None) and open_door == "office"
            return "ok" if self.root.kind != "direct" and (back or fresh) else "void"
        if me.status != "in" or not self.kind_right(one.kind, me.role, announce=False):
            return "void"
        if one.kind == ev.ADD:
            if self.setting("admission", world, told) == "closed":
                return "void"
            return "idle" if self.stand(self.subject(act), world, told).status == "left" else "ok"
        if one.kind == ev.REMOVE:
            target = self.stand(self.subject(act), world, told)
            known = target.known or target.status is not None
            higher = target.status == "in" and RANKS[target.role] > RANKS[me.role]
            return "ok" if known and not higher else "void"
        if one.kind == ev.ROLE:
            return "ok" if self.stand(self.subject(act), world, told).status == "in" else "void"
        if one.kind == ev.SETTINGS and self.root.kind == "direct":
            keys = {change.key for change in one.body.changes}  # type: ignore[attr-defined]
            return "ok" if keys <= {"history", "retention"} else "void"
        if one.kind == ev.REVOKE:
            return "ok" if self.proof(one.body) else "void"  # type: ignore[arg-type]
        return "ok"

    def kind_right(self, kind: int, role: str, announce: bool) -> bool:
        everyone = (ev.REVOKE, ev.EPOCH, ev.SEAL, ev.EDIT, ev.DELETE, ev.REACTION, ev.ACK, ev.RULES)
        if kind in everyone:
            return True
        if self.root.kind == "direct":
            return kind in (ev.SETTINGS, ev.MESSAGE, ev.PIN, ev.NAME, ev.FILE_ROOT)
        if kind in (ev.MESSAGE, ev.PIN, ev.FILE_ROOT):
            return not announce or role != "member"
        if kind == ev.LEAVE:
            return True
        if self.root.kind == "lobby":
            return False
        if kind in (ev.ADD, ev.REMOVE, ev.NAME):
            return role != "member"
        return kind in (ev.ROLE, ev.SETTINGS) and role == "owner"

    # -- questions

    @property
    def all(self) -> Acts:
        return frozenset(self.acts)

    def members(self, world: Acts | None = None) -> dict[AccountId, str]:
        told = self.outcome(self.all)
        people = {act.account for act in self.acts.values()} | set(self.root.accounts)
        people |= {self.subject(one) for one in self.acts if self.acts[one].kind == ev.ADD}
        where = self.all if world is None else world
        stands = {account: self.stand(account, where, told) for account in people}
        return {account: stand.role for account, stand in stands.items() if stand.status == "in"}

    def judge(
        self,
        device: DeviceId,
        account: AccountId,
        seq: int,
        event: EventId,
        auth: tuple[EventId, ...],
        kind: int,
    ) -> str:
        """allowed, void or never, of an event of content."""
        world, told = self.reach(auth), self.outcome(self.all)
        me = self.stand(account, world, told)
        if me.status is None:
            return "void" if me.known else "never"
        if me.status != "in" or self.is_revoked(device, world, told):
            return "void"
        announce = self.setting("announce", world, told) == "1"
        if not self.kind_right(kind, me.role, announce):
            return "void"
        aimed = [r for r in told.force - world if self.aimed(r, account, device) and self.sort(r) != "demote"]
        over = [r for r in aimed if not self.spared(r, account, device, seq, event)]
        spare = [r for r in aimed if r not in over]
        return "void" if any(not any(self.lifts(s, r) for s in spare) for r in over) else "allowed"
