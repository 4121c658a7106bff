"""The pump of a link over a stream in memory: order, bounds, ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from p2pchat.daemon import links as under_test
from p2pchat.daemon.links import (
    FRAMES_AT_ONCE,
    FRAMES_PER_S,
    OUTSTANDING,
    QUEUE_BYTES,
    Bucket,
    Check,
    Gate,
    Inbox,
    Pump,
)
from p2pchat.engine.inputs import DialFailed, FromPeer, Input, LinkDown, LinkDrained, LinkUp
from p2pchat.engine.links import Ended, LinkMachine
from p2pchat.errors import LocalProtocolError
from p2pchat.ids import DeviceId
from p2pchat.net.lan import Address
from p2pchat.wire.codec import Record
from p2pchat.wire.framing import frame
from p2pchat.wire.limits import (
    DEAD_AFTER_S,
    HANDSHAKE_S,
    MAX_FRAME,
    MAX_HALF_OPEN,
    MAX_HALF_OPEN_PER_ADDRESS,
)
from p2pchat.wire.messages.link import Keys, Ping, SasReveal
from tests.engine.wire_pair import events, machine, person

BIG = Keys(b"r" * 32, (b"k" * 60_000,))
HERE = Address("192.0.2.1", 26700)
AUTHOR = DeviceId(b"d" * 32)


class Wire:
    """One end of a stream in memory with an address; bytes it holds unread are bounded by `room`."""

    def __init__(self, stream: trio.StapledStream[trio.abc.SendStream, trio.abc.ReceiveStream]) -> None:
        self._stream = stream
        self.remote_address = HERE
        self.blocked = False
        self.freed = trio.Event()

    def block(self) -> None:
        """Whoever sends from now on waits: the other side reads nothing."""
        self.blocked = True

    def free(self) -> None:
        self.blocked = False
        self.freed.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.blocked:
            await self.freed.wait()
        await self._stream.send_all(data)

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        return 0  # cannot do so, as lan.Stream allows

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._stream.aclose()


@dataclass
class End:
    """One pump with the inbox it posts to."""

    pump: Pump
    wire: Wire
    inbox: list[Input] = field(default_factory=list)
    at_once: list[Input] = field(default_factory=list)

    def of(self, kind: type[Input]) -> list[Input]:
        return [event for event in self.inbox if isinstance(event, kind)]

    def records(self) -> list[Record]:
        return [event.message for event in self.inbox if isinstance(event, FromPeer)]


def ends(
    *, prompt: bool = True, check: Check | None = None, bob: LinkMachine | None = None
) -> tuple[End, End]:
    """Alice dials Bob. With `prompt` every input is taken from the inbox at once."""
    wires = [Wire(stream) for stream in memory_stream_pair()]
    made = []
    now = trio.current_time()
    machines = (
        machine(person("alice"), initiator=True, now=now),
        bob or machine(person("bob"), initiator=False, now=now),
    )
    for number, (one, wire) in enumerate(zip(machines, wires, strict=True), 1):
        end: list[End] = []

        def post(event: Input, end: list[End] = end) -> None:
            end[0].inbox.append(event)
            if prompt and isinstance(event, FromPeer):
                end[0].pump.handled()

        def at_once(event: Input, end: list[End] = end, post: Callable[[Input], None] = post) -> None:
            post(event)
            end[0].at_once.append(event)

        inbox = Inbox(post, at_once, trio.current_time, lambda: {AUTHOR: b"k" * 32}, check)
        pump = Pump(number, one, wire, inbox, dial=7 if number == 1 else None)
        end.append(End(pump, wire))
        made.append(end[0])
    return made[0], made[1]


async def run_both(nursery: trio.Nursery, alice: End, bob: End) -> None:
    """Start both and wait until they know each other."""
    nursery.start_soon(alice.pump.run)
    nursery.start_soon(bob.pump.run)
    await alice.pump.established.wait()
    await bob.pump.established.wait()


async def settled(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    with trio.fail_after(timeout_s):
        while not condition():
            await trio.sleep(0.01)


# -- ordinary life ---------------------------------------------------------------------------


async def test_both_nodes_hear_of_the_link_and_of_its_end(autojump_clock: MockClock) -> None:
    alice, bob = ends()
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        alice.pump.close("stopping")
    (up,) = alice.of(LinkUp)
    assert isinstance(up, LinkUp)
    assert (up.device, up.account, up.dial, up.initiator) == (
        person("bob").device,
        person("bob").account,
        7,
        True,
    )
    assert (up.host, up.port) == (HERE.host, 26700)
    assert alice.inbox[-1] == LinkDown(1, "stopping")
    assert bob.inbox[-1] == LinkDown(2, "stopping")


async def test_records_arrive_in_the_order_they_were_sent(autojump_clock: MockClock) -> None:
    alice, bob = ends()
    sent = [SasReveal(n.to_bytes(32, "big")) for n in range(500)]
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        for record in sent:
            alice.pump.send(record)
        await settled(lambda: len(bob.records()) == len(sent))
        alice.pump.close("bye")
    assert bob.records() == sent


async def test_the_last_record_of_a_read_may_be_handled_at_once(autojump_clock: MockClock) -> None:
    """Nothing comes behind it, so nothing is kept from sharing its transaction."""
    alice, bob = ends()
    sent = [SasReveal(n.to_bytes(32, "big")) for n in range(5)]
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        for record in sent:  # before the reader has a turn: they come in one read
            alice.pump.send(record)
        await settled(lambda: len(bob.records()) == len(sent))
        assert bob.at_once == [FromPeer(2, sent[-1])]
        alice.pump.send(BIG)
        await settled(lambda: len(bob.records()) > len(sent))
        assert bob.at_once[1:] == [FromPeer(2, BIG)]
        alice.pump.close("bye")


async def test_what_was_sent_before_the_close_still_arrives(autojump_clock: MockClock) -> None:
    alice, bob = ends()
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        alice.pump.send(BIG)
        alice.pump.close("bye")
    assert bob.records() == [BIG]
    assert bob.inbox[-1] == LinkDown(2, "bye")


async def test_quiet_links_live_and_dead_ones_are_noticed(autojump_clock: MockClock) -> None:
    alice, bob = ends()
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        await trio.sleep(600)
        assert not alice.of(LinkDown)
        assert not bob.of(LinkDown)
        alice.wire.block()
        bob.wire.block()
        began = trio.current_time()
        await settled(lambda: bool(alice.of(LinkDown) and bob.of(LinkDown)), 40)
        assert trio.current_time() - began <= DEAD_AFTER_S + 2
    assert alice.inbox[-1] == LinkDown(1, "silent")


# -- ends that nobody wished ---------------------------------------------------------------------


async def test_a_dial_that_ends_in_the_handshake_failed(autojump_clock: MockClock) -> None:
    stranger = machine(person("bob"), initiator=False, psks=(b"\x01" * 32,), now=0.0)
    alice, bob = ends(bob=stranger)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.pump.run)
        nursery.start_soon(bob.pump.run)
    assert alice.inbox == [DialFailed(7, "truncated")]
    assert bob.inbox == []


async def test_a_stranger_who_says_nothing_is_sent_away(autojump_clock: MockClock) -> None:
    _, bob = ends()
    began = trio.current_time()
    await bob.pump.run()
    assert bob.inbox == []
    assert HANDSHAKE_S <= trio.current_time() - began <= HANDSHAKE_S + 2


async def test_a_stream_that_breaks_ends_the_link(autojump_clock: MockClock) -> None:
    alice, bob = ends()
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        await bob.wire.aclose()
    (down,) = alice.of(LinkDown)
    assert isinstance(down, LinkDown)
    assert down.reason in ("truncated", "broken")


async def test_a_cancelled_link_still_tells_the_node(autojump_clock: MockClock) -> None:
    alice, bob = ends()
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        nursery.cancel_scope.cancel()
    assert alice.of(LinkDown)
    assert bob.of(LinkDown)


async def test_a_frame_cut_by_the_end_is_not_followed_by_others(autojump_clock: MockClock) -> None:
    """A writer stopped inside a frame says nothing more: what it said would be read as that frame's rest."""
    alice, bob = ends()
    sent: list[bytes] = []

    async def half(data: bytes | bytearray | memoryview) -> None:
        sent.append(bytes(data))
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        await trio.sleep(1)
        alice.wire.send_all = half  # type: ignore[method-assign]
        alice.pump.send(BIG)
        await trio.sleep(1)
        alice.pump.send(BIG)
        await bob.wire.aclose()
    assert len(sent) == 1


async def test_a_peer_that_breaks_the_rules_hears_why(autojump_clock: MockClock) -> None:
    alice, bob = ends()
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        session = alice.pump._machine._session
        assert session is not None
        await alice.wire.send_all(frame(session.seal(b"\xee\x80".ljust(64, b"\0"))))
    assert alice.inbox[-1] == LinkDown(1, "unknown frame type")
    assert bob.inbox[-1] == LinkDown(2, "unknown frame type")


# -- bounds ---------------------------------------------------------------------------------------


async def test_a_peer_that_reads_nothing_costs_a_mebibyte_and_no_time(
    autojump_clock: MockClock,
) -> None:
    alice, bob = ends()
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        alice.wire.block()
        began = trio.current_time()
        for _ in range(100):
            alice.pump.send(BIG)
            await trio.lowlevel.checkpoint()
            assert alice.pump.queued <= QUEUE_BYTES
        assert trio.current_time() == began
        alice.wire.free()
        await settled(lambda: bool(alice.of(LinkDrained)))
        assert alice.of(LinkDrained) == [LinkDrained(1)]
        assert 10 < len(bob.records()) < 20
        alice.pump.send(SasReveal(b"x" * 32))
        await settled(lambda: bob.records()[-1] == SasReveal(b"x" * 32))
        alice.pump.close("bye")


async def test_questions_of_a_peer_that_reads_no_answers_cost_a_bounded_queue(
    autojump_clock: MockClock,
) -> None:
    alice, bob = ends()
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        bob.wire.block()  # bob's answers go nowhere
        worst = 0
        for round_ in range(60):
            for n in range(1000):
                alice.pump.send(Ping(n))
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            worst = max(worst, bob.pump.queued)
            if round_ % 10 == 9:
                await trio.sleep(0.5)
        assert worst <= QUEUE_BYTES + 4 * MAX_FRAME
        nursery.cancel_scope.cancel()


async def test_a_flood_waits_in_its_own_socket(autojump_clock: MockClock) -> None:
    alice, bob = ends(prompt=False)
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        for n in range(OUTSTANDING * 3):
            alice.pump.send(SasReveal(n.to_bytes(32, "big")))
        await trio.sleep(1)
        assert len(bob.records()) == OUTSTANDING
        bob.pump.handled()
        await trio.sleep(1)
        assert len(bob.records()) == OUTSTANDING + 1
        nursery.cancel_scope.cancel()


async def test_a_close_is_not_held_up_by_a_full_inbox_or_a_deaf_peer(autojump_clock: MockClock) -> None:
    alice, bob = ends(prompt=False)
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        for n in range(OUTSTANDING * 2):
            alice.pump.send(SasReveal(n.to_bytes(32, "big")))
        await trio.sleep(1)
        bob.wire.block()
        began = trio.current_time()
        bob.pump.close("stopping")
        await settled(lambda: bool(bob.of(LinkDown)))
        assert trio.current_time() - began <= 3
        nursery.cancel_scope.cancel()


async def test_a_flood_is_read_no_faster_than_its_share(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "FRAMES_AT_ONCE", 300.0)
    monkeypatch.setattr(under_test, "FRAMES_PER_S", 100.0)
    alice, bob = ends()
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        began = trio.current_time()
        for n in range(600):
            alice.pump.send(Ping(n))
            if n % 20 == 0:
                await settled(lambda: alice.pump.queued == 0, 20)
        alice.pump.send(SasReveal(b"x" * 32))
        await settled(lambda: bool(bob.records()), 20)
        assert 1 <= trio.current_time() - began <= 5  # the last read is paid for after it
        assert not bob.of(LinkDown)
        alice.pump.close("bye")


def test_a_share_not_used_is_kept_up_to_its_bound() -> None:
    bucket = Bucket(0.0)
    assert bucket.take(int(FRAMES_AT_ONCE), 0.0) == 0
    assert bucket.take(int(FRAMES_PER_S), 0.0) == 1.0
    assert bucket.take(0, 1.0) == 0
    assert bucket.take(int(FRAMES_AT_ONCE), 1e6) == 0
    assert bucket.take(1, 1e6) > 0


# -- the door --------------------------------------------------------------------------------------


def test_one_address_takes_only_its_share_of_the_door() -> None:
    gate = Gate()
    assert [gate.enter(HERE) for _ in range(MAX_HALF_OPEN_PER_ADDRESS + 1)] == [
        *[True] * MAX_HALF_OPEN_PER_ADDRESS,
        False,
    ]
    gate.leave(HERE)
    assert gate.enter(Address(HERE.host, 1))


def test_the_door_holds_so_many_in_all() -> None:
    gate = Gate()
    entered = sum(gate.enter(Address(f"192.0.2.{n}", 1)) for n in range(200))
    assert entered == gate.half_open == MAX_HALF_OPEN
    for n in range(MAX_HALF_OPEN):
        gate.leave(Address(f"192.0.2.{n}", 1))
    assert gate.half_open == 0
    with pytest.raises(LocalProtocolError):
        gate.leave(HERE)


def test_the_events_of_a_machine_that_ended_are_over() -> None:
    one = machine(person("alice"), initiator=True)
    one.close("bye")
    assert events(one) == [Ended("bye", clean=True)]
