"""Three people of whom one is away and one keeps what is said to him: helpers of plays of holders."""

from __future__ import annotations

from p2pchat.engine import inputs as happened
from p2pchat.engine import kept, people, rooms
from p2pchat.engine.accounts import make_statement
from p2pchat.ids import EventId, RoomId
from p2pchat.model import MessageView
from p2pchat.wire.codec import Record, decode
from p2pchat.wire.messages import statements
from p2pchat.wire.messages.link import Registers, Statements
from p2pchat.wire.messages.registers import HAVE, Register, Seen, SignedRegister
from tests.engine.play import Actor, Stage

Three = tuple[Actor, Actor, Actor]
DAY_S = 86_400.0


def verify(one: Actor, other: Actor) -> None:
    one.do(lambda r: happened.SetTrust(r, "verify", other.account.hex()))


def shown(actor: Actor, message: str) -> MessageView:
    found = actor.ledger.views.message(EventId(bytes.fromhex(message)))
    assert found is not None, f"{actor.name} has no such message"
    return found


def state(actor: Actor, message: str) -> str:
    return shown(actor, message).state


def keepers(actor: Actor, message: str) -> list[str]:
    """Whom the author believes to hold it."""
    ctx = actor.look()
    view = shown(actor, message)
    room = rooms.room(ctx, view.room)
    return [device.hex() for device in kept.holders(room, actor.device, view.seq)]


def count(actor: Actor, table: str = "holding") -> int:
    return int(actor.ledger.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def tell(stage: Stage, one: Actor, other: Actor, message: Record) -> None:
    """A rogue's frame, on the link between two."""
    number = one.look().live.by_device[other.device]
    stage.carry(one, number, message)
    stage.settle()


def said_have(actor: Actor, author: bytes) -> bool:
    """Whether it has said, signed, what it has of somebody's chain."""
    told = [one for sent in actor.sent if isinstance(sent, Registers) for one in sent.registers]
    read = [decode(Register, one.register) for one in told]
    return any((one.kind, one.author) == (HAVE, author) for one in read)


def signed_have(actor: Actor, room: RoomId, author: Actor, top: int) -> SignedRegister:
    """What it says to have of somebody's chain, whether it has or not."""
    value = Seen(((1, top),), bytes(32))
    return people.signed_register(
        people.publish(actor.look(), HAVE, value, bytes(room), bytes(author.device))
    )


def retire(actor: Actor, gone: Actor) -> None:
    """`actor` hears that somebody has given up his account."""
    account = actor.look().cache.accounts[gone.account]
    signed = make_statement(
        gone.me.signing_seed, gone.account, account.heads, statements.RETIRE, statements.Retired(b"")
    )
    number = actor.look().live.by_device[gone.device]
    actor.feed(happened.FromPeer(number, Statements((signed,))))


def make_room(actor: Actor, *others: Actor) -> RoomId:
    view = actor.do(lambda r: happened.CreateRoom(r, "launch"))["room"]
    identity = RoomId(view.id)  # type: ignore[attr-defined]
    names = tuple(one.account.hex() for one in others)
    actor.do(lambda r: happened.RoomAct(r, "invite", identity.hex(), names))
    return identity


def meet(stage: Stage) -> Three:
    """Ann and Bob know each other; both know Cem, whom Ann trusts. Nobody is connected."""
    ann, bob, cem = stage.actor("ann"), stage.actor("bob"), stage.actor("cem")
    stage.join(ann, bob)
    stage.join(ann, cem)
    stage.join(bob, cem)
    verify(ann, cem)
    stage.cut()
    return ann, bob, cem
