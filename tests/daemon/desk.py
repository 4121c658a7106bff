"""A desk at which rooms are asked about: false looks, pages and readers around the real operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio

from p2pchat.control.endpoint import ClientInfo
from p2pchat.daemon.looks import Directory, Myself, OwnDevice
from p2pchat.daemon.queries import Queries, Sources
from p2pchat.engine.inputs import Tell
from p2pchat.engine.overview import Conversation
from p2pchat.errors import CommandError
from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
from p2pchat.model import (
    Acks,
    Availability,
    FeedRow,
    Gap,
    MessageView,
    Notice,
    PeerView,
    Progress,
    QueueRow,
    RoomMember,
    RoomView,
    TransferView,
)
from tests.cli import samples
from tests.cli.samples import ANN, ANN_BOX, BOB, BOB_BOX, CARL, CARL_BOX, CHAT, LAUNCH, NOON
from tests.daemon.false_bulk import FalseBulk

T = TypeVar("T")
ME = ClientInfo("unix", 1000)
STRANGER = samples.peer_view(trust="unverified")


@dataclass(frozen=True)
class FalsePage:
    messages: tuple[MessageView, ...]
    notices: tuple[Notice, ...]
    gaps: tuple[Gap, ...] = ()
    has_more: bool = False
    cursor: int = 7


@dataclass
class FalseReader:
    """An archive of lists; `asked` keeps what was asked of it."""

    views: list[MessageView] = field(default_factory=list)
    notices_of: list[Notice] = field(default_factory=list)
    gaps_of: list[Gap] = field(default_factory=list)
    noted: tuple[AccountId, ...] = ()
    rows: list[FeedRow] = field(default_factory=list)
    waiting: list[QueueRow] = field(default_factory=list)
    offers: list[TransferView] = field(default_factory=list)
    unread_of: dict[RoomId, int] = field(default_factory=dict)
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def history(self, room: RoomId, *, tail: int, after: int | None = None, **rest: Any) -> FalsePage:
        found = [v for v in self.views if v.room == room and (after is None or v.written_ms >= after)]
        return FalsePage(tuple(found[-tail:]), tuple(self.notices_of), tuple(self.gaps_of))

    def messages(self, ids: list[EventId]) -> list[MessageView]:
        return [view for one in ids for view in self.views if view.id == one]

    def find(self, prefix: str) -> list[EventId]:
        return [view.id for view in self.views if view.id.hex().startswith(prefix)]

    def unread(self, room: RoomId, limit: int) -> list[MessageView]:
        return [view for view in self.views if view.room == room and not view.mine][:limit]

    def notices(self, room: RoomId, after: int | None, before: int | None, limit: int) -> list[Notice]:
        self.asked.append(("notices", room, after, before))
        return [
            one
            for one in self.notices_of
            if (after is None or one.at_ms >= after) and (before is None or one.at_ms < before)
        ][:limit]

    def acked(self, event: EventId) -> tuple[AccountId, ...]:
        self.asked.append(("acked", event))
        return self.noted

    def ack_requests(self, me: AccountId, limit: int) -> list[MessageView]:
        return [view for view in self.views if view.ack_by_ms is not None and not view.mine][:limit]

    def unread_counts(self) -> dict[RoomId, int]:
        return dict(self.unread_of)

    def inbox_counts(self) -> list[tuple[RoomId, int, int]]:
        return [(room, count, 0) for room, count in self.unread_of.items()]

    def gaps(self, room: RoomId) -> list[Gap]:
        return self.gaps_of

    def queue(self) -> list[QueueRow]:
        return self.waiting

    def transfers(self, limit: int = 10_000) -> list[TransferView]:
        return sorted(self.offers, key=lambda view: view.row.made_ms)[-limit:]

    def transfer(self, offer: bytes) -> TransferView | None:
        self.asked.append(("transfer", offer))
        return next((view for view in self.offers if view.row.id == offer), None)

    def find_transfers(self, prefix: str) -> list[bytes]:
        found = [view.row.id for view in self.offers if prefix and view.row.id.hex().startswith(prefix)]
        return sorted(found)[:3]

    def feed(self, since: int, limit: int) -> list[FeedRow]:
        return [row for row in self.rows if row.cursor > since][:limit]

    def last_cursor(self) -> int:
        return 7

    def oldest_cursor(self) -> int:
        return 1


class FalseLooks:
    """A node that knows Ann (me), Bob and Carl, a direct chat with Bob and the room `launch`."""

    def __init__(self) -> None:
        self.rooms_known = [samples.room_view()]
        self.asked: list[tuple[Any, ...]] = []
        self.peers = [STRANGER]
        self.holders: tuple[DeviceId, ...] = ()
        self.progress_now = Progress((BOB,), (), 2)
        names = samples.Names()
        self._directory = Directory(names.person, names.owner, names.room)

    def me(self) -> Myself:
        return Myself(ANN, ANN_BOX, "Ann")

    def directory(self) -> Directory:
        return self._directory

    def conversation(self, target: str) -> Conversation:
        match target.removeprefix("#").removeprefix("@"):
            case "launch" | "1a1a1a":
                return Conversation(LAUNCH, "room", None, "launch", "")  # type: ignore[arg-type, unused-ignore]
            case "bob":
                return Conversation(CHAT, "direct", BOB, "Bob", "")
        raise CommandError("no_such_target", f"nobody and no room called {target!r} is known here")

    def person(self, target: str) -> AccountId:
        if target == "bob":
            return BOB
        raise CommandError("no_such_target", f"nobody called {target!r} is known here")

    def rooms(self) -> list[RoomId]:
        return [CHAT, LAUNCH]

    def room_views(self, everything: bool, member: AccountId | None) -> list[RoomView]:
        self.asked.append(("room_views", everything, member))
        return self.rooms_known

    def room_view(self, target: str) -> RoomView:
        if target != LAUNCH.hex():
            self.conversation(target)
        return self.rooms_known[0]

    def room_members(self, target: str) -> list[RoomMember]:
        if target not in ("launch", LAUNCH.hex()):
            raise CommandError("no_such_target", f"no room {target!r}")
        return [
            RoomMember(ANN, "owner", (ANN_BOX,)),
            RoomMember(BOB, "member", (BOB_BOX,)),
            RoomMember(CARL, "member", ()),
        ]

    def progress(self, view: MessageView) -> Progress | None:
        return self.progress_now if view.mine else None

    def held_by(self, view: MessageView) -> list[DeviceId]:
        return [BOB_BOX] if view.state == "held" else []

    def attempts(self, whom: tuple[AccountId, ...]) -> int:
        return len(whom)

    def missing(self, room: RoomId, gaps: list[Gap]) -> list[Gap]:
        self.asked.append(("missing", room))
        return [replace(gap, holders=self.holders) for gap in gaps if gap.device != CARL_BOX]

    def coming(self, room: RoomId) -> tuple[int, DeviceId | None]:
        return (0, None)

    def acks(self, view: MessageView, acked: tuple[AccountId, ...]) -> Acks | None:
        return Acks(view.ack_by_ms, acked, tuple(one for one in (BOB, CARL) if one not in acked))

    def peer_views(self) -> list[PeerView]:
        return self.peers

    def own_devices(self) -> list[OwnDevice]:
        return [OwnDevice(ANN_BOX, False, NOON)]

    def presence(self) -> Availability:
        return samples.AVAILABLE

    def trust_view(self, target: str) -> Any:
        raise NotImplementedError


class FalseHost:
    """A daemon that writes down what it is asked and answers with the room."""

    def __init__(self) -> None:
        self.looks = FalseLooks()
        self.reader = FalseReader()
        self.posted: list[Any] = []
        self.answer: dict[str, Any] = {"room": samples.room_view()}
        self.feed_changed = trio.Event()
        self.tells: dict[object, Callable[[Tell], None]] = {}
        self.bulk: Any = FalseBulk()
        self.inbox = "/home/ann/inbox"
        self.refusal: CommandError | None = None
        self.sources = Sources(Path("/nonexistent/config.toml"), {"file_auto_max": 5_000_000}, {})

    async def ask(self, make: Callable[[int], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        self.posted.append(make(1))
        if self.refusal is not None:
            raise self.refusal
        return self.answer

    async def read(self, question: Callable[[Any], T]) -> T:
        await trio.lowlevel.checkpoint()
        return question(self.reader)


class Desk:
    def __init__(self) -> None:
        self.host = FalseHost()
        self.queries = Queries(self.host)  # type: ignore[arg-type]

    async def call(self, method: str, **params: Any) -> Any:
        return await self.queries.call(method, params, ME)

    async def refused(self, method: str, **params: Any) -> CommandError:
        with pytest.raises(CommandError) as caught:
            await self.call(method, **params)
        return caught.value


@pytest.fixture
def desk() -> Desk:
    return Desk()


def said(number: int, text: str = "hello", **changes: Any) -> MessageView:
    return samples.view(number, text, room=LAUNCH, **changes)
