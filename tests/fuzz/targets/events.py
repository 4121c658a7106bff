"""Everything a member can say on a link, given to a real node with a real archive in memory.

The first byte of each part says how it is wrapped: a raw frame, or a body, a header, a
register or a statement that Mallory signs as she should, so that what lies behind the
signature and the seal is reached too. What was taken in must be speakable: every answer
fits a frame, lists and histories can be shown, and one's own next message can be written.
"""

from __future__ import annotations

import json

from p2pchat.control.operations import fields, missing_fields
from p2pchat.crypto.epochs import MAX_SEQ, seal_body
from p2pchat.crypto.primitives import ed25519_sign, tag_bytes
from p2pchat.crypto.session import pad
from p2pchat.daemon.looks import NodeLooks
from p2pchat.engine import inputs as happened
from p2pchat.engine import log, people, rooms
from p2pchat.engine.accounts import read_statement
from p2pchat.engine.context import Context, RoomCache
from p2pchat.engine.inputs import Effect, FromPeer, Send
from p2pchat.errors import CommandError
from p2pchat.ids import ID_BYTES, NO_EPOCH, ZERO_ID, DeviceId, EpochId, RoomId
from p2pchat.store.ledger import MEMORY, open_ledger
from p2pchat.store.reader import open_reader
from p2pchat.wire.codec import Record, decode, encode
from p2pchat.wire.messages import events as wire
from p2pchat.wire.messages import link, registers, statements
from p2pchat.wire.messages.events import Event, Header
from tests.engine.play import Actor, Stage
from tests.kit.records import example_of

FRAME, BODY, HEADER, REGISTER, STATEMENT = range(5)
MAX_PARTS = 6

_STAGE = Stage(lambda: open_ledger(MEMORY))
_ANN, _MALLORY = _STAGE.actor("ann"), _STAGE.actor("mallory")
_STAGE.join(_ANN, _MALLORY)
_TARGET = bytes.fromhex(_ANN.say(_MALLORY, "before"))
_OWN = bytes.fromhex(_MALLORY.say(_ANN, "mine"))
_STAGE.settle()
_ROOM = rooms.direct_id(_ANN.account, _MALLORY.account)
_LINK = next(iter(_ANN.node.live.links))


def _mallorys() -> tuple[Context, RoomCache]:
    ctx = _MALLORY.look()
    return ctx, rooms.room(ctx, _ROOM)


def _bodies() -> list[tuple[int, Record]]:
    """What an honest machine might say, two of a kind in places."""
    return [
        (wire.MESSAGE, wire.Message(1, "hello", b"", b"", (_ANN.account,), False, 0, ())),
        (wire.MESSAGE, wire.Message(1, "a reply", _TARGET, _TARGET, (), True, 1, ())),
        (wire.EDIT, wire.Edit(1, _OWN, "other", (), b"", b"", False, 0, (), False)),
        (wire.DELETE, wire.Delete(1, _OWN)),
        (wire.DELETE, wire.Delete(1, _TARGET)),
        (wire.REACTION, wire.Reaction(1, _TARGET, "+", False)),
        (wire.PIN, wire.Pin(1, _TARGET, False)),
        (wire.EPOCH, wire.Epoch(1, b"e" * 16, 2, b"m" * 32, True)),
        (wire.SEAL, wire.Seal(1, b"e" * 16, (wire.SealedKey(_ANN.device, 1, b"s" * 80),))),
    ]


def seeds() -> list[bytes]:
    found = [_part(FRAME, link.encode_frame(example_of(kind, 32))) for kind in link.FRAMES.values()]
    bodies = _bodies()
    found += [_part(BODY, bytes((kind,)) + encode(body)) for kind, body in bodies]
    found.append(b"".join(_part(BODY, bytes((kind,)) + encode(body)) for kind, body in bodies[:5]))
    _, room = _mallorys()
    head, epoch = room.heads[_MALLORY.device], next(iter(room.epochs))
    for hlc in (0, 2**63, 2**64 - 1):
        for seq, prev in ((head.seq + 1, head.id), (2**53 - 1, b"p" * 32), (1, ZERO_ID)):
            for kind, used in ((32, epoch), (9, NO_EPOCH), (200, epoch)):
                header = Header(1, _ROOM, _MALLORY.device, seq, prev, (), (), hlc, kind, used, ZERO_ID, 4)
                found.append(_part(HEADER, encode(header)))
    for kind, value in (
        (registers.PREKEY, registers.Prekey(b"p" * 32)),
        (registers.PROFILE, registers.Profile("mal")),
        (registers.HAVE, registers.Seen(((1, 2),), _TARGET)),
        (registers.READ, registers.Seen(((2, 2), (1, 1)), _TARGET)),
    ):
        found.append(_part(REGISTER, bytes((kind, 5)) + encode(value)))
    found.append(_part(STATEMENT, b"\x01\x92\xc4\x20" + b"s" * 32 + b"\xc4\x20" + b"n" * 32))
    found.append(_part(STATEMENT, b"\x02\x91\xc4\x20" + _MALLORY.device))
    return found


def _part(how: int, data: bytes) -> bytes:
    return bytes((how,)) + len(data).to_bytes(2, "big") + data


def one_input(data: bytes) -> None:
    """RemoteProtocolError is how an input is refused; whatever else comes out is a finding."""
    node, ledger = _ANN.node, _ANN.ledger
    node.begin()
    now = _ANN.now()
    ledger.begin()
    effects: list[Effect] = []
    try:
        for message in _messages(data):
            effects += node.handle(FromPeer(_LINK, message), now)
        effects += _say_something(_ANN)
        effects += node.close_batch(now)
        _speakable(effects)
        _showable(_ANN)
    finally:
        ledger.rollback()
        node.undo()
        node.forget()


def _messages(data: bytes) -> list[Record]:
    found: list[Record] = []
    chain: list[Event] = []
    while len(data) > 3 and len(found) < MAX_PARTS:
        how, size = data[0] % 5, int.from_bytes(data[1:3], "big")
        part, data = data[3 : 3 + size], data[3 + size :]
        if not part:
            continue
        match how:
            case 0:
                found.append(link.decode_frame(part))
            case 1:
                chain.append(_event(part[0] or 32, part[1:], chain))
                found.append(link.Events((chain[-1],)))
            case 2:
                found.append(link.Events((_dressed(decode(Header, part)),)))
            case 3:
                found.append(link.Registers((_register(part[0], part[1:2], part[2:]),)))
            case _:
                found.append(link.Statements((_statement(part[0] % 4, part[1:]),)))
    return found


def _event(kind: int, plain: bytes, chain: list[Event]) -> Event:
    """The next event of Mallory's chain, with any body."""
    ctx, room = _mallorys()
    head = room.heads[_MALLORY.device]
    prev, seq = bytes(head.id), head.seq + 1
    if chain:
        last = chain[-1]
        prev, seq = log.event_id(last.header, last.signature), decode(Header, last.header).seq + 1
    epoch = next(iter(room.epochs.values()))
    control = wire.is_control(kind)
    used = NO_EPOCH if control else epoch.epoch
    size = len(plain) + (0 if control else log.SEAL_OVERHEAD)
    hlc = log.stamp(ctx.now.wall_ms) + seq
    auth = tuple(room.graph.heads)
    return _sealed(
        Header(1, _ROOM, _MALLORY.device, seq, prev, (), auth, hlc, kind, used, ZERO_ID, size), plain
    )


def _dressed(header: Header) -> Event:
    """Any header, with a body that fits it."""
    return _sealed(header, encode(dict(_bodies()).get(header.kind, wire.Delete(1, _OWN))))


def _sealed(header: Header, plain: bytes) -> Event:
    """`plain` as the body of `header`, sealed if its kind is, its epoch is known and its place can be."""
    _, room = _mallorys()
    epoch = room.epochs.get(EpochId(header.epoch))
    body = plain
    placed = 0 < header.seq <= MAX_SEQ and len(header.room) == len(header.device) == ID_BYTES
    if placed and epoch is not None and epoch.key is not None and not wire.is_control(header.kind):
        ad = encode(_of_size(header, ZERO_ID, len(plain) + log.SEAL_OVERHEAD))
        body = seal_body(
            epoch.key, RoomId(header.room), DeviceId(header.device), header.seq, ad, plain, b"n" * 24
        )
    return _signed(header, body)


def _signed(header: Header, body: bytes) -> Event:
    raw = encode(_of_size(header, log.body_hash(body), len(body)))
    return Event(raw, ed25519_sign(_MALLORY.me.signing_key, tag_bytes(wire.TAG_EVENT) + raw), body)


def _of_size(header: Header, hashed: bytes, size: int) -> Header:
    return Header(
        header.v, header.room, header.device, header.seq, header.prev, header.deps, header.auth,
        header.hlc, header.kind, header.epoch, hashed, size,
    )  # fmt: skip


def _register(kind: int, number: bytes, value: bytes) -> registers.SignedRegister:
    scoped = kind in (registers.HAVE, registers.READ)
    room, author = (_ROOM, _ANN.device) if scoped else (b"", b"")
    n = number[0] if number else 0
    raw = encode(registers.Register(1, _MALLORY.device, kind, room, author, n, value))
    tag = tag_bytes(registers.TAG_REGISTER)
    return registers.SignedRegister(raw, ed25519_sign(_MALLORY.me.signing_key, tag + raw))


def _statement(kind: int, subject: bytes) -> statements.SignedStatement:
    genesis = read_statement(_MALLORY.me.statements[0])
    raw = encode(statements.Statement(1, _MALLORY.account, (genesis.id,), kind, subject, genesis.by))
    tag = tag_bytes(statements.TAG_STATEMENT)
    return statements.SignedStatement(raw, ed25519_sign(_MALLORY.me.signing_key, tag + raw))


def _say_something(actor: Actor) -> list[Effect]:
    """Our own next message: what was heard must not keep us from speaking."""
    said = happened.Post(10_000, _MALLORY.account.hex(), "still here")
    try:
        return actor.node.handle(said, actor.now())
    except CommandError:  # refused with a reason, such as a revoked key
        return []


def _speakable(effects: list[Effect]) -> None:
    for effect in effects:
        if isinstance(effect, Send):
            pad(link.encode_frame(effect.message))


def _showable(actor: Actor) -> None:
    looks = NodeLooks(lambda: actor.node, actor.now)
    reader = open_reader(actor.ledger)
    directory = looks.directory()
    page = reader.history(_ROOM, tail=50, before=None, after=None, thread=None, pinned=False)
    gaps = [missing_fields.gap_fields(gap, directory) for gap in looks.missing(_ROOM, list(page.gaps))]
    coming = missing_fields.coming_fields(looks.coming(_ROOM), directory)
    shown = fields.page_fields(
        _ROOM, page.messages, directory, gaps=gaps, coming=coming, has_more=page.has_more, cursor=page.cursor
    )
    json.dumps(shown)
    json.dumps([fields.peer_fields(peer) for peer in looks.peer_views()])
    reader.queue()
    assert people.name(actor.look(), _MALLORY.account)
