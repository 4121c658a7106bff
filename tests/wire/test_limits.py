"""Ceilings that are explained by other ceilings really fit them."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import msgspec
import pytest

from p2pchat.crypto import noise, primitives
from p2pchat.engine import keys, log
from p2pchat.errors import RemoteProtocolError
from p2pchat.store import items
from p2pchat.wire import limits
from p2pchat.wire.codec import decode, encode
from p2pchat.wire.limits import (
    MAX_AUTH,
    MAX_DEPS,
    MAX_ENTRIES,
    MAX_EVENT,
    MAX_FILES,
    MAX_FRAME,
    MAX_HELLO,
    MAX_MANIFEST,
    MAX_MENTIONS,
    MAX_PIECE,
    MAX_PLAINTEXT,
    MAX_PREAUTH_FRAME,
    MAX_RECONCILE_FRAME,
    MAX_SEALS,
    MAX_TEXT,
    TAG_BYTES,
)
from p2pchat.wire.messages.events import SEAL, Event, Header, Message, Seal, SealedKey
from p2pchat.wire.messages.files import Offer
from p2pchat.wire.messages.link import Events, Want, encode_frame
from tests.kit.records import record_types

ROOT = Path(__file__).resolve().parents[2]
ID = b"\xff" * 32
WIDEST = 2**64 - 1


def largest(body: bytes) -> Event:
    """An event around `body` whose every other field is as long as it may be."""
    header = Header(
        WIDEST, ID, ID, WIDEST, ID, (ID,) * MAX_DEPS, (ID,) * MAX_AUTH, WIDEST, SEAL, ID[:16], ID, len(body)
    )
    return Event(encode(header), b"s" * 64, body)


def size(event: Event) -> int:
    return len(event.header) + len(event.signature) + len(event.body or b"")


def test_the_largest_seal_is_an_event() -> None:
    keys = tuple(SealedKey(ID, 50_000, b"k" * 80) for _ in range(MAX_SEALS))  # a thousand years of weeks
    assert size(largest(encode(Seal(1, ID[:16], keys)))) <= MAX_EVENT


def test_the_largest_message_is_an_event() -> None:
    body = encode(Message(1, "x" * MAX_TEXT, ID, ID, (ID,) * MAX_MENTIONS, True, 2**53, ()))
    assert size(largest(body)) + 24 + TAG_BYTES <= MAX_EVENT  # sealed: nonce and tag


def test_the_most_files_of_one_message_are_an_event() -> None:
    name = "\N{SNOWMAN}" * 255  # 255 units of the widest kind, which is what a system can name
    offer = Offer(ID[:16], 2**41, MAX_MANIFEST, MAX_ENTRIES, name, "a" * 127, 2**63 - 1, ID, MAX_PIECE, 2**31)
    body = encode(Message(1, "x" * 8192, ID, ID, (), True, 2**53, (offer,) * MAX_FILES))
    assert size(largest(body)) + 24 + TAG_BYTES <= MAX_EVENT


def test_the_largest_event_and_reconciliation_fit_one_frame() -> None:
    event = largest(b"")
    event = largest(b"b" * (MAX_EVENT - size(event) - 4))
    assert len(encode_frame(Events((event,)))) <= MAX_PLAINTEXT
    assert MAX_RECONCILE_FRAME + 1024 < MAX_PLAINTEXT == MAX_FRAME - TAG_BYTES
    assert MAX_HELLO + 1024 < MAX_PREAUTH_FRAME


def test_no_record_nests_without_end() -> None:
    """Types bound the decoder's stack: a record inside itself would end this test's own."""
    assert max(depth(msgspec.inspect.type_info(kind)) for kind in record_types()) <= 8


@pytest.mark.parametrize("head", [b"\xdd\xff\xff\xff\xff", b"\xdc\xff\xff"])
def test_a_list_that_promises_more_than_is_there_costs_nothing(head: bytes) -> None:
    frame = b"\x95\xc4\x20" + ID + b"\xc2" + head + b"\xc4\x01x" * 100  # a Want with many ids
    tracemalloc.start()
    with pytest.raises(RemoteProtocolError, match="malformed Want"):
        decode(Want, frame)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_the_longest_list_of_one_frame_is_read() -> None:
    raw = encode(Want(ID, False, (b"",) * (MAX_PLAINTEXT // 2 - 30), b"", 0))
    assert MAX_PLAINTEXT - 100 < len(raw) <= MAX_PLAINTEXT
    assert len(decode(Want, raw).ids) > 32_000


def test_every_ceiling_is_held_somewhere() -> None:
    names = {name for name in vars(limits) if name.isupper()} - {"KIB", "MIB", "GIB"}
    sources = "".join(
        path.read_text() for path in (ROOT / "p2pchat").rglob("*.py") if path.name != "limits.py"
    )
    assert {name for name in names if not re.search(rf"\b{name}\b", sources)} == set()
    assert limits.KEEP_PREKEY_MS == keys.KEEP_PREKEY_MS
    assert (noise.MAX_MESSAGE, noise.MAX_PLAINTEXT) == (MAX_FRAME, MAX_PLAINTEXT)
    assert primitives.TAG_BYTES == TAG_BYTES
    assert (log.FUTURE_MS, items.WEEK_MS) == (limits.FUTURE_MS, limits.WEEK_MS)


def depth(declared: msgspec.inspect.Type) -> int:
    """Depth of arrays by declared types: nothing deeper can be decoded."""
    match declared:
        case msgspec.inspect.StructType(cls=cls):
            fields = msgspec.structs.fields(cls)
            return 1 + max((depth(msgspec.inspect.type_info(field.type)) for field in fields), default=0)
        case msgspec.inspect.VarTupleType(item_type=item):
            return 1 + depth(item)
        case msgspec.inspect.TupleType(item_types=items):
            return 1 + max(map(depth, items))
    return 0
