"""What machines say to each other about files: how an offer stands with them, and please dial me.

Decides: whose word about an offer counts, what is kept of it and what is answered, and how much one
machine may say (docs/files.md, "Who has it"). Does not know: what follows for a transfer of ours from
commands or from bytes (transfers).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from p2pchat.engine import offers, rooms, transfers
from p2pchat.engine.context import Context, Link
from p2pchat.engine.file_inputs import DialBulk, FileSource, NeedBulk
from p2pchat.engine.inputs import Send
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import DeviceId
from p2pchat.model import ACTIVE, DONE, FAILED, TransferPeer, TransferRow
from p2pchat.wire.messages import files as wire
from p2pchat.wire.messages.files import FileHeard, FileState

WORDS: Final = 1024.0
"""States that a machine may say at once: what 64 full messages take to be accepted."""
WORDS_PER_S: Final = 4.0
"""And on and on; each costs a look into the archive."""
WITHDRAWN: Final = "it is not given any more"


def need_bulk(ctx: Context, event: NeedBulk) -> None:
    """Ask a machine that we can not dial to dial us."""
    link = transfers.link_to(ctx, event.device)
    if link is not None:
        ctx.out.append(Send(link.link, wire.Knock()))


def _listens(ctx: Context, link: Link) -> bool:
    """Whether a machine may say one more thing now."""
    spare, since = ctx.live.file_words.get(link.device, (WORDS, ctx.now.mono))
    spare = min(WORDS, spare + WORDS_PER_S * max(0.0, ctx.now.mono - since))
    ctx.live.file_words[link.device] = (spare - 1 if spare >= 1 else spare, ctx.now.mono)
    return spare >= 1


def heard(ctx: Context, link: Link, said: FileState) -> None:
    """How an offer stands on another machine. What is not his to know or say is passed over."""
    if len(said.offer) != wire.OFFER_ID_BYTES or not wire.WANT <= said.state <= wire.STOPPED:
        raise RemoteProtocolError("state of a file out of form")
    if not _listens(ctx, link):
        return
    row = ctx.ledger.transfers.transfer(said.offer)
    if row is None or row.room != said.room:
        return
    if row.incoming and link.device == row.device and said.state == wire.STOPPED:
        if row.state == ACTIVE:
            over, direct = transfers.expired(ctx, row), rooms.room(ctx, row.room).row.peer is not None
            # In a room others may have it: who accepts it again goes on from what is here.
            transfers.give_up(ctx, row, transfers.EXPIRED if over else WITHDRAWN, discard=over or direct)
        return
    if not transfers.may_have(ctx, row, link.account, link.device):
        return
    if not row.incoming:
        _of_ours(ctx, link, row, said.state)
    elif row.state == ACTIVE and said.state in (wire.WANT, wire.HAS):
        ctx.out.append(FileSource(row.id, link.device, link.account == row.author))
    if said.asking and said.state == wire.WANT:
        _answer(ctx, link, row)


def _of_ours(ctx: Context, link: Link, row: TransferRow, state: int) -> None:
    peer = TransferPeer(link.device, link.account, state)
    if peer not in ctx.ledger.transfers.peers(row.id):
        first = ctx.ledger.transfers.put_peer(row.id, peer)
        ctx.batch.wrote = True
        if first:  # who changes his mind for ever fills no feed
            ctx.feed("file", row.id)
    if state != wire.WANT:
        ctx.out.append(Send(link.link, FileHeard(row.id, state)))


def _answer(ctx: Context, link: Link, row: TransferRow) -> None:
    why = transfers.not_given(ctx, row)
    if not row.incoming:
        if row.state != FAILED:  # that is told with its reason, where its bytes go
            transfers.say(ctx, link, row, wire.STOPPED if why else wire.HAS)
    elif not why:
        transfers.say(ctx, link, row, wire.HAS if row.state == DONE else wire.WANT)


def heard_back(ctx: Context, link: Link, said: FileHeard) -> None:
    """The machine that offers it keeps what we said."""
    row = transfers.opened(ctx).untold.get(link.device, {}).get(said.offer)
    if row is not None and offers.ENDS[row.state] == said.state:
        transfers.put(ctx, replace(row, told=said.state), tell_people=False)


def knocked(ctx: Context, link: Link) -> None:
    """A machine that can not dial us asks for a bulk link."""
    if _listens(ctx, link):
        ctx.out.append(DialBulk(link.device))


def gone(ctx: Context, device: DeviceId) -> None:
    """A machine has left: nothing of it is remembered once it may say all it wants again."""
    spare, since = ctx.live.file_words.get(device, (0.0, ctx.now.mono))
    if spare + WORDS_PER_S * (ctx.now.mono - since) >= WORDS:
        ctx.live.file_words.pop(device, None)
