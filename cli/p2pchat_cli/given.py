"""Paths as people type them.

Decides: that they are resolved here, where they were typed, and which cannot be asked for. Does not
know: what lies there beyond that something does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from p2pchat.errors import CommandError


def absolute(paths: Sequence[str]) -> list[str]:
    """Absolute paths of what exists; CommandError for the first that does not, before anything is sent."""
    found = [folder(path) for path in paths]
    for typed, path in zip(paths, found, strict=True):
        try:
            os.stat(path)
        except FileNotFoundError:
            raise CommandError("no_such_target", f"no file {typed!r}", "check the name") from None
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise CommandError("unsafe_path", f"cannot read {typed!r}: {why}", "check the name") from error
    return found


def folder(path: str) -> str:
    """One absolute path, whether or not anything is there."""
    if not path or "\0" in path:
        raise CommandError("usage", f"{path!r} is no path", "name a file or folder")
    found = os.path.abspath(path)
    try:
        found.encode()
    except UnicodeEncodeError:
        raise CommandError(
            "usage",
            f"the name {path!r} is not UTF-8",
            "rename it, send the folder it is in, or pipe it: file send TARGET - --name NAME",
        ) from None
    return found
