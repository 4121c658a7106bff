"""Ceilings that are explained by other ceilings really fit them."""

from __future__ import annotations

import msgspec

from p2pchat.wire.codec import encode
from p2pchat.wire.limits import (
    MAX_AUTH,
    MAX_DEPS,
    MAX_EVENT,
    MAX_FRAME,
    MAX_HELLO,
    MAX_MENTIONS,
    MAX_NESTING,
    MAX_PLAINTEXT,
    MAX_PREAUTH_FRAME,
    MAX_RECONCILE_FRAME,
    MAX_SEALS,
    MAX_TEXT,
    TAG_BYTES,
)
from p2pchat.wire.messages.events import SEAL, Event, Header, Message, Seal, SealedKey
from p2pchat.wire.messages.link import Events, encode_frame
from tests.kit.records import record_types

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
    body = encode(Message(1, "x" * MAX_TEXT, ID, ID, (ID,) * MAX_MENTIONS, True, 2**53))
    assert size(largest(body)) + 24 + TAG_BYTES <= MAX_EVENT  # sealed: nonce and tag


def test_the_largest_event_and_reconciliation_fit_one_frame() -> None:
    event = largest(b"")
    event = largest(b"b" * (MAX_EVENT - size(event) - 4))
    assert len(encode_frame(Events((event,)))) <= MAX_PLAINTEXT
    assert MAX_RECONCILE_FRAME + 1024 < MAX_PLAINTEXT == MAX_FRAME - TAG_BYTES
    assert MAX_HELLO + 1024 < MAX_PREAUTH_FRAME


def test_no_record_nests_deeper_than_allowed() -> None:
    assert max(depth(msgspec.inspect.type_info(kind)) for kind in record_types()) <= MAX_NESTING


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
