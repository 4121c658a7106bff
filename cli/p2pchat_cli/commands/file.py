"""`file send|list|accept|decline|pause|resume|cancel|auto`: files and folders.

Decides: how they are named, how many go in one message, and what is printed. Does not know: how a
file travels, or who may have it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from p2pchat.amounts import amount
from p2pchat.control.operations.files import MAX_FILES, SPOOL_BYTES
from p2pchat.errors import CommandError
from p2pchat_cli import transfers
from p2pchat_cli.commands.send import call_again
from p2pchat_cli.given import absolute, folder
from p2pchat_cli.happened import people
from p2pchat_cli.session import Context
from p2pchat_cli.text import ends, field
from p2pchat_cli.transfers import FILE_WIDTH, ID_DIGITS, named, other, settle, standing

STDIN: Final = "-"
LOOKING_S: Final = 600.0
"""How long the daemon may look through the folders of one message."""


# -- offering -----------------------------------------------------------------------------------


def send(ctx: Context) -> int:
    """Offer files and folders, in as many messages as they need; prints the id of each."""
    target, paths, name = ctx.word("target"), ctx.words("paths"), ctx.text("name")
    timeout = _timeout(ctx)
    if STDIN in paths:
        found = _piped(ctx, target, paths, name)
    elif name is not None:
        raise CommandError("usage", "--name goes with '-' alone", "a file has its own name")
    else:
        found = _offered(ctx, target, absolute(paths))
    if not ctx.out.json:
        for one in found:
            ctx.out.line(one["id"])
        ctx.out.flush()
    if ctx.flag("wait"):
        found = settle(ctx, found, timeout)
        transfers.outcome(found, {"transfers": found})
    if ctx.out.json:
        ctx.out.object({"transfers": found})
    return 0


def _offered(ctx: Context, target: str, paths: Sequence[str]) -> list[Any]:
    """All of them, MAX_FILES to a message; if one is refused, what was offered before is told with it."""
    found: list[Any] = []
    for start in range(0, len(paths), MAX_FILES):
        params = {
            "target": target,
            "paths": list(paths[start : start + MAX_FILES]),
            "key": os.urandom(16).hex(),
        }
        try:
            answer = call_again(ctx, "files.send", LOOKING_S, params)
        except CommandError as error:
            if found:
                error.result = {"transfers": found}
                if not ctx.out.json:
                    for one in found:
                        ctx.out.line(one["id"])
            raise
        found += answer["transfers"]
        _warned(ctx, answer)
    return found


def _piped(ctx: Context, target: str, paths: Sequence[str], name: str | None) -> list[Any]:
    """Standard input as one file."""
    if len(paths) > 1:
        raise CommandError("usage", "'-' goes with no other path", "send it by itself")
    if not name:
        raise CommandError("usage", "what is piped in has no name", "name it: --name build.log")
    if sys.stdin is None or sys.stdin.isatty():
        raise CommandError("usage", "nothing is piped in", "p2pchat file send TARGET PATH")
    from base64 import b64encode

    spool = ctx.call("files.spool")["spool"]
    try:
        while data := sys.stdin.buffer.read(SPOOL_BYTES):
            ctx.call("files.spool_add", spool=spool, data=b64encode(data).decode())
        answer = ctx.call("files.send", wait_s=LOOKING_S, target=target, spool=spool, name=name)
    except BaseException:
        _dropped(ctx, spool)
        raise
    _warned(ctx, answer)
    return list(answer["transfers"])


def _dropped(ctx: Context, spool: str) -> None:
    """What was piped in is not wanted any more; why stands in the failure that is told."""
    try:
        ctx.call("files.spool_drop", spool=spool)
    except CommandError:
        ctx.close()


def _warned(ctx: Context, answer: dict[str, Any]) -> None:
    if answer.get("warning"):
        ctx.out.remark(f"warning: {field(ctx.out.hint(answer['warning']))}")
    transfers.warn_left(ctx, answer)


# -- looking ------------------------------------------------------------------------------------


def listing(ctx: Context) -> int:
    """What is offered, on its way, or has been."""
    have = ctx.flag("have")
    found: list[Any] = []
    more = True
    while more:
        before = found[-1]["id"] if found else ""
        answer = ctx.call("files.list", have=have or ctx.out.json, before=before)
        found += answer["transfers"]
        more = answer["has_more"] and bool(answer["transfers"])
    if ctx.out.json:
        ctx.out.object({"transfers": found})
        return 0
    if not found:
        ctx.out.remark(ctx.out.hint("no files yet: `p2pchat file send TARGET PATH`"))
        return 0
    head = ["ID", "WHO", "STATE", "SIZE", *(["HAVE IT"] if have else []), "NAME"]
    rows = [
        (
            one["id"][:ID_DIGITS],
            other(one),
            standing(one),
            amount(one["size"]),
            *([people(one["have"]) or "-"] if have else []),
            _named(ctx, one),
        )
        for one in found
    ]
    ctx.out.table(head, rows)
    for one in found:
        if one["error"]:
            ctx.out.remark(f"{one['id'][:ID_DIGITS]}: {field(ctx.out.hint(one['error']['message']))}")
    return 0


def _named(ctx: Context, one: transfers.Transfer) -> str:
    """Where it has landed, else what it is called, with what is dangerous about it."""
    flags = [word.replace("_", " ") for word in transfers.WARNINGS if word in one["flags"]]
    mark = f"[{', '.join(flags)}] " if flags and one["direction"] == "in" else ""
    width = (FILE_WIDTH if ctx.out.tty else 2000) - len(mark)
    where = one["path"] if one["direction"] == "in" else None
    return mark + ends(where or one["name"], width)


# -- deciding -----------------------------------------------------------------------------------


def accept(ctx: Context) -> int:
    """Take what is offered; says where it lands."""
    ident, timeout = _transfer(ctx), _timeout(ctx)
    to = ctx.text("to")
    (before,) = ctx.call("files.wait", ids=[ident], timeout_s=0)["transfers"]
    transfers.warn(ctx, before)
    answer = ctx.call(
        "files.accept",
        id=before["id"],
        to="" if to is None else folder(to),
        conflict=ctx.text("conflict") or "rename",
    )
    one = answer["transfer"]
    if not ctx.flag("wait"):
        return _told(ctx, answer, f"{named(one)} {other(one)}: it lands in {field(one['folder'] or '')}")
    if not ctx.out.json:
        ctx.out.remark(f"{named(one)} {other(one)}: it lands in {field(one['folder'] or '')}")
    found = settle(ctx, [one], timeout)
    transfers.outcome(found, {"transfer": found[0]})
    return _told(ctx, {"transfer": found[0]}, field(found[0]["path"] or ""))


def decline(ctx: Context) -> int:
    """Say that it is not wanted."""
    return _act(ctx, "decline", "declined")


def pause(ctx: Context) -> int:
    """Fetch no more of it for now."""
    return _act(ctx, "pause", "paused")


def resume(ctx: Context) -> int:
    """Go on fetching it."""
    return _act(ctx, "resume", "goes on")


def cancel(ctx: Context) -> int:
    """Stop it, or give it to nobody any more."""
    return _act(ctx, "cancel", "cancelled")


def auto(ctx: Context) -> int:
    """Take what a person offers without being asked, or no longer."""
    state = ctx.word("state")
    if state not in ("on", "off"):
        raise CommandError("usage", f"{state!r} is neither on nor off", "p2pchat file auto PERSON on")
    answer = ctx.call("files.auto", person=ctx.word("person"), on=state == "on")
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    name, most = field(answer["name"]), answer["max_bytes"]
    if not answer["auto"]:
        ctx.out.line(f"files of {name} are taken only when you accept them")
    elif most:
        ctx.out.line(f"files of {name} of at most {amount(most)} are taken without being asked for")
    else:
        ctx.out.line(f"files of {name} are taken without being asked for")
        ctx.out.remark(
            ctx.out.hint("none is so far: set how large, with `p2pchat config set file_auto_max 100MB`")
        )
    return 0


def _act(ctx: Context, verb: str, said: str) -> int:
    answer = ctx.call(f"files.{verb}", id=_transfer(ctx))
    return _told(ctx, answer, f"{named(answer['transfer'])} {other(answer['transfer'])}: {said}")


def _told(ctx: Context, answer: dict[str, Any], sentence: str) -> int:
    if ctx.out.json:
        ctx.out.object(answer)
    else:
        ctx.out.line(sentence)
    return 0


def _transfer(ctx: Context) -> str:
    given = ctx.word("id")
    if not given.strip():
        raise CommandError("usage", f"{given!r} is no id", "ids stand in `p2pchat file list`")
    return given


def _timeout(ctx: Context) -> float | None:
    """`--timeout`, which goes with `--wait`; without it waiting has no end."""
    found = ctx.number("timeout")
    if found is not None and not ctx.flag("wait"):
        raise CommandError("usage", "--timeout without --wait", "say --wait --timeout S")
    return found
