"""Which addresses count: by flags and by binding, never by name."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import trio

from p2pchat.net import interfaces
from p2pchat.net.interfaces import (
    IFF_LOOPBACK,
    IFF_POINTOPOINT,
    IFF_RUNNING,
    IFF_UP,
    POLL_S,
    SETTLE_S,
    Adapter,
    LocalAddress,
    SystemNews,
    Watch,
    can_bind,
    judged,
    on_link,
    scanner,
    system_adapters,
    usable,
)
from tests.kit.needs import needs_netns
from tests.kit.netns import Network

UP = IFF_UP | IFF_RUNNING
LO = Adapter("lo", 1, UP | IFF_LOOPBACK, (("127.0.0.1", 8), ("::1", 128)))
ETH = Adapter("eth0", 2, UP, (("fe80::2", 64), ("fd00::2", 64), ("192.168.1.2", 24)))
TUNNEL = Adapter("eth7", 3, UP | IFF_POINTOPOINT, (("10.8.0.1", 24),))
UNPLUGGED = Adapter("eth1", 4, IFF_UP, (("192.168.2.2", 24),))
BRIDGE = Adapter("docker0", 5, UP, (("172.17.0.1", 16),))
ALL = (LO, TUNNEL, UNPLUGGED, BRIDGE, ETH)


def texts(*wanted: str) -> list[str]:
    return [str(a) for a in usable(ALL, wanted, lambda a: True)]


def test_ordinary_interfaces_ipv4_first_link_local_last() -> None:
    assert texts() == ["192.168.1.2", "172.17.0.1", "fd00::2", "fe80::2%eth0"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("eth0", ["192.168.1.2", "fd00::2", "fe80::2%eth0"]),
        ("192.168.1.2", ["192.168.1.2"]),
        ("fe80::2%eth0", ["fe80::2%eth0"]),
        ("lo", ["127.0.0.1", "::1"]),
        ("127.0.0.1", ["127.0.0.1"]),
        ("127.0.0.9", ["127.0.0.9"]),
        ("eth7", ["10.8.0.1"]),
        ("eth1", []),
        ("eth99", []),
    ],
)
def test_what_is_asked_for_is_taken_whatever_its_kind(wanted: str, expected: list[str]) -> None:
    assert texts(wanted) == expected


def test_an_address_that_cannot_be_bound_waits() -> None:
    assert [str(a) for a in usable((ETH,), (), lambda a: not a.link_local)] == ["192.168.1.2", "fd00::2"]


def test_a_system_without_flags_is_judged_by_addresses() -> None:
    plain = [Adapter(a.name, a.index, None, a.ips) for a in (LO, ETH)]
    assert "127.0.0.1" not in [str(a) for a in usable(plain, (), lambda a: True)]


LOCAL = usable((ETH,), (), lambda a: True)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.168.1.77", "192.168.1.77"),
        ("192.168.2.77", None),
        ("8.8.8.8", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("224.0.0.251", None),
        ("0.0.0.0", None),
        ("fd00::77", "fd00::77"),
        ("fd01::77", None),
        ("::ffff:192.168.1.77", None),
        ("fe80::77", "fe80::77%eth0"),
        ("fe80::77%2", "fe80::77%eth0"),
        ("fe80::77%9", None),
        ("bob", None),
    ],
)
def test_only_the_own_link_may_be_dialled_on_a_strangers_word(host: str, expected: str | None) -> None:
    assert on_link(host, LOCAL) == expected


def test_a_link_local_address_without_scope_is_ambiguous_with_two_interfaces() -> None:
    both = usable((ETH, Adapter("eth2", 6, UP, (("fe80::6", 64),))), (), lambda a: True)
    assert on_link("fe80::77", both) is None
    assert on_link("fe80::77%6", both) == "fe80::77%eth2"


def test_this_machine() -> None:
    assert any(a.flags is None or a.flags & IFF_LOOPBACK for a in system_adapters())
    assert [str(a) for a in scanner(("127.0.0.1",))()] == ["127.0.0.1"]
    assert not any(a.loopback for a in scanner()())
    assert can_bind(LocalAddress("lo", 1, "127.0.0.1", 8))
    assert not can_bind(LocalAddress("lo", 1, "203.0.113.1", 24))


LESS = LOCAL[:1]


@pytest.mark.parametrize(
    ("looks", "becomes"),
    [
        ([LOCAL, (), ()], ()),
        ([LESS, (), LESS, LESS], LESS),
        ([LOCAL, (), LOCAL, LOCAL], LOCAL),
    ],
    ids=["gone", "settles", "flapped back, so what was heard meanwhile is unknown"],
)
async def test_a_change_counts_once_two_looks_agree(
    looks: list[tuple[LocalAddress, ...]],
    becomes: tuple[LocalAddress, ...],
    autojump_clock: trio.testing.MockClock,
) -> None:
    coming = iter(looks)
    watch = Watch(lambda: next(coming), trio.current_time, trio.current_time)
    assert await watch.change(LOCAL) == becomes
    assert next(coming, None) is None


async def test_waking_up_counts_as_a_change(autojump_clock: trio.testing.MockClock) -> None:
    woken_s = trio.current_time() + 60
    watch = Watch(
        lambda: LOCAL,
        lambda: trio.current_time() + (3600 if trio.current_time() > woken_s else 0),
        trio.current_time,
    )
    assert await watch.change(LOCAL) == LOCAL
    assert 60 < trio.current_time() - (woken_s - 60) <= 60 + POLL_S + 2 * SETTLE_S


async def test_a_system_that_does_not_say_is_asked_again(autojump_clock: trio.testing.MockClock) -> None:
    answers = iter([LOCAL, None, (), ()])

    def scan() -> tuple[LocalAddress, ...]:
        answer = next(answers)
        if answer is None:
            raise OSError("out of file descriptors")
        return answer

    assert await Watch(scan, trio.current_time, trio.current_time).change(LOCAL) == ()


class Told:
    """News at these times."""

    def __init__(self, *times: float) -> None:
        self._times = [trio.current_time() + at for at in times]

    async def wait(self) -> None:
        if not self._times:
            await trio.sleep_forever()
        await trio.sleep_until(self._times.pop(0))


async def test_news_is_looked_at_at_once(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    moved = began + 3

    def scan() -> tuple[LocalAddress, ...]:
        return LOCAL if autojump_clock.current_time() < moved else LESS

    watch = Watch(scan, trio.current_time, trio.current_time, Told(1, 3))
    assert await watch.change(LOCAL) == LESS
    assert 3 <= trio.current_time() - began <= 3 + 2 * SETTLE_S


async def test_news_of_what_is_not_complete_yet_is_looked_at_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()
    moved = began + 3 + SETTLE_S / 2

    def scan() -> tuple[LocalAddress, ...]:
        return LOCAL if autojump_clock.current_time() < moved else LESS

    watch = Watch(scan, trio.current_time, trio.current_time, Told(3))
    assert await watch.change(LOCAL) == LESS
    assert trio.current_time() - began <= 3 + 2 * SETTLE_S


async def test_without_news_it_is_looked_at_all_the_same(autojump_clock: trio.testing.MockClock) -> None:
    began, looks = trio.current_time(), 0

    def scan() -> tuple[LocalAddress, ...]:
        nonlocal looks
        looks += 1
        return LOCAL if autojump_clock.current_time() < began + 35 else ()

    assert await Watch(scan, trio.current_time, trio.current_time, Told()).change(LOCAL) == ()
    assert 40 <= trio.current_time() - began <= 40 + 2 * SETTLE_S
    assert looks == 5


async def test_a_storm_of_news_is_not_a_storm_of_looks(autojump_clock: trio.testing.MockClock) -> None:
    began, looks = trio.current_time(), 0

    def scan() -> tuple[LocalAddress, ...]:
        nonlocal looks
        looks += 1
        return LOCAL if autojump_clock.current_time() < began + 9 else ()

    watch = Watch(scan, trio.current_time, trio.current_time, Told(*(n / 100 for n in range(1000))))
    assert await watch.change(LOCAL) == ()
    assert trio.current_time() - began <= 9 + 3 * SETTLE_S
    assert 10 < looks <= 2 * 9 / SETTLE_S + 6


WATCHES = """
import sys, time, trio
from p2pchat.net.interfaces import SystemNews, Watch, scanner

async def main():
    with SystemNews() as news:
        watch = Watch(scanner(), time.time, time.monotonic, news)
        local = await watch.look()
        while True:
            print(*local, flush=True)
            local = await watch.change(local)

trio.run(main)
"""


@needs_netns
def test_the_system_tells_of_links_and_addresses() -> None:
    """On a machine of its own: long before it would be time for a look."""
    with Network(1) as network:
        (host,) = network.hosts
        with host.popen(sys.executable, "-c", WATCHES, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            assert watching.stdout.readline().split()[0] == host.ip
            time.sleep(1)  # what making the machine told must not answer for what comes
            began = time.monotonic()
            host.address("add", "10.77.9.9/16")
            assert "10.77.9.9" in watching.stdout.readline()
            host.unplug()
            assert watching.stdout.readline() == "\n"
            host.plug()
            assert "10.77.9.9" in watching.stdout.readline()
            took = time.monotonic() - began
            watching.kill()
    assert took < POLL_S - 2, "each was noticed by its news"


async def test_a_system_that_tells_nothing_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interfaces, "network_news", lambda: None)
    with SystemNews() as news, trio.move_on_after(0.05) as scope:
        assert not news.tells
        await news.wait()
    assert scope.cancelled_caught


async def test_where_nothing_is_told_it_is_looked_at_often_enough(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Peers are to be back within 5 s of the network's return, and are still to be dialled then."""
    began = trio.current_time()
    watch = Watch(
        lambda: LESS if autojump_clock.current_time() < began + 30.1 else LOCAL,
        trio.current_time,
        trio.current_time,
    )
    assert await watch.change(LESS) == LOCAL
    assert trio.current_time() - (began + 30.1) <= 3


def test_a_tunnel_is_told_of_and_carries_no_announcements() -> None:
    adapters = [
        Adapter("eth0", 2, IFF_UP | IFF_RUNNING, (("10.0.0.5", 24), ("fe80::5", 64))),
        Adapter("wg0", 3, IFF_UP | IFF_RUNNING | IFF_POINTOPOINT, (("10.99.0.2", 24), ("fe80::9", 64))),
        Adapter("lo", 1, IFF_UP | IFF_RUNNING | IFF_LOOPBACK, (("127.0.0.1", 8),)),
    ]
    found = usable(adapters, (), lambda _: True, tunnels=True)
    assert [(str(one), one.tunnel) for one in found] == [
        ("10.0.0.5", False),
        ("fe80::5%eth0", False),
        ("10.99.0.2", True),
    ]
    assert [one.interface for one in usable(adapters, (), lambda _: True)] == ["eth0", "eth0"]
    named = usable(adapters, ("wg0",), lambda _: True, tunnels=True)
    assert [(str(one), one.tunnel) for one in named] == [("10.99.0.2", False), ("fe80::9%wg0", False)]


def test_what_is_left_out_and_why() -> None:
    adapters = [
        Adapter("eth0", 2, IFF_UP | IFF_RUNNING, (("10.0.0.5", 24),)),
        Adapter("eth1", 3, IFF_UP | IFF_RUNNING, (("10.1.0.5", 24), ("fe80::6", 64))),
        Adapter("docker0", 4, IFF_UP, (("172.17.0.1", 16),)),
        Adapter("eth2", 5, 0, (("10.2.0.5", 24),)),
        Adapter("wg0", 6, IFF_UP | IFF_RUNNING | IFF_POINTOPOINT, (("10.99.0.2", 24),)),
        Adapter("lo", 1, IFF_UP | IFF_RUNNING | IFF_LOOPBACK, (("127.0.0.1", 8),)),
    ]
    used, left = judged(adapters, (), lambda _: True)
    assert used == ("eth0", "eth1")
    assert {one.name: one.why.partition(":")[0] for one in left} == {
        "docker0": "nothing is plugged in",
        "eth2": "switched off",
        "wg0": "a tunnel",
    }
    used, left = judged(adapters, ("eth0",), lambda _: True)
    assert used == ("eth0",)
    other = next(one for one in left if one.name == "eth1")
    assert (other.why, other.networks) == ("not named by --interface", ("10.1.0.5/24",))
    used, left = judged(adapters, (), lambda address: address.interface != "eth1")
    assert next(one.why for one in left if one.name == "eth1") == "no address that can be used"
