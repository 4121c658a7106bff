"""What differs between systems: owner-only files, the one-daemon lock, who is at the other end.

Decides: which half serves this system. Does not know: what the files hold, or any
layout of a profile (paths). Both halves offer the same names and pass one contract
test; the Windows half does so with fakes and is unproven on a real Windows.

The command line imports this before every call, so neither half loads anything heavy.
"""

from __future__ import annotations

import sys

from p2pchat.platform.common import LockHeld, disk_error, unsafe

if sys.platform == "win32":
    from p2pchat.platform.windows import (
        HAS_UNIX_SOCKETS,
        Lock,
        OpenFile,
        allow_many_files,
        check_private_dir,
        harden_process,
        keep_names,
        make_private_dir,
        network_news,
        peer_uid,
        read_private_file,
        secure_umask,
        user_id,
        write_private_file,
    )
else:
    from p2pchat.platform.posix import (
        HAS_UNIX_SOCKETS,
        Lock,
        OpenFile,
        allow_many_files,
        check_private_dir,
        harden_process,
        keep_names,
        make_private_dir,
        network_news,
        peer_uid,
        read_private_file,
        secure_umask,
        user_id,
        write_private_file,
    )

__all__ = [
    "HAS_UNIX_SOCKETS",
    "Lock",
    "LockHeld",
    "OpenFile",
    "allow_many_files",
    "check_private_dir",
    "disk_error",
    "harden_process",
    "keep_names",
    "make_private_dir",
    "network_news",
    "peer_uid",
    "read_private_file",
    "secure_umask",
    "unsafe",
    "user_id",
    "write_private_file",
]
