"""Promises that need real owners, modes and sockets."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pchat.errors import CommandError
from p2pchat.platform import posix
from tests.kit.needs import needs_root


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_folders_and_files_are_owner_only_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    folder = tmp_path / "parent" / "home"
    posix.make_private_dir(folder)
    posix.write_private_file(folder / "key", b"secret")

    assert folder.stat().st_mode & 0o7777 == 0o700
    assert (folder / "key").stat().st_mode & 0o7777 == 0o600
    assert os.umask(umask) == umask, "the umask is as it was"


@pytest.mark.parametrize("mode", [0o710, 0o701, 0o770, 0o755, 0o777])
def test_an_open_folder_is_closed_if_empty_and_refused_if_not(mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    folder.chmod(mode)
    posix.make_private_dir(folder)
    assert folder.stat().st_mode & 0o777 == 0o700

    (folder / "planted").touch()
    folder.chmod(mode)
    for verb in (posix.make_private_dir, posix.check_private_dir):
        with pytest.raises(CommandError) as caught:
            verb(folder)
        assert f"{mode:04o}" in caught.value.message
        assert caught.value.hint == f"chmod 700 {str(folder)!r}"
    assert folder.stat().st_mode & 0o777 == mode, "nothing is changed behind the owner's back"


def test_the_hint_works(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "x").touch()
    folder.chmod(0o755)
    with pytest.raises(CommandError) as caught:
        posix.make_private_dir(folder)
    subprocess.run(caught.value.hint, shell=True, check=True)
    posix.make_private_dir(folder)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_open_to_others_is_not_read(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"secret")
    path.chmod(mode)
    with pytest.raises(CommandError) as caught:
        posix.read_private_file(path)
    assert caught.value.hint == f"chmod 600 {str(path)!r}"


@needs_root
def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    file = tmp_path / "key"
    file.touch(mode=0o600)
    os.chown(file, 65534, 65534)
    for verb, path in (
        (posix.make_private_dir, folder),
        (posix.check_private_dir, folder),
        (posix.read_private_file, file),
    ):
        with pytest.raises(CommandError) as caught:
            verb(path)
        assert "belongs to user 65534" in caught.value.message


@needs_root
def test_another_user_is_told_clearly(tmp_path: Path) -> None:
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from p2pchat.errors import CommandError
from p2pchat.platform import posix
os.setgid(65534); os.setuid(65534)
for verb in (posix.make_private_dir, posix.read_private_file, posix.Lock.acquire):
    try:
        verb({str(tmp_path / "home")!r})
    except CommandError as error:
        print(error.kind)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["unsafe_path"] * 3, done.stderr


def test_the_peer_of_a_unix_socket_is_known() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert posix.peer_uid(ours) == posix.user_id() == os.geteuid()


def test_getpeereid_reads_the_user_and_reports_failure() -> None:
    class FakeLibc:
        def __init__(self, result: int) -> None:
            self.result = result

        def getpeereid(self, descriptor: int, uid: object, gid: object) -> int:
            assert descriptor == 7
            ctypes.cast(uid, ctypes.POINTER(ctypes.c_uint32))[0] = 501  # type: ignore[arg-type]
            return self.result

    assert posix._getpeereid(7, FakeLibc(0)) == 501
    with pytest.raises(OSError, match="getpeereid"):
        posix._getpeereid(7, FakeLibc(-1))


def test_a_hardened_process_leaves_no_core_and_hides_its_memory() -> None:
    script = """
import ctypes, resource
from p2pchat.platform import harden_process
assert harden_process() == ()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(0, 0) 0"


def test_as_many_files_as_the_system_lets_us_have() -> None:
    """What somebody's shell began with is raised to what it may be, and no further."""
    script = """
import resource
from p2pchat.platform import allow_many_files
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 900))
allow_many_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(900, 900)"


def test_a_full_disk_and_a_lockless_file_system_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(posix.fcntl, "flock", no_locks)
    with pytest.raises(CommandError, match="cannot be locked: operation not supported"):
        posix.Lock.acquire(tmp_path / "lock")
