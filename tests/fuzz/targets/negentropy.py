"""Negentropy messages, read alone and answered on both sides, from whole and weekly items."""

from __future__ import annotations

import hashlib

from p2pchat.engine.items import WEEK_MS, Items, VectorItems, WeekCache, WeekItems
from p2pchat.engine.reconcile import MIN_FRAME_BYTES, Reconciler
from p2pchat.errors import RemoteProtocolError
from p2pchat.wire.negentropy import INFINITY, Bound, Fingerprint, IdList, Range, Skip, decode, encode
from tests.engine.weeks import rows_of

_HELD = [(n * WEEK_MS // 30, hashlib.sha256(b"%d" % n).digest()) for n in range(120)]
_ROWS, _PACKED = rows_of(_HELD)
_CACHE = WeekCache(limit=3000)  # smaller than the set, so that weeks come and go


def seeds() -> list[bytes]:
    asking = Reconciler(VectorItems(_HELD[::2]), initiator=True)
    first = asking.initiate()
    answer = Reconciler(VectorItems(_HELD), initiator=False).respond(first)
    ids = tuple(id for _, id in _HELD[:3])
    mixed: list[Range] = [
        Skip(Bound(5, b"")),
        IdList(Bound(WEEK_MS, b"\1\2"), ids),
        Fingerprint(Bound(2 * WEEK_MS, b""), bytes(16)),
        IdList(INFINITY, ()),
    ]
    return [first, answer, asking.reconcile(answer).reply or b"", encode(mixed), b"\x61", b"\x62"]


def one_input(data: bytes) -> None:
    for initiator in (False, True):
        said = []
        for items in (VectorItems(_HELD), WeekItems(_ROWS, _PACKED.__getitem__, _CACHE, "fuzz")):
            try:
                said.append(_answer(items, initiator, data))
            except RemoteProtocolError as refused:
                said.append(refused.reason.encode())
        assert said[0] == said[1]
    ranges = decode(data)
    assert decode(encode(ranges)) == ranges


def _answer(items: Items, initiator: bool, data: bytes) -> bytes:
    """What is said to `data`; it must be readable and keep the limit."""
    side = Reconciler(items, MIN_FRAME_BYTES, initiator=initiator)
    reply = side.reconcile(data).reply if initiator else side.respond(data)
    if reply is not None:
        assert len(reply) <= MIN_FRAME_BYTES
        decode(reply)
    return reply or b""
