"""Everything that can happen to a node, and everything it can ask to be done.

Decides: the vocabulary between the engine and the world. Does not know: who posts
inputs (daemon, simulators) or how effects are performed.

Inputs and effects are frozen; a node is `handle(input, now) -> effects`.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pchat.engine.device_inputs import DeviceCommand
from p2pchat.engine.door_inputs import DoorInput
from p2pchat.engine.file_inputs import FileAct as FileAct
from p2pchat.engine.file_inputs import FileAuto as FileAuto
from p2pchat.engine.file_inputs import FileEffect, FileInput
from p2pchat.engine.file_inputs import FileLanded as FileLanded
from p2pchat.engine.file_inputs import FileRead as FileRead
from p2pchat.engine.file_inputs import FileTrouble as FileTrouble
from p2pchat.engine.file_inputs import MayServe as MayServe
from p2pchat.engine.file_inputs import NeedBulk as NeedBulk
from p2pchat.engine.file_inputs import StillNeeded as StillNeeded
from p2pchat.engine.presence_inputs import Announcing as Announcing
from p2pchat.engine.presence_inputs import PresenceInput
from p2pchat.errors import CommandError
from p2pchat.ids import AccountId, DeviceId
from p2pchat.wire.codec import Record
from p2pchat.wire.messages.files import Offer
from p2pchat.wire.messages.network import Examine, Findings
from p2pchat.wire.messages.registers import SignedRegister
from p2pchat.wire.messages.statements import SignedStatement

# --- inputs: life ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The daemon is up; the first input of every run. `port`: where it listens."""

    port: int


@dataclass(frozen=True, slots=True)
class Stopping:
    """The daemon is about to close its links."""


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The deadline set under `name` has passed."""

    name: str


# --- inputs: network ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sighted:
    """Somebody announces the service under a random `label`."""

    label: str
    addresses: tuple[str, ...]
    port: int
    office_tags: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """An announcement was withdrawn. Changes no trust and closes no link."""

    label: str


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """Addresses of this machine changed, or it woke up. `networks` are those they lie in."""

    addresses: tuple[str, ...]
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DialFailed:
    """A dial came to nothing. `reason` is one of net.lan's reasons, or a link's."""

    dial: int
    reason: str


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A handshake is complete: `statements` prove the device and its Noise key."""

    link: int
    device: DeviceId
    account: AccountId
    statements: tuple[SignedStatement, ...]
    registers: tuple[SignedRegister, ...]
    initiator: bool
    host: str
    port: int  # where the peer says it listens, 0 if nowhere
    handshake_hash: bytes
    peer_wall_ms: int
    dial: int | None = None


@dataclass(frozen=True, slots=True)
class LinkDown:
    """A link is gone, for whatever reason."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class LinkDrained:
    """The writer of a link that had fallen behind has caught up."""

    link: int


@dataclass(frozen=True, slots=True)
class FromPeer:
    """A record from an authenticated peer.

    `checked` holds, for an Events frame whose signatures were verified before the
    inbox, the indexes of events whose own signature is valid; None if nobody looked.
    """

    link: int
    message: Record
    checked: tuple[int, ...] | None = None


# --- inputs: commands (from the control socket) ----------------------------------------
# Each carries `request`: the number under which the answer is expected.


@dataclass(frozen=True, slots=True)
class Post:
    """Say `text` to `target`. `wait` is "", "held", "delivered" or "read", for `timeout_s`."""

    request: int
    target: str
    text: str
    reply_to: str = ""
    thread: str = ""
    urgent: bool = False
    key: str = ""
    at_ms: int | None = None
    wait: str = ""
    timeout_s: float = 30.0
    ack: bool = False  # everybody is asked to take note,
    ack_by_ms: int | None = None  # until then
    files: tuple[tuple[Offer, str], ...] = ()  # what is offered, and the absolute path of each


@dataclass(frozen=True, slots=True)
class CreateRoom:
    """Make a room. Answered with `{"room": RoomView}`."""

    request: int
    name: str
    topic: str = ""
    admission: str = "invite"  # invite | office
    announce: bool = False
    history: str = "all"  # all | joined
    rules: str = ""


@dataclass(frozen=True, slots=True)
class RoomAct:
    """Change who is in a room, or what it is. Answered with `{"room": RoomView}`.

    `verb`: join · leave · invite (`people`) · remove (one of `people`) · role (one of `people`,
    `role`) · set (`changes`: pairs of key and value, keys name topic rules admission announce
    history). `invite` is answered with `added` too, a tuple of ids. `room` may be a person for
    `set`. With `room` "" `remove` means every room in which we may; answered with
    `{"rooms": tuple of RoomView}`.

    So many acts at once stop everything else, so who invites a crowd asks for `invitable` first,
    which writes nothing and is answered with `{"people": tuple of ids}` or refused as the whole would
    be, and then invites these in portions, all but the last with `more`.
    """

    request: int
    verb: str
    room: str
    people: tuple[str, ...] = ()
    role: str = ""
    changes: tuple[tuple[str, str], ...] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class Mute:
    """Raise no notice for a room: until `until_ms` (None: for good), or but for mentions.

    `off` undoes it. Answered with `{"room": RoomView}`.
    """

    request: int
    room: str
    until_ms: int | None = None
    mentions_only: bool = False
    off: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """Edit, delete, react to, pin or take note of a message: edit, delete, react, pin, ack.

    `ref` is an id, a unique prefix, a draft id or "last" (then `target` says where).
    """

    request: int
    verb: str
    ref: str
    value: str = ""
    remove: bool = False
    target: str = ""


@dataclass(frozen=True, slots=True)
class CancelQueued:
    """Take back a message that nobody has yet, or a draft."""

    request: int
    ref: str


@dataclass(frozen=True, slots=True)
class ConfirmShown:
    """These messages of `target` were put before the user's eyes: mark them read."""

    request: int
    target: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddPeer:
    """Dial HOST[:PORT] now and remember it either way."""

    request: int
    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Search:
    """Look for others by dialling every address of our own networks, once now and at each change."""

    request: int
    on: bool


@dataclass(frozen=True, slots=True)
class ForgetAddress:
    """Dial HOST[:PORT] no more, if it is remembered."""

    request: int
    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class ForgetPeer:
    """Drop remembered addresses, and an unverified person's pinned name."""

    request: int
    target: str


@dataclass(frozen=True, slots=True)
class SetTrust:
    """`verb`: verify (with the `proof` that `kind` names; none for kind ""), accept, block, unblock."""

    request: int
    verb: str
    target: str
    kind: str = ""  # fingerprint | safety-number | ""
    proof: str = ""


@dataclass(frozen=True, slots=True)
class StartSas:
    """Compare six digits live with `target`; answered with the digits."""

    request: int
    target: str
    timeout_s: float = 120.0


@dataclass(frozen=True, slots=True)
class ConfirmSas:
    """The user says which digits the other side shows."""

    request: int
    target: str
    digits: str


@dataclass(frozen=True, slots=True)
class Rename:
    """The person wants another name."""

    request: int
    name: str


@dataclass(frozen=True, slots=True)
class Configure:
    """Settings the engine heeds have these values: read_receipts, file_auto_max."""

    request: int
    read_receipts: bool
    file_auto_max: int = 0


@dataclass(frozen=True, slots=True)
class HandOver:
    """We are about to stop: let others hold what lies only here. Answered when they do, at the latest
    after `timeout_s`."""

    request: int
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Nobody waits for the answer to `request` any more."""

    request: int


Command = (
    Post
    | CreateRoom
    | RoomAct
    | Mute
    | Change
    | CancelQueued
    | ConfirmShown
    | AddPeer
    | Search
    | ForgetAddress
    | ForgetPeer
    | SetTrust
    | StartSas
    | ConfirmSas
    | Rename
    | Configure
    | HandOver
    | FileAct
    | FileAuto
    | MayServe
    | StillNeeded
    | PresenceInput
    | DeviceCommand
)
Input = (
    Started
    | Stopping
    | TimerFired
    | Sighted
    | Lost
    | NetworkChanged
    | DialFailed
    | DoorInput
    | LinkUp
    | LinkDown
    | LinkDrained
    | FromPeer
    | Forgotten
    | Command
    | FileInput
)

# --- effects: performed after the commit, in order --------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Hand `message` to a link; dropped, and the link marked behind, if its queue is full.

    `early`: may leave before the commit of its batch. Only for questions: they promise nothing.
    """

    link: int
    message: Record
    early: bool = False


@dataclass(frozen=True, slots=True)
class CloseLink:
    """Say CLOSE `reason` and end the link."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect to one address; answered by LinkUp(dial=…) or DialFailed."""

    dial: int
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Post TimerFired(name) at monotonic time `at`; replaces an earlier one of that name.

    `at` None: not at all any more.
    """

    name: str
    at: float | None


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a command: JSON-ready fields or a shared record.

    `early`: may leave before the commit of its batch. Only for what other machines have
    told us and will tell again; never for anything that is true here alone.
    """

    request: int
    result: object
    early: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """A command cannot be done, or only partly (`result` then says what was)."""

    request: int
    error: CommandError
    result: object = None


@dataclass(frozen=True, slots=True)
class FeedGrew:
    """Rows were added to the feed: wake those who listen."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Something that is not kept: peer, typing, presence, warning. `subject` a shared record or text."""

    type: str
    subject: object


@dataclass(frozen=True, slots=True)
class Consulted:
    """Look how the asker's machine looks from here, dial `hosts`, and answer the machine that brought
    the question: by then on another link, if theirs has been replaced."""

    device: DeviceId
    question: Examine
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a question of ours has come on that link."""

    link: int
    findings: Findings


Effect = (
    Announcing
    | Consulted
    | Found
    | Send
    | CloseLink
    | Dial
    | SetTimer
    | Reply
    | Refuse
    | FeedGrew
    | Tell
    | FileEffect
)
