"""One py-libp2p host (noise, yamux, TCP). libp2p_stream.py serve HOST | measure HOST ADDRESS TRIPS COUNT.

Decides: how a rival's user would do it: one stream, 190-byte messages, an acknowledgement of
the recipient. Encrypted; unsigned messages, nothing stored. `serve` says {"address"}.
"""

import json
import logging
import os
import sys
import time

import multiaddr
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID, Transport

MESSAGE = (190).to_bytes(4, "big") + b"x" * 190
WINDOW = 1024
TALK = "/bench/1"


def say(**message):
    print(json.dumps(message), flush=True)


def host_of():
    keys = create_new_key_pair()
    noise = Transport(keys, noise_privkey=create_noise_key().private_key)
    return new_host(key_pair=keys, sec_opt={PROTOCOL_ID: noise})


async def answer(stream):
    """For every read the number of whole messages in it, as four bytes."""
    pending = 0
    while data := await stream.read(65536):
        pending += len(data)
        whole, pending = divmod(pending, len(MESSAGE))
        if whole:
            await stream.write(whole.to_bytes(4, "big"))


class Acks:
    def __init__(self, stream):
        self.stream, self.buffer, self.total = stream, bytearray(), 0
        self.news = trio.Event()

    async def read(self):
        self.buffer += await self.stream.read(4096)
        while len(self.buffer) >= 4:
            self.total += int.from_bytes(self.buffer[:4], "big")
            del self.buffer[:4]
        self.news.set()
        self.news = trio.Event()

    async def until(self, total):
        while self.total < total:
            await self.read()


async def serve(address):
    host = host_of()
    async with host.run(listen_addrs=[multiaddr.Multiaddr(f"/ip4/{address}/tcp/9001")]):
        host.set_stream_handler(TALK, answer)
        say(address=f"/ip4/{address}/tcp/9001/p2p/{host.get_id().to_string()}")
        await trio.sleep(3600)


async def measure(address, there, trips, count):
    host = host_of()
    async with host.run(listen_addrs=[multiaddr.Multiaddr(f"/ip4/{address}/tcp/9002")]):
        info = info_from_p2p_addr(multiaddr.Multiaddr(there))
        await host.connect(info)
        stream = await host.new_stream(info.peer_id, [TALK])
        acks, took = Acks(stream), []
        for number in range(trips):
            start = time.perf_counter()
            await stream.write(MESSAGE)
            await acks.until(number + 1)
            took.append(time.perf_counter() - start)
        rate = None
        if count:
            start, sent = time.perf_counter(), 0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(acks.until, trips + count)
                while sent < count:
                    while trips + sent - acks.total >= WINDOW:
                        await acks.news.wait()
                    await stream.write(MESSAGE)
                    sent += 1
            rate = count / (time.perf_counter() - start)
        say(done_s=took, rate=rate)
        os._exit(0)


logging.disable(logging.CRITICAL)
if sys.argv[1] == "serve":
    trio.run(serve, sys.argv[2])
else:
    trio.run(measure, sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
