"""Who verifies many signatures: a process while there is one that works, else a thread, nobody never."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from p2pchat.crypto import checker as inside
from p2pchat.crypto.checker import Signed
from p2pchat.crypto.primitives import ed25519_keypair, ed25519_sign
from p2pchat.daemon import checking as under_test
from p2pchat.daemon.checking import (
    AGAIN_S,
    JOBS,
    KNOWN,
    LATELY_S,
    LOOK_S,
    START_AT,
    Checker,
    Process,
    Remembering,
    Verdicts,
    Worker,
    command,
    signatures,
    start_process,
)
from p2pchat.ids import DeviceId
from p2pchat.wire.codec import encode
from p2pchat.wire.messages.events import MESSAGE, SIGNED, Event, Header
from p2pchat.wire.messages.link import Events
from tests.cli.stage import subprocess_environment
from tests.kit.hosts import alive

PUBLIC, KEY = ed25519_keypair(b"k" * 32)
MANY = START_AT + 1
REAL_S = 20.0


def some(count: int, forged: int | None = None, text: bytes = b"") -> tuple[list[Signed], Verdicts]:
    """Signatures, of which one may be over something else, and what is true of them."""
    signed = []
    for number in range(count):
        message = b"%d %s" % (number, text)
        signed.append(Signed(PUBLIC, ed25519_sign(KEY, message), message + b"?" * (number == forged)))
    return signed, tuple(number != forged for number in range(count))


class FakeWorker:
    """The process without the process: answers by the same function, or as it is told not to."""

    def __init__(self, spoil: Callable[[bytes], bytes] | None = None, lives: int | None = None) -> None:
        """`spoil` changes each answer; after `lives` jobs it ends, and does not answer the last."""
        self._spoil = spoil
        self._lives = lives
        self.jobs: list[bytes] = []
        self.deaf = trio.Event()
        self.deaf.set()
        self.ended = False
        self._send, self._receive = trio.open_memory_channel[bytes](1000)

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self._lives is not None and len(self.jobs) >= self._lives:
            raise trio.BrokenResourceError
        self.jobs.append(data)
        if len(self.jobs) == self._lives:
            self._send.close()
            return
        answer = inside.answer(int.from_bytes(data[:4], "big"), data[8:])
        self._send.send_nowait(self._spoil(answer) if self._spoil is not None else answer)

    async def receive_some(self) -> bytes:
        await self.deaf.wait()
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            return b""

    async def end(self) -> str:
        await trio.lowlevel.checkpoint()
        self.ended = True
        return "status 0"


class Office:
    """A checker with fakes on both sides, and what they were asked."""

    def __init__(self) -> None:
        self.next: list[FakeWorker | Exception] = []
        self.workers: list[FakeWorker] = []
        self.threads = 0
        self.checker = Checker(self._start, self._in_thread, trio.current_time)

    async def _start(self) -> Worker:
        await trio.lowlevel.checkpoint()
        one = self.next.pop(0) if self.next else FakeWorker()
        if isinstance(one, Exception):
            raise one
        self.workers.append(one)
        return one

    async def _in_thread(self, work: Callable[[], Verdicts]) -> Verdicts:
        await trio.lowlevel.checkpoint()
        self.threads += 1
        return work()

    async def right(self, count: int = MANY, forged: int | None = 3, text: bytes = b"") -> None:
        """Ask, and be told what is true."""
        signed, truth = some(count, forged, text)
        assert await self.checker.check(signed) == truth


@asynccontextmanager
async def office(*workers: FakeWorker | Exception) -> AsyncIterator[Office]:
    made = Office()
    made.next += workers
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.checker.run)
        await trio.testing.wait_all_tasks_blocked()
        yield made
        nursery.cancel_scope.cancel()


# -- the ordinary life of the process ----------------------------------------------------------


async def test_many_in_small_portions_start_it_and_many_over_hours_do_not(autojump_clock: MockClock) -> None:
    async with office() as made:
        for _ in range(10):
            await made.right(START_AT // 2)
            await trio.sleep(LATELY_S)
        assert (len(made.workers), made.threads) == (0, 10)
        for _ in range(3):
            await made.right(START_AT // 2)
        assert (len(made.workers), made.threads) == (1, 12)


async def test_what_holds_is_not_verified_again_and_what_does_not_is() -> None:
    asked: list[Sequence[Signed]] = []

    async def check(signed: Sequence[Signed]) -> Verdicts:
        await trio.lowlevel.checkpoint()
        asked.append(signed)
        return tuple(map(inside.holds, signed))

    remembering = Remembering(check)
    signed, truth = some(20, 3)
    for _ in range(2):
        assert await remembering.check(signed) == truth
    assert asked == [signed, [signed[3]]], "only what did not hold is looked at again"
    other = signed[5]._replace(message=b"another")
    assert await remembering.check([signed[4], other, signed[5]]) == (True, False, True)
    assert asked[-1] == [other], "the same signature under something else"


async def test_what_is_remembered_is_bounded() -> None:
    async def check(signed: Sequence[Signed]) -> Verdicts:
        await trio.lowlevel.checkpoint()
        return (True,) * len(signed)

    remembering = Remembering(check)
    for number in range(3):
        one = b"%d" % number
        await remembering.check([Signed(PUBLIC, one + b"%d" % n, b"") for n in range(KNOWN - 5)])
        assert len(remembering._known) <= KNOWN


async def test_few_signatures_start_nothing_and_many_do(autojump_clock: MockClock) -> None:
    async with office() as made:
        await made.right(START_AT)
        assert (len(made.workers), made.threads) == (0, 1)
        await made.right(MANY)
        await made.right(START_AT)  # now that it is there
        assert (len(made.workers), made.threads) == (1, 1)
        assert len(made.workers[0].jobs) == 2


async def test_it_ends_when_idle_and_comes_again(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with office() as made:
        for _ in range(5):
            await made.right()
            await trio.sleep(LOOK_S * 0.9)
        assert len(made.workers) == 1
        await trio.sleep(2 * LOOK_S)
        assert made.workers[0].ended
        await made.right()
        assert (len(made.workers), made.threads) == (2, 0)
    assert not caplog.records


async def test_before_and_after_its_time_the_thread_does_all(autojump_clock: MockClock) -> None:
    made = Office()
    await made.right()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.checker.run)
        await trio.testing.wait_all_tasks_blocked()
        await made.right()
        nursery.cancel_scope.cancel()
    assert made.workers[0].ended
    await made.right()
    assert (len(made.workers), made.threads) == (1, 2)


async def test_who_waits_when_the_daemon_stops_is_not_left_waiting(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    worker.deaf = trio.Event()
    made = Office()
    made.next.append(worker)
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.checker.run)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(JOBS + 2):
                outer.start_soon(made.right)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
    assert worker.ended
    assert made.threads == JOBS + 2


# -- what goes wrong ----------------------------------------------------------------------------


FAILURES: dict[str, Exception | Callable[[], FakeWorker]] = {
    "cannot be started: FileNotFoundError": FileNotFoundError(2, "No such file"),
    "cannot be started: ValueError": ValueError("embedded null byte"),
    "has ended: status 0": lambda: FakeWorker(lives=1),
    "takes no more: status 0": lambda: FakeWorker(lives=0),
    "which nobody waits for: status 0": lambda: FakeWorker(lambda a: a[:3] + b"\x09" + a[4:]),
    "24 verdicts on job 0, which": lambda: FakeWorker(lambda a: a[:7] + b"\x18" + a[8:-1]),
    "neither yes nor no: status 0": lambda: FakeWorker(lambda a: a[:8] + b"\2" + a[9:]),
    "does not answer: status 0": lambda: FakeWorker(lambda a: a[:-1]),
}


@pytest.mark.parametrize("told", FAILURES)
async def test_a_failure_is_the_threads_work_and_is_told_once(
    told: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> FakeWorker | Exception:
        made = FAILURES[told]
        return made if isinstance(made, Exception) else made()

    with caplog.at_level(logging.INFO):
        async with office(fails(), fails()) as made:
            with trio.fail_after(2 * LOOK_S + 1):
                await made.right()
            await made.right()
            assert made.threads == 2
            assert not made.next[1:], "not tried again at once"
            assert all(worker.ended for worker in made.workers)
            await trio.sleep(AGAIN_S)
            await made.right()
            await trio.sleep(AGAIN_S)
            await made.right()
            assert made.threads == 3
            assert len(made.workers[-1].jobs) == 1, "it is used again once it works"
    (record,) = caplog.records
    assert told in record.getMessage()
    assert record.levelno == logging.WARNING


async def test_a_death_with_several_jobs_out_costs_none_of_them(autojump_clock: MockClock) -> None:
    async with office(FakeWorker(lives=3)) as made, trio.open_nursery() as nursery:
        for number in range(3 * JOBS):
            nursery.start_soon(made.right, MANY, number, b"%d" % number)
    assert made.threads == 3 * JOBS - 2


async def test_a_death_while_it_lies_idle_is_noticed(autojump_clock: MockClock) -> None:
    async with office(FakeWorker()) as made:
        await made.right()
        made.workers[0]._send.close()
        await trio.testing.wait_all_tasks_blocked()
        await made.right()
        assert made.threads == 1


# -- cancelled and bounded ------------------------------------------------------------------------


async def test_answers_to_a_link_that_has_ended_go_to_nobody_else(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    worker.deaf = trio.Event()
    async with office(worker) as made:
        async with trio.open_nursery() as link:
            for number in range(JOBS):  # all forged at another place than those that follow
                link.start_soon(made.right, MANY, number)
            await trio.sleep(0.1)
            link.cancel_scope.cancel()
        assert len(worker.jobs) == JOBS
        async with trio.open_nursery() as link:
            for number in range(JOBS):
                link.start_soon(made.right, MANY, 10 + number)
            await trio.sleep(0.1)
            assert len(worker.jobs) == JOBS, "what nobody waits for still takes its place"
            worker.deaf.set()
        assert (len(worker.jobs), made.threads) == (2 * JOBS, 0)


async def test_links_that_come_and_go_leave_nothing_behind(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    worker.deaf = trio.Event()
    async with office(worker) as made:
        for _ in range(10 * JOBS):
            with trio.move_on_after(0.01):
                await made.right()
        assert len(worker.jobs) == JOBS
        worker.deaf.set()
        await made.right()
        assert made.threads == 0


# -- which signatures ------------------------------------------------------------------------------


def event(device: bytes, signature: bytes = bytes(64)) -> Event:
    header = Header(1, b"r" * 32, device, 1, bytes(32), (), (), 5 << 16, MESSAGE, bytes(16), b"h" * 32, 10)
    return Event(encode(header), signature, None)


def test_only_what_can_be_verified_is_sent_away() -> None:
    known, stranger = b"d" * 32, b"e" * 32
    events = (
        event(known),
        event(known, b""),
        event(stranger),
        event(known, bytes(63)),
        Event(b"\xc1 no header", bytes(64), None),
        event(known),
    )
    indexes, signed = signatures(Events(events), {DeviceId(known): PUBLIC})
    assert indexes == [0, 5]
    assert signed == [Signed(PUBLIC, bytes(64), SIGNED + events[0].header)] * 2


# -- the real process ------------------------------------------------------------------------------


async def in_thread(work: Callable[[], Verdicts]) -> Verdicts:
    return await trio.to_thread.run_sync(work)


async def gone(pid: int) -> None:
    with trio.fail_after(REAL_S):
        while alive(pid):
            await trio.sleep(0.01)


@asynccontextmanager
async def real() -> AsyncIterator[tuple[Checker, list[Process]]]:
    started: list[Process] = []

    async def start() -> Worker:
        started.append(await start_process())
        return started[-1]

    checker = Checker(start, in_thread, trio.current_time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(checker.run)
        await trio.testing.wait_all_tasks_blocked()
        yield checker, started
        nursery.cancel_scope.cancel()


async def test_the_real_one_tells_the_truth_and_ends_with_us(caplog: pytest.LogCaptureFixture) -> None:
    async with real() as (checker, started):
        for number in range(20):
            signed, truth = some(100, number, b"x" * 400)
            assert await checker.check(signed) == truth
        (process,) = started
        assert os.getsid(process.pid) != os.getsid(0), "ctrl-c in our terminal is not for it"
    assert not alive(process.pid)
    assert not caplog.records


async def test_the_real_one_is_killed_with_work_on_its_way(caplog: pytest.LogCaptureFixture) -> None:
    async with real() as (checker, started):
        signed, truth = some(MANY, 5)
        assert await checker.check(signed) == truth
        os.kill(started[0].pid, signal.SIGSTOP)  # so that they lie there

        async def ask() -> None:
            assert await checker.check(signed) == truth

        async with trio.open_nursery() as nursery:
            for _ in range(2 * JOBS):
                nursery.start_soon(ask)
            await trio.sleep(0.2)
            os.kill(started[0].pid, signal.SIGKILL)
        assert len(started) == 1
    (record,) = caplog.records  # writer or reader, whoever notices first
    assert record.getMessage() in {
        f"the process that checks signatures {what}: status -9; a thread does it, more slowly"
        for what in ("has ended", "takes no more")
    }


async def test_one_that_does_not_end_is_made_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "GOODBYE_S", 0.2)
    process = await start_process()
    os.kill(process.pid, signal.SIGSTOP)
    assert await process.end() == "status -9"
    assert not alive(process.pid)


PARENT = """
import sys, trio
from p2pchat.crypto.checker import Signed
from p2pchat.daemon import checking

async def start():
    process = await checking.start_process()
    print(process.pid, flush=True)
    return process

async def main():
    checker = checking.Checker(start, None, trio.current_time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(checker.run)
        await trio.testing.wait_all_tasks_blocked()
        while True:
            await checker.check([Signed(bytes(32), bytes(64), b"x" * 400)] * 200)

import trio.testing
trio.run(main)
"""


async def test_it_ends_when_its_daemon_is_killed() -> None:
    words = [sys.executable, "-c", PARENT]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=subprocess_environment())
    with process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert alive(pid)
        process.kill()
    await gone(pid)


def test_it_finds_what_we_found(tmp_path: Path) -> None:
    words = command("/py", ["", "/lib", "site", "/lib"], "/checkout/p2pchat")
    assert words[:4] == ["/py", "-I", "-S", "-c"]
    assert words[5:] == ["/lib", os.path.abspath("site"), "/checkout"]
    assert command("/py", ["/site"], "/site/p2pchat")[5:] == ["/site"]


async def test_without_an_interpreter_it_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    for executable in ("", "/nowhere/python"):
        monkeypatch.setattr(sys, "executable", executable)
        with pytest.raises(OSError, match=r"no interpreter|No such file"):
            await start_process()


_: Callable[[], Awaitable[Worker]] = start_process  # it fits
