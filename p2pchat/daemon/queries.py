"""Operations of the control socket, joined to the node and the archive.

Decides: which question goes to the engine, which to the archive, which to memory, and
what the answer looks like. Does not know: sockets, SQL, or what a command decides.

Commands are asked of the engine and answered after their commit. Reading happens on a
read-only connection in a thread, so no answer delays a commit. `Host` is what this needs
of the daemon, small enough for a test to fake.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import trio

from p2pchat.control.endpoint import ClientInfo
from p2pchat.control.framing import METHOD_NOT_FOUND, ControlProtocolError
from p2pchat.control.operations import all_operations, fields, settings
from p2pchat.control.operations.fields import Json
from p2pchat.control.operations.history import LISTEN_TYPES, PAGE_LIMIT
from p2pchat.control.operations.table import check
from p2pchat.daemon import health
from p2pchat.daemon.hosting import Host as Host
from p2pchat.daemon.hosting import Params
from p2pchat.daemon.hosting import Sources as Sources
from p2pchat.daemon.listening import Listening
from p2pchat.daemon.own import Own
from p2pchat.engine import inputs
from p2pchat.engine.context import Link
from p2pchat.engine.inputs import Tell
from p2pchat.errors import CommandError, SettingsError
from p2pchat.ids import AccountId, EventId, RoomId, fingerprint, hex_prefix, show
from p2pchat.model import HELD, QUEUED, PeerView

LOOK_AGAIN_S: Final = 1.0
"""`peers.wait` looks at least this often, should nothing be told."""


class Queries:
    """The handler of the control server."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._operations = all_operations()
        own = Own(host)
        self._methods: dict[str, Callable[[Params], Any]] = {
            "status": self._status,
            "whoami": self._status,
            "down": self._down,
            "doctor": self._doctor,
            "peers.list": self._peers,
            "peers.add": self._peers_add,
            "peers.forget": self._peers_forget,
            "peers.wait": self._peers_wait,
            "send": self._send,
            "edit": lambda p: self._change("edit", p, p["text"]),
            "delete": lambda p: self._change("delete", p),
            "react": lambda p: self._change("react", p, p["emoji"]),
            "pin": lambda p: self._change("pin", p),
            "queue.list": self._queue,
            "queue.cancel": self._cancel,
            "history": self._history,
            "read.open": self._read_open,
            "read.confirm": self._read_confirm,
            "inbox": self._inbox,
            "search": self._search,
            "trust.show": own.trust_show,
            "trust.verify": own.trust_verify,
            "trust.accept": lambda p: own.trust("accept", p),
            "trust.block": lambda p: own.trust("block", p),
            "trust.unblock": lambda p: own.trust("unblock", p),
            "trust.sas": own.sas,
            "trust.sas_confirm": own.sas_confirm,
            "device.list": own.devices,
            "device.recovery_key": own.recovery_key,
            "device.recovery_erase": own.recovery_erase,
            "config.show": own.config_show,
            "config.set": own.config_set,
        }

    async def call(self, method: str, params: dict[str, Any], client: ClientInfo) -> object:
        """Carry out one operation; see docs/control.md for each."""
        act = self._methods.get(method)
        if act is None:
            raise ControlProtocolError(METHOD_NOT_FOUND, f"no method {method!a}")
        try:
            return await act(check(self._operations[method], params))
        except SettingsError as error:
            raise CommandError("usage", str(error), "p2pchat config show") from error

    async def subscribe(self, params: dict[str, Any], client: ClientInfo) -> AsyncIterator[Mapping[str, Any]]:
        """The stream of `listen`."""
        asked: Params = check(self._operations["listen"], params)
        for word in asked["types"]:
            if word not in LISTEN_TYPES:
                raise CommandError("usage", f"no type {word!r}", "of: " + " ".join(LISTEN_TYPES))
        if asked["since"] is not None and asked["since"] < 0:
            raise CommandError("usage", f"no cursor '{asked['since']}'", "0 is the oldest kept")
        chats = [self._host.looks.conversation(target) for target in asked["targets"]]
        stream = Listening(
            self._host,
            rooms=[chat.room for chat in chats],
            accounts=[chat.account for chat in chats],
            types=asked["types"],
            mentions=asked["mentions"],
        )
        lines = stream.lines(asked["since"])
        try:
            async for line in lines:
                yield line
        finally:
            await lines.aclose()  # type: ignore[attr-defined]

    # -- the daemon ----------------------------------------------------------------------

    async def _status(self, _: Params) -> Json:
        host = self._host
        facts, me, peers = host.facts(), host.looks.me(), host.looks.peer_views()
        unread, cursor, queue = await host.read(lambda r: (r.unread_total(), r.last_cursor(), r.queue()))
        waiting = [row for row in queue if row.state in (QUEUED, HELD)]
        return {
            "me": {
                "account": show(me.account),
                "device": show(me.device),
                "name": me.name,
                "fingerprint": fingerprint(me.account),
            },
            "office": {"name": "", "managed": False},
            "daemon": {
                "pid": os.getpid(),
                "version": facts.version,
                "uptime_s": round(facts.uptime_s, 3),
                "listen": list(facts.listen),
            },
            "peers": {
                "connected": len({peer.account for peer in peers if peer.connected}),
                "known": len({peer.account for peer in peers}),
            },
            "unread": unread,
            "queue": {"waiting": len(waiting), "only_here": sum(not row.held_by for row in waiting)},
            "free_bytes": facts.free_bytes,
            "encrypted_at_rest": False,
            "presence": "available",
            "cursor": str(cursor),
            "already_running": False,
            "warnings": health.warnings(facts, recovery_key_here=host.recovery_key() is not None),
        }

    async def _down(self, params: Params) -> Json:
        answer = await self._status(params)
        self._host.stop(params["now"])
        return answer

    async def _doctor(self, _: Params) -> Json:
        problems = await self._host.read(lambda reader: reader.check_integrity())
        checks = health.checks(self._host.facts(), problems)
        return {"ok": all(one["ok"] for one in checks), "checks": checks}

    # -- people --------------------------------------------------------------------------

    async def _peers(self, params: Params) -> Json:
        return {"peers": [fields.peer_fields(p) for p in self._listed() if params["all"] or _usual(p)]}

    def _listed(self) -> list[PeerView]:
        return self._host.looks.peer_views()

    async def _peers_add(self, params: Params) -> Json:
        host, port = settings.split_address(params["address"])
        told = await self._host.ask(lambda n: inputs.AddPeer(n, host, port))
        link = told["link"]
        peer = None
        if isinstance(link, Link):
            peer = next((fields.peer_fields(p) for p in self._listed() if p.device == link.device), None)
        connected = bool(told["connected"])
        return {
            "address": params["address"],
            "connected": connected,
            "reason": None if connected else (told["reason"] or "timeout"),
            "peer": peer,
        }

    async def _peers_forget(self, params: Params) -> Json:
        chat = self._host.looks.conversation(params["target"])
        await self._host.ask(lambda n: inputs.ForgetPeer(n, params["target"]))
        return {"account": show(chat.account), "name": chat.name}

    async def _peers_wait(self, params: Params) -> Json:
        """Until somebody of this name is connected, whether or not he is known yet."""
        with trio.move_on_after(max(params["timeout_s"], 0.0)):
            while True:
                changed = trio.Event()
                self._host.tells[changed] = _setting(changed)
                try:
                    here = self._of_name(params["name"])
                    if any(peer.connected for peer in here):
                        return {"peers": [fields.peer_fields(peer) for peer in here]}
                    with trio.move_on_after(LOOK_AGAIN_S):
                        await changed.wait()
                finally:
                    del self._host.tells[changed]
        raise CommandError(
            "timeout",
            f"{params['name']!r} is not here after {params['timeout_s']:g} s",
            "p2pchat doctor",
            {"peers": [fields.peer_fields(peer) for peer in self._of_name(params["name"])]},
        )

    def _of_name(self, name: str) -> list[PeerView]:
        try:
            account = self._host.looks.conversation(name).account
        except CommandError as error:
            if error.kind == "no_such_target":
                return []  # not met yet: that is what is waited for
            raise
        return [peer for peer in self._listed() if peer.account == account]

    # -- writing -------------------------------------------------------------------------

    async def _send(self, params: Params) -> Json:
        post = await self._host.ask(lambda n: inputs.Post(n, **params))
        answer = {key: post[key] for key in ("id", "room", "state")}
        if post.get("warning"):
            answer["warning"] = post["warning"]
        return answer

    async def _change(self, verb: str, params: Params, value: str = "") -> Json:
        told = await self._host.ask(
            lambda n: inputs.Change(
                n,
                verb,
                params["id"],
                value=value,
                remove=params.get("remove", False),
                target=params["target"],
            )
        )
        return {key: told[key] for key in ("id", "target", "room", "state")}

    async def _queue(self, _: Params) -> Json:
        rows = await self._host.read(lambda reader: reader.queue())
        directory = self._host.looks.directory()
        return {"queue": [fields.queue_fields(row, directory) for row in rows]}

    async def _cancel(self, params: Params) -> Json:
        told = await self._host.ask(lambda n: inputs.CancelQueued(n, params["id"]))
        return {"id": told["target"], "room": told["room"], "state": told["state"]}

    # -- reading -------------------------------------------------------------------------

    async def _history(self, params: Params) -> Json:
        chat = self._host.looks.conversation(params["target"])
        tail = _within("tail", params["tail"], PAGE_LIMIT)
        before = await self._bound(params, "before")
        after = await self._bound(params, "after")
        thread = await self._message(params["thread"]) if params["thread"] else None
        page = await self._host.read(
            lambda reader: reader.history(
                chat.room, tail=tail, before=before, after=after, thread=thread, pinned=params["pinned"]
            )
        )
        return fields.page_fields(
            chat.room,
            page.messages,
            self._host.looks.directory(),
            gaps=page.gaps,
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

    async def _read_open(self, params: Params) -> Json:
        chat = self._host.looks.conversation(params["target"])
        limit = _within("limit", params["limit"], PAGE_LIMIT)
        views, gaps, cursor = await self._host.read(
            lambda reader: (
                reader.unread(chat.room, limit + 1),
                reader.gaps(chat.room),
                reader.last_cursor(),
            )
        )
        directory = self._host.looks.directory()
        return fields.page_fields(
            chat.room, views[:limit], directory, gaps=gaps, has_more=len(views) > limit, cursor=cursor
        )

    async def _read_confirm(self, params: Params) -> Json:
        chat = self._host.looks.conversation(params["room"])
        ids = tuple(params["ids"])
        told = await self._host.ask(lambda n: inputs.ConfirmShown(n, params["room"], ids))
        return {"room": show(chat.room), "read": told["read"]}

    async def _inbox(self, _: Params) -> Json:
        counts = await self._host.read(lambda reader: reader.inbox_counts())
        directory = self._host.looks.directory()
        return fields.inbox_fields([fields.unread_fields(*row, directory) for row in counts])

    async def _search(self, params: Params) -> Json:
        room: RoomId | None = None
        if params["target"]:
            room = self._host.looks.conversation(params["target"]).room
        account = self._person(params["person"]) if params["person"] else None
        limit = _within("limit", params["limit"], PAGE_LIMIT)
        offset = _within("offset", params["offset"], 10**9, low=0)
        searched = self._host.looks.rooms() if room is None else [room]
        page, gaps = await self._host.read(
            lambda reader: (
                reader.search(
                    params["query"],
                    room=room,
                    account=account,
                    after_ms=params["after_ms"],
                    before_ms=params["before_ms"],
                    limit=limit,
                    offset=offset,
                ),
                [(one, reader.gaps(one)) for one in searched],
            )
        )
        directory = self._host.looks.directory()
        results = [fields.result_fields(hit.message, hit.snippet, directory) for hit in page.hits]
        incomplete = [fields.incomplete_fields(one, found, directory) for one, found in gaps if found]
        return {"results": results, "has_more": page.has_more, "incomplete": incomplete}

    def _person(self, target: str) -> AccountId:
        """A person who may be myself: `--from` my own name."""
        me = self._host.looks.me()
        try:
            return self._host.looks.conversation(target).account
        except CommandError:
            own = hex_prefix(target)
            if target.removeprefix("@").casefold() == me.name.casefold() or (
                own is not None and show(me.account).startswith(own)
            ):
                return me.account
            raise


def _setting(event: trio.Event) -> Callable[[Tell], None]:
    """A listener that sets `event` whatever is told."""
    return lambda _: event.set()


def _usual(peer: PeerView) -> bool:
    """Listed without --all: other people who are not blocked."""
    return not peer.me and peer.trust != "blocked"


def _within(name: str, value: int, high: int, low: int = 1) -> int:
    if not low <= value <= high:
        raise CommandError("usage", f"{name!r} cannot be '{value}'", f"from {low} to {high}")
    return value
