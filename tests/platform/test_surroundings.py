"""What this system says of routers, neighbours and firewalls, and that it may say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pchat.platform import surroundings

ROUTE = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\tFE004D0A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t00004D0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""
ARP = """IP address       HW type     Flags       HW address            Mask     Device
10.77.0.254      0x1         0x2         02:00:00:00:00:04     *        eth0
10.77.0.7        0x1         0x0         00:00:00:00:00:00     *        eth0
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "route").write_text(ROUTE)
    (tmp_path / "arp").write_text(ARP)
    monkeypatch.setattr(surroundings, "ROUTES", tmp_path / "route")
    monkeypatch.setattr(surroundings, "ARP", tmp_path / "arp")
    return tmp_path


def test_routers_and_neighbours(told: Path) -> None:
    assert surroundings.routers() == ("10.77.0.254",)
    assert surroundings.neighbours() == {"10.77.0.254": True, "10.77.0.7": False}


def test_a_system_that_says_nothing_blames_nobody(told: Path) -> None:
    (told / "route").unlink()
    (told / "arp").unlink()
    assert surroundings.routers() == ()
    assert surroundings.neighbours() == {}
    assert surroundings.sweep("10.77.0.1/24") == ()


def test_only_ipv4_is_swept(told: Path) -> None:
    assert surroundings.sweep("fd77::1/64") == ()


@pytest.mark.parametrize(
    ("tools", "word"),
    [
        (("ufw", "nft"), "ufw allow 26701/tcp"),
        (("firewall-cmd", "nft"), "--add-port=26701/tcp"),
        (("nft",), "nft list ruleset"),
        (("iptables",), "--dport 26701"),
        (("netsh",), "localport=26701"),
        (("socketfilterfw",), "Firewall"),
        ((), "open TCP 26701"),
    ],
)
def test_the_remedy_fits_the_system(tools: tuple[str, ...], word: str) -> None:
    assert word in surroundings.remedy(tools, 26701)
    assert "outgoing" in surroundings.remedy(tools, 26701, outgoing=True)
