"""`trust show|verify|accept|block|unblock`: how far people are trusted.

Decides: what is shown and asked. Does not know: how keys are compared.
"""

from __future__ import annotations

from typing import Any, Final

from p2pchat.errors import CommandError
from p2pchat_cli.session import Context
from p2pchat_cli.text import field

SAS_S: Final = 120.0
PROOFS: Final = "--fingerprint F, --safety-number N or --sas"


def show(ctx: Context) -> int:
    """What to compare with a person."""
    return _tell(ctx, ctx.call("trust.show", target=ctx.word("target")))


def verify(ctx: Context) -> int:
    """Mark a person as verified, by the proof that was given."""
    target = ctx.word("target")
    fingerprint, number, confirm = ctx.text("fingerprint"), ctx.text("safety_number"), ctx.text("confirm")
    live = ctx.flag("sas") or confirm is not None
    if sum((fingerprint is not None, number is not None, live)) > 1:
        raise CommandError("usage", "several proofs at once", f"give only one: {PROOFS}")
    if confirm is not None:
        answer = ctx.call("trust.sas_confirm", target=target, digits=ctx.secret(confirm))
        return _tell(ctx, answer)
    if live:
        return _compare(ctx, target)
    if fingerprint is not None:
        return _proven(ctx, target, "fingerprint", ctx.secret(fingerprint))
    if number is not None:
        return _proven(ctx, target, "safety-number", ctx.secret(number))
    return _asked(ctx, target)


def accept(ctx: Context) -> int:
    """Take a person's new key."""
    return _tell(ctx, ctx.call("trust.accept", target=ctx.word("target")))


def block(ctx: Context) -> int:
    """Neither hear nor reach a person."""
    return _tell(ctx, ctx.call("trust.block", target=ctx.word("target")))


def unblock(ctx: Context) -> int:
    """Take a block back."""
    return _tell(ctx, ctx.call("trust.unblock", target=ctx.word("target")))


def _asked(ctx: Context, target: str) -> int:
    """Without a proof a person at a terminal has to compare; nobody is verified by saying nothing."""
    known = ctx.call("trust.show", target=target)
    if not ctx.interactive():
        raise CommandError(
            "usage",
            f"nothing was compared with {target!r}: not verified",
            f"give {PROOFS}",
        )
    number = known["safety_number"]
    ctx.out.remark(f"{field(known['name'])}'s safety number with you: {number}")
    if ctx.ask("does the other side show the same? [yes/no]", PROOFS).lower() not in ("y", "yes"):
        raise CommandError("key_mismatch", "not verified: nothing was changed", "compare in person")
    # The number that was shown is the proof: should the name mean another key by now, it fails.
    return _proven(ctx, target, "safety-number", number)


def _proven(ctx: Context, target: str, kind: str, proof: str) -> int:
    if kind and not proof:
        raise CommandError("usage", f"the {kind.replace('-', ' ')} is empty", "p2pchat trust show TARGET")
    return _tell(ctx, ctx.call("trust.verify", target=target, kind=kind, proof=proof))


def _compare(ctx: Context, target: str) -> int:
    """The digits first; then the question, unless a second call answers it."""
    timeout = ctx.number("timeout")
    patience = SAS_S if timeout is None else timeout
    if not ctx.out.json:
        ctx.out.remark(f"waiting for {field(target)} to run: p2pchat trust verify YOU --sas")
    answer = ctx.call("trust.sas", wait_s=patience, target=target, timeout_s=patience)
    digits = answer["sas"]
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    ctx.out.line(digits)
    ctx.out.flush()
    if not ctx.interactive():
        ctx.out.remark("answer with --confirm and the digits the other side shows")
        return 0
    said = ctx.ask("which digits does the other side show? [digits, or yes/no]", "--confirm DIGITS")
    same = digits if said.lower() in ("y", "yes") else said
    return _tell(ctx, ctx.call("trust.sas_confirm", target=target, digits=same))


def _tell(ctx: Context, answer: dict[str, Any]) -> int:
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    out = ctx.out
    out.line(f"{out.style(field(answer['name']), 'bold')}  {answer['trust']}")
    out.line(f"fingerprint    {answer['fingerprint']}")
    out.line(f"safety number  {answer['safety_number']}")
    for device in answer["devices"]:
        mark = "  revoked" if device["revoked"] else ""
        out.line(f"machine        {device['device'][:16]} {field(device['name'])}{mark}".rstrip())
    return 0
