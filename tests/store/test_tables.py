"""The smaller families: rooms and keys, people, who has seen what, drafts and the feed."""

from __future__ import annotations

from dataclasses import replace

from p2pchat.ids import AccountId, EpochId, EventId, RoomId
from p2pchat.model import AddressRow, Draft, EpochRow, FeedRow, PrekeyRow, RegisterRow, RoomRow, TrustRow
from p2pchat.store.ledger import Ledger
from p2pchat.store.reader import open_reader
from tests.store.samples import BOB, BOBS_DEVICE, ME, MY_DEVICE, OTHER_ROOM, ROOM, made

HAVE, READ = 4, 5


# -- rooms -----------------------------------------------------------------------------


def test_rooms_by_id_and_replaced(either: Ledger) -> None:
    rows = [RoomRow(RoomId(made("r", n)), "direct", "", AccountId(made("a", n))) for n in range(5)]
    for row in rows:
        either.rooms.put_room(row)
    changed = replace(rows[2], kind="room", name="launch", peer=None)
    either.rooms.put_room(changed)
    rows[2] = changed
    assert either.rooms.rooms() == sorted(rows, key=lambda row: row.id)


def test_epochs_of_a_room_in_order_of_generation(either: Ledger) -> None:
    def row(n: int, gen: int, room: RoomId = ROOM) -> EpochRow:
        return EpochRow(
            room,
            EpochId(made(n)[:16]),
            gen,
            made("m"),
            n % 2 == 0,
            None,
            EventId(made("e", n)),
            2**64 - n - 1,
        )

    rows = [row(1, 3), row(2, 1), row(3, 2), row(4, 2)]
    for one in (*rows, row(9, 1, OTHER_ROOM)):
        either.rooms.put_epoch(one)
    learned = replace(rows[0], key=made("key"))
    either.rooms.put_epoch(learned)
    rows[0] = learned
    assert either.rooms.epochs(ROOM) == sorted(rows, key=lambda one: (one.gen, one.epoch))
    assert either.rooms.epochs(RoomId(made("unknown"))) == []


def test_prekeys_ascending_and_replaced(either: Ledger) -> None:
    rows = [PrekeyRow(n, made("public", n), made("secret", n), n, None) for n in (3, 1, 2)]
    for row in rows:
        either.rooms.put_prekey(row)
    either.rooms.put_prekey(PrekeyRow(1, made("public", 1), b"", 1, 77))
    assert either.rooms.prekeys() == [PrekeyRow(1, made("public", 1), b"", 1, 77), rows[2], rows[0]]


# -- people ----------------------------------------------------------------------------


def test_statements_in_order_of_arrival_once(either: Ledger) -> None:
    for n in (3, 1, 2):
        either.people.add_statement(made(n), BOB, f"raw {n}".encode(), b"s")
    either.people.add_statement(made(3), ME, b"another", b"x")
    assert either.people.statements() == [(BOB, f"raw {n}".encode(), b"s") for n in (3, 1, 2)]


def test_registers_by_name(either: Ledger) -> None:
    mine = RegisterRow(MY_DEVICE, HAVE, ROOM, BOBS_DEVICE, 1, b"v", b"s")
    newer = replace(mine, n=(1 << 63) - 1, value=b"w")
    other = replace(mine, author=MY_DEVICE)
    profile = RegisterRow(BOBS_DEVICE, 2, b"", b"", 9, b"Bob", b"s")
    for row in (mine, other, profile, newer):
        either.people.put_register(row)
    by_name = sorted([newer, other], key=lambda row: (row.device, row.room, row.author))
    assert either.people.registers(HAVE) == by_name
    assert either.people.registers(2) == [profile]
    assert either.people.register(MY_DEVICE, HAVE, ROOM, BOBS_DEVICE) == newer
    assert either.people.register(BOBS_DEVICE, 2, b"", b"") == profile
    assert either.people.register(BOBS_DEVICE, 1, b"", b"") is None


def test_trust_is_put_and_dropped(either: Ledger) -> None:
    bob = TrustRow(BOB, True, False, "Bob", None, 1, 2)
    me = TrustRow(ME, False, True, "", BOB, 3, 4)
    for row in (replace(bob, verified=False), me, bob):
        either.people.put_trust(row)
    assert either.people.trust() == sorted([bob, me], key=lambda row: row.account)
    either.people.drop_trust(BOB)
    assert either.people.trust() == [me]


def test_addresses_are_put_and_dropped(either: Ledger) -> None:
    one = AddressRow("192.0.2.1", 26700, None, True, 0)
    two = AddressRow("fe80::1%eth0", 26701, BOBS_DEVICE, False, 5)
    for row in (two, replace(one, static=False), one):
        either.people.put_address(row)
    assert either.people.addresses() == [one, two]
    either.people.drop_address("192.0.2.1", 26700)
    either.people.drop_address("192.0.2.1", 26700)
    assert either.people.addresses() == [two]


def test_values(either: Ledger) -> None:
    assert either.people.value("n") is None
    either.people.put_value("n", b"1")
    either.people.put_value("n", b"")
    assert either.people.value("n") == b""


# -- who has seen what -----------------------------------------------------------------


def test_seen_is_kept_by_device_author_and_kind(either: Ledger) -> None:
    either.seen.put_seen(ROOM, MY_DEVICE, BOBS_DEVICE, HAVE, ((1, 1),))
    either.seen.put_seen(ROOM, MY_DEVICE, BOBS_DEVICE, HAVE, ((7, 9), (1, 5)))
    either.seen.put_seen(ROOM, MY_DEVICE, BOBS_DEVICE, READ, ())
    either.seen.put_seen(ROOM, BOBS_DEVICE, MY_DEVICE, HAVE, ((1, (1 << 53) - 1),))
    either.seen.put_seen(OTHER_ROOM, MY_DEVICE, BOBS_DEVICE, HAVE, ((1, 2),))
    assert either.seen.seen(ROOM) == sorted(
        [
            (MY_DEVICE, BOBS_DEVICE, HAVE, ((7, 9), (1, 5))),
            (MY_DEVICE, BOBS_DEVICE, READ, ()),
            (BOBS_DEVICE, MY_DEVICE, HAVE, ((1, (1 << 53) - 1),)),
        ]
    )
    assert either.seen.seen(RoomId(made("unknown"))) == []


# -- keys, drafts, feed ----------------------------------------------------------------


def test_a_key_leads_to_its_event(either: Ledger) -> None:
    assert either.outbox.by_key("nightly") is None
    either.outbox.put_key("nightly", EventId(made(1)))
    assert either.outbox.by_key("nightly") == made(1)


def draft(name: str, at_ms: int) -> Draft:
    thread = EventId(made("thread"))
    return Draft(name, ROOM, f"text of {name}", None, thread, True, at_ms, "key", 1)


def test_drafts_open_ones_by_due_time(either: Ledger) -> None:
    late, soon, sent, gone = (draft(f"draft-{n}aaaaa", at) for n, at in enumerate((90, 10, 20, 30)))
    for one in (late, soon, sent, gone):
        either.outbox.put_draft(one)
    sent = replace(sent, sent_as=EventId(made("event")))
    either.outbox.put_draft(sent)
    either.outbox.put_draft(replace(gone, cancelled=True))
    assert either.outbox.drafts() == [soon, late]
    assert either.outbox.draft(sent.id) == sent
    assert either.outbox.draft(gone.id) == replace(gone, cancelled=True, text="")


def test_a_draft_by_its_prefix_if_there_is_one(either: Ledger) -> None:
    one, other = draft("draft-abc111", 1), draft("draft-abc222", 2)
    for each in (one, other):
        either.outbox.put_draft(each)
    assert either.outbox.draft("draft-abc1") == one
    for vague in ("draft-abc", "draft", "", "draft-x", "%", "draft-abc111x"):
        assert either.outbox.draft(vague) is None


def test_the_feed_goes_on_after_pruning(either: Ledger) -> None:
    reader = open_reader(either)
    assert (reader.oldest_cursor(), reader.last_cursor()) == (1, 0)
    cursors = [either.outbox.feed("message", made(n), n * 10) for n in range(5)]
    told = either.outbox.feed("receipt", b"", 50, (("state", "delivered"), ("person", "ab")))
    either.commit()
    assert cursors == [1, 2, 3, 4, 5]
    assert reader.feed(3, 2) == [FeedRow(4, "message", made(3), 30), FeedRow(5, "message", made(4), 40)]
    assert reader.feed(told - 1, 9) == [
        FeedRow(6, "receipt", b"", 50, (("state", "delivered"), ("person", "ab")))
    ]
    either.begin()
    either.outbox.prune_feed(30)
    either.commit()
    assert (reader.oldest_cursor(), reader.last_cursor()) == (4, 6)
    either.begin()
    either.outbox.prune_feed(1000)
    either.commit()
    assert (reader.oldest_cursor(), reader.last_cursor()) == (6, 6)  # the newest stays: 6 is given once
    assert [row.cursor for row in reader.feed(0, 9)] == [6]
    either.begin()
    assert either.outbox.feed("message", b"", 60) == 7
    either.commit()
    reader.close()


def test_a_cursor_that_was_rolled_back_was_never_told(either: Ledger) -> None:
    assert either.outbox.feed("message", b"lost", 1) == 1
    either.rollback()
    either.begin()
    assert either.outbox.feed("message", b"kept", 1) == 1
