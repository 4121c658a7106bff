"""What plays about files need: offers made up, and what is asked of who moves the bytes.

Decides: how an offer of somebody looks, and how a fetch is played to its end. Does not know: what
must follow.
"""

from __future__ import annotations

from typing import TypeVar

from p2pchat.engine import inputs as happened
from p2pchat.engine import offers, transfers
from p2pchat.engine.file_inputs import Fetch, FileEffect, FileLanded, FileRead
from p2pchat.errors import CommandError
from p2pchat.ids import AccountId, EventId
from p2pchat.model import MessageView, TransferRow, TransferView
from p2pchat.wire.limits import MIB
from p2pchat.wire.messages.files import Offer
from tests.engine.play import Actor

ROOT = b"r" * 32
E = TypeVar("E", bound=FileEffect)


def offer_of(account: AccountId, name: str = "x.pdf", *, size: int = 3 * MIB, ttl_s: int = 0) -> Offer:
    """An offer as its author's machine makes it; the name is its key."""
    key = name.encode().ljust(32, b".")[:32]
    return Offer(offers.offer_id(account, key), size, 0, 1, name, "", 0, key, MIB, ttl_s)


def send(actor: Actor, target: str, *files: Offer, text: str = "") -> str:
    """A message with files; its id."""
    paths = tuple((offer, f"/home/{actor.name}/{offer.name}") for offer in files)
    return str(actor.do(lambda r: happened.Post(r, target, text, files=paths))["id"])


def act(actor: Actor, verb: str, offer: Offer, **more: str) -> TransferView:
    """`file VERB`; how the transfer stands then."""
    answer = actor.do(lambda r: happened.FileAct(r, verb, offer.id.hex(), **more))["transfer"]
    assert isinstance(answer, TransferView)
    return answer


def row(actor: Actor, offer: Offer) -> TransferRow:
    """What its archive says of a transfer."""
    found = actor.ledger.transfers.transfer(offer.id)
    assert found is not None, f"{actor.name} knows nothing of {offer.name}"
    return found


def state(actor: Actor, offer: Offer) -> str:
    """How a transfer looks to people there."""
    return stands(actor, offer).state


def stands(actor: Actor, offer: Offer) -> TransferView:
    """The same with who has it."""
    return transfers.view(actor.look(), row(actor, offer))


def moved(actor: Actor, kind: type[E]) -> list[E]:
    """What of that kind was asked of who moves the bytes since the last look."""
    found = [one for one in actor.moves if isinstance(one, kind)]
    actor.moves = [one for one in actor.moves if not isinstance(one, kind)]
    return found


def lands(actor: Actor, offer: Offer) -> None:
    """The bytes have come."""
    assert any(fetch.offer == offer for fetch in moved(actor, Fetch)), f"{actor.name} does not fetch it"
    actor.feed(FileLanded(offer.id, f"/home/{actor.name}/inbox/{offer.name}", "made", ROOT))
    actor.stage.settle()


def is_read(actor: Actor, offer: Offer) -> None:
    """All pieces of an offer of ours were read."""
    actor.feed(FileRead(offer.id, ROOT, offers.pieces(offer)))
    actor.stage.settle()


def serves(actor: Actor, to: Actor, offer: Offer) -> object:
    """What the machine says when another asks for an offer on a bulk link."""
    answer = actor.ask(lambda r: happened.MayServe(r, to.device, offer.id))
    return answer.state if isinstance(answer, TransferRow) else answer


def message(actor: Actor, identity: str) -> MessageView | None:
    """A message as it looks there."""
    return actor.ledger.views.message(EventId(bytes.fromhex(identity)))


def told(actor: Actor, offer: Offer) -> int:
    """Lines of the feed about a transfer."""
    rows = actor.ledger.connection.execute("SELECT ref FROM feed WHERE type = 'file'").fetchall()
    return sum(1 for (ref,) in rows if ref == offer.id)


def refused(actor: Actor, verb: str, offer: Offer, *, expect_state: str = "", **more: str) -> CommandError:
    """`file VERB` that can not be done; with `expect_state` it is brought there first."""
    if expect_state == "cancelled":
        act(actor, "cancel", offer)
    return actor.refused(lambda r: happened.FileAct(r, verb, offer.id.hex(), **more))
