"""Every ceiling of the protocol, with what it protects.

Decides: the greatest size, number or age that is accepted or sent, once for all
floors (docs/protocol.md "Links", "Records", "Rooms", "Finding each other"; security
notes LM1 and LM2). Does not know: who counts, or what happens to what is over (a
RemoteProtocolError, a refusal or a pause: each is decided where it is met).

MAX_ counts bytes where it measures something (a frame, an event, a text) and pieces
where it counts; times carry their unit: S, MS, DAYS.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# Links, before the other side has proved who it is: a stranger costs little and not for long.

MAX_PREAUTH_FRAME: Final = 8 * KIB
"""Memory a stranger can make us hold; the three handshake messages fit with room to spare."""
HANDSHAKE_S: Final = 10.0
"""How long a silent or slow stranger keeps one of the half-open places."""
MAX_HALF_OPEN: Final = 64
"""Sockets and memory all strangers together can take: 64 × 8 KiB."""
MAX_HALF_OPEN_PER_ADDRESS: Final = 8
"""One address cannot take every half-open place from the others."""
MAX_HELLO: Final = 6 * KIB
"""Statements and registers of a handshake payload: leaves the rest of a frame to keys and seals."""

# Links, afterwards.

MAX_FRAME: Final = 65_535
"""What the u16 length and a Noise message can hold: the most one peer can make us buffer whole."""
TAG_BYTES: Final = 16
"""The authentication tag that ends every Noise transport message."""
MAX_PLAINTEXT: Final = MAX_FRAME - TAG_BYTES
"""65,519: what fits into one sealed frame."""
REKEY_BYTES: Final = GIB
"""How much traffic one stolen transport key opens, and far below what the cipher allows a key."""
REKEY_S: Final = 3600.0
"""How much time one stolen transport key opens."""
SESSION_S: Final = 24 * 3600.0
"""Age at which a link is dialled anew, so that forward secrecy is never older than a day."""
PING_AFTER_S: Final = 7.0
"""Silence after which we ask; two of these make DEAD_AFTER_S."""
DEAD_AFTER_S: Final = 14.0
"""Silence after which a peer is gone: the office sees the truth within 15 s."""
CROSSING_PING_S: Final = 2.0
"""How long the older of two crossing links may take to show it lives."""

# Records: what one value may cost to read, keep and check.

MAX_EVENT: Final = 32 * KIB
"""Header, signature and body of one event: a place in the archive for ever, and it fits one frame."""
MAX_TEXT: Final = 16 * KIB
"""A message's text in UTF-8: what a screen, a search index and a reader can take."""
MAX_NAME: Final = 64
"""Code points of a person's or room's name: one line of a terminal."""
MAX_STATUS: Final = 200
"""Code points of the message beside a person's presence: one line of a list."""
MAX_HIDDEN_FROM: Final = 256
"""People one may be hidden from by name: 9 KiB of a register, and more than anybody counts."""
MAX_MEMBERS: Final = 500
"""People in one room: links of a full mesh, and seals of one key."""
MAX_TOPIC: Final = 1024
"""A room's topic in UTF-8: a few lines above a conversation."""
MAX_EMOJI: Final = 64
"""A reaction in UTF-8: the longest joined sequences stay below 50, a sentence does not fit."""
MAX_STANDING: Final = 128
"""Of one person's reactions to one message the newest so many count: showing it costs the same,
however often he changes his mind."""
MAX_MENTIONS: Final = 256
"""People one message calls: notices it raises; an office of 250 at once, 8 KiB of an event."""
MAX_DEPS: Final = 8
"""Heads an event names: the size of headers, and the cost of the order."""
MAX_AUTH: Final = 8
"""Control heads an event names: the cost of judging whether it is allowed."""
MAX_STATEMENT_PREV: Final = 8
"""Statements one statement builds on: the cost of resolving an account."""
MAX_UNSIGNED_RUN: Final = 63
"""Events in a row that one later signature covers: the walk until an event is authentic."""
MAX_PENDING: Final = 1000
"""Events kept while what they need is missing: disk a member can take with what nobody can judge."""
MAX_HAVE_RANGES: Final = 16
"""Ranges in a `have` or `read`: size of a register, and of the row it becomes."""
FUTURE_MS: Final = 5 * 60 * 1000
"""How far ahead of us an event may be dated before it stops moving our clock; how wrong ours may be."""
WEEK_MS: Final = 7 * 24 * 3600 * 1000
"""Events are compared week by week; at this age a room's key and a prekey are replaced: how much one
leaked key opens."""

# Rooms: keys, seals, repair.

MAX_SEALS: Final = 256
"""Sealed keys in one `seal` event: 256 × (32 + 80) bytes and lengths stay below MAX_EVENT."""
KEEP_PREKEY_MS: Final = 21 * 24 * 3600 * 1000
"""How long an old prekey's secret is kept: what a stolen machine opens of keys it no longer stores."""
MAX_LINKS: Final = 500
"""Full mesh: links one daemon keeps, 7.7 KiB each."""
MAX_STRANGER_LINKS_PER_ADDRESS: Final = 32
"""Of one address, to people not known yet: a host that many share, not one that makes up people."""
MAX_ANNOUNCED: Final = 32
"""Ids in one announcement: each costs a look into the archive, and whoever asks for them an answer
that stays within a link's queue unless they are all of the largest."""
MAX_SOUGHT: Final = 128
"""Announced by one machine and not here yet: memory he can take, 64,000 by all there are links for."""
MAX_ANNOUNCERS: Final = 8
"""Machines remembered as having one such event, and asked for it one after the other."""
MAX_RECONCILE_FRAME: Final = 60_000
"""One negentropy message: with its record's other fields it fits into one frame."""
MAX_RECONCILE_RANGES: Final = 8192
"""Ranges in one negentropy message: lookups it can cost us. An honest one of 60,000 bytes has
fewer than 6,200 (161 splits into 16 fingerprints beside the most lists and skips that can come)."""
MAX_RECONCILE_WORK: Final = 65_536
"""Items read for one negentropy message before the rest is put off to the next: the loop's time."""
MAX_WEEK_CACHE: Final = 16 * MIB
"""Reconciliation items kept unpacked: the memory of a daemon with a long archive."""

# Files: what an offer, its manifest and its lists may cost before a byte of content is here.

MIN_PIECE: Final = MIB
"""A piece is what is hashed, asked for, and wrong as a whole: of the size of one sealed record."""
MAX_PIECE: Final = 8 * MIB
"""A piece is held in memory until its hash is known to fit; a few come at once."""
FEW_PIECES: Final = 16_384
"""So many pieces before they grow: a list of hashes of 512 KiB, a bitfield of 2 KiB."""
MAX_PIECES: Final = 262_144
"""A bitfield of 32 KiB fits one frame, a list of hashes is 8 MiB of memory; with MAX_PIECE: 2 TiB."""
MAX_FILES: Final = 16
"""Offers in one message: at most half of its event with the longest names a system has."""
MAX_HASHES: Final = 1875
"""Hashes of pieces in one frame: 60,000 bytes."""
MAX_BULK_LINKS: Final = 4
"""Bulk links of one machine: sockets and buffers it can take."""
MAX_TTL_S: Final = 36_500 * 24 * 3600
"""How long an offer may be served, if not for ever: as long as a room's retention can be."""
MAX_OFFER_NAME: Final = 1024
"""A name in UTF-8 as its sender has it: 255 units of the widest kind; also each part of a path."""
MAX_PATH: Final = 2048
"""All parts of one path together: still reachable below an inbox by its whole name (4,096)."""
MAX_DEPTH: Final = 32
"""Folders in folders: descriptors and calls for one file."""
MAX_ENTRIES: Final = 100_000
"""Files in one folder sent: about 500 bytes of memory each, and names on a stranger's disk."""
MAX_MANIFEST: Final = 16 * MIB
"""Its encoding: read whole before it is decoded."""

# Finding each other: nobody is made to dial the world, or to forget whom he knows.

FIRST_PORT: Final = 26_700
"""Where a daemon listens by default."""
LAST_PORT: Final = 26_709
"""How far it looks for a free port, and how many dials `HOST` without a port can cost."""
MAX_UNKNOWN_PEERS: Final = 512
"""Unauthenticated addresses remembered: memory a flood of announcements can take."""
MAX_UNKNOWN_DIALS_PER_S: Final = 5.0
"""Dials to addresses never authenticated: what forged announcements can make us do to others."""
UNPACED_DIALS_AT_START: Final = 100
"""First addresses after start that are dialled without that pace: an office is met at once."""
FIRST_UNPRIVILEGED_PORT: Final = 1024
"""Below it live other programs' services, which nobody may have us dial."""
MAX_INTRODUCED: Final = 256
"""Machines introduced in one answer: signatures to verify, and addresses to dial."""
MAX_PROBED: Final = 1024
"""Addresses of our own networks dialled in one search: four networks of 254."""
MAX_ECHO: Final = 16 * KIB
"""Padding of one echo: twice the largest frame an Ethernet may carry, and no burden."""
MAX_DIALS_AT_ONCE: Final = 32
"""Dials under way: sockets, and the burst on the network."""

# -- storage ----------------------------------------------------------------

MAX_UNVERIFIED_PER_DAY: Final = 64 * MIB
"""Taken from people who are neither verified nor on a roster, all of them together."""
MAX_ROOM_PER_DAY: Final = GIB
"""Taken in one room in one day: its whole history when one comes in, and no more than a disk bears."""
MAX_MEMBER_PER_DAY: Final = MAX_ROOM_PER_DAY // 4
"""The same of one member: who floods a room leaves place for the others."""
MAX_ACTS_PER_DAY: Final = 10_000
"""Control events one member himself hands over in one room: memory of the graph, about 1 KiB each,
for as long as the room is; five times what its owner needs to let 500 people in one by one."""
MAX_EVENTS_PER_MINUTE: Final = 600
"""What one machine writes in a room, on and on: ten a second is a busy script."""
MAX_EVENTS_AT_ONCE: Final = 100_000
"""And at once: what was written on the way while somebody was off, and a long history, come in one go."""
RECENT_MS: Final = 10 * 60 * 1000
"""Only events dated younger than this count to these: what is repaired is bounded by its bytes."""
MAX_UNVERIFIED: Final = GIB
"""The same, ever: strangers cannot fill a disk by coming back tomorrow."""
MAX_STRANGERS: Final = 2000
"""People kept who are not verified and with whom no word was exchanged; twice as many people are
known before no new one is heard: rows, and memory, that made-up people can take."""
MAX_ADDRESSES: Final = 8
"""Addresses remembered of one machine, and of one sighting: dials it can cost us."""
MAX_OFFERED: Final = 512
"""Registers in one offer or want; each costs a look into the archive."""

# Held for others: docs/protocol.md, "Holders".

HOLD_MS: Final = 30 * 24 * 3600 * 1000
"""So long something is held for somebody who does not come: disk that nobody else frees."""
MAX_HELD_PER_DAY: Final = 8 * MIB
"""Taken into custody of one person in one day: ten thousand messages, and no copy of a disk."""
MAX_HELD: Final = 5 * GIB
"""The same of all people together, ever."""
MAX_HELD_STRANGERS: Final = 256 * MIB
"""Of it for people who are not verified here: made-up ones cannot take the place of known ones."""
MAX_HELD_FOR: Final = 24
"""People one deposit is for: a larger room has members who hold."""
MAX_HELD_MACHINES: Final = 64
"""And machines of theirs: rows that one event can cost, and with MAX_HELD_FOR 3 KiB of a frame."""
MAX_TOPS: Final = 256
"""Chains one machine is told of as held for it: each costs a look into its archive, and 25 KiB of a frame."""
