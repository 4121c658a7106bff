"""Being there and not being seen, on real hosts: what others are shown, and what goes over the cable.

What is multicast is read back from the switch, by the addresses it comes from.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from tests.kit.hosts import Machine, host_of, meet, office, until
from tests.kit.needs import needs_netns, needs_tool
from tests.kit.proof import capture

pytestmark = [needs_netns, needs_tool("tcpdump")]

TOLD_S = 3.0
"""A change is told within a millisecond; this is for a machine that is busy with other things."""
SILENT_S = 8.0
"""The library would ask at 0, 1 and 5 s, and the daemon again when addresses change."""


def shows(one: Machine, other: Machine, presence: str) -> None:
    """`one` is shown `other` so before long."""
    until(lambda: (one.peer(other) or {}).get("presence") == presence, TOLD_S, f"{presence} is shown")


def multicast_of(packets: Path, *addresses: str) -> list[str]:
    """What came from there to port 5353, one line a packet."""
    wanted = " or ".join(f"src host {address}" for address in addresses)
    words = ["tcpdump", "-nn", "-e", "-r", str(packets), f"udp dst port 5353 and ({wanted})"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def addresses_of(machine: Machine) -> list[str]:
    """Every address of its card, link-local included."""
    shown = json.loads(host_of(machine).run("ip", "-j", "addr", "show", "eth0", capture_output=True).stdout)
    return [one["local"] for one in shown[0]["addr_info"]]


def test_presence_is_told_to_some_and_not_to_others(tmp_path: Path) -> None:
    with office(3, tmp_path) as (_, (ann, bob, cyn)):
        for machine in (ann, bob, cyn):
            machine.up()
        meet(ann, bob, cyn)
        ann.p2pchat("presence", "busy", "--message", "in a meeting", "--for", "1h")
        for other in (bob, cyn):
            shows(other, ann, "busy")
            assert (other.peer(ann) or {})["status_message"] == "in a meeting"
        ann.p2pchat("presence", "--hide-from", bob.name)
        shows(bob, ann, "offline")
        hidden = bob.peer(ann) or {}
        assert (hidden["connected"], hidden["address"], hidden["status_message"]) == (False, None, "")
        shows(cyn, ann, "busy")
        sent = bob.send(ann, "are you there?")
        until(lambda: ann.texts(bob) == ["are you there?"], TOLD_S, "it arrives all the same")
        time.sleep(1.5)  # a receipt would leave at once, one of a room after a second
        assert [one["state"] for one in bob.history(ann)] == ["queued"]
        ann.kill()  # and it is so after a crash, from the first moment on
        stream = bob.start("listen", "--timeout", "4", "--types", "peer,presence")
        ann.up()
        until(lambda: cyn.sees(ann), 10, "cyn sees her again")
        out, _ = stream.communicate(timeout=30)
        told = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        assert [line for line in told if line["type"] != "ready" and "error" not in line] == []
        assert (bob.peer(ann) or {})["presence"] == "offline"
        ann.p2pchat("presence", "--show-all")
        shows(bob, ann, "busy")
        until(lambda: bob.history(ann)[0]["state"] == "delivered", TOLD_S, "the receipt comes")
        assert bob.history(ann)[0]["id"] == sent["id"]


def test_the_invisible_send_nothing_by_multicast(tmp_path: Path) -> None:
    with office(3, tmp_path) as (net, (ann, bob, cyn)):
        ann.up()
        bob.up()
        meet(ann, bob)
        ann.p2pchat("presence", "invisible")
        shows(bob, ann, "offline")
        time.sleep(1)  # her goodbye
        with capture(net, tmp_path / "silent.pcap"):
            cyn.up()  # announces himself: she hears it and dials
            until(lambda: ann.sees(cyn), 10, "she sees the newcomer")
            time.sleep(SILENT_S)
        assert multicast_of(tmp_path / "silent.pcap", *addresses_of(cyn))  # the switch was listened to
        assert multicast_of(tmp_path / "silent.pcap", *addresses_of(ann)) == []
        checks = {one["name"]: one for one in ann.attempt("doctor").json["checks"]}
        assert checks["discovery"]["ok"], checks
        assert "nobody is to see you" in checks["discovery"]["detail"]
        assert (cyn.peer(ann) or {})["presence"] == "offline"
        assert ann.send(cyn, "psst", "--wait", "delivered")["state"] == "delivered"
        ann.down()
        with capture(net, tmp_path / "started.pcap"):
            ann.up()  # still invisible, from the first packet on
            until(lambda: ann.sees(bob), 10, "she is back")
            time.sleep(SILENT_S)
        assert multicast_of(tmp_path / "started.pcap", *addresses_of(ann)) == []
        with capture(net, tmp_path / "shown.pcap"):
            ann.p2pchat("presence", "available")
            shows(bob, ann, "available")
            shows(cyn, ann, "available")
            time.sleep(2)
        assert multicast_of(tmp_path / "shown.pcap", *addresses_of(ann))
