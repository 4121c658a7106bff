"""The network of namespaces: cables carry, come out and go back, and nothing stays behind."""

from __future__ import annotations

from tests.kit.needs import needs_netns
from tests.kit.netns import CROWD, Host, Network, ip

pytestmark = needs_netns

CALL = "import socket,sys; socket.create_connection((sys.argv[1], 9), float(sys.argv[2]))"


def reaches(here: Host, there: str, within_s: float = 5.0) -> bool:
    """Does a packet get there and back? A refused connection is an answer."""
    done = here.run("python3", "-c", CALL, there, str(within_s))
    return "ConnectionRefusedError" in done.stderr


def is_cut_off(here: Host, there: str) -> bool:
    """Nothing comes back, for a while at least."""
    return not reaches(here, there, within_s=0.3)


def test_machines_reach_each_other_and_nothing_else() -> None:
    with Network(2) as net:
        alice, bob = net.hosts
        assert reaches(alice, bob.ip)
        assert reaches(bob, alice.ip6)
        assert "default" not in alice.run("ip", "route").stdout


def test_a_pulled_cable_is_seen_and_put_back() -> None:
    with Network(2) as net:
        alice, bob = net.hosts
        bob.unplug()
        assert "NO-CARRIER" in bob.run("ip", "link", "show", "eth0").stdout
        assert is_cut_off(alice, bob.ip)
        bob.plug()
        assert reaches(alice, bob.ip)


def test_a_network_that_comes_late() -> None:
    with Network(2, plugged=False) as net:
        alice, bob = net.hosts
        assert is_cut_off(alice, bob.ip)
        alice.plug()
        bob.plug()
        assert reaches(alice, bob.ip)


def test_a_split_network_keeps_its_carriers() -> None:
    with Network(3) as net:
        alice, bob, carol = net.hosts
        net.split([alice], [bob, carol])
        assert is_cut_off(alice, bob.ip)
        assert reaches(bob, carol.ip)
        assert "NO-CARRIER" not in bob.run("ip", "link", "show", "eth0").stdout
        net.join()
        assert reaches(alice, bob.ip)


def test_a_network_of_one_protocol_and_a_machine_with_two_interfaces() -> None:
    with Network(2, ipv4=False) as net:
        alice, bob = net.hosts
        assert reaches(alice, bob.ip6)
        assert "10.77" not in alice.run("ip", "address").stdout
    with Network(2, ipv6=False) as net:
        alice, bob = net.hosts
        for host, address in ((alice, "10.78.0.1"), (bob, "10.78.0.2")):
            host.attach("eth1", 1, f"{address}/24")
        assert "inet6" not in alice.run("ip", "address").stdout
        alice.unplug()
        assert reaches(bob, "10.78.0.1")
        alice.unplug("eth1")
        assert is_cut_off(bob, "10.78.0.1")


def test_in_a_crowd_everybody_reaches_everybody_by_every_address() -> None:
    with Network(CROWD) as net:
        alice, *_, last = net.hosts
        for address in (last.ip, last.ip6, f"{last.link_local}%eth0"):
            assert reaches(alice, address)
        assert alice.run("ip", "neighbour", "show", "nud", "permanent").stdout.count("eth0") >= 3 * (
            CROWD - 1
        )


def test_nothing_stays_behind() -> None:
    net = Network(1)
    with net:
        process = net.hosts[0].popen("sleep", "100")
        while process.pid not in net.hosts[0].pids():
            assert process.poll() is None
    assert process.wait(1) != 0
    assert net.name not in ip("netns", "list")
    net.close()
