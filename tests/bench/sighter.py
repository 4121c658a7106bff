"""One machine that announces itself by mDNS and tells whom it sees, on the machine's one clock.

    python -m tests.bench.sighter ours|zeroconf|avahi NAME IP

Decides: how each implementation is asked to announce and browse. Does not know: what is
compared. Says {"up"}; told {"do": "go"} it says {"going": t}, then {"saw": name, "t": t} and
{"lost": name, "t": t}; told {"do": "leave"} it says goodbye and {"leaving": t}.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.bench.workers import say

TYPE = "_benchmark._tcp"
PORT = 26700


def told() -> str:
    """The next thing to do; leave when the parent has gone."""
    line = sys.stdin.readline()
    return str(json.loads(line)["do"]) if line else "leave"


def saw(name: str) -> None:
    say(saw=name, t=time.monotonic())


def lost(name: str) -> None:
    say(lost=name, t=time.monotonic())


def ours(name: str, _ip: str) -> None:
    """The discovery half of p2pchat's Lan port, as the daemon runs it."""
    import trio

    from p2pchat.net.lan import Announcement, Gone, Notice, Sighting
    from p2pchat.net.mdns import MdnsDiscovery

    def tags(_wall_ms: int) -> tuple[bytes, bytes, bytes]:
        return b"today..8", b"yesterd8", b"tomorro8"

    async def listen(notices: trio.MemoryReceiveChannel[Notice]) -> None:
        async for notice in notices:
            if isinstance(notice, Sighting):
                saw(notice.label)
            elif isinstance(notice, Gone):
                lost(notice.label)

    async def run() -> None:
        send, receive = trio.open_memory_channel[Notice](100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, receive)
            await trio.to_thread.run_sync(told)
            say(going=time.monotonic())
            nursery.start_soon(MdnsDiscovery().discover, send, Announcement(name, PORT, 1, tags))
            await trio.to_thread.run_sync(told)
            say(leaving=time.monotonic())
            nursery.cancel_scope.cancel()

    say(up=True)
    trio.run(run)


def zeroconf_default(name: str, ip: str) -> None:
    """python-zeroconf as its examples use it: probes before it announces."""
    from zeroconf import ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

    kind = f"{TYPE}.local."

    def heard(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        word = {ServiceStateChange.Added: saw, ServiceStateChange.Removed: lost}.get(state_change)
        if word is not None:
            word(name.removesuffix(f".{kind}"))

    zc = Zeroconf(interfaces=[ip])
    addresses = [socket.inet_aton(ip)]
    info = ServiceInfo(kind, f"{name}.{kind}", port=PORT, addresses=addresses, server=f"{name}.local.")
    say(up=True)
    told()
    say(going=time.monotonic())
    browser = ServiceBrowser(zc, kind, handlers=[heard])
    registering = threading.Thread(target=zc.register_service, args=(info,), daemon=True)
    registering.start()
    told()
    registering.join(10)
    say(leaving=time.monotonic())
    browser.cancel()
    zc.unregister_service(info)
    zc.close()


AVAHI = """[server]
host-name={name}
use-ipv6=no
allow-interfaces=eth0
ratelimit-burst=1000
[publish]
[wide-area]
enable-wide-area=no
"""


def avahi(name: str, _ip: str) -> None:
    """avahi-daemon with avahi-publish and avahi-browse, in a /run of their own.

    `ip netns exec` has given this process a mount namespace, so the machine's own /run stays.
    """
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
    Path("/run/dbus").mkdir()
    Path("/run/avahi-daemon").mkdir()
    Path("/run/avahi.conf").write_text(AVAHI.format(name=name), encoding="ascii")
    bus = subprocess.Popen(["dbus-daemon", "--system", "--nofork", "--nopidfile"], stderr=subprocess.DEVNULL)
    _wait_for(Path("/run/dbus/system_bus_socket"))
    options = ["--no-drop-root", "--no-chroot", "--no-rlimits", "-f", "/run/avahi.conf"]
    daemon = subprocess.Popen(["avahi-daemon", *options], stderr=subprocess.DEVNULL)
    _wait_for(Path("/run/avahi-daemon/pid"))
    time.sleep(1.0)  # until it has claimed its host name, which is no part of the figure

    def browse() -> None:
        argv = ["avahi-browse", "-p", "-k", TYPE]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as browser:
            running.append(browser)
            assert browser.stdout is not None
            for line in browser.stdout:
                fields = line.split(";")
                if len(fields) > 3 and fields[0] in "+-":
                    (saw if fields[0] == "+" else lost)(fields[3])

    running: list[subprocess.Popen[str]] = []
    say(up=True)
    told()
    say(going=time.monotonic())
    threading.Thread(target=browse, daemon=True).start()
    publisher = subprocess.Popen(["avahi-publish", "-s", name, TYPE, str(PORT)], stderr=subprocess.DEVNULL)
    told()
    say(leaving=time.monotonic())
    for process in (publisher, *running, daemon, bus):
        process.terminate()
        process.wait(10)


def _wait_for(path: Path, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not path.exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"no {path}")
        time.sleep(0.02)


if __name__ == "__main__":
    {"ours": ours, "zeroconf": zeroconf_default, "avahi": avahi}[sys.argv[1]](*sys.argv[2:])
