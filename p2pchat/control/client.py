"""The plain client of a command: one blocking socket, standard library only.

Decides: how a daemon is found, and how every trouble on the way becomes one
CommandError with a hint. Does not know: any operation. Loads neither trio nor
anything else heavy (a test looks); programs that run on trio use `client_trio`.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from p2pchat import platform
from p2pchat.control import framing
from p2pchat.control.framing import ControlProtocolError, LineBuffer
from p2pchat.control.token import TokenFile, answer_challenge, decode_token_file, is_proven
from p2pchat.errors import CommandError

if TYPE_CHECKING:
    from types import TracebackType

    from p2pchat.paths import Profile

HELLO_TIMEOUT_S: Final = 5.0
"""How long a daemon may take to say hello; a healthy one takes a millisecond."""

MAX_WAITING_EVENTS: Final = 1000
"""Events that may arrive during other calls; a feed left unread longer is ended, resume by cursor."""

QUEUE_FULL_PAUSE_S: Final = 0.005
"""Wait before asking a busy daemon again; it takes hundreds of connections in that time."""

READ_BYTES: Final = 64 * 1024


class DaemonGone(CommandError):
    """The daemon went away in the middle: whether it did what was asked is not known."""

    def __init__(self) -> None:
        super().__init__("no_daemon", "the daemon went away before it answered", "p2pchat up")


def no_daemon(profile: Profile) -> CommandError:
    """What every command says where no daemon runs."""
    return CommandError("no_daemon", f"no daemon is running for {os.fspath(profile.home)!r}", "p2pchat up")


def not_answering(profile: Profile) -> CommandError:
    """Something listens where our daemon should, but is not it or does not speak."""
    where = os.fspath(profile.home)
    return CommandError("no_daemon", f"the daemon of {where!r} does not answer", "p2pchat logs")


def served_by_another(profile: Profile) -> CommandError:
    """The socket is there, but its server is not our user: nothing is said to it."""
    return platform.unsafe(profile.socket, "is served by another user", "name your own folder: --home DIR")


def unusable(profile: Profile, error: OSError) -> CommandError:
    """Connecting failed for a reason of the system."""
    why = f"cannot be used: {(error.strerror or str(error)).lower()}"
    return platform.unsafe(profile.socket, why, "p2pchat doctor")


def read_hello(line: bytes) -> dict[str, Any]:
    """The daemon's first object, checked; CommandError if it turned us away or is of another version."""
    try:
        value = framing.decode_object(line)
    except ControlProtocolError as error:
        raise garbled(error) from error
    if "error" in value:
        raise framing.read_error(value["error"])
    if value.get("p2pchat") != framing.CONTROL_VERSION:
        why = f"the running daemon speaks control version {ascii(value.get('p2pchat'))[:20]}, this command 1"
        raise CommandError("failed", why, "restart the daemon: p2pchat down, then p2pchat up")
    return value


def garbled(error: ControlProtocolError) -> CommandError:
    """The daemon sent a line that is none: a bug there or a stranger."""
    return CommandError("internal", f"the daemon's answer makes no sense: {error.message}", "p2pchat logs")


def feed_overrun() -> CommandError:
    """The program did not take its events; what it missed is still in the daemon's feed."""
    return CommandError("failed", "events came faster than they were taken", "listen --since the last cursor")


def feed_without_number() -> CommandError:
    """The daemon accepted a subscription without saying which."""
    return garbled(ControlProtocolError(framing.INVALID_REQUEST, "a subscription without number"))


def find_token(profile: Profile) -> TokenFile | None:
    """The loopback endpoint of `profile`, if its daemon has one."""
    try:
        return decode_token_file(platform.read_private_file(profile.token))
    except FileNotFoundError:
        return None


def check_socket_folder(profile: Profile) -> bool:
    """Whether a Unix socket may be looked for; CommandError if others could have put one there.

    Matters for the short path under /tmp, which anybody could have made first.
    """
    if not platform.HAS_UNIX_SOCKETS:
        return False
    try:
        platform.check_private_dir(profile.socket.parent)
    except FileNotFoundError:
        return False
    return True


def connect(profile: Profile, *, timeout_s: float = HELLO_TIMEOUT_S) -> PlainClient:
    """A client of the daemon of `profile`, hello exchanged.

    CommandError `no_daemon` (hint `p2pchat up`) if none runs or it does not answer
    within `timeout_s`; `unsafe_path` if its place cannot be trusted; `failed` if it
    has too many clients or another version.
    """
    deadline = time.monotonic() + timeout_s
    raw = _connect_unix(profile, timeout_s)
    entry = None
    if raw is None:
        entry = find_token(profile)
        raw = _connect_tcp(entry.port, timeout_s) if entry is not None else None
    if raw is None:
        raise no_daemon(profile)
    client = PlainClient(raw)
    try:
        if entry is None:
            client.daemon = read_hello(client._read_line(deadline))
        else:
            client.daemon = _prove_token(client, entry.token, deadline, profile)
    except (TimeoutError, DaemonGone):
        client.close()
        raise not_answering(profile) from None
    except BaseException:
        client.close()
        raise
    return client


def _connect_unix(profile: Profile, timeout_s: float) -> socket.socket | None:
    if not check_socket_folder(profile):
        return None
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _connect_patiently(raw, os.fspath(profile.socket), time.monotonic() + timeout_s)
        if platform.peer_uid(raw) != platform.user_id():
            raise served_by_another(profile)
    except (FileNotFoundError, ConnectionRefusedError):
        raw.close()
        return None
    except BlockingIOError:
        raw.close()
        raise not_answering(profile) from None
    except OSError as error:
        raw.close()
        raise unusable(profile, error) from error
    except BaseException:
        raw.close()
        raise
    return raw


def _connect_patiently(raw: socket.socket, path: str, deadline: float) -> None:
    """Connect; while the daemon's queue is full Linux says EAGAIN at once, so ask again until `deadline`."""
    raw.setblocking(False)
    while True:
        try:
            raw.connect(path)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(QUEUE_FULL_PAUSE_S)
        else:
            return


def _connect_tcp(port: int, timeout_s: float) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port), timeout_s)
    except OSError:
        return None  # a token file left by a killed daemon: nobody, or somebody too busy, is there


def _prove_token(client: PlainClient, token: bytes, deadline: float, profile: Profile) -> dict[str, Any]:
    """The loopback exchange of control/token.py; nothing private is said before the other side's proof."""
    try:
        challenge = framing.decode_object(client._read_line(deadline))
    except ControlProtocolError:
        raise no_daemon(profile) from None  # another program took the port of a killed daemon
    answer = answer_challenge(token, challenge)
    if answer is None:
        raise no_daemon(profile)
    nonce, line = answer
    client._write(framing.encode(line), deadline)
    hello = read_hello(client._read_line(deadline))
    if not is_proven(token, "server", challenge["nonce"], nonce, hello.get("proof")):
        raise no_daemon(profile)
    return hello


class PlainClient:
    """One connection: calls one at a time, any number of subscriptions beside them. Not for threads."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self._lines = LineBuffer(framing.MAX_REPLY)
        self._last_id = 0
        self._feeds: dict[int, Feed] = {}
        self.daemon: dict[str, Any] = {}
        """The daemon's hello: `pid` and `version` among others."""

    def __enter__(self) -> PlainClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; calls and subscriptions still running end in the daemon too."""
        self._raw.close()

    def call(
        self, method: str, params: Mapping[str, Any] | None = None, timeout_s: float | None = None
    ) -> Any:
        """Do `method` and return its result.

        Raises the daemon's CommandError; `timeout` if no answer comes within
        `timeout_s` seconds (it may still be done; a late answer is dropped);
        DaemonGone; `too_long` for params above 1 MiB.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._last_id += 1
        number = self._last_id
        line = framing.request(number, method, params or {})
        try:
            self._write(line, deadline)
            while True:
                message = self._read_message(deadline)
                if message.get("id") == number and "method" not in message:
                    break
                self._sort(message)
        except TimeoutError:
            why = f"the daemon has not answered {method!r} within {timeout_s:g} s"
            raise CommandError("timeout", why, "p2pchat status") from None
        if "error" in message:
            raise framing.read_error(message["error"])
        return message.get("result")

    def subscribe(self, params: Mapping[str, Any] | None = None, timeout_s: float | None = None) -> Feed:
        """Ask for events; returns once the daemon accepted. Errors as in `call`."""
        answer = self.call("subscribe", params, timeout_s)
        number = answer.get("subscription") if isinstance(answer, dict) else None
        if type(number) is not int:
            raise feed_without_number()
        # events cannot have come before: the daemon answers first
        self._feeds[number] = feed = Feed(self, number)
        return feed

    def _next_event(self, feed: Feed, deadline: float | None) -> None:
        """Read until something arrived for `feed`."""
        while not feed.waiting and not feed.ended:
            self._sort(self._read_message(deadline))

    def _sort(self, message: dict[str, Any]) -> None:
        """Put an event where it belongs; late answers and ended subscriptions are dropped."""
        if message.get("id") is None and "error" in message:
            raise framing.read_error(message["error"])  # said of the connection, not of a call
        said = framing.subscription_of(message)
        feed = self._feeds.get(said[0]) if said is not None else None
        if said is None or feed is None:
            return
        params = said[1]
        if message.get("method") == "end":
            feed.finish(framing.read_error(params["error"]) if "error" in params else None)
            del self._feeds[feed.number]
        elif isinstance(params.get("event"), dict):
            feed.take(params["event"])

    def _forget(self, feed: Feed) -> None:
        if self._feeds.pop(feed.number, None) is not None:
            try:
                self.call("unsubscribe", {"subscription": feed.number}, HELLO_TIMEOUT_S)
            except CommandError as error:
                if error.kind != "no_such_target":  # it had ended by itself just then
                    raise

    def _read_message(self, deadline: float | None) -> dict[str, Any]:
        try:
            return framing.decode_object(self._read_line(deadline))
        except ControlProtocolError as error:
            raise garbled(error) from error

    def _read_line(self, deadline: float | None) -> bytes:
        """The next line; TimeoutError leaves what was read for the next try."""
        try:
            while (line := self._lines.next_line()) is None:
                self._raw.settimeout(_left(deadline))
                data = self._raw.recv(READ_BYTES)
                if not data:
                    raise DaemonGone
                self._lines.receive_data(data)
        except ControlProtocolError as error:
            raise garbled(error) from error
        except TimeoutError:
            raise
        except OSError:
            raise DaemonGone from None
        return line

    def _write(self, line: bytes, deadline: float | None) -> None:
        try:
            self._raw.settimeout(_left(deadline))
            self._raw.sendall(line)
        except TimeoutError:
            self._raw.close()  # an unknown part of the line is out: nothing can follow it
            raise
        except OSError:
            raise DaemonGone from None


class Feed:
    """Events of one subscription, in order. Iterate, or take them one by one with a timeout."""

    def __init__(self, client: PlainClient, number: int) -> None:
        self._client = client
        self.number = number
        self.waiting: deque[dict[str, Any]] = deque()
        self.ended = False
        self._error: CommandError | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (event := self.next_event()) is not None:
            yield event

    def next_event(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """The next event; None once the daemon ended the subscription in good order.

        TimeoutError after `timeout_s` seconds without one (ask again at will);
        CommandError if the daemon could not go on; DaemonGone if it went away.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._client._next_event(self, deadline)
        if self.waiting:
            return self.waiting.popleft()
        if self._error is not None:
            raise self._error
        return None

    def close(self) -> None:
        """Tell the daemon to stop; events not taken are dropped."""
        self.ended = True
        self.waiting.clear()
        self._client._forget(self)

    def take(self, event: dict[str, Any]) -> None:
        """An event arrived."""
        if len(self.waiting) >= MAX_WAITING_EVENTS:
            self.finish(feed_overrun())
        if not self.ended:
            self.waiting.append(event)

    def finish(self, error: CommandError | None) -> None:
        """No more will come; what is waiting can still be taken."""
        self.ended = True
        self._error = error


def _left(deadline: float | None) -> float | None:
    """Seconds until `deadline`, as a socket timeout (0 would mean "never wait")."""
    return None if deadline is None else max(deadline - time.monotonic(), 0.000_001)
