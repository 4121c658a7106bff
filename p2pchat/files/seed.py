"""What was received and lies in the inbox now, as a source again: for others who want it.

Decides: how the stream of a landed transfer is put together from where it lies. Does not know: hashes
(outgoing compares every piece with them, so a file its owner has changed since is not given), or who asks.
"""

from __future__ import annotations

import os

from p2pchat.errors import CommandError, RemoteProtocolError
from p2pchat.files import manifest
from p2pchat.files.manifest import Layout, Place
from p2pchat.files.staging import Staging
from p2pchat.files.tree import Tree
from p2pchat.files.trouble import told
from p2pchat.platform.folders import Folder, read_at, sync_file, write_at
from p2pchat.wire.messages.files import Entry, Offer


class Seed:
    """Fits source.Source. `path` is absolute, where the transfer landed."""

    def __init__(self, path: str, offer: Offer, entries: tuple[Entry, ...]) -> None:
        self.path = path
        self.name, self.size, self.head = offer.name, offer.size, offer.head
        self.files, self.mtime = offer.files, offer.mtime
        self._manifest = manifest.make(entries) if offer.head else b""
        if len(self._manifest) != offer.head:
            raise CommandError("source_changed", f"{path!r} has lost its list", "")
        sizes = (entry.size for entry in entries) if offer.head else (offer.size,)
        self._layout = Layout(offer.head, sizes)
        self._places: list[Place] = manifest.places(entries)
        above, self._own = os.path.split(path)
        with told("read", path):
            self._folder = Folder.open(path if offer.head else above)
        self._tree = Tree(self._folder, writing=False)

    @property
    def noted(self) -> bytes:
        """Nothing: the hashes of all pieces are known, and they say whether it still is the same."""
        return b"landed"

    def read(self, offset: int, into: memoryview) -> bool:
        """See source.Source; False, for nothing is noted and every hash is known."""
        for part in self._layout.parts(offset, len(into)):
            target = into[part.start : part.start + part.length]
            if part.entry < 0:
                target[:] = self._manifest[part.offset : part.offset + part.length]
                continue
            path = self._places[part.entry].path if self.head else (self._own,)
            try:
                count = self._tree.read(path, part.offset, target)
            except OSError as error:
                raise _changed(self.path) from error
            if count != part.length:
                raise _changed(self.path)
        return False

    def close(self) -> None:
        """See source.Source."""
        self._tree.close()
        self._folder.close()


def keep_list(folder: Folder, staging: Staging) -> None:
    """Before a folder gets its name: keep its list, without which it could not be served later."""
    if not staging.offer.head:
        return
    name = list_name(staging.offer.id)
    with told("write", f"{folder.path}/{name}"):
        folder.remove(name)
        descriptor = folder.create(name)
        try:
            write_at(descriptor, memoryview(manifest.make(staging.entries)), 0)
            sync_file(descriptor)
        finally:
            os.close(descriptor)


def landed_source(folder: Folder, offer: Offer, path: str) -> Seed:
    """What landed at `path`, with the list that was kept in the staging `folder`. CommandError
    `source_changed` if the list or the file is gone."""
    entries: tuple[Entry, ...] = ()
    try:
        if offer.head:
            descriptor = folder.file(list_name(offer.id))
            try:
                raw = bytearray(offer.head)
                if read_at(descriptor, memoryview(raw), 0) != offer.head:
                    raise _changed(path)
            finally:
                os.close(descriptor)
            entries = manifest.read(bytes(raw), offer.size - offer.head)
        return Seed(path, offer, entries)
    except (OSError, RemoteProtocolError) as error:
        raise _changed(path) from error


def list_name(offer_id: bytes) -> str:
    """The name of a kept list in the staging folder."""
    return f"{offer_id.hex()}.list"


def _changed(path: str) -> CommandError:
    return CommandError("source_changed", f"{path!r} was changed, moved or deleted since it came", "")
