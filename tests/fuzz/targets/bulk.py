"""A bulk link with a peer who says anything, sealed as it should be: frames, pieces, and bytes between.

The other side gives two offers and asks for one. Whatever comes, only what was asked for is handed on, in
the order of asking, and the link ends by itself when the stream does.
"""

from __future__ import annotations

import copy

import trio

from p2pchat.crypto.bulk import OVERHEAD, directions
from p2pchat.crypto.session import MAX_UNPADDED, pad
from p2pchat.daemon.bulk_link import MAX_ASKED, Asked, BulkLink, bound
from p2pchat.engine.links import BULK
from p2pchat.net.lan import Address
from p2pchat.wire.codec import Record
from p2pchat.wire.framing import frame
from p2pchat.wire.messages import bulk as wire
from p2pchat.wire.messages.link import encode_frame
from tests.engine.wire_pair import Pair, machine, person

FRAME, PIECE, BYTES = range(3)
OURS, THEIRS = b"o" * 16, b"t" * 16
SIZE = 1000
ASKED = [(0, SIZE), (2, SIZE), (1, 10)]
MAX_PARTS = 80

_PAIR = Pair(machine(person("alice"), initiator=True, purpose=BULK), machine(person("bob"), initiator=False))
_ALICE, _BOB = _PAIR.meet()


def seeds() -> list[bytes]:
    said: list[Record] = [
        wire.Open(OURS), wire.Map(THEIRS, b"\xe0", True, True), wire.More(THEIRS, (1, 2, 1 << 40)),
        wire.Get(OURS, (0, 1, 2, 500)), wire.GetHashes(OURS, 0, 3), wire.Hashes(THEIRS, 0, bytes(96)),
        wire.Cannot(THEIRS, 0, "busy"), wire.Cannot(THEIRS, -1, "gone"), wire.Done(OURS),
    ]  # fmt: skip
    frames = [_part(FRAME, encode_frame(one)) for one in said]
    right = b"".join(_part(PIECE, bytes((number,)) + size.to_bytes(2, "big")) for number, size in ASKED)
    return [b"".join(frames), right, b"".join(frames) + right, *frames, _part(BYTES, bytes(50))]


def _part(door: int, data: bytes) -> bytes:
    return bytes((door,)) + len(data).to_bytes(2, "big") + data


def one_input(data: bytes) -> None:
    """Parts: a frame's plaintext; a piece (number, size) that is well sealed; bytes as they are."""
    pair = copy.deepcopy(_PAIR)
    session = pair.alice._session
    assert session is not None
    sealer, _ = directions(pair.alice.chaining_key, initiator=True)
    stream = b""
    for _ in range(MAX_PARTS):
        if len(data) < 3:
            break
        door, size = data[0] % 3, int.from_bytes(data[1:3], "big")
        part, data = data[3 : 3 + size], data[3 + size :]
        if door == FRAME:
            stream += frame(session.seal(pad(part[:MAX_UNPADDED])))
        elif door == PIECE and len(part) >= 3:
            number, length = part[0], int.from_bytes(part[1:3], "big")
            said = encode_frame(wire.Piece(THEIRS, number, length))
            stream += frame(session.seal(pad(said)))
            sealed = bytearray(length + OVERHEAD)
            sealer.seal_into(bytes(length), sealed, bound(THEIRS, number))
            stream += sealed
        else:
            stream += part
    trio.run(_play, pair, stream)


async def _play(pair: Pair, stream: bytes) -> None:
    talk = _Talk()
    link = BulkLink(pair.bob, _Tape(stream), _BOB, talk)
    link.ask(THEIRS, ASKED)
    with trio.fail_after(5):
        await link.run()
    assert link.over
    assert link.reason not in ("", "internal"), link.reason
    assert talk.came_in == ASKED[: len(talk.came_in)] or talk.refused
    assert len(link._wanted) <= MAX_ASKED


class _Talk:
    """Gives two pieces of OURS; keeps what came of THEIRS."""

    def __init__(self) -> None:
        self.came_in: list[tuple[int, int]] = []
        self.refused = 0

    async def heard(self, link: BulkLink, message: Record) -> None:
        assert isinstance(message, wire.Map | wire.More | wire.Hashes | wire.Cannot)
        self.refused += isinstance(message, wire.Cannot) and message.number >= 0

    async def came(self, link: BulkLink, asked: Asked, piece: memoryview) -> None:
        assert asked.offer == THEIRS
        assert (asked.number, asked.size) in ASKED
        assert bytes(piece) == bytes(asked.size)
        self.came_in.append((asked.number, asked.size))

    async def asked(self, link: BulkLink, message: Record) -> None:
        assert isinstance(message, wire.Open | wire.GetHashes | wire.Done)
        if isinstance(message, wire.Open):
            link.say(wire.Cannot(message.offer, -1, "unknown"))

    def rests(self, link: BulkLink) -> None:
        pass

    def piece_size(self, offer: bytes) -> int:
        return SIZE if offer == OURS else 0

    async def give(self, link: BulkLink, offer: bytes, number: int, into: memoryview) -> tuple[Record, ...]:
        if offer != OURS or number not in (0, 1):
            return (wire.Cannot(offer, number, "gone"),)
        into[:SIZE] = bytes(SIZE)
        return (wire.Piece(offer, number, SIZE),)


class _Tape:
    """A stream that holds what was said and takes what is answered."""

    remote_address = Address("10.0.0.1", 1)

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    async def receive_into(self, into: memoryview, least: int = 1) -> int:
        await trio.lowlevel.checkpoint()
        part = self._data[self._at : self._at + len(into)]
        into[: len(part)] = part
        self._at += len(part)
        return len(part)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise AssertionError("pieces are read where they belong")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        return 0

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
