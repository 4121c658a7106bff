"""A file system that forgets, at a power cut, what was never synced.

Decides: what survives a cut: bytes by fsync of their file, names by fsync of their folder,
and of the rest any sectors the disk happened to write, drawn from a seed. Does not know: who
writes, or what.

As strict as POSIX allows (fsync(2): syncing a file does not sync its name), so it is harder
on a program than common file systems are. Served by FUSE from a process of its own:

    with PowerCut(folder, seed=1) as disk:
        ...                # SIGKILL whoever has files open below disk.root
        disk.cut()         # disk.root now holds what a disk would

Run by itself: `python -m tests.kit.powercut MOUNTPOINT SEED`, needs root or fusermount.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
MOUNT_S: Final = 10.0
SECTORS: Final = (512, 4096)
"""Sizes in which a disk writes whole or not at all; drawn per cut."""
LUCK: Final = (0.0, 0.5, 0.9)
"""How likely an unsynced sector was written all the same; drawn per cut."""
BLOCKS: Final = 1 << 20
"""Size of the pretended disk in blocks of 4 KiB: 4 GiB, far above every floor."""


@dataclass
class Node:
    """A file or a folder: what programs see, and what the disk holds."""

    mode: int
    live: bytearray = field(default_factory=bytearray)
    disk: bytearray = field(default_factory=bytearray)
    dirty: list[tuple[int, int]] = field(default_factory=list)
    """Stretches (from, to) written since the last sync, in order."""
    changed: float = field(default_factory=time.time)

    def write(self, offset: int, data: bytes) -> None:
        """Change what programs see; a hole before `offset` is zeros."""
        if offset > len(self.live):
            self.truncate(offset)
        self.live[offset : offset + len(data)] = data
        self.dirty.append((offset, offset + len(data)))
        self.changed = time.time()

    def truncate(self, length: int) -> None:
        """Shorten, or lengthen with zeros."""
        old = len(self.live)
        if length < old:
            del self.live[length:]
        else:
            self.live.extend(bytes(length - old))
        self.dirty.append((min(old, length), max(old, length)))
        self.changed = time.time()

    def sync(self) -> None:
        """The disk holds what programs see."""
        size = len(self.live)
        del self.disk[size:]
        self.disk.extend(bytes(size - len(self.disk)))
        for start, end in self.dirty:
            self.disk[start : min(end, size)] = self.live[start : min(end, size)]
        self.dirty.clear()

    def cut(self, rng: random.Random, sector: int, luck: float) -> None:
        """Programs see what the disk holds, and of the rest the sectors that were lucky."""
        numbers = {n for start, end in self.dirty for n in range(start // sector, -(-end // sector))}
        for number in sorted(numbers):
            start, end = number * sector, min((number + 1) * sector, len(self.live))
            if start < end and rng.random() < luck:
                self.disk.extend(bytes(max(0, end - len(self.disk))))
                self.disk[start:end] = self.live[start:end]
        self.dirty.clear()
        self.live = bytearray(self.disk)


OPERATIONS: Final = (
    *("getattr", "readdir", "create", "mknod", "mkdir", "unlink", "rmdir", "rename", "link", "chmod"),
    *("chown", "utimens", "statfs", "open", "release", "read", "write", "truncate", "fsync", "fsyncdir"),
)
"""What `Disk` can do; the kernel is told that the rest does not exist."""


class Disk:
    """The operations of the file system, as mfusepy calls them: paths are absolute below the mount."""

    def __init__(self) -> None:
        self.names: dict[str, Node] = {"/": Node(stat.S_IFDIR | 0o755)}
        self.durable: dict[str, Node] = dict(self.names)
        self.open_files: dict[int, Node] = {}
        self.last = 0

    def cut(self, rng: random.Random) -> None:
        """Forget what was not synced."""
        sector, luck = rng.choice(SECTORS), rng.choice(LUCK)
        self.names = dict(self.durable)
        for path in sorted(self.names):
            if os.path.dirname(path) not in self.names:
                del self.names[path]  # its folder was never synced into being
        for path in sorted(self.names):
            self.names[path].cut(rng, sector, luck)
        self.durable = dict(self.names)
        self.open_files.clear()

    # -- names ---------------------------------------------------------------------------

    def _node(self, path: str) -> Node:
        node = self.names.get(path)
        if node is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return node

    def _children(self, path: str, names: dict[str, Node]) -> list[str]:
        return [name for name in names if name != "/" and os.path.dirname(name) == path]

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """stat(2)."""
        node = self._node(path) if fh is None else self.open_files.get(fh) or self._node(path)
        now = int(node.changed * 1e9)
        times = {"st_mtime": now, "st_ctime": now, "st_atime": now}
        links = 2 if stat.S_ISDIR(node.mode) else 1
        return {"st_mode": node.mode, "st_size": len(node.live), "st_nlink": links, **times} | {
            "st_uid": os.getuid(),
            "st_gid": os.getgid(),
        }

    def readdir(self, path: str, fh: int) -> list[str]:
        """Names in a folder."""
        return [".", "..", *(os.path.basename(name) for name in self._children(path, self.names))]

    def create(self, path: str, mode: int, fi: object = None) -> int:
        """A new file, opened."""
        self.names[path] = Node(stat.S_IFREG | mode)
        return self.open(path, 0)

    def mknod(self, path: str, mode: int, dev: int) -> int:
        """A socket, or a file without opening it."""
        self.names[path] = Node(mode)
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        """A new folder."""
        self.names[path] = Node(stat.S_IFDIR | mode)
        return 0

    def unlink(self, path: str) -> int:
        """Remove a name."""
        self._node(path)
        del self.names[path]
        return 0

    def rmdir(self, path: str) -> int:
        """Remove an empty folder."""
        if self._children(path, self.names):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        return self.unlink(path)

    def rename(self, old: str, new: str) -> int:
        """Give a file, or a folder with all below it, another name."""
        self._node(old)
        for name in [name for name in self.names if name == old or name.startswith(old + "/")]:
            self.names[new + name[len(old) :]] = self.names.pop(name)
        return 0

    def link(self, new: str, old: str) -> int:
        """One more name for a file; it survives when its own folder is synced."""
        self.names[new] = self._node(old)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        """Change the mode."""
        node = self._node(path)
        node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        """All belongs to whoever mounted it."""
        return 0

    def utimens(self, path: str, times: object = None) -> int:
        """Times are those of the last change."""
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        """A disk of BLOCKS blocks, nearly empty."""
        free = BLOCKS - sum(len(node.live) for node in self.names.values()) // 4096
        sizes = {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": BLOCKS, "f_namemax": 255}
        return {**sizes, "f_bfree": free, "f_bavail": free}

    # -- bytes ---------------------------------------------------------------------------

    def open(self, path: str, flags: int) -> int:
        """A number for the open file."""
        self.last += 1
        self.open_files[self.last] = self._node(path)
        return self.last

    def release(self, path: str, fh: int) -> int:
        """Closed. Closing syncs nothing."""
        self.open_files.pop(fh, None)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Bytes of an open file."""
        return bytes(self.open_files[fh].live[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        """Bytes into an open file."""
        self.open_files[fh].write(offset, data)
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        """Set a file's length."""
        (self._node(path) if fh is None else self.open_files[fh]).truncate(length)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        """The bytes and the length of this file survive from here on; its name may not."""
        self.open_files[fh].sync()
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        """The names in this folder survive from here on."""
        for name in self._children(path, self.durable):
            if name not in self.names:
                for gone in [one for one in self.durable if one == name or one.startswith(name + "/")]:
                    del self.durable[gone]
        for name in self._children(path, self.names):
            if self.durable.get(name) is not self.names[name]:
                self._bring(name, self.names[name])
            self.durable[name] = self.names[name]
        return 0

    def _bring(self, name: str, node: Node) -> None:
        """A folder that was moved brings what was synced in it: names belong to the folder, not to a path."""
        before = [one for one, known in self.durable.items() if known is node and stat.S_ISDIR(node.mode)]
        for old in before[:1]:
            for inner in [one for one in self.durable if one.startswith(old + "/")]:
                self.durable[name + inner[len(old) :]] = self.durable[inner]


class PowerCut:
    """Such a disk, mounted at `folder`/disk; a context manager."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self.root = folder / "disk"
        self.seed = seed
        self._log = folder / "powercut.log"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> PowerCut:
        self.root.mkdir(parents=True)
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.kit.powercut", os.fspath(self.root), str(self.seed)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        deadline = time.monotonic() + MOUNT_S
        try:
            while not os.path.ismount(self.root):
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, f"not mounted: {self._log.read_text()}"
                time.sleep(0.02)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(MOUNT_S)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        subprocess.run(["umount", "-l", os.fspath(self.root)], capture_output=True, check=False)

    def cut(self) -> None:
        """Cut the power and bring it back. Whoever had something open below `root` must be dead.

        Nothing is unmounted: another process's mount table may hold a copy. The kernel keeps
        nothing of its own, since names live for no time and pages until the next open.
        """
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("cut\n")
        process.stdin.flush()
        assert process.stdout.readline() == "cut\n", self._log.read_text()


def serve(mountpoint: str, seed: int) -> None:
    """Mount; cut at each line on stdin; ends with the process."""
    import mfusepy  # type: ignore[import-untyped]

    rng = random.Random(seed)
    disk = Disk()
    one_at_a_time = threading.Lock()

    def locked(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            with one_at_a_time:
                return method(*arguments)

        return run

    def obey() -> None:
        for _ in sys.stdin:
            with one_at_a_time:
                disk.cut(rng)
            sys.stdout.write("cut\n")
            sys.stdout.flush()

    operations = mfusepy.Operations()
    operations.use_ns = True
    for name in OPERATIONS:
        setattr(operations, name, locked(getattr(disk, name)))
    threading.Thread(target=obey, daemon=True).start()
    options = {"attr_timeout": 0, "entry_timeout": 0, "negative_timeout": 0, "big_writes": True}
    mfusepy.FUSE(operations, mountpoint, foreground=True, nothreads=True, fsname="powercut", **options)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
