"""mDNS: the discovery half of the Lan port; the only file that imports zeroconf.

Decides: what is announced and asked, which answers are believed enough to be passed on,
and how much a flood of them may cost. Does not know: who a sighting is (only a handshake
tells), whether to dial it (engine), or how to connect (tcp).

One session is one Zeroconf on one set of addresses. When addresses change, when the
machine wakes, or when a call fails, the session is closed and the next one opened: one
way in and one way out, and no record of the old network outlives it. zeroconf runs in a
thread of its own. Its callbacks only note a name in a bounded table and wake one trio
task. A normal answer holds all records of a name (RFC 6763 section 12.1) and is taken from
the packet itself, since a flooded cache throws fresh records out first; else the cache is
read; only a name with records still missing costs a question.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Callable
from typing import Final

import trio
import zeroconf

# the library exports these at its top without listing them
from zeroconf import (  # type: ignore[attr-defined]
    DNSAddress,
    DNSOutgoing,
    DNSQuestion,
    DNSService,
    DNSText,
)

from p2pchat.net.interfaces import LocalAddress, Scan, SystemNews, Watch, scanner
from p2pchat.net.lan import (
    Announcement,
    DiscoveryState,
    NetworkChanged,
    Notice,
    NoticeBox,
)
from p2pchat.net.reader import MAX_NAMES, Reader
from p2pchat.net.sightings import SERVICE, Facts, Word, label_of
from p2pchat.wire.limits import MAX_ADDRESSES

log = logging.getLogger(__name__)

CLOSE_S: Final = 3.0
"""Goodbye takes 0.25 s; a stuck one must not hold up the daemon's stop."""

TAG_CHECK_S: Final = 30.0
"""How late after midnight UTC the new tag may be; readers accept a day either way."""

ASK_AGAIN_S: Final = (30.0, 600.0)
"""First and longest pause between rounds of questions: doubling, as RFC 6762 section 5.2
asks, but held at 10 minutes, for a switch that joins two halves of an office tells nobody.
Known answers go along, so that nobody answers unless somebody was missed."""

SOMEBODY_S: Final = 12.0
"""In a crowd somebody asks this often, and each the more rarely the larger it is: everybody hears the
answers, and the question of each carries the names of all."""

REFRESH_S: Final = 5.0
"""At most one `refresh` is carried out in this time, however many links return at once."""

AGAIN_S: Final = 2.0
"""So long after the library failed it is started again."""

_QUERY, _PTR, _IN = 0, 12, 1
"""Header flags of a question, record type PTR, class IN (RFC 1035 sections 4.1.1, 3.2)."""

MAX_ASKING: Final = 16
ASK_S: Final = 3.0
"""Names with missing records are asked for by at most 16 threads, each for at most 3 s."""


class MdnsDiscovery:
    """Discovery by multicast DNS on all ordinary interfaces or on the `chosen` ones.

    `chosen` as in `interfaces.usable`. The clocks (seconds) and `scan` are handed in by
    tests. One `discover` at a time.
    """

    def __init__(
        self,
        chosen: tuple[str, ...] = (),
        scan: Scan | None = None,
        wall_s: Callable[[], float] = time.time,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chosen = chosen
        self._scan = scan or scanner(chosen, tunnels=True)
        self._wall_s = wall_s
        self._steady_s = steady_s
        self._state = DiscoveryState(False, (), False, "not started")
        self._session: _Session | None = None
        self._silent = False

    def discovery_state(self) -> DiscoveryState:
        """See lan.Discovery."""
        session = self._session
        if session is None:
            return self._state
        return DiscoveryState(True, self._state.addresses, session.reader.heard_self, "")

    def refresh(self) -> None:
        """See lan.Discovery."""
        if self._session is not None:
            self._session.refresh()

    async def discover(
        self,
        notices: trio.MemorySendChannel[Notice],
        announcement: Announcement | None,
        *,
        silent: bool = False,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See lan.Discovery."""
        if announcement is not None and label_of(f"{announcement.label}.{SERVICE}") != announcement.label:
            raise ValueError(f"{announcement.label!r} is no label of [a-z0-9-]")
        self._silent = silent
        _quieten_zeroconf()
        box = NoticeBox()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.pump, notices)
            task_status.started()
            await self._sessions(None if silent else announcement, box)

    async def _sessions(self, announcement: Announcement | None, box: NoticeBox) -> None:
        """One session after the other, for ever."""
        with SystemNews() as news:
            watch = Watch(self._scan, self._wall_s, self._steady_s, news if news.tells else None)
            await self._sessions_on(watch, announcement, box)

    async def _sessions_on(self, watch: Watch, announcement: Announcement | None, box: NoticeBox) -> None:
        local = await watch.look()
        told: tuple[LocalAddress, ...] | None = None
        while True:
            if local != told:
                told = local
                networks = tuple(f"{address.ip}/{address.prefix}" for address in local)
                box.put(NetworkChanged(tuple(str(address) for address in local), networks))
            neighbours = tuple(address for address in local if not address.tunnel)
            self._state = DiscoveryState(False, tuple(str(a) for a in neighbours), False, "starting")
            trouble = "" if neighbours else self._nothing_usable()
            if not trouble:
                trouble = await self._session_until_change(neighbours, local, announcement, box, watch)
            if trouble:
                if trouble != self._state.trouble:
                    log.info("discovery waits: %s", trouble)
                self._state = DiscoveryState(False, self._state.addresses, False, trouble)
                if neighbours:  # the library or the system failed us: try again in a moment
                    await trio.sleep(AGAIN_S)
                    local = await watch.look()
                else:
                    local = await watch.change(local)
            else:
                local = watch.now
                told = None

    def _nothing_usable(self) -> str:
        if self._chosen:
            return f"no usable address on {', '.join(self._chosen)}"
        return "no network: no interface is up with an address and a carrier"

    async def _session_until_change(
        self,
        neighbours: tuple[LocalAddress, ...],
        local: tuple[LocalAddress, ...],
        announcement: Announcement | None,
        box: NoticeBox,
        watch: Watch,
    ) -> str:
        """Run a session on `neighbours` while all our addresses stay; why it failed, or nothing."""
        session = _Session(neighbours, announcement, box, self._wall_s, silent=self._silent)
        try:
            await session.open()
            self._session = session
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.run, nursery.cancel_scope)
                await watch.change(local)
                nursery.cancel_scope.cancel()
        except (OSError, RuntimeError, zeroconf.Error) as error:
            return f"mDNS does not start on {', '.join(str(a) for a in neighbours)}: {error}"
        finally:
            self._session = None
            with trio.move_on_after(CLOSE_S, shield=True):
                await session.close()
        return session.trouble


class _Session:
    """One Zeroconf on fixed addresses: announces, browses, turns records into notices."""

    def __init__(
        self,
        local: tuple[LocalAddress, ...],
        announcement: Announcement | None,
        box: NoticeBox,
        wall_s: Callable[[], float],
        *,
        silent: bool = False,
    ) -> None:
        own = announcement.label if announcement is not None else None
        self.reader = Reader(local, own, box)
        self.trouble = ""
        self._local = local
        self._announcement = announcement
        self._silent = silent
        self._wall_s = wall_s
        self._zc: zeroconf.Zeroconf | None = None
        self._closed = False
        self._browser: zeroconf.ServiceBrowser | None = None
        self._again = trio.Event()
        self._threads = trio.CapacityLimiter(MAX_ASKING)

    async def open(self) -> None:
        """Open the sockets. OSError or RuntimeError when the system or the network forbids."""
        addresses = _sockets_for(self._local)
        version = zeroconf.IPVersion.V4Only
        if any(address.version == 6 for address in self._local):
            version = zeroconf.IPVersion.All

        def build() -> None:
            zc = zeroconf.Zeroconf(interfaces=addresses, ip_version=version)
            self._zc = zc
            if self._closed:  # cancelled meanwhile: nobody else will close it
                zc.close()

        await trio.to_thread.run_sync(build, abandon_on_cancel=True)

    async def close(self) -> None:
        """Say goodbye and close the sockets."""
        self._closed = True
        zc, browser = self._zc, self._browser

        def finish() -> None:
            if browser is not None:
                browser.cancel()
            if zc is not None:
                zc.close()

        if zc is not None:
            try:
                await trio.to_thread.run_sync(finish, abandon_on_cancel=True)
            except (OSError, RuntimeError, zeroconf.Error) as error:
                log.debug("mDNS did not close cleanly: %s", error)

    def refresh(self) -> None:
        """Ask and announce again soon."""
        self._again.set()

    async def run(self, scope: trio.CancelScope) -> None:
        """Everything a session does until cancelled. Cancels `scope`, with `trouble`, on failure."""
        assert self._zc is not None
        zc = self._zc
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._browse, zc)
                nursery.start_soon(
                    self.reader.run, lambda name: _cached_facts(zc, name), lambda: _cached_names(zc)
                )
                for _ in range(0 if self._silent else MAX_ASKING):
                    nursery.start_soon(self._resolve, zc)
                if self._announcement is not None:
                    nursery.start_soon(self._announce, zc, self._announcement)
        except* (OSError, RuntimeError, zeroconf.Error) as failed:
            # the library gave up, or its loop is stuck: the next session starts afresh
            self.trouble = f"mDNS stopped: {failed.exceptions[0]!r}"
            log.warning("%s", self.trouble)
            scope.cancel()

    async def _announce(self, zc: zeroconf.Zeroconf, announcement: Announcement) -> None:
        """Register, and again with the new tag when the day changes or a refresh asks."""
        tag = self._tag_now(announcement)
        info = _service_info(announcement, tag, self._local)
        # a random label cannot collide, so nothing is probed: 20 ms instead of 1.2 s
        await self._call(lambda: zc.register_service(info, cooperating_responders=True))
        while True:
            await trio.sleep(TAG_CHECK_S)
            if (today := self._tag_now(announcement)) != tag:
                tag = today
                await self._republish(zc, announcement, tag)

    async def _republish(self, zc: zeroconf.Zeroconf, announcement: Announcement, tag: bytes) -> None:
        info = _service_info(announcement, tag, self._local)
        await self._call(lambda: zc.update_service(info))

    def _tag_now(self, announcement: Announcement) -> bytes:
        return announcement.tags_at(int(self._wall_s() * 1000))[0]

    async def _call(self, blocking: Callable[[], None]) -> None:
        await trio.to_thread.run_sync(blocking, abandon_on_cancel=True)

    async def _browse(self, zc: zeroconf.Zeroconf) -> None:
        """Ask who is there, in rounds ever further apart, or at once after a refresh."""

        # the argument names are the library's
        def heard(
            zeroconf: zeroconf.Zeroconf,
            service_type: str,
            name: str,
            state_change: zeroconf.ServiceStateChange,
        ) -> None:
            self.reader.note(name.lower(), "gone" if _is_removal(state_change) else "look")

        def start() -> None:
            # asks at 0, 1, 5 and 14 s, then only for what is about to expire
            self._browser = zeroconf.ServiceBrowser(zc, SERVICE, handlers=[heard])
            if self._closed:  # cancelled meanwhile: nobody else will stop its thread
                self._browser.cancel()

        zc.add_listener(_PacketReader(self.reader.note), None)
        if self._silent:
            await trio.sleep_forever()  # what others say is heard, and nothing is asked
        await self._call(start)
        pause, longest = ASK_AGAIN_S
        while True:
            self._again = trio.Event()
            await trio.sleep(REFRESH_S)
            with trio.move_on_after(patience(pause, len(_cached_names(zc)))):
                await self._again.wait()
            if self._again.is_set() and self._announcement is not None:
                await self._republish(zc, self._announcement, self._tag_now(self._announcement))
            await self._call(lambda: _ask_once(zc))
            pause = ASK_AGAIN_S[0] if self._again.is_set() else min(longest, 2 * pause)

    async def _resolve(self, zc: zeroconf.Zeroconf) -> None:
        """Ask for the records a name came without, one name at a time (MAX_ASKING of these)."""
        while True:
            name = await self.reader.next_incomplete()
            info = zeroconf.ServiceInfo(SERVICE, name)
            answered = await trio.to_thread.run_sync(
                info.request, zc, ASK_S * 1000, abandon_on_cancel=True, limiter=self._threads
            )
            if answered:
                self.reader.tell(name, _facts(info))


class _PacketReader(zeroconf.RecordUpdateListener):
    """Takes the names of which one packet holds everything. Runs in zeroconf's thread."""

    def __init__(self, note: Callable[[str, Word], None]) -> None:
        super().__init__()
        self._note = note

    def async_update_records(
        self, zc: zeroconf.Zeroconf, now: float, records: list[zeroconf.RecordUpdate]
    ) -> None:
        services: dict[str, DNSService] = {}
        texts: dict[str, bytes] = {}
        hosts: dict[str, list[str]] = {}
        for record in (update.new for update in records):
            if record.is_expired(now):
                continue
            if isinstance(record, DNSAddress):
                hosts.setdefault(record.key, []).append(_literal(record))
            elif isinstance(record, DNSService) and record.key.endswith(SERVICE):
                services[record.key] = record
            elif isinstance(record, DNSText):
                texts[record.key] = record.text
        for name, service in services.items():
            if name in texts and service.server_key in hosts:
                heard = tuple(hosts[service.server_key][: 4 * MAX_ADDRESSES])
                self._note(name, Facts(service.port, texts[name], heard))


def _literal(record: DNSAddress) -> str:
    try:
        ip = ipaddress.ip_address(record.address)
    except ValueError:
        return ""  # neither 4 nor 16 bytes: no address of anybody
    return f"{ip}%{record.scope_id}" if record.scope_id and ip.is_link_local else str(ip)


def patience(pause: float, names: int) -> float:
    """Seconds until the next round of questions, with so many names known here."""
    return min(ASK_AGAIN_S[1], max(pause, SOMEBODY_S * names))


def _ask_once(zc: zeroconf.Zeroconf) -> None:
    """Ask everybody who is there, with those we know as answers nobody need repeat.

    After a flood nothing is asked: the question would carry all its names.
    """
    now = zeroconf.current_time_millis()
    known = [r for r in zc.cache.get_all_by_details(SERVICE, _PTR, _IN) if not r.is_stale(now)]
    if len(known) <= MAX_NAMES:
        question = DNSOutgoing(_QUERY)
        question.add_question(DNSQuestion(SERVICE, _PTR, _IN))
        for record in known:
            question.add_answer_at_time(record, now)
        zc.send(question)


def _cached_facts(zc: zeroconf.Zeroconf, name: str) -> Facts | None:
    info = zeroconf.ServiceInfo(SERVICE, name)
    complete = info.load_from_cache(zc) and info.port is not None
    return _facts(info) if complete else None


def _facts(info: zeroconf.ServiceInfo) -> Facts:
    return Facts(info.port, info.text, tuple(info.parsed_scoped_addresses()))


def _is_removal(change: zeroconf.ServiceStateChange) -> bool:
    return change is zeroconf.ServiceStateChange.Removed


def _cached_names(zc: zeroconf.Zeroconf) -> list[str]:
    aliases = (getattr(record, "alias", None) for record in zc.cache.entries_with_name(SERVICE))
    return [alias for alias in aliases if isinstance(alias, str)]


def _sockets_for(local: tuple[LocalAddress, ...]) -> list[str | int]:
    """What zeroconf binds: each IPv4 address, and each interface with IPv6 by its index.

    IPv6 loopback cannot carry multicast, and one socket per interface is enough.
    """
    indexes = {a.index: None for a in local if a.version == 6 and not a.loopback}
    return [*(a.ip for a in local if a.version == 4), *indexes]


def _service_info(
    announcement: Announcement, tag: bytes, local: tuple[LocalAddress, ...]
) -> zeroconf.ServiceInfo:
    name = f"{announcement.label}.{SERVICE}"
    return zeroconf.ServiceInfo(
        SERVICE,
        name,
        port=announcement.port,
        properties={"v": str(announcement.version), "o": tag.hex()},
        server=name,  # never the host name
        parsed_addresses=[a.ip for a in local if not (a.version == 6 and a.loopback)][:MAX_ADDRESSES],
    )


class _Demoted(logging.Filter):
    """Turns every remark of the library into a debug remark: its warnings are our weather."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return logging.getLogger().isEnabledFor(logging.DEBUG)


def _quieten_zeroconf() -> None:
    library = logging.getLogger("zeroconf")
    if not any(isinstance(f, _Demoted) for f in library.filters):
        library.addFilter(_Demoted())
