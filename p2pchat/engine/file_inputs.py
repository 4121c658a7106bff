"""What can happen to a node about files, and what it asks to be done about them.

Decides: the vocabulary between the engine, which knows offers, rights and states, and who moves the
bytes (daemon/bulk.py). Does not know: pieces, disks, or links. Joined to the others in `inputs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from p2pchat.ids import AccountId, DeviceId, RoomId
from p2pchat.wire.messages.files import Offer

# --- inputs: commands ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileAct:
    """Answer an offer or change a transfer: accept (with `to`, `conflict`) decline pause resume cancel.

    `ref` is an id of 32 hex digits or a unique prefix. `to` is an absolute folder, "" for the inbox.
    Answered with `{"transfer": TransferView}`.
    """

    request: int
    verb: str
    ref: str
    to: str = ""
    conflict: str = "rename"  # rename | skip | overwrite


@dataclass(frozen=True, slots=True)
class FileAuto:
    """Take what a verified person offers without being asked, or no longer. Answered with
    `{"account": hex, "auto": bool}`."""

    request: int
    target: str
    on: bool


@dataclass(frozen=True, slots=True)
class MayServe:
    """A machine asks for an offer on a bulk link: answered with the TransferRow if it may have it from
    us, else with the reason (`no_right`, `unknown`, `cancelled`, `source_changed`) as text."""

    request: int
    device: DeviceId
    offer: bytes


@dataclass(frozen=True, slots=True)
class StillNeeded:
    """Of these offers something was found on the disk at a start: answered with the set of those of which
    it may still be needed."""

    request: int
    offers: tuple[bytes, ...]


# --- inputs: from who moves the bytes -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileLanded:
    """All of an incoming transfer is here, checked, durable, and has its name. `how` as in files.inbox."""

    offer: bytes
    path: str
    how: str
    root: bytes


@dataclass(frozen=True, slots=True)
class FileTrouble:
    """Something is wrong with a transfer. `final`: it can not go on (an incoming one has failed, an
    outgoing one is given to nobody any more); else it will be tried again, and people see why it waits.
    `kind` is one of the error kinds (errors.EXIT_CODES); an empty one says that the trouble is over."""

    offer: bytes
    kind: str
    message: str
    final: bool


@dataclass(frozen=True, slots=True)
class FileRead:
    """All pieces of an outgoing transfer were read, and their hashes are durable: its root may be signed."""

    offer: bytes
    root: bytes
    pieces: int


@dataclass(frozen=True, slots=True)
class NeedBulk:
    """No bulk link to a machine can be dialled from here: it should dial us."""

    device: DeviceId


# --- effects -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fetch:
    """Receive this; where it may be had is told by FileSource. Repeated at every start."""

    offer: Offer
    room: RoomId
    author: AccountId
    root: bytes  # b"" while its author has not signed one
    to: str
    conflict: str


@dataclass(frozen=True, slots=True)
class FileSource:
    """A machine with a live chat link may have some of it. `author`: it is one of its author's."""

    offer: bytes
    device: DeviceId
    author: bool


@dataclass(frozen=True, slots=True)
class FileRootKnown:
    """Its author has signed the root of what is being fetched."""

    offer: bytes
    root: bytes


@dataclass(frozen=True, slots=True)
class StopFetch:
    """Fetch it no more. `discard`: nor keep what is here of it."""

    offer: bytes
    discard: bool


@dataclass(frozen=True, slots=True)
class FileSettled:
    """The archive knows where it landed: what was kept to find it again after a crash can go, and
    from now on it may be served from there. `row.path` says where."""

    offer: Offer
    path: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Serve it no more, and forget what was kept for that, unless it may be served again. The file itself
    stays, but for what was piped in."""

    offer: bytes
    forget: bool = True


@dataclass(frozen=True, slots=True)
class DialBulk:
    """A machine can not dial us: open a bulk link to it."""

    device: DeviceId


FileInput = FileAct | FileAuto | MayServe | StillNeeded | FileLanded | FileTrouble | FileRead | NeedBulk
FILE_EFFECTS: Final = (Fetch, FileSource, FileRootKnown, StopFetch, FileSettled, Withdraw, DialBulk)
FileEffect = Fetch | FileSource | FileRootKnown | StopFetch | FileSettled | Withdraw | DialBulk
