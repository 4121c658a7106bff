"""Revocations reach rooms: a machine that its person's statements revoke writes nowhere any more.

Decides: when which online member says so in a room, and with what proof (docs/protocol.md,
"Revocations reach rooms"). Does not know: what a revocation cuts (control_graph), or sockets.
"""

from __future__ import annotations

from typing import Final

from p2pchat.engine import room_commands, rooms
from p2pchat.engine.context import Context, RoomCache
from p2pchat.ids import AccountId, DeviceId, RoomId
from p2pchat.wire.messages import statements
from p2pchat.wire.messages.rooms import OWNER

OTHERS_AFTER_S: Final = 1.0
SPREAD_S: Final = 9.0
"""Owners speak at once, others after 1 to 10 s unless somebody did."""
START_S: Final = 12.0
"""After the start: by then rooms are read, and others have spoken."""


def start(ctx: Context) -> None:
    """Before the daemon stopped somebody may have been revoked, and nobody had said so yet."""
    ctx.timer("revocations", ctx.now.mono + START_S)


def again(ctx: Context) -> None:
    """Look at everybody of whom a machine is revoked."""
    for account, known in sorted(ctx.cache.accounts.items()):
        if any(device.revoked for device in known.devices.values()):
            plan(ctx, account)


def plan(ctx: Context, account: AccountId, *, at_once: bool = False) -> None:
    """Somebody's statements have changed: look where a machine of his is to be revoked. `at_once`: he
    who revokes it is at this machine."""
    known = ctx.cache.accounts[account]
    gone = [device.id for device in known.devices.values() if device.revoked]
    for room_id in sorted(ctx.cache.known_rooms) if gone else ():
        room = rooms.room(ctx, room_id)
        for device in gone:
            if _open(ctx, room, account, device):
                mine = room.graph.members[ctx.me.account].role
                wait = 0.0 if at_once or mine == OWNER else OTHERS_AFTER_S + SPREAD_S * ctx.entropy.random()
                ctx.timer(f"revoke:{room_id.hex()}:{device.hex()}", ctx.now.mono + wait)


def _open(ctx: Context, room: RoomCache, account: AccountId, device: DeviceId) -> bool:
    """Whether we may say it, and nobody has. A revoked machine says nothing, least of all about itself: it
    would start a key that it knows."""
    if ctx.cache.accounts[ctx.me.account].devices[ctx.me.device].revoked:
        return False
    members = room.graph.members
    return ctx.me.account in members and account in members and device not in room.graph.revoked


def due(ctx: Context, rest: str) -> None:
    """Nobody has said it yet: we do."""
    room_hex, _, device_hex = rest.partition(":")
    row = ctx.cache.known_rooms.get(RoomId(bytes.fromhex(room_hex)))
    device = DeviceId(bytes.fromhex(device_hex))
    owner = ctx.cache.owner.get(device)
    if row is None or owner is None:
        return
    room = rooms.room(ctx, row.id)
    if _open(ctx, room, owner, device):
        proof = _proof(ctx, owner, device)
        if proof:
            room_commands.revoke(ctx, room, device, proof)


def _proof(ctx: Context, account: AccountId, device: DeviceId) -> tuple[bytes, ...]:
    """The statement that revokes the machine, and its signature."""
    for act in ctx.cache.accounts[account].acts:
        names_it = isinstance(act.subject, statements.Revoked) and act.subject.device == device
        if names_it or act.kind == statements.RETIRE:
            return (act.signed.statement, act.signed.signature)
    return ()
