"""What must hold of files once everything has healed: the laws about transfers.

Decides: who must have what he wanted, who must have heard of it, and who must never have been told that
he may have it (docs/files.md). Does not know: who caused what, or how bytes move. A law that does not
hold raises `Broken`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from p2pchat.engine import offers, rooms, transfers
from p2pchat.engine.context import Context
from p2pchat.ids import AccountId
from p2pchat.model import ACTIVE, DIRECT, DONE, OFFERED, Now, StoredEvent, TransferRow
from p2pchat.wire.codec import decode
from p2pchat.wire.messages.files import Offer
from tests.kit.false_mover import Mover
from tests.kit.laws import Site, law
from tests.kit.room_court import Court


def check_files(
    sites: Sequence[Site], movers: Mapping[str, Mover], now: Mapping[str, Now], courts: Sequence[Court]
) -> dict[str, int]:
    """Every law about files; how many transfers stand in which state."""
    contexts = {site.name: site.node.look(now[site.name]) for site in sites}
    rows = {site.name: _rows(site) for site in sites}
    for site in sites:
        mover = movers[site.name]
        for row in rows[site.name].values():
            _its_own(site, contexts[site.name], mover, row)
            if row.incoming and row.state == ACTIVE:
                _nobody_gives_it(site, row, sites, contexts, rows, movers)
    _authors_have_heard(sites, contexts, rows)
    _nobody_else_may_have_it(sites, contexts, rows, movers, courts)
    counts: dict[str, int] = {}
    for held in rows.values():
        for row in held.values():
            counts[row.state] = counts.get(row.state, 0) + 1
    return counts


def _rows(site: Site) -> dict[bytes, TransferRow]:
    ids = site.ledger.connection.execute("SELECT id FROM transfer ORDER BY id").fetchall()
    found = (site.ledger.transfers.transfer(one) for (one,) in ids)
    return {row.id: row for row in found if row is not None}


def _its_own(site: Site, ctx: Context, mover: Mover, row: TransferRow) -> None:
    """What a row says is true, and follows from a message that is here."""
    short = f"{row.name} at {site.name}"
    law(row.id == offers.offer_id(row.author, decode(Offer, row.offer).file_key), f"{short} is not bound")
    event = ctx.ledger.events.get(row.event)
    law(event is not None, f"{short} is of no message")
    if row.incoming:
        law(
            (row.state == DONE) == (row.id in mover.disk), f"{short} is {row.state}, and on disk it is not so"
        )
        law(row.path == mover.disk.get(row.id, ""), f"{short} is said to lie at {row.path!r}")
    shown = ctx.ledger.views.message(row.event)
    gone = shown is None or shown.hidden or shown.deleted
    if gone and row.incoming:
        law(row.state not in (OFFERED, ACTIVE), f"{short} is {row.state} and its message is gone")
    elif not gone:
        assert shown is not None
        law(row.id in [one.id for one in shown.files], f"{short} is not in its message")


def _given(ctx: Context, row: TransferRow, site: Site) -> bool:
    """Whether a machine would give all of it to `site`."""
    whole = row.state == DONE if row.incoming else row.state == OFFERED
    return (
        whole
        and not transfers.not_given(ctx, row)
        and transfers.may_have(ctx, row, site.account, site.device)
    )


def _nobody_gives_it(
    site: Site,
    row: TransferRow,
    sites: Sequence[Site],
    contexts: Mapping[str, Context],
    rows: Mapping[str, Mapping[bytes, TransferRow]],
    movers: Mapping[str, Mover],
) -> None:
    """What is still wanted can be had of no machine there is."""
    members = rooms.room(contexts[site.name], row.room).graph.members
    for other in sites:
        theirs = rows[other.name].get(row.id)
        if other is site or theirs is None or (other.account != row.author and other.account not in members):
            continue
        if theirs.incoming and row.id not in movers[other.name].disk:
            continue
        law(
            not _given(contexts[other.name], theirs, site),
            f"{site.name} waits for {row.name}, and {other.name} would give it",
        )


def _authors_have_heard(
    sites: Sequence[Site],
    contexts: Mapping[str, Context],
    rows: Mapping[str, Mapping[bytes, TransferRow]],
) -> None:
    """How it ended is known to the machine that offers it, if he may speak about it at all."""
    by_device = {site.device: site for site in sites}
    for site in sites:
        for row in rows[site.name].values():
            author = by_device.get(row.device)
            if not row.incoming or author is None or row.state not in offers.ENDS or row.told < 0:
                continue
            said = {peer.device: peer.state for peer in author.ledger.transfers.peers(row.id)}
            known = said.get(site.device)
            quietly = row.error in (
                transfers.DELETED,
                transfers.EXPIRED,
                transfers.UNCOUNTED,
                transfers.OUT,
                "it is not given any more",
            )
            law(quietly or known == row.told, f"{author.name} knows {known} of {row.name} at {site.name}")
    for site in sites:
        for row in rows[site.name].values():
            author = by_device.get(row.device)
            if author is None or not offers.untold(row):
                continue
            theirs = rows[author.name].get(row.id)
            law(
                theirs is None
                # who has left hears nothing of the room any more
                or author.account not in rooms.room(contexts[author.name], row.room).graph.members
                or not transfers.may_have(contexts[author.name], theirs, site.account, site.device),
                f"{author.name} has never heard how {row.name} ended at {site.name}: {row.state}",
            )


def _nobody_else_may_have_it(
    sites: Sequence[Site],
    contexts: Mapping[str, Context],
    rows: Mapping[str, Mapping[bytes, TransferRow]],
    movers: Mapping[str, Mover],
    courts: Sequence[Court],
) -> None:
    """Who was ever told that he may have some of it could read the message that offers it."""
    by_room = {court.room: court for court in courts}
    for site in sites:
        for account, offer in movers[site.name].given:
            row = rows[site.name][offer]
            short = f"{site.name} gave {row.name} to {account.hex()[:8]}"
            row_room = contexts[site.name].cache.known_rooms[row.room]
            if row_room.kind == DIRECT:
                law(account in (site.account, row_room.peer), f"{short}, who is not in that chat")
                continue
            court = by_room[row.room]
            if row.event in court.content:
                law(_might_read(court, account, row), short)


def _might_read(court: Court, account: AccountId, row: TransferRow) -> bool:
    event: StoredEvent = court.content[row.event]
    act = court.epochs.get(event.epoch)
    return account == row.author or act is None or court.might_open(account, act.auth)
