"""Messages and transfers as answers show them: what the archive holds, joined with what the node knows.

Decides: which of the two is asked for which field. Does not know: SQL, JSON
names (operations.fields), or which of them are wanted.

The archive is asked first, on its own thread and for all messages at once; the node is
memory and asked while the answer is put together. So how far a message has come is never
older than the message beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from p2pchat.control.operations import fields
from p2pchat.control.operations.fields import Json
from p2pchat.daemon.looks import Directory, Looks
from p2pchat.daemon.moving import Bulk, Moving
from p2pchat.files.names import clean
from p2pchat.ids import AccountId, EventId
from p2pchat.model import CANCELLED, DECLINED, DONE, FAILED, MessageView, TransferView
from p2pchat.store.reader import Reader

Acked = Mapping[EventId, tuple[AccountId, ...]]
"""Who has taken note, by message; only of messages that ask for it."""


def acked(reader: Reader, views: Iterable[MessageView]) -> Acked:
    """What the archive knows of taking note of these messages."""
    return {view.id: reader.acked(view.id) for view in views if view.ack_by_ms is not None}


class Shown:
    """Renders messages of one answer, all with the same names."""

    def __init__(self, looks: Looks, names: Directory, noted: Acked) -> None:
        self._looks = looks
        self._names = names
        self._noted = noted

    def message(self, view: MessageView) -> Json:
        """One message with every field."""
        asks = view.ack_by_ms is not None
        return fields.message_fields(
            view,
            self._names,
            progress=self._looks.progress(view) if view.mine else None,
            held_by=self._looks.held_by(view) if view.mine else (),
            acks=self._looks.acks(view, self._noted.get(view.id, ())) if asks else None,
        )


SETTLED: Final = frozenset({DONE, DECLINED, CANCELLED, FAILED})
"""States in which a transfer stays by itself."""


class Transfers:
    """Renders transfers of one answer, all with the same names, and with what moves of them just now;
    `resting`: how far those are that do not, where that is known."""

    def __init__(
        self, looks: Looks, bulk: Bulk | None, inbox: str, resting: Mapping[bytes, Moving] | None = None
    ) -> None:
        self._bulk = bulk
        self._resting = resting or {}
        self._inbox = inbox
        self._names = looks.directory()
        self._me = looks.me().account

    def one(self, view: TransferView, *, have: bool = True) -> Json:
        """One transfer with every field; `have` empty if it is not wanted."""
        if view.row.incoming:
            view = replace(view, flags=tuple(sorted(clean(view.row.name).flags)))
            if view.state == DONE and view.row.served:
                view = replace(view, have=(self._me,))
        motion = None
        if self._bulk is not None and view.state not in SETTLED:
            motion = self._bulk.moving(view.row.id) or self._resting.get(view.row.id)
        return fields.transfer_fields(view, self._names, motion=motion, inbox=self._inbox, have=have)
