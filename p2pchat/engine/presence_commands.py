"""What people do about their availability: choose, hide, be at work, type.

Decides: what a choice changes of the one before, and what is refused. Does not know: what others
are told (presence_words), or clocks and keyboards.
"""

from __future__ import annotations

from typing import Final

from p2pchat.engine import names, people, presence, presence_words, targets
from p2pchat.engine.context import Context
from p2pchat.engine.inputs import Reply
from p2pchat.engine.presence_inputs import Active, DoNotDisturb, PresenceInput, SetPresence, TypeIn
from p2pchat.errors import CommandError
from p2pchat.wire.limits import MAX_HIDDEN_FROM, MAX_STATUS
from p2pchat.wire.messages import registers
from p2pchat.wire.messages.presence import AVAILABLE, CHOICES, INVISIBLE, Chosen

FRESH_S: Final = 1.0
"""Activity told again within this changes nothing: front ends may tell every key."""


def act(ctx: Context, command: PresenceInput) -> None:
    """Carry out one of these commands."""
    match command:
        case SetPresence():
            choose(ctx, command)
            ctx.out.append(Reply(command.request, presence.mine(ctx)))
            return
        case Active():
            active(ctx)
        case DoNotDisturb():
            if ctx.live.presence.do_not_disturb != command.on:
                ctx.live.presence.do_not_disturb = command.on
                presence_words.changed(ctx)
        case TypeIn():
            active(ctx)
            presence_words.type_in(ctx, targets.writable(ctx, command.target).room, on=command.on)
    ctx.out.append(Reply(command.request, {}))


def choose(ctx: Context, command: SetPresence) -> None:
    """Set what was given; the rest stays. CommandErrors for what cannot be."""
    before = presence.chosen(ctx)
    after = _after(ctx, before, command)
    if after != before:
        row = people.publish(ctx, registers.PRESENCE, after)
        ctx.cache.presence, ctx.cache.chosen = row, after
        presence_words.share(ctx)
    if command.state is not None and ctx.live.presence.active_at is not None:
        active(ctx)
    presence_words.changed(ctx)
    presence_words.schedule(ctx)


def _after(ctx: Context, before: Chosen, command: SetPresence) -> Chosen:
    state, message, until = before.state, before.message, before.until_ms
    if command.state is not None:
        if command.state not in CHOICES:
            raise CommandError("usage", f"{command.state!r} is none of: {' '.join(CHOICES)}", "")
        state, message, until = command.state, "", 0
    if command.message is not None:
        message = " ".join(command.message.split())
        if len(message) > MAX_STATUS:
            raise CommandError(
                "usage", f"{len(message)} characters are more than the {MAX_STATUS} of a status", "shorten it"
            )
    if command.until_ms is not None:
        if command.state is None and command.message is None:
            raise CommandError(
                "usage", "'--for' goes with a state or a message", "p2pchat presence busy --for 1h"
            )
        if command.until_ms <= ctx.now.wall_ms:
            raise CommandError("usage", "the time is over already", "give one ahead: --for 2h")
        until = command.until_ms
    kept = () if command.show_all else before.hide_from
    added = [names.resolve(ctx, target).account for target in command.hide_from]
    hidden = tuple(sorted(dict.fromkeys((*kept, *added))))
    if ctx.me.account in hidden:
        raise CommandError("usage", "you cannot hide from yourself", "name others")
    if len(hidden) > MAX_HIDDEN_FROM:
        raise CommandError(
            "usage",
            f"hidden from more than {MAX_HIDDEN_FROM} people",
            "be invisible: `p2pchat presence invisible`",
        )
    direct, in_rooms = (False, False) if command.show_all else (before.hide_direct, before.hide_rooms)
    if command.show_all and command.state is None and state == INVISIBLE:
        state, message, until = AVAILABLE, message, 0
    return Chosen(
        state, message, until, hidden, direct or command.hide_direct, in_rooms or command.hide_rooms
    )


def active(ctx: Context) -> None:
    """The user is at work here."""
    live = ctx.live.presence
    before = live.active_at
    if before is not None and 0 <= ctx.now.mono - before < FRESH_S:
        return
    live.active_at = ctx.now.mono
    if before is None or ctx.now.mono - before >= presence.IDLE_S:
        presence_words.changed(ctx)
    presence_words.schedule(ctx)


def wrote(ctx: Context) -> None:
    """The user has said something by a command: he is there, if anybody keeps account of that."""
    if ctx.live.presence.active_at is not None:
        active(ctx)
