"""Operations about the people around: peers and how they are reached.

Decides: their names, parameters and answers. Does not know: who carries them out.
"""

from __future__ import annotations

from typing import Final

from p2pchat.control.operations.table import Operation, Param

PEER: Final = (
    '`{"account","device","name","fingerprint","room","connected","address","presence","status_message",'
    '"trust","last_seen"}`'
)

OPERATIONS: Final = (
    Operation(
        "peers.list",
        "The machines of other people that this profile knows.",
        (Param("all", "bool", "also blocked people", False),),
        f'`{{"peers":[…]}}`, each {PEER}',
    ),
    Operation(
        "peers.add",
        "Dial an address now and remember it either way.",
        (Param("address", "str", "HOST, HOST:PORT or [IPV6]:PORT; without a port 26700 to 26709 are tried"),),
        f'`{{"address","connected","reason","peer"}}`: `reason` says why it is not connected, else null; '
        f"`peer` is {PEER} or null",
    ),
    Operation(
        "peers.forget",
        "Drop the remembered addresses of a person, and his pinned name unless verified; or an address.",
        (Param("target", "str", "a person, or HOST[:PORT] as it was added"),),
        '`{"account","name"}`; of an address `account` is null and `name` the address',
    ),
    Operation(
        "peers.wait",
        "Wait until a person of this name is connected.",
        (
            Param("name", "str", "a name or an id prefix; nobody needs to bear it yet"),
            Param("timeout_s", "number", "how long to wait, in seconds", 30.0),
        ),
        'as `peers.list`, only this person; after `timeout_s` the failure `timeout` with `"result"`',
    ),
)
