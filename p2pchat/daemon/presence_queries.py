"""Operations about availability, joined to the node and the settings.

Decides: what is asked of the engine and how it is told. Does not know: sockets, who sees whom, or
what follows from a choice. A part of `queries`, split for its length.
"""

from __future__ import annotations

from p2pchat.control.operations import presence_fields, settings
from p2pchat.control.operations.fields import Json
from p2pchat.daemon.hosting import Host, Params
from p2pchat.daemon.own import Own
from p2pchat.engine.presence_inputs import Active, SetPresence, TypeIn


class Presence:
    """How I am available."""

    def __init__(self, host: Host, own: Own) -> None:
        self._host = host
        self._own = own

    async def show(self, _: Params) -> Json:
        hours = next(one.value for one in await self._own.settings() if one.key == "quiet_hours")
        return presence_fields.presence_fields(
            self._host.looks.presence(), self._host.looks.directory(), str(hours)
        )

    async def choose(self, params: Params) -> Json:
        hours = params.pop("quiet_hours")
        if hours is not None:
            settings.parse("quiet_hours", hours, "--quiet-hours")  # nothing is changed if it is none
        state, people = params.pop("state") or None, tuple(params.pop("hide_from"))
        await self._host.ask(lambda n: SetPresence(n, state=state, hide_from=people, **params))
        if hours is not None:
            await self._own.config_set({"key": "quiet_hours", "value": hours})
        return await self.show({})

    async def active(self, _: Params) -> Json:
        await self._host.ask(Active)
        return {}

    async def typing(self, params: Params) -> Json:
        await self._host.ask(lambda n: TypeIn(n, params["target"], params["on"]))
        return {}

    def now(self) -> str:
        """In one word, for `status`."""
        mine = self._host.looks.presence()
        return mine.shown if mine.shown != "offline" else "invisible"
