"""Operations about the daemon itself: status, whoami, down, doctor.

Decides: their names, parameters and answers. Does not know: who carries them out.
"""

from __future__ import annotations

from typing import Final

from p2pchat.control.operations.table import Operation, Param

STATUS_RESULT: Final = (
    '`{"me":{"account","device","name","fingerprint"},"office":{"name","managed"},'
    '"daemon":{"pid","version","uptime_s","listen":["host:port"]},"peers":{"connected","known"},'
    '"unread","queue":{"waiting","only_here"},"free_bytes","encrypted_at_rest","presence","cursor",'
    '"already_running","warnings":[{"kind","message","fix"}]}`'
)

CHECKS: Final = (
    "daemon",
    "discovery",
    "address",
    "tcp_out",
    "tcp_in",
    "key",
    "clock",
    "version",
    "interface",
    "firewall",
    "strangers",
    "disk",
    "archive",
)
"""Names of what `doctor` looks at, as they are listed; the first is told by the command alone."""

OPERATIONS: Final = (
    Operation(
        "status",
        "Who I am, how the daemon does, who is connected, what is unread and what waits.",
        (),
        STATUS_RESULT,
    ),
    Operation("whoami", "The same object as `status`; the command prints only who I am.", (), STATUS_RESULT),
    Operation(
        "down",
        "Stop the daemon. Answered before it closes; the socket disappears when it is done.",
        (Param("now", "bool", "do not spend up to 5 s on handing over what only lies here", False),),
        STATUS_RESULT,
    ),
    Operation(
        "doctor",
        "What the daemon sees of this machine and the network, with the word of a few linked machines; "
        "with a target of the way to it, from both ends. The command adds what it can see itself.",
        (Param("target", "str", "a person, or HOST[:PORT]", None),),
        '`{"ok","checks":[{"name","side","ok","detail","cause","fix"}]}`; names '
        f"`{' '.join(CHECKS)}`; causes `null "
        "no_multicast client_isolation firewall_here firewall_there other_subnet wrong_interface mtu "
        "port_closed host_down other_office key_changed clock version strangers_full disk_full "
        "archive_damaged revoked`",
    ),
)
