"""Operations about rooms: asked of the engine where they change something, of memory where not.

Decides: how these decisions are asked and how rooms are told. Does not know: sockets, SQL,
or who may do what. A part of `queries`, split for its length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio

from p2pchat.control.operations import fields
from p2pchat.control.operations.fields import Json
from p2pchat.daemon.hosting import Host, Params
from p2pchat.daemon.looks import anybody
from p2pchat.engine import inputs, targets
from p2pchat.engine.graph_rights import MAX_RETENTION_DAYS
from p2pchat.engine.inputs import Command
from p2pchat.errors import CommandError
from p2pchat.ids import AccountId, show
from p2pchat.model import RoomMember, RoomView
from p2pchat.wire.limits import MAX_TEXT

SET: Final = ("name", "topic", "rules", "admission", "announce", "history", "retention")
"""What `rooms.set` may change, in the order in which it is asked for."""

INVITED_AT_ONCE: Final = 16
"""More people come in over several steps, so that nobody else waits for all of them: 10 ms a step."""

DESCRIBED_WITHIN_S: Final = 3.0
"""So long who comes in waits for what the room says of itself: a key and a few events of one member."""
LOOK_EVERY_S: Final = 0.05


class Rooms:
    """Rooms, who is in them, what they are set to."""

    def __init__(self, host: Host) -> None:
        self._host = host

    # -- looking ---------------------------------------------------------------------------

    async def listed(self, params: Params) -> Json:
        member = anybody(self._host.looks, params["member"]) if params["member"] else None
        return {"rooms": await self._fields(self._host.looks.room_views(params["all"], member))}

    async def shown(self, params: Params) -> Json:
        try:
            room = self._host.looks.room_view(params["room"])
        except CommandError as error:
            raise targets.neither(params["room"], error) from error
        return await self._answer({"room": room})

    async def _fields(self, views: list[RoomView]) -> list[Json]:
        unread = await self._host.read(lambda reader: reader.unread_counts())
        directory = self._host.looks.directory()
        return [fields.room_fields(view, directory, unread.get(view.id, 0)) for view in views]

    async def members(self, params: Params) -> Json:
        looks = self._host.looks
        chat = looks.conversation(params["room"])
        names, me = looks.directory(), looks.me()
        seen = {peer.device: peer.last_seen_ms for peer in looks.peer_views()}
        own = {one.device: one.last_seen_ms for one in looks.own_devices()}

        def machines(member: RoomMember) -> list[Json]:
            return [
                fields.device_fields(
                    names,
                    device,
                    this=device == me.device,
                    last_seen_ms=own.get(device, seen.get(device)),
                    revoked=False,  # revoked machines are in no room
                )
                for device in member.devices
            ]

        return {
            "room": fields.room_brief(names, chat.room),
            "members": [
                fields.member_fields(member, names, machines(member))
                for member in looks.room_members(params["room"])
            ],
        }

    # -- changing --------------------------------------------------------------------------

    async def create(self, params: Params) -> Json:
        _check_rules(params["rules"])
        return await self._one(lambda n: inputs.CreateRoom(n, **params))

    async def join(self, params: Params) -> Json:
        told = await self._host.ask(lambda n: inputs.RoomAct(n, "join", params["room"]))
        return await self._answer({**told, "room": await self._described(told["room"])})

    async def _described(self, room: RoomView) -> RoomView:
        """The room with its topic and rules: members send them, sealed, to who has come in."""
        with trio.move_on_after(DESCRIBED_WITHIN_S):
            while not room.described:
                await trio.sleep(LOOK_EVERY_S)
                room = self._host.looks.room_view(show(room.id))
        return room

    async def leave(self, params: Params) -> Json:
        return await self._act("leave", params)

    async def invite(self, params: Params) -> Json:
        if not params["people"]:
            raise CommandError("usage", "nobody to invite", "name one or more people")
        people = tuple(params["people"])
        added: list[AccountId] = []
        if len(people) > INVITED_AT_ONCE:
            everybody = people
            told = await self._host.ask(lambda n: inputs.RoomAct(n, "invitable", params["room"], everybody))
            people = told["people"] or people[:1]
        while len(people) > INVITED_AT_ONCE:
            some, people = people[:INVITED_AT_ONCE], people[INVITED_AT_ONCE:]
            told = await self._host.ask(_inviting(params["room"], some))
            added += told["added"]
        told = await self._host.ask(_inviting(params["room"], people, more=False))
        names = self._host.looks.directory()
        people_added = [fields.person_fields(names, account) for account in (*added, *told["added"])]
        return {**await self._answer(told), "added": people_added}

    async def remove(self, params: Params) -> Json:
        people = (params["person"],)
        if params["room"]:
            return await self._act("remove", params, people)
        told = await self._host.ask(lambda n: inputs.RoomAct(n, "remove", "", people))
        return {"rooms": await self._fields(list(told["rooms"]))}

    async def role(self, params: Params) -> Json:
        return await self._act("role", params, (params["person"],), role=params["role"])

    async def change(self, params: Params) -> Json:
        changes = tuple((key, _value(params[key])) for key in SET if params[key] is not None)
        if not changes:
            raise CommandError("usage", "nothing to change", "of: " + " ".join(SET))
        _check_rules(params["rules"] or "")
        if params["retention"] is not None and not 0 <= params["retention"] <= MAX_RETENTION_DAYS:
            raise CommandError(
                "usage", f"'retention' cannot be '{params['retention']}'", "days, or 0: for ever"
            )
        return await self._act("set", params, changes=changes)

    async def mute(self, params: Params) -> Json:
        if params["off"] and (params["mentions_only"] or params["until_ms"] is not None):
            raise CommandError("usage", "'off' goes with nothing else", "raise notices again with it alone")
        return await self._one(lambda n: inputs.Mute(n, **params))

    async def _act(self, verb: str, params: Params, people: tuple[str, ...] = (), **more: Any) -> Json:
        return await self._one(lambda n: inputs.RoomAct(n, verb, params["room"], people, **more))

    async def _one(self, make: Callable[[int], Command]) -> Json:
        return await self._answer(await self._host.ask(make))

    async def _answer(self, told: Any) -> Json:
        (room,) = await self._fields([told["room"]])
        return {"room": room, **({"warning": told["warning"]} if told.get("warning") else {})}


def _inviting(room: str, people: tuple[str, ...], *, more: bool = True) -> Callable[[int], Command]:
    return lambda n: inputs.RoomAct(n, "invite", room, people, more=more)


def _value(given: str | int | bool) -> str:
    """A setting as it is written into an event: text."""
    return str(int(given)) if isinstance(given, bool) else str(given)


def _check_rules(rules: str) -> None:
    if (length := len(rules.encode())) > MAX_TEXT:
        raise CommandError(
            "too_long", f"{length} bytes are too long for rules of {MAX_TEXT}", "shorten them, or send a file"
        )
