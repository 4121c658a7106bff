"""The same contract on the fake LAN (virtual time) and on real TCP and mDNS over loopback."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest
import trio

from p2pchat.net.lan import JoinedLan, Lan
from p2pchat.net.mdns import MdnsDiscovery
from p2pchat.net.tcp import TcpTransport
from tests.kit.contract import CONTRACT, Pair
from tests.kit.fake_lan import FakeLan

Law = Callable[[Pair], Awaitable[None]]


@pytest.mark.parametrize("law", CONTRACT, ids=lambda law: law.__name__)
async def test_fake_lan(law: Law, autojump_clock: trio.testing.MockClock) -> None:
    hub = FakeLan(random.Random(1), jitter_s=0.002)
    await law(Pair(hub.host("alice", "10.0.0.1"), hub.host("bob", "10.0.0.2"), "10.0.0.2", 5))


def _machine(address: str) -> Lan:
    return JoinedLan(TcpTransport((address,)), MdnsDiscovery((address,)))


@pytest.mark.parametrize("law", CONTRACT, ids=lambda law: law.__name__)
async def test_real_lan(law: Law) -> None:
    await law(Pair(_machine("127.0.0.1"), _machine("127.0.0.2"), "127.0.0.2", 15))
