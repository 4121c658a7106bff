"""What two daemons say to each other on a link.

Decides: the preface, the handshake payload, every frame's type number and fields
(docs/protocol.md, "Links"). Does not know: when any of it is said.
"""

from __future__ import annotations

from typing import Final

from p2pchat.errors import RemoteProtocolError
from p2pchat.wire.codec import Record, decode, encode
from p2pchat.wire.messages import bulk, devices, files, holders, network, presence
from p2pchat.wire.messages.events import Event
from p2pchat.wire.messages.registers import RegisterName, SignedRegister
from p2pchat.wire.messages.statements import SignedStatement


class Preface(Record, frozen=True):
    """The one clear frame, from the initiator. Its exact bytes are the Noise prologue."""

    v: int
    purpose: str  # chat | bulk | recover | probe
    psk: str  # office | invite | pake


class Hello(Record, frozen=True):
    """Payload of the second and third handshake message: who this machine is."""

    v: int
    device: bytes
    statements: tuple[SignedStatement, ...]  # genesis first, then those leading to the device
    registers: tuple[SignedRegister, ...]  # its prekey, its profile, and where it is
    port: int  # where it listens, 0 if nowhere
    wall_ms: int  # its clock, for the median offset


class Ping(Record, frozen=True):
    """Are you there? Answered by the link itself."""

    token: int


class Pong(Record, frozen=True):
    """Yes."""

    token: int


class Close(Record, frozen=True):
    """The authenticated end of a link; an end of stream without it is truncation."""

    reason: str


class Rekey(Record, frozen=True):
    """The last frame of this direction under the old key."""


class Statements(Record, frozen=True):
    """Statements of any accounts, each account's in causal order."""

    statements: tuple[SignedStatement, ...]


class RegisterOffer(Record, frozen=True):
    """Registers the sender could give."""

    names: tuple[RegisterName, ...]


class RegisterWant(Record, frozen=True):
    """Those of an offer that the sender lacks."""

    names: tuple[RegisterName, ...]


class Registers(Record, frozen=True):
    """Registers, unasked on change or in answer to a want."""

    registers: tuple[SignedRegister, ...]


class Receipt(Record, frozen=True):
    """`have` as said live to the author's device: authenticated by the session.

    From then on the sender holds, durably, these events of `author` in `room`.
    """

    room: bytes
    author: bytes
    ranges: tuple[tuple[int, int], ...]
    top: bytes


class ReadMark(Record, frozen=True):
    """`read` as said live; sent to own devices always, to others by choice."""

    room: bytes
    author: bytes
    ranges: tuple[tuple[int, int], ...]
    top: bytes


class Events(Record, frozen=True):
    """Events in an order in which each can be judged: chains ascending."""

    events: tuple[Event, ...]


class Reconcile(Record, frozen=True):
    """One negentropy v1 message about one room and set."""

    room: bytes
    control: bool  # the control set, else the content set
    session: int  # chosen by whoever asked first; both answer under it
    asking: bool  # from the side that asked first
    salt: bytes  # empty, or the key under which ids are hashed in this run
    week: int  # of a salted run: the one week it is about; else 0
    message: bytes


class Want(Record, frozen=True):
    """Please send these events of `room`; under a salt, those whose hashed ids these are."""

    room: bytes
    control: bool
    ids: tuple[bytes, ...]
    salt: bytes
    week: int


class Given(Record, frozen=True):
    """Whatever could be given of the last want for `room` has been sent."""

    room: bytes
    control: bool


class Pull(Record, frozen=True):
    """You lack much of `room`: please repair from your side, at your own pace."""

    room: bytes


HAVE: Final = 0
GIVE: Final = 1
PUSH: Final = 2
HOLD: Final = 3
PART: Final = 4
"""What an Announce says: these events are here · give me these · be my neighbour, push to me from now
on, and give me these · only announce to me · we are no neighbours."""


class Announce(Record, frozen=True):
    """Of a crowded room: ids instead of events, and who pushes to whom."""

    room: bytes
    kind: int
    ids: tuple[bytes, ...]


class KeyRequest(Record, frozen=True):
    """Please give these epoch keys of `room`."""

    room: bytes
    epochs: tuple[bytes, ...]


class Keys(Record, frozen=True):
    """Epoch keys that were asked for; others are dropped."""

    room: bytes
    keys: tuple[bytes, ...]


class SasCommit(Record, frozen=True):
    """Hash of a role and a nonce: the sender is bound before it sees ours."""

    commitment: bytes


class SasReveal(Record, frozen=True):
    """The nonce, once the other side's commitment has come."""

    nonce: bytes


FRAMES: Final[dict[int, type[Record]]] = {
    0x01: Ping,
    0x02: Pong,
    0x03: Close,
    0x04: Rekey,
    0x10: Statements,
    0x11: RegisterOffer,
    0x12: RegisterWant,
    0x13: Registers,
    0x14: Receipt,
    0x15: ReadMark,
    0x20: Events,
    0x21: Reconcile,
    0x22: Want,
    0x23: KeyRequest,
    0x24: Keys,
    0x25: Given,
    0x26: Pull,
    0x27: Announce,
    0x30: SasCommit,
    0x31: SasReveal,
    0x40: files.FileState,
    0x41: files.FileHeard,
    0x42: files.Knock,
    # on bulk links only
    0x50: bulk.Open,
    0x51: bulk.Map,
    0x52: bulk.More,
    0x53: bulk.Get,
    0x54: bulk.GetHashes,
    0x55: bulk.Hashes,
    0x56: bulk.Piece,
    0x57: bulk.Cannot,
    0x58: bulk.Done,
    0x60: holders.Deposit,
    0x61: holders.Holding,
    0x62: holders.Withdraw,
    0x63: holders.Waiting,
    0x64: holders.Claim,
    0x65: holders.Handed,
    # on links by which a machine is linked or recovered
    0x70: devices.Join,
    0x71: devices.Recover,
    0x72: devices.Admitted,
    0x73: devices.Joined,
    # between machines of one person
    0x78: devices.OwnDigest,
    0x79: devices.OwnState,
    0x7A: devices.OwnChats,
    0x90: presence.Presence,
    0x91: presence.Typing,
    # the network between us
    0x80: network.Around,
    0x81: network.Introductions,
    0x82: network.Examine,
    0x83: network.Findings,
    0x84: network.Echo,
}
"""Type byte of a frame to its record. An unknown type ends the link."""

_TYPES: Final = {kind: number for number, kind in FRAMES.items()}


def encode_frame(message: Record) -> bytes:
    """Type byte and body: the plaintext of one Noise transport message, unpadded."""
    return bytes((_TYPES[type(message)],)) + encode(message)


def decode_frame(plaintext: bytes) -> Record:
    """The record in an unpadded plaintext; RemoteProtocolError if there is none."""
    kind = FRAMES.get(plaintext[0]) if plaintext else None
    if kind is None:
        raise RemoteProtocolError("unknown frame type")
    return decode(kind, plaintext[1:])
