"""A fake Windows: msvcrt locks and icacls, good enough for the contract of `platform`.

msvcrt.locking is played by an open-file-description lock on the same byte: like the
real one it refuses a second holder, also within a process, and falls with its holder.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from pathlib import Path
from typing import Any


class FakeMsvcrt:
    """`locking` of msvcrt over Linux open-file-description locks (fcntl(2))."""

    LK_UNLCK = 0
    LK_NBLCK = 2

    def locking(self, descriptor: int, mode: int, nbytes: int) -> None:
        kind = fcntl.F_UNLCK if mode == self.LK_UNLCK else fcntl.F_WRLCK
        start = os.lseek(descriptor, 0, os.SEEK_CUR)
        request = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, nbytes, 0)
        set_ofd_lock = 37  # F_OFD_SETLK
        fcntl.fcntl(descriptor, set_ofd_lock, request)


class FakeIcacls:
    """Stands in for subprocess.run: takes the one icacls call we make, as chmod 0700."""

    def __init__(self, returncode: int = 0) -> None:
        self.calls: list[list[str]] = []
        self.returncode = returncode

    def __call__(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        program, folder, *arguments = command
        assert program == "icacls"
        assert arguments == ["/inheritance:r", "/grant:r", "*S-1-3-4:(OI)(CI)F"]
        assert options["check"] is False
        self.calls.append(command)
        if self.returncode == 0:
            Path(folder).chmod(0o700)
        return subprocess.CompletedProcess(command, self.returncode, b"", b"")
