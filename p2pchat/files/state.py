"""The log of one transfer: what is known of it and what is safely on the disk.

Decides: the bytes of `<id>.state`, and how much of one that was torn is believed. Does not know:
pieces, disks beyond this one file, or when it is written.

    length (4 bytes, big-endian) ‖ kind (1) ‖ body ‖ check (16)      record after record, only appended
    check = first 16 bytes of BLAKE3(check of the record before ‖ length ‖ kind ‖ body)

The first check builds on 16 zero bytes. So a record counts only if all before it count, and a tail
that a kill or a power cut tore, whatever is in it, ends the log instead of misleading it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from typing import Final

from blake3 import blake3

from p2pchat.errors import RemoteProtocolError
from p2pchat.files.names import UNICODE
from p2pchat.files.trouble import told
from p2pchat.platform.folders import Folder, read_at, set_size, sync_file, write_at
from p2pchat.wire.codec import Record, decode, encode
from p2pchat.wire.messages.files import Offer

HEAD: Final = 1
HASHES: Final = 2
DONE: Final = 3
ROOT: Final = 4
PLACE: Final = 5
PLACED: Final = 6
FILL: Final = 7

CHECK_BYTES: Final = 16
MAX_BODY: Final = 1 << 20
"""Of one record: what a torn length can make us read."""
MAX_LOG: Final = 256 << 20
"""A log beyond this is not ours: the largest hash list is 8 MiB, and 2 s of work take a few bytes."""
_FRAME: Final = struct.Struct(">IB")
VERSION: Final = 1


class Head(Record, frozen=True):
    """The first record: which transfer this is, and by which rules its names were made."""

    v: int
    offer: Offer
    unicode: str
    origin: str  # of what we send: where it lies; empty for what we receive


class StateLog:
    """An open log. `records` is what was in it when it was opened, or made."""

    def __init__(
        self, descriptor: int, path: str, check: bytes, end: int, records: list[tuple[int, bytes]]
    ) -> None:
        self._descriptor = descriptor
        self._path = path
        self._check = check
        self._end = end
        self.records = records

    @classmethod
    def create(cls, folder: Folder, name: str, offer: Offer, origin: str = "") -> StateLog:
        """A new log that says which transfer it is of; it survives a power cut when this returns.

        FileExistsError if there is one; CommandError if the disk refuses.
        """
        path = f"{folder.path}/{name}"
        descriptor = folder.create(name)
        log = cls(descriptor, path, bytes(CHECK_BYTES), 0, [])
        try:
            log.records = [(HEAD, encode(Head(VERSION, offer, UNICODE, origin)))]
            log.append(*log.records[0])
            log.sync()
            with told("write", path):
                folder.sync()
        except BaseException:
            log.close()
            folder.remove(name)
            raise
        return log

    @classmethod
    def open(cls, folder: Folder, name: str) -> StateLog | None:
        """The log of that name as far as it can be believed; what is torn behind that is cut off.

        None if there is none, or nothing in it that can be believed.
        """
        path = f"{folder.path}/{name}"
        with told("open", path):
            try:
                descriptor = folder.file(name, write=True)
            except FileNotFoundError:
                return None
            raw = bytearray(min(folder_size(folder, name), MAX_LOG))
            del raw[read_at(descriptor, memoryview(raw), 0) :]
        found = list(believed(raw))
        check, end = found[-1][2:] if found else (bytes(CHECK_BYTES), 0)
        records = [(kind, body) for kind, body, _, _ in found]
        log = cls(descriptor, path, check, end, records)
        if log.head is None:
            log.close()
            return None
        if end < len(raw):
            with told("write", path):
                set_size(descriptor, end)
        return log

    @property
    def head(self) -> Head | None:
        """The first record, if it is one."""
        if not self.records or self.records[0][0] != HEAD:
            return None
        try:
            head = decode(Head, self.records[0][1])
        except RemoteProtocolError:
            return None  # written by another version
        return head if head.v == VERSION else None

    def append(self, kind: int, body: bytes) -> None:
        """One more record; safe from a power cut only after `sync`. CommandError if the disk refuses:
        then nothing of it is left, and the next may be tried."""
        frame = _FRAME.pack(len(body), kind) + body
        check = _next(self._check, frame)
        with told("write", self._path):
            try:
                write_at(self._descriptor, memoryview(frame + check), self._end)
            except OSError:
                set_size(self._descriptor, self._end)
                raise
        self._end += len(frame) + CHECK_BYTES
        self._check = check

    def sync(self) -> None:
        """All records survive a power cut from here on. After a failure the log is not to be used:
        the system may have dropped what it could not write, and would not say so again."""
        with told("write", self._path):
            sync_file(self._descriptor)

    def close(self) -> None:
        """Harmless when repeated."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def peek(folder: Folder, name: str) -> list[tuple[int, bytes]]:
    """The records of a log that may be in use: nothing is cut off or written. None if there is no log."""
    try:
        descriptor = folder.file(name)
    except FileNotFoundError:
        return []
    try:
        raw = bytearray(min(folder_size(folder, name), MAX_LOG))
        del raw[read_at(descriptor, memoryview(raw), 0) :]
    finally:
        os.close(descriptor)
    return [(kind, body) for kind, body, _, _ in believed(raw)]


def folder_size(folder: Folder, name: str) -> int:
    """Bytes of the file `name`; 0 if it is gone."""
    look = folder.look(name)
    return look.size if look else 0


def believed(raw: bytes | bytearray) -> Iterator[tuple[int, bytes, bytes, int]]:
    """(kind, body, check, where it ends) of every record up to the first that does not fit."""
    check, at = bytes(CHECK_BYTES), 0
    while at + _FRAME.size + CHECK_BYTES <= len(raw):
        length, kind = _FRAME.unpack_from(raw, at)
        end = at + _FRAME.size + length
        if length > MAX_BODY or end + CHECK_BYTES > len(raw):
            return
        expected = _next(check, bytes(raw[at:end]))
        if raw[end : end + CHECK_BYTES] != expected:
            return
        yield kind, bytes(raw[at + _FRAME.size : end]), expected, end + CHECK_BYTES
        check, at = expected, end + CHECK_BYTES


def _next(check: bytes, frame: bytes) -> bytes:
    return blake3(check).update(frame).digest(CHECK_BYTES)


def pack_ranges(numbers: Iterable[int]) -> bytes:
    """Ascending numbers as (first, how many) pairs of four bytes each."""
    packed = bytearray()
    first = last = -2
    for number in numbers:
        if number != last + 1:
            if last >= 0:
                packed += struct.pack(">II", first, last - first + 1)
            first = number
        last = number
    if last >= 0:
        packed += struct.pack(">II", first, last - first + 1)
    return bytes(packed)


def unpack_ranges(body: bytes) -> Iterator[int]:
    """The numbers again."""
    for first, count in struct.iter_unpack(">II", body):
        yield from range(first, first + count)
