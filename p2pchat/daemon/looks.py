"""What the node knows right now, for those who only ask.

Decides: nothing; it turns the engine's overview into what operations need. Does not
know: JSON, the archive, or how an answer travels. Reads memory only, between two
batches, so nothing here waits or touches the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

from p2pchat.engine import missing, overview, own, people, presence, rooms, wants
from p2pchat.engine import names as engine_names
from p2pchat.engine.context import Context
from p2pchat.engine.node import Node
from p2pchat.engine.overview import Conversation, TrustView
from p2pchat.errors import CommandError
from p2pchat.ids import AccountId, DeviceId, RoomId, hex_prefix, show, tag
from p2pchat.model import (
    DIRECT,
    Acks,
    Availability,
    DeviceReceipt,
    Gap,
    MessageView,
    Now,
    PeerView,
    Progress,
    RoomMember,
    RoomRow,
    RoomView,
)


class Myself(NamedTuple):
    """Who I am on this machine."""

    account: AccountId
    device: DeviceId
    name: str


class OwnDevice(NamedTuple):
    """One of my machines; `last_seen_ms` None for one never met."""

    device: DeviceId
    revoked: bool
    last_seen_ms: int | None


class Directory:
    """Names as they are shown at one moment. Fits operations.fields.Names; each is looked up once."""

    def __init__(
        self,
        shown: Callable[[AccountId], str | None],
        owner: Callable[[DeviceId], AccountId | None],
        room: Callable[[RoomId], RoomRow | None],
        device_name: Callable[[DeviceId], str] = lambda _: "",
    ) -> None:
        self._shown = shown
        self._device_name = device_name
        self._owner = owner
        self._room = room
        self._names: dict[AccountId, str] = {}

    def person(self, account: AccountId) -> str:
        """The shown name; the short tag of somebody unknown."""
        name = self._names.get(account)
        if name is None:
            name = self._names[account] = self._shown(account) or tag(account)
        return name

    def owner(self, device: DeviceId) -> AccountId | None:
        """The account of a machine."""
        return self._owner(device)

    def device_name(self, device: DeviceId) -> str:
        """What I call one of my machines; others' bear no names that anybody else knows."""
        return self._device_name(device)

    def room(self, room: RoomId) -> RoomRow | None:
        """What is known of a conversation."""
        return self._room(room)


class Looks(Protocol):
    """The node's read-only side, as operations see it."""

    def me(self) -> Myself: ...
    def conversation(self, target: str) -> Conversation:
        """What a TARGET means; CommandError of exit code 4 or 6."""

    def person(self, target: str) -> AccountId:
        """The one person a TARGET means, whatever rooms are called; CommandError of exit code 4."""

    def room_views(self, everything: bool, member: AccountId | None) -> list[RoomView]:
        """Rooms and direct chats I am in, `everything` those too that are open or were left; with
        `member` only those this person is in."""

    def room_view(self, target: str) -> RoomView:
        """The room or direct chat a TARGET means; CommandError as `conversation`."""

    def room_members(self, target: str) -> list[RoomMember]:
        """Who is in it, in the order to show; CommandError as `conversation`."""

    def progress(self, view: MessageView) -> Progress | None:
        """How far an own message has come; None for what others wrote."""

    def device_receipts(self, view: MessageView) -> list[DeviceReceipt] | None:
        """The same machine by machine."""

    def held_by(self, view: MessageView) -> list[DeviceId]:
        """Machines that keep an own message for those who lack it."""

    def attempts(self, whom: tuple[AccountId, ...]) -> int:
        """How many dials to these people have failed in a row."""

    def missing(self, room: RoomId, gaps: list[Gap]) -> list[Gap]:
        """Which of these holes of a room a person is told of, and who has what is missing."""

    def coming(self, room: RoomId) -> tuple[int, DeviceId | None]:
        """How many events of a room are on their way, and from whose machine."""

    def acks(self, view: MessageView, acked: tuple[AccountId, ...]) -> Acks | None:
        """Who has taken note and who has not, `acked` having said so; None if nobody is asked."""

    def directory(self) -> Directory: ...
    def rooms(self) -> list[RoomId]:
        """Every conversation in which something was said."""

    def peer_views(self) -> list[PeerView]: ...
    def trust_view(self, target: str) -> TrustView:
        """The key a TARGET means; CommandError as `conversation`."""

    def own_devices(self) -> list[OwnDevice]: ...
    def presence(self) -> Availability:
        """How I am available."""


class NodeLooks:
    """Looks at a running node. `node` is asked each time: the runner may have built another."""

    def __init__(self, node: Callable[[], Node], clock: Callable[[], Now]) -> None:
        self._node = node
        self._clock = clock

    def _context(self) -> Context:
        return self._node().look(self._clock())

    def me(self) -> Myself:
        """My account, machine and name."""
        ctx = self._context()
        return Myself(ctx.me.account, ctx.me.device, people.name(ctx, ctx.me.account))

    def conversation(self, target: str) -> Conversation:
        """What a TARGET means."""
        return overview.conversation(self._context(), target)

    def person(self, target: str) -> AccountId:
        """The one person a TARGET means."""
        return engine_names.resolve(self._context(), target).account

    def room_views(self, everything: bool, member: AccountId | None) -> list[RoomView]:
        """Rooms and direct chats."""
        return overview.room_views(self._context(), everything, member)

    def room_view(self, target: str) -> RoomView:
        """One of them."""
        return overview.room_view(self._context(), target)

    def room_members(self, target: str) -> list[RoomMember]:
        """Who is in it."""
        return overview.room_members(self._context(), target)

    def progress(self, view: MessageView) -> Progress | None:
        """How far an own message has come."""
        return overview.progress(self._context(), view)

    def device_receipts(self, view: MessageView) -> list[DeviceReceipt] | None:
        """The same machine by machine."""
        return overview.device_receipts(self._context(), view)

    def held_by(self, view: MessageView) -> list[DeviceId]:
        """Machines that keep it."""
        return overview.held_by(self._context(), view)

    def attempts(self, whom: tuple[AccountId, ...]) -> int:
        """Dials that failed."""
        return overview.attempts(self._context(), whom)

    def missing(self, room: RoomId, gaps: list[Gap]) -> list[Gap]:
        """What is missing, and who has it."""
        return missing.told(self._context(), room, gaps)

    def coming(self, room: RoomId) -> tuple[int, DeviceId | None]:
        """What is on its way."""
        return wants.coming(self._context(), room)

    def acks(self, view: MessageView, acked: tuple[AccountId, ...]) -> Acks | None:
        """Who has taken note of it."""
        return overview.acks(self._context(), view, acked)

    def directory(self) -> Directory:
        """Names as they are shown now."""
        ctx = self._context()

        def shown(account: AccountId) -> str | None:
            return engine_names.shown(ctx, account) if account in ctx.cache.accounts else None

        def room(identity: RoomId) -> RoomRow | None:
            known = ctx.cache.known_rooms.get(identity)
            if known is not None:
                return replace(known, name=rooms.name(ctx, known))
            # A direct chat in which nothing was said yet is no row, but has its id already.
            for account in ctx.cache.accounts:
                if rooms.direct_id(ctx.me.account, account) == identity:
                    return RoomRow(identity, DIRECT, "", account)
            return None

        return Directory(shown, ctx.cache.owner.get, room, lambda device: own.device_name(ctx, device))

    def rooms(self) -> list[RoomId]:
        """Every conversation known, in a fixed order."""
        return sorted(self._context().cache.known_rooms)

    def peer_views(self) -> list[PeerView]:
        """Every machine of everybody known."""
        return overview.peer_views(self._context())

    def trust_view(self, target: str) -> TrustView:
        """The key a TARGET means."""
        return overview.trust_view(self._context(), target)

    def presence(self) -> Availability:
        """How I am available."""
        return presence.mine(self._context())

    def own_devices(self) -> list[OwnDevice]:
        """All machines of my account, this one first."""
        ctx = self._context()
        found = [
            OwnDevice(
                device.id,
                device.revoked,
                ctx.now.wall_ms
                if device.id == ctx.me.device or device.id in ctx.live.by_device
                else ctx.live.last_seen.get(device.id),
            )
            for device in ctx.cache.accounts[ctx.me.account].devices.values()
        ]
        return sorted(found, key=lambda one: (one.device != ctx.me.device, one.device))


def anybody(looks: Looks, target: str) -> AccountId:
    """The person a TARGET means, who may be myself: `--from` my own name."""
    try:
        return looks.person(target)
    except CommandError:
        me, prefix = looks.me(), hex_prefix(target)
        if target.removeprefix("@").casefold() == me.name.casefold() or (
            prefix is not None and show(me.account).startswith(prefix)
        ):
            return me.account
        raise
