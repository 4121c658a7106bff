"""What two simulated machines tell each other in a handshake.

Decides: how a hello becomes what the engine is told of a new link. Does not know: cables, or when.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pchat.engine import inputs as happened
from p2pchat.engine import overview
from p2pchat.engine.accounts import verify_hello
from p2pchat.wire.codec import decode, encode
from p2pchat.wire.messages.link import Hello

if TYPE_CHECKING:
    from tests.kit.swarm import Machine


def link_up(number: int, peer: Machine, said: Hello, shared: bytes, dial: int | None) -> happened.LinkUp:
    """The handshake is complete: who is at the other end."""
    verify_hello(said, peer.me.noise_public)
    return happened.LinkUp(
        number, peer.device, peer.account, said.statements, said.registers, dial is not None,
        peer.address, said.port, shared, said.wall_ms, dial,
    )  # fmt: skip


def hello(machine: Machine) -> Hello:
    """What a machine says of itself, through its bytes."""
    return decode(Hello, encode(overview.hello(machine.look())))
