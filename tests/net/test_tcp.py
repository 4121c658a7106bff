"""Real sockets: both protocols, chosen interfaces, and the words for what went wrong."""

from __future__ import annotations

import errno
import socket
import sys

import pytest
import trio
import trio.testing

from p2pchat.errors import DialError, SettingsError
from p2pchat.net import tcp
from p2pchat.net.interfaces import LocalAddress, can_bind
from p2pchat.net.lan import PORTS, Address, Listening, Serve, Stream
from p2pchat.net.tcp import TcpTransport


async def greet(stream: Stream, caller: Address) -> None:
    await stream.send_all(str(caller).encode())


HAS_IPV6 = can_bind(LocalAddress("lo", 1, "::1", 128))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", *(["::1"] if HAS_IPV6 else [])])
async def test_one_port_for_ipv4_and_ipv6(host: str) -> None:
    lan = TcpTransport()
    async with trio.open_nursery() as nursery:
        listening: Listening = await nursery.start(lan.listen, 0, greet)
        assert listening.addresses[0] == Address("0.0.0.0", listening.port)
        assert not HAS_IPV6 or listening.addresses[1] == Address("::", listening.port)
        stream = await lan.dial(host, listening.port)
        assert stream.stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        local = stream.stream.socket.getsockname()
        assert await stream.receive_some() == str(Address(local[0], local[1])).encode()
        await stream.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.skipif(sys.platform != "linux", reason="SO_RCVLOWAT with its care for full buffers is Linux's")
async def test_lumps_are_waited_for_and_an_end_is_not() -> None:
    """Fewer bytes than are worth waking up for wake nobody; the end of the stream does, with what is left."""
    lan = TcpTransport()
    go = trio.Event()

    async def speak(stream: Stream, _: Address) -> None:
        await stream.send_all(bytes(1000))
        await go.wait()
        await stream.send_all(bytes(1000))
        await stream.send_eof()

    async with trio.open_nursery() as nursery:
        listening: Listening = await nursery.start(lan.listen, 0, speak)
        stream = await lan.dial("127.0.0.1", listening.port)
        buffer = memoryview(bytearray(4096))
        assert await stream.receive_into(buffer) == 1000
        got = 0

        async def hear() -> None:
            nonlocal got
            got = await stream.receive_into(buffer, 4096)

        async with trio.open_nursery() as hearing:
            hearing.start_soon(hear)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert got == 0
            go.set()
        assert got == 1000
        assert await stream.receive_into(buffer) == 0
        await stream.aclose()
        nursery.cancel_scope.cancel()


async def test_a_scoped_literal_keeps_its_scope() -> None:
    """Where this machine has a link-local address; elsewhere the namespaces of tests/lan do it."""
    for here in TcpTransport()._scan():
        if here.link_local:
            lan = TcpTransport((str(here),))
            async with trio.open_nursery() as nursery:
                listening: Listening = await nursery.start(lan.listen, 0, greet)
                stream = await lan.dial(str(here), listening.port)
                assert stream.remote_address == Address(str(here), listening.port)
                assert (await stream.receive_some()).startswith(f"[{here}]:".encode())
                await stream.aclose()
                nursery.cancel_scope.cancel()
    assert tcp._address(("fe80::1", 5, 0, 1)) == Address("fe80::1%lo", 5)
    assert tcp._address(("fe80::1", 5, 0, 99_999)) == Address("fe80::1%99999", 5)


async def test_only_the_chosen_address_answers() -> None:
    lan = TcpTransport(("127.0.0.2",))
    async with trio.open_nursery() as nursery:
        listening: Listening = await nursery.start(lan.listen, 0, greet)
        assert listening.addresses == (Address("127.0.0.2", listening.port),)
        with pytest.raises(DialError) as refused:
            await lan.dial("127.0.0.1", listening.port)
        assert refused.value.reason == "port_closed"
        nursery.cancel_scope.cancel()


async def test_an_address_that_appears_later_is_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "FOLLOW_S", 0.02)
    local: list[LocalAddress] = []
    lan = TcpTransport(("lo",), scan=lambda: tuple(local))
    async with trio.open_nursery() as nursery:
        listening: Listening = await nursery.start(lan.listen, None, greet)
        assert listening.addresses == ()
        assert listening.port == PORTS[0]
        local += [LocalAddress("lo", 1, "203.0.113.9", 24), LocalAddress("lo", 1, "127.0.0.3", 8)]
        with trio.fail_after(10):
            while not await _answers(lan, Address("127.0.0.3", listening.port)):
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()


async def _answers(lan: TcpTransport, address: Address) -> bool:
    try:
        stream = await lan.dial(address.host, address.port)
    except DialError:
        return False
    await stream.aclose()
    return True


async def test_all_ports_busy_is_said_with_a_way_out() -> None:
    lan = TcpTransport(("127.0.0.4",))
    async with trio.open_nursery() as nursery:
        for _ in PORTS:
            await nursery.start(lan.listen, None, greet)
        with pytest.raises(SettingsError, match=r"26700 to 26709 are all in use.*--port 27700"):
            await lan.listen(None, greet)
        nursery.cancel_scope.cancel()


async def test_silence_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "DIAL_TIMEOUT_S", 0.3)
    # a full backlog: the system drops further SYNs, as a firewall does
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        await trio.sleep(0.05)
        with pytest.raises(DialError) as silent:
            await TcpTransport().dial("127.0.0.1", deaf.getsockname()[1])
        assert silent.value.reason == "timeout"
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ((errno.ECONNREFUSED,), "port_closed"),
        ((errno.EHOSTUNREACH,), "host_down"),
        ((errno.ENETUNREACH,), "unreachable"),
        ((errno.ETIMEDOUT,), "timeout"),
        ((errno.ENETUNREACH, errno.EHOSTUNREACH), "host_down"),
        ((errno.ENETUNREACH, errno.ECONNREFUSED, errno.EHOSTUNREACH), "port_closed"),
        ((), "unreachable"),
    ],
)
def test_of_several_addresses_the_reason_that_says_most_counts(numbers: tuple[int, ...], reason: str) -> None:
    error = OSError("all attempts to connect to bob:26700 failed")
    if numbers:
        error.__cause__ = ExceptionGroup("tried", [OSError(n, "no") for n in numbers])
    assert tcp._explained(error).reason == reason


async def test_what_serve_raises_is_ours_and_not_swallowed() -> None:
    async def broken(stream: Stream, caller: Address) -> None:
        raise KeyError("our bug")

    with pytest.raises(BaseExceptionGroup) as raised:
        await _call_once(broken)
    assert raised.group_contains(KeyError)


async def _call_once(serve: Serve) -> None:
    lan = TcpTransport()
    async with trio.open_nursery() as nursery:
        listening: Listening = await nursery.start(lan.listen, 0, serve)
        stream = await lan.dial("127.0.0.1", listening.port)
        try:
            await trio.sleep_forever()
        finally:
            stream.stream.socket.close()
