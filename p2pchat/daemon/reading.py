"""Operations that read: history, unread messages, the inbox, search, and who has taken note.

Decides: which questions go to the archive, in one look each, and what the answer is put
together from. Does not know: sockets, SQL, or how the live stream works (listening). A part
of `queries`, split for its length.
"""

from __future__ import annotations

from typing import Any, Final

from p2pchat.control.operations import fields, missing_fields
from p2pchat.control.operations.fields import Json
from p2pchat.control.operations.history import PAGE_LIMIT
from p2pchat.daemon.file_queries import Files
from p2pchat.daemon.hosting import Host, Params
from p2pchat.daemon.looks import anybody
from p2pchat.daemon.shown import Acked, Shown, acked
from p2pchat.engine import inputs
from p2pchat.errors import CommandError
from p2pchat.ids import AccountId, EventId, RoomId, hex_prefix, show
from p2pchat.model import ROOM, UNVERIFIED, Gap, MessageView, Notice, Page
from p2pchat.store.reader import Reader
from p2pchat.store.search import SearchPage

LAST: Final = "last"
PREVIEW: Final = 80
"""Characters of a message that the inbox shows."""


class Reading:
    """Questions about what was said."""

    def __init__(self, host: Host, files: Files) -> None:
        self._host = host
        self._files = files

    # -- a conversation ------------------------------------------------------------------

    async def history(self, params: Params) -> Json:
        chat = self._host.looks.conversation(params["target"])
        tail = _within("tail", params["tail"], PAGE_LIMIT)
        before = await self._bound(params, "before")
        after = await self._bound(params, "after")
        thread = await self._message(params["thread"]) if params["thread"] else None
        pinned = params["pinned"]

        def ask(reader: Reader) -> tuple[Page, Acked]:
            page = reader.history(
                chat.room, tail=tail, before=before, after=after, thread=thread, pinned=pinned
            )
            return page, acked(reader, page.messages)

        page, noted = await self._host.read(ask)
        directory = self._host.looks.directory()
        return fields.page_fields(
            chat.room,
            page.messages,
            directory,
            shown=Shown(self._host.looks, directory, noted).message,
            # What is pinned, or one thread, is no stretch of time in which something could have happened.
            notices=() if pinned or thread is not None else page.notices,
            **self._lacking(chat.room, list(page.gaps), directory),
            has_more=page.has_more,
            cursor=page.cursor,
        )

    async def _bound(self, params: Params, name: str) -> EventId | int | None:
        identifier, ms = params[f"{name}_id"], params[f"{name}_ms"]
        if identifier and ms is not None:
            raise CommandError("usage", f"'{name}_id' and '{name}_ms' at once", "give one of them")
        return await self._message(identifier) if identifier else ms

    async def _message(self, given: str) -> EventId:
        """The message that an id or a prefix means; CommandError of exit code 4."""
        prefix = hex_prefix(given)
        found = [] if prefix is None else await self._host.read(lambda reader: reader.find(prefix))
        if len(found) > 1:
            forms = ", ".join(show(one)[:16] for one in found)
            raise CommandError("ambiguous_target", f"{given!r} could be any of: {forms}", "give more digits")
        if not found:
            raise CommandError(
                "no_such_target", f"no message {given!r} here", "ids stand in `p2pchat history TARGET`"
            )
        return found[0]

    async def read_open(self, params: Params) -> Json:
        chat = self._host.looks.conversation(params["target"])
        limit = _within("limit", params["limit"], PAGE_LIMIT)

        def ask(reader: Reader) -> tuple[list[MessageView], Acked, list[Notice], list[Gap], int]:
            views = reader.unread(chat.room, limit + 1)
            notices = _beside(reader, chat.room, views, limit)
            return views, acked(reader, views), notices, reader.gaps(chat.room), reader.last_cursor()

        views, noted, notices, gaps, cursor = await self._host.read(ask)
        directory = self._host.looks.directory()
        return fields.page_fields(
            chat.room,
            views[:limit],
            directory,
            shown=Shown(self._host.looks, directory, noted).message,
            notices=notices,
            **self._lacking(chat.room, gaps, directory),
            has_more=len(views) > limit,
            cursor=cursor,
        )

    def _lacking(self, room: RoomId, gaps: list[Gap], names: fields.Names) -> dict[str, Any]:
        """What is not here and what of it is on its way, as fields of a page."""
        looks = self._host.looks
        return {
            "gaps": [missing_fields.gap_fields(gap, names) for gap in looks.missing(room, gaps)],
            "coming": missing_fields.coming_fields(looks.coming(room), names),
        }

    async def read_confirm(self, params: Params) -> Json:
        chat = self._host.looks.conversation(params["room"])
        ids = tuple(params["ids"])
        told = await self._host.ask(lambda n: inputs.ConfirmShown(n, params["room"], ids))
        return {"room": show(chat.room), "read": told["read"]}

    # -- who has taken note --------------------------------------------------------------

    async def acks(self, params: Params) -> Json:
        identity = await self._own_last(params) if params["id"] == LAST else await self._message(params["id"])

        def ask(reader: Reader) -> tuple[list[MessageView], Acked]:
            views = reader.messages([identity])
            return views, acked(reader, views)

        views, noted = await self._host.read(ask)
        found = self._host.looks.acks(views[0], noted.get(identity, ())) if views and noted else None
        if found is None:
            raise CommandError(
                "usage", f"{params['id']!r} asks nobody to take note", "ask with `p2pchat send TARGET --ack`"
            )
        told = fields.ack_fields(found, self._host.looks.directory())
        return {"id": show(identity), "room": show(views[0].room), **told}

    # -- how far it has come, machine by machine ------------------------------------------

    async def receipts(self, params: Params) -> Json:
        identity = await self._own_last(params) if params["id"] == LAST else await self._message(params["id"])
        views = await self._host.read(lambda reader: reader.messages([identity]))
        looks = self._host.looks
        found = looks.device_receipts(views[0]) if views else None
        progress = looks.progress(views[0]) if views else None
        if found is None or progress is None:
            raise CommandError(
                "usage", f"{params['id']!r} was not written on this machine", "receipts are of own messages"
            )
        directory = looks.directory()
        return {
            "id": show(identity),
            "room": show(views[0].room),
            "state": views[0].state,
            "progress": fields.progress_fields(progress),
            "devices": [fields.device_receipt_fields(one, directory) for one in found],
        }

    async def _own_last(self, params: Params) -> EventId:
        if not params["target"]:
            raise CommandError("usage", "'last' needs to know where", "name it: --in TARGET")
        room = self._host.looks.conversation(params["target"]).room
        page = await self._host.read(lambda reader: reader.history(room, tail=PAGE_LIMIT))
        own = [view.id for view in page.messages if view.mine]
        if not own:
            raise CommandError(
                "no_such_target", f"no message of yours in {params['target']!r}", "give its id"
            )
        return own[-1]

    # -- everywhere ----------------------------------------------------------------------

    async def inbox(self, _: Params) -> Json:
        looks = self._host.looks
        me = looks.me().account
        joined = [view.id for view in looks.room_views(False, None) if view.kind == ROOM]

        def ask(
            reader: Reader,
        ) -> tuple[list[tuple[RoomId, int, int]], list[MessageView], list[tuple[RoomId, Notice]]]:
            return reader.inbox_counts(), reader.ack_requests(me, PAGE_LIMIT), _additions(reader, joined, me)

        counts, awaited, added = await self._host.read(ask)
        directory = looks.directory()
        strangers = {peer.account for peer in looks.peer_views() if peer.trust == UNVERIFIED}
        return fields.inbox_fields(
            [fields.unread_fields(*row, directory) for row in counts],
            [
                fields.request_fields(room, one, directory)
                for room, one in added
                if directory.owner(one.device) in strangers
            ],
            await self._files.offered(),
            [fields.awaited_fields(view, directory, _preview(view.text or "")) for view in awaited],
        )

    async def search(self, params: Params) -> Json:
        room: RoomId | None = None
        if params["target"]:
            room = self._host.looks.conversation(params["target"]).room
        account = anybody(self._host.looks, params["person"]) if params["person"] else None
        limit = _within("limit", params["limit"], PAGE_LIMIT)
        offset = _within("offset", params["offset"], 10**9, low=0)
        searched = self._host.looks.rooms() if room is None else [room]

        def ask(reader: Reader) -> tuple[SearchPage, Acked, list[tuple[RoomId, list[Gap]]]]:
            page = reader.search(
                params["query"],
                room=room,
                account=account,
                after_ms=params["after_ms"],
                before_ms=params["before_ms"],
                limit=limit,
                offset=offset,
            )
            noted = acked(reader, (hit.message for hit in page.hits))
            return page, noted, [(one, reader.gaps(one)) for one in searched]

        page, noted, gaps = await self._host.read(ask)
        directory = self._host.looks.directory()
        shown = Shown(self._host.looks, directory, noted)
        results = [fields.result_fields(shown.message(hit.message), hit.snippet) for hit in page.hits]
        looks = self._host.looks
        incomplete = []
        for one, found in gaps:
            told = looks.missing(one, found) if found else []
            counted, coming = [gap for gap in told if not gap.earlier], looks.coming(one)
            if counted or coming[0]:
                incomplete.append(missing_fields.incomplete_fields(one, counted, coming, directory))
        return {"results": results, "has_more": page.has_more, "incomplete": incomplete}


def _beside(reader: Reader, room: RoomId, unread: list[MessageView], limit: int) -> list[Notice]:
    """What happened to the room from the first unread message on, up to where the page ends."""
    if not unread:
        return []
    before = unread[limit].written_ms if len(unread) > limit else None
    return reader.notices(room, unread[0].written_ms, before, PAGE_LIMIT)


def _additions(reader: Reader, rooms: list[RoomId], me: AccountId) -> list[tuple[RoomId, Notice]]:
    """By whom I was last added to each of these rooms, unless I have said something there since."""
    found = []
    for room in rooms:
        own = [n for n in reader.notices(room, None, None, PAGE_LIMIT) if n.type == "added" and n.who == me]
        if own and not any(view.mine for view in _since(reader, room, own[-1])):
            found.append((room, own[-1]))
    return sorted(found, key=lambda entry: (-entry[1].at_ms, entry[0]))


def _since(reader: Reader, room: RoomId, notice: Notice) -> tuple[MessageView, ...]:
    return reader.history(room, tail=PAGE_LIMIT, after=notice.at_ms).messages


def _preview(text: str) -> str:
    line = " ".join(text[: 4 * PREVIEW].split())
    return line if len(line) <= PREVIEW else line[: PREVIEW - 1] + "…"


def _within(name: str, value: int, high: int, low: int = 1) -> int:
    if not low <= value <= high:
        raise CommandError("usage", f"{name!r} cannot be '{value}'", f"from {low} to {high}")
    return value
