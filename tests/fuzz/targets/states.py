"""The log of a transfer: whatever is torn or written over in it, only what was said is believed."""

from __future__ import annotations

from p2pchat.files import state
from p2pchat.wire.codec import encode
from tests.kit.transfers import offer_of

_OFFER = offer_of(bytes(100))
_RECORDS = (
    (state.HEAD, encode(state.Head(state.VERSION, _OFFER, "15.0.0", ""))),
    (state.HASHES, bytes(4) + bytes(96)),
    (state.DONE, state.pack_ranges([0, 1, 2, 7])),
    (state.ROOT, bytes(32)),
    (state.PLACE, b"report.pdf"),
    (state.PLACED, b"report.pdf"),
)


def _log(records: tuple[tuple[int, bytes], ...]) -> bytes:
    check, raw = bytes(state.CHECK_BYTES), b""
    for kind, body in records:
        frame = state._FRAME.pack(len(body), kind) + body
        check = state._next(check, frame)
        raw += frame + check
    return raw


_WHOLE = _log(_RECORDS)


def seeds() -> list[bytes]:
    return [_WHOLE, _WHOLE[:-1], _WHOLE[: len(_WHOLE) // 2] + bytes(200), b"", bytes(100)]


def one_input(data: bytes) -> None:
    """As a log: whole records from its start, each unchanged; a longer one begins with the same."""
    found = list(state.believed(data))
    assert _log(tuple((kind, body) for kind, body, _, _ in found)) == data[: found[-1][3] if found else 0]
    again = list(state.believed(data + b"torn"))
    assert again[: len(found)] == found
    head = state.StateLog(-1, "", b"", 0, [(kind, body) for kind, body, _, _ in found]).head
    assert head is None or encode(head) == found[0][1]
