"""Both clients against a real endpoint, over both transports."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

from p2pchat import paths, platform
from p2pchat.control import client, client_trio, framing
from p2pchat.control.client import DaemonGone, Feed, PlainClient
from p2pchat.control.endpoint import Transport, open_control
from p2pchat.control.token import TokenFile, encode_token_file
from p2pchat.errors import CommandError
from p2pchat.paths import Profile
from tests.control.house import VERSION, House, serving

T = TypeVar("T")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return paths.profile(tmp_path / "home")


@pytest.fixture(params=["unix", "tcp"])
def transport(request: pytest.FixtureRequest) -> Transport:
    chosen: Transport = request.param
    return chosen


@contextlib.asynccontextmanager
async def daemon(profile: Profile, transport: Transport = "unix") -> AsyncIterator[House]:
    house = House()
    async with serving(open_control(profile, transport=transport), house):
        yield house


async def in_thread(play: Callable[[], T]) -> T:
    """A blocking play beside the daemon."""
    return await trio.to_thread.run_sync(play, abandon_on_cancel=True)


async def test_the_plain_client_calls_and_listens(profile: Profile, transport: Transport) -> None:
    def play() -> list[object]:
        with client.connect(profile) as plain:
            assert plain.daemon["pid"] == os.getpid()
            assert plain.daemon["version"] == VERSION
            assert plain.call("echo", {"text": "grüße \U0001f600"}) == {"text": "grüße \U0001f600"}
            with pytest.raises(CommandError) as caught:
                plain.call("fail", timeout_s=5)
            assert caught.value.kind == "no_such_target"
            assert caught.value.hint == "p2pchat peers"
            return [event["n"] for event in plain.subscribe({"count": 5})]

    async with daemon(profile, transport) as house:
        assert await in_thread(play) == [0, 1, 2, 3, 4]
        assert {info.transport for info in house.clients} == {transport}
        assert {info.uid for info in house.clients} == {os.geteuid()}


async def test_the_trio_client_calls_and_listens(profile: Profile, transport: Transport) -> None:
    async with daemon(profile, transport):
        async with await client_trio.connect(profile) as chat:
            assert chat.daemon["version"] == VERSION
            assert await chat.call("echo", {"a": 1}) == {"a": 1}
            feed = await chat.subscribe({"count": 3})
            assert [event["n"] async for event in feed] == [0, 1, 2]
            with pytest.raises(CommandError, match="nobody is called 'bob'"):
                await chat.call("fail")


async def test_large_answers_arrive_whole(profile: Profile, transport: Transport) -> None:
    def play() -> int:
        with client.connect(profile) as plain:
            return len(plain.call("huge", {"size": 5_000_000}))

    async with daemon(profile, transport):
        assert await in_thread(play) == 5_000_000


async def test_a_timeout_leaves_the_connection_usable(profile: Profile) -> None:
    house_doors = threading.Event()

    def play() -> None:
        with client.connect(profile) as plain:
            with pytest.raises(CommandError) as caught:
                plain.call("wait", {"door": "a"}, timeout_s=0.01)
            assert caught.value.kind == "timeout"
            assert "'wait'" in caught.value.message
            house_doors.set()
            assert plain.call("wait", {"door": "a"}) == "a", "the late answer is not taken for this one"
            assert plain.call("echo", {"b": 2}) == {"b": 2}

    async with daemon(profile) as house:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, play)
            await in_thread(house_doors.wait)
            house.door("a").set()


async def test_events_that_come_during_a_call_wait_their_turn(profile: Profile) -> None:
    def play() -> None:
        with client.connect(profile) as plain:
            feed = plain.subscribe({"count": 10, "then": "wait"})
            assert plain.call("echo", {"x": 1}) == {"x": 1}
            assert [(feed.next_event(5) or {})["n"] for _ in range(10)] == [*range(10)]
            with pytest.raises(TimeoutError):
                feed.next_event(0.01)
            with pytest.raises(TimeoutError):
                feed.next_event(0.01)
            feed.close()
            feed.close()
            assert feed.next_event(0.01) is None
            assert plain.call("echo") == {}

    async with daemon(profile) as house:
        await in_thread(play)
        assert house.closed_feeds == 1


async def test_two_feeds_do_not_mix(profile: Profile) -> None:
    def play() -> None:
        with client.connect(profile) as plain:
            one, two = plain.subscribe({"count": 40}), plain.subscribe({"count": 3})
            assert [event["n"] for event in two] == [0, 1, 2]
            assert [event["n"] for event in one] == [*range(40)]

    async with daemon(profile):
        await in_thread(play)


async def test_a_feed_that_breaks_says_why_after_its_last_event(profile: Profile) -> None:
    def play() -> list[int]:
        numbers = []
        with client.connect(profile) as plain:
            with pytest.raises(CommandError) as refused:
                plain.subscribe({"refuse": True})
            assert refused.value.hint == "p2pchat listen --help"
            feed = plain.subscribe({"count": 2, "then": "fail"})
            numbers = [(feed.next_event() or {})["n"], (feed.next_event() or {})["n"]]
            with pytest.raises(CommandError, match="the archive is gone"):
                feed.next_event()
        return numbers

    async with daemon(profile):
        assert await in_thread(play) == [0, 1]


def test_a_feed_nobody_takes_is_ended_with_a_reason() -> None:
    ours, theirs = socket.socketpair()
    with theirs, PlainClient(ours) as plain:
        feed = Feed(plain, 1)
        for number in range(client.MAX_WAITING_EVENTS + 10):
            feed.take({"n": number})
        assert [(feed.next_event() or {})["n"] for _ in range(client.MAX_WAITING_EVENTS)] == [
            *range(client.MAX_WAITING_EVENTS)
        ]
        with pytest.raises(CommandError, match="faster than they were taken"):
            feed.next_event()


def told(error: CommandError) -> tuple[str, int, str]:
    return error.kind, error.code, error.hint


async def both(profile: Profile) -> CommandError:
    """What both clients say when they cannot connect: the same."""
    with pytest.raises(CommandError) as plain:
        await in_thread(lambda: client.connect(profile))
    with pytest.raises(CommandError) as chat:
        await client_trio.connect(profile)
    assert told(plain.value) == told(chat.value)
    assert plain.value.message == chat.value.message
    return plain.value


async def test_no_daemon_is_exit_3_with_the_way_out(profile: Profile) -> None:
    error = await both(profile)
    assert told(error) == ("no_daemon", 3, "p2pchat up")
    assert os.fspath(profile.home) in error.message


async def test_what_a_killed_daemon_leaves_is_no_daemon(profile: Profile) -> None:
    platform.make_private_dir(profile.home)
    with socket.socket(socket.AF_UNIX) as dead, socket.socket() as closed:
        dead.bind(os.fspath(profile.socket))
        closed.bind(("127.0.0.1", 0))
        entry = TokenFile(closed.getsockname()[1], bytes(32))
    platform.write_private_file(profile.token, encode_token_file(entry))
    assert told(await both(profile)) == ("no_daemon", 3, "p2pchat up")
    platform.write_private_file(profile.token, b"junk")
    assert told(await both(profile)) == ("no_daemon", 3, "p2pchat up")


async def test_a_folder_open_to_others_is_not_trusted(profile: Profile) -> None:
    profile.home.mkdir()
    profile.home.chmod(0o777)
    assert (await both(profile)).kind == "unsafe_path"


async def test_a_socket_served_by_another_user_is_not_spoken_to(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.make_private_dir(profile.home)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.fspath(profile.socket))
        other.listen()
        monkeypatch.setattr(platform, "peer_uid", lambda _: os.geteuid() + 1)
        error = await both(profile)
        assert error.kind == "unsafe_path"
        assert "another user" in error.message


async def test_a_long_home_finds_its_daemon(tmp_path: Path) -> None:
    profile = paths.profile(tmp_path / ("long" * 50))

    def play() -> Any:
        with client.connect(profile) as plain:
            return plain.call("echo", {"a": 1})

    async with daemon(profile):
        assert await in_thread(play) == {"a": 1}


@contextlib.contextmanager
def impostor(profile: Profile, says: list[bytes], *, port: bool) -> Iterator[list[bytes]]:
    """Something that is not our daemon where it should be: says its lines, then keeps quiet or closes.

    Yields what it heard.
    """
    heard: list[bytes] = []
    platform.make_private_dir(profile.home)
    server = socket.socket(socket.AF_INET if port else socket.AF_UNIX)
    server.bind(("127.0.0.1", 0) if port else os.fspath(profile.socket))
    server.listen()
    if port:
        entry = TokenFile(server.getsockname()[1], b"t" * 32)
        platform.write_private_file(profile.token, encode_token_file(entry))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    for line in says:
                        connection.sendall(line)
                    connection.shutdown(socket.SHUT_WR)
                    heard.append(connection.recv(10_000))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        server.close()


def line(**value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


@pytest.mark.parametrize(
    ("says", "kind", "words"),
    [
        ([], "no_daemon", "does not answer"),
        ([b"HTTP/1.1 400 Bad Request\n"], "internal", "makes no sense"),
        ([b"[]\n"], "internal", "makes no sense"),
        ([b"x" * (framing.MAX_REPLY + 1)], "internal", "longer than"),
        ([line(p2pchat=2)], "failed", "version 2"),
        ([line(hello=1)], "failed", "version None"),
        ([line(id=None, error={"code": 1, "message": "full", "data": {"kind": "failed"}})], "failed", "full"),
    ],
)
async def test_what_answers_strangely_is_one_clear_error(
    says: list[bytes], kind: str, words: str, profile: Profile
) -> None:
    with impostor(profile, says, port=False):
        error = await both(profile)
    assert error.kind == kind
    assert words in error.message
    assert error.hint or kind == "failed"


@pytest.mark.parametrize(
    "says",
    [
        [b"220 mail.example ESMTP\n"],
        [line(p2pchat=1)],
        [line(p2pchat=1, nonce="aa" * 16), line(p2pchat=1, pid=1, version="1", proof="00" * 32)],
        [line(p2pchat=1, nonce="aa" * 16), line(p2pchat=1, pid=1, version="1")],
    ],
)
async def test_a_stranger_on_the_port_learns_neither_token_nor_call(
    says: list[bytes], profile: Profile
) -> None:
    with impostor(profile, says, port=True) as heard:
        error = await both(profile)
    assert error.kind == "no_daemon"
    assert not any((b"t" * 32).hex().encode() in data for data in heard)
    assert not any(b"method" in data for data in heard)


def test_a_daemon_that_says_nothing_is_not_waited_for(profile: Profile) -> None:
    platform.make_private_dir(profile.home)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(os.fspath(profile.socket))
        silent.listen()
        with pytest.raises(CommandError, match="does not answer"):
            client.connect(profile, timeout_s=0.02)


async def test_the_trio_client_does_not_wait_for_silence_either(
    profile: Profile, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()

    async def dial(_: Profile) -> tuple[trio.abc.Stream, None]:
        await trio.lowlevel.checkpoint()
        return ours, None

    monkeypatch.setattr(client_trio, "_dial", dial)
    with pytest.raises(CommandError, match="does not answer"):
        await client_trio.connect(profile)
    await theirs.aclose()


def test_a_daemon_that_goes_in_the_middle_is_told_apart() -> None:
    ours, theirs = socket.socketpair()
    with PlainClient(ours) as plain:
        theirs.close()
        with pytest.raises(DaemonGone) as caught:
            plain.call("echo")
        assert told(caught.value) == ("no_daemon", 3, "p2pchat up")


@pytest.mark.parametrize("result", [None, {}, {"subscription": True}, {"subscription": "1"}])
async def test_a_subscription_without_number_is_refused_by_both(result: object) -> None:
    answer = framing.encode(framing.result(1, result))
    ours, theirs = socket.socketpair()
    with theirs, PlainClient(ours) as plain:
        theirs.sendall(answer)
        with pytest.raises(CommandError, match="without number"):
            plain.subscribe()
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(framing.encode(framing.hello(1, "1")) + answer)
    chat = await client_trio.over(near)
    with pytest.raises(CommandError, match="without number"):
        await chat.subscribe()


@pytest.mark.parametrize(
    "noise",
    [
        {"jsonrpc": "2.0", "id": 999, "result": 1},
        {"jsonrpc": "2.0", "method": "event", "params": {"subscription": 5, "event": {}}},
        {"jsonrpc": "2.0", "method": "event", "params": []},
        {"jsonrpc": "2.0", "method": "event", "params": {"subscription": [], "event": {}}},
        {"jsonrpc": "2.0", "method": "from the future", "params": {}},
    ],
)
async def test_what_was_not_asked_for_is_passed_over(noise: dict[str, Any]) -> None:
    answer = framing.encode(noise) + framing.encode(framing.result(1, "yes"))
    ours, theirs = socket.socketpair()
    with theirs, PlainClient(ours) as plain:
        theirs.sendall(answer)
        assert plain.call("echo") == "yes"
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(framing.encode(framing.hello(1, "1")) + answer)
    assert await (await client_trio.over(near)).call("echo") == "yes"


async def test_what_the_system_refuses_is_told_with_its_reason(profile: Profile) -> None:
    platform.make_private_dir(profile.home)
    profile.socket.symlink_to(profile.socket)
    error = await both(profile)
    assert error.kind == "unsafe_path"
    assert "levels of symbolic links" in error.message


def test_a_busy_daemon_is_asked_again_and_then_given_up(profile: Profile) -> None:
    platform.make_private_dir(profile.home)
    with socket.socket(socket.AF_UNIX) as busy, contextlib.ExitStack() as crowd:
        busy.bind(os.fspath(profile.socket))
        busy.listen(0)
        for _ in range(10):
            waiting = crowd.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            waiting.connect_ex(os.fspath(profile.socket))
        with pytest.raises(CommandError, match="does not answer"):
            client.connect(profile, timeout_s=0.02)


def test_a_call_that_cannot_be_sent_times_out_and_ends_the_connection() -> None:
    ours, theirs = socket.socketpair()
    with theirs, PlainClient(ours) as plain:
        with pytest.raises(CommandError) as caught:
            plain.call("send", {"text": "x" * 1_000_000}, timeout_s=0.02)
        assert caught.value.kind == "timeout"
        with pytest.raises(DaemonGone):
            plain.call("echo")


def test_what_the_daemon_says_of_the_connection_reaches_who_waits() -> None:
    refusal = framing.ControlProtocolError(framing.INVALID_REQUEST, "a line is longer than 7 bytes")
    ours, theirs = socket.socketpair()
    with theirs, PlainClient(ours) as plain:
        theirs.sendall(framing.encode(framing.refusal(refusal)))
        with pytest.raises(CommandError, match="longer than 7"):
            plain.call("echo")


def test_junk_in_the_middle_is_one_clear_error() -> None:
    ours, theirs = socket.socketpair()
    with theirs, PlainClient(ours) as plain:
        theirs.sendall(b"\x00\n")
        with pytest.raises(CommandError, match="makes no sense"):
            plain.call("echo")


def test_a_plain_client_loads_nothing_heavy() -> None:
    script = (
        "import json, sys\n"
        "from p2pchat import paths\n"
        "from p2pchat.control import client\n"
        "from p2pchat.errors import CommandError\n"
        "try:\n    client.connect(paths.profile(sys.argv[1]))\n"
        "except CommandError as error:\n    assert error.kind == 'no_daemon'\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "/nonexistent/home"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(json.loads(done.stdout))
    heavy = {
        "trio", "msgspec", "nacl", "sqlite3", "sqlite_utils", "zeroconf", "typer", "asyncio", "logging",
        "platformdirs", "dataclasses", "inspect", "hashlib", "hmac", "ctypes", "subprocess", "tempfile",
    }  # fmt: skip
    assert not loaded & heavy
