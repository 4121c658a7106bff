"""The composition root: settings, files, platform and network become one running daemon.

Decides: what is made of what on this machine, in which order it is opened, and with what
exit code the process ends. Nobody else constructs. Does not know: what any part does.
"""

from __future__ import annotations

import argparse
import getpass
import logging
import logging.handlers
import os
import platform
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import trio

from p2pchat import __version__
from p2pchat.control.endpoint import ControlListener, open_control
from p2pchat.control.operations import settings, settings_file
from p2pchat.control.operations.settings_file import Effective
from p2pchat.daemon.core import Daemon, Parts
from p2pchat.daemon.disk import Disk
from p2pchat.daemon.host import DaemonHost
from p2pchat.daemon.identity import load_or_make
from p2pchat.daemon.joining import Arrival
from p2pchat.daemon.logbook import Discreet, keep_uncaught, plain
from p2pchat.daemon.memory import look_rarely
from p2pchat.daemon.own import follow
from p2pchat.daemon.queries import Queries
from p2pchat.daemon.replacing import farewell
from p2pchat.daemon.room import Room
from p2pchat.daemon.runner import Stop
from p2pchat.engine.trust import clean_name
from p2pchat.errors import EXIT_CODES, ArchiveError, CommandError, P2pchatError, SettingsError
from p2pchat.model import Now
from p2pchat.net.lan import JoinedLan
from p2pchat.net.mdns import MdnsDiscovery
from p2pchat.net.tcp import TcpTransport
from p2pchat.paths import Profile, profile
from p2pchat.platform import Lock, allow_many_files, harden_process, make_private_dir, secure_umask
from p2pchat.store import check
from p2pchat.store.ledger import open_ledger
from p2pchat.wire.limits import MAX_NAME

log = logging.getLogger(__name__)

Error = TypeVar("Error", bound=BaseException)

MACHINE_POLICY: Final = Path("/etc/p2pchat/config.toml")
LOG_BYTES: Final = 5 * 1024 * 1024
WHITE_ON: Final = ("1", "true", "yes", "on")


class SystemEntropy:
    """Randomness of the operating system."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def bytes(self, count: int) -> bytes:
        """Fresh random bytes."""
        return os.urandom(count)

    def random(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()


def wall_and_mono() -> Now:
    """Both clocks of this machine; the monotonic one is trio's, so timers agree with it."""
    return Now(time.time_ns() // 1_000_000, trio.current_time())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon; returns the process exit code. Errors go to stderr as `error:` and `hint:`."""
    args = arguments().parse_args(argv)
    try:
        return _main(args)
    except P2pchatError as error:
        return _told(error)
    except BaseExceptionGroup as group:
        found = list(leaves(group))
        if len(found) != 1 or not isinstance(found[0], P2pchatError):
            raise
        return _told(found[0])


def _told(error: P2pchatError) -> int:
    """Say why it cannot start, or had to end; the exit code."""
    match error:
        case CommandError():
            return _give_up(error.message, error.hint, error.code, error.kind)
        case SettingsError():
            return _give_up(str(error), "see `p2pchat config show --origin`", EXIT_CODES["usage"])
        case ArchiveError():
            return _give_up(str(error), error.hint, EXIT_CODES["archive"])
        case _:
            return _give_up(plain(error), "see `p2pchat logs`", EXIT_CODES["internal"])


def _give_up(message: str, hint: str, code: int, kind: str = "") -> int:
    """`kind` is for the command that has started us: several kinds share a code."""
    words = (("error", message), ("hint", hint), ("kind", kind))
    sys.stderr.write("".join(f"{name}: {text}\n" for name, text in words if text))
    return code


def arguments() -> argparse.ArgumentParser:
    """What `python -m p2pchat` takes; the same names as `p2pchat up`."""
    parser = argparse.ArgumentParser(
        "python -m p2pchat", description="the p2pchat daemon", allow_abbrev=False
    )
    parser.add_argument("--home", help="folder of the profile")
    parser.add_argument("--name", help="what others call me")
    parser.add_argument("--interface", action="append", default=[], help="only this interface or address")
    parser.add_argument("--port", help="TCP port")
    parser.add_argument("--peer", action="append", default=[], help="HOST[:PORT] to dial")
    parser.add_argument("--no-announce", action="store_true", help="do not announce this machine")
    parser.add_argument(
        "--join", action="store_true", help="become a machine of whoever shows the code on stdin"
    )
    parser.add_argument("--replace", action="store_true", help="even where this profile is somebody already")
    parser.add_argument("--recover", action="store_true", help="become one by the recovery key on stdin")
    parser.add_argument("--look", action="store_true", help="say what is wrong with the archive, and end")
    parser.add_argument("--foreground", action="store_true", help="print `ready` when it is")
    return parser


def _main(args: argparse.Namespace) -> int:
    secure_umask()
    where = profile(args.home or os.environ.get("P2PCHAT_HOME") or None)
    if args.look:
        return _look(where)
    effective = settle(args, where)
    make_private_dir(where.home)
    refused = harden_process()
    allow_many_files()
    lock = Lock.acquire(where.lock)
    try:
        start_log(where.log, also_stderr=args.foreground)
        keep_uncaught()
        arrival = Arrival.asked(args, where, sys.stdin)
        for what in refused:
            log.warning("this system refuses: %s", what)
        look_rarely()
        return trio.run(_serve, where, effective, args, arrival)
    finally:
        lock.release()


def _look(where: Profile) -> int:
    """What `doctor` asks while no daemon runs: one line on stdout for each trouble."""
    found = check.look(where.archive)
    sys.stdout.write("".join(f"{one}\n" for one in found))
    return EXIT_CODES["archive"] if found else 0


def settle(args: argparse.Namespace, where: Profile) -> list[Effective]:
    """Every setting with its source: flag, environment, the user's file, the machine's."""
    flags: dict[str, settings.Setting] = {}
    if args.name is not None:
        flags["name"] = settings.parse("name", args.name, "--name")
    if args.port is not None:
        flags["port"] = settings.parse("port", args.port, "--port")
    if args.interface:
        flags["interface"] = settings.parse("interface", ",".join(args.interface), "--interface")
    if args.peer:
        flags["peers"] = settings.parse("peers", ",".join(args.peer), "--peer")
    machine = settings_file.load(MACHINE_POLICY) if os.name == "posix" else {}
    return settings_file.resolve(flags, os.environ, settings_file.load(where.config), machine)


def start_log(path: Path, *, also_stderr: bool) -> None:
    """Log to a file of bounded size, at INFO; never a body, a name or a key (DS3)."""
    kept = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    handlers: list[logging.Handler] = [kept]
    if also_stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
    for handler in handlers:
        handler.setFormatter(Discreet())
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in handlers:
        root.addHandler(handler)


def system_name() -> str:
    """The system user's full name, else the login: what a first run calls a person."""
    login = getpass.getuser()
    full = ""
    if os.name == "posix":
        import pwd  # not on Windows

        try:
            full = pwd.getpwuid(os.getuid()).pw_gecos.split(",")[0].strip()
        except KeyError:
            full = ""
    for candidate in (full, login):
        try:
            return clean_name(candidate[:MAX_NAME])
        except CommandError:
            continue
    return "somebody"


def machine_name() -> str:
    """What this machine is called among those of its person, unless he names it: its host name."""
    plain = " ".join(platform.node().split(".")[0].split())[:MAX_NAME]
    return plain if plain.isprintable() else ""


async def _serve(
    where: Profile, effective: list[Effective], args: argparse.Namespace, arrival: Arrival | None
) -> int:
    values = {one.key: one.value for one in effective}
    entropy = SystemEntropy()
    interfaces = values["interface"]
    chosen = tuple(interfaces) if isinstance(interfaces, tuple) else ()
    lan = JoinedLan(TcpTransport(chosen), MdnsDiscovery(chosen))
    named = values["peers"]
    peers = [settings.split_address(one) for one in named] if isinstance(named, tuple) else []
    if arrival is not None:
        found = await arrival.search(lan, entropy, trio.current_time, peers)
        peers.append((found.host, found.port))  # with whom everything is exchanged first
        lan = JoinedLan(TcpTransport(chosen), MdnsDiscovery(chosen))
    identity = load_or_make(where.identity, entropy.bytes)
    quiet = args.no_announce or os.environ.get("P2PCHAT_NO_ANNOUNCE", "").lower() in WHITE_ON
    parts = Parts(
        identity=identity,
        open_ledger=lambda: open_ledger(where.archive),
        lan=lan,
        entropy=entropy,
        clock=wall_and_mono,
        stopwatch=time.perf_counter,
        name=clean_name(str(values["name"])) if values["name"] else system_name() if identity.fresh else "",
        port=int(str(values["port"])) or None,
        announce=not quiet,
        peers=tuple(peers),
        machine=machine_name(),
        farewell=farewell(where),
        keep_name=not values["name"],
        read_receipts=bool(values["read_receipts"]),
        file_auto_max=int(str(values["file_auto_max"])),
        quiet_hours=str(values["quiet_hours"]),
        interfaces=chosen,
        search=bool(values["probe"]),
        room=Room(where.home),
        disk=Disk(
            where.home / "staging",
            Landing(args, where),
            threads=True,
            stopwatch=time.perf_counter,
        ),
    )
    daemon = Daemon(parts)
    control = open_control(where)
    flags = {one.key: one.value for one in effective if one.origin == "flag"}
    host = DaemonHost(daemon, where, flags)
    failed = False
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_signals, daemon.stop)
            queries = Queries(host)
            nursery.start_soon(follow, daemon.runner.tells, queries.adopt)
            await nursery.start(_until_over, daemon, control, queries, nursery.cancel_scope)
            log.info("ready, version %s, port %d", __version__, daemon.listening.port)
            if args.foreground:
                sys.stdout.write("ready\n")
                sys.stdout.flush()
    except* Stop as group:
        failed = True
        for stop in leaves(group):
            log.error("the archive cannot be written any more, the daemon stops: %s", stop)
    finally:
        host.close()
    return _why_it_stopped(where) if failed else 0


def _why_it_stopped(where: Profile) -> int:
    """The archive failed: a damaged one is called so."""
    found = check.look(where.archive)
    if found:
        return _told(check.damaged(where.archive, found[0]))
    return EXIT_CODES["archive"]


class Landing:
    """Where received files land, as it is set now; as before while nobody can read the settings."""

    def __init__(self, args: argparse.Namespace, where: Profile) -> None:
        self._args = args
        self._where = where
        self._last = where.inbox

    def __call__(self) -> Path:
        """The folder."""
        try:
            chosen = next((one.value for one in settle(self._args, self._where) if one.key == "inbox"), "")
        except SettingsError:
            return self._last
        self._last = Path(str(chosen)).expanduser() if chosen else self._where.inbox
        return self._last


def leaves(group: BaseExceptionGroup[Error]) -> Iterator[Error]:
    """What went wrong itself: every nursery it passed has wrapped it in a group of its own."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


async def _until_over(
    daemon: Daemon,
    control: ControlListener,
    handler: Queries,
    scope: trio.CancelScope,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    await daemon.run(control, handler, __version__, task_status=task_status)
    scope.cancel()


async def _signals(stop: Callable[[], None]) -> None:
    wanted = [signal.SIGINT, signal.SIGTERM]
    with trio.open_signal_receiver(*wanted) as received:
        async for _ in received:
            stop()
