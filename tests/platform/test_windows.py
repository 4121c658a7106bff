"""The few things only the Windows half does, with fakes. Unproven on a real Windows."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from p2pchat.errors import CommandError
from p2pchat.platform import windows
from tests.platform.fakes import FakeIcacls


def test_the_folder_is_closed_by_icacls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    icacls = FakeIcacls()
    monkeypatch.setattr(windows.subprocess, "run", icacls)
    windows.make_private_dir(tmp_path / "home")
    assert [call[1] for call in icacls.calls] == [str(tmp_path / "home")]


def test_a_folder_that_cannot_be_closed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows.subprocess, "run", FakeIcacls(returncode=5))
    with pytest.raises(CommandError, match=r"icacls gave 5"):
        windows.make_private_dir(tmp_path / "home")

    def missing(*_: object, **__: object) -> subprocess.CompletedProcess[bytes]:
        raise FileNotFoundError("icacls")

    monkeypatch.setattr(windows.subprocess, "run", missing)
    with pytest.raises(CommandError, match="cannot be closed"):
        windows.make_private_dir(tmp_path / "home")


def test_crash_reports_are_switched_off_where_kernel32_is(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    kernel32 = SimpleNamespace(SetErrorMode=modes.append)
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel32), raising=False)
    assert windows.harden_process() == ()
    assert modes == [3]

    monkeypatch.delattr(ctypes, "windll")
    assert windows.harden_process() == ("crash reports could not be switched off: no kernel32",)


def test_there_are_no_user_numbers() -> None:
    assert windows.user_id() == 0
    assert not windows.HAS_UNIX_SOCKETS
