"""Where the daemon listens: nobody else may get in, in its way, or be pushed aside."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pchat import paths, platform
from p2pchat.control import endpoint, framing
from p2pchat.control.endpoint import TcpListener, UnixListener, open_control
from p2pchat.control.token import decode_token_file, prove
from p2pchat.errors import CommandError
from p2pchat.paths import Profile
from tests.control.house import House, Line, serving
from tests.kit.needs import needs_root


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return paths.profile(tmp_path / "home")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777], ids=oct)
async def test_socket_and_folder_are_owner_only_whatever_the_umask(umask: int, profile: Profile) -> None:
    before = os.umask(umask)
    try:
        listener = open_control(profile)
    finally:
        assert os.umask(before) == umask, "the umask is as it was"
    assert profile.socket.stat().st_mode & 0o777 == 0o600
    assert profile.home.stat().st_mode & 0o777 == 0o700
    await listener.aclose()
    assert not profile.socket.exists()
    await listener.aclose()


async def test_the_socket_never_has_a_wider_mode(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    listen = socket.socket.listen

    def spy(self: socket.socket, backlog: int) -> None:
        modes.append(profile.socket.stat().st_mode & 0o777)  # after bind, before anybody can connect
        listen(self, backlog)

    monkeypatch.setattr(socket.socket, "listen", spy)
    monkeypatch.setattr(os, "chmod", None)
    listener = open_control(profile)
    await listener.aclose()
    assert modes == [0o600]


async def test_a_second_daemon_is_told_and_the_first_stays(profile: Profile) -> None:
    first = open_control(profile)
    with pytest.raises(CommandError) as caught:
        open_control(profile)
    assert caught.value.kind == "exists"
    assert "already running" in caught.value.message
    assert profile.socket.exists()
    await first.aclose()
    await open_control(profile).aclose()


async def test_a_socket_left_by_a_killed_daemon_is_replaced(profile: Profile) -> None:
    platform.make_private_dir(profile.home)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(profile.socket))
    listener = open_control(profile)
    async with serving(listener, House()):
        line = Line(await trio.open_unix_socket(os.fspath(profile.socket)))
        assert (await line.read() or {})["p2pchat"] == 1
        await line.stream.aclose()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
async def test_what_is_no_socket_is_never_removed(kind: str, profile: Profile, tmp_path: Path) -> None:
    platform.make_private_dir(profile.home)
    match kind:
        case "file":
            profile.socket.write_text("precious")
        case "folder":
            profile.socket.mkdir()
        case "link":
            profile.socket.symlink_to(tmp_path)
    with pytest.raises(CommandError) as caught:
        open_control(profile)
    assert caught.value.kind == "unsafe_path"
    assert os.fspath(profile.socket) in caught.value.message
    assert profile.socket.is_symlink() or profile.socket.exists()


@needs_root
async def test_the_socket_of_another_user_is_never_removed(profile: Profile) -> None:
    platform.make_private_dir(profile.home)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(profile.socket))
    os.chown(profile.socket, 65534, 65534)
    with pytest.raises(CommandError, match="belongs to user 65534"):
        open_control(profile)
    assert profile.socket.exists()


async def test_closing_leaves_the_socket_of_somebody_else(profile: Profile) -> None:
    listener = open_control(profile)
    profile.socket.rename(profile.home / "moved")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.fspath(profile.socket))
        await listener.aclose()
        assert profile.socket.exists()


async def test_a_place_where_nothing_can_be_bound_is_one_clear_error(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: socket.socket, address: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    class Unbindable(socket.socket):
        bind = refuse

    monkeypatch.setattr(endpoint.socket, "socket", Unbindable)
    with pytest.raises(CommandError, match="read-only file system"):
        open_control(profile)


async def test_homes_of_any_length_have_an_endpoint(tmp_path: Path) -> None:
    profile = paths.profile(tmp_path / ("long" * 50))
    listener = open_control(profile)
    try:
        assert not profile.socket.is_relative_to(tmp_path)
        assert profile.socket.parent.stat().st_mode & 0o777 == 0o700
        (await trio.open_unix_socket(os.fspath(profile.socket))).socket.close()
    finally:
        await listener.aclose()


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A home other users can walk into, as none of ours ever is."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


STRANGER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as other:
    try:
        other.connect(sys.argv[1])
        print("got", other.recv(100))
    except OSError as error:
        print(type(error).__name__)
"""


async def stranger(path: Path) -> str:
    done = await trio.run_process(
        [sys.executable, "-c", STRANGER, os.fspath(path)], capture_stdout=True, stderr=subprocess.STDOUT
    )
    return done.stdout.decode().strip()


@needs_root
async def test_another_user_is_stopped_by_folder_mode_and_kernel_each_alone(
    open_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    profile = paths.profile(open_home)
    async with serving(open_control(profile), House()):
        assert await stranger(profile.socket) == "PermissionError"
        open_home.chmod(0o755)
        assert await stranger(profile.socket) == "PermissionError"
        profile.socket.chmod(0o666)
        assert await stranger(profile.socket) == "got b''", "connected, and not a byte for him"
        assert "user 65534 tried to use the control socket" in caplog.text

        line = Line(await trio.open_unix_socket(os.fspath(profile.socket)))
        assert (await line.read() or {})["p2pchat"] == 1, "the owner is served as before"
        await line.stream.aclose()


async def tcp_stranger(profile: Profile) -> Line:
    entry = decode_token_file(profile.token.read_bytes())
    assert entry is not None
    return Line(await trio.open_tcp_stream("127.0.0.1", entry.port))


async def test_loopback_listens_on_loopback_only_and_its_token_is_private(profile: Profile) -> None:
    listener = open_control(profile, transport="tcp")
    assert isinstance(listener, TcpListener)
    assert listener._listener.socket.getsockname()[0] == "127.0.0.1"
    assert profile.token.stat().st_mode & 0o777 == 0o600
    first = profile.token.read_bytes()
    assert len(bytes.fromhex(json.loads(first)["token"])) == 32
    await listener.aclose()
    assert not profile.token.exists()

    second = open_control(profile, transport="tcp")
    assert profile.token.read_bytes() != first, "a token leaked by a crash opens nothing"
    await second.aclose()


async def test_closing_leaves_the_token_of_a_later_daemon(profile: Profile) -> None:
    early = open_control(profile, transport="tcp")
    late = open_control(profile, transport="tcp")
    await early.aclose()
    assert profile.token.exists()
    await late.aclose()


async def test_a_client_that_proves_the_token_is_served(profile: Profile) -> None:
    async with serving(open_control(profile, transport="tcp"), House()):
        line = await tcp_stranger(profile)
        entry = decode_token_file(profile.token.read_bytes())
        challenge = await line.read()
        assert entry is not None
        assert challenge is not None
        nonce = "cc" * 16
        proof = prove(entry.token, "client", challenge["nonce"], nonce)
        await line.say(framing.encode({"nonce": nonce, "proof": proof}) + framing.request(1, "echo", {}))
        hello = await line.read()
        assert hello is not None
        assert hello["proof"] == prove(entry.token, "server", challenge["nonce"], nonce)
        assert await line.read() == {"jsonrpc": "2.0", "id": 1, "result": {}}, "early bytes count"
        await line.stream.aclose()


@pytest.mark.parametrize(
    "said",
    [
        b"\n",
        b'{"jsonrpc":"2.0","id":1,"method":"echo"}\n',
        b'{"nonce":"' + b"0" * 32 + b'","proof":"' + b"0" * 64 + b'"}\n',
        b"GET / HTTP/1.1\r\n\r\n",
        b"x" * 5000,
        b"",
    ],
)
async def test_who_does_not_know_the_token_gets_nothing(
    said: bytes, profile: Profile, caplog: pytest.LogCaptureFixture
) -> None:
    house = House()
    async with serving(open_control(profile, transport="tcp"), house):
        line = await tcp_stranger(profile)
        assert {*(await line.read() or {})} == {"p2pchat", "nonce"}
        await line.say(said)
        assert isinstance(line.stream, trio.SocketStream)
        await line.stream.send_eof()
        with trio.fail_after(5):
            try:
                assert await line.read() is None
            except trio.BrokenResourceError:
                pass  # a reset: unread bytes were thrown away
        await line.stream.aclose()
    assert "control connection refused" in caplog.text
    assert house.clients == []


async def test_a_stranger_who_says_nothing_is_let_go(
    profile: Profile, autojump_clock: trio.testing.MockClock
) -> None:
    listener = open_control(profile, transport="tcp")
    ours, theirs = trio.testing.memory_stream_pair()
    start = trio.current_time()
    with pytest.raises(endpoint.Refused, match="in time"):
        await listener.admit(ours)
    assert trio.current_time() - start == pytest.approx(endpoint.ADMISSION_TIMEOUT_S)
    await theirs.aclose()
    await listener.aclose()


async def test_the_kernel_refusing_to_say_who_connected_refuses_him(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = open_control(profile)
    assert isinstance(listener, UnixListener)
    stream = await trio.open_unix_socket(os.fspath(profile.socket))

    def gone(_: object) -> int:
        raise OSError(errno.ENOTCONN, "not connected")

    monkeypatch.setattr(platform, "peer_uid", gone)
    with pytest.raises(endpoint.Refused):
        await listener.admit(stream)
    await stream.aclose()
    await listener.aclose()
