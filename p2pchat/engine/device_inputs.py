"""What can happen to a node about its person's own machines.

Decides: the vocabulary of linking, revoking, naming and replacing a machine, split from
`inputs` for its length. Does not know: how a new machine was found to be the right one (daemon).
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pchat.wire.messages.statements import SignedStatement


@dataclass(frozen=True, slots=True)
class AddDevice:
    """These keys are another machine of ours. Answered with `{"device", "statements"}`."""

    request: int
    signing: bytes
    noise: bytes


@dataclass(frozen=True, slots=True)
class RevokeDevice:
    """A machine of ours is lost, stolen or given away: `ref` is its id, a prefix of it, or its name.
    Answered with `{"device"}`."""

    request: int
    ref: str


@dataclass(frozen=True, slots=True)
class RenameDevice:
    """What a machine of ours is called among them. Answered with `{"device"}`."""

    request: int
    ref: str
    name: str


@dataclass(frozen=True, slots=True)
class Farewell:
    """This profile was somebody else before: the statements by which he was given up for us. Everybody
    who is met hears them. Answered with `{}`."""

    request: int
    statements: tuple[SignedStatement, ...]


@dataclass(frozen=True, slots=True)
class Renew:
    """This machine goes on under other keys: another copy of it uses the ones it has. Answered with
    `{"statements"}`; nothing more may be asked of this node afterwards."""

    request: int
    signing: bytes
    noise: bytes


@dataclass(frozen=True, slots=True)
class OwnSetting:
    """A setting that is the person's, not the machine's, has this value now. Answered with `{}`."""

    request: int
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class SettingTaken:
    """What another machine of ours has set is written down here, or cannot be: it is not told again at
    the next start. Answered with `{}`."""

    request: int
    key: str
    value: str


DeviceCommand = AddDevice | RevokeDevice | RenameDevice | Farewell | Renew | OwnSetting | SettingTaken
