"""Offers and what became of them, as rows: put, found, listed, and brought over from older archives."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

from sqlite_utils import Database

from p2pchat.ids import EventId
from p2pchat.model import FileBrief, RoomRow, TransferPeer, TransferRow
from p2pchat.store import schema
from p2pchat.store.ledger import MEMORY, Ledger, open_ledger
from p2pchat.store.reader import open_reader
from tests.store.samples import BOB, BOBS_DEVICE, ME, MY_DEVICE, OTHER_ROOM, ROOM, Samples, made


def row(n: int, **changes: object) -> TransferRow:
    """An offer of bob's, or with `incoming=False` of mine."""
    mine = changes.get("incoming") is False
    known = TransferRow(
        id=made("offer", n)[:16],
        room=ROOM,
        event=EventId(made("event", n)),
        author=ME if mine else BOB,
        device=MY_DEVICE if mine else BOBS_DEVICE,
        incoming=True,
        offer=b"encoded",
        name=f"näme {n}\n",
        size=2**41,
        files=100_000,
        state="offered",
        path="",
        to="",
        conflict="rename",
        root=b"",
        error_kind="",
        error="",
        expires_ms=0,
        made_ms=n,
        told=-1,
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def test_a_transfer_is_put_and_replaced(either: Ledger) -> None:
    store = either.transfers
    one = row(1)
    store.put_transfer(one, untold=False)
    assert store.transfer(one.id) == one
    changed = replace(
        one, state="done", path="/ä", to="/t", conflict="skip", root=made("r"), error_kind="k", error="e",
        expires_ms=7, told=1, served=False,
    )  # fmt: skip
    store.put_transfer(changed, untold=True)
    assert store.transfer(one.id) == changed
    assert store.transfer(made("?")[:16]) is None
    assert store.of_event(one.event) == [changed]
    assert store.of_event(EventId(made("?"))) == []


def test_transfers_that_somebody_is_to_be_asked_for_or_told_of(either: Ledger) -> None:
    store = either.transfers
    rows = [
        row(3, state="active"),
        row(1, state="active"),
        row(2, state="paused"),
        row(4, state="active", incoming=False),
        row(5, state="done"),
    ]
    for one in rows:
        store.put_transfer(one, untold=one.state == "done")
    assert [one.made_ms for one in store.fetching()] == [1, 3]
    assert [one.made_ms for one in store.untold()] == [5]
    store.put_transfer(rows[4], untold=False)
    assert store.untold() == []


def test_what_has_expired_is_found_once_it_has(either: Ledger) -> None:
    store = either.transfers
    ends = [(1, "offered", 10), (2, "active", 5), (3, "paused", 11), (4, "done", 5), (5, "offered", 0)]
    for n, state, expires in ends:
        store.put_transfer(row(n, state=state, expires_ms=expires), untold=False)
    assert [one.made_ms for one in store.expired(10)] == [2, 1]
    assert store.expired(4) == []


def test_ids_are_found_by_their_beginning(either: Ledger) -> None:
    store = either.transfers
    for n in range(4):
        store.put_transfer(row(n, id=b"\xab\xcd" + bytes([n]) * 14), untold=False)
    assert store.find("ABCD") == [b"\xab\xcd" + bytes([n]) * 14 for n in range(3)]
    assert store.find("abcd02") == [b"\xab\xcd" + b"\x02" * 14]
    assert store.find("abcd02" + "02" * 13) == [b"\xab\xcd" + b"\x02" * 14]
    for odd in ("", "xyz", "abce", "ab" * 17):
        assert store.find(odd) == []


def test_what_machines_say_is_kept_once_and_what_they_said_ever(either: Ledger) -> None:
    store, one = either.transfers, row(1, incoming=False)
    store.put_transfer(one, untold=False)
    wants, has = TransferPeer(BOBS_DEVICE, BOB, 0), TransferPeer(BOBS_DEVICE, BOB, 1)
    assert [store.put_peer(one.id, peer) for peer in (wants, wants, has, wants)] == [True, False, True, False]
    assert store.peers(one.id) == [wants]
    store.put_peer(one.id, TransferPeer(MY_DEVICE, ME, 1))
    assert [peer.device for peer in store.peers(one.id)] == sorted([BOBS_DEVICE, MY_DEVICE])
    assert store.peers(made("?")[:16]) == []


def test_a_root_waits_for_its_offer(either: Ledger) -> None:
    store, offer = either.transfers, made("offer")[:16]
    store.put_root(offer, BOB, made("one"), 3)
    store.put_root(offer, BOB, made("two"), 4)
    store.put_root(offer, ME, made("mine"), 5)
    assert store.take_root(offer, BOB) == (made("one"), 3)
    assert store.take_root(offer, BOB) is None
    assert store.take_root(offer, ME) == (made("mine"), 5)


def test_a_message_shows_its_files_everywhere(either: Ledger) -> None:
    files = (FileBrief(made("a")[:16], "näme\n\x1b[2J", 2**41), FileBrief(made("b")[:16], "", 0))
    view = Samples().put(either, text="", files=files)
    assert either.views.message(view.id) == view
    either.views.put_message(view._replace(files=files[:1]))
    shown = either.views.message(view.id)
    assert shown is not None
    assert shown.files == files[:1]


def test_readers_see_transfers_as_the_engine_does(ledger: Ledger) -> None:
    ledger.begin()
    samples = Samples()
    said = samples.put(ledger, mine=True)
    later = samples.put(ledger, mine=True, room=OTHER_ROOM)
    ledger.rooms.put_room(RoomRow(ROOM, "direct", "", BOB))
    ledger.rooms.put_room(RoomRow(OTHER_ROOM, "room", "r", None))
    third = made("third")
    ledger.rooms.put_awaited(OTHER_ROOM, BOB, later.seq)
    ledger.rooms.put_awaited(OTHER_ROOM, type(BOB)(third), later.seq + 1)  # came in after it
    direct = row(1, incoming=False, event=said.id)
    room = row(2, incoming=False, event=later.id, room=OTHER_ROOM)
    theirs = row(3, state="paused")
    for one in (direct, room, theirs):
        ledger.transfers.put_transfer(one, untold=False)
    for one in (direct, room):
        ledger.transfers.put_peer(one.id, TransferPeer(BOBS_DEVICE, BOB, 1))
    ledger.commit()
    reader = open_reader(ledger)
    try:
        found = reader.transfers()
        assert [(view.row, view.state, view.have) for view in found] == [
            (direct, "done", (BOB,)), (room, "done", (BOB,)), (theirs, "paused", ()),
        ]  # fmt: skip
        assert [view.row for view in reader.transfers(limit=1)] == [theirs]
        assert reader.transfer(room.id) == found[1]
        assert reader.transfer(made("?")[:16]) is None
        assert reader.find_transfers(theirs.id.hex()[:8]) == [theirs.id]
    finally:
        reader.close()


def test_an_archive_of_the_eighth_version_learns_of_files(tmp_path: Path) -> None:
    path = tmp_path / "archive.db"
    old = sqlite3.connect(path, isolation_level=None)
    old.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    schema.migrations.apply(Database(old, execute_plugins=False), stop_before="0009_transfers")
    assert old.execute("PRAGMA user_version").fetchone() == (8,)
    # a row as version 8 wrote it: made by this version, and its newer columns taken away again
    twin = open_ledger(MEMORY)
    twin.begin()
    view = Samples().put(twin, text="from before")
    twin.commit()
    for table in ("ident", "event", "week", "message"):
        named = [name for _, name, *_ in old.execute(f"PRAGMA table_info({table})")]
        every = twin.connection.execute(f"SELECT {', '.join(named)} FROM {table}").fetchall()
        marks = ", ".join("?" * len(named))
        old.executemany(f"INSERT OR REPLACE INTO {table} ({', '.join(named)}) VALUES ({marks})", every)
    old.close()
    twin.close()
    opened = open_ledger(path)
    try:
        assert opened.connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert opened.check_integrity() == []
        assert opened.views.message(view.id) == view
        opened.begin()
        opened.transfers.put_transfer(row(1), untold=False)
        opened.commit()
        assert opened.transfers.transfer(row(1).id) == row(1)
    finally:
        opened.close()
