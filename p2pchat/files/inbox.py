"""A finished transfer gets its name: in one step, without taking anybody else's.

Decides: under which name what was received appears, what happens if there is one already, and how
it is found out that the same bytes are there. Does not know: who sent it, whether it was wanted, or
how the folder was chosen.

Nothing bears the final name before all of it is there, checked and durable; and when `place` returns
the name is durable too. A crash in between is repaired by calling it again: the name that is about
to be taken stands in the transfer's log before it is.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from p2pchat.errors import CommandError, LocalProtocolError, PieceError
from p2pchat.files import state as states
from p2pchat.files.manifest import Layout, Place
from p2pchat.files.names import clean, numbered
from p2pchat.files.pieces import hash_piece, length
from p2pchat.files.staging import DATA, TREE, Staging, remove
from p2pchat.files.tree import Tree, every_file
from p2pchat.files.trouble import need_room, told, told_of
from p2pchat.platform.folders import Folder, Look, NotPlain, read_at, sync_file, write_at
from p2pchat.wire.limits import MAX_ENTRIES
from p2pchat.wire.messages.files import Offer

Conflict = Literal["rename", "skip", "overwrite"]
MAX_NUMBER: Final = 10_000
"""So many of one name are tried."""
MAX_CANDIDATES: Final = 16
"""So many files of the right size are hashed to find the same bytes: a folder may hold thousands."""
_COPY_BYTES: Final = 1 << 20


class Landed(NamedTuple):
    """Where it is now. `how`: new, renamed, replaced, skipped (not kept: something of that name was
    there), same (these very bytes were there)."""

    path: str
    name: str
    how: Literal["new", "renamed", "replaced", "skipped", "same"]


def final_name(offer: Offer) -> str:
    """The name an offer asks for, made safe."""
    return clean(offer.name).name


def place(staging: Staging, inbox: Folder, now: float, conflict: Conflict = "rename") -> Landed:
    """Give what is complete in `staging` its name in `inbox`, and remove it from there.

    rename: the first free of `name`, `name (2)`, …; skip: nothing is kept if the name is taken;
    overwrite: a file, or a link itself, is replaced in one step, a folder is filled: files of the
    same path are replaced, others stay. Unfinished placing is finished whatever `conflict` says.
    LocalProtocolError while pieces are missing; PieceError for a wrong root; CommandError `exists`
    if something that must not be replaced is in the way; `disk_full` and others if the disk refuses.
    What could not be placed stays staged.
    """
    name = final_name(staging.offer)
    inner = TREE if staging.offer.head else DATA
    kind, begun = staging.placing or (0, "")
    if kind == states.PLACED:
        return Landed(f"{inbox.path}/{begun}", begun, _how(begun, name))
    if kind == states.FILL:  # files have left already: finishing would make empty ones in their place
        with told("write", f"{inbox.path}/{begun}"):
            return _fill_and_settle(staging, inbox, begun)
    if kind == states.PLACE and staging.here.look(inner) is None:
        return _settle(staging, inbox, begun, _how(begun, name))
    staging.finish(now)
    if kind == states.PLACE and _is_ours(staging, inbox, begun, inner):
        return _settle(staging, inbox, begun, _how(begun, name))
    with told("write", f"{inbox.path}/{name}"):
        if conflict == "overwrite" and (look := inbox.look(name)) is not None:
            return _replace(staging, inbox, name, inner, look)
        for number in itertools.count(1):
            chosen = name if number == 1 else numbered(name, number)
            if number > MAX_NUMBER or (number > 1 and conflict == "skip"):
                break
            if inbox.look(chosen) is not None:
                continue
            staging.announce(states.PLACE, chosen)
            try:
                _move_new(staging, inner, inbox, chosen)
            except FileExistsError:
                continue  # somebody was faster
            return _settle(staging, inbox, chosen, _how(chosen, name))
    if conflict == "skip":
        staging.discard()
        return skipped(inbox, staging.offer)
    raise CommandError("exists", f"{name!r} is there {MAX_NUMBER} times", "move some away")


def skipped(inbox: Folder, offer: Offer) -> Landed:
    """Something else bears its name, and it was to be left out then."""
    name = final_name(offer)
    return Landed(f"{inbox.path}/{name}", name, "skipped")


# -- the same bytes already there --------------------------------------------------------------


def same_file(inbox: Folder, offer: Offer, hash_of: Callable[[int], bytes | None]) -> str | None:
    """The name of a file in `inbox` that already is what is offered; None if there is none.

    Only names directly in the folder, of the offered size, the offered name first, at most
    MAX_CANDIDATES, links not followed; each is hashed with the offer's key, piece by piece, until
    one differs. `hash_of` answers None for a hash not known yet: then nothing is the same.
    """
    wanted = final_name(offer)
    with told("read", inbox.path):
        sized = [name for name, look in inbox.list() if look.kind == "file" and look.size == offer.size]
    sized.sort(key=lambda name: (name != wanted, name))
    for name in sized[:MAX_CANDIDATES]:
        try:
            descriptor = inbox.file(name)
        except OSError:
            continue  # gone, or closed to us: not a file we can call the same
        try:
            if _same_bytes(offer, hash_of, descriptor):
                return name
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return None


def adopt(staging: Staging, folder: Folder) -> int:
    """Take over pieces of a folder transfer from files that lie in `folder` under the places of the
    manifest; how many. Only what has the right hash is taken, so the worst that wrong files cost is
    reading them. CommandError if our own disk refuses."""
    if not staging.has_layout or not staging.offer.head:
        raise LocalProtocolError("what lies where is not known yet")
    offer, adopted = staging.offer, 0
    tree = Tree(folder, writing=False)
    reader = _Reading(tree, Layout(offer.head, (entry.size for entry in staging.entries)), staging.places)
    buffer = bytearray(offer.piece_size)
    try:
        for number in staging.done.missing():
            size = length(number, offer.size, offer.piece_size)
            if staging.hash_of(number) is None or number < staging.head_pieces:
                continue
            view = memoryview(buffer)[:size]
            try:
                whole = reader.read(number * offer.piece_size, view) == size
            except OSError:
                continue
            if whole:
                try:
                    staging.put(number, view)
                except PieceError:
                    continue  # another version of the file lies there
                adopted += 1
    finally:
        tree.close()
    return adopted


def same_tree(staging: Staging, folder: Folder) -> bool:
    """Whether `folder` holds exactly the files of a folder transfer, no more and no less, each with
    the right bytes. Empty folders do not count. False while a hash is not known."""
    if not staging.has_layout or not staging.offer.head:
        return False
    expected = {
        place.path: entry.size
        for entry, place in zip(staging.entries, staging.places, strict=True)
        if not entry.folder
    }
    found: dict[tuple[str, ...], int] = {}
    try:
        if not every_file(folder, 2 * MAX_ENTRIES, found.__setitem__) or found != expected:
            return False
    except OSError:
        return False
    offer = staging.offer
    tree = Tree(folder, writing=False)
    layout = Layout(offer.head, (entry.size for entry in staging.entries))
    reader = _Reading(tree, layout, staging.places, staging)
    try:
        return _same_stream(offer, staging.hash_of, reader.read)
    except OSError:
        return False
    finally:
        tree.close()


class _Reading:
    """A stream put together from files in a folder, and the manifest of a staging."""

    def __init__(
        self, tree: Tree, layout: Layout, places: list[Place], staging: Staging | None = None
    ) -> None:
        self._tree, self._layout, self._places, self._staging = tree, layout, places, staging

    def read(self, offset: int, into: memoryview) -> int:
        done = 0
        for part in self._layout.parts(offset, len(into)):
            target = into[part.start : part.start + part.length]
            if part.entry >= 0:
                done += self._tree.read(self._places[part.entry].path, part.offset, target)
            elif self._staging is not None:
                done += self._staging.read_head(part.offset, target)
        return done


def _same_bytes(offer: Offer, hash_of: Callable[[int], bytes | None], descriptor: int) -> bool:
    return _same_stream(offer, hash_of, lambda at, into: read_at(descriptor, into, at))


def _same_stream(
    offer: Offer, hash_of: Callable[[int], bytes | None], read: Callable[[int, memoryview], int]
) -> bool:
    buffer = memoryview(bytearray(offer.piece_size))
    for number, start in enumerate(range(0, offer.size, offer.piece_size)):
        view = buffer[: length(number, offer.size, offer.piece_size)]
        if read(start, view) != len(view) or hash_piece(offer.file_key, view) != hash_of(number):
            return False
    return True


# -- placing -----------------------------------------------------------------------------------


def _is_ours(staging: Staging, inbox: Folder, name: str, inner: str) -> bool:
    """Whether what bears the announced name is what we staged: linked, or the same bytes after a power
    cut that gave one of the two names back."""
    with told("read", f"{inbox.path}/{name}"):
        look, ours = inbox.look(name), staging.here.look(inner)
        if look is None or ours is None or look.kind != ours.kind:
            return False
        if look.place == ours.place:
            return True
        if look.kind == "file":
            return look.size == staging.offer.size and _same_named(staging, inbox, name)
        with inbox.child(name) as folder:
            return same_tree(staging, folder)


def _same_named(staging: Staging, inbox: Folder, name: str) -> bool:
    descriptor = inbox.file(name)
    try:
        return _same_bytes(staging.offer, staging.hash_of, descriptor)
    finally:
        os.close(descriptor)


def _move_new(staging: Staging, inner: str, inbox: Folder, name: str) -> None:
    try:
        staging.here.put_new(inner, inbox, name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    with _brought(staging, inner, inbox) as beside:
        beside.put_new(inner, inbox, name)


def _replace(staging: Staging, inbox: Folder, name: str, inner: str, look: Look) -> Landed:
    wanted = "folder" if staging.offer.head else "file"
    if look.kind != wanted and not (wanted == "file" and look.kind == "link"):
        raise _in_the_way(name, look.kind)
    if wanted == "folder":
        staging.announce(states.FILL, name)
        return _fill_and_settle(staging, inbox, name)
    staging.announce(states.PLACE, name)
    try:
        staging.here.put_over(inner, inbox, name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with _brought(staging, inner, inbox) as beside:
            beside.put_over(inner, inbox, name)
    return _settle(staging, inbox, name, "replaced")


def _fill_and_settle(staging: Staging, inbox: Folder, name: str) -> Landed:
    with inbox.child(name) as target, staging.here.child(TREE) as tree:
        _fill(staging, tree, target)
    return _settle(staging, inbox, name, "replaced")


def _fill(staging: Staging, tree: Folder, target: Folder) -> None:
    """Each file of the tree into the folder that is there, over what has its path; safe to repeat."""
    into_folders: dict[tuple[str, ...], None] = {(): None}
    for entry, place in zip(staging.entries, staging.places, strict=True):
        above = place.path if entry.folder else place.path[:-1]
        into_folders.update((above[:depth], None) for depth in range(1, len(above) + 1))
        with _below(target, above, create=True) as into:
            if not entry.folder:
                with _below(tree, above, create=False) as source:
                    _put_over(source, place, into, staging.offer.id.hex())
    for path in sorted(into_folders, key=len, reverse=True):
        with _below(target, path, create=False) as into:
            into.sync()


def _put_over(source: Folder, place: Place, into: Folder, mark: str) -> None:
    name = place.path[-1]
    if source.look(name) is None:
        return  # moved before a crash
    look = into.look(name)
    if look is not None and look.kind not in ("file", "link"):
        raise _in_the_way("/".join(place.path), look.kind)
    try:
        source.put_over(name, into, name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_over(source, name, into, mark)


def _below(folder: Folder, path: tuple[str, ...], *, create: bool) -> Folder:
    here = folder.duplicate()
    for name in path:
        try:
            below = here.child(name, create=create)
        except NotPlain as error:
            raise _in_the_way(name, error.kind) from error
        finally:
            here.close()
        here = below
    return here


def _in_the_way(name: str, kind: str) -> CommandError:
    return CommandError(
        "exists", f"{name!r} is a {kind.removeprefix('a ')} and is in the way", "move it away"
    )


def _settle(staging: Staging, inbox: Folder, name: str, how: Literal["new", "renamed", "replaced"]) -> Landed:
    """It has its name: make that durable, then say so, then clean up."""
    with told("write", f"{inbox.path}/{name}"):
        inbox.sync()
        staging.announce(states.PLACED, name)
        for inner in (DATA, "head"):
            staging.here.remove(inner)
        staging.here.remove_tree(TREE)
        staging.here.sync()
        inbox.remove_tree(_beside(staging))
    return Landed(f"{inbox.path}/{name}", name, how)


def _how(name: str, wanted: str) -> Literal["new", "renamed"]:
    return "new" if name == wanted else "renamed"


# -- an inbox on another disk --------------------------------------------------------------------


def _brought(staging: Staging, inner: str, inbox: Folder) -> Folder:
    """A hidden folder in the inbox with a durable copy of what is staged, for the last step."""
    name = _beside(staging)
    inbox.remove_tree(name)
    need_room(inbox.room(), staging.offer.size, 0, staging.offer.name)
    beside = inbox.make(name)
    try:
        _copy(staging.here, inner, beside, inner)
        beside.sync()
    except OSError as error:
        beside.close()
        inbox.remove_tree(name)
        raise told_of(error, "write", f"{inbox.path}/{staging.offer.name}") from error
    return beside


def _beside(staging: Staging) -> str:
    return f".p2pchat-{staging.offer.id.hex()}"


def _copy(source: Folder, name: str, into: Folder, new: str) -> None:
    look = source.look(name)
    if look is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    if look.kind == "folder":
        with source.child(name) as here, into.make(new) as there:
            for inner, _ in here.list():
                _copy(here, inner, there, inner)
            there.sync()
        return
    old = source.file(name)
    try:
        fresh = into.create(new)
        try:
            buffer, at = memoryview(bytearray(_COPY_BYTES)), 0
            while size := read_at(old, buffer, at):
                write_at(fresh, buffer[:size], at)
                at += size
            sync_file(fresh)
        finally:
            os.close(fresh)
    finally:
        os.close(old)
    into.set_mtime(new, look.mtime_ns)


def _copy_over(source: Folder, name: str, into: Folder, mark: str) -> None:
    temporary = f".p2pchat-{mark}"
    into.remove(temporary)
    _copy(source, name, into, temporary)
    into.put_over(temporary, into, name)
    source.remove(name)


def forget(folder: Folder, offer_id: bytes) -> None:
    """The ledger knows where it lies: nothing of it is needed in the staging folder any more."""
    remove(folder, offer_id)
