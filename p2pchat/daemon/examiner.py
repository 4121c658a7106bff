"""The doctor's eyes and ears: dials, asks the other end and third machines, looks at this system.

Decides: what is looked at, in which order, and for how long. Does not know: what it means (verdicts),
or how it is shown. Nothing it does changes a link, an address or the archive. Whoever hides from us looks
like a machine on which p2pchat does not run.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

import trio

from p2pchat import __version__
from p2pchat.daemon.foreign import OFFICE, VERSION, Foreign
from p2pchat.daemon.probing import AT_ONCE, Probed, Probes, probe
from p2pchat.daemon.sights import Case, Dialled, Own, Word
from p2pchat.engine import consult, exchange, names, people, presence
from p2pchat.engine.context import Context, Link
from p2pchat.engine.inputs import Consulted, Found
from p2pchat.engine.links import PROBE, Established, LinkMachine
from p2pchat.errors import DialError
from p2pchat.ids import AccountId, DeviceId
from p2pchat.model import Now
from p2pchat.net import interfaces
from p2pchat.net.interfaces import Left
from p2pchat.net.lan import PORTS, Address, Lan
from p2pchat.platform import surroundings
from p2pchat.wire.codec import Record
from p2pchat.wire.limits import FIRST_PORT, MAX_ADDRESSES
from p2pchat.wire.messages.network import Examine, Findings

HEARD_S: Final = 12.0
"""So long an answer of another machine is waited for: it dials up to three addresses at once, 5 s each."""
ASKED: Final = 3
"""Machines asked for their word, and addresses of one machine looked at."""
LOOKING: Final = 16
"""Questions of others looked into at once, with up to three dials each."""
SETTLE_S: Final = 2.0
"""Who has just met may not yet have heard everything."""
KNOWN_DAYS: Final = 30
DAY_MS: Final = 24 * 3600 * 1000

T = TypeVar("T")
_NOBODY: Final[tuple[str, ...]] = ()


class Examiner:
    """Looks for one daemon. `say` sends on a chat link; `threads`: whether the system may be asked."""

    def __init__(
        self,
        lan: Lan,
        look: Callable[[], Context],
        clock: Callable[[], Now],
        machine: Callable[[str], LinkMachine],
        say: Callable[[int, Record], None],
        *,
        chosen: tuple[str, ...],
        threads: bool,
        announcing: Callable[[], bool],
    ) -> None:
        self._lan = lan
        self._look = look
        self._clock = clock
        self._machine = machine
        self._say = say
        self._chosen = chosen
        self._threads = threads
        self._announcing = announcing
        self._waiting: dict[int, tuple[trio.Event, list[Findings], DeviceId]] = {}
        self._numbers = 0
        self._looking = 0
        self.foreign = Foreign()
        self.probes = Probes(self._welcome, self.examine)

    # -- for others ---------------------------------------------------------------------------

    async def answer(self, consulted: Consulted) -> None:
        """Somebody asks over a chat link how he looks from here."""
        found = consult.absent(consulted.question)
        if self._looking < LOOKING:  # each of a crowd may ask six times: we have better use for our sockets
            self._looking += 1
            try:
                found = await self.examine(consulted.question, consulted.hosts)
            finally:
                self._looking -= 1
        link = self._look().live.by_device.get(consulted.device)
        if link is not None:
            self._say(link, found)

    async def examine(self, question: Examine, hosts: tuple[str, ...]) -> Findings:
        """What this machine finds when it looks at the asker."""
        live = self._look().live
        if not consult.sees_us(self._look(), DeviceId(question.asker)):
            return consult.absent(question)
        dialled: list[tuple[str, str]] = []

        async def try_one(host: str) -> None:
            dialled.append((host, (await self.dial(host, question.port)).reason))

        async with trio.open_nursery() as nursery:
            for host in hosts:
                nursery.start_soon(try_one, host)
        state = self._lan.discovery_state()
        return Findings(
            question.number,
            self._look().me.device,
            False,
            tuple(sorted(dialled)),
            question.label in live.sights,
            state.heard_self or not self._announcing(),
            "" if state.running else state.trouble[:100],
            exchange.told_of_us(self._look()),
            live.port,
            __version__,
            self._clock().wall_ms,
        )

    def _welcome(self, shaken: Established) -> bool:
        """Whom we blocked, and what was revoked, learns nothing here."""
        ctx = self._look()
        trust, account = ctx.cache.trust.get(shaken.account), ctx.cache.accounts.get(shaken.account)
        machine = account.devices.get(shaken.device) if account is not None else None
        return not (trust is not None and trust.blocked) and not (machine is not None and machine.revoked)

    # -- for ourselves ------------------------------------------------------------------------

    async def dial(self, host: str, port: int) -> Dialled:
        """A bare connection, closed at once."""
        where = str(Address(host, port))
        try:
            stream = await self._lan.dial(host, port)
        except DialError as error:
            return Dialled(where, error.reason, error.detail)
        await stream.aclose()
        return Dialled(where, "")

    def heard(self, found: Found) -> None:
        """The answer to a question of ours, or to none."""
        waiting = self._waiting.get(found.findings.number)
        link = self._look().live.links.get(found.link)
        if waiting is not None and link is not None and link.device == waiting[2]:
            waiting[1].append(found.findings)
            waiting[0].set()

    def _question(self, device: DeviceId) -> Examine:
        self._numbers += 1
        ctx = self._look()
        hosts = tuple(host for host in ctx.live.addresses if "%" not in host)[:MAX_ADDRESSES]
        label = ctx.live.label if self._announcing() else ""
        return Examine(self._numbers, device, ctx.me.device, hosts, ctx.live.port, label)

    async def consult(self, link: Link, device: DeviceId) -> Findings | None:
        """Ask `device` over `link`, which is its own or that of one who may pass the question on."""
        question = self._question(device)
        event, answers, _ = self._waiting[question.number] = (trio.Event(), [], link.device)
        try:
            self._say(link.link, question)
            with trio.move_on_after(HEARD_S):
                await event.wait()
        finally:
            del self._waiting[question.number]
        return answers[0] if answers and answers[0].device == device and not answers[0].absent else None

    async def probe(self, host: str, port: int) -> Probed:
        """Look at one address with a whole handshake."""
        seen = await self._probe(host, port)
        return replace(seen, reason="host_down") if await self._absent(seen.reason, host) else seen

    async def _probe(self, host: str, port: int) -> Probed:
        return await probe(self._lan.dial, lambda: self._machine(PROBE), Address(host, port), self._question)

    async def system(self, work: Callable[[], T], otherwise: T) -> T:
        """Ask the operating system something, in a thread; `otherwise` where that may not be."""
        if not self._threads:
            return otherwise
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True)

    # -- this machine ---------------------------------------------------------------------------

    async def own(self) -> Own:
        """How this machine and its surroundings look, with the word of up to ASKED others."""
        ctx = self._look()
        links = self._links(ctx)[:ASKED]
        words: list[Word] = []

        async def ask(link: Link) -> None:
            found: list[Findings | None] = []
            out: list[Dialled] = []

            async def back() -> None:
                found.append(await self.consult(link, link.device))

            async def forth() -> None:
                out.append(await self.dial(link.host, link.port))

            async with trio.open_nursery() as both:
                both.start_soon(back)
                if link.port:
                    both.start_soon(forth)
            near, said = self._near(ctx, link.host), found[0]
            if (
                near
                and said is not None
                and not (said.sighted and self._sighted(link.device, Address(link.host, link.port)))
            ):
                await trio.sleep(SETTLE_S)  # they may have met a moment ago
                said = await self.consult(link, link.device) or said
            words.append(
                Word(
                    names.shown(ctx, link.account),
                    link.host,
                    link.port,
                    near,
                    out[0] if out else None,
                    said,
                    self._sighted(link.device, Address(link.host, link.port)),
                )
            )

        async with trio.open_nursery() as nursery:
            for link in links:
                nursery.start_soon(ask, link)
        missed = await self._missed(ctx) if not links else ()
        return await self._around(ctx, tuple(sorted(words)), missed)

    async def _around(self, ctx: Context, words: tuple[Word, ...], missed: tuple[Dialled, ...]) -> Own:
        routers = await self._routers()
        deaf = await self._deaf()
        returns = await self.system(surroundings.returns, None) if deaf else True
        silent = missed and all(one.reason == "host_down" for one in missed)
        alone = await self.alone(ctx, routers) if silent else None
        suspect = any(word.out is not None and word.out.reason for word in words) or any(
            one.reason == "timeout" for one in missed
        )
        nothing: tuple[tuple[str, ...], tuple[Left, ...]] = ((), ())
        used, unused = await self.system(lambda: interfaces.survey(self._chosen), nothing)
        return Own(
            announcing=self._announcing(),
            deaf=deaf,
            returns=returns,
            words=words,
            missed=missed,
            alone=alone,
            router=await self._router(routers, ctx.live.port or FIRST_PORT) if suspect else None,
            used=used,
            unused=unused,
            chosen=self._chosen,
            firewalls=await self.system(surroundings.firewalls, _NOBODY),
            port=ctx.live.port or FIRST_PORT,
            other_versions=self.foreign.count(VERSION),
            other_offices=self.foreign.count(OFFICE),
            silent=presence.hidden_from_all(ctx),
        )

    def _sighted(self, device: DeviceId | None, where: Address | None) -> bool:
        """Whether an announcement of that machine was heard: it is known as its, or names that address."""
        for sight in self._look().live.sights.values():
            if device is not None and sight.device == device:
                return True
            if where is not None and where.host in sight.addresses and where.port == sight.port:
                return True
        return False

    async def _deaf(self) -> bool:
        """Whether our own announcement does not come back; it may take a moment after the start."""
        for _ in range(10):
            state = self._lan.discovery_state()
            if not self._announcing() or not state.running or state.heard_self:
                return False
            await trio.sleep(SETTLE_S / 10)
        return True

    def _links(self, ctx: Context) -> list[Link]:
        """Those in use, of our own network first: who can say most. Who hides from us is not here."""
        linked = [link for device in ctx.live.by_device if (link := _visible(ctx, device)) is not None]
        return sorted(linked, key=lambda link: (not self._near(ctx, link.host), link.link))

    def _near(self, ctx: Context, host: str) -> bool:
        """Whether an address lies on a network of ours."""
        if "%" in host:
            return True
        return any(_inside(host, one) for one in ctx.live.networks)

    async def _missed(self, ctx: Context) -> tuple[Dialled, ...]:
        """Nobody is linked, to be seen: are those still there who were here lately, on our network?"""
        since = ctx.now.wall_ms - KNOWN_DAYS * DAY_MS
        rows = [row for row in ctx.cache.addresses.values() if row.device and row.last_ok_ms >= since]
        known = [row for row in rows if row.device and not presence.hides(ctx, row.device)]
        near = [row for row in known if self._near(ctx, row.host)]
        newest = sorted(near, key=lambda row: -row.last_ok_ms)[:ASKED]
        return tuple(await self._each([Address(row.host, row.port) for row in newest], self._surely))

    async def _surely(self, host: str, port: int) -> Dialled:
        """A dial to a neighbour; where none answers, whether he is there at all."""
        seen = await self.dial(host, port)
        return seen._replace(reason="host_down") if await self._absent(seen.reason, host) else seen

    async def _absent(self, reason: str, host: str) -> bool:
        """Whether silence means that nobody is there. The system sends to a neighbour it knew for seconds
        after he has gone, so that a dial alone does not tell."""
        if reason != "timeout" or not self._near(self._look(), host):
            return False
        return await self.system(partial(surroundings.answers, host), None) is False

    async def _each(self, where: Iterable[Address], act: Callable[[str, int], Awaitable[T]]) -> list[T]:
        """The same for several addresses at once, answers in their order."""
        found: dict[Address, T] = {}

        async def one(address: Address) -> None:
            found[address] = await act(address.host, address.port)

        addresses = list(dict.fromkeys(where))
        async with trio.open_nursery() as nursery:
            for address in addresses:
                nursery.start_soon(one, address)
        return [found[address] for address in addresses]

    async def alone(self, ctx: Context, routers: tuple[str, ...], among: str = "") -> bool | None:
        """Whether on our network (that of `among`) nobody but the router answers at all; None: unknown."""
        for network in ctx.live.networks:
            ours = ipaddress.ip_interface(network)
            if ours.version != 4 or (among and ":" not in among and not _inside(among, network)):
                continue
            answered = await self.system(partial(surroundings.sweep, network), _NOBODY)
            if answered:
                return all(host in routers for host in answered)
        return None

    async def _routers(self) -> tuple[str, ...]:
        return await self.system(surroundings.routers, _NOBODY)

    async def _router(self, routers: tuple[str, ...], port: int) -> bool | None:
        """Whether TCP from here comes as far as the router, which refuses it; None: no router, or it
        says nothing, as many do."""
        for router in routers[:1]:
            reason = (await self.dial(router, port)).reason
            if reason in ("", "port_closed"):
                return True
        return None

    # -- one other machine ------------------------------------------------------------------------

    async def person(self, account: AccountId) -> Case:
        """Everything about the way to a person's machine, from both ends if any way is left."""
        ctx = self._look()
        known = ctx.cache.accounts[account]
        linked = [link for device in known.devices if (link := _visible(ctx, device)) is not None]
        rows = [row for row in ctx.cache.addresses.values() if row.device in known.devices]
        newest = sorted(rows, key=lambda row: (-row.last_ok_ms, row.host))
        where = [Address(link.host, link.port) for link in linked if link.port]
        for sight in ctx.live.sights.values():
            if sight.device in known.devices:
                where += [Address(host, sight.port) for host in sight.addresses]
        where += [Address(row.host, row.port) for row in newest]
        wanted = linked[0].device if linked else (newest[0].device if newest else None)
        if wanted is None:
            wanted = next((device.id for device in known.active()), None)
        return await self._case(
            names.shown(ctx, account), account, wanted, linked[:1], list(dict.fromkeys(where))[:ASKED]
        )

    async def place(self, host: str, port: int | None) -> Case:
        """The same for an address, whoever is there."""
        where = Address(host, port or FIRST_PORT)
        if port is None and (await self.dial(host, FIRST_PORT)).reason == "port_closed":
            found = await self._each([Address(host, one) for one in PORTS[1:]], self.dial)
            open_ = [one for one, said in zip(PORTS[1:], found, strict=True) if not said.reason]
            where = Address(host, open_[0] if open_ else FIRST_PORT)
        ctx = self._look()
        owner = ctx.cache.addresses.get((host, where.port))
        device = owner.device if owner is not None else None
        linked = [link for one in (device,) if one is not None and (link := _visible(ctx, one)) is not None]
        return await self._case(str(where), None, device, linked, [where])

    async def _case(
        self,
        name: str,
        account: AccountId | None,
        device: DeviceId | None,
        linked: list[Link],
        where: list[Address],
    ) -> Case:
        probed: list[Probed] = []
        there: list[tuple[str, Findings]] = []
        here: list[Own] = []

        async def around() -> None:
            here.append(await self.own())

        async def look() -> None:
            for one in range(0, len(where), AT_ONCE):
                probed.extend(await self._each(where[one : one + AT_ONCE], self.probe))

        async def ask() -> None:
            if device is not None:
                there.extend(await self._words_of(device, linked))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(around)
            nursery.start_soon(look)
            nursery.start_soon(ask)
        ctx = self._look()
        hidden = [one.device for one in probed if one.device is not None and presence.hides(ctx, one.device)]
        if hidden or (device is not None and presence.hides(ctx, device)):
            probed = [Probed(one.address, one.reason or "port_closed") for one in probed]
            linked, there, device = [], [], None
        met = next((one for one in probed if not one.reason), None)
        if device is None and met is not None:  # an address that nobody is remembered at
            link = _visible(ctx, met.device) if met.device is not None else None
            linked = [link] if link is not None else []
        own = here[0]
        whose = device or (met.device if met is not None else None)
        best = met or (probed[0] if probed else None)
        near = best is not None and self._near(ctx, best.address.host)
        alone = None
        if best is not None and best.reason == "host_down" and near and not there:
            routers = await self._routers()
            alone = await self.alone(ctx, routers, best.address.host)
        return Case(
            name=name,
            account=account,
            device=device,
            linked=linked[0] if linked else None,
            probed=tuple(probed),
            through="" if not there else there[0][0],
            findings=there[0][1] if there else (met.findings if met is not None else None),
            near=near,
            sighted=not hidden and self._sighted(whose, best.address if best is not None else None),
            alone=alone,
            elsewhere=self._elsewhere(own, best.address.host if best is not None else ""),
            own=own,
            now_ms=self._clock().wall_ms,
            foreign=self.foreign.at(best.address.host, best.address.port) if best is not None else "",
            heir=self._heir(ctx, account),
        )

    def _heir(self, ctx: Context, account: AccountId | None) -> str:
        """Who uses the name of somebody now who was last seen before that one came; empty if nobody."""
        before = ctx.cache.trust.get(account) if account is not None else None
        if (
            before is None
            or account is None
            or any(link.account == account for link in ctx.live.links.values())
        ):
            return ""
        for other in names.called(ctx, names.fold(people.name(ctx, account))):
            after = ctx.cache.trust.get(other)
            if other not in (account, ctx.me.account) and after is not None:
                if after.first_seen_ms >= before.last_seen_ms and after.successor_of != account:
                    return names.shown(ctx, other)
        return ""

    async def _words_of(self, device: DeviceId, linked: list[Link]) -> list[tuple[str, Findings]]:
        """What the machine itself says: on its link, or through one of those we are linked to."""
        ctx = self._look()
        ways = [("itself", link) for link in linked]
        if not ways:
            ways = [(names.shown(ctx, link.account), link) for link in self._links(ctx)[:ASKED]]
        found: list[tuple[str, Findings]] = []

        async def ask(name: str, link: Link) -> None:
            said = await self.consult(link, device)
            if said is not None:
                found.append((name, said))

        async with trio.open_nursery() as nursery:
            for name, link in ways:
                nursery.start_soon(ask, name, link)
        return sorted(found, key=lambda pair: pair[0])

    def _elsewhere(self, own: Own, host: str) -> str:
        """The interface that is not in use and whose network `host` lies in; empty if none."""
        for left in own.unused:
            if any(_inside(host, one) for one in left.networks):
                return left.name
        return ""


def _visible(ctx: Context, device: DeviceId) -> Link | None:
    """The link to a machine whose person shows himself to us."""
    hidden = presence.shown(ctx, device) == presence.HIDDEN
    return None if hidden else ctx.live.links.get(ctx.live.by_device.get(device, -1))


def _inside(host: str, network: str) -> bool:
    """Whether an address lies in a network; a name lies nowhere."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    net = ipaddress.ip_network(network, strict=False)
    return ip.version == net.version and ip in net
