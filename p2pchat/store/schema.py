"""Tables of the archive, and the numbered steps that lead to them.

Decides: which tables exist, what one row of each promises, which indices are worth their
writes, and how an older archive becomes a newer one. Does not know: who fills the rows
(one file per family beside this one) or how a file is opened (ledger).

A migration is never changed once released: a later one is added. Each runs in one
transaction with its entry in `_sqlite_migrations` and with `user_version`, the number of
the last step, so an archive is always at one whole version.

All tables are STRICT. Ids of rooms, devices, accounts and epochs are 16 or 32 bytes and
repeat in every row, so they are written as small numbers (`ident`). No foreign keys are
declared on the path of a message: both ends are written in one transaction by one file,
and `check_integrity` looks for rows without their other half.
"""

from __future__ import annotations

from typing import Final

from sqlite_utils import Database, Migrations

from p2pchat.store import holding_tables
from p2pchat.store.folding import unlike

APPLICATION_ID: Final = 0x70327063
"""`p2pc` in ASCII: tells our archive from any other SQLite file (SQLite, "application_id")."""

MINIMUM_SQLITE: Final = (3, 37, 0)
"""The first with STRICT tables."""

TOKENIZER: Final = "unicode61 remove_diacritics 2"
"""What a word is, for the index and for the part of the archive not yet in it."""

HLC_OFFSET: Final = 1 << 63
"""Columns named `hlc` hold hlc − 2^63: all 64 bits of a stranger's clock fit, in their order."""

STATES: Final = ("scheduled", "queued", "held", "delivered", "read", "cancelled", "received")
"""States of messages by the number in `message.state`; numbers are never reused."""

migrations = Migrations("p2pchat")


# One string per table. The paragraph above each says what a row promises.
_V1: Final = (
    # ident: the number `n` stands for these bytes, for ever. Rows are never deleted.
    "CREATE TABLE ident (n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE) STRICT",
    # event: an authentic event, exactly as it was signed. Rows are never deleted, and only
    # `body`, `flags` and `item` ever change. `pk` grows in order of arrival. `item` says in
    # which reconciliation set it counts: 0 content, 1 control; 2 and 3 are written no more.
    """CREATE TABLE event (
        pk INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        room INTEGER NOT NULL,
        device INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        hlc INTEGER NOT NULL,
        item INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        flags INTEGER NOT NULL,
        received INTEGER NOT NULL,
        prev BLOB NOT NULL,
        signature BLOB NOT NULL,
        header BLOB NOT NULL,
        body BLOB
    ) STRICT""",
    "CREATE INDEX event_chain ON event (room, device, seq)",
    # Covers the listing of a week's items, and finds a room's control events.
    "CREATE INDEX event_item ON event (room, item, hlc, id)",
    "CREATE INDEX event_keyless ON event (room, epoch) WHERE (flags & 4) != 0",
    # gap: these numbers of a chain lie below its head and are not here. Kept as events come
    # in, so that showing gaps costs the gaps and not the history.
    """CREATE TABLE gap (
        room INTEGER NOT NULL,
        device INTEGER NOT NULL,
        high INTEGER NOT NULL,
        low INTEGER NOT NULL,
        PRIMARY KEY (room, device, high)
    ) STRICT, WITHOUT ROWID""",
    # parked: an event that cannot be judged yet. Promises nothing; bounded per device; its
    # ids are not interned, since a stranger may have made them up.
    """CREATE TABLE parked (
        id BLOB PRIMARY KEY,
        room BLOB NOT NULL,
        device BLOB NOT NULL,
        seq INTEGER NOT NULL,
        hlc INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        epoch BLOB NOT NULL,
        flags INTEGER NOT NULL,
        received INTEGER NOT NULL,
        prev BLOB NOT NULL,
        signature BLOB NOT NULL,
        header BLOB NOT NULL,
        body BLOB
    ) STRICT""",
    "CREATE INDEX parked_device ON parked (device, room, seq)",
    # week: how many items a room's set has in one week, and the sum of their ids mod 2^256.
    # Written in the transaction of the events it counts.
    """CREATE TABLE week (
        room INTEGER NOT NULL,
        control INTEGER NOT NULL,
        week INTEGER NOT NULL,
        count INTEGER NOT NULL,
        sum BLOB NOT NULL,
        PRIMARY KEY (room, control, week)
    ) STRICT, WITHOUT ROWID""",
    # message: what one message looks like now. `pk` is that of its event; every column but
    # `unread` and `doc` follows from events and `seen`, so the table can be made again.
    # `place` is where it stands in history: its hlc, or for one dated ahead of its arrival
    # the time it came. `unread` is 1 from first insert until shown, hidden or deleted.
    # `doc` is its row in the full text, NULL while it is in none.
    """CREATE TABLE message (
        pk INTEGER PRIMARY KEY,
        room INTEGER NOT NULL,
        account INTEGER NOT NULL,
        device INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        hlc INTEGER NOT NULL,
        place INTEGER NOT NULL,
        written INTEGER NOT NULL,
        received INTEGER NOT NULL,
        urgent INTEGER NOT NULL,
        edited INTEGER NOT NULL,
        deleted INTEGER NOT NULL,
        pinned INTEGER NOT NULL,
        hidden INTEGER NOT NULL,
        mine INTEGER NOT NULL,
        mentions_me INTEGER NOT NULL,
        state INTEGER NOT NULL,
        unread INTEGER NOT NULL,
        doc INTEGER,
        reply_to BLOB,
        thread BLOB,
        mentions BLOB,
        reactions TEXT,
        flags TEXT,
        text TEXT
    ) STRICT""",
    "CREATE INDEX message_order ON message (room, place) WHERE hidden = 0",
    "CREATE INDEX message_unread ON message (room, place, mentions_me) WHERE unread = 1",
    # Own messages not at their end: `queue`, and receipts that move a whole range at once.
    "CREATE INDEX message_live ON message (state, room, device, seq) WHERE state IN (1, 2, 3)",
    "CREATE INDEX message_mine ON message (room, place) WHERE mine = 1 AND hidden = 0 AND deleted = 0",
    "CREATE INDEX message_pinned ON message (room, place) WHERE pinned = 1 AND hidden = 0",
    "CREATE INDEX message_thread ON message (thread) WHERE thread IS NOT NULL",
    "CREATE INDEX message_todo ON message (state) WHERE doc IS NULL AND text IS NOT NULL AND hidden = 0",
    "CREATE UNIQUE INDEX message_doc ON message (doc) WHERE doc IS NOT NULL",
    # touch: one event that changes how another looks, known or not yet known here. Made
    # from the event log; `value` is emptied when that event's body is erased.
    """CREATE TABLE touch (
        id BLOB NOT NULL UNIQUE,
        target BLOB NOT NULL,
        account INTEGER NOT NULL,
        hlc INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        remove INTEGER NOT NULL,
        urgent INTEGER NOT NULL,
        reply_to BLOB,
        thread BLOB,
        mentions BLOB,
        value TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX touch_target ON touch (target, hlc, id)",
    # fulltext: the words of every message that has a `doc`, and of no other. `doc` follows
    # `place`, so that newest first is descending order of rows and costs no sorting.
    "CREATE VIEW fulltext_source AS SELECT doc, text FROM message WHERE doc IS NOT NULL",
    f"""CREATE VIRTUAL TABLE fulltext USING fts5 (
        text, content = 'fulltext_source', content_rowid = 'doc', columnsize = 0, tokenize = '{TOKENIZER}'
    )""",
    # room: a conversation this profile knows. `peer` is the other account of a direct chat.
    "CREATE TABLE room (id BLOB PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, peer BLOB) STRICT",
    # epoch: an announced key of a room; `key` NULL until it is here.
    """CREATE TABLE epoch (
        room BLOB NOT NULL,
        epoch BLOB NOT NULL,
        gen INTEGER NOT NULL,
        member_hash BLOB NOT NULL,
        shareable INTEGER NOT NULL,
        key BLOB,
        event BLOB NOT NULL,
        hlc INTEGER NOT NULL,
        PRIMARY KEY (room, epoch)
    ) STRICT, WITHOUT ROWID""",
    # prekey: one of our own; `secret` is empty once it has been deleted for good.
    """CREATE TABLE prekey (
        n INTEGER PRIMARY KEY,
        public BLOB NOT NULL,
        secret BLOB NOT NULL,
        made INTEGER NOT NULL,
        replaced INTEGER
    ) STRICT""",
    # statement: a signed act about an account, kept while the account is (strangers with whom no
    # word was exchanged are dropped when there are too many); `pk` is the order of arrival.
    """CREATE TABLE statement (
        pk INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        account BLOB NOT NULL,
        raw BLOB NOT NULL,
        signature BLOB NOT NULL
    ) STRICT""",
    # register: the newest known value of one name, with its signature. Our own row is
    # written before the register is sent, so `n` never repeats.
    """CREATE TABLE register (
        device BLOB NOT NULL,
        kind INTEGER NOT NULL,
        room BLOB NOT NULL,
        author BLOB NOT NULL,
        n INTEGER NOT NULL,
        value BLOB NOT NULL,
        signature BLOB NOT NULL,
        PRIMARY KEY (kind, device, room, author)
    ) STRICT, WITHOUT ROWID""",
    # trust: what the user decided about a person.
    """CREATE TABLE trust (
        account BLOB PRIMARY KEY,
        verified INTEGER NOT NULL,
        blocked INTEGER NOT NULL,
        name TEXT NOT NULL,
        successor_of BLOB,
        first_seen INTEGER NOT NULL,
        last_seen INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    # address: where somebody was once reached, or where the user said he is.
    """CREATE TABLE address (
        host TEXT NOT NULL,
        port INTEGER NOT NULL,
        device BLOB,
        static INTEGER NOT NULL,
        last_ok INTEGER NOT NULL,
        PRIMARY KEY (host, port)
    ) STRICT, WITHOUT ROWID""",
    # value: a small fact of this archive. Keys that start with `store.` are this floor's own.
    "CREATE TABLE value (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
    # seen: what `device` has or has read of `author`'s events: closed ranges as JSON,
    # newest first. For this machine it is the promise its receipts repeat.
    """CREATE TABLE seen (
        room INTEGER NOT NULL,
        device INTEGER NOT NULL,
        author INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        ranges TEXT NOT NULL,
        PRIMARY KEY (room, device, author, kind)
    ) STRICT, WITHOUT ROWID""",
    # send_key: a scripted send with this key was done, and became this event.
    "CREATE TABLE send_key (key TEXT PRIMARY KEY, event BLOB NOT NULL) STRICT, WITHOUT ROWID",
    # draft: a message kept until `at`. Open while neither sent nor cancelled.
    """CREATE TABLE draft (
        id TEXT PRIMARY KEY,
        room BLOB NOT NULL,
        text TEXT NOT NULL,
        reply_to BLOB,
        thread BLOB,
        urgent INTEGER NOT NULL,
        at INTEGER NOT NULL,
        key TEXT NOT NULL,
        made INTEGER NOT NULL,
        sent_as BLOB,
        cancelled INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX draft_open ON draft (at) WHERE sent_as IS NULL AND cancelled = 0",
    # feed: one thing that happened, told in the transaction it tells of. AUTOINCREMENT: a
    # cursor once given is never given again, even when all rows have been pruned.
    """CREATE TABLE feed (
        cursor INTEGER PRIMARY KEY AUTOINCREMENT,
        type TEXT NOT NULL,
        ref BLOB NOT NULL,
        at INTEGER NOT NULL,
        detail TEXT
    ) STRICT""",
)


@migrations(name="0001_first")
def _first(db: Database) -> None:
    """The tables of the first conversation."""
    for statement in _V1:
        db.execute(statement)
    db.execute("PRAGMA user_version = 1")


@migrations(name="0002_plain_feed")
def _plain_feed(db: Database) -> None:
    """The feed without AUTOINCREMENT: that wrote a page more with every message. A cursor once
    given is still never given again, because the newest row is never pruned."""
    for statement in (
        """CREATE TABLE feed_2 (
            cursor INTEGER PRIMARY KEY,
            type TEXT NOT NULL,
            ref BLOB NOT NULL,
            at INTEGER NOT NULL,
            detail TEXT
        ) STRICT""",
        "INSERT INTO feed_2 SELECT cursor, type, ref, at, detail FROM feed",
        # the last cursor given, where its row has been pruned
        "INSERT OR IGNORE INTO feed_2 SELECT seq, 'none', x'', 0, NULL FROM sqlite_sequence"
        " WHERE name = 'feed' AND seq > 0",
        "DROP TABLE feed",
        "ALTER TABLE feed_2 RENAME TO feed",
        "PRAGMA user_version = 2",
    ):
        db.execute(statement)


@migrations(name="0003_folded")
def _folded(db: Database) -> None:
    """Search by folded words: texts that the tokenizer alone would not fold are indexed anew."""
    # folded: what is in the index in place of `text`, where that differs (folding). Like `doc`, it
    # is NULL while the message is in no index, so erased words do not stay here either.
    db.execute("ALTER TABLE message ADD COLUMN folded TEXT")
    db.execute("DROP VIEW fulltext_source")
    db.execute(
        "CREATE VIEW fulltext_source AS"
        " SELECT doc, coalesce(folded, text) AS text FROM message WHERE doc IS NOT NULL"
    )
    indexed = (
        "SELECT doc, text FROM message WHERE doc IS NOT NULL AND length(CAST(text AS BLOB)) > length(text)"
    )
    for doc, text in db.execute(indexed).fetchall():
        folded = unlike(text)
        if folded is not None:
            db.execute("INSERT INTO fulltext (fulltext, rowid, text) VALUES ('delete', ?, ?)", (doc, text))
            db.execute("UPDATE message SET folded = ? WHERE doc = ?", (folded, doc))
            db.execute("INSERT INTO fulltext (rowid, text) VALUES (?, ?)", (doc, folded))
    db.execute("PRAGMA user_version = 3")


@migrations(name="0004_rooms")
def _rooms(db: Database) -> None:
    """Rooms: what they are called, who is to be waited for, who is asked to take note."""
    for statement in (
        # room_text: the newest allowed name, topic or rules of a room. Made from the event log.
        """CREATE TABLE room_text (
            room BLOB NOT NULL,
            field TEXT NOT NULL,
            value TEXT NOT NULL,
            event BLOB NOT NULL,
            hlc INTEGER NOT NULL,
            PRIMARY KEY (room, field)
        ) STRICT, WITHOUT ROWID""",
        # awaited: own messages of `room` from `seq` on are for `account` too: the first that was
        # written in the knowledge that he is in.
        """CREATE TABLE awaited (
            room BLOB NOT NULL,
            account BLOB NOT NULL,
            seq INTEGER NOT NULL,
            PRIMARY KEY (room, account)
        ) STRICT, WITHOUT ROWID""",
        # ack: as in the message: 0 not asked, 1 some time, else until then in ms since 1970
        "ALTER TABLE message ADD COLUMN ack INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE touch ADD COLUMN ack INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE draft ADD COLUMN ack INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX message_ack ON message (room, place) WHERE ack > 0 AND hidden = 0 AND deleted = 0",
        "CREATE INDEX parked_room ON parked (room)",
        "CREATE INDEX event_forked ON event (room, device, seq) WHERE (flags & 1) != 0",
        "CREATE INDEX event_named ON event (room, kind, hlc) WHERE kind = 37",
        "PRAGMA user_version = 4",
    ):
        db.execute(statement)


@migrations(name="0005_touch_kinds")
def _touch_kinds(db: Database) -> None:
    """The newest touch of a kind and a person without a look at the others: there may be many."""
    db.execute("DROP INDEX touch_target")
    db.execute("CREATE INDEX touch_target ON touch (target, kind, account, remove, hlc, id)")
    db.execute("PRAGMA user_version = 5")


@migrations(name="0006_fewer_merges")
def _fewer_merges(db: Database) -> None:
    """Segments of the full text are merged sixteen at a time instead of four: what comes in by the
    thousand is written over half as often, and a search is no slower."""
    db.execute("INSERT INTO fulltext (fulltext, rank) VALUES ('automerge', 16)")
    db.execute("PRAGMA user_version = 6")


@migrations(name="0007_bodiless")
def _bodiless(db: Database) -> None:
    """Which bodies are absent, without a look at the whole log: those that lack are asked for."""
    db.execute("CREATE INDEX event_bodiless ON event (room, device, seq) WHERE (flags & 8) != 0")
    db.execute("PRAGMA user_version = 7")


@migrations(name="0008_touch_rooms")
def _touch_rooms(db: Database) -> None:
    """What an event does counts in its own room only: elsewhere not everybody has it."""
    # touch.room: that of the touching event; of one that is not here, its target's, or 0
    db.execute("ALTER TABLE touch ADD COLUMN room INTEGER NOT NULL DEFAULT 0")
    db.execute(
        "UPDATE touch SET room = coalesce((SELECT e.room FROM event e WHERE e.id = touch.id),"
        " (SELECT e.room FROM event e WHERE e.id = touch.target), 0)"
    )
    db.execute("DROP INDEX touch_target")
    db.execute("CREATE INDEX touch_target ON touch (target, room, kind, account, remove, hlc, id)")
    db.execute("PRAGMA user_version = 8")


@migrations(name="0009_transfers")
def _transfers(db: Database) -> None:
    """Files: what is offered, what became of it here, and what other machines say of it."""
    for statement in (
        # message.files: id, name and size of what it offers, as JSON
        "ALTER TABLE message ADD COLUMN files TEXT",
        # transfer: an offer, ours or somebody else's, and what became of it here. Not made again from
        # the event log: what was decided is only here. `untold`: it has come to an end of which the
        # machine that offers it is to hear, and has not said that it did.
        """CREATE TABLE transfer (
            id BLOB PRIMARY KEY,
            room BLOB NOT NULL,
            event BLOB NOT NULL,
            author BLOB NOT NULL,
            device BLOB NOT NULL,
            incoming INTEGER NOT NULL,
            offer BLOB NOT NULL,
            name TEXT NOT NULL,
            size INTEGER NOT NULL,
            files INTEGER NOT NULL,
            state TEXT NOT NULL,
            path TEXT NOT NULL,
            folder TEXT NOT NULL,
            conflict TEXT NOT NULL,
            root BLOB NOT NULL,
            error_kind TEXT NOT NULL,
            error TEXT NOT NULL,
            expires INTEGER NOT NULL,
            made INTEGER NOT NULL,
            told INTEGER NOT NULL,
            served INTEGER NOT NULL,
            untold INTEGER NOT NULL
        ) STRICT""",
        "CREATE INDEX transfer_event ON transfer (event)",
        "CREATE INDEX transfer_made ON transfer (made, id)",
        "CREATE INDEX transfer_fetching ON transfer (made, id) WHERE incoming = 1 AND state = 'active'",
        "CREATE INDEX transfer_untold ON transfer (device, id) WHERE untold = 1",
        "CREATE INDEX transfer_expires ON transfer (expires)"
        " WHERE expires > 0 AND state IN ('offered', 'active', 'paused')",
        # transfer_peer: what a machine said of an offer of ours last, and (bits) ever.
        """CREATE TABLE transfer_peer (
            offer BLOB NOT NULL,
            device BLOB NOT NULL,
            account BLOB NOT NULL,
            state INTEGER NOT NULL,
            ever INTEGER NOT NULL,
            PRIMARY KEY (offer, device)
        ) STRICT, WITHOUT ROWID""",
        # transfer_root: a root that came before its offer, by whom.
        """CREATE TABLE transfer_root (
            offer BLOB NOT NULL,
            account BLOB NOT NULL,
            root BLOB NOT NULL,
            pieces INTEGER NOT NULL,
            PRIMARY KEY (offer, account)
        ) STRICT, WITHOUT ROWID""",
        "PRAGMA user_version = 9",
    ):
        db.execute(statement)


@migrations(name="0010_holdings")
def _holdings(db: Database) -> None:
    """What is kept here for others who are away."""
    for statement in (*holding_tables.TABLES, "PRAGMA user_version = 10"):
        db.execute(statement)


VERSION: Final = 10
"""The schema this program writes: the number of the last migration."""


def migrate(db: Database) -> None:
    """Bring an archive of any earlier version, or an empty one, to VERSION."""
    migrations.apply(db)
