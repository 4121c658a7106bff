"""What is sent: files and folders of ours, as one stream of bytes, read when it is asked for.

Decides: what may be sent, what was true of it when it was offered, and when it is no longer that.
Does not know: hashes, pieces, or who gets it.

Only plain files go. A link a person named himself is followed, once, when he names it; below a
folder no link is followed and none is sent, nor devices, pipes and sockets: they are counted, so
that nobody believes they went along.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from p2pchat.errors import CommandError
from p2pchat.files import manifest
from p2pchat.files.manifest import Layout
from p2pchat.files.pieces import MAX_SIZE, MAX_TIME
from p2pchat.files.tree import Path, Tree
from p2pchat.files.trouble import need_room, told, told_of
from p2pchat.platform.folders import Folder, Look, NotPlain, read_at, sync_file, write_at
from p2pchat.wire.limits import MAX_DEPTH, MAX_ENTRIES
from p2pchat.wire.messages.files import Entry


class Noted(NamedTuple):
    """What was true of a file when it was offered."""

    size: int
    mtime_ns: int
    place: tuple[int, int]


class Source(Protocol):
    """Something being sent. `read` is called from one thread at a time."""

    @property
    def name(self) -> str:
        """What it is called here; made well-formed, not made safe: the receiver does that."""

    @property
    def size(self) -> int:
        """Of the whole stream."""

    @property
    def head(self) -> int:
        """Bytes of the manifest at its start; 0 for a single file."""

    @property
    def files(self) -> int:
        """How many files it holds."""

    @property
    def mtime(self) -> int:
        """Of a single file, in nanoseconds; 0 for a folder."""

    @property
    def noted(self) -> bytes:
        """What was noted when it was offered, to be kept and compared after a restart."""

    def read(self, offset: int, into: memoryview) -> bool:
        """Fill `into`; whether the files of this stretch still were the ones that were offered, unchanged
        since, after they were read. CommandError `source_changed` if one is gone, is another kind of
        thing, or has another size than was offered."""

    def close(self) -> None:
        """Let go of everything; harmless when repeated."""


def open_source(path: str | os.PathLike[str], *, again: bool = False) -> FileSource | FolderSource:
    """What lies at an absolute path a person named, file or folder; links he named are followed now.

    `again`: after a restart, with the `path` the source had: no link is followed any more.
    CommandErrors: `no_such_target` if there is nothing (`source_changed` if it is gone by now),
    `unsafe_path` if it is neither or may not be read, `too_long` if it is beyond what may be sent.
    """
    named = os.fspath(path)
    real = named if again else os.path.realpath(named)
    try:
        mode = os.lstat(real).st_mode
    except FileNotFoundError as error:
        if again:
            raise _changed(named, "is not there any more") from error
        raise CommandError("no_such_target", f"no file {named!r}", "check the name") from error
    except OSError as error:
        raise told_of(error, "read", named) from error
    if stat.S_ISDIR(mode):
        return FolderSource.scan(real)
    if again and not stat.S_ISREG(mode):
        raise _changed(named, "is no plain file any more")
    if not stat.S_ISREG(mode):
        raise CommandError(
            "unsafe_path", f"{named!r} is neither file nor folder", "pipe it: file send TARGET - --name NAME"
        )
    return FileSource(real)


class FileSource:
    """One file, by its path without links."""

    def __init__(self, path: str, name: str = "") -> None:
        above, own = os.path.split(path)
        with told("read", path):
            self._folder = Folder.open(above)
            look = self._folder.look(own)
        if look is None or look.kind != "file":
            self._folder.close()
            raise _changed(path, "is not there any more" if look is None else "is no plain file any more")
        if look.size > MAX_SIZE:
            self._folder.close()
            raise CommandError("too_long", f"{path!r} has {look.size} bytes, at most {MAX_SIZE}")
        self.path = path
        self.name = wire_name(name or own)
        self.size, self.head, self.files = look.size, 0, 1
        self.mtime = _time(look.mtime_ns)
        self._own = own
        self._note = _note(look)
        self._tree = Tree(self._folder, writing=False)
        try:
            with told("read", path):  # now, so that one who may not read it is told at once
                self._tree.read((own,), 0, memoryview(bytearray(1)))
        except BaseException:
            self.close()
            raise

    @property
    def noted(self) -> bytes:
        return repr((tuple(self._note), self.name)).encode()

    def read(self, offset: int, into: memoryview) -> bool:
        return _read(self._tree, (self._own,), self._note, self._folder.path, offset, into)

    def close(self) -> None:
        self._tree.close()
        self._folder.close()


@dataclass
class Left:
    """What was not taken along, by kind."""

    links: int = 0
    special: int = 0
    closed: int = 0
    """Files and folders we may not read."""

    @property
    def any(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.links or self.special or self.closed)


class FolderSource:
    """A folder with all plain files below it, as they were when it was scanned."""

    def __init__(self, path: str, folder: Folder, found: list[tuple[Path, Entry, Noted]], left: Left) -> None:
        found.sort(key=lambda one: one[1].path)
        self.path = path
        self.name = wire_name(os.path.basename(path) or "folder")
        self.left = left
        self.entries = tuple(entry for _, entry, _ in found)
        self._paths = [own for own, _, _ in found]
        self._notes = [note for _, _, note in found]
        self._manifest = manifest.make(self.entries)
        self._layout = Layout(len(self._manifest), (entry.size for entry in self.entries))
        self.head = len(self._manifest)
        self.size = self._layout.size
        self.files = sum(not entry.folder for entry in self.entries)
        self.mtime = 0
        self._folder = folder
        self._tree = Tree(folder, writing=False)
        if self.size > MAX_SIZE:
            raise CommandError("too_long", f"{path!r} has {self.size} bytes, at most {MAX_SIZE}")

    @classmethod
    def scan(cls, path: str) -> FolderSource:
        """Look at everything below `path`, a folder without links on the way. Reads no file."""
        with told("read", path):
            folder = Folder.open(path)
        try:
            scan = _Scan(path)
            with told("read", path):
                scan.walk(folder, (), ())
            return cls(path, folder, scan.found, scan.left)
        except BaseException:
            folder.close()
            raise

    @property
    def noted(self) -> bytes:
        return self._manifest + repr([tuple(note) for note in self._notes]).encode()

    def read(self, offset: int, into: memoryview) -> bool:
        same = True
        for entry, at, start, length in self._layout.parts(offset, len(into)):
            target = into[start : start + length]
            if entry < 0:
                target[:] = self._manifest[at : at + length]
            elif not _read(self._tree, self._paths[entry], self._notes[entry], self.path, at, target):
                same = False
        return same

    def close(self) -> None:
        self._tree.close()
        self._folder.close()


@dataclass
class _Scan:
    path: str
    found: list[tuple[Path, Entry, Noted]] = field(default_factory=list)
    left: Left = field(default_factory=Left)

    def walk(self, folder: Folder, own: Path, theirs: tuple[str, ...]) -> int:
        """Take up all below `folder`; how many entries that were."""
        before = len(self.found)
        names: set[str] = set()
        if len(own) >= MAX_DEPTH:
            raise CommandError(
                "too_long", f"{self.path!r} is more than {MAX_DEPTH} folders deep", "send an archive"
            )
        for name, look in sorted(folder.list()):
            shown = _unlike(wire_name(name), names)
            names.add(shown)
            path, as_sent = (*own, name), (*theirs, shown)
            if look.kind == "link":
                self.left.links += 1
            elif look.kind == "special":
                self.left.special += 1
            elif look.kind == "file" and not folder.may_read(name):
                self.left.closed += 1  # now, for else it would end the transfer of all the others
            elif look.kind == "file":
                entry = Entry(as_sent, False, look.size, _time(look.mtime_ns))
                self.found.append((path, entry, _note(look)))
            else:
                self._folder(folder, name, look, path, as_sent)
            if len(self.found) > MAX_ENTRIES:
                raise CommandError(
                    "too_long", f"{self.path!r} has more than {MAX_ENTRIES} entries", "send an archive"
                )
        return len(self.found) - before

    def _folder(self, above: Folder, name: str, look: Look, path: Path, as_sent: tuple[str, ...]) -> None:
        try:
            below = above.child(name)
        except NotPlain:  # exchanged for a link since it was listed
            self.left.links += 1
            return
        except PermissionError:
            self.left.closed += 1
            return
        with below:
            if not self.walk(below, path, as_sent):
                self.found.append((path, Entry(as_sent, True, 0, _time(look.mtime_ns)), _note(look)))


class Spool:
    """What comes from a pipe, kept in a file of ours first: its size must be known to offer it.

    add … add, then `finish` gives the source; or `abort`. `folder` is private (the staging folder).
    """

    def __init__(self, folder: Folder, file_name: str, *, keep_free: int) -> None:
        self._folder = folder
        self._name = file_name
        self._keep_free = keep_free
        self._path = f"{folder.path}/{file_name}"
        self.size = 0
        with told("write", self._path):
            self._descriptor = folder.create(file_name)

    def add(self, data: bytes | bytearray | memoryview) -> None:
        """More of it. CommandError `disk_full` if less than `keep_free` bytes would be left, `too_long`
        beyond what may be sent: `abort` then."""
        view = memoryview(data)
        if self.size + len(view) > MAX_SIZE:
            raise CommandError("too_long", f"more than {MAX_SIZE} bytes came")
        with told("write", self._path):
            need_room(self._folder.room(), len(view), self._keep_free, "what is piped in")
            write_at(self._descriptor, view, self.size)
        self.size += len(view)

    def finish(self, name: str) -> FileSource:
        """All of it is there, and stays after a power cut; `name` is what it is called."""
        with told("write", self._path):
            sync_file(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            self._folder.sync()
        return FileSource(self._path, name)

    def abort(self) -> None:
        """Remove it; harmless when repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        with told("remove", self._path):
            self._folder.remove(self._name)


def wire_name(name: str) -> str:
    """A name of this system as text that can be sent: bytes that are no UTF-8 become U+FFFD."""
    if name.isascii():
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _unlike(shown: str, names: set[str]) -> str:
    """Two names that differ in undecodable bytes only must not become one."""
    while shown in names:
        shown += "~"
    return shown


def _note(look: Look) -> Noted:
    return Noted(look.size, look.mtime_ns, look.place)


def _time(mtime_ns: int) -> int:
    return mtime_ns if 0 <= mtime_ns <= MAX_TIME else min(max(0, mtime_ns), MAX_TIME)


def _read(tree: Tree, own: Path, note: Noted, above: str, offset: int, into: memoryview) -> bool:
    """Bytes of one file; whether it was the noted one, unchanged, once they were read. `above` is where
    the tree is."""
    try:
        descriptor = tree.descriptor(own)
        count = read_at(descriptor, into, offset)
        now = os.fstat(descriptor)
    except FileNotFoundError as error:
        raise _changed(os.path.join(above, *own), "is not there any more") from error
    except NotPlain as error:
        raise _changed(os.path.join(above, *own), f"is {error.kind} now") from error
    except OSError as error:
        if error.errno in _PASSING:  # it is what it was, and can be read when that is over
            raise told_of(error, "read", os.path.join(above, *own)) from error
        why = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise _changed(os.path.join(above, *own), why) from error
    if now.st_size != note.size or count != len(into):
        raise _changed(os.path.join(above, *own), f"has {now.st_size} bytes now and had {note.size}")
    return now.st_mtime_ns == note.mtime_ns and (now.st_dev, now.st_ino) == note.place and now.st_nlink > 0


_PASSING: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN)
"""Of us, and not of the file."""


def _changed(path: str, why: str) -> CommandError:
    return CommandError("source_changed", f"{path!r} {why}", "send it again")
