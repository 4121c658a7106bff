"""Operations about what is my own: whom I trust, my machines, my settings.

Decides: how these decisions are asked of the engine and how they are told. Does not
know: sockets, or what a decision changes. A part of `queries`, split for its length.
"""

from __future__ import annotations

import os

import trio

from p2pchat.control.operations import fields, settings, settings_file
from p2pchat.control.operations.fields import Json
from p2pchat.daemon.hosting import Host, Params
from p2pchat.engine import inputs
from p2pchat.engine.overview import TrustView
from p2pchat.errors import CommandError
from p2pchat.ids import show


class Own:
    """Trust, machines and settings."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._changed: set[str] = set()  # settings whose flag has been overruled since the start

    # -- trust ---------------------------------------------------------------------------

    async def trust_show(self, params: Params) -> Json:
        return self._fields(self._host.looks.trust_view(params["target"]))

    def _fields(self, view: TrustView) -> Json:
        seen = {peer.device: peer.last_seen_ms for peer in self._host.looks.peer_views()}
        names = self._host.looks.directory()
        return {
            "account": show(view.account),
            "name": view.name,
            "trust": view.trust,
            "fingerprint": view.fingerprint,
            "safety_number": view.safety_number,
            "devices": [
                fields.device_fields(
                    names, device, this=False, last_seen_ms=seen.get(device), revoked=revoked
                )
                for device, revoked in view.devices
            ],
        }

    async def trust_verify(self, params: Params) -> Json:
        return await self.trust("verify", params, params["kind"], params["proof"])

    async def trust(self, verb: str, params: Params, kind: str = "", proof: str = "") -> Json:
        target = params["target"]
        told = await self._host.ask(lambda n: inputs.SetTrust(n, verb, target, kind, proof))
        return self._fields(self._host.looks.trust_view(told["account"]))

    async def sas(self, params: Params) -> Json:
        told = await self._host.ask(lambda n: inputs.StartSas(n, params["target"], params["timeout_s"]))
        return {"sas": told["sas"]}

    async def sas_confirm(self, params: Params) -> Json:
        told = await self._host.ask(lambda n: inputs.ConfirmSas(n, params["target"], params["digits"]))
        return self._fields(self._host.looks.trust_view(told["account"]))

    # -- my machines ---------------------------------------------------------------------

    async def devices(self, _: Params) -> Json:
        me, names = self._host.looks.me(), self._host.looks.directory()
        return {
            "devices": [
                fields.device_fields(
                    names,
                    one.device,
                    this=one.device == me.device,
                    last_seen_ms=one.last_seen_ms,
                    revoked=one.revoked,
                )
                for one in self._host.looks.own_devices()
            ]
        }

    async def recovery_key(self, _: Params) -> Json:
        key = self._host.recovery_key()
        if key is None:
            raise CommandError(
                "failed", "the recovery key was erased from this machine", "it is where you wrote it down"
            )
        return {"recovery_key": key}

    async def recovery_erase(self, _: Params) -> Json:
        erased = self._host.recovery_key() is not None
        if erased:
            await trio.to_thread.run_sync(self._host.erase_recovery_key)
        return {"erased": erased}

    # -- settings ------------------------------------------------------------------------

    async def config_show(self, _: Params) -> Json:
        return {"settings": settings_file.fields(await self.settings())}

    async def settings(self) -> list[settings_file.Effective]:
        """Every setting with the value that counts now."""
        sources = self._host.sources
        user = await trio.to_thread.run_sync(settings_file.load, sources.config)
        flags = {name: value for name, value in sources.flags.items() if name not in self._changed}
        return settings_file.resolve(flags, sources.environ, user, {})

    async def config_set(self, params: Params) -> Json:
        name = params["key"]
        value = settings.parse(name, params["value"], "config set")
        restart = not settings.BY_NAME[name].live
        if name == "name" and value:
            # The engine judges a name before it is written down.
            await self._host.ask(lambda n: inputs.Rename(n, str(value)))
        try:
            await trio.to_thread.run_sync(settings_file.write, self._host.sources.config, name, value)
        except OSError as error:
            where = os.fspath(self._host.sources.config)
            raise CommandError("archive", f"{where!r} cannot be written: {error.strerror}") from error
        if not restart:
            self._changed.add(name)
        now = await self.settings()
        if name in ("read_receipts", "file_auto_max"):
            values = {one.key: one.value for one in now}
            receipts, auto_max = values["read_receipts"] is True, int(str(values["file_auto_max"]))
            await self._host.ask(lambda n: inputs.Configure(n, receipts, auto_max))
        if name == "probe":
            wanted = {one.key: one.value for one in now}["probe"] is True
            await self._host.ask(lambda n: inputs.Search(n, wanted))
        chosen = [one for one in settings_file.fields(now) if one["key"] == name]
        return {"settings": chosen, "restart": restart or (name == "name" and not value)}
