"""Folders by descriptor: one contract, both halves.

The Windows half runs here on a POSIX system, which shows that it keeps the contract where nobody
interferes, and nothing more; what only descriptors can promise is asked of the posix half alone.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from p2pchat.errors import LocalProtocolError
from p2pchat.platform import posix_folders, windows_folders
from p2pchat.platform.folders_common import NotPlain
from tests.kit.needs import needs_root

HALVES = {"posix": posix_folders, "windows": windows_folders}


@pytest.fixture(params=list(HALVES))
def half(request: pytest.FixtureRequest) -> ModuleType:
    return HALVES[request.param]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


@pytest.fixture
def folder(half: ModuleType, root: Path) -> Iterator[Any]:
    with half.Folder.open(root) as opened:
        yield opened


def made(folder: Any, name: str, data: bytes = b"data") -> None:
    descriptor = folder.create(name)
    os.write(descriptor, data)
    os.close(descriptor)


BAD_NAMES = ["", ".", "..", "a/b", "/a", "../a", "a\0b", "/"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_a_way_is_no_name(folder: Any, name: str, root: Path) -> None:
    made(folder, "real")
    before = sorted(os.listdir(root))
    calls: list[Callable[[], object]] = [
        lambda: folder.child(name, create=True),
        lambda: folder.make(name),
        lambda: folder.create(name),
        lambda: folder.file(name),
        lambda: folder.look(name),
        lambda: folder.may_read(name),
        lambda: folder.remove(name),
        lambda: folder.remove_tree(name),
        lambda: folder.set_mtime(name, 0),
        lambda: folder.put_new("real", folder, name),
        lambda: folder.put_over("real", folder, name),
        lambda: folder.put_over(name, folder, "real"),
    ]
    for call in calls:
        with pytest.raises(LocalProtocolError):
            call()
    assert sorted(os.listdir(root)) == before


def test_what_is_new_is_private(folder: Any, root: Path) -> None:
    made(folder, "file")
    folder.make("folder").close()
    folder.child("other", create=True).close()
    assert (root / "file").stat().st_mode & 0o777 == 0o600
    for name in ("folder", "other"):
        assert (root / name).stat().st_mode & 0o777 == 0o700
    for again in (lambda: folder.create("file"), lambda: folder.make("folder"), lambda: folder.make("file")):
        with pytest.raises(FileExistsError):
            again()


def test_links_are_seen_and_not_followed(folder: Any, root: Path, tmp_path_factory: Any) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret").write_text("secret")
    (root / "to-file").symlink_to(outside / "secret")
    (root / "to-folder").symlink_to(outside)
    (root / "to-nothing").symlink_to(outside / "new")
    for name in ("to-file", "to-folder", "to-nothing"):
        assert folder.look(name).kind == "link"
        with pytest.raises(NotPlain, match="a link"):
            folder.file(name)
        with pytest.raises(NotPlain, match="a link"):
            folder.child(name, create=True)
        with pytest.raises(FileExistsError):
            folder.create(name)
    folder.remove("to-nothing")
    with pytest.raises(NotPlain):
        folder.remove_tree("to-folder")
    assert sorted(os.listdir(outside)) == ["secret"]


def test_a_path_with_a_link_in_it_is_refused(half: ModuleType, root: Path) -> None:
    (root / "real" / "inner").mkdir(parents=True)
    (root / "link").symlink_to(root / "real")
    half.Folder.open(root / "real" / "inner").close()
    for path in (root / "link", root / "link" / "inner", root / "link" / "new"):
        with pytest.raises(NotPlain, match="a link"):
            half.Folder.open(path, create=True)
    with pytest.raises(ValueError, match="absolute"):
        half.Folder.open("somewhere")
    with pytest.raises(ValueError, match="absolute"):
        half.Folder.open(f"{root}/real/../real")
    assert os.listdir(root / "real") == ["inner"]


def test_only_plain_files_are_opened(folder: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        monkeypatch.chdir(root)  # short enough for a socket's name
        unix.bind("socket")
        (root / "folder").mkdir()
        for name, kind in (("pipe", "no plain file"), ("socket", "no plain file"), ("folder", "a folder")):
            with pytest.raises(NotPlain, match=kind):
                folder.file(name)  # a pipe must not hang either
    with pytest.raises(FileNotFoundError):
        folder.file("nothing")
    with pytest.raises(FileNotFoundError):
        folder.child("nothing")
    made(folder, "file")
    with pytest.raises(NotPlain, match="a file"):
        folder.child("file")
    assert folder.look("nothing") is None
    assert (folder.may_read("file"), folder.may_read("nothing")) == (True, False)


@pytest.fixture(params=["link", "rename", "neither"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the file system can do; the posix half has a way for each."""

    def refuse(number: int) -> Callable[..., Any]:
        def call(*_: Any, **__: Any) -> Any:
            raise OSError(number, os.strerror(number))

        return call

    if request.param != "link":
        monkeypatch.setattr(posix_folders.os, "link", refuse(errno.EPERM))
    if request.param == "neither":
        monkeypatch.setattr(posix_folders, "_rename_new", refuse(errno.EINVAL))
    return str(request.param)


def test_a_new_name_takes_nobody_elses(folder: Any, root: Path, way: str) -> None:
    with folder.make("from") as source, folder.make("into") as into:
        made(source, "file", b"new")
        source.make("tree").close()
        with source.child("tree") as tree:
            made(tree, "inner", b"inner")
        into.make("full").close()
        (root / "into" / "full" / "kept").write_text("kept")
        made(into, "taken", b"old")
        (root / "into" / "dangling").symlink_to(root / "nowhere")
        for name in ("taken", "full", "dangling"):
            for mine in ("file", "tree"):
                with pytest.raises(OSError) as met:  # noqa: PT011 - the kinds are looked at below
                    source.put_new(mine, into, name)
                assert isinstance(met.value, FileExistsError), (way, mine, name, met.value)
        assert (root / "into" / "taken").read_bytes() == b"old"
        assert os.listdir(root / "into" / "full") == ["kept"]
        assert not (root / "nowhere").exists()
        place = source.look("file").place
        source.put_new("file", into, "free")
        source.put_new("tree", into, "free tree")
        assert into.look("free").place == place
        assert (root / "into" / "free").read_bytes() == b"new"
        assert (root / "into" / "free tree" / "inner").read_bytes() == b"inner"
        assert os.listdir(root / "from") == []
        with pytest.raises(FileNotFoundError):
            source.put_new("file", into, "again")


def test_replacing_replaces_the_link_and_not_what_it_leads_to(folder: Any, root: Path) -> None:
    (root / "precious").write_text("precious")
    (root / "link").symlink_to(root / "precious")
    made(folder, "new", b"new")
    folder.put_over("new", folder, "link")
    assert (root / "precious").read_text() == "precious"
    assert not (root / "link").is_symlink()
    assert (root / "link").read_bytes() == b"new"
    made(folder, "other")
    (root / "folder").mkdir()
    with pytest.raises(OSError, match="director"):
        folder.put_over("other", folder, "folder")


def test_a_tree_is_removed_without_following(folder: Any, root: Path, tmp_path_factory: Any) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "kept").write_text("kept")
    (root / "tree" / "deep").mkdir(parents=True)
    (root / "tree" / "deep" / "link").symlink_to(outside)
    (root / "tree" / "file").write_text("x")
    os.mkfifo(root / "tree" / "pipe")
    folder.remove_tree("tree")
    folder.remove_tree("tree")
    folder.remove("tree")
    assert os.listdir(root) == []
    assert os.listdir(outside) == ["kept"]


def test_bytes_at_places(half: ModuleType, folder: Any, root: Path) -> None:
    descriptor = folder.create("file")
    half.write_at(descriptor, memoryview(b"world"), 6)
    half.write_at(descriptor, memoryview(b"hello"), 0)
    buffer = memoryview(bytearray(20))
    assert half.read_at(descriptor, buffer, 0) == 11
    assert bytes(buffer[:11]) == b"hello\0world"
    assert half.read_at(descriptor, buffer, 11) == 0
    half.set_size(descriptor, 5)
    half.sync_file(descriptor)
    assert half.same_place(descriptor) == folder.look("file").place
    os.close(descriptor)
    assert (root / "file").read_bytes() == b"hello"
    folder.set_mtime("file", 1_500_000_000_123_456_789)
    assert folder.look("file").mtime_ns == 1_500_000_000_123_456_789
    assert {name: look.kind for name, look in folder.list()} == {"file": "file"}
    opened: list[int] = []

    def again() -> int:
        opened.append(folder.file("file", write=True))
        return opened[-1]

    half.sync_many(folder, [again] * 3)
    for number in set(opened):
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(number)
    room = folder.room()
    assert 0 < room.free <= room.total
    folder.sync()


def test_many_files_are_synced_at_once_where_that_is_known_to_work(root: Path) -> None:
    with posix_folders.Folder.open(root) as folder:
        opened: list[int] = []

        def again() -> int:
            opened.append(os.open(root, os.O_RDONLY))
            return opened[-1]

        posix_folders.sync_many(folder, [again] * 100)
        assert len(opened) == (0 if folder.syncs_as_a_whole() else 100)


@needs_root
def test_a_folder_on_the_way_need_only_let_us_through(root: Path) -> None:
    way = root / "way"
    (way / "inner").mkdir(parents=True)
    (way / "inner").chmod(0o777)
    way.chmod(0o711)
    root.chmod(0o711)
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        try:
            os.setuid(65534)
            posix_folders.Folder.open(way / "inner").close()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    above = [parent for parent in way.parents if not parent.stat().st_mode & 0o001]
    assert os.waitstatus_to_exitcode(status) == (1 if above else 0)


def test_a_folder_held_is_not_the_folder_of_that_name(root: Path) -> None:
    """What only descriptors can do: the name leads elsewhere now, and we do not."""
    outside = root / "outside"
    outside.mkdir()
    with posix_folders.Folder.open(root / "inbox", create=True) as inbox:
        (root / "inbox").rename(root / "moved")
        (root / "inbox").symlink_to(outside)
        made(inbox, "file")
        inbox.make("folder").close()
    assert os.listdir(outside) == []
    assert sorted(os.listdir(root / "moved")) == ["file", "folder"]


def test_windows_notices_another_folder_of_that_name(root: Path) -> None:
    inbox = windows_folders.Folder.open(root / "inbox", create=True)
    (root / "inbox").rename(root / "moved")
    (root / "inbox").mkdir()
    with pytest.raises(NotPlain, match="another folder"):
        inbox.create("file")
    assert os.listdir(root / "inbox") == []
