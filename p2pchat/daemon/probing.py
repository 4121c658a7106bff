"""Probe links: a whole handshake that becomes no chat link, to see what is between two machines.

Decides: what is tried on one (who answers, whether large packets pass in both directions, what the
other side finds) and what a stranger may make us do on his. Does not know: verdicts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

import trio

from p2pchat.daemon.bulk_link import shake_hands
from p2pchat.engine.consult import sound
from p2pchat.engine.links import Ended, Established, Got, LinkMachine
from p2pchat.errors import DialError
from p2pchat.ids import AccountId, DeviceId
from p2pchat.net.lan import Address, Stream
from p2pchat.wire.codec import Record
from p2pchat.wire.limits import MAX_ECHO
from p2pchat.wire.messages.network import Echo, Examine, Findings

LARGE: Final = 8 * 1024
"""Padding of an echo: several full packets of any network, also of one with jumbo frames to 9,000."""
ECHO_S: Final = 5.0
"""A lost packet is sent again within two seconds; what is not back after this is stuck."""
SHAKEN_S: Final = 6.0
ANSWER_S: Final = 9.0
"""The other side dials us for up to DIAL_TIMEOUT_S before it answers."""
SERVED_S: Final = 30.0
AT_ONCE: Final = 4
FRAMES: Final = 8
READ_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Probed:
    """What one address is like. `reason`: "" if one of ours answered, a DialReason, `silent` (connected, and
    no handshake came about), `closed` (it hung up on us), or `refused` (it did so once it knew our key)."""

    address: Address
    reason: str
    detail: str = ""
    device: DeviceId | None = None
    account: AccountId | None = None
    wall_ms: int = 0
    stuck: str = ""
    """Which direction passes no large packets: here, there, or neither."""
    findings: Findings | None = None


async def probe(
    dial: Callable[[str, int], Awaitable[Stream]],
    machine: Callable[[], LinkMachine],
    where: Address,
    question: Callable[[DeviceId], Examine],
) -> Probed:
    """Look at one address. Raises nothing."""
    try:
        stream = await dial(where.host, where.port)
    except DialError as error:
        return Probed(where, error.reason, error.detail)
    try:
        return await _look(stream, machine(), where, question)
    finally:
        with trio.CancelScope(shield=True):
            await stream.aclose()


async def _look(
    stream: Stream, machine: LinkMachine, where: Address, question: Callable[[DeviceId], Examine]
) -> Probed:
    shaken: Established | None = None
    with trio.move_on_after(SHAKEN_S):
        try:
            shaken = await shake_hands(machine, stream)
        except DialError as error:
            return Probed(where, "closed", error.detail)
    if shaken is None:
        return Probed(where, "silent", f"connected, and no answer within {SHAKEN_S:.0f} s")
    known = Probed(where, "", "", shaken.device, shaken.account, shaken.hello.wall_ms)
    talk = _Talk(machine, stream)
    if await talk.asked(Echo(1, LARGE, b""), Echo, ECHO_S) is None:
        return Probed(where, "refused") if talk.ended else replace(known, stuck="there")
    if await talk.asked(Echo(2, 0, bytes(LARGE)), Echo, ECHO_S) is None:
        return replace(known, stuck="here")
    found = await talk.asked(question(shaken.device), Findings, ANSWER_S)
    await talk.bye()
    told = isinstance(found, Findings) and sound(found) and not found.absent
    return replace(known, findings=found if isinstance(found, Findings) and told else None)


class _Talk:
    """Question and answer on an open link."""

    def __init__(self, machine: LinkMachine, stream: Stream) -> None:
        self._machine = machine
        self._stream = stream
        self.ended = False
        """The other side has hung up: what swallows packets does not."""

    async def asked(self, question: Record, kind: type[Record], patience_s: float) -> Record | None:
        """The answer of that kind; None if none came in time, or the link ended."""
        with trio.move_on_after(patience_s):
            try:
                await self.say(question)
                while (heard := await self.next()) is not None:
                    if isinstance(heard, kind):
                        return heard
                self.ended = True
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.ended = True
        return None

    async def say(self, message: Record) -> None:
        self._machine.send(message, trio.current_time())
        await self._stream.send_all(self._machine.data_to_send())

    async def next(self) -> Record | None:
        """The next record; None at the end."""
        while True:
            match self._machine.next_event():
                case Got(message):
                    return message
                case Ended():
                    return None
            data = await self._stream.receive_some(READ_BYTES)
            if data:
                self._machine.receive_data(data, trio.current_time())
            else:
                self._machine.end_of_stream()

    async def bye(self) -> None:
        self._machine.close("seen")
        try:
            await self._stream.send_all(self._machine.data_to_send())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


class Probes:
    """Takes the probe links that others open: few at once, for a short time, and for few words."""

    def __init__(
        self,
        welcome: Callable[[Established], bool],
        examine: Callable[[Examine, tuple[str, ...]], Awaitable[Findings]],
    ) -> None:
        self._welcome = welcome
        self._examine = examine
        self._served = 0

    async def take(self, machine: LinkMachine, stream: Stream, shaken: Established) -> None:
        """Serve one to its end. The caller closes the stream."""
        if self._served >= AT_ONCE or not self._welcome(shaken):
            return
        self._served += 1
        try:
            with trio.move_on_after(SERVED_S):
                await self._serve(_Talk(machine, stream), stream.remote_address.host, shaken)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            self._served -= 1

    async def _serve(self, talk: _Talk, host: str, shaken: Established) -> None:
        examined = False
        for _ in range(FRAMES):
            match await talk.next():
                case Echo(number, wanted, padding) if 0 <= wanted <= MAX_ECHO >= len(padding):
                    await talk.say(Echo(number, 0, bytes(wanted)))
                case Examine() as question if not examined and question.asker == shaken.device:
                    examined = True
                    # only who has a connection from there is dialled there, and where he says he listens
                    port = shaken.hello.port
                    hosts = (host,) if port and question.port == port else ()
                    await talk.say(await self._examine(question, hosts))
                case _:
                    return
