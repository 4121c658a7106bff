"""The bare prototype: what the promised work costs when nothing else is done.

Decides: the least a message can be, signed, sealed, stored at FULL on both machines and
receipted, over plain trio TCP; and the same without any of it (`echo`). Does not know:
p2pchat; it is the ruler the daemon is held against, so nothing of it is imported here.

    python -m tests.bench.prototype recipient MODE FOLDER HOST     says {"port"}
    python -m tests.bench.prototype author MODE FOLDER HOST PORT COUNT PAUSE_S
    python -m tests.bench.prototype author room FOLDER HOST,HOST… PORT,PORT… COUNT PAUSE_S

Modes: `echo` a frame there and one back · `each` one transaction a message: author
commits, sends; recipient opens, verifies, commits, sends its receipt; author opens it and
commits `delivered` · `batch` the same with one transaction a read batch, the author
writing up to 64 messages at a time in a window of 1,024 · `run` as batch, with one
signature over the hash-linked 64 · `room` one author commits a message and sends it to many,
each of whom verifies, opens and commits it and says nothing; the author says {"asked": [t]}, each
recipient at the end of his stream {"kept": [t]}, on the machine's one monotonic clock.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import trio
from nacl import bindings

from tests.bench.workers import say

TEXT = (
    "Lunch at twelve? I found the place near the station with the big blue door; bring the notes of "
    "yesterday, and tell Ana that she can come along: we will be in the back room until two or so."
)
"""190 bytes: what people write."""
WINDOW = 1024
AT_ONCE = 64
KEY = bytes(range(32))
PUBLIC, SECRET = bindings.crypto_sign_seed_keypair(bytes(32))
COLUMNS = "id, room, author, seq, hlc, header, signature, body, text, state"
INSERT = f"insert into event ({COLUMNS}) values (?,?,?,?,?,?,?,?,?,?)"
MARK = "update event set state = 'delivered' where room = ? and author = ? and seq between ? and ?"


class Header(msgspec.Struct, array_like=True, frozen=True):
    room: bytes
    author: bytes
    seq: int
    prev: bytes
    hlc: int
    body_hash: bytes


class Event(msgspec.Struct, array_like=True, frozen=True):
    header: bytes
    signature: bytes
    body: bytes


class Receipt(msgspec.Struct, array_like=True, frozen=True):
    room: bytes
    author: bytes
    low: int
    high: int


def archive(folder: Path, name: str) -> sqlite3.Connection:
    db = sqlite3.connect(folder / name, isolation_level=None)
    db.execute("pragma journal_mode = wal")
    db.execute("pragma synchronous = full")
    db.execute(
        "create table event (pk integer primary key, id blob unique, room blob, author blob, seq int,"
        " hlc int, header blob, signature blob, body blob, text text, state text)"
    )
    db.execute("create index by_time on event (room, hlc)")
    db.execute("create unique index by_place on event (room, author, seq)")
    return db


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def seal_frame(plaintext: bytes, number: int) -> bytes:
    """The `number`th frame of a link."""
    nonce = bytes(4) + number.to_bytes(8, "little")
    sealed = bindings.crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, b"", nonce, KEY)
    return len(sealed).to_bytes(2, "big") + sealed


class Side:
    """Either end: codec, keys, counters, archive and a framed sealed stream."""

    def __init__(self, stream: trio.SocketStream, mode: str, folder: Path, name: str) -> None:
        self.stream = stream
        self.signs_runs = mode == "run"
        self.encode = msgspec.msgpack.Encoder().encode
        self.header_of = msgspec.msgpack.Decoder(Header).decode
        self.event_of = msgspec.msgpack.Decoder(Event).decode
        self.receipt_of = msgspec.msgpack.Decoder(Receipt).decode
        self.sealed = self.opened = 0
        self.seq = 0
        self.prev = bytes(32)
        self.buffer = bytearray()
        self.db = archive(folder, name)

    # -- frames ---------------------------------------------------------------------------

    def seal(self, plaintext: bytes) -> bytes:
        self.sealed += 1
        return seal_frame(plaintext, self.sealed - 1)

    async def read(self) -> list[bytes]:
        """All whole frames of one read, opened; empty at the end of the stream."""
        found: list[bytes] = []
        while not found:
            data = await self.stream.receive_some(65536)
            if not data:
                return []
            self.buffer += data
            found = list(self._frames())
        return found

    def _frames(self) -> Iterator[bytes]:
        at = 0
        while len(self.buffer) - at >= 2:
            end = at + 2 + int.from_bytes(self.buffer[at : at + 2], "big")
            if len(self.buffer) < end:
                break
            nonce = bytes(4) + self.opened.to_bytes(8, "little")
            self.opened += 1
            frame = bytes(self.buffer[at + 2 : end])
            at = end
            yield bindings.crypto_aead_chacha20poly1305_ietf_decrypt(frame, b"", nonce, KEY)
        del self.buffer[:at]

    # -- events ---------------------------------------------------------------------------

    def compose(self, text: str, last_of_run: bool = True) -> Event:
        """Seal, hash, sign and insert one message; the caller has begun and will commit."""
        self.seq += 1
        nonce = os.urandom(24)
        body = nonce + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(text.encode(), PUBLIC, nonce, KEY)
        made = Header(KEY, PUBLIC, self.seq, self.prev, time.time_ns() // 10**6 << 16, digest(body))
        header = self.encode(made)
        signs = last_of_run or not self.signs_runs
        signature = bindings.crypto_sign(header, SECRET)[:64] if signs else b""
        self.prev = digest(header + signature)
        row = (self.prev, KEY, PUBLIC, self.seq, made.hlc, header, signature, body, text, "queued")
        self.db.execute(INSERT, row)
        return Event(header, signature, body)

    def take(self, event: Event) -> Header:
        """Verify, open and insert one message; the caller has begun and will commit."""
        if event.signature:
            bindings.crypto_sign_open(event.signature + event.header, PUBLIC)
        header = self.header_of(event.header)
        if digest(event.body) != header.body_hash:
            raise ValueError("wrong body")
        text = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            event.body[24:], PUBLIC, event.body[:24], KEY
        ).decode()
        name = digest(event.header + event.signature)
        row = (name, header.room, header.author, header.seq, header.hlc)
        self.db.execute(INSERT, (*row, event.header, event.signature, event.body, text, "received"))
        return header

    def delivered(self, receipts: list[Receipt]) -> None:
        for receipt in receipts:
            self.db.execute(MARK, (receipt.room, receipt.author, receipt.low, receipt.high))


async def recipient(mode: str, folder: Path, host: str) -> None:
    listener = (await trio.open_tcp_listeners(0, host=host))[0]
    say(port=listener.socket.getsockname()[1])
    stream = await listener.accept()
    if mode == "echo":
        while data := await stream.receive_some(65536):
            await stream.send_all(data[:8])
        return
    side = Side(stream, mode, folder, "recipient.db")
    if mode == "room":
        await keep_all(side)
        return
    while frames := await side.read():
        side.db.execute("begin")
        taken = [side.take(side.event_of(frame)) for frame in frames]
        side.db.execute("commit")
        receipt = Receipt(KEY, PUBLIC, taken[0].seq, taken[-1].seq)
        await stream.send_all(side.seal(side.encode(receipt)))


async def keep_all(side: Side) -> None:
    """Says when each message was committed, in their order."""
    kept = []
    while frames := await side.read():
        side.db.execute("begin")
        for frame in frames:
            side.take(side.event_of(frame))
        side.db.execute("commit")
        kept += [time.monotonic()] * len(frames)
    say(kept=kept)


async def to_all(folder: Path, hosts: list[str], ports: list[int], count: int, pause_s: float) -> None:
    """Says when each message was wanted; committed here before it goes to anybody."""
    streams = [await trio.open_tcp_stream(*place) for place in zip(hosts, ports, strict=True)]
    side = Side(streams[0], "room", folder, "author.db")
    asked = []
    for number in range(count):
        await trio.sleep(pause_s)
        asked.append(time.monotonic())
        side.db.execute("begin")
        event = side.compose(TEXT)
        side.db.execute("commit")
        frame = side.encode(event)
        for stream in streams:  # each link has keys of its own, so each is sealed anew
            await stream.send_all(seal_frame(frame, number))
    for stream in streams:
        await stream.aclose()
    say(asked=asked)


async def round_trips(side: Side, count: int, pause_s: float) -> None:
    """Says the seconds of each trip until the receipt is read, and until that is committed."""
    heard, kept = [], []
    for _ in range(count):
        await trio.sleep(pause_s)
        start = time.perf_counter()
        side.db.execute("begin")
        event = side.compose(TEXT)
        side.db.execute("commit")
        await side.stream.send_all(side.seal(side.encode(event)))
        receipts = [side.receipt_of(frame) for frame in await side.read()]
        heard.append(time.perf_counter() - start)
        side.db.execute("begin")
        side.delivered(receipts)
        side.db.execute("commit")
        kept.append(time.perf_counter() - start)
    say(heard_s=heard, done_s=kept)


async def stream_of(side: Side, count: int) -> None:
    """Says the messages a second until all receipts are committed."""
    receipts: list[Receipt] = []
    known = 0
    news = trio.Event()

    async def listen() -> None:
        nonlocal known, news
        while known < count:
            for frame in await side.read():
                receipts.append(side.receipt_of(frame))
                known = receipts[-1].high
            news.set()
            news = trio.Event()

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        while known < count or receipts:
            room = min(AT_ONCE, count - side.seq, WINDOW - (side.seq - known))
            if room < min(AT_ONCE, count - side.seq) or (not room and not receipts):
                await news.wait()
                continue
            side.db.execute("begin")
            side.delivered(receipts)
            receipts.clear()
            events = [side.compose(TEXT, last_of_run=at == room - 1) for at in range(room)]
            side.db.execute("commit")
            await side.stream.send_all(b"".join(side.seal(side.encode(event)) for event in events))
    say(rate=count / (time.perf_counter() - start))


async def echoes(stream: trio.SocketStream, count: int) -> None:
    """Says the seconds of each plain trip: about as many bytes there and back."""
    took = []
    question = bytes(len(TEXT) + 256)
    for _ in range(count):
        start = time.perf_counter()
        await stream.send_all(question)
        await stream.receive_some(64)
        took.append(time.perf_counter() - start)
    say(done_s=took)


async def author(mode: str, folder: Path, host: str, port: int, count: int, pause_s: float) -> None:
    stream = await trio.open_tcp_stream(host, port)
    if mode == "echo":
        await echoes(stream, count)
        return
    side = Side(stream, mode, folder, "author.db")
    if mode == "each":
        await round_trips(side, count, pause_s)
    else:
        await stream_of(side, count)


if __name__ == "__main__":
    role, mode, folder, host = sys.argv[1:5]
    if role == "recipient":
        trio.run(recipient, mode, Path(folder), host)
    else:
        port, count, pause_s = sys.argv[5:8]
        if mode == "room":
            ports = [int(one) for one in port.split(",")]
            trio.run(to_all, Path(folder), host.split(","), ports, int(count), float(pause_s))
        else:
            trio.run(author, mode, Path(folder), host, int(port), int(count), float(pause_s))
