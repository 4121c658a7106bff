"""What can be seen of this machine without a daemon.

Decides: which trouble each look may find, its cause and its fix. Does not know: the
daemon's own view, which wins where both look at the same thing.

Every check is `{"name","side","ok","detail","cause","fix"}`; causes are the words of the
contract, null where there is none.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path
from typing import Any, Final

from p2pchat.control.operations import settings_file
from p2pchat.errors import SettingsError
from p2pchat.paths import Profile

Check = dict[str, Any]

PORTS: Final = range(26_700, 26_710)
MDNS: Final = ("224.0.0.251", 5353)
LEAST_FREE: Final = 256 * 1000 * 1000
"""Bytes below which the daemon stops taking in what others send; tell before it does."""

LOOK_S: Final = 110.0
"""A look into an archive of a gigabyte takes seconds; a dying disk may take minutes."""

SQLITE_MAGIC: Final = b"SQLite format 3\0"
EARLIEST: Final = 1_767_225_600  # 2026-01-01: a clock before the program was written is not set


def check(name: str, ok: bool, detail: str, cause: str | None = None, fix: str = "") -> Check:
    """One result; a good one has neither cause nor fix."""
    return {
        "name": name,
        "side": "here",
        "ok": ok,
        "detail": detail,
        "cause": None if ok else cause,
        "fix": "" if ok else fix,
    }


def all_checks(profile: Profile, *, running: bool) -> list[Check]:
    """Every look that needs no daemon, in the order of the contract."""
    return [
        discovery(),
        address(),
        port(profile, running=running),
        clock(),
        disk(profile),
        archive(profile, running=running),
    ]


def discovery() -> Check:
    """Can this machine join the mDNS group and send to it?"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            member = socket.inet_aton(MDNS[0]) + socket.inet_aton("0.0.0.0")  # noqa: S104 - joins a group
            probe.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            probe.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            probe.sendto(b"\0" * 12, MDNS)  # an empty DNS message: ignored by everybody
        except PermissionError:
            return check(
                "discovery",
                False,
                "sending to the mDNS group is forbidden",
                "firewall_here",
                "allow UDP 5353 in this machine's firewall",
            )
        except OSError as error:
            return check(
                "discovery",
                False,
                f"no multicast: {error.strerror or error}",
                "no_multicast",
                "connect to a network, or name the other machine: `p2pchat peers add HOST`",
            )
    return check("discovery", True, "multicast works on this machine")


def address() -> Check:
    """Has this machine an address others on the network can reach?"""
    found = []
    for family, far in ((socket.AF_INET, "203.0.113.1"), (socket.AF_INET6, "2001:db8::1")):
        # Connecting a datagram socket sends nothing; it asks the routing table which address we would use.
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue  # no route in this family; told below if there is none in either
    local = [one for one in found if not one.startswith("127.") and one != "::1"]
    if local:
        return check("address", True, ", ".join(local))
    own = _interface_names()
    if own:
        return check("address", True, f"no default route; interfaces: {' '.join(own)}")
    return check("address", False, "no network interface but loopback", "wrong_interface", "join a network")


def _interface_names() -> list[str]:
    try:
        return [name for _, name in socket.if_nameindex() if name != "lo"]
    except (OSError, AttributeError):
        return []  # a system that cannot list interfaces; the address check says what it found


def port(profile: Profile, *, running: bool) -> Check:
    """Is there a TCP port left to listen on? A running daemon has one already."""
    if running:
        return check("tcp_in", True, "the daemon listens")
    try:
        chosen = int(str(settings_file.load(profile.config).get("port", 0)))
    except SettingsError as error:
        return check("tcp_in", False, str(error), "port_closed", "p2pchat config show")
    problem: int | None = None
    for one in (chosen,) if chosen else PORTS:
        problem = _bind(one)
        if problem is None:
            return check("tcp_in", True, f"port {one} is free")
        if problem != errno.EADDRINUSE:
            break
    asked = str(chosen) if chosen else f"{PORTS[0]} to {PORTS[-1]}"
    return check(
        "tcp_in",
        False,
        f"port {asked} cannot be used: {os.strerror(problem or errno.EADDRINUSE)}",
        "port_closed",
        "p2pchat config set port 0" if chosen else "p2pchat up --port N with a free port",
    )


def _bind(number: int) -> int | None:
    """None if the port is free, else the error number."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", number))
        except OSError as error:
            return error.errno or errno.EIO
    return None


def clock() -> Check:
    """Is the clock set at all? Against others the daemon compares it."""
    shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if time.time() < EARLIEST:
        return check("clock", False, f"the clock says {shown}", "clock", "set the clock of this machine")
    return check("clock", True, shown)


def disk(profile: Profile) -> Check:
    """Is there room, and may we write there?"""
    folder = profile.home
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        free = _free(folder)
    except OSError as error:
        return check("disk", False, f"{os.fspath(folder)!r}: {error.strerror}", "disk_full", "p2pchat paths")
    if free < LEAST_FREE:
        return check(
            "disk",
            False,
            f"{free // 1_000_000} MB free for {os.fspath(profile.home)!r}",
            "disk_full",
            "free some space",
        )
    if not os.access(folder, os.W_OK):
        return check(
            "disk",
            False,
            f"{os.fspath(folder)!r} cannot be written",
            "disk_full",
            "name a folder: --home DIR",
        )
    return check("disk", True, f"{free // 1_000_000} MB free")


def _free(folder: Path) -> int:
    import shutil

    return shutil.disk_usage(folder).free


def archive(profile: Profile, *, running: bool) -> Check:
    """Is the archive there, ours and an archive? Its inside is the daemon's affair: a running one looks
    itself, else one is started that does nothing but look."""
    try:
        with profile.archive.open("rb") as stream:
            head = stream.read(len(SQLITE_MAGIC))
    except FileNotFoundError:
        return check("archive", True, "none yet: `p2pchat up` makes it")
    except OSError as error:
        return check(
            "archive",
            False,
            f"{os.fspath(profile.archive)!r} cannot be read: {error.strerror}",
            "archive_damaged",
            "make the folder your own again",
        )
    if head and head != SQLITE_MAGIC:
        return check(
            "archive",
            False,
            f"{os.fspath(profile.archive)!r} is no archive",
            "archive_damaged",
            "move that file away, then `p2pchat up`",
        )
    problem = "" if running else _inside(profile)
    if problem:
        fix = "keep the file, start with another --home, and bring a backup back"
        return check("archive", False, problem, "archive_damaged", fix)
    return check("archive", True, f"{profile.archive.stat().st_size // 1000} kB")


def _inside(profile: Profile) -> str:
    """What is wrong inside the archive; empty if nothing is."""
    import subprocess  # not for those commands that start nothing

    from p2pchat_cli import launch

    done = subprocess.run(  # noqa: S603 - our own interpreter
        launch.command(profile, ["--look"]),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=launch.environment(os.environ),
        timeout=LOOK_S,
        check=False,
    )
    return "; ".join(done.stdout.splitlines())
