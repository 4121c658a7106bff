"""A transfer on its way out: its pieces, each with the hash it will have for ever.

Decides: that a piece's hash is committed before its first byte leaves, and that what is read later
is still that. Does not know: who asks, how it travels, or where the source lies.

The log has the form of that of a transfer being received. What it says is binding for us: a piece
that does not have the hash we once gave is not sent, whatever the file is now.
"""

from __future__ import annotations

import struct
from typing import Final

from p2pchat.errors import CommandError, LocalProtocolError
from p2pchat.files import state as states
from p2pchat.files.pieces import HASH_BYTES, Bits, count, hash_piece, length, piece_size_for, root_of
from p2pchat.files.source import Source
from p2pchat.files.staging import SYNC_BYTES, SYNC_S, state_name
from p2pchat.platform.folders import Folder
from p2pchat.wire.messages.files import Offer

_HASHES_AT_ONCE: Final = 8192


def offer_for(source: Source, offer_id: bytes, file_key: bytes, mime: str = "", ttl_s: int = 0) -> Offer:
    """The offer of a source that has not been read yet. `file_key` 32 random bytes, `offer_id` 16 that
    are bound to it (docs/files.md)."""
    return Offer(
        id=offer_id,
        size=source.size,
        head=source.head,
        files=source.files,
        name=source.name,
        mime=mime,
        mtime=source.mtime,
        file_key=file_key,
        piece_size=piece_size_for(source.size),
        ttl_s=ttl_s,
    )


class Outgoing:
    """One transfer we are the author of. One thread at a time."""

    def __init__(self, folder: Folder, offer: Offer, source: Source, now: float, hashes: bytes = b"") -> None:
        """Begin, or go on after a restart with the source opened again. CommandError `source_changed`
        if it is not what was offered: another size, or, while a hash is still to be made, another
        time or inode of any file; other CommandErrors if the disk refuses. `hashes`: all of them, of
        what somebody else offered and we have received."""
        self.offer = offer
        self._source = source
        self._hashes = bytearray(HASH_BYTES * count(offer.size, offer.piece_size))
        self.known = Bits(count(offer.size, offer.piece_size))
        """Pieces whose hash is committed."""
        self._bytes = 0
        self._synced_at = now
        noted = hash_piece(offer.file_key, source.noted).hex()
        log = states.StateLog.open(folder, state_name(offer.id))
        if log is None:
            folder.remove(state_name(offer.id))
            log = states.StateLog.create(folder, state_name(offer.id), offer, noted)
        self._log = log
        head = log.head
        for kind, body in log.records:
            if kind == states.HASHES:
                self._take(struct.unpack_from(">I", body)[0], body[4:])
        sizes = source.size == offer.size and source.head == offer.head
        if hashes and not self.known.complete:
            for first in range(0, self.known.total, _HASHES_AT_ONCE):
                some = hashes[first * HASH_BYTES : (first + _HASHES_AT_ONCE) * HASH_BYTES]
                log.append(states.HASHES, struct.pack(">I", first) + some)
                self._take(first, some)
            log.sync()
        same = head is not None and head.offer == offer and sizes
        if not same or (head is not None and head.origin != noted and not self.known.complete):
            log.close()
            raise CommandError("source_changed", f"{source.name!r} is not what was offered", "send it again")

    def piece(self, number: int, into: memoryview) -> int:
        """Piece `number` into the start of `into`; its length. Its hash is committed when this returns.

        CommandError `source_changed` if the file is gone, has another size, or no longer has the
        bytes whose hash was given: nothing of `into` may then be sent.
        """
        offer = self.offer
        start, size = number * offer.piece_size, length(number, offer.size, offer.piece_size)
        view = into[:size]
        same = self._source.read(start, view)
        found = hash_piece(offer.file_key, view)
        expected = self.hash_of(number)
        if expected is None:
            # Read for the first time: it must be what was offered, not half of a later version.
            if not same:
                raise _changed(offer, number)
            self._log.append(states.HASHES, struct.pack(">I", number) + found)
            self._take(number, found)
            self._bytes += size
        elif found != expected:
            raise _changed(offer, number)
        return size

    def hash_of(self, number: int) -> bytes | None:
        """The hash given for piece `number`, if one was."""
        if number not in self.known:
            return None
        return bytes(self._hashes[number * HASH_BYTES : (number + 1) * HASH_BYTES])

    def due(self, now: float) -> bool:
        """Whether it is time to `sync`."""
        return self._bytes >= SYNC_BYTES or (self._bytes > 0 and now - self._synced_at >= SYNC_S)

    def sync(self, now: float) -> None:
        """What was committed survives a power cut from here on."""
        self._log.sync()
        self._bytes, self._synced_at = 0, now

    def root(self) -> bytes:
        """The root, once every piece was read; LocalProtocolError before. Sync, then sign."""
        if not self.known.complete:
            raise LocalProtocolError("the root needs the hashes of all pieces")
        offer = self.offer
        return root_of(offer.file_key, offer.size, offer.head, offer.piece_size, self._hashes)

    def hashes(self) -> bytes:
        """The hashes of all pieces, for a list; LocalProtocolError while some are missing."""
        if not self.known.complete:
            raise LocalProtocolError("not all pieces were read yet")
        return bytes(self._hashes)

    def close(self) -> None:
        """Let go of log and source; harmless when repeated."""
        self._log.close()
        self._source.close()

    def _take(self, first: int, hashes: bytes) -> None:
        self._hashes[first * HASH_BYTES : first * HASH_BYTES + len(hashes)] = hashes
        for number in range(first, first + len(hashes) // HASH_BYTES):
            self.known.add(number)


def _changed(offer: Offer, number: int) -> CommandError:
    return CommandError(
        "source_changed",
        f"{offer.name!r} was changed or deleted while it was sent (piece {number})",
        "send it again",
    )
