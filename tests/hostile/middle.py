"""A man in the middle of TCP: `python -m tests.hostile.middle PORT HOST EVERY`.

Decides: that of a bulk link, known by its preface, one bit is turned once EVERY bytes have come from
who is dialled, and again with the next link. Chat links pass as they are. Does not know: keys. Says
`ready`, then `flip` each time.
"""

from __future__ import annotations

import sys

import trio

PREFACE = b"bulk"


async def pump(source: trio.SocketStream, target: trio.SocketStream, every: list[int]) -> None:
    """Bytes one way; every[0] bytes from now a bit is turned, 0: never."""
    try:
        async for data in source:
            if 0 < every[0] <= len(data):
                turned = bytearray(data)
                turned[every[0] - 1] ^= 8
                data, every[0] = bytes(turned), 0
                print("flip", flush=True)
            elif every[0]:
                every[0] -= len(data)
            await target.send_all(data)
        await target.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await target.aclose()


async def main(port: int, host: str, every: int) -> None:
    """Until the process is ended."""

    async def serve(caller: trio.SocketStream) -> None:
        first = await caller.receive_some(4096)
        called = await trio.open_tcp_stream(host, port)
        await called.send_all(first)
        flip = [every if PREFACE in bytes(first[:64]) else 0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump, caller, called, [0])
            nursery.start_soon(pump, called, caller, flip)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, port)
        assert listeners
        print("ready", flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
