"""Real TCP: the transport half of the Lan port.

Decides: which sockets listen, which port they get, how a connection is opened and what
the system's error numbers mean to a person. Does not know: frames, handshakes, limits
on half-open links (daemon) or how the other side's address was learnt.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import trio

from p2pchat.errors import DialError, DialReason, SettingsError
from p2pchat.net.interfaces import LocalAddress, Scan, scanner
from p2pchat.net.lan import DIAL_TIMEOUT_S, PORTS, Address, Listening, Serve

log = logging.getLogger(__name__)

BACKLOG: Final = 128
"""Connections the system holds for us while the loop is busy: an office coming back at once."""

READ_BYTES: Final = 64 * 1024
"""Read at once where nobody says how much."""

FOLLOW_S: Final = 2.0
"""How often chosen interfaces are looked at for new addresses; a scan costs 0.4 ms."""

NEXT_ADDRESS_S: Final = 0.25
"""Head start of each address of a name before the next is tried too (RFC 8305 section 5)."""

_REASONS: Final[dict[int, DialReason]] = {
    errno.ECONNREFUSED: "port_closed",
    errno.ECONNRESET: "port_closed",
    errno.EHOSTUNREACH: "host_down",
    errno.EHOSTDOWN: "host_down",
    errno.ETIMEDOUT: "timeout",
}
"""What connect(2) says, as a DialReason; anything else is this machine's: `unreachable`."""

_BEST: Final[tuple[DialReason, ...]] = ("port_closed", "timeout", "host_down", "unreachable")
"""Of several addresses of a name the reason that says most about the other machine counts."""

_NOT_HERE: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
"""No such protocol in this kernel, or an address that left since the scan: done without."""


@dataclass(frozen=True, slots=True)
class TcpStream:
    """A TCP connection as a lan.Stream."""

    stream: trio.SocketStream
    remote_address: Address
    _least: list[int] = field(default_factory=lambda: [1], init=False, repr=False, compare=False)
    """What the system was told last."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See lan.Stream."""
        await self.stream.send_all(data)

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """See lan.Stream. Trio has no such call, so the descriptor is written to; it does not block."""
        number = self.stream.socket.fileno()
        if sys.platform == "win32" or number < 0:
            return 0
        try:
            return os.write(number, data)
        except OSError as error:
            log.debug("nothing sent at once: %s", error)  # send_all waits, or says what is wrong
            return 0

    async def send_eof(self) -> None:
        """See lan.Stream."""
        await self.stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See lan.Stream. It waits first: trio tries before, in vain after nearly every message, and
        its layers cost more than the read."""
        number = self.stream.socket.fileno()
        if sys.platform == "win32" or number < 0:
            return await self.stream.receive_some(max_bytes)
        while True:
            await trio.lowlevel.wait_readable(number)
            if self.stream.socket.fileno() != number:  # its number may be another's by now
                raise trio.ClosedResourceError("this stream was closed here")
            try:
                return os.read(number, READ_BYTES if max_bytes is None else max_bytes)
            except BlockingIOError:
                continue  # the system was mistaken, as it may be
            except OSError as error:
                raise trio.BrokenResourceError(f"the connection broke: {error}") from error

    async def receive_into(self, into: memoryview, least: int = 1) -> int:
        """See lan.Stream. Linux wakes us all the same where its buffer holds no more (tcp(7), SO_RCVLOWAT);
        that others do is not known."""
        try:
            if sys.platform == "linux" and least != self._least[0]:
                self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
                self._least[0] = least
            return await self.stream.socket.recv_into(into)
        except OSError as error:
            if self.stream.socket.fileno() < 0:
                raise trio.ClosedResourceError("closed here") from error
            raise trio.BrokenResourceError(str(error)) from error

    async def aclose(self) -> None:
        """See lan.Stream."""
        await self.stream.aclose()


class TcpTransport:
    """Listens on all interfaces, or only on the chosen ones, and dials.

    `chosen` as in `interfaces.usable`; `scan` replaces the reading of this machine's
    addresses in tests. On chosen interfaces an address that appears later is taken on
    within FOLLOW_S; one that goes keeps its idle socket, which works again on its return.
    """

    def __init__(self, chosen: tuple[str, ...] = (), scan: Scan | None = None) -> None:
        self._chosen = chosen
        self._scan = scan or scanner(chosen)

    async def listen(
        self,
        port: int | None,
        serve: Serve,
        *,
        task_status: trio.TaskStatus[Listening] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See lan.Transport."""
        if port is not None and not 0 <= port <= 65535:
            raise SettingsError(f"port {port} is not a port; choose one from 1024 to 65535")
        local = await self._local() if self._chosen else None
        bound, number = _bind_first(port, local)
        try:
            async with trio.open_nursery() as nursery:
                for ear in bound.values():
                    nursery.start_soon(_accept, ear, serve, nursery)
                task_status.started(Listening(number, tuple(bound)))
                if local is not None:
                    await self._follow(bound, number, serve, nursery)
        finally:
            for ear in bound.values():
                ear.socket.close()

    async def _local(self) -> tuple[LocalAddress, ...]:
        try:
            return await trio.to_thread.run_sync(self._scan, abandon_on_cancel=True)
        except OSError as error:
            log.warning("the system does not tell its addresses: %s", error)
            return ()

    async def _follow(
        self, bound: dict[Address, trio.SocketListener], port: int, serve: Serve, nursery: trio.Nursery
    ) -> None:
        while True:
            await trio.sleep(FOLLOW_S)
            for here in await self._local():
                address = Address(str(here), port)
                if address in bound:
                    continue
                try:
                    ear, _ = _bind(here, port)
                except OSError as error:
                    log.warning("not listening on %s: %s", address, error)
                    continue
                bound[address] = ear
                nursery.start_soon(_accept, ear, serve, nursery)

    async def dial(self, host: str, port: int) -> TcpStream:
        """See lan.Transport."""
        if not 1 <= port <= 65535 or not host or "\0" in host:
            raise DialError("name", f"{host!r} port {port} is no address")
        with trio.move_on_after(DIAL_TIMEOUT_S):
            try:
                stream = await trio.open_tcp_stream(host, port, happy_eyeballs_delay=NEXT_ADDRESS_S)
            except (socket.gaierror, UnicodeError) as error:
                raise DialError("name", f"{host!r}: {error}") from error
            except OSError as error:
                raise _explained(error) from error
            try:
                return _tuned(stream)
            except OSError as error:  # reset between connect and our first question
                stream.socket.close()
                raise _explained(error) from error
        raise DialError("timeout", f"no answer from {Address(host, port)} within {DIAL_TIMEOUT_S:.0f} s")


async def _accept(ear: trio.SocketListener, serve: Serve, nursery: trio.Nursery) -> None:
    async def take(stream: trio.SocketStream) -> None:
        try:
            tuned = _tuned(stream)
        except OSError as error:
            log.debug("a caller was gone before it was asked who it is: %s", error)
            await stream.aclose()
            return
        try:
            await serve(tuned, tuned.remote_address)
        finally:
            stream.socket.close()

    await trio.serve_listeners(take, [ear], handler_nursery=nursery)


def _tuned(stream: trio.SocketStream) -> TcpStream:
    """Small messages leave at once; trio sets TCP_NODELAY by itself, and this says so."""
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return TcpStream(stream, _address(stream.socket.getpeername()))


def _address(name: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    host = name[0].partition("%")[0]
    if len(name) == 4 and name[3]:
        try:
            return Address(f"{host}%{socket.if_indextoname(name[3])}", name[1])
        except OSError:
            return Address(f"{host}%{name[3]}", name[1])
    return Address(host, name[1])


def _bind_first(
    port: int | None, local: tuple[LocalAddress, ...] | None
) -> tuple[dict[Address, trio.SocketListener], int]:
    """Listeners on one port: the wildcards if `local` is None, else each address of it."""
    # a free IPv4 port given for 0 may be taken on IPv6, so that is tried again
    for candidate in PORTS if port is None else (port,) * (1 if port else 8):
        try:
            return _bind_all(candidate, local)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                if not port:
                    continue
                raise SettingsError(
                    f"port {port} is in use by another program; name another with --port, "
                    "or leave --port out and a free one is found"
                ) from error
            if error.errno in (errno.EACCES, errno.EPERM):
                raise SettingsError(
                    f"port {candidate} is not allowed for this user; choose one from 1024 to 65535"
                ) from error
            raise SettingsError(f"cannot listen on port {candidate}: {error}") from error
    raise SettingsError(
        f"ports {PORTS[0]} to {PORTS[-1]} are all in use; name a free one with --port, such as --port 27700"
    )


def _bind_all(
    port: int, local: tuple[LocalAddress, ...] | None
) -> tuple[dict[Address, trio.SocketListener], int]:
    bound: dict[Address, trio.SocketListener] = {}
    wildcards = (LocalAddress("", 0, "0.0.0.0", 0), LocalAddress("", 0, "::", 0))  # noqa: S104 the task
    try:
        for here in wildcards if local is None else local:
            try:
                ear, port = _bind(here, port)
            except OSError as error:
                if error.errno in _NOT_HERE:
                    continue
                raise
            bound[Address(str(here), port)] = ear
    except OSError:
        for ear in bound.values():
            ear.socket.close()
        raise
    if local is None and not bound:
        raise OSError(errno.EAFNOSUPPORT, "neither IPv4 nor IPv6 here")
    return bound, port


def _bind(here: LocalAddress, port: int) -> tuple[trio.SocketListener, int]:
    v6 = here.version == 6
    sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            # there SO_REUSEADDR would let another program take our port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((here.ip, port, 0, here.index if here.link_local else 0))
        else:
            sock.bind((here.ip, port))
        sock.listen(BACKLOG)
        number: int = sock.getsockname()[1]
        return trio.SocketListener(trio.socket.from_stdlib_socket(sock)), number
    except OSError:
        sock.close()
        raise


def _explained(error: OSError) -> DialError:
    """The one reason, of all addresses tried, that tells most."""
    found: dict[DialReason, OSError] = {}
    for leaf in _leaves(error):
        found.setdefault(_REASONS.get(leaf.errno or 0, "unreachable"), leaf)
    for reason in _BEST:
        if reason in found:
            return DialError(reason, str(found[reason]))
    return DialError("unreachable", str(error))


def _leaves(error: BaseException) -> Iterator[OSError]:
    """The system's own errors under what trio's happy eyeballs raise."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    elif isinstance(error.__cause__, BaseException):
        yield from _leaves(error.__cause__)
    elif isinstance(error, OSError):
        yield error
