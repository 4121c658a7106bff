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
from dataclasses import replace
from typing import Any, Final

import trio

from p2pchat.control.endpoint import ClientInfo
from p2pchat.control.framing import METHOD_NOT_FOUND, ControlProtocolError
from p2pchat.control.operations import all_operations, fields, settings
from p2pchat.control.operations.fields import Json
from p2pchat.control.operations.history import LISTEN_TYPES
from p2pchat.control.operations.table import check
from p2pchat.daemon import health, verdicts
from p2pchat.daemon.file_queries import Files
from p2pchat.daemon.hosting import Host as Host
from p2pchat.daemon.hosting import Params
from p2pchat.daemon.hosting import Sources as Sources
from p2pchat.daemon.listening import Listening
from p2pchat.daemon.own import Own
from p2pchat.daemon.presence_queries import Presence
from p2pchat.daemon.reading import Reading
from p2pchat.daemon.room_queries import Rooms
from p2pchat.daemon.sights import Case
from p2pchat.engine import inputs
from p2pchat.engine.context import Link
from p2pchat.engine.inputs import Tell
from p2pchat.errors import ArchiveError, CommandError, SettingsError
from p2pchat.ids import EventId, fingerprint, show
from p2pchat.model import HELD, QUEUED, SCHEDULED, MessageView, PeerView, QueueRow
from p2pchat.store.reader import Reader

_HELP: Final = {
    "peers.add": "`p2pchat peers add 192.168.1.20`; with a port 192.168.1.20:26701 or [fd00::1]:26701",
    "peers.forget": "as it was added: `p2pchat peers forget 192.168.1.20`",
    "doctor": "`p2pchat doctor 192.168.1.20`; with a port 192.168.1.20:26701 or [fd00::1]:26701",
    "presence.set": "`p2pchat presence --quiet-hours 18:00-08:00`",
}
"""What to type instead, where a value of another form was given; else the settings there are."""
LOOK_AGAIN_S: Final = 1.0
"""`peers.wait` looks at least this often, should nothing be told."""


class Queries:
    """The handler of the control server."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._operations = all_operations()
        own, rooms = Own(host), Rooms(host)
        presence = self._presence = Presence(host, own)
        self.adopt = own.adopt
        files = self._files = Files(host, own.settings)
        reading = Reading(host, files)
        self._methods: dict[str, Callable[[Params], Any]] = {
            "status": self._status,
            "whoami": self._status,
            "down": self._down,
            "doctor": self._doctor,
            "peers.list": self._peers,
            "peers.add": self._peers_add,
            "peers.forget": self._peers_forget,
            "peers.wait": self._peers_wait,
            "presence.show": presence.show,
            "presence.set": presence.choose,
            "presence.active": presence.active,
            "typing": presence.typing,
            "send": self._send,
            "edit": lambda p: self._change("edit", p, p["text"]),
            "delete": lambda p: self._change("delete", p),
            "react": lambda p: self._change("react", p, p["emoji"]),
            "pin": lambda p: self._change("pin", p),
            "ack": lambda p: self._change("ack", p),
            "acks": reading.acks,
            "receipts": reading.receipts,
            "queue.list": self._queue,
            "queue.cancel": self._cancel,
            "history": reading.history,
            "read.open": reading.read_open,
            "read.confirm": reading.read_confirm,
            "inbox": reading.inbox,
            "search": reading.search,
            "rooms.list": rooms.listed,
            "rooms.show": rooms.shown,
            "rooms.create": rooms.create,
            "rooms.join": rooms.join,
            "rooms.leave": rooms.leave,
            "rooms.invite": rooms.invite,
            "rooms.remove": rooms.remove,
            "rooms.members": rooms.members,
            "rooms.set": rooms.change,
            "rooms.role": rooms.role,
            "rooms.mute": rooms.mute,
            "files.send": files.send,
            "files.spool": files.spool,
            "files.spool_add": files.spool_add,
            "files.spool_drop": files.spool_drop,
            "files.list": files.listed,
            "files.accept": files.accept,
            "files.decline": files.decline,
            "files.pause": files.pause,
            "files.resume": files.resume,
            "files.cancel": files.cancel,
            "files.auto": files.auto,
            "files.wait": files.wait,
            "trust.show": own.trust_show,
            "trust.verify": own.trust_verify,
            "trust.accept": lambda p: own.trust("accept", p),
            "trust.block": lambda p: own.trust("block", p),
            "trust.unblock": lambda p: own.trust("unblock", p),
            "trust.sas": own.sas,
            "trust.sas_confirm": own.sas_confirm,
            "device.list": own.devices,
            "device.link": own.link,
            "device.link_wait": own.link_wait,
            "device.revoke": own.revoke,
            "device.rename": own.rename,
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
            raise CommandError("usage", str(error), _HELP.get(method, "p2pchat config show")) from error

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
            accounts=[chat.account for chat in chats if chat.account is not None],
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
            "queue": {"waiting": len(waiting), "only_here": sum(row.state == QUEUED for row in waiting)},
            "free_bytes": facts.free_bytes,
            "encrypted_at_rest": False,
            "presence": self._presence.now(),
            "cursor": str(cursor),
            "already_running": False,
            "warnings": health.warnings(facts, recovery_key_here=host.recovery_key() is not None),
        }

    async def _down(self, params: Params) -> Json:
        if not params["now"]:
            await self._host.ask(inputs.HandOver)  # so that what is said to lie only here really does
        answer = await self._status(params)
        self._host.stop(params["now"])
        return answer

    async def _doctor(self, params: Params) -> Json:
        target, host = params["target"], self._host
        case = None if target is None else await self._case(target)
        seen = case.own if case is not None else await host.doctor.own()
        try:
            problems = await host.read(lambda reader: reader.check_integrity())
        except ArchiveError as error:  # so damaged that not even the questions can be put
            problems = [str(error)]
        facts = host.facts()
        seen = seen._replace(listening=bool(facts.listen))
        found = [*health.checks(facts, problems), *verdicts.own(seen)]
        if case is not None:
            found += verdicts.between(case)
        checks = verdicts.together(found)
        return {"ok": all(one["ok"] for one in checks), "checks": checks}

    async def _case(self, target: str) -> Case:
        """The way to a person, else to an address; CommandError if it can be neither."""
        try:
            account = self._host.looks.person(target)
        except CommandError as error:
            if error.kind != "no_such_target" or not settings.may_be_address(target):
                raise
        else:
            return await self._host.doctor.person(account)
        case = await self._host.doctor.place(*settings.split_address(target, "doctor"))
        if any(one.device == self._host.looks.me().device for one in case.probed):
            raise CommandError(
                "no_such_target", f"{target!r} is this machine itself", "look at it: `p2pchat doctor`"
            )
        return case

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
        target = params["target"]
        try:
            account = self._host.looks.person(target)
        except CommandError as error:
            if error.kind != "no_such_target" or not settings.may_be_address(target):
                raise
            host, port = settings.split_address(target, "peers forget")
            told = await self._host.ask(lambda n: inputs.ForgetAddress(n, host, port))
            if not told["dropped"]:
                raise CommandError(
                    "no_such_target", f"neither a person nor a remembered address is {target!r}", error.hint
                ) from error
            return {"account": None, "name": target}
        name = self._host.looks.directory().person(account)
        await self._host.ask(lambda n: inputs.ForgetPeer(n, params["target"]))
        return {"account": show(account), "name": name}

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
            account = self._host.looks.person(name)
        except CommandError as error:
            if error.kind == "no_such_target":
                return []  # not met yet: that is what is waited for
            raise
        return [peer for peer in self._listed() if peer.account == account]

    # -- writing -------------------------------------------------------------------------

    async def _send(self, params: Params) -> Json:
        if params["ack_by_ms"] is not None and not params["ack"]:
            raise CommandError("usage", "'ack_by_ms' without 'ack'", "ask people to take note as well")
        paths = params.pop("files")
        if paths and params["at_ms"] is not None:
            raise CommandError("usage", "'files' with 'at_ms'", "files are offered at once")
        try:
            if paths:
                post = await self._files.post(
                    paths, params["target"], lambda n, files: inputs.Post(n, **params, files=files)
                )
            else:
                post = await self._host.ask(lambda n: inputs.Post(n, **params))
        except CommandError as error:
            if isinstance(error.result, dict):  # not yet as far as was waited for: say who has it
                error.result |= await self._reached(str(error.result["id"]))
            raise
        answer = {key: post[key] for key in ("id", "room", "state")}
        if post.get("warning"):
            answer["warning"] = post["warning"]
        if paths:
            answer |= await self._files.beside(post)
        return answer

    async def _reached(self, message: str) -> Json:
        """How far an own message has come, in people."""
        views = await self._host.read(lambda reader: reader.messages([EventId(bytes.fromhex(message))]))
        progress = self._host.looks.progress(views[0]) if views else None
        return {} if progress is None else {"progress": fields.progress_fields(progress)}

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
        def ask(reader: Reader) -> tuple[list[QueueRow], list[MessageView]]:
            rows = reader.queue()
            return rows, reader.messages([row.id for row in rows if row.state != SCHEDULED])

        rows, views = await self._host.read(ask)
        messages = {view.id: view for view in views}
        looks = self._host.looks
        directory = looks.directory()
        told = [self._addressed(row, messages.get(row.id)) for row in rows]
        tried = [
            row if row.state == SCHEDULED else replace(row, attempts=looks.attempts(row.to)) for row in told
        ]
        return {"queue": [fields.queue_fields(row, directory) for row in tried]}

    def _addressed(self, row: QueueRow, view: MessageView | None) -> QueueRow:
        """What waits with those who hold it, and in a room for whom: the archive knows neither."""
        looks = self._host.looks
        if view is not None:
            row = replace(row, held_by=tuple(looks.held_by(view)))
        if row.to:
            return row
        try:
            members = looks.room_members(show(row.room))
        except CommandError:
            return row  # a draft for a room that is gone
        progress = None if view is None else looks.progress(view)
        here = {looks.me().account, *(progress.delivered if progress else ())}
        return replace(row, to=tuple(one.account for one in members if one.account not in here))

    async def _cancel(self, params: Params) -> Json:
        told = await self._host.ask(lambda n: inputs.CancelQueued(n, params["id"]))
        return {"id": told["target"], "room": told["room"], "state": told["state"]}


def _setting(event: trio.Event) -> Callable[[Tell], None]:
    """A listener that sets `event` whatever is told."""
    return lambda _: event.set()


def _usual(peer: PeerView) -> bool:
    """Listed without --all: other people who are not blocked."""
    return not peer.me and peer.trust != "blocked"
