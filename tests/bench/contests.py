"""One run of each contestant between two machines of a network.

Decides: how the prototype and every rival are started, and what they need of this machine.
Does not know: rounds, tables, or p2pchat (ours.py). Each function gives what its author's
side said: `done_s` seconds of each round trip, `rate` messages a second, or both.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.report import ROOT
from tests.bench.rivals import Rivals
from tests.bench.workers import Worker, WorkerFailed, python_module, workers
from tests.kit.netns import Host, Network

PEERS = Path(__file__).parent / "peers"
RUN_S = 120.0
"""How long one contestant may take in one round."""


@dataclass
class Place:
    """Where a round happens: two machines, one for a server between them, a folder on disk."""

    alice: Host
    bob: Host
    middle: Host
    folder: Path
    rivals: Rivals

    @classmethod
    def of(cls, net: Network, folder: Path, rivals: Rivals) -> Place:
        """The first three machines of `net`."""
        return cls(net.hosts[0], net.hosts[1], net.hosts[2], folder, rivals)


def fresh(place: Place, name: str) -> Path:
    """A new folder for one run."""
    folder = place.folder / f"{name}-{time.monotonic_ns()}"
    folder.mkdir()
    return folder


# -- the rulers ----------------------------------------------------------------------------


def prototype(place: Place, mode: str, count: int, pause_s: float = 0.0) -> dict[str, Any]:
    """The bare prototype in `mode` (see prototype.py). `heard_s` also, in mode each."""
    folder = fresh(place, mode)
    module = "tests.bench.prototype"
    with workers() as stack:
        there = python_module(module, "recipient", mode, folder, place.bob.ip)
        recipient = stack.enter_context(Worker(place.bob, there, folder))
        port = recipient.hear("port")
        here = python_module(module, "author", mode, folder, place.bob.ip, port, count, pause_s)
        author = stack.enter_context(Worker(place.alice, here, folder))
        return author.hear_all("rate" if mode in ("batch", "run") else "done_s", RUN_S)


def prototype_room(hosts: Sequence[Host], folder: Path, count: int, pause_s: float) -> list[list[float]]:
    """Of each message of the bare prototype to all other hosts: seconds until each has committed it."""
    inside = folder / f"room-{time.monotonic_ns()}"
    module = "tests.bench.prototype"
    with workers() as stack:
        recipients = []
        for number, host in enumerate(hosts[1:]):
            place = inside / str(number)
            place.mkdir(parents=True)
            argv = python_module(module, "recipient", "room", place, host.ip)
            recipients.append(stack.enter_context(Worker(host, argv, place)))
        ports = ",".join(str(one.hear("port")) for one in recipients)
        ips = ",".join(host.ip for host in hosts[1:])
        argv = python_module(module, "author", "room", inside, ips, ports, count, pause_s)
        author = stack.enter_context(Worker(hosts[0], argv, inside))
        asked: list[float] = author.hear("asked", RUN_S)
        kept: list[list[float]] = [one.hear("kept", RUN_S) for one in recipients]
    return [[told[number] - at for told in kept] for number, at in enumerate(asked)]


def disk_sync(folder: Path, count: int = 100) -> list[float]:
    """Seconds of each fdatasync after a 4 KiB append: what FULL cannot go below here."""
    took = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(bytes(4096))
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - start)
    return took


# -- rivals ----------------------------------------------------------------------------------

NEEDS = {
    "xmpp": ("tool:prosody", "tool:openssl", "python:slixmpp"),
    "mqtt": ("tool:mosquitto", "python:paho"),
    "libp2p": ("python:libp2p",),
    "ssb": ("node",),
}

PROSODY = """
run_as_root = true
pidfile = "{folder}/pid"
data_path = "{folder}/data"
interfaces = {{ "{ip}" }}
modules_enabled = {{ "roster"; "saslauth"; "tls"; "disco"; "ping"; "mam"; "carbons"; "offline" }}
modules_disabled = {{ "s2s"; "limits" }}
c2s_require_encryption = true
authentication = "internal_hashed"
storage = "internal"
ssl = {{ key = "{folder}/key.pem"; certificate = "{folder}/certificate.pem" }}
log = {{ warn = "{folder}/log" }}
VirtualHost "lan.test"
"""

MOSQUITTO = """
listener 1883 {ip}
allow_anonymous true
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
persistence false
user root
"""


def xmpp(place: Place, trips: int, count: int) -> dict[str, Any]:
    """alice → prosody → bob and a delivery receipt back, over TLS; archived by mod_mam, not synced."""
    folder = fresh(place, "xmpp")
    (folder / "data").mkdir()
    config = folder / "prosody.cfg.lua"
    config.write_text(PROSODY.format(folder=folder, ip=place.middle.ip), encoding="ascii")
    certificate = folder / "certificate.pem"
    subject = ("-subj", "/CN=lan.test", "-addext", "subjectAltName=DNS:lan.test")
    files = ("-keyout", folder / "key.pem", "-out", certificate)
    _run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files)
    for name in ("alice", "bob"):
        _run("prosodyctl", "--config", config, "register", name, "lan.test", "secret")
    client = [str(place.rivals.python), str(PEERS / "xmpp.py")]
    with workers() as stack:
        argv = ["prosody", "--config", str(config), "-F"]
        stack.enter_context(Worker(place.middle, argv, folder))
        wait_port(place.alice, place.middle.ip, 5222)
        tail = [place.middle.ip, str(trips), str(count), str(certificate)]
        stack.enter_context(Worker(place.bob, [*client, "bob", *tail], folder)).hear("up")
        alice = stack.enter_context(Worker(place.alice, [*client, "alice", *tail], folder))
        return alice.hear_all("done_s", RUN_S)


def mqtt(place: Place, trips: int, count: int) -> dict[str, Any]:
    """alice → mosquitto → bob and an answer back, QoS 1, TCP_NODELAY; nothing encrypted or stored."""
    folder = fresh(place, "mqtt")
    config = folder / "mosquitto.conf"
    config.write_text(MOSQUITTO.format(ip=place.middle.ip), encoding="ascii")
    client = [str(place.rivals.python), str(PEERS / "mqtt.py")]
    with workers() as stack:
        stack.enter_context(Worker(place.middle, ["mosquitto", "-c", str(config)], folder))
        wait_port(place.alice, place.middle.ip, 1883)
        tail = [place.middle.ip, str(trips), str(count)]
        stack.enter_context(Worker(place.bob, [*client, "bob", *tail], folder)).hear("up")
        alice = stack.enter_context(Worker(place.alice, [*client, "alice", *tail], folder))
        return alice.hear_all("done_s", RUN_S)


def libp2p(place: Place, trips: int, count: int) -> dict[str, Any]:
    """alice → bob and an acknowledgement back on one yamux stream under noise; nothing stored."""
    folder = fresh(place, "libp2p")
    peer = [str(place.rivals.python), str(PEERS / "libp2p_stream.py")]
    with workers() as stack:
        bob = stack.enter_context(Worker(place.bob, [*peer, "serve", place.bob.ip], folder))
        address = bob.hear("address")
        argv = [*peer, "measure", place.alice.ip, address, str(trips), str(count)]
        alice = stack.enter_context(Worker(place.alice, argv, folder))
        return alice.hear_all("done_s", RUN_S)


def ssb(place: Place, count: int) -> dict[str, Any]:
    """alice appends `count` signed messages, then bob replicates them; both rates."""
    folder = fresh(place, "ssb")
    # node finds its modules from where it runs; its process group is ended with the worker
    start = ["sh", "-c", 'cd "$0" && exec node "$@"', str(place.rivals.node_folder), str(PEERS / "ssb.js")]
    with workers() as stack:
        argv = [*start, "serve", place.alice.ip, str(count), str(folder)]
        alice = stack.enter_context(Worker(place.alice, argv, folder))
        appended = alice.hear("rate", RUN_S)
        said = alice.hear_all("address")
        argv = [*start, "pull", place.bob.ip, str(count), str(folder), said["address"], said["feed"]]
        bob = stack.enter_context(Worker(place.bob, argv, folder))
        return {"append_rate": appended, "rate": bob.hear("rate", RUN_S)}


def _run(*words: object) -> None:
    argv = [str(word) for word in words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    if done.returncode:
        raise WorkerFailed(f"{' '.join(argv)[:120]}: {done.stdout}{done.stderr}")


def wait_port(host: Host, ip: str, port: int, within_s: float = 20.0) -> None:
    """Until something listens there."""
    call = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"
    deadline = time.monotonic() + within_s
    while host.run("python3", "-c", call, ip, str(port)).returncode:
        if time.monotonic() > deadline:
            raise WorkerFailed(f"nothing listens on {ip}:{port}")
