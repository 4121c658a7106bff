"""What the log may hold: where and what kind a failure was, never what somebody said.

Decides: how an exception is written down. Does not know: who logs, or where it is kept.

An exception may carry a message's text, a name or a key in its arguments: a KeyError its
key, a decoder what it read, SQLite a piece of a query. So of an exception its type and
the places it passed are written, and its own words only where they are known to be ours.
"""

from __future__ import annotations

import copy
import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Final

from p2pchat.control.endpoint import Refused
from p2pchat.errors import ArchiveError, DialError, LocalProtocolError, RemoteProtocolError, SettingsError

OURS: Final = (ArchiveError, DialError, LocalProtocolError, Refused, RemoteProtocolError, SettingsError)
"""Errors whose sentences are written here and quote no text of anybody."""

FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
MAX_DEPTH: Final = 16
"""Causes of causes, and groups in groups, that are followed."""


def plain(error: BaseException) -> str:
    """An exception in one line that may be kept."""
    kind = type(error).__qualname__
    if isinstance(error, OURS):
        return f"{kind}: {' '.join(str(error).split())}"
    code = getattr(error, "sqlite_errorname", None)  # SQLite quotes SQL in its words, and so a search
    if isinstance(code, str):
        return f"{kind}: {code}"
    if isinstance(error, OSError) and error.strerror:
        return f"{kind}: {error.strerror}"
    return kind


def told(error: BaseException) -> str:
    """A traceback: every place, every cause, and of each only what `plain` says."""
    return "\n".join(_lines(error, set(), 0))


def _lines(error: BaseException, seen: set[int], depth: int) -> Iterator[str]:
    if id(error) in seen or depth > MAX_DEPTH:
        return
    seen.add(id(error))
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _lines(cause, seen, depth + 1)
        yield "which led to:"
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        yield "".join(traceback.format_tb(error.__traceback__)).rstrip("\n")
    yield plain(error)
    if isinstance(error, BaseExceptionGroup):
        for number, one in enumerate(error.exceptions, 1):
            yield f"  {number} of {len(error.exceptions)}:"
            yield from ("  " + line for part in _lines(one, seen, depth + 1) for line in part.split("\n"))


class Discreet(logging.Formatter):
    """Writes exceptions as `told` has them, and those among the arguments as `plain` has them."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        own = copy.copy(record)
        own.exc_text = None  # another formatter may have left the whole of it here
        if isinstance(own.args, tuple):
            own.args = tuple(plain(one) if isinstance(one, BaseException) else one for one in own.args)
        return super().format(own)

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        return told(ei[1]) if ei[1] is not None else ""


def keep_uncaught() -> None:
    """What nobody catches is written to stderr, which is the log, as discreetly as the rest."""
    sys.excepthook = lambda kind, error, tb: _shout(error)
    threading.excepthook = lambda args: _shout(args.exc_value)
    sys.unraisablehook = lambda args: _shout(args.exc_value)


def _shout(error: BaseException | None) -> None:
    if error is not None and sys.stderr is not None:
        sys.stderr.write(told(error) + "\n")
