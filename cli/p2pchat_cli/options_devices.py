"""The commands about my own machines, and how a daemon that is started reaches the network.

Decides: what these look like on the command line. A part of `options`, split for its length.
"""

from __future__ import annotations

from typing import Final

from p2pchat_cli.option_shapes import Arg, Command, Opt

NETWORK: Final = (
    Opt(
        ("--interface",),
        "Only this network interface.",
        metavar="IF",
        many=True,
        env="P2PCHAT_INTERFACE",
    ),
    Opt(("--port",), "TCP port.", "int", metavar="N", env="P2PCHAT_PORT"),
    Opt(("--peer",), "Dial this address too.", metavar="HOST[:PORT]", many=True, env="P2PCHAT_PEER"),
    Opt(("--no-announce",), "Do not announce this machine by mDNS.", "flag", env="P2PCHAT_NO_ANNOUNCE"),
)
_REPLACE = Opt(("--replace",), "Give up the person this profile is, for the one it joins.", "flag")
_MACHINE = Arg("device", "DEVICE", "A machine of mine: its name, its id, or 6 or more digits of it.")

DEVICE_COMMANDS: Final = (
    Command(("device", "list"), "My machines.", "device"),
    Command(
        ("device", "link"),
        "Show a code by which another machine becomes mine, and wait for it.",
        "device",
        function="link",
    ),
    Command(
        ("device", "join"),
        "Make this machine one of whoever shows the code; needs no `up`.",
        "arrive",
        (
            Arg(
                "code",
                "CODE",
                "As `device link` shows it; '-': from stdin. Asked for if absent.",
                required=False,
            ),
        ),
        opts=(*NETWORK, _REPLACE),
        function="join",
    ),
    Command(
        ("device", "revoke"),
        "Cut a machine of mine off, everywhere and for good.",
        "device",
        (_MACHINE,),
        opts=(Opt(("--yes",), "Revoke without asking.", "flag"),),
        function="revoke",
    ),
    Command(
        ("device", "rename"),
        "Call a machine of mine otherwise.",
        "device",
        (_MACHINE, Arg("name", "NAME", "What my machines call it.")),
        function="rename",
    ),
    Command(
        ("device", "recover"),
        "Make this machine mine again by the recovery key; needs no `up`.",
        "arrive",
        (Arg("file", "FILE", "Where the key stands; '-': stdin. Asked for if absent.", required=False),),
        opts=(*NETWORK, _REPLACE),
        function="recover",
    ),
    Command(
        ("device", "recovery-key"),
        "Print the recovery key and erase it here.",
        "device",
        opts=(Opt(("--yes",), "It is written down: erase it without asking.", "flag"),),
        function="recovery_key",
    ),
)
