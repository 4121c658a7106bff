"""The daemon's end of the control connection: where it listens and who may speak.

Decides: how the listening socket comes to be without a moment in which others could
use it, and whether a connection is our own user's. Does not know: JSON-RPC calls or
any operation. The caller holds the profile's lock, so one daemon at most is in here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

import trio

from p2pchat import platform
from p2pchat.control import framing
from p2pchat.control.token import (
    TOKEN_BYTES,
    TokenFile,
    encode_token_file,
    is_proven,
    new_nonce,
    prove,
)
from p2pchat.errors import CommandError, P2pchatError
from p2pchat.paths import Profile

BACKLOG: Final = 1024
"""Connections the kernel keeps for us: a script may start hundreds of commands at once."""

ADMISSION_TIMEOUT_S: Final = 5.0
"""How long a loopback stranger may take to prove the token; our own client takes milliseconds."""

MAX_ADMISSION_LINE: Final = 1024
"""Bytes of the one line read before a connection is known to be our user's."""

Transport = Literal["unix", "tcp"]


class ClientInfo(NamedTuple):
    """Who is at the other end: always our own user."""

    transport: str
    uid: int


class Refused(P2pchatError):
    """A connection that is not our own user's. Ends it and nothing else; its text is fit for the log."""


class Admission(NamedTuple):
    """An admitted client; what its hello carries besides the usual; bytes it sent early."""

    client: ClientInfo
    hello: dict[str, Any]
    early: bytes


class ControlListener(Protocol):
    """What the server needs of an open endpoint."""

    async def accept(self) -> trio.abc.Stream:
        """The next connection, of anybody; trio.ClosedResourceError once closed."""

    async def admit(self, stream: trio.abc.Stream) -> Admission:
        """Make sure the connection is our own user's, before anything else is read or said.

        Raises Refused, or what the stream raises when it breaks.
        """

    async def aclose(self) -> None:
        """Stop listening and remove what told clients where; harmless when repeated."""


def open_control(profile: Profile, *, transport: Transport | None = None) -> ControlListener:
    """Listen for the commands of `profile`'s owner.

    `transport` None takes Unix sockets where the system has them, else loopback TCP
    with a token. Never waits; inside trio only. CommandError `exists` if another live
    daemon answers there, `unsafe_path` if the place cannot be trusted.
    """
    if transport is None:
        transport = "unix" if platform.HAS_UNIX_SOCKETS else "tcp"
    return UnixListener(profile) if transport == "unix" else TcpListener(profile)


class UnixListener:
    """An owner-only Unix socket; the kernel says who connects."""

    def __init__(self, profile: Profile) -> None:
        self._path = profile.socket
        platform.make_private_dir(self._path.parent)
        _remove_stale(self._path, profile.home)
        raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _bind_private(raw, self._path)
            raw.listen(BACKLOG)
            self._inode = _inode(self._path)
            self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(raw))
        except BaseException:
            raw.close()
            raise

    async def accept(self) -> trio.abc.Stream:
        return await self._listener.accept()

    async def admit(self, stream: trio.abc.Stream) -> Admission:
        assert isinstance(stream, trio.SocketStream)
        await trio.lowlevel.checkpoint()
        try:
            uid = platform.peer_uid(stream.socket)
        except OSError as error:  # macOS says ENOTCONN for a client that is gone already
            raise Refused(f"the kernel does not say who connected: {error}") from error
        if uid != platform.user_id():
            raise Refused(f"user {uid} tried to use the control socket")
        return Admission(ClientInfo("unix", uid), {}, b"")

    async def aclose(self) -> None:
        # only our own: a later daemon may have put another socket in its place
        if self._inode is not None and _inode(self._path) == self._inode:
            self._path.unlink(missing_ok=True)
        self._inode = None
        await self._listener.aclose()


class TcpListener:
    """Loopback TCP on any free port; both sides prove the token (control/token.py)."""

    def __init__(self, profile: Profile) -> None:
        self._file = profile.token
        self._token = os.urandom(TOKEN_BYTES)  # new at every start: one leaked by a crash opens nothing
        platform.make_private_dir(self._file.parent)
        raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            raw.bind(("127.0.0.1", 0))
            raw.listen(BACKLOG)
            self._entry: bytes | None = encode_token_file(TokenFile(raw.getsockname()[1], self._token))
            platform.write_private_file(self._file, self._entry)
            self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(raw))
        except BaseException:
            raw.close()
            raise

    async def accept(self) -> trio.abc.Stream:
        return await self._listener.accept()

    async def admit(self, stream: trio.abc.Stream) -> Admission:
        nonce = new_nonce()
        lines = framing.LineBuffer(MAX_ADMISSION_LINE)
        with trio.move_on_after(ADMISSION_TIMEOUT_S):
            await stream.send_all(framing.encode({"p2pchat": framing.CONTROL_VERSION, "nonce": nonce}))
            try:
                while (line := lines.next_line()) is None:
                    data = await stream.receive_some()
                    if not data:
                        raise Refused("a loopback connection ended without proving the token")
                    lines.receive_data(data)
                answer = framing.decode_object(line)
            except framing.ControlProtocolError:
                raise Refused("a loopback connection sent no proof of the token") from None
            client_nonce = answer.get("nonce")
            if not is_proven(self._token, "client", nonce, client_nonce, answer.get("proof")):
                raise Refused("a loopback connection does not know the token")
            proof = prove(self._token, "server", nonce, str(client_nonce))
            return Admission(ClientInfo("tcp", platform.user_id()), {"proof": proof}, lines.rest())
        raise Refused("a loopback connection did not prove the token in time")

    async def aclose(self) -> None:
        # only our own: a later daemon may have written its own entry
        if self._entry is not None:
            with contextlib.suppress(FileNotFoundError):
                if platform.read_private_file(self._file) == self._entry:
                    self._file.unlink()
        self._entry = None
        await self._listener.aclose()


def _bind_private(raw: socket.socket, path: Path) -> None:
    """Bind so that the socket never had a mode wider than 0600.

    bind() creates it with the umask at that moment. Its folder is owner-only as well,
    so this is the second wall. Nothing is awaited while the umask is changed.
    """
    before = os.umask(0o177)
    try:
        raw.bind(os.fspath(path))
    except OSError as error:
        raise platform.disk_error(path, error) from error
    finally:
        os.umask(before)


def _remove_stale(path: Path, home: Path) -> None:
    """Make room for our socket: only a dead socket of ours is removed."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        why = f"{os.fspath(path)!r} is in the way and no socket"
        raise CommandError("unsafe_path", why, "move it away")
    if status.st_uid != platform.user_id():
        why = f"{os.fspath(path)!r} belongs to user {status.st_uid}"
        raise CommandError("unsafe_path", why, "name a folder of your own: --home DIR")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a live daemon with a full backlog gives EAGAIN instead of a wait
        reason = probe.connect_ex(os.fspath(path))
    if reason == errno.ECONNREFUSED:
        path.unlink(missing_ok=True)
    elif reason != errno.ENOENT:
        why = f"a daemon is already running for {os.fspath(home)!r}"
        raise CommandError("exists", why, "p2pchat status")


def _inode(path: Path) -> tuple[int, int] | None:
    """What tells our socket from another of the same name; None if there is none."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
