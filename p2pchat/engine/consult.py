"""Questions of diagnosis that come over links: who may ask, whom they are passed on to, what is answered.

Decides: how often one may ask, that a question is passed on once and no further, and which addresses are
dialled for it. Does not know: what is found (daemon/examiner), or what it means (daemon/verdicts).

Nobody is made to dial a stranger's victim: on a direct question that is the address the question came
from, else only what an introduction may name too (exchange.worth).
"""

from __future__ import annotations

import ipaddress
from typing import Final, get_args

from p2pchat.engine import exchange, presence
from p2pchat.engine.context import Context, Link, Relayed
from p2pchat.engine.inputs import Consulted, Found, Send
from p2pchat.errors import DialReason, RemoteProtocolError
from p2pchat.ids import AccountId, DeviceId
from p2pchat.wire.limits import FIRST_PORT, LAST_PORT, MAX_ADDRESSES
from p2pchat.wire.messages.network import Examine, Findings

QUESTIONS: Final = 6.0
"""So many one machine may ask at once,"""
REFILLED_S: Final = 5.0
"""and one more after so long: each may cost three dials."""
DIALLED: Final = 3
PASSED_ON: Final = 1 << 40
"""Questions of others that are passed on are numbered from here; our own are far below."""
NOBODY: Final = AccountId(b"")
WAITS_S: Final = 30.0
"""So long a question that was passed on is remembered."""
MOST_RELAYED: Final = 64
MAX_VERSION: Final = 32
MAX_LABEL: Final = 63
MAX_REASON: Final = 200
REASONS: Final = ("", *get_args(DialReason))


def asked(ctx: Context, link: Link, question: Examine) -> None:
    """Somebody wants to know how it looks from here, or from one we are linked to."""
    if len(question.device) != 32 or len(question.asker) != 32 or len(question.hosts) > MAX_ADDRESSES:
        raise RemoteProtocolError("question out of range")
    if len(question.label) > MAX_LABEL or any(len(host) > MAX_LABEL for host in question.hosts):
        raise RemoteProtocolError("question out of range")
    if not 0 <= question.port <= 65535 or not 0 <= question.number < 2**63:
        raise RemoteProtocolError("question out of range")
    if not _may(ctx, link.device):
        return
    direct = question.asker == link.device
    seen = presence.visible_to(ctx, link.account) and sees_us(ctx, DeviceId(question.asker))
    if question.device == ctx.me.device and not seen:
        ctx.out.append(Send(link.link, absent(question)))
    elif question.device == ctx.me.device:
        hosts = _dialled(ctx, link, question, direct=direct)
        ctx.out.append(Consulted(link.device, question, hosts))
    elif direct:
        _pass_on(ctx, link, question)


def _may(ctx: Context, device: DeviceId) -> bool:
    left, since = ctx.live.consulted.get(device, (QUESTIONS, ctx.now.mono))
    left = min(QUESTIONS, left + (ctx.now.mono - since) / REFILLED_S)
    ctx.live.consulted[device] = (left - 1 if left >= 1 else left, ctx.now.mono)
    return left >= 1


def sees_us(ctx: Context, asker: DeviceId) -> bool:
    """Whether the person of a machine may see that we are here; who is not known, as any stranger."""
    return presence.visible_to(ctx, ctx.cache.owner.get(asker, NOBODY))


def _dialled(ctx: Context, link: Link, question: Examine, *, direct: bool) -> tuple[str, ...]:
    if direct:  # where the question comes from, on the port that was said in the handshake
        return (link.host,) if link.port and question.port == link.port else ()
    near = exchange.neighbourhood(ctx)
    hosts = [host for host in question.hosts if _his(ctx, question, host, near)]
    return tuple(dict.fromkeys(hosts))[:DIALLED]


def _his(ctx: Context, question: Examine, host: str, near: exchange.Near) -> bool:
    """Whether a machine that asks through another may be there. What came of the dial is told, so on its
    mere word only the ports of this program are tried: else we would look for open ones for others."""
    if not exchange.worth(ctx, host, question.port, near):
        return False
    address, target = (
        ctx.cache.addresses.get((host, question.port)),
        ctx.live.targets.get((host, question.port)),
    )
    known = {one.device for one in (address, target) if one is not None}
    return question.asker in known or FIRST_PORT <= question.port <= LAST_PORT


def _pass_on(ctx: Context, link: Link, question: Examine) -> None:
    device = DeviceId(question.device)
    # Who hides from us is not here, for us and for whom we would tell of him.
    shown = presence.shown(ctx, device) != presence.HIDDEN
    number = ctx.live.by_device.get(device) if shown else None
    live, now = ctx.live, ctx.now.mono
    live.relayed.become({key: one for key, one in live.relayed.items() if one.until > now})
    if number is None or len(live.relayed) >= MOST_RELAYED:
        ctx.out.append(Send(link.link, absent(question)))
        return
    ours = PASSED_ON | ctx.number()
    live.relayed[ours] = Relayed(link.device, question.number, DeviceId(question.device), now + WAITS_S)
    passed = Examine(ours, question.device, question.asker, question.hosts, question.port, question.label)
    ctx.out.append(Send(number, passed))


def absent(question: Examine) -> Findings:
    """The machine that is asked for is not linked to us."""
    return Findings(question.number, question.device, True, (), False, False, "", (), 0, "", 0)


def answered(ctx: Context, link: Link, found: Findings) -> None:
    """An answer: to a question that was passed on, or to one of ours."""
    if not sound(found):
        raise RemoteProtocolError("findings out of range")
    if found.number < PASSED_ON:
        ctx.out.append(Found(link.link, found))
        return
    waiting = ctx.live.relayed.get(found.number)
    if waiting is not None and waiting.device == link.device:
        del ctx.live.relayed[found.number]
        told = Findings(
            waiting.number, found.device, found.absent, found.dialled, found.sighted, found.hears_itself,
            found.discovery, found.hosts, found.port, found.version, found.wall_ms,
        )  # fmt: skip
        asker = ctx.live.by_device.get(waiting.asker)  # their link may have been replaced meanwhile
        if asker is not None:
            ctx.out.append(Send(asker, told))


def sound(found: Findings) -> bool:
    """Whether findings have the form they must have. Their addresses end in advice to a person, and in
    commands he may copy: nothing but addresses."""
    if len(found.device) != 32 or len(found.hosts) > MAX_ADDRESSES or len(found.dialled) > MAX_ADDRESSES:
        return False
    if len(found.version) > MAX_VERSION or len(found.discovery) > MAX_REASON:
        return False
    if not (0 <= found.port <= 65535 and 0 <= found.wall_ms < 2**48 and 0 <= found.number < 2**63):
        return False
    for host in (*found.hosts, *(host for host, _ in found.dialled)):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
    scoped = any("%" in host for host in found.hosts)  # what follows it may be any text
    return not scoped and all(reason in REASONS for _, reason in found.dialled)
