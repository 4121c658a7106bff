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


def make(entries: Iterable[Entry]) -> bytes:
    """The encoded manifest of these entries, in whatever order they come.

    CommandError `too_long` if the folder is beyond what may be sent; the sentence names the limit.
    """
    ordered = tuple(sorted(entries, key=lambda entry: entry.path))
    for entry in ordered:
        if _path_trouble(entry.path):
            shown = "/".join(entry.path)
            raise CommandError("too_long", f"{shown[:200]!r} {_path_trouble(entry.path)}", "send an archive")
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
    closed: tuple[str, ...] | None = None  # the last entry: nothing may lie below it
    for entry in manifest.entries:
        if _path_trouble(entry.path):
            raise RemoteProtocolError("manifest with an impossible path")
        if entry.path <= before:
            raise RemoteProtocolError("manifest out of order")
        if closed is not None and entry.path[: len(closed)] == closed:
            raise RemoteProtocolError("manifest with something below a file")
        if (
            not 0 <= entry.mtime <= MAX_TIME
            or not 0 <= entry.size <= MAX_SIZE
            or (entry.folder and entry.size)
        ):
            raise RemoteProtocolError("manifest with an impossible size or time")
        total += entry.size
        before = closed = entry.path
    if total != content:
        raise RemoteProtocolError("manifest whose sizes do not add up")
    return manifest.entries


def _path_trouble(path: tuple[str, ...]) -> str:
    if not 1 <= len(path) <= MAX_DEPTH:
        return f"lies more than {MAX_DEPTH} folders deep"
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
    folders: dict[tuple[str, ...], Place] = {(): Place((), frozenset())}
    found = []
    for entry in entries:
        place = folders[()]
        for depth, part in enumerate(entry.path, 1):
            theirs, above = entry.path[:depth], place
            known = folders.get(theirs)
            if known is None:
                safe = clean(part)
                name = taken.setdefault(above.path, Taken()).take(safe.name)
                known = Place((*above.path, name), above.flags | safe.flags)
                if depth < len(entry.path):
                    folders[theirs] = known
            place = known
        found.append(place)
    return found


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
