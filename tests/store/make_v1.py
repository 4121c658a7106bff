"""Makes `v1.db.gz`: an archive of schema 1 with a row in every table. Run once, then frozen.

    python -m tests.store.make_v1

The file stands for archives that people have. When the schema changes it stays as it is,
and the test that opens it shows that nothing in it is lost.
"""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

from p2pchat.ids import EventId
from p2pchat.model import HELD, AddressRow, Draft, EpochRow, PrekeyRow, RegisterRow, RoomRow, Touch, TrustRow
from p2pchat.store.ledger import Ledger, open_ledger
from p2pchat.wire.messages.events import CREATE, EDIT
from tests.store.samples import BOB, BOBS_DEVICE, EPOCH, ME, MY_DEVICE, ROOM, START_MS, Samples, made

FIXTURE = Path(__file__).with_name("v1.db.gz")


def fill(ledger: Ledger) -> None:
    """The rows of the fixture; the same whenever it is called."""
    samples = Samples()
    ledger.begin()
    ledger.rooms.put_room(RoomRow(ROOM, "direct", "", BOB))
    event = EventId(made("epoch event"))
    ledger.rooms.put_epoch(
        EpochRow(ROOM, EPOCH, 1, made("members"), True, made("key"), event, START_MS << 16)
    )
    ledger.rooms.put_prekey(PrekeyRow(1, made("public"), made("secret"), START_MS, None))
    ledger.people.add_statement(made("statement"), BOB, b"raw", b"signature")
    ledger.people.put_register(RegisterRow(BOBS_DEVICE, 2, b"", b"", 3, b"Bob", b"signature"))
    ledger.people.put_trust(TrustRow(BOB, True, False, "Bob", ME, START_MS, START_MS + 1))
    ledger.people.put_address(AddressRow("192.0.2.7", 26700, BOBS_DEVICE, True, START_MS))
    ledger.people.put_value("read_receipts", b"1")
    ledger.seen.put_seen(ROOM, MY_DEVICE, BOBS_DEVICE, 4, ((5, 9), (1, 2)))
    control = samples.event(kind=CREATE)
    ledger.events.add(control)
    ledger.items.add(ROOM, True, [(control.hlc >> 16, control.id)])
    first = samples.put(ledger, text="a frozen word", mentions=(ME,), mentions_me=True, flags=("future",))
    samples.put(
        ledger, text="with thanks", reactions=(("👍", (ME, BOB)),), thread=first.id, reply_to=first.id
    )
    samples.put(ledger, text="mine", mine=True, state=HELD)
    samples.put(ledger, text="after a hole", seq=9)
    ledger.events.park(samples.event(seq=40), 10)
    ledger.views.put_touch(
        ROOM, Touch(first.id, EventId(made("touch")), BOB, START_MS << 16, EDIT, "x", False)
    )
    ledger.outbox.put_key("nightly-1", first.id)
    ledger.outbox.put_draft(Draft("draft-abcdef", ROOM, "later", None, None, False, START_MS, "", START_MS))
    ledger.outbox.feed("message", first.id, START_MS, (("state", "received"),))
    ledger.commit()
    ledger.begin()
    ledger.views.index_some()
    samples.put(ledger, text="not yet in the index")
    ledger.commit()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "archive.db"
        ledger = open_ledger(path)
        fill(ledger)
        ledger.close()
        FIXTURE.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


if __name__ == "__main__":
    main()
