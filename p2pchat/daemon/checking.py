"""Many signatures at once are verified in a process of its own (docs/decisions/0010).

Decides: when that process is started, how much may be on its way to it, when it is ended, and
that a worker thread does its work where it cannot. Does not know: what was signed, or what
follows from a verdict. A verdict is True only if somebody here verified that very signature.

A thread alone would do if it ran beside the loop; but it needs the interpreter again for every
signature, and gets it only when the loop rests.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import trio

import p2pchat
from p2pchat.crypto import checker
from p2pchat.crypto.checker import AnswerReader, Signed, encode_job
from p2pchat.crypto.primitives import SIGNATURE_BYTES
from p2pchat.daemon.logbook import plain
from p2pchat.errors import LocalProtocolError
from p2pchat.ids import DeviceId
from p2pchat.wire.messages.events import SIGNED, claimed_device
from p2pchat.wire.messages.link import Events

log = logging.getLogger(__name__)

START_AT: Final = 192
LATELY_S: Final = 2.0
"""More signatures than this in so long start the process: backfill, and neither chat nor an office that is
switched on. Its start costs as much as verifying a thousand."""
KNOWN: Final = 2048
"""Signatures remembered because they hold, some 2 MiB: in an office that starts, everybody hands everybody
the same acts at the same time."""
JOBS: Final = 6
"""Jobs on their way to it, some 600 KiB at most; the frames of other links wait with their readers."""
LOOK_S: Final = 4.0
"""Between two looks: without a job from one to the next the process is ended, with the same job at
both it is stuck. Twice this is less than the silence after which a peer gives up."""
AGAIN_S: Final = 600.0
"""After a failure so long only the thread is used."""
GOODBYE_S: Final = 1.0
ANSWER_BYTES: Final = 4096

Verdicts = tuple[bool, ...]
Check = Callable[[Sequence[Signed]], Awaitable[Verdicts]]
InThread = Callable[[Callable[[], Verdicts]], Awaitable[Verdicts]]


class Worker(Protocol):
    """The process, or what stands for it."""

    async def send_all(self, data: bytes) -> None:
        """trio.BrokenResourceError if it is gone."""

    async def receive_some(self) -> bytes:
        """Nothing once it has ended."""

    async def end(self) -> str:
        """Make sure it has ended, in at most twice GOODBYE_S; how it did."""


class _Job:
    """Signatures on their way. `verdicts` stays None if nobody will answer."""

    def __init__(self, number: int, signed: Sequence[Signed]) -> None:
        self.number = number
        self.data = encode_job(number, signed)
        self.count = len(signed)
        self.verdicts: bytes | None = None
        self.done = trio.Event()


class Checker:
    """For all links together. `check` works before, while and after `run` runs."""

    def __init__(
        self, start: Callable[[], Awaitable[Worker]], in_thread: InThread, mono: Callable[[], float]
    ) -> None:
        """`start` gives a fresh worker, or OSError or ValueError; `mono` is in seconds."""
        self._start = start
        self._in_thread = in_thread
        self._mono = mono
        self._serving = False
        self._awake = False  # a process is there, or about to be
        self._again_at = mono()
        self._since, self._lately = mono(), 0  # so many signatures have come since then
        self._told = False
        self._places = trio.Semaphore(JOBS)
        self._numbers = 0
        self._jobs: deque[_Job] = deque()  # not yet answered, in order
        self._unsent: deque[_Job] = deque()
        self._more = trio.Event()

    async def check(self, signed: Sequence[Signed]) -> Verdicts:
        """Which of these signatures hold. Keys and signatures must have their lengths."""
        much = self._much(len(signed))
        if self._wants(much):
            await self._places.acquire()
            if not self._wants(much):  # it has failed meanwhile
                self._places.release()
            else:
                job = self._submit(signed)
                await job.done.wait()  # if this is cancelled, the place is free only with the answer
                if job.verdicts is not None:
                    return tuple(map(bool, job.verdicts))
        return await self._in_thread(lambda: tuple(map(checker.holds, signed)))

    def _much(self, count: int) -> bool:
        """Whether so much has come lately that a process is worth its start."""
        now = self._mono()
        if now >= self._since + LATELY_S:
            self._since, self._lately = now, 0
        self._lately += count
        return self._lately > START_AT

    def _wants(self, much: bool) -> bool:
        return self._serving and (self._awake or much) and self._mono() >= self._again_at

    def _submit(self, signed: Sequence[Signed]) -> _Job:
        try:
            job = _Job(self._numbers, signed)
        except BaseException:
            self._places.release()
            raise
        self._numbers = (self._numbers + 1) % 2**32
        self._jobs.append(job)
        self._unsent.append(job)
        self._more.set()
        return job

    # -- the task -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start the process whenever there is work for it, and see to its end; until cancelled."""
        self._serving = True
        try:
            while True:
                await self._work()
                self._awake = True
                why = await self._one_life()
                self._rest(why)
        finally:
            self._serving = False
            self._rest("")

    async def _work(self) -> None:
        """Until something is to be sent."""
        while not self._unsent:
            self._more = trio.Event()
            await self._more.wait()

    async def _one_life(self) -> str:
        """From start to end; what went wrong, or nothing."""
        try:
            worker = await self._start()
        except (OSError, ValueError) as error:  # ValueError: a search path no command line can hold
            return f"cannot be started: {plain(error)}"
        ends: list[str] = []
        how = ""

        async def until(part: Callable[[Worker], Awaitable[str]]) -> None:
            ends.append(await part(worker))
            nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                for part in (self._sending, self._hearing, self._watching):
                    nursery.start_soon(until, part)
        finally:
            with trio.CancelScope(shield=True):
                how = await worker.end()
        return f"{ends[0]}: {how}" if ends[0] else ""

    async def _sending(self, worker: Worker) -> str:
        while True:
            await self._work()
            try:
                await worker.send_all(self._unsent.popleft().data)
            except trio.BrokenResourceError:
                return "takes no more"

    async def _hearing(self, worker: Worker) -> str:
        answers = AnswerReader()
        while True:
            try:
                data = await worker.receive_some()
            except trio.BrokenResourceError:
                data = b""
            if not data:
                return "has ended"
            answers.receive_data(data)
            try:
                while (answer := answers.next_event()) is not None:
                    self._answered(*answer)
            except LocalProtocolError as error:
                return f"gave an answer that is none, {error}"

    def _answered(self, number: int, verdicts: bytes) -> None:
        if not self._jobs or (self._jobs[0].number, self._jobs[0].count) != (number, len(verdicts)):
            raise LocalProtocolError(f"{len(verdicts)} verdicts on job {number}, which nobody waits for")
        job = self._jobs.popleft()
        job.verdicts = verdicts
        self._over(job)

    async def _watching(self, worker: Worker) -> str:
        """Looks now and then, rather than at a deadline of each job: those are gone in milliseconds."""
        before: tuple[int, bool] | None = None
        while True:
            await trio.sleep(LOOK_S)
            at = self._jobs[0].number if self._jobs else self._numbers, bool(self._jobs)
            if at == before:
                return "does not answer" if self._jobs else ""
            before = at

    def _over(self, job: _Job) -> None:
        job.done.set()
        self._places.release()

    def _rest(self, why: str) -> None:
        """No process any more: who still waits goes to the thread."""
        self._awake = False
        if why:
            self._again_at = self._mono() + AGAIN_S
            if not self._told:
                self._told = True
                log.warning("the process that checks signatures %s; a thread does it, more slowly", why)
        self._unsent.clear()
        while self._jobs:
            self._over(self._jobs.popleft())


class Remembering:
    """Spares `check` what it has found to hold a moment ago: the same key, signature and message."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._known: dict[bytes, Signed] = {}

    async def check(self, signed: Sequence[Signed]) -> Verdicts:
        """As Checker.check."""
        fresh = [one for one in signed if self._known.get(one.signature) != one]
        if not fresh:
            return (True,) * len(signed)
        found = dict(zip(fresh, await self._check(fresh), strict=True))
        if len(self._known) + len(fresh) > KNOWN:
            self._known.clear()
        self._known.update((one.signature, one) for one in fresh[:KNOWN] if found[one])
        return tuple(found.get(one, True) for one in signed)


# -- what is checked ----------------------------------------------------------------------------


def signatures(message: Events, signing_keys: Mapping[DeviceId, bytes]) -> tuple[list[int], list[Signed]]:
    """The signatures of a frame that can be verified, and which of its events they belong to.

    Anything odd is left to the engine, which reads every event anyway.
    """
    indexes: list[int] = []
    signed: list[Signed] = []
    for index, event in enumerate(message.events):
        if len(event.signature) != SIGNATURE_BYTES:
            continue
        device = claimed_device(event.header)
        key = signing_keys.get(DeviceId(device)) if device is not None else None
        if key is not None:
            indexes.append(index)
            signed.append(Signed(key, event.signature, SIGNED + event.header))
    return indexes, signed


# -- the process ----------------------------------------------------------------------------------


def command(executable: str, path: Sequence[str], package: str) -> list[str]:
    """The command line: an interpreter that reads neither environment nor site, and is told where
    everything lies that is ours. `package` is the folder of this package, which a finder of an
    editable installation may know and no path name."""
    root = os.path.dirname(os.path.abspath(package))
    places = dict.fromkeys(os.path.abspath(entry) for entry in path if entry)
    return [executable, "-I", "-S", "-c", checker.BOOT, *places, *([] if root in places else [root])]


class Process:
    """The real one."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def send_all(self, data: bytes) -> None:
        """Hand it bytes; trio.BrokenResourceError if it is gone."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(data)

    async def receive_some(self) -> bytes:
        """What it says; nothing once it has ended."""
        assert self._process.stdout is not None
        return bytes(await self._process.stdout.receive_some(ANSWER_BYTES))

    async def end(self) -> str:
        """Close its input, which ends it, and if that does not help kill it; its exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        await self._process.stdin.aclose()
        with trio.move_on_after(GOODBYE_S):
            await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
            with trio.move_on_after(GOODBYE_S):
                await self._process.wait()
        await self._process.stdout.aclose()
        return f"status {self._process.returncode}"


async def start_process() -> Process:
    """Start one; OSError if the system refuses."""
    if not sys.executable:
        raise FileNotFoundError(2, "no interpreter is known")
    words = command(sys.executable, sys.path, str(Path(p2pchat.__file__).parent))
    # In a group of its own, so that Ctrl-C in our terminal reaches us alone, and without a window.
    # What it might say on stderr is no more than its status says.
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NO_WINDOW}
    process = await trio.lowlevel.open_process(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **apart
    )
    return Process(process)
