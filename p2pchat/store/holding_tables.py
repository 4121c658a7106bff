"""Tables of what is kept for others, as migration 0010 makes them.

Decides: what a row promises. Does not know: when it is made (schema) or how rows are written
(holdings).
"""

from __future__ import annotations

from typing import Final

TABLES: Final = (
    # holding: an event that `depositor`, at his machine `machine`, has asked us to keep for people
    # of whose room we are not. It is in no set, no chain and no view of ours. `control` is 1 for
    # acts, which are handed over first; `size` is what it counts in quotas.
    """CREATE TABLE holding (
        pk INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        depositor BLOB NOT NULL,
        machine BLOB NOT NULL,
        room BLOB NOT NULL,
        author BLOB NOT NULL,
        seq INTEGER NOT NULL,
        control INTEGER NOT NULL,
        at INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        size INTEGER NOT NULL,
        header BLOB NOT NULL,
        signature BLOB NOT NULL,
        body BLOB
    ) STRICT""",
    "CREATE UNIQUE INDEX holding_id ON holding (depositor, id)",
    "CREATE INDEX holding_chain ON holding (room, author, seq)",
    "CREATE INDEX holding_day ON holding (depositor, at, size)",
    "CREATE INDEX holding_expires ON holding (expires)",
    # holding_for: for whom. `device` is one of his machines, with `had` 1 once it has said, signed,
    # that it has the event; an empty one names the person alone.
    """CREATE TABLE holding_for (
        holding INTEGER NOT NULL,
        account BLOB NOT NULL,
        device BLOB NOT NULL,
        had INTEGER NOT NULL,
        PRIMARY KEY (holding, account, device)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX holding_for_account ON holding_for (account, holding)",
    # holding_told: a register of `device` about a chain of `author`, whom it is to be given.
    """CREATE TABLE holding_told (
        author BLOB NOT NULL,
        room BLOB NOT NULL,
        device BLOB NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (author, room, device)
    ) STRICT, WITHOUT ROWID""",
)
"""One statement each."""
