"""What a folder consists of: its manifest, and where in the stream each file lies.

Decides: which manifests are accepted, the order of files, under which names a receiver writes
them, and which bytes of the stream belong to which file. Does not know: disks, or what is in the
files.

The manifest is flat: a path is a list of names, not a text to be cut at separators, so no name of
a peer is ever read as a way. A folder stands in it only if it holds nothing.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from p2pchat.errors import CommandError, RemoteProtocolError
from p2pchat.files.names import Taken, clean
from p2pchat.files.pieces import MAX_SIZE, MAX_TIME
from p2pchat.wire.codec import decode, encode
from p2pchat.wire.limits import MAX_DEPTH, MAX_ENTRIES, MAX_MANIFEST, MAX_OFFER_NAME, MAX_PATH
from p2pchat.wire.messages.files import Entry, Manifest

VERSION = 1
_UTF8_MOST = 4
"""Bytes a letter takes at most."""


def make(entries: Iterable[Entry]) -> bytes:
    """The encoded manifest of these entries, in whatever order they come.

    CommandError `too_long` if the folder is beyond what may be sent; the sentence names the limit.
    """
    ordered = tuple(sorted(entries, key=_by_path))
    for entry in ordered:
        if trouble := _path_trouble(entry.path):
            shown = "/".join(entry.path)
            raise CommandError("too_long", f"{shown[:200]!r} {trouble}", "send an archive")
    if len(ordered) > MAX_ENTRIES:
        raise CommandError(
            "too_long", f"the folder has {len(ordered)} entries, at most {MAX_ENTRIES}", "send an archive"
        )
    raw = encode(Manifest(VERSION, ordered))
    if len(raw) > MAX_MANIFEST:
        raise CommandError(
            "too_long", f"the folder's list takes {len(raw)} bytes, at most {MAX_MANIFEST}", "send an archive"
        )
    return raw


def read(raw: bytes, content: int) -> tuple[Entry, ...]:
    """The entries of an encoded manifest whose files have `content` bytes together.

    RemoteProtocolError unless it is exactly what `make` gives: ascending, nothing twice, nothing
    below a file, every ceiling kept, sizes adding up. Names may still be anything.
    """
    if len(raw) > MAX_MANIFEST:
        raise RemoteProtocolError("manifest too long")
    manifest = decode(Manifest, raw)
    if manifest.v != VERSION or len(manifest.entries) > MAX_ENTRIES:
        raise RemoteProtocolError("manifest with too many entries or of another version")
    total = 0
    before: tuple[str, ...] = ()
    for entry in manifest.entries:
        path, size = entry.path, entry.size
        if _path_trouble(path):
            raise RemoteProtocolError("manifest with an impossible path")
        if path <= before:
            raise RemoteProtocolError("manifest out of order")
        if before and path[: len(before)] == before:  # nothing may lie below the last entry
            raise RemoteProtocolError("manifest with something below a file")
        if not 0 <= entry.mtime <= MAX_TIME or not 0 <= size <= MAX_SIZE or (entry.folder and size):
            raise RemoteProtocolError("manifest with an impossible size or time")
        total += size
        before = path
    if total != content:
        raise RemoteProtocolError("manifest whose sizes do not add up")
    return manifest.entries


def _by_path(entry: Entry) -> tuple[str, ...]:
    return entry.path


def _path_trouble(path: tuple[str, ...]) -> str:
    if not 1 <= len(path) <= MAX_DEPTH:
        return f"lies more than {MAX_DEPTH} folders deep"
    if _UTF8_MOST * sum(map(len, path)) <= MAX_OFFER_NAME:
        return ""  # like most, far from any limit
    sizes = [len(name.encode()) for name in path]
    if max(sizes) > MAX_OFFER_NAME:
        return f"has a name of more than {MAX_OFFER_NAME} bytes"
    if sum(sizes) + len(sizes) > MAX_PATH:
        return f"is a path of more than {MAX_PATH} bytes"
    return ""


class Place(NamedTuple):
    """Where an entry is written: safe names, below the folder the transfer becomes."""

    path: tuple[str, ...]
    flags: frozenset[str]


def places(entries: Iterable[Entry]) -> list[Place]:
    """A safe and unique path for each entry, in the order of the manifest.

    Every part is cleaned by itself. Within one folder no two things get names that some system
    takes for one (case, composition, width): the later one is numbered. Folders that differ stay
    apart. From the manifest alone, so every receiver, and every resume, does the same.
    """
    taken: dict[tuple[str, ...], Taken] = {}
    known: dict[tuple[str, ...], Place] = {(): Place((), frozenset())}

    def take(theirs: tuple[str, ...], above: Place) -> Place:
        safe = clean(theirs[-1])
        names = taken.get(above.path)
        if names is None:
            names = taken[above.path] = Taken()
        flags = above.flags | safe.flags if safe.flags else above.flags
        return Place((*above.path, names.take(safe.name)), flags)

    def folder(theirs: tuple[str, ...]) -> Place:
        found = known.get(theirs)
        if found is None:
            found = known[theirs] = take(theirs, folder(theirs[:-1]))
        return found

    return [known.get(entry.path) or take(entry.path, folder(entry.path[:-1])) for entry in entries]


class Part(NamedTuple):
    """Some bytes of a stream and where they belong. `entry` is -1 for the manifest itself."""

    entry: int
    offset: int
    """In the file, or in the manifest."""
    start: int
    """In the stretch that was asked for."""
    length: int


class Layout:
    """Which bytes of a stream belong to which file: `head` bytes of manifest, then all files."""

    def __init__(self, head: int, sizes: Iterable[int]) -> None:
        self._starts = [0]
        self._numbers = [-1]
        at = head
        for number, size in enumerate(sizes):
            if size:
                self._starts.append(at)
                self._numbers.append(number)
                at += size
        self.size = at
        """Of the whole stream."""

    def parts(self, offset: int, length: int) -> Iterator[Part]:
        """The parts of a stretch of the stream, ascending; those of empty files are not among them."""
        end = min(offset + length, self.size)
        index = bisect.bisect_right(self._starts, offset) - 1
        at = offset
        while at < end:
            stop = self._starts[index + 1] if index + 1 < len(self._starts) else self.size
            upto = min(end, stop)
            if upto > at:
                yield Part(self._numbers[index], at - self._starts[index], at - offset, upto - at)
            at, index = upto, index + 1
