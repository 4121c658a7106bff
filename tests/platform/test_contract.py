"""What daemon and control rely on, held against both halves of `platform`.

The Windows half runs here with fakes for msvcrt and icacls; its promises about
access lists stay unproven (docs say so), all else is the same test.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from p2pchat.errors import CommandError
from p2pchat.platform import posix, windows
from p2pchat.platform.common import MAX_PRIVATE_FILE, LockHeld
from tests.platform.fakes import FakeIcacls, FakeMsvcrt


@pytest.fixture(params=[posix, windows], ids=["posix", "windows"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if request.param is windows:
        monkeypatch.setitem(sys.modules, "msvcrt", FakeMsvcrt())  # type: ignore[arg-type]
        monkeypatch.setattr(windows.subprocess, "run", FakeIcacls())
    module: ModuleType = request.param
    return module


def test_both_halves_offer_the_same_names() -> None:
    from p2pchat import platform

    for name in platform.__all__:
        assert hasattr(posix, name)
        assert hasattr(windows, name)


def test_a_private_folder_is_made_with_its_parents(system: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    system.make_private_dir(folder)
    system.make_private_dir(folder)
    system.check_private_dir(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_link_or_a_file_is_no_private_folder(system: ModuleType, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(real)
    file = tmp_path / "file"
    file.write_bytes(b"")
    for path in (link, file):
        for verb in (system.make_private_dir, system.check_private_dir):
            with pytest.raises(CommandError) as caught:
                verb(path)
            assert caught.value.kind == "unsafe_path"
            assert repr(str(path)) in caught.value.message
            assert caught.value.hint


def test_a_missing_folder_is_told_apart(system: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        system.check_private_dir(tmp_path / "none")


def test_a_private_file_comes_back_as_written(system: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "token"
    for data in (b"", b"one", b"\r\n\x1a\x00" * 1000):
        system.write_private_file(path, data)
        assert system.read_private_file(path) == data
        assert os.listdir(tmp_path) == ["token"], "no temporary file stays"


def test_reading_what_is_not_there_says_so(system: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        system.read_private_file(tmp_path / "none")


def test_a_link_is_neither_read_nor_written_through(system: ModuleType, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    victim.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(victim)

    with pytest.raises(CommandError, match="is a link"):
        system.read_private_file(link)
    system.write_private_file(link, b"new")

    assert victim.read_bytes() == b"precious"
    assert system.read_private_file(link) == b"new"


def test_what_is_no_plain_file_or_too_large_is_refused(system: ModuleType, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "giant").touch(mode=0o600)
    os.truncate(tmp_path / "giant", MAX_PRIVATE_FILE + 1)
    for name in ("pipe", "giant"):
        with pytest.raises(CommandError) as caught:
            system.read_private_file(tmp_path / name)
        assert caught.value.kind == "unsafe_path"


def test_a_failed_write_leaves_the_old_file(
    system: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    system.write_private_file(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CommandError) as caught:
        system.write_private_file(path, b"new")
    assert caught.value.kind == "disk_full"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["key"]


def test_writing_into_a_missing_folder_is_one_clear_error(system: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot write"):
        system.write_private_file(tmp_path / "none" / "key", b"")


def test_a_lock_has_one_holder_who_is_named(system: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = system.Lock.acquire(path)
    with pytest.raises(LockHeld) as caught:
        system.Lock.acquire(path)
    assert caught.value.pid == os.getpid()
    assert str(tmp_path) in caught.value.message
    assert system.Lock.holder(path) == os.getpid()

    first.release()
    first.release()
    assert system.Lock.holder(path) is None
    system.Lock.acquire(path).release()


HOLDER = """
import os, sys, time
sys.path.insert(0, {root!r})
if {windows}:
    from tests.platform.fakes import FakeMsvcrt
    sys.modules["msvcrt"] = FakeMsvcrt()
    from p2pchat.platform.windows import Lock
else:
    from p2pchat.platform.posix import Lock
lock = Lock.acquire({path!r})
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_left_by_a_killed_daemon_is_taken_over(system: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    root = str(Path(__file__).parents[2])
    script = HOLDER.format(root=root, windows=system is windows, path=str(path))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockHeld) as caught:
            system.Lock.acquire(path)
        assert caught.value.pid == holder.pid

        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert system.Lock.holder(path) == holder.pid, "left as it was"
    lock = system.Lock.acquire(path)
    assert system.Lock.holder(path) == os.getpid()
    lock.release()


def test_a_lock_is_not_taken_through_a_link(system: ModuleType, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "lock").symlink_to(victim)
    with pytest.raises(CommandError, match="is a link"):
        system.Lock.acquire(tmp_path / "lock")
    assert victim.read_bytes() == b"precious"


def test_a_lock_in_a_missing_folder_is_one_clear_error(system: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(CommandError) as caught:
        system.Lock.acquire(tmp_path / "none" / "lock")
    assert caught.value.kind == "unsafe_path"


def test_foreign_content_in_a_lock_names_nobody(system: ModuleType, tmp_path: Path) -> None:
    system.write_private_file(tmp_path / "lock", b"not a pid\n")
    assert system.Lock.holder(tmp_path / "lock") is None


def test_the_umask_is_handed_back(system: ModuleType) -> None:
    before = os.umask(0o022)
    try:
        assert system.secure_umask() == 0o022
        assert os.umask(0o022) == 0o077
    finally:
        os.umask(before)


def test_an_open_file_is_changed_in_place(system: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(b"0123456789")
    with path.open("r+b") as owner:
        for _ in range(2):
            with system.OpenFile.of(path) as file:
                assert file.read(8, 100) == b"89"
                assert file.read(100, 1) == b""
                file.write(2, b"xyz")
                file.sync()
        assert owner.read() == b"01xyz56789"


def test_an_open_file_keeps_the_locks_that_its_owner_has(tmp_path: Path) -> None:
    """Opening and closing a second descriptor would drop them: what SQLite must never suffer."""
    path = tmp_path / "archive"
    path.write_bytes(b"0123456789")
    asks = f"""import fcntl
with open({str(path)!r}, "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("locked")
"""

    def said() -> str:
        done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
        return done.stdout

    with path.open("r+b") as owner:
        fcntl.lockf(owner, fcntl.LOCK_EX)
        with posix.OpenFile.of(path) as file:
            file.write(0, b"a")
        assert said() == "locked\n"
        path.read_bytes()
        assert said() == "", "the control: an ordinary look drops them"
    with pytest.raises(OSError, match="not open for writing"), path.open("rb"):
        posix.OpenFile.of(path)


def test_news_of_the_network_is_a_socket_or_nothing(system: ModuleType) -> None:
    news = system.network_news()
    if system is posix and sys.platform == "linux":
        assert news is not None
    if news is not None:
        with news:
            assert not news.getblocking()
