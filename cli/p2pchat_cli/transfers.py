"""Transfers as people read them, and waiting for them.

Decides: how a transfer is summed up, what a person is warned of, and which failure a transfer that
did not end well is. Does not know: commands, or how files travel.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from p2pchat.amounts import amount
from p2pchat.control.operations.files import FINAL
from p2pchat.errors import EXIT_CODES, CommandError
from p2pchat_cli.happened import NAME_WIDTH
from p2pchat_cli.session import Context
from p2pchat_cli.text import ends, field

Transfer = Mapping[str, Any]

FILE_WIDTH: Final = 40
ID_DIGITS: Final = 12
TICK_S: Final = 0.25
"""How often somebody who watches is shown how it stands; the daemon looks no oftener either."""

SLICE_S: Final = 300.0
"""How long one question waits where nobody watches."""

PATIENCE_S: Final = 60.0
"""How long a daemon may be away before waiting for files ends with exit 3."""

RETRY_S: Final = 0.25

WARNINGS: Final = {
    "executable": "it may run when it is opened",
    "double_extension": "its name pretends to be of another kind",
}
"""Flags that a person should read before he takes a file."""


LEFT: Final = {"links": "links", "special": "pipes, sockets or devices", "closed": "that may not be read"}
"""What a folder may hold that is not sent."""


def named(one: Transfer, width: int = FILE_WIDTH) -> str:
    """`report.pdf (1.2 MB)`, `plans (14 files, 3.0 MB)`; escaped."""
    count = f"{one['files']} files, " if one["files"] != 1 else ""
    return f"{ends(one['name'], width)} ({count}{amount(one['size'])})"


def other(one: Transfer) -> str:
    """`from Bob`, `from Bob in #launch`, `to Bob`, `to #launch`; escaped."""
    room = f"#{field(one['room_name'], NAME_WIDTH)}" if one["kind"] != "direct" else ""
    person = field(one["peer"]["name"], NAME_WIDTH) if one["peer"] else ""
    if one["direction"] == "out":
        return f"to {person or room}"
    return f"from {person} in {room}" if room else f"from {person}"


def standing(one: Transfer) -> str:
    """`active, 45 %, 12.0 MB/s`; `waiting, 45 %`; `done`."""
    words = [str(one["state"])]
    if one["state"] in ("active", "waiting", "paused") and one["size"] and one["bytes_done"]:
        words.append(f"{100 * min(one['bytes_done'], one['size']) // one['size']} %")
    if one["state"] == "active" and one["rate_bps"]:
        words.append(f"{amount(one['rate_bps'])}/s")
    return ", ".join(words)


def warn(ctx: Context, one: Transfer) -> None:
    """Say what is dangerous about what is about to be taken."""
    found = [WARNINGS[flag] for flag in WARNINGS if flag in one["flags"]]
    if found and one["direction"] == "in" and not ctx.out.json:
        ctx.out.remark(f"warning: {ends(one['name'], FILE_WIDTH)}: {', and '.join(found)}")


def warn_left(ctx: Context, answer: Mapping[str, Any]) -> None:
    """Say what of the folders just offered does not go along."""
    for one in answer.get("left", ()):
        counted = ", ".join(f"{one[kind]} {LEFT[kind]}" for kind in LEFT if one[kind])
        ctx.out.remark(f"warning: not all of {ends(one['path'], FILE_WIDTH)} goes along: {counted} left out")


def settle(ctx: Context, found: Sequence[Transfer], timeout: float | None) -> list[Transfer]:
    """Show how far they come until all are settled, or the time is over; as they stand then."""
    from p2pchat_cli.progress import Progress  # only who waits needs it

    progress = Progress(ctx.out)
    deadline = None if timeout is None else time.monotonic() + timeout
    ids = [one["id"] for one in found]
    latest = list(found)
    try:
        while True:
            progress.show(latest)
            left = None if deadline is None else deadline - time.monotonic()
            if all(one["state"] in FINAL for one in latest) or (left is not None and left <= 0):
                return latest
            step = TICK_S if progress.live else SLICE_S
            latest = _asked(ctx, ids, step if left is None else min(step, left))
    except KeyboardInterrupt:
        progress.close()
        ctx.out.remark(ctx.out.hint("it goes on without this command: `p2pchat file list`"))
        raise
    finally:
        progress.close()


def _asked(ctx: Context, ids: list[str], wait_s: float) -> list[Transfer]:
    """How they stand when all are settled or after `wait_s`, across a restart of the daemon."""
    lost: float | None = None
    while True:
        try:
            answer = ctx.call("files.wait", wait_s=wait_s, ids=ids, timeout_s=wait_s)
            return list(answer["transfers"])
        except CommandError as error:
            if error.kind != "no_daemon":
                raise
            ctx.close()
            lost = time.monotonic() if lost is None else lost
            if time.monotonic() - lost > PATIENCE_S:
                raise
            time.sleep(RETRY_S)


def outcome(found: Sequence[Transfer], answer: Mapping[str, Any]) -> None:
    """CommandError for the worst of what did not end well, `answer` being what was done all the same."""
    failures = [failure for one in found if (failure := _failure(one)) is not None]
    if failures:
        _, kind, message, hint = max(failures, key=lambda one: one[0])
        raise CommandError(kind, message, hint, dict(answer))


def _failure(one: Transfer) -> tuple[int, str, str, str] | None:
    """(how bad, kind, message, hint) of what is not done."""
    name, why = ends(one["name"], FILE_WIDTH), one["error"] or {}
    told = field(why.get("message", ""))
    match one["state"]:
        case "done":
            return None
        case "declined":
            told_by = f": {told}" if told else ""
            again = "" if one["direction"] == "out" else "p2pchat file accept ID --conflict rename takes it"
            return 2, "declined", f"{name!r} was declined{told_by}", again
        case "cancelled":
            return 3, "failed", f"{name!r} was cancelled{': ' + told if told else ''}", ""
        case "failed":
            kind = why.get("kind", "")
            again = "p2pchat file accept ID tries it again"
            if one["direction"] == "out":
                again = "send it again"
            elif kind == "source_changed":
                again = "ask for it to be sent again"
            message = f"{name!r} has failed{': ' + told if told else ''}"
            return 4, kind if kind in EXIT_CODES and kind != "timeout" else "failed", message, again
        case state:
            waits = f": {told}" if told else ""
            return (
                1,
                "timeout",
                f"{name!r} is not there yet ({state}{waits})",
                "it goes on: p2pchat file list",
            )
