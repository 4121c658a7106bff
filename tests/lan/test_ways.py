"""Ways to find each other: link-local only, chosen interfaces, addresses given or remembered.

What mDNS may say is read back with another implementation of it, Avahi.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path

from tests.kit.avahi import browse
from tests.kit.hosts import Machine, drop, host_of, meet, office, until
from tests.kit.needs import needs_netns, needs_tool

pytestmark = needs_netns

MEET_S = 10.0
QUIET_S = 2.0
"""Two daemons on one switch meet well below a second; who has not after this will not."""


def strangers(one: Machine, other: Machine) -> None:
    """They do not see each other although there is time to."""
    end = time.monotonic() + QUIET_S
    while time.monotonic() < end:
        assert not one.sees(other)
        assert not other.sees(one)
        time.sleep(0.2)


def test_ipv6_link_local_only(tmp_path: Path) -> None:
    with office(2, tmp_path, ipv4=False) as (net, (ann, bob)):
        for host in net.hosts:
            host.address("del", f"{host.ip6}/64")
        ann.up()
        bob.up()
        meet(ann, bob)
        assert ann.send(bob, "no address but my own", "--wait", "delivered")["state"] == "delivered"
        entry = ann.peer(bob)
        assert entry is not None
        assert entry["address"].startswith("[fe80:")


def test_only_the_interfaces_that_were_named(tmp_path: Path) -> None:
    """Ann has a cable in two switches and names one; it comes only after her start."""
    with office(3, tmp_path) as (_, (ann, bob, cyn)):
        host_of(cyn).move(1)
        host = host_of(cyn)
        host.address("del", f"{host.ip}/16")
        host.address("add", "10.78.0.3/16")
        for machine, more in ((ann, ("--interface", "eth1")), (bob, ()), (cyn, ())):
            machine.up(*more)
        assert not ann.sees(bob)
        host_of(ann).attach("eth1", 1, "10.78.0.1/16")
        host_of(ann).run("ip", "route", "add", "224.0.0.0/4", "dev", "eth1", "metric", "5", check=True)
        meet(ann, cyn, timeout_s=MEET_S)
        ann.send(cyn, "on the second cable", "--wait", "delivered")
        strangers(ann, bob)
        ann.down()
        ann.up("--interface", "eth0", "--interface", "eth1")
        meet(ann, bob, timeout_s=MEET_S)
        meet(ann, cyn, timeout_s=MEET_S)
        assert not bob.sees(cyn)


def test_unannounced_but_given_an_address(tmp_path: Path) -> None:
    with office(3, tmp_path) as (_, (ann, bob, cyn)):
        ann.up("--no-announce")
        bob.up("--no-announce")
        cyn.up("--no-announce", "--port", "26705")
        strangers(ann, bob)
        added = ann.p2pchat("peers", "add", host_of(bob).ip)
        assert added["connected"], added
        assert added["peer"]["name"] == bob.name
        assert bob.p2pchat("peers", "add", f"{host_of(cyn).ip}:26705")["connected"]
        nobody = ann.p2pchat("peers", "add", f"{host_of(cyn).ip}:26709")
        assert (nobody["connected"], nobody["reason"]) == (False, "port_closed")
        bob.send(cyn, "by address", "--wait", "delivered")
        bob.send(ann, "by address", "--wait", "delivered")


@needs_tool("nft")
def test_remembered_addresses_where_multicast_is_swallowed(tmp_path: Path) -> None:
    with office(2, tmp_path) as (_, (ann, bob)):
        ann.up()
        bob.up()
        meet(ann, bob)
        with drop(ann, "udp dport 5353"), drop(bob, "udp dport 5353"):
            ann.kill()
            bob.kill()
            ann.up()
            bob.up()
            until(lambda: ann.sees(bob) and bob.sees(ann), MEET_S, "they find each other again")
            bob.send(ann, "still here", "--wait", "delivered")


@needs_tool("avahi-daemon")
@needs_tool("avahi-browse")
@needs_tool("dbus-daemon")
def test_avahi_sees_the_service_and_nothing_personal(tmp_path: Path) -> None:
    with office(3, tmp_path, names=("Annegret-Zwickelbaum", "Bogumil-Querkopf", "-")) as (net, machines):
        ann, bob, _ = machines
        ann.up()
        bob.up()
        meet(ann, bob)
        listing = browse(net.hosts[2], tmp_path / "avahi", "_p2pchat._tcp", services=2)
        found = [line.split(";") for line in listing.splitlines() if line.startswith("=;")]
        # =;interface;protocol;label;type;domain;host;address;port;text
        assert {fields[4] for fields in found} == {"_p2pchat._tcp"}
        labels = {fields[3] for fields in found}
        assert len(labels) == 2
        ports = {one.ask("status")["daemon"]["listen"][0].rpartition(":")[2] for one in (ann, bob)}
        assert {fields[8] for fields in found} == ports
        addresses = {fields[7] for fields in found if fields[2] == "IPv4"}
        assert addresses <= {host_of(ann).ip, host_of(bob).ip}
        for fields in found:
            words = [word.strip('"') for word in fields[9].split()]
            assert {word.partition("=")[0] for word in words} <= {"v", "o"}, words
        personal = [socket.gethostname(), "home", "p2pchat-"]
        for machine in (ann, bob):
            me = machine.me()
            personal += [machine.name, me["account"][:16], me["device"][:16], me["fingerprint"]]
            personal += [peer["room"][:16] for peer in machine.p2pchat("peers")["peers"]]
        said = listing.lower()
        assert [word for word in personal if word.lower() in said.replace("_p2pchat", "")] == []
        first = labels
        ann.kill()
        bob.kill()
        ann.up()
        bob.up()
        meet(ann, bob)
        later = browse(net.hosts[2], tmp_path / "avahi2", "_p2pchat._tcp", services=2)
        again = {line.split(";")[3] for line in later.splitlines() if line.startswith("=;")}
        assert len(again - first) == 2, "a start is known by a new label only"


def test_digits_and_numbers_compared_on_two_machines(tmp_path: Path) -> None:
    with office(2, tmp_path) as (_, (ann, bob)):
        ann.up()
        bob.up()
        meet(ann, bob)
        number = ann.p2pchat("trust", "show", "bob")["safety_number"]
        assert bob.p2pchat("trust", "show", "ann")["safety_number"] == number
        assert len(number.replace(" ", "")) == 60
        digits = _sas(ann, bob)
        wrong = ann.attempt(
            "trust", "verify", "bob", "--sas", "--confirm", f"{(int(digits) + 1) % 10**6:06d}"
        )
        assert wrong.code == 6
        assert wrong.error["kind"] == "key_mismatch"
        assert ann.p2pchat("trust", "show", "bob")["trust"] == "unverified"
        digits = _sas(ann, bob)
        for one, other in ((ann, "bob"), (bob, "ann")):
            shown = one.p2pchat("trust", "verify", other, "--sas", "--confirm", digits)
            assert shown["trust"] == "verified"
        assert (ann.peer(bob) or {})["trust"] == "verified"
        assert bob.p2pchat("trust", "verify", "ann", "--safety-number", number)["trust"] == "verified"


def _sas(ann: Machine, bob: Machine) -> str:
    """Both run `trust verify --sas`; the six digits both show."""
    both = [ann.start("trust", "verify", "bob", "--sas"), bob.start("trust", "verify", "ann", "--sas")]
    said = []
    for process in both:
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, out + err
        said.append(out)
    assert said[0] == said[1]
    digits = said[0].split('"sas"')[1].split('"')[1]
    assert len(digits) == 6
    assert digits.isdigit()
    return digits
