"""What the doctor's looks mean: checks with cause and remedy.

Decides: which sight is a trouble, whose it is, and what helps. Does not know: how anything was found out,
or how it is shown. Pure functions, so that every broken network is a line in a table (tests/daemon).

Nobody is blamed without evidence: a machine that is alone may just be alone. What one end cannot tell is
told by the other, or by a third machine that reaches both.
"""

from __future__ import annotations

from typing import Final

from p2pchat import __version__
from p2pchat.control.operations.daemon import CHECKS
from p2pchat.control.operations.fields import Json
from p2pchat.daemon.probing import Probed
from p2pchat.daemon.sights import Case, Own, Word
from p2pchat.platform.surroundings import opened_there, remedy
from p2pchat.wire.limits import FUTURE_MS

HERE: Final = "here"
THERE: Final = "there"

ADD: Final = "`p2pchat peers add HOST` once, for one machine of that network: it introduces the others"
SWALLOWED: Final = (
    "let the switch or access point pass multicast 224.0.0.251, UDP 5353 (no client isolation, no 'multicast"
    " filter'); or `p2pchat peers add HOST` for one machine: it introduces the others"
)
ISOLATED: Final = (
    "switch off client isolation (also: AP isolation, guest network, private VLAN) at the access point,"
    " or use another network"
)
MTU: Final = (
    "let ICMP (fragmentation needed, packet too big) pass in routers and VPN, or lower the MTU on this"
    " machine: `sudo ip link set dev IF mtu 1280`"
)
INTERFACE: Final = "start with that interface too: `p2pchat config set interface A,B`, down, up; '' takes all"
CLOSED_THERE: Final = "there: `p2pchat up`; `p2pchat status` says which port it listens on"
SAME_VERSION: Final = "install the same version everywhere"
COMPARE: Final = "`p2pchat trust show NAME`, and compare in person"
ROUTER: Final = "let the router between the networks pass TCP 26700 to 26709 in both directions"


def check(name: str, side: str, ok: bool, detail: str, cause: str | None = None, fix: str = "") -> Json:
    """One result; a good one has neither cause nor fix."""
    return {
        "name": name,
        "side": side,
        "ok": ok,
        "detail": detail,
        "cause": None if ok else cause,
        "fix": "" if ok else fix,
    }


def together(found: list[Json]) -> list[Json]:
    """One check of each name and side: a trouble rather than none, else what was said last."""
    kept: dict[tuple[str, str], Json] = {}
    for one in found:
        key = (one["name"], one["side"])
        if key not in kept or kept[key]["ok"]:
            kept[key] = one
    return sorted(kept.values(), key=lambda one: (one["side"] == THERE, CHECKS.index(one["name"])))


# -- this machine -----------------------------------------------------------------------------


def own(seen: Own) -> list[Json]:
    """What is added to the checks of this machine: the network around it."""
    found = [_discovery(seen), _out(seen), _in(seen), _interface(seen)]
    return [*found, *_others(seen), _firewall(seen, found)]


def _discovery(seen: Own) -> Json:
    if seen.deaf:
        if seen.returns:
            said = "multicast comes back to this machine, but not on UDP 5353, the port of mDNS"
            return check("discovery", HERE, False, said, "firewall_here", remedy(seen.firewalls, seen.port))
        said = "this machine does not hear its own multicast"
        fix = "check the firewall and the route for 224.0.0.0/4; or `p2pchat peers add HOST`"
        return check("discovery", HERE, False, said, "no_multicast", fix)
    near = [word for word in seen.words if word.near]
    unheard = [word.name for word in near if not word.sighted]
    unseen = [word.name for word in near if word.found is not None and not word.found.sighted]
    if seen.announcing and near and len(unheard) == len(near) and (not _told(near) or unseen):
        said = f"linked on this network, and not heard by mDNS: {', '.join(unheard)}"
        return check("discovery", HERE, False, said, "no_multicast", SWALLOWED)
    if seen.announcing and _told(near) and len(unseen) == len(_told(near)):
        said = f"this machine's announcement does not reach {', '.join(unseen)} on this network"
        return check("discovery", HERE, False, said, "no_multicast", SWALLOWED)
    if seen.alone:
        known = _who(len(seen.missed))
        said = f"of {known} known on this network none answers, and nobody else but the router does"
        return check("discovery", HERE, False, said, "client_isolation", ISOLATED)
    return check("discovery", HERE, True, _alone(seen))


def _told(words: list[Word]) -> list[Word]:
    return [word for word in words if word.found is not None]


def _alone(seen: Own) -> str:
    if seen.words:
        if seen.silent:
            return "not announced while nobody is to see you: `p2pchat presence`"
        return "announcements are heard" if seen.announcing else "not announced, as you wished"
    if seen.missed:
        return f"nobody is linked; {_who(len(seen.missed))} known on this network: off, or elsewhere"
    return "nobody is linked, and nobody is known on this network yet"


def _who(count: int) -> str:
    return f"{count} machine{'s' if count != 1 else ''}"


def _out(seen: Own) -> Json:
    tried = [word for word in seen.words if word.out is not None]
    failed = [word for word in tried if word.out is not None and word.out.reason]
    if failed and len(failed) == len(tried) and _own_fault(seen):
        said = f"no connection from here comes about: {_listed(failed)}; they reach us"
        fix = remedy(seen.firewalls, failed[0].port, outgoing=True)
        return check("tcp_out", HERE, False, said, "firewall_here", fix)
    if failed:
        said = f"linked, and yet not to be dialled: {_listed(failed)}"
        return check("tcp_out", HERE, False, said, "firewall_there", opened_there(failed[0].port))
    silent = [one for one in seen.missed if one.reason == "timeout"]
    if silent and not seen.router:
        said = f"no answer from {', '.join(one.where for one in silent)}, though the machine is there"
        if len(silent) > 1:
            fix = remedy(seen.firewalls, seen.port, outgoing=True)
            return check("tcp_out", HERE, False, said, "firewall_here", fix)
        return check("tcp_out", HERE, False, said, "firewall_there", opened_there(seen.port))
    if silent:
        said = f"no answer from {', '.join(one.where for one in silent)}, though the machine is there"
        return check("tcp_out", HERE, False, said, "firewall_there", opened_there(seen.port))
    return check("tcp_out", HERE, True, f"{_who(len(tried))} dialled" if tried else "nobody to dial")


def _own_fault(seen: Own) -> bool:
    """Whether dials that fail say something about this machine rather than about the others."""
    if seen.router:
        return False
    failed = sum(word.out is not None and bool(word.out.reason) for word in seen.words)
    return failed > 1 or seen.router is False


def _listed(words: list[Word]) -> str:
    return ", ".join(f"{word.name} ({word.out.where}: {word.out.reason})" for word in words if word.out)


def _in(seen: Own) -> Json:
    tried = [word for word in seen.words if word.back is not None and seen.listening]
    failed = [word for word in tried if word.back]
    if tried and len(failed) == len(tried):
        said = f"not reached from {', '.join(f'{word.name} ({word.back})' for word in failed)}"
        return check("tcp_in", HERE, False, said, "firewall_here", remedy(seen.firewalls, seen.port))
    if failed:
        whom = ", ".join(f"{word.name} ({word.back})" for word in failed)
        said = f"not reached from {whom}; others do reach us"
        fix = "the firewall there may forbid outgoing TCP, or a network between the two"
        return check("tcp_in", HERE, False, said, "firewall_there", fix)
    if tried:
        return check("tcp_in", HERE, True, f"reached from {', '.join(word.name for word in tried)}")
    return check("tcp_in", HERE, True, "nobody to try it")


def _interface(seen: Own) -> Json:
    left = [f"{one.name}: {one.why}" for one in seen.unused]
    said = ", ".join(seen.used) or "none"
    if left:
        said += f" (not: {'; '.join(left)})"
    if seen.chosen and not seen.used:
        said = f"{', '.join(seen.chosen)} has no address that can be used; {said}"
        return check("interface", HERE, False, said, "wrong_interface", INTERFACE)
    return check("interface", HERE, True, said)


def _others(seen: Own) -> list[Json]:
    """Who is here and none of ours: of interest only to somebody who has found nobody else."""
    found = []
    if seen.other_versions and not seen.words:
        said = f"{_who(seen.other_versions)} here with another version of the protocol"
        found.append(check("version", HERE, False, said, "version", SAME_VERSION))
    else:
        found.append(check("version", HERE, True, __version__))
    if seen.other_offices and not seen.words:
        said = f"{_who(seen.other_offices)} here of another office"
        found.append(
            check("key", HERE, False, said, "other_office", "join their office, or let them join yours")
        )
    return found


def _firewall(seen: Own, found: list[Json]) -> Json:
    blamed = next((one for one in found if one["cause"] == "firewall_here"), None)
    if blamed is not None:
        said = f"this machine's firewall is in the way ({', '.join(seen.firewalls) or 'unknown kind'})"
        return check("firewall", HERE, False, said, "firewall_here", blamed["fix"])
    return check("firewall", HERE, True, "nothing seen that it stops")


# -- the way to another machine -----------------------------------------------------------------


def between(case: Case) -> list[Json]:
    """The way to one machine and back, as both ends see it."""
    met = next((one for one in case.probed if not one.reason), None)
    found = [_reach(case, met), _key(case, met), _heard(case, met)]
    if case.findings is not None:
        found += _other_end(case, met)
    elif met is not None:
        found.append(_clock(met.wall_ms, case.now_ms))
    return [one for one in found if one is not None]


def _reach(case: Case, met: Probed | None) -> Json:
    if met is not None and met.stuck:
        way = "from there to here" if met.stuck == "there" else "from here to there"
        said = f"{met.address}: connected, but large packets do not pass {way}"
        return check("tcp_out", HERE, False, said, "mtu", MTU)
    if met is not None:
        return check("tcp_out", HERE, True, f"{case.name} answers at {met.address}")
    if not case.probed:
        said = f"no address of {case.name} is known"
        return check("address", HERE, False, said, "host_down", "`p2pchat peers add HOST`")
    said, cause, fix = _why(case)
    return check("tcp_out", HERE, False, said, cause, fix)


def _why(case: Case) -> tuple[str, str, str]:
    """Why no address of theirs answers: (what was seen, cause, remedy)."""
    order = ("silent", "refused", "closed", "port_closed", "timeout", "host_down", "unreachable", "name")
    best = min(case.probed, key=lambda one: order.index(one.reason) if one.reason in order else len(order))
    where, there = str(best.address), case.findings
    alive = there is not None and bool(case.through)
    tried = {one.address.host for one in case.probed if "%" not in one.address.host}  # those are not told
    moved = alive and there is not None and there.hosts and tried and not tried & set(there.hosts)
    told = f"{case.through} still reaches it" if alive and case.through != "itself" else "it is linked to us"
    match best.reason:
        case "closed" if case.foreign == "version":
            return f"{where} announces another version of the protocol", "version", SAME_VERSION
        case "closed":
            said = f"{where} hung up without a word: another office, another program, or we are blocked there"
            return (
                said,
                "other_office",
                "there: `p2pchat status` names the office; `p2pchat trust show` the block",
            )
        case "refused":
            said = f"{where} hung up once it knew our key: blocked there, revoked, or busy with other looks"
            return said, "other_office", "`p2pchat status` tells of a revocation; there: `p2pchat trust show`"
        case "silent":
            return f"{where}: connected, and no answer to the handshake", "mtu", MTU
        case "name":
            return (
                f"no machine is called {best.address.host!r}",
                "host_down",
                "use its address, such as 192.168.1.20",
            )
    if case.elsewhere:
        said = f"{where} lies on the network of {case.elsewhere}, which this daemon does not use"
        return said, "wrong_interface", INTERFACE
    if best.reason == "unreachable":
        said = f"this machine has no way to {where}"
        return said, "other_subnet", "give this machine a route (gateway, VPN) to that network"
    if moved and there is not None:
        said = f"nobody answers at {where}; {told}, at {', '.join(there.hosts)}"
        cause, fix = (
            ("other_subnet", ROUTER)
            if not case.near
            else ("host_down", f"`p2pchat peers add {there.hosts[0]}`")
        )
        return said, cause, fix
    if best.reason == "port_closed":
        if alive and there is not None and there.port == best.address.port:
            said = f"{where} refuses, though p2pchat runs there: {told}"
            return said, "firewall_there", opened_there(best.address.port)
        return f"the machine is there, but nothing listens at {where}", "port_closed", CLOSED_THERE
    return _silence(case, best, alive, told)


def _silence(case: Case, best: Probed, alive: bool, told: str) -> tuple[str, str, str]:
    """Nobody answers: neither a refusal nor a handshake."""
    where, back = str(best.address), _back(case)
    ours = _own_fault(case.own) or any(one["cause"] == "firewall_here" for one in (_out(case.own),))
    if best.reason == "host_down":
        if case.near and alive:
            return f"{where} does not answer at all, yet {told}", "client_isolation", ISOLATED
        if case.near and case.alone:
            said = f"{where} does not answer, nor does anybody else on this network but the router"
            return said, "client_isolation", ISOLATED
        if alive:
            return f"a router says that {where} cannot be reached, yet {told}", "other_subnet", ROUTER
        said = f"nobody answers at {where}"
        return said, "host_down", "switch the machine on; its address is told there: `p2pchat status`"
    if ours:
        said = f"no answer from {where}, and none from others either: nothing leaves this machine"
        return said, "firewall_here", remedy(case.own.firewalls, best.address.port, outgoing=True)
    if back == "":
        said = f"no answer from {where}, while it does reach us: only that direction is blocked"
        return said, "firewall_there", opened_there(best.address.port)
    if alive and case.near and back and _reached(case.own):
        said = f"neither end reaches the other on this network, and yet {told}"
        return said, "client_isolation", ISOLATED
    if case.near:
        said = f"{where} is there and does not answer on that port"
        return said, "firewall_there", opened_there(best.address.port)
    said = f"no answer from {where}, on another network: a router or a firewall on the way drops it"
    if alive and back:
        return f"{said}, in both directions; {told}", "other_subnet", ROUTER
    return said, "other_subnet", f"{ROUTER}; and {opened_there(best.address.port)}"


def _back(case: Case) -> str | None:
    """Why they did not reach us; "" if they did, None if nobody tried."""
    if case.linked is not None and not case.linked.initiator:
        return ""
    if case.findings is None or not case.findings.dialled:
        return None
    reasons = [reason for _, reason in case.findings.dialled]
    return "" if "" in reasons else reasons[0]


def _reached(seen: Own) -> bool:
    """Whether anybody reaches this machine."""
    return any(word.back == "" for word in seen.words)


def _key(case: Case, met: Probed | None) -> Json | None:
    if met is None and case.heir:
        said = (
            f"nobody answers with the key of {case.name}, whose name {case.heir} uses since, with another key"
        )
        return check("key", HERE, False, said, "key_changed", COMPARE)
    if met is None or met.account is None:
        return None
    if case.account is not None and met.account != case.account:
        said = f"{met.address} is somebody else's machine now ({met.account.hex()[:8]})"
        return check("key", HERE, False, said, "key_changed", COMPARE)
    return check("key", HERE, True, f"the key of {met.account.hex()[:8]}")


def _heard(case: Case, met: Probed | None) -> Json | None:
    if case.sighted:
        return check("discovery", HERE, True, f"the announcement of {case.name} is heard")
    if met is None:
        return None
    if not case.near:
        said = f"{case.name} is on another network, which announcements do not cross"
        linked = case.linked is not None
        return check(
            "discovery", HERE, linked, said, "other_subnet", f"`p2pchat peers add {met.address.host}`"
        )
    said = f"{case.name} is on this network, and no announcement of it was heard"
    if case.findings is not None and case.findings.discovery:
        return check(
            "discovery", THERE, False, case.findings.discovery, "no_multicast", "there: `p2pchat doctor`"
        )
    if case.findings is not None and not case.findings.hears_itself:
        said = f"{case.name} does not hear its own multicast"
        return check("discovery", THERE, False, said, "firewall_there", "there: `p2pchat doctor`")
    if case.findings is not None and case.findings.sighted:  # not announced there, as its user wished
        return check("discovery", HERE, case.linked is not None, said, "no_multicast", ADD)
    return check("discovery", HERE, False, said, "no_multicast", SWALLOWED)


def _other_end(case: Case, met: Probed | None) -> list[Json]:
    """What the other machine says of itself and of us."""
    there = case.findings
    assert there is not None
    by = "" if case.through in ("", "itself") else f" (asked through {case.through})"
    found = [
        check("address", THERE, True, (", ".join(there.hosts) or "none told") + by),
        check("version", THERE, True, there.version),
        _clock(there.wall_ms, case.now_ms),
    ]
    back = _back(case)
    if there.dialled and back:
        _, cause, fix = _why_back(case, met, back)
        said = f"from there to here: {', '.join(f'{where}: {why}' for where, why in there.dialled)}"
        found.append(check("tcp_in", HERE, False, said, cause, fix))
        found.append(check("tcp_out", THERE, False, said, cause, fix))
    elif back == "":
        found.append(check("tcp_in", HERE, True, f"{case.name} reaches this machine"))
        found.append(check("tcp_out", THERE, True, f"{case.name} reaches this machine"))
    return found


def _why_back(case: Case, met: Probed | None, back: str) -> tuple[str, str, str]:
    """Why they do not reach us, though we may reach them."""
    if met is None:  # neither reaches the other: one cause for both ways
        said, cause, fix = _why(case)
        if cause in ("client_isolation", "other_subnet", "wrong_interface"):
            return said, cause, fix
    if back == "port_closed" or not _reached(case.own):
        return "", "firewall_here", remedy(case.own.firewalls, case.own.port)
    if not case.near:
        return "", "other_subnet", ROUTER
    return "", "firewall_there", "the firewall there may forbid outgoing TCP"


def _clock(theirs_ms: int, ours_ms: int) -> Json:
    off = theirs_ms - ours_ms
    if abs(off) > FUTURE_MS:
        said = f"the other clock is {abs(off) // 60_000} min {'ahead' if off > 0 else 'behind'}"
        return check("clock", THERE, False, said, "clock", "set the clock of the machine that is wrong")
    return check("clock", THERE, True, f"{off} ms off ours")
