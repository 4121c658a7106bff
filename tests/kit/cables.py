"""Connections between simulated machines: ordered, encrypted by assumption, breakable.

Decides: when a frame arrives, what a full queue drops, what a cut, a break or a crash does
to what is under way, and when an end learns that its peer is gone. Does not know: what
frames mean, except that a link answers pings itself (docs/protocol.md, "Links").

It behaves as TCP and the link task above it do: frames of one direction stay in order; a
blocked direction holds them back and loses none unless the link dies of it; a link that
dies loses whatever had not arrived, in both directions.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from p2pchat.engine.crossing import CONTEST
from p2pchat.wire.codec import Record
from p2pchat.wire.limits import DEAD_AFTER_S
from p2pchat.wire.messages.link import Events, Ping, Pong

FIRST_DELAY_S: Final = 0.0005
TWICE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Weather:
    """What frames go through. Times in seconds, `queue` in bytes."""

    delay_s: float  # longest usual way
    slow: float  # chance that one frame takes `slow_s`
    slow_s: float
    loss: float  # chance that a frame breaks its connection
    queue: int  # frames beyond this are dropped and the link is behind
    twice: float = 0.0  # chance that events come once more, up to TWICE_S later and out of turn


class Host(Protocol):
    """What a cable needs of the machine at its end."""

    name: str
    boot: int

    def heard(self, number: int, message: Record, raw: bytes) -> None: ...
    def gone(self, number: int, reason: str) -> None: ...
    def drained(self, number: int) -> None: ...


class Clockwork(Protocol):
    """The part of the swarm a cable needs: time, later, and two counters."""

    now: float
    frames: int
    fullest: int

    def later(self, delay: float, act: Callable[[], None]) -> None: ...
    def encoded(self, message: Record) -> bytes: ...
    def decoded(self, raw: bytes) -> Record: ...


@dataclass(slots=True)
class End:
    """One end: the number its machine knows the link under, and whether it is open."""

    host: Host
    boot: int
    number: int
    open: bool = True

    @property
    def alive(self) -> bool:
        """Whether there still is anybody at this end."""
        return self.open and self.host.boot == self.boot


class Way:
    """One direction of a cable."""

    def __init__(self, cable: Cable, source: End, target: End) -> None:
        self.cable, self.source, self.target = cable, source, target
        self.flight: deque[bytes | Callable[[], None] | None] = deque()
        self.size = 0
        self.arrives = 0.0
        self.round = 0
        self.blocked = False
        self.behind = False

    def send(self, raw: bytes | Callable[[], None] | None) -> None:
        """Hand over a frame, the end of the handshake, or with None the end of the stream."""
        clock = self.cable.clock
        if isinstance(raw, bytes):
            if self.behind or self.size + len(raw) > self.cable.weather.queue:
                self.behind = True
                return
            self.size += len(raw)
            clock.frames += 1
            clock.fullest = max(clock.fullest, self.size)
        self.flight.append(raw)
        if not self.blocked:
            self._schedule()

    def _schedule(self) -> None:
        chance, weather = self.cable.chance, self.cable.weather
        if chance.random() < weather.loss:
            self.cable.snap()
            return
        delay = chance.uniform(FIRST_DELAY_S, weather.delay_s)
        if chance.random() < weather.slow:
            delay += chance.random() * weather.slow_s
        self.arrives = max(self.arrives, self.cable.clock.now + delay)
        turn = self.round
        self.cable.clock.later(self.arrives - self.cable.clock.now, lambda: self._arrive(turn))

    def _arrive(self, turn: int) -> None:
        if turn != self.round or not self.flight:
            return
        raw = self.flight.popleft()
        if raw is None:
            self.cable.end(self.target, "closed")
            return
        if not isinstance(raw, bytes):
            if self.target.alive:
                raw()
            return
        self.size -= len(raw)
        if self.behind and not self.flight and self.source.alive:
            self.behind = False
            self.source.host.drained(self.source.number)
        if self.target.alive:
            self.cable.deliver(self, raw)

    def block(self) -> None:
        """A switch stops passing this direction."""
        if self.blocked:
            return
        self.blocked = True
        self.round += 1
        turn = self.round

        def silence() -> None:
            if turn == self.round and self.blocked:
                self.cable.end(self.target, "timeout")

        self.cable.clock.later(DEAD_AFTER_S, silence)

    def unblock(self) -> None:
        """It passes again: what was held back arrives, in order."""
        if not self.blocked or self.cable.snapped:
            return
        self.blocked = False
        self.round += 1
        for _ in range(len(self.flight)):
            self._schedule()
            if self.cable.snapped:
                return

    def lose(self) -> None:
        """Whatever is under way never arrives."""
        self.flight.clear()
        self.round += 1


class Cable:
    """One connection between two machines; `first` dialled."""

    def __init__(
        self, clock: Clockwork, chance: random.Random, weather: Weather, first: End, second: End
    ) -> None:
        self.clock, self.chance, self.weather = clock, chance, weather
        self.ends = (first, second)
        self.ways = (Way(self, first, second), Way(self, second, first))
        self.snapped = False

    @property
    def over(self) -> bool:
        """Whether nothing more can happen on it."""
        return not any(end.alive for end in self.ends)

    def way_from(self, end: End) -> Way:
        """The direction in which `end` sends."""
        return self.ways[0] if end is self.ends[0] else self.ways[1]

    def send(self, end: End, message: Record) -> None:
        """A frame from `end`, in its bytes."""
        if end.alive:
            self.way_from(end).send(self.clock.encoded(message))

    def deliver(self, way: Way, raw: bytes) -> None:
        """A frame has arrived: the link answers pings, the rest goes to the machine."""
        message = self.clock.decoded(raw)
        if isinstance(message, Ping):
            self.send(way.target, Pong(message.token))
        elif not isinstance(message, Pong) or message.token >= CONTEST:
            way.target.host.heard(way.target.number, message, raw)
            if self.weather.twice and isinstance(message, Events):
                self._again(way.target, message, raw)

    def _again(self, target: End, message: Record, raw: bytes) -> None:
        """As if another copy had come by another way."""

        def once_more() -> None:
            if target.alive:
                target.host.heard(target.number, message, raw)

        if self.chance.random() < self.weather.twice:
            self.clock.later(self.chance.random() * TWICE_S, once_more)

    def hang_up(self, end: End, reason: str) -> None:
        """`end` closes: what it sent still arrives, then the other end learns of it."""
        self.end(end, reason)

    def end(self, end: End, reason: str) -> None:
        """`end` is over, for whatever reason; the other learns of it if a way is left."""
        if not end.alive:
            return
        end.open = False
        end.host.gone(end.number, reason)
        if not self.snapped:
            self.way_from(end).send(None)

    def crashed(self, end: End, *, quietly: bool, tail_lost: bool) -> None:
        """The machine at `end` is gone. `quietly`: nobody resets the connection for it."""
        end.open = False
        if tail_lost:
            self.way_from(end).lose()
        if quietly:
            self.snap(at_once=False)
        elif not self.snapped:
            self.way_from(end).send(None)

    def snap(self, *, at_once: bool = True) -> None:
        """The connection is lost, and with it whatever was under way in both directions."""
        if self.snapped:
            return
        self.snapped = True
        for way in self.ways:
            way.lose()
            way.blocked = True
        for end in self.ends:
            soon = at_once and self.chance.random() < 0.5
            delay = self.chance.random() * (0.2 if soon else DEAD_AFTER_S)
            self.clock.later(delay, lambda end=end: self.end(end, "reset"))  # type: ignore[misc]
