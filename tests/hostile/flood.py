"""A machine that means ill, as a program: `python -m tests.hostile.flood HOW HOST PORT [ADDRESS…]`.

Decides: what 500 connections at a time do to a daemon until this is ended. Does not know:
how the daemon fares (test_flood). Prints `going` once the first are open.

    quiet       connect, say nothing
    drip        a good greeting, a byte at a time
    lies        a length and less than it promises
    junk        noise, as fast as it goes
    greeting    a good greeting that costs the other side its sums, then silence
    people      each another new person, who completes the handshake and stays while he may
"""

from __future__ import annotations

import os
import random
import sys
import time
from typing import Final

import trio

from p2pchat.engine.links import Established
from p2pchat.wire.messages.presence import AVAILABLE, Presence
from tests.engine.wire_pair import machine, person

AT_ONCE: Final = 500
PEOPLE: Final = 700
"""More than there are places, so that those without one come again and again."""
PAUSE_S: Final = 0.02
"""Between two attempts of one of them, as long as the other side throws it out at once."""


def greeting() -> bytes:
    """Preface and first handshake message of a stranger who knows the open office's key."""
    alice = machine(person("mallory"), initiator=True)
    alice.start()
    return alice.data_to_send()


async def one(how: str, host: str, port: int, source: str | None, going: trio.Event) -> None:
    """One of them, for ever."""
    dice = random.Random()
    hello = greeting()
    while True:
        try:
            with trio.fail_after(10):
                stream = await trio.open_tcp_stream(host, port, local_address=source)
        except (OSError, trio.TooSlowError):
            await trio.sleep(PAUSE_S)
            continue
        going.set()
        async with stream:
            try:
                await act(how, stream, hello, dice)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # thrown out: come back
        await trio.sleep(PAUSE_S)


async def act(how: str, stream: trio.SocketStream, hello: bytes, dice: random.Random) -> None:
    """What it does with its connection; returns or raises once that is over."""
    match how:
        case "drip":
            for at in range(len(hello) - 1):
                await stream.send_all(hello[at : at + 1])
                await trio.sleep(0.5)
        case "lies":
            await stream.send_all(dice.choice((b"\x1f\xff", b"\xff\xff", b"\x00\x00", b"\x00\x09abc")))
        case "junk":
            while True:
                await stream.send_all(dice.randbytes(65536))
        case "greeting":
            await stream.send_all(hello)
        case "people":
            await be_somebody(stream)
    while await stream.receive_some(65536):
        pass


async def be_somebody(stream: trio.SocketStream) -> None:
    """One made-up person: meets, answers pings, and says no more than that he is there."""
    who, clock = person(os.urandom(8).hex()), round(time.time() * 1000)
    link = machine(who, initiator=True, now=time.monotonic(), port=0, wall_ms=clock)
    link.start()
    while link.end is None:
        link.tick(time.monotonic())
        if data := link.data_to_send():
            await stream.send_all(data)
        with trio.move_on_after(1.0):
            heard = await stream.receive_some(65536)
            if not heard:
                return
            link.receive_data(heard, time.monotonic())
            while (event := link.next_event()) is not None:
                if isinstance(event, Established):
                    link.send(Presence(AVAILABLE, ""), time.monotonic())


async def main(how: str, host: str, port: str, *sources: str) -> None:
    """All of them, until the process is ended."""
    going = trio.Event()
    async with trio.open_nursery() as nursery:
        for number in range(PEOPLE if how == "people" else AT_ONCE):
            source = sources[number % len(sources)] if sources else None
            nursery.start_soon(one, how, host, int(port), source, going)
        await going.wait()
        print("going", flush=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
