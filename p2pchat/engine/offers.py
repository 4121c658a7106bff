"""Offers: which ones count, and what a transfer and the words of others about it come to.

Decides: that an offer is its author's own, how an id is made, what is said of a transfer at its end,
and how one looks to people (docs/files.md, "Who may have it"). Does not know: links, rights,
or what is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from p2pchat.crypto.primitives import hash_tagged
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import AccountId
from p2pchat.model import (
    ACTIVE,
    CANCELLED,
    DECLINED,
    DONE,
    FAILED,
    OFFERED,
    PAUSED,
    FileBrief,
    TransferPeer,
    TransferRow,
    TransferView,
)
from p2pchat.wire.limits import MAX_FILES
from p2pchat.wire.messages import files as wire
from p2pchat.wire.messages.files import OFFER_ID_BYTES, Offer

OFFER_TAG: Final = "p2pchat/offer/1"

ENDS: Final = {
    DONE: wire.HAS,
    DECLINED: wire.DECLINED,
    CANCELLED: wire.STOPPED,
    FAILED: wire.STOPPED,
    PAUSED: wire.STOPPED,
}
"""State of an incoming transfer to what the machine that offers it hears: until it says that it did."""


def offer_id(author: AccountId, file_key: bytes) -> bytes:
    """First 16 bytes of BLAKE2b-256(tag ‖ account ‖ file key): nobody can offer under another's id."""
    return hash_tagged(OFFER_TAG, author, file_key)[:OFFER_ID_BYTES]


def counting(author: AccountId, offered: Sequence[Offer]) -> tuple[Offer, ...]:
    """Those that can be meant and are the author's own, each once. The others are as if not there."""
    found: dict[bytes, Offer] = {}
    for offer in offered[:MAX_FILES]:
        try:
            wire.check_offer(offer)
        except RemoteProtocolError:
            continue
        if offer.id == offer_id(author, offer.file_key):
            found.setdefault(offer.id, offer)
    return tuple(found.values())


def briefs(author: AccountId, offered: Sequence[Offer]) -> tuple[FileBrief, ...]:
    """What a message shows of its offers."""
    return tuple(FileBrief(one.id, one.name, one.size) for one in counting(author, offered))


def pieces(offer: Offer) -> int:
    """How many pieces it has."""
    return -(-offer.size // offer.piece_size)


def untold(row: TransferRow) -> bool:
    """Whether the machine that offers it is still to hear how it ended here."""
    return row.incoming and row.state in ENDS and row.told != ENDS[row.state]


def view(
    row: TransferRow, said: Sequence[TransferPeer], awaited: Sequence[AccountId], *, direct: bool = False
) -> TransferView:
    """A transfer as people see it. `awaited`: the people an outgoing one is for, who are still there.

    An outgoing one is done when all of them have it on some machine; where nobody is awaited, when
    anybody has.
    """
    if row.incoming:
        return TransferView(row, row.state, (), ())
    others = [peer for peer in said if peer.account != row.author]
    have = _who(others, wire.HAS)
    declined = tuple(who for who in _who(others, wire.DECLINED) if who not in have)
    state = row.state
    if have and all(who in have for who in awaited):
        state = DONE
    elif row.state == OFFERED and any(peer.state == wire.WANT for peer in others):
        state = ACTIVE  # whatever another machine of his has said
    elif row.state == OFFERED and direct and declined:
        state = DECLINED
    return TransferView(row, state, have, declined)


def _who(said: Sequence[TransferPeer], state: int) -> tuple[AccountId, ...]:
    return tuple(sorted({peer.account for peer in said if peer.state == state}))
