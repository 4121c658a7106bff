"""Real daemons on a switch with a machine that means ill: honest people notice nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2pchat.daemon.core import MAX_PUMPS
from p2pchat.wire.limits import MAX_HALF_OPEN, MAX_LINKS, MAX_STRANGER_LINKS_PER_ADDRESS
from tests.kit.hosts import ROOT, Machine, host_of, meet, office, until
from tests.kit.needs import needs_netns
from tests.kit.netns import Host

pytestmark = needs_netns

HOWS = ("greeting", "junk", "drip", "lies", "quiet")
SILENT = ("greeting", "drip", "quiet")
"""Those whose connections stay until the handshake's time is over."""
CONNECT_S = 5.0
RSS_KIB = 256 * 1024
ANSWER_S = 1.0
ADDRESSES = 12
"""Enough for all half-open places at 8 an address."""


@contextmanager
def running(host: Host, module: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A program of this folder on `host`, from its first line of output until ended here."""
    process = host.popen(
        sys.executable, "-m", f"tests.hostile.{module}", *words,
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip()
        yield process
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


CROWD_ADDRESSES = MAX_LINKS // MAX_STRANGER_LINKS_PER_ADDRESS + 3
"""Enough for all places at so many an address."""


def peak_kib(machine: Machine) -> int:
    """The most memory the daemon has ever held."""
    lines = Path(f"/proc/{machine.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def descriptors(machine: Machine) -> int:
    """Open files and sockets of the daemon."""
    return len(os.listdir(f"/proc/{machine.pid}/fd"))


def test_five_hundred_connections_keep_nobody_away(tmp_path: Path, full: bool) -> None:
    with office(3, tmp_path) as (_, (ann, bob, cyn)):
        ann.up()
        before = descriptors(ann)
        attacker = host_of(cyn)
        sources = [f"10.77.9.{n}" for n in range(1, ADDRESSES + 1)]
        for source in sources:
            attacker.address("add", f"{source}/16")
        port = ann.ask("status")["daemon"]["listen"][0].rpartition(":")[2]
        said: list[str] = []
        for how in HOWS if full else HOWS[:2]:
            with running(attacker, "flood", how, host_of(ann).ip, port, *sources):
                worst = max(descriptors(ann) for _ in range(10) if not time.sleep(0.1))
                if how in SILENT:
                    assert worst >= before + MAX_HALF_OPEN // 2, "the crowd is in the door"
                bob.up()
                until(lambda: ann.sees(bob) and bob.sees(ann), CONNECT_S, f"they meet among {how}")
                said.append(how)
                assert bob.send(ann, how, "--wait", "delivered")["state"] == "delivered"
                asked = time.monotonic()
                ann.ask("status")
                assert time.monotonic() - asked < ANSWER_S
                worst = max(worst, *(descriptors(ann) for _ in range(10) if not time.sleep(0.05)))
            assert worst <= before + MAX_HALF_OPEN + 40, "descriptors are bounded"
            bob.down()
            until(lambda: descriptors(ann) <= before + 10, 15, "what the crowd held is given back")
        assert peak_kib(ann) <= RSS_KIB
        assert ann.texts(bob) == said
        assert "Traceback" not in ann.profile.log.read_text("utf-8")


def test_more_made_up_people_than_places_keep_nobody_away_who_is_known(tmp_path: Path) -> None:
    with office(3, tmp_path) as (_, (ann, bob, cyn)):
        ann.up()
        bob.up()
        meet(ann, bob)
        ann.send(bob, "before", "--wait", "delivered")
        bob.down()
        sources = [f"10.77.9.{n}" for n in range(1, CROWD_ADDRESSES + 1)]
        for source in sources:
            host_of(cyn).address("add", f"{source}/16")
        before = descriptors(ann)
        port = ann.ask("status")["daemon"]["listen"][0].rpartition(":")[2]
        with running(host_of(cyn), "flood", "people", host_of(ann).ip, port, *sources):
            until(lambda: ann.ask("status")["peers"]["connected"] >= MAX_LINKS, 60, "every place is taken")
            bob.up()
            until(lambda: ann.sees(bob) and bob.sees(ann), CONNECT_S, "they meet all the same")
            assert bob.send(ann, "among them", "--wait", "delivered")["state"] == "delivered"
            asked = time.monotonic()
            assert ann.ask("status")["peers"]["connected"] <= MAX_LINKS
            assert time.monotonic() - asked < ANSWER_S
            assert descriptors(ann) <= before + MAX_PUMPS
        assert peak_kib(ann) <= RSS_KIB
        assert ann.texts(bob) == ["before", "among them"]
        assert "Traceback" not in ann.profile.log.read_text("utf-8")


def test_forged_goodbyes_and_announcements_change_nothing(tmp_path: Path) -> None:
    with office(3, tmp_path) as (_, (ann, bob, cyn)):
        ann.up()
        bob.up()
        meet(ann, bob)
        known = ann.peer(bob)
        assert known is not None
        with running(host_of(cyn), "goodbyes", host_of(cyn).ip) as forger:
            assert forger.stdout is not None
            assert len({forger.stdout.readline()}) == 1
            end = time.monotonic() + 3
            while time.monotonic() < end:
                assert ann.sees(bob)
                assert bob.sees(ann)
                time.sleep(0.2)
            assert ann.send(bob, "still here", "--wait", "delivered")["state"] == "delivered"
            bob.kill()
            until(lambda: not ann.sees(bob), 20, "Bob is gone")
            bob.up()
            until(lambda: ann.sees(bob) and bob.sees(ann), CONNECT_S, "back, whatever is said about it")
            ann.send(bob, "again", "--wait", "delivered")
        after = ann.peer(bob)
        assert after is not None
        for fact in "account", "device", "name", "fingerprint", "trust", "room":
            assert after[fact] == known[fact], fact
        assert [peer["name"] for peer in ann.ask("peers.list", all=True)["peers"]] == ["bob"]
        assert ann.texts(bob) == bob.texts(ann) == ["still here", "again"]
