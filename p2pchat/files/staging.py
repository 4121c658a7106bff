"""A transfer on its way in: what came is checked, kept, and trusted again after a crash.

Decides: which bytes are believed, when they are made durable, and what a resumed transfer still
needs. Does not know: who sent them, how they travelled, or where the file will lie (inbox).

In the staging folder (owner-only, by descriptor, no link followed):

    <id>.state     the log: offer, hashes, done pieces, root, final name (files/state)
    <id>/data      a single file, holes where pieces are missing
    <id>/head      of a folder: its manifest, up to the end of the last piece that has some of it
    <id>/tree/…    of a folder: its files under their safe names

A piece counts after its hash fitted, its bytes and every new name on the way to them were synced,
and the log said so and was synced. Only such pieces survive in `durable`; after a kill or a power
cut everything else is asked for again. Nothing here is executable, a link, or open to others, and
nothing of what a peer says becomes a mode, an owner or a link.
"""

from __future__ import annotations

import struct
from typing import Final

from p2pchat.errors import CommandError, LocalProtocolError, PieceError, RemoteProtocolError
from p2pchat.files import manifest as manifests
from p2pchat.files import state as states
from p2pchat.files.manifest import Layout, Place
from p2pchat.files.names import UNICODE
from p2pchat.files.pieces import HASH_BYTES, Bits, count, hash_piece, length, root_of
from p2pchat.files.tree import Path, Tree
from p2pchat.files.trouble import need_room, told
from p2pchat.platform.folders import Folder
from p2pchat.wire.messages.files import Entry, Offer

SYNC_BYTES: Final = 64 << 20
"""So much is asked for again at most after a crash, beside what SYNC_S let through."""
SYNC_S: Final = 2.0
"""The same for slow links."""
DATA: Final = "data"
HEAD: Final = "head"
TREE: Final = "tree"
_HASHES_AT_ONCE: Final = 8192


class Staging:
    """One transfer being received. Made by `begin`; one thread at a time; ended by `close` or
    `discard`. After any failure of a sync it refuses all but these: begin it again."""

    def __init__(self, folder: Folder, offer: Offer, log: states.StateLog, here: Folder, now: float) -> None:
        self._folder = folder
        self.offer = offer
        self.log = log
        self.here = here
        self.durable = Bits(count(offer.size, offer.piece_size))
        """What would survive a power cut: what may be told to others and to the ledger."""
        self.done = Bits(self.durable.total)
        """What is here and right, durable or not."""
        self.entries: tuple[Entry, ...] = ()
        """Of a folder, once its manifest is here."""
        self.places: list[Place] = []
        self.root = b""
        """What the author said the root is, if he has."""
        self.placing: tuple[int, str] | None = None
        """That it is about to get, or has, a name (kind of the record, name)."""
        self._hashes = bytearray(HASH_BYTES * self.durable.total)
        self.known = Bits(self.durable.total)
        """Pieces whose hash was said."""
        self._tree = Tree(here, writing=True)
        self._layout = None if offer.head else Layout(0, (offer.size,))
        self._paths: list[Path] = [] if offer.head else [(DATA,)]
        self._finished: set[int] = set()  # entries whose file was written in one go: size and time are right
        self._bytes = 0
        self._synced_at = now
        self._broken = False

    @classmethod
    def begin(cls, folder: Folder, offer: Offer, *, keep_free: int, now: float) -> Staging:
        """Start receiving `offer` (checked: pieces.check_offer) in `folder`, or go on with it.

        Goes on if there is a log of exactly this offer that can be believed; whatever else lies
        under its id is removed first. CommandError `disk_full` if what is missing would leave less
        than `keep_free` bytes; other CommandErrors if the folder refuses.
        """
        name = offer.id.hex()
        log = states.StateLog.open(folder, state_name(offer.id))
        head = log.head if log else None
        if log is not None and head is not None and head.offer == offer and head.unicode == UNICODE:
            with told("open", f"{folder.path}/{name}"):
                here = folder.child(name, create=True)
        else:
            if log is not None:
                log.close()
            remove(folder, offer.id)
            with told("write", f"{folder.path}/{name}"):
                need_room(folder.room(), offer.size, keep_free, offer.name)
                here = folder.make(name)
            try:
                log = states.StateLog.create(folder, state_name(offer.id), offer)
            except BaseException:
                here.close()
                raise
        staging = cls(folder, offer, log, here, now)
        try:
            staging._replay()
            left = offer.size - staging.durable.here * offer.piece_size
            need_room(folder.room(), max(0, left), keep_free, offer.name)
        except BaseException:
            staging.close()
            raise
        return staging

    # -- what others say of it -------------------------------------------------------------

    def learn(self, first: int, hashes: bytes) -> None:
        """The hashes of pieces `first`, `first` + 1, …, from the author's own session or from a list
        that fits his root.

        PieceError if one contradicts what is already known: then the file changed under its author,
        or somebody lied. RemoteProtocolError for hashes of pieces that do not exist.
        """
        self._check()
        number, rest = divmod(len(hashes), HASH_BYTES)
        if rest or first < 0 or first + number > self.known.total:
            raise RemoteProtocolError("hashes of pieces that do not exist")
        new = []
        for at in range(number):
            said = hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES]
            if first + at not in self.known:
                new.append((first + at, said))
            elif self.hash_of(first + at) != said:
                raise PieceError(first + at, "has another hash than was said before")
        for start in range(0, len(new), _HASHES_AT_ONCE):
            some = new[start : start + _HASHES_AT_ONCE]
            if len(some) == some[-1][0] - some[0][0] + 1:
                self._log_hashes(some[0][0], b"".join(said for _, said in some))
            else:
                for piece, said in some:
                    self._log_hashes(piece, said)

    def learn_root(self, root: bytes) -> None:
        """The root the author's account signed. PieceError if all hashes are known and do not fit it,
        or if it signed another one before."""
        self._check()
        if self.root and self.root != root:
            raise PieceError(0, "belongs to another root than was signed before")
        if self.known.complete and self.root_of_hashes() != root:
            raise PieceError(0, "belongs to a list that does not fit the signed root")
        if not self.root:
            self.log.append(states.ROOT, root)
            self.root = root

    def hash_of(self, number: int) -> bytes | None:
        """The hash piece `number` must have, if it was said."""
        if number not in self.known:
            return None
        return bytes(self._hashes[number * HASH_BYTES : (number + 1) * HASH_BYTES])

    @property
    def all_known(self) -> bool:
        """Whether the hash of every piece was said."""
        return self.known.complete

    def root_of_hashes(self) -> bytes:
        """The root of all hashes; LocalProtocolError while some are missing."""
        offer = self.offer
        if not self.known.complete:
            raise LocalProtocolError("the root needs the hashes of all pieces")
        return root_of(offer.file_key, offer.size, offer.head, offer.piece_size, self._hashes)

    # -- bytes -----------------------------------------------------------------------------

    @property
    def head_pieces(self) -> int:
        """How many pieces at the start hold the manifest: they are needed before all others."""
        return count(self.offer.head, self.offer.piece_size)

    @property
    def placed(self) -> bool:
        """Whether it got its name before a crash: of a folder the list is no longer here."""
        return self.placing is not None and self.placing[0] == states.PLACED

    @property
    def has_layout(self) -> bool:
        """Whether it is known which bytes belong to which file: any piece may come."""
        return self._layout is not None

    def put(self, number: int, data: bytes | bytearray | memoryview) -> None:
        """A whole piece came. Nothing of it is written before its hash fits.

        PieceError if it is the wrong one: whoever gave it is not asked again. CommandError if the
        disk refuses, `disk_full` among them: the piece is as if it had not come, the rest stands.
        RemoteProtocolError if it completes a manifest that cannot be: the transfer is over. A piece
        that is already here is left alone.
        """
        self._check()
        offer, view = self.offer, memoryview(data)
        expected = self.hash_of(number)
        if expected is None:
            raise LocalProtocolError(f"piece {number} came before its hash")
        if len(view) != length(number, offer.size, offer.piece_size):
            raise PieceError(number, "is of the wrong length")
        if number in self.done:
            return
        if hash_piece(offer.file_key, view) != expected:
            raise PieceError(number, "does not have its hash")
        start = number * offer.piece_size
        with told("write", offer.name):
            if start < offer.head:
                self._tree.write((HEAD,), start, view)
            if self._layout is not None:
                self._spread(start, view)
            elif start >= offer.head:
                raise LocalProtocolError(f"piece {number} came before the manifest")
        self.done.add(number)
        self._bytes += len(view)
        if self._layout is None and all(piece in self.done for piece in range(self.head_pieces)):
            self._broken = True  # until what came with the manifest has its place too
            raw = self._read_manifest()
            with told("write", offer.name):
                self._spread(offer.head, raw[offer.head :])
            self._broken = False

    def read(self, number: int, into: memoryview) -> int:
        """Piece `number`, which is here, into the start of `into`; its length. For those it is served to."""
        if number not in self.done or self._layout is None:
            raise LocalProtocolError(f"piece {number} is not here")
        offer = self.offer
        start, size = number * offer.piece_size, length(number, offer.size, offer.piece_size)
        with told("read", offer.name):
            for part in self._layout.parts(start, size):
                path = (HEAD,) if part.entry < 0 else self._paths[part.entry]
                target = into[part.start : part.start + part.length]
                if self._tree.read(path, part.offset, target) != part.length:
                    raise CommandError("unsafe_path", f"{offer.name!r} was cut short on the disk")
        return size

    def read_head(self, offset: int, into: memoryview) -> int:
        """Bytes of the manifest of a folder, which is here."""
        return self._tree.read((HEAD,), offset, into)

    def due(self, now: float) -> bool:
        """Whether it is time to `sync`."""
        return self._bytes >= SYNC_BYTES or (self._bytes > 0 and now - self._synced_at >= SYNC_S)

    def sync(self, now: float) -> None:
        """Make all that is done durable. CommandError if the disk refuses; then nothing that was not
        durable before is to be believed, and this object refuses to go on."""
        self._check()
        self._broken = True  # until it has succeeded
        with told("write", self.offer.name):
            self._tree.sync()
        fresh = self.done.beyond(self.durable)
        for start in range(0, len(fresh), _HASHES_AT_ONCE):
            self.log.append(states.DONE, states.pack_ranges(fresh[start : start + _HASHES_AT_ONCE]))
        self.log.sync()
        for number in fresh:
            self.durable.add(number)
        self._bytes, self._synced_at = 0, now
        self._broken = False

    def check_room(self, keep_free: int) -> None:
        """CommandError `disk_full` if less than `keep_free` bytes are left: the time to say "not now"."""
        with told("write", self.offer.name):
            need_room(self._folder.room(), 0, keep_free, self.offer.name)

    # -- the end ---------------------------------------------------------------------------

    def finish(self, now: float) -> bytes:
        """All is here: make it whole, durable and of the right age; returns its root.

        Empty files and folders are made, sizes set, times set. LocalProtocolError while something is
        missing; PieceError if the author signed another root.
        """
        self._check()
        if not self.done.complete or self._layout is None:
            raise LocalProtocolError("pieces are missing")
        root = self.root_of_hashes()
        if self.root and self.root != root:
            raise PieceError(0, "belongs to a list that does not fit the signed root")
        both = zip(self.entries, self._paths, strict=False)
        unfinished = [one for number, one in enumerate(both) if number not in self._finished]
        with told("write", self.offer.name):
            if not self.offer.head:
                self._tree.make_file((DATA,), self.offer.size)
            else:
                self._tree.make_folder((TREE,))
            for entry, path in unfinished:
                if entry.folder:
                    self._tree.make_folder(path)
                else:
                    self._tree.make_file(path, entry.size)
        self.sync(now)
        with told("write", self.offer.name):
            if not self.offer.head:
                self._tree.set_mtime((DATA,), self.offer.mtime)
            for entry, path in unfinished:
                if not entry.folder:
                    self._tree.set_mtime(path, entry.mtime)
        self._tree.close()
        return root

    def close(self) -> None:
        """Let go of everything; what was durable stays for the next `begin`. Harmless when repeated."""
        self._broken = True
        self._tree.close()
        self.here.close()
        self.log.close()

    def announce(self, kind: int, name: str) -> None:
        """Say durably that it is about to get, or has, this name."""
        self.log.append(kind, name.encode())
        self.log.sync()
        self.placing = kind, name

    def path_of(self, entry: int) -> Path:
        """Where, below `here`, the file or folder of an entry lies; 0 for a single file."""
        return self._paths[entry]

    def discard(self) -> None:
        """Close, and remove all of it."""
        self.close()
        remove(self._folder, self.offer.id)

    # -- within ----------------------------------------------------------------------------

    def _check(self) -> None:
        if self._broken:
            raise LocalProtocolError("this transfer is closed, or its disk failed: begin it again")

    def _log_hashes(self, first: int, hashes: bytes) -> None:
        self.log.append(states.HASHES, struct.pack(">I", first) + hashes)
        self._take_hashes(first, hashes)

    def _take_hashes(self, first: int, hashes: bytes) -> None:
        self._hashes[first * HASH_BYTES : first * HASH_BYTES + len(hashes)] = hashes
        for number in range(first, first + len(hashes) // HASH_BYTES):
            self.known.add(number)

    def _spread(self, start: int, view: memoryview) -> None:
        assert self._layout is not None
        tree, entries = self._tree, self.entries
        for entry, offset, begin, size in self._layout.parts(start, len(view)):
            if entry < 0:
                continue
            path, data = self._paths[entry], view[begin : begin + size]
            if entries and entries[entry].size == size and tree.write_new(path, data, entries[entry].mtime):
                self._finished.add(entry)
            else:
                self._finished.discard(entry)
                tree.write(path, offset, data)

    def _read_manifest(self) -> memoryview:
        """The manifest is whole: from here on every byte has a place. Returns its pieces."""
        offer = self.offer
        behind = min(offer.size, self.head_pieces * offer.piece_size)
        raw = memoryview(bytearray(behind))
        with told("read", offer.name):
            if self._tree.read((HEAD,), 0, raw) != behind:
                raise CommandError("unsafe_path", f"{offer.name!r} was cut short on the disk")
        self.entries = manifests.read(bytes(raw[: offer.head]), offer.size - offer.head)
        if sum(not entry.folder for entry in self.entries) != offer.files:
            raise RemoteProtocolError("manifest with another number of files than was offered")
        self.places = manifests.places(self.entries)
        self._paths = [(TREE, *place.path) for place in self.places]
        self._layout = Layout(offer.head, (entry.size for entry in self.entries))
        return raw

    def _replay(self) -> None:
        for kind, body in self.log.records[1:]:
            if kind == states.HASHES:
                self._take_hashes(struct.unpack_from(">I", body)[0], body[4:])
            elif kind == states.ROOT:
                self.root = body
            elif kind == states.DONE:
                for number in states.unpack_ranges(body):
                    self.durable.add(number)
                    self.done.add(number)
            elif kind in (states.PLACE, states.FILL, states.PLACED):
                self.placing = kind, body.decode()
        if self.placing is not None and self.placing[0] == states.PLACED:
            return  # the rest is being cleaned away
        if self._layout is None and all(piece in self.done for piece in range(self.head_pieces)):
            self._read_manifest()  # what came with it was synced with its last piece


def so_far(folder: Folder, offer: Offer) -> Bits:
    """Which pieces are durable of a transfer that rests; none of one that was never begun."""
    here = Bits(count(offer.size, offer.piece_size))
    with told("read", f"{folder.path}/{state_name(offer.id)}"):
        records = states.peek(folder, state_name(offer.id))
    for kind, body in records:
        if kind == states.DONE:
            for number in states.unpack_ranges(body):
                here.add(number)
    return here


def state_name(offer_id: bytes) -> str:
    """The log's name in the staging folder."""
    return f"{offer_id.hex()}.state"


def remove(folder: Folder, offer_id: bytes) -> None:
    """Remove everything of a transfer from the staging folder; nothing if there is nothing."""
    with told("remove", f"{folder.path}/{offer_id.hex()}"):
        folder.remove(state_name(offer_id))  # first: what it vouched for goes next
        look = folder.look(offer_id.hex())
        if look is not None and look.kind == "folder":
            folder.remove_tree(offer_id.hex())
        else:
            folder.remove(offer_id.hex())
        folder.sync()
