"""Opening the archive, and the one transaction at a time in which it is written.

Decides: which files are opened as an archive and how, the settings SQLite must have, what
a commit promises, and how a crash is survived and played. Does not know: what is written
(the families), or when to commit (the runner).

`queued` is told after `commit` returned: with WAL and synchronous=FULL the log has been
synced by then (SQLite, "PRAGMA synchronous"). A failed commit is final for its handle: the
kernel may have dropped the pages, and a second try would then lie.
"""

from __future__ import annotations

import functools
import logging
import os
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlite_utils import Database

from p2pchat.errors import ArchiveError, LocalProtocolError
from p2pchat.store import schema
from p2pchat.store.check import damaged, problems
from p2pchat.store.core import Core, Names
from p2pchat.store.events import Events
from p2pchat.store.fulltext import FullText
from p2pchat.store.holdings import Holdings
from p2pchat.store.items import Items
from p2pchat.store.outbox import Outbox
from p2pchat.store.people import People
from p2pchat.store.rooms import Rooms
from p2pchat.store.seen import Seen
from p2pchat.store.spare import Spare
from p2pchat.store.transfers import Transfers
from p2pchat.store.views import Views

if TYPE_CHECKING:
    from p2pchat.engine import ports

log = logging.getLogger(__name__)

MEMORY: Final = ":memory:"

BUSY_MS: Final = 5000
"""Patience with another program that holds the file, such as a backup tool."""

PRAGMAS: Final[dict[str, int | str]] = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL; NORMAL "might roll back following a power loss"
    "fullfsync": 1,  # macOS: fsync alone does not reach the platter
    "checkpoint_fullfsync": 1,
    # Pages of log: ids are random, so a page is written many times before it is copied back.
    # 16 MB instead of 4 takes 73 to 40 µs a message at 250,000 messages, and a quarter of the stalls.
    "wal_autocheckpoint": 8000,
    "journal_size_limit": 67_108_864,
    "foreign_keys": 1,
    "busy_timeout": BUSY_MS,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "secure_delete": 1,  # what was erased is overwritten
    "temp_store": 2,  # no text in temporary files
    "mmap_size": 0,  # a disk error is an error code and not a signal
    "cache_size": -16_384,  # KiB, taken as needed; random ids outgrow the default of 2 MiB
}
"""Settings of the writing connection, each read back; another value and the archive is not opened."""

_PAGE_BYTES: Final = 2048
"""Of a new archive. A message touches a dozen pages, each of them written whole into the log:
with 2 KiB a commit takes a tenth less than with 4."""
_LOG_BYTES: Final = 16 * 1024 * 1024
"""What the log grows to before SQLite starts it over: `wal_autocheckpoint` pages."""
_ZEROS: Final = bytes(256 * 1024)
_HEADER_BYTES: Final = 100
"""SQLite, "Database File Format": 16 bytes of magic, `application_id` at 68."""

NOT_IN_MEMORY: Final = ("journal_mode", "journal_size_limit", "mmap_size", "cache_size", "wal_autocheckpoint")


class Ledger:
    """The archive, open for writing. Fits engine.ports.Ledger.

    Used by one thread at a time; a commit may run in another one while the first waits.
    """

    def __init__(self, conn: sqlite3.Connection, path: str) -> None:
        self.path = path
        self._conn = conn
        self._core = core = Core(conn)
        self._fulltext = FullText(core)
        self._spare = Spare(conn, path, int(PRAGMAS["wal_autocheckpoint"]))
        self._failed = False
        self._unclean = False
        self._changes = 0
        self.events = Events(core)
        self.items = Items(core)
        self.rooms = Rooms(core)
        self.people = People(core)
        self.seen = Seen(core)
        self.views = Views(core, self._fulltext)
        self.outbox = Outbox(core)
        self.transfers = Transfers(core)
        self.holdings = Holdings(core)

    @property
    def connection(self) -> sqlite3.Connection:
        """For readers of an archive in memory, and for tests."""
        return self._conn

    @property
    def names(self) -> Names:
        """The numbers of ids, for readers of an archive in memory."""
        return self._core.names

    @property
    def in_memory(self) -> bool:
        """Whether this archive is in no file."""
        return self.path == MEMORY

    # -- transactions --------------------------------------------------------------------

    def begin(self) -> None:
        """Open the transaction, for writing from the start. ArchiveError if it cannot be."""
        if self._failed:
            raise ArchiveError(f"the archive '{self.path}' failed to commit", "close it and open it again")
        try:
            self._conn.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise _wrapped(self.path, error) from error
        self._changes = self._conn.total_changes

    @property
    def wrote(self) -> bool:
        """Whether this transaction changed any row. A commit without changes touches no disk."""
        return self._conn.total_changes != self._changes

    def commit(self) -> None:
        """Make all of it durable. ArchiveError if not: then this handle is finished (DU7)."""
        try:
            self.events.flush()
            self._fulltext.flush()
            self._conn.execute("COMMIT")
        except sqlite3.Error as error:
            self._failed = True
            self._forget()
            raise _wrapped(self.path, error) from error
        if self._conn.in_transaction:
            self._failed = True
            raise LocalProtocolError("a transaction is open after its commit")
        self._core.settle()
        if self._spare.under_way and self._spare.outgrown():
            self._break_off()

    def rollback(self) -> None:
        """Undo all of it and drop every cache. Harmless where SQLite has rolled back already."""
        self._forget()
        if self._conn.in_transaction:
            try:
                self._conn.execute("ROLLBACK")
            except sqlite3.Error as error:
                self._failed = True
                raise _wrapped(self.path, error) from error
        if self._conn.in_transaction:
            self._failed = True
            raise LocalProtocolError("a transaction is open after its rollback")

    def forget(self) -> None:
        """Drop every cache; what is asked next is read from the tables."""
        self.events.flush()
        self._fulltext.flush()
        self._forget()

    def _forget(self) -> None:
        self._core.forget()
        self._fulltext.forget()

    # -- upkeep, between transactions ----------------------------------------------------

    def scrub(self, pages: int = 32) -> bool:
        """One slice of making erased text unreadable in the file; True when none is left.

        Merges some pages of the full text; then empties the log and the unused bytes of all pages.
        Call again later while False: a reader may be in the way of emptying the log.
        """
        if self._core.words_stale():
            self.begin()
            try:
                done = self._fulltext.merge_some(pages)
            except sqlite3.Error as error:
                self.rollback()
                raise _wrapped(self.path, error) from error
            self.commit()
            if not done:
                return False
        if self.in_memory:
            self._core.erased = False
        elif self._core.erased or self._spare.under_way:
            try:
                return self._scrub_pages()
            except sqlite3.Error as error:
                raise _wrapped(self.path, error) from error
            except OSError as error:  # the archive itself is well; the next start tries again
                log.warning("erased text may stay in unused bytes of the archive: %s", error)
                self._spare.stop()
                self._core.erased, self._unclean = False, True
        return True

    def _scrub_pages(self) -> bool:
        """One slice of the pass over the file; True at its end, if nothing was erased meanwhile."""
        spare = self._spare
        if not spare.under_way:
            if not self._empty_log():
                return False
            self._core.erased = False
            spare.start()
            _grow_log(self.path + "-wal")
        if not spare.done and not spare.step():
            return False
        logged = spare.logged()
        if logged and not self._empty_log():
            return False
        spare.finish(logged)
        if logged:
            _grow_log(self.path + "-wal")
        return not self._core.erased

    def assume_erased(self) -> None:
        """After a crash: the log it left, and pages, may hold text that was erased."""
        self._core.erased = True

    def checkpoint(self) -> bool:
        """Move the log into the archive and empty it; False, at once, if a reader still needs it."""
        if self.in_memory:
            return True
        self._break_off()
        return self._empty_log()

    def _break_off(self) -> None:
        """End a pass over the pages of the file; all of it is to be done again."""
        if self._spare.under_way:
            self._spare.stop()
            self._core.erased = True

    def _empty_log(self) -> bool:
        try:
            self._conn.execute("PRAGMA busy_timeout = 0")
            busy: int = self._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            self._conn.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        except sqlite3.Error as error:
            raise _wrapped(self.path, error) from error
        return busy == 0

    def check_integrity(self) -> list[str]:
        """What is wrong with the archive, one sentence each; empty if nothing. Reads all of it."""
        try:
            return problems(self._conn, self._fulltext)
        except sqlite3.DatabaseError as error:
            return [str(error)]

    def serialize(self) -> bytes:
        """The image of the archive as of the last commit; LocalProtocolError inside a transaction."""
        if self._conn.in_transaction:
            raise LocalProtocolError("an image was asked for inside a transaction")
        return self._conn.serialize()

    def close(self) -> None:
        """Finish erasing, empty the log and close. An open transaction is rolled back."""
        try:
            if not self._failed:
                self.rollback()
                self._finish_erasing()
                self.checkpoint()
        finally:
            self._failed = True  # closed once more there is nothing to do
            self._conn.close()

    def _finish_erasing(self) -> None:
        """All that is left of it, unless a reader is in the way: then the next start goes on."""
        before = -1
        while not self.scrub(1024) and (self._core.words_stale() or self._spare.at != before):
            before = self._spare.at
        clean = not (self._core.erased or self._spare.under_way or self._unclean)
        if clean != self._core.pages_clean():
            self.begin()
            self._core.mark_pages(clean)
            self.commit()


if TYPE_CHECKING:

    def _fits(ledger: Ledger) -> ports.Ledger:
        """The type checker's proof that every family has the shape the engine asks for."""
        return ledger


# -- opening ---------------------------------------------------------------------------


def open_ledger(path: str | os.PathLike[str]) -> Ledger:
    """Open the archive at `path`, make it if there is none, bring an older one up to date.

    `:memory:` opens an empty one in no file, with the same tables. Raises ArchiveError,
    with the path and a hint, for a foreign, damaged or newer file and for a disk that refuses.
    """
    name = os.fspath(path)
    if sqlite3.sqlite_version_info < schema.MINIMUM_SQLITE:
        raise ArchiveError(
            f"this Python has SQLite {sqlite3.sqlite_version}, the archive needs 3.37 or newer",
            "use a newer Python, for example from python.org",
        )
    if name == MEMORY:
        return open_image(_empty_image())
    new = _look_at(Path(name))
    crashed = _size(name + "-wal") > 0  # a clean stop leaves no log behind
    try:
        conn = _connect(name)
        try:
            _prepare(conn, name, new, crashed)
        except BaseException:  # whatever it was: no handle may stay open on the file
            conn.close()
            raise
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _wrapped(name, error) from error
    if new:
        _sync_folder(Path(name).parent)
    ledger = Ledger(conn, name)
    if new:
        ledger.checkpoint()  # or the log is not empty
    _grow_log(name + "-wal")
    if crashed or not (new or ledger._core.pages_clean()):
        ledger.assume_erased()
    return ledger


def open_image(image: bytes) -> Ledger:
    """An archive in memory from an image that `serialize` made: a crash, played."""
    source = sqlite3.connect(MEMORY)
    conn = _connect(MEMORY)
    try:
        # Bytes 18 and 19 ask for a log, which memory has not (SQLite, "Database File Format").
        source.deserialize(image[:18] + b"\x01\x01" + image[20:])
        source.backup(conn)
        _set_pragmas(conn, MEMORY)
        schema.migrate(Database(conn, execute_plugins=False))
    except sqlite3.Error as error:
        conn.close()
        raise _wrapped(MEMORY, error) from error
    finally:
        source.close()
    return Ledger(conn, MEMORY)


@functools.cache
def _empty_image() -> bytes:
    """An empty archive, made once: five hundred simulated nodes shall not migrate one each."""
    conn = _connect(MEMORY)
    conn.execute("PRAGMA page_size = 1024")  # many small tables: a fifth of the memory
    conn.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    schema.migrate(Database(conn, execute_plugins=False))
    image = conn.serialize()
    conn.close()
    return image


def _connect(name: str) -> sqlite3.Connection:
    return sqlite3.connect(
        name,
        timeout=BUSY_MS / 1000,
        isolation_level=None,  # begin and commit are said here, never implied
        check_same_thread=False,
        cached_statements=256,
    )


def _look_at(path: Path) -> bool:
    """Refuse what is no archive before SQLite touches it; True if a file was made."""
    aside = f"move '{path}' aside, or choose another folder with --home"
    if path.is_symlink():
        raise ArchiveError(f"'{path}' is a link: two names corrupt an archive", aside)
    try:
        with path.open("rb") as file:
            start = file.read(_HEADER_BYTES)
            links = os.fstat(file.fileno()).st_nlink
    except FileNotFoundError:
        _make(path)
        return True
    except OSError as error:
        raise ArchiveError(f"cannot read the archive '{path}': {error.strerror}", aside) from error
    if start and start[:16] != b"SQLite format 3\0":
        raise ArchiveError(f"'{path}' is not a p2pchat archive", aside)
    if start and len(start) < _HEADER_BYTES:
        raise damaged(str(path), f"it ends after {len(start)} bytes")
    if start and int.from_bytes(start[68:72], "big") != schema.APPLICATION_ID:
        raise ArchiveError(f"'{path}' is another program's database, not a p2pchat archive", aside)
    if links > 1:
        raise ArchiveError(f"'{path}' has {links} names: two names corrupt an archive", "remove the others")
    return not start


def _make(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise ArchiveError(
            f"cannot make the archive '{path}': {error.strerror}", "check the folder and its rights"
        ) from error


def _prepare(conn: sqlite3.Connection, name: str, new: bool, crashed: bool) -> None:
    """Set, check and migrate. A newer archive is refused before anything is written."""
    if new:  # before the log exists, so that the file itself says whose it is
        conn.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        conn.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    version: int = conn.execute("PRAGMA user_version").fetchone()[0]
    if version > schema.VERSION:
        raise ArchiveError(
            f"the archive '{name}' was written by a newer p2pchat"
            f" (its schema is {version}, this program knows {schema.VERSION})",
            "install that version again, or a newer one",
        )
    _set_pragmas(conn, name)
    if crashed:
        found = [row[0] for row in conn.execute("PRAGMA quick_check(5)")]
        if found != ["ok"]:
            raise damaged(name, found[0])
    schema.migrate(Database(conn, execute_plugins=False))


def _set_pragmas(conn: sqlite3.Connection, name: str) -> None:
    for pragma, wanted in PRAGMAS.items():
        if name == MEMORY and pragma in NOT_IN_MEMORY:
            continue
        conn.execute(f"PRAGMA {pragma} = {wanted}")
        row = conn.execute(f"PRAGMA {pragma}").fetchone()
        if row is None or row[0] != wanted:
            got = row[0] if row else "nothing"
            raise ArchiveError(
                f"SQLite does not take {pragma}={wanted} for '{name}' (it says {got})",
                "keep the archive on a local disk",
            )


def _wrapped(name: str, error: Exception) -> ArchiveError:
    """The sentence for what SQLite says."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(name, str(error))
    if code == sqlite3.SQLITE_FULL:
        return ArchiveError(f"the disk of '{name}' is full", "make room and start again; nothing is lost")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return ArchiveError(f"another program holds '{name}'", "end it; only p2pchat may open its archive")
    return ArchiveError(
        f"the archive '{name}' failed: {error}", "check the disk and the rights of its folder"
    )


def _size(name: str) -> int:
    try:
        return os.stat(name).st_size
    except FileNotFoundError:
        return 0


def _grow_log(name: str) -> None:
    """Give an empty log its usual length now: a commit into a file that grows costs half as much again.

    SQLite takes a log that starts with zeros for an empty one ("WAL file format"), and locks nothing
    in this file, so it may be written beside it. A disk without room for that is no reason to fail.
    """
    if not os.path.exists(name) or _size(name):
        return
    try:
        with open(name, "r+b", buffering=0) as file:
            for _ in range(_LOG_BYTES // len(_ZEROS)):
                file.write(_ZEROS)
            os.fsync(file.fileno())
    except OSError as error:
        log.info("the log of the archive stays short: %s", error)
        os.truncate(name, 0)


def _sync_folder(folder: Path) -> None:
    """A new file's name is durable only once its folder is (DU9). Windows has no such call."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
