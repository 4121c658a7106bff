"""Every error of p2pchat, in one tree.

    P2pchatError
    ├── LocalProtocolError          we broke our own rules: a bug here
    ├── RemoteProtocolError         a peer broke the rules: ends that link, nothing else
    ├── PieceError                  well-sealed bytes of a file that are not the right ones
    ├── CommandError                a command cannot be done; told to the person asking
    ├── ArchiveError                the archive cannot be opened, read or written
    ├── SettingsError               a setting or its source is wrong
    └── DialError                   no connection to an address, and why

Decides: whose fault an error is and which exit code a kind of failure has.
Does not know: sentences of any particular command (they are written where the
failure is understood) or how errors are shown (cli).
"""

from __future__ import annotations

from typing import Final, Literal


class P2pchatError(Exception):
    """Base of all; never raised itself."""


class LocalProtocolError(P2pchatError):
    """Our side broke the protocol or an interface: a bug, never swallowed."""


class RemoteProtocolError(P2pchatError):
    """A peer sent what the protocol forbids. Ends that peer's link.

    `reason` is short, lower case and free of the peer's own text, so that it may be
    logged and sent back in an authenticated CLOSE.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PieceError(P2pchatError):
    """A source gave bytes, or a hash, of a file that contradict what is already known of it.

    Its link was whole, so it is the source that is wrong: it is not asked for this file again,
    and is named. `piece` is the number of the piece.
    """

    def __init__(self, piece: int, why: str) -> None:
        super().__init__(f"piece {piece} {why}")
        self.piece = piece


EXIT_CODES: Final[dict[str, int]] = {
    "internal": 1,
    "failed": 1,
    "usage": 2,
    "too_long": 2,
    "no_daemon": 3,
    "no_such_target": 4,
    "ambiguous_target": 4,
    "timeout": 5,
    "key_changed": 6,
    "key_revoked": 6,
    "key_mismatch": 6,
    "policy": 7,
    "no_right": 7,
    "already_delivered": 7,
    "declined": 8,
    "disk_full": 9,
    "archive": 9,
    "exists": 9,
    "source_changed": 9,
    "unsafe_path": 9,
}
"""`kind` of a failure to the process exit code. Published; never renumbered."""


class CommandError(P2pchatError):
    """A command cannot be carried out.

    `kind` is a key of EXIT_CODES; `message` a lower-case sentence quoting the
    offending value; `hint` one thing to do that works, or empty; `result` what was done
    all the same (JSON-ready), or None.
    """

    def __init__(self, kind: str, message: str, hint: str = "", result: object = None) -> None:
        if kind not in EXIT_CODES:
            raise LocalProtocolError(f"unknown failure kind {kind!r}")
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.result = result

    @property
    def code(self) -> int:
        """The process exit code of this failure."""
        return EXIT_CODES[self.kind]


class ArchiveError(P2pchatError):
    """The archive is damaged, foreign, locked, or the disk refuses.

    `hint` is one thing to do that works, or empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SettingsError(P2pchatError):
    """A setting has a value it cannot have; the text names value and source."""


DialReason = Literal["name", "host_down", "port_closed", "timeout", "unreachable"]
"""Why nobody answered a dial, in the words `peers add` and `doctor` use:
`name` the host name is unknown · `host_down` nobody has that address on this network ·
`port_closed` the machine is there, the program is not · `timeout` silence, as behind a
firewall or a pulled cable · `unreachable` this machine has no way there.
"""


class DialError(P2pchatError):
    """No connection to an address. `detail` is the system's own sentence, for people."""

    def __init__(self, reason: DialReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: DialReason = reason
        self.detail = detail
