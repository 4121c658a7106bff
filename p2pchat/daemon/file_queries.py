"""Operations about files: offered through the engine, kept ready and moved by bulk, found in the archive.

Decides: what is prepared before a message is written, what is let go if none is, and when somebody
who waits is answered. Does not know: sockets, SQL, links, or who may have what. A part of
`queries`, split for its length.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import trio

from p2pchat.control.operations.fields import Json
from p2pchat.control.operations.files import LIST_LIMIT, SPOOL_BYTES
from p2pchat.control.operations.settings_file import Effective
from p2pchat.daemon.hosting import Bulk, Host, Params
from p2pchat.daemon.moving import Moving
from p2pchat.daemon.shown import SETTLED, Transfers
from p2pchat.engine import inputs
from p2pchat.engine.file_inputs import FileAct, FileAuto
from p2pchat.engine.inputs import Command
from p2pchat.errors import CommandError
from p2pchat.ids import EventId, hex_prefix, show
from p2pchat.model import OFFERED, PAUSED, TransferView
from p2pchat.wire.codec import decode
from p2pchat.wire.limits import MAX_FILES
from p2pchat.wire.messages.files import Offer

log = logging.getLogger(__name__)

Prepared = tuple[tuple[Offer, str], ...]
"""Offers, and the absolute path of each."""

Prepare = Callable[[int], Awaitable[Prepared]]
"""Makes offers that are served for so many seconds, 0: as long as somebody has it."""

DAY_S: Final = 24 * 3600
LOOK_AGAIN_S: Final = 1.0
"""Who waits looks at least this often: what others have of it is not always told."""

MAX_PEOPLE: Final = 20_000
"""People named in one answer who have something: some 3 MB of JSON."""

_FIND: Final = "ids stand in `p2pchat file list`"


class Files:
    """Offers, and what becomes of them."""

    def __init__(self, host: Host, settings: Callable[[], Awaitable[list[Effective]]]) -> None:
        self._host = host
        self._settings = settings

    @property
    def _bulk(self) -> Bulk:
        if self._host.bulk is None:
            raise CommandError("policy", "no files are moved here", "start the daemon: p2pchat up")
        return self._host.bulk

    # -- offering ----------------------------------------------------------------------------

    async def send(self, params: Params) -> Json:
        paths, spool, name = params["paths"], params["spool"], params["name"]
        if bool(paths) == bool(spool):
            raise CommandError("usage", "either 'paths' or 'spool' is needed", "name at least one file")
        if bool(name) != bool(spool):
            raise CommandError("usage", "'name' goes with 'spool' and with nothing else", "give both")
        prepare: Prepare = partial(self._of_spool, spool, name) if spool else partial(self._of_paths, paths)
        target, text, key = params["target"], params["text"], params["key"]
        post = await self._post(
            target, prepare, lambda n, files: inputs.Post(n, target, text, key=key, files=files)
        )
        return {
            **{key: post[key] for key in ("id", "room", "state")},
            **({"warning": post["warning"]} if post.get("warning") else {}),
            **await self.beside(post),
        }

    async def post(self, paths: Sequence[str], target: str, make: Callable[[int, Prepared], Command]) -> Any:
        """Say something that offers these files too. CommandErrors of `make`, and of the files."""
        return await self._post(target, partial(self._of_paths, paths), make)

    async def _post(
        self,
        target: str,
        prepare: Prepare,
        make: Callable[[int, Prepared], Command],
    ) -> Any:
        # A name that nobody bears is told before a large folder is looked through.
        room = self._host.looks.room_view(target)
        files = await prepare(room.retention_days * DAY_S)
        try:
            told = await self._host.ask(lambda n: make(n, files))
        except CommandError as error:
            done = error.result if isinstance(error.result, dict) else {}
            await self._let_go(files, done.get("id"))
            raise
        # Whoever goes away in between may have said it all the same: what he prepared then stays.
        await self._let_go(files, told["id"])
        return {**told, "files": files}

    async def _let_go(self, files: Prepared, message: object) -> None:
        """Forget what was prepared and is not in `message`: a key that was used before has its own."""
        offered: set[bytes] = set()
        if isinstance(message, str) and not message.startswith("draft-"):
            ident = EventId(bytes.fromhex(message))
            views = await self._host.read(lambda reader: reader.messages([ident]))
            offered = {one.id for view in views for one in view.files}
        left = [offer.id for offer, _ in files if offer.id not in offered]
        if left:
            self._bulk.drop_prepared(left)
            for unused in left:
                self._bulk.left(unused)

    async def _of_paths(self, paths: Sequence[str], ttl_s: int) -> Prepared:
        if len(paths) > MAX_FILES:
            raise CommandError(
                "usage", f"{len(paths)} files are too many for one message of {MAX_FILES}", "send several"
            )
        for path in paths:
            if not os.path.isabs(path) or "\0" in path:
                raise CommandError("usage", f"{path!r} is no absolute path", "write it from the root on")
        found: list[tuple[Offer, str]] = []
        try:
            for path in paths:
                real = await trio.to_thread.run_sync(os.path.realpath, path)
                found.append((await self._bulk.prepare(path, ttl_s), real))
        except BaseException:
            self._bulk.drop_prepared([offer.id for offer, _ in found])
            raise
        return tuple(found)

    async def _of_spool(self, spool: str, name: str, ttl_s: int) -> Prepared:
        return (await self._bulk.prepare_spool(spool, name, ttl_s),)

    async def beside(self, post: Any) -> Json:
        """What is told beside a message that has just offered files: `transfers`, and `left` if something
        of a folder does not go along."""
        ident = EventId(bytes.fromhex(post["id"]))
        views = await self._host.read(lambda reader: reader.messages([ident]))
        kept = await self._of_ids([one.id for view in views for one in view.files])
        left = [
            {"path": path, "links": found.links, "special": found.special, "closed": found.closed}
            for offer, path in post["files"]
            if (found := self._bulk.left(offer.id)) is not None
        ]
        return {"transfers": kept, **({"left": left} if left else {})}

    # -- what is piped in ----------------------------------------------------------------------

    async def spool(self, _: Params) -> Json:
        return {"spool": await self._bulk.spool()}

    async def spool_add(self, params: Params) -> Json:
        try:
            data = base64.b64decode(params["data"], validate=True)
        except (binascii.Error, ValueError):
            raise CommandError("usage", "'data' is no base64", "RFC 4648, with padding") from None
        if len(data) > SPOOL_BYTES:
            raise CommandError("usage", f"{len(data)} bytes at once", f"at most {SPOOL_BYTES}")
        await self._bulk.spool_add(params["spool"], data)
        return {"bytes": len(data)}

    async def spool_drop(self, params: Params) -> Json:
        await self._bulk.spool_drop(params["spool"])
        return {"spool": params["spool"]}

    # -- looking -------------------------------------------------------------------------------

    async def listed(self, params: Params) -> Json:
        limit = params["limit"]
        if not 1 <= limit <= LIST_LIMIT:
            raise CommandError("usage", f"'limit' cannot be '{limit}'", f"from 1 to {LIST_LIMIT}")
        views = await self._views()
        if params["before"]:
            (last,) = await self._named([params["before"]])
            ids = [view.row.id for view in views]
            views = views[ids.index(last) + 1 :] if last in ids else []
        shown: list[Json] = []
        people = 0
        render = await self._render(views[:limit])
        for view in views[:limit]:
            people += len(view.have) if params["have"] else 0
            if shown and people > MAX_PEOPLE:
                break
            shown.append(render.one(view, have=params["have"]))
        return {"transfers": shown, "has_more": len(shown) < len(views)}

    async def offered(self) -> list[Json]:
        """What others offer me and is not decided, newest first, for the inbox: what I sent from another
        machine of mine I have not missed."""
        render, me = await self._render(), self._host.looks.me().account
        views = [view for view in await self._views() if view.row.author != me]
        waiting = [view for view in views if view.row.incoming and view.state == OFFERED]
        return [render.one(view, have=False) for view in waiting[:LIST_LIMIT]]

    async def wait(self, params: Params) -> Json:
        ids = await self._named(params["ids"])
        with trio.move_on_after(max(params["timeout_s"], 0.0)):
            while True:
                changed = self._host.feed_changed
                found = await self._of_ids(ids)
                if all(one["state"] in SETTLED for one in found):
                    return {"transfers": found}
                with trio.move_on_after(LOOK_AGAIN_S):
                    await changed.wait()
        return {"transfers": await self._of_ids(ids)}

    # -- deciding ------------------------------------------------------------------------------

    async def accept(self, params: Params) -> Json:
        to = params["to"]
        if to and (not os.path.isabs(to) or "\0" in to):
            raise CommandError("usage", f"{to!r} is no absolute path", "write it from the root on")
        if to and not await trio.to_thread.run_sync(os.path.isdir, to):
            raise CommandError("no_such_target", f"no folder {to!r}", "make it first, or name another")
        if to and not await trio.to_thread.run_sync(os.access, to, os.W_OK | os.X_OK):
            raise CommandError("unsafe_path", f"nothing may be written into {to!r}", "name another folder")
        return await self._act("accept", params["id"], to, params["conflict"])

    async def decline(self, params: Params) -> Json:
        return await self._act("decline", params["id"])

    async def pause(self, params: Params) -> Json:
        return await self._act("pause", params["id"])

    async def resume(self, params: Params) -> Json:
        return await self._act("resume", params["id"])

    async def cancel(self, params: Params) -> Json:
        return await self._act("cancel", params["id"])

    async def _act(self, verb: str, ref: str, to: str = "", conflict: str = "rename") -> Json:
        told = await self._host.ask(lambda n: FileAct(n, verb, ref, to, conflict))
        view: TransferView = told["transfer"]
        return {"transfer": (await self._render([view])).one(view)}

    async def auto(self, params: Params) -> Json:
        account = self._host.looks.person(params["person"])
        told = await self._host.ask(lambda n: FileAuto(n, params["person"], params["on"]))
        most = next(one.value for one in await self._settings() if one.key == "file_auto_max")
        name = self._host.looks.directory().person(account)
        return {"account": show(account), "name": name, "auto": told["auto"], "max_bytes": most}

    # -- rendering -----------------------------------------------------------------------------

    async def _render(self, views: Sequence[TransferView] = ()) -> Transfers:
        """Renders these, and any others of which nothing rests here."""
        bulk = self._host.bulk
        resting: dict[bytes, Moving] = {}
        for view in views:
            row = view.row
            if bulk is None or view.state != PAUSED or not row.incoming or bulk.moving(row.id) is not None:
                continue
            try:
                resting[row.id] = await bulk.resting(decode(Offer, row.offer))
            except CommandError as error:
                log.info("how far a paused file is can not be told: %s", error)  # the rest can
        return Transfers(self._host.looks, bulk, self._host.inbox, resting)

    async def _views(self) -> list[TransferView]:
        """All transfers, newest first."""
        return (await self._host.read(lambda reader: reader.transfers()))[::-1]

    async def _named(self, given: Sequence[str]) -> list[bytes]:
        """The transfers that ids and prefixes mean."""
        prefixes = [hex_prefix(one) or "" for one in given]
        found = await self._host.read(lambda reader: [reader.find_transfers(one) for one in prefixes])
        return [_one(text, ids) for text, ids in zip(given, found, strict=True)]

    async def _of_ids(self, ids: Sequence[bytes]) -> list[Json]:
        kept = await self._host.read(lambda reader: [reader.transfer(one) for one in ids])
        render = await self._render([view for view in kept if view is not None])
        return [render.one(view) for view in kept if view is not None]


def _one(given: str, found: Sequence[bytes]) -> bytes:
    """The one transfer of those found; CommandError of exit code 4."""
    if len(found) > 1:
        forms = ", ".join(show(one)[:16] for one in found)
        raise CommandError("ambiguous_target", f"{given!r} could be any of: {forms}", "give more digits")
    if not found:
        raise CommandError("no_such_target", f"no transfer {given!r} here", _FIND)
    return found[0]
