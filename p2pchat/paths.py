"""Every path of a profile, in one place.

Decides: where identity, archive, socket, lock, token, log, config and inbox of a
profile lie. Does not know: who may read them (platform), what they hold, or whether
`--home` or P2PCHAT_HOME won (the caller passes a home or None). Creates nothing.

A command that only asks the daemon imports this, so nothing heavy is loaded here:
platformdirs costs 8 ms on top of pathlib (measured), more than the connect itself.
On Linux and the BSDs the three XDG folders are therefore computed here, and a test
holds them equal to platformdirs; everywhere else, and for the download folder,
platformdirs is asked.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final, NamedTuple

from p2pchat.errors import CommandError

APP: Final = "p2pchat"

MAX_SOCKET_PATH: Final = 100
"""Bytes of a socket path. The kernel takes 107 on Linux and 103 on macOS; 100 is safe on both."""


class Profile(NamedTuple):
    """All paths of one profile; absolute, whether or not they exist."""

    home: Path
    """Folder of everything that is the profile's own; owner-only."""
    identity: Path
    """File with the secret keys."""
    archive: Path
    """The SQLite archive."""
    config: Path
    """The user's settings, TOML."""
    log: Path
    """The daemon's log."""
    lock: Path
    """Held by the running daemon."""
    socket: Path
    """Control socket; short enough for every kernel."""
    token: Path
    """Port and token of the control endpoint where Unix sockets are missing."""
    is_default: bool
    """True if no home was named, so that files go to the platform's own places."""

    @property
    def inbox(self) -> Path:
        """Where received files land by default: `Downloads/p2pchat`, with a named home `HOME/inbox`."""
        if not self.is_default:
            return self.home / "inbox"
        from platformdirs import user_downloads_path  # only `paths` and the daemon ask: see the border

        return user_downloads_path() / APP


def profile(home: str | os.PathLike[str] | None) -> Profile:
    """The profile in the folder `home`, or the user's default profile for None.

    A leading `~` is expanded and a relative path taken from the current folder.
    Raises CommandError `usage` for what cannot name a folder.
    """
    if home is None:
        data, config, log = _default_places()
        return _profile(data, config, log, is_default=True)
    text = os.fspath(home)
    if not text or "\0" in text:
        raise CommandError("usage", f"{text!r} cannot be a profile folder", "give --home a folder name")
    folder = Path(os.path.abspath(os.path.expanduser(text)))
    return _profile(folder, folder, folder, is_default=False)


def _profile(data: Path, config: Path, log: Path, *, is_default: bool) -> Profile:
    return Profile(
        home=data,
        identity=data / "identity",
        archive=data / "archive.db",
        config=config / "config.toml",
        log=log / "p2pchat.log",
        lock=data / "lock",
        socket=_socket_path(data),
        token=data / "control.token",
        is_default=is_default,
    )


def _socket_path(home: Path) -> Path:
    """`HOME/control.sock`, or a short private path named by the hash of a long HOME.

    Judged on the real path, so that a home reached by a link and by its own name
    has one socket. The short folder depends on the user id alone: XDG_RUNTIME_DIR
    would differ between a login shell and cron, and is removed at logout while the
    daemon lives on. Its owner and mode are checked by whoever uses it.
    """
    real = os.path.realpath(home)
    inside = os.path.join(real, "control.sock")
    if len(os.fsencode(inside)) <= MAX_SOCKET_PATH:
        return home / "control.sock" if len(os.fsencode(home)) <= MAX_SOCKET_PATH - 13 else Path(inside)
    from hashlib import blake2b  # 2.5 ms, needed by long homes only

    name = blake2b(os.fsencode(real), digest_size=8).hexdigest()
    uid = os.getuid() if sys.platform != "win32" else 0
    return Path(f"/tmp/{APP}-{uid}") / f"{name}.sock"  # noqa: S108 - owner-only folder, checked on use


def _default_places() -> tuple[Path, Path, Path]:
    """Folders for data, config and log of the default profile."""
    if sys.platform in ("win32", "darwin") or "ANDROID_DATA" in os.environ:
        import platformdirs

        return (
            platformdirs.user_data_path(APP, appauthor=False),
            platformdirs.user_config_path(APP, appauthor=False),
            platformdirs.user_log_path(APP, appauthor=False),
        )
    return (
        _xdg("XDG_DATA_HOME", "~/.local/share") / APP,
        _xdg("XDG_CONFIG_HOME", "~/.config") / APP,
        _xdg("XDG_STATE_HOME", "~/.local/state") / APP / "log",
    )


def _xdg(variable: str, default: str) -> Path:
    """A base folder (XDG Base Directory Specification 0.8: relative values are invalid, ignored)."""
    value = os.environ.get(variable, "").strip()
    return Path(value if os.path.isabs(value) else os.path.expanduser(default))
