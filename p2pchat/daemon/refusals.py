"""What those hear who waited when something inside went wrong.

Decides: the sentences. Does not know: what went wrong (the log does).
"""

from __future__ import annotations

from p2pchat.errors import CommandError


def internal() -> CommandError:
    """What somebody hears who waited when something of ours broke."""
    return CommandError(
        "internal", "something went wrong inside; nothing of this was done", "see `p2pchat logs`"
    )


def interrupted() -> CommandError:
    """What somebody hears whose command was done, and who waited for what follows from it."""
    return CommandError(
        "internal",
        "the daemon started over while this waited; what was said before is kept",
        "see `p2pchat queue`",
    )


def full_disk() -> CommandError:
    """What somebody hears whose command could not be written down."""
    return CommandError(
        "disk_full", "the archive cannot be written: the disk is full", "free some space, then try again"
    )


def unwritten(error: BaseException) -> CommandError:
    """What somebody hears whose command was undone because of `error`."""
    if is_full(error):
        return full_disk()
    if is_damaged(error):
        return CommandError("archive", "the archive is damaged; nothing of this was done", "p2pchat doctor")
    return internal()


def is_full(error: BaseException) -> bool:
    """Whether the archive could not be written for lack of room."""
    return str(error).endswith("is full")  # SQLite's own words, and those of ArchiveError


def is_damaged(error: BaseException) -> bool:
    """Whether the archive is not whole any more: SQLite's code, or the words of ArchiveError."""
    code = getattr(error, "sqlite_errorname", "")
    return str(code).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or "' is damaged: " in str(error)
