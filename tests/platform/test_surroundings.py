"""What this system says of routers, neighbours and firewalls, and that it may say nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from p2pchat.platform import surroundings
from tests.kit.hosts import ROOT
from tests.kit.needs import needs_netns, needs_tool
from tests.kit.netns import Host, Network
from tests.kit.routed import doubting, filtered

ROUTE = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\tFE004D0A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t00004D0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""


def test_routers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "ROUTES", tmp_path / "route")
    (tmp_path / "route").write_text(ROUTE)
    assert surroundings.routers() == ("10.77.0.254",)
    (tmp_path / "route").unlink()
    assert surroundings.routers() == (), "another system, or it does not tell"


@needs_netns
@needs_tool("nft")
def test_who_is_there_whatever_his_firewall_says() -> None:
    """Three machines on a switch, one says nothing to anybody; one is pulled out, and the kernel takes
    its time to believe it, here less than usual."""
    code = (
        "from p2pchat.platform import surroundings as s; import sys;"
        " print(s.answers(sys.argv[1]), s.sweep('10.77.0.1/29'))"
    )

    def ask(host: Host, of: str) -> str:
        return host.run(sys.executable, "-c", code, of, cwd=ROOT, check=True).stdout.strip()

    with Network(3) as net:
        ann, bob, cyn = net.hosts
        doubting(ann)
        with filtered(cyn, "input", "meta l4proto { tcp, udp } drop"):
            assert ask(ann, cyn.ip).startswith("True")
        assert ask(ann, bob.ip) == f"True ('{bob.ip}', '{cyn.ip}')"
        assert ask(ann, bob.ip6).startswith("True")
        bob.unplug()
        assert ask(ann, bob.ip) == f"False ('{cyn.ip}',)"
        assert ask(ann, f"{bob.link_local}%eth0").startswith("False")


def test_only_ipv4_is_swept() -> None:
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
