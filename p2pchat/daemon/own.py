"""Operations about what is my own: whom I trust, my machines, my settings.

Decides: how these decisions are asked of the engine and how they are told. Does not
know: sockets, or what a decision changes. A part of `queries`, split for its length.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from p2pchat.control.operations import fields, settings, settings_file
from p2pchat.control.operations.fields import Json
from p2pchat.control.operations.settings import Setting
from p2pchat.daemon.hosting import Host, Params
from p2pchat.engine import inputs, own
from p2pchat.engine.device_inputs import OwnSetting, RenameDevice, RevokeDevice, SettingTaken
from p2pchat.engine.inputs import Tell
from p2pchat.engine.overview import TrustView
from p2pchat.errors import CommandError, SettingsError
from p2pchat.ids import show

log = logging.getLogger(__name__)

TOLD: Final = 64
"""Settings that may wait to be written down."""


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

    async def link(self, _: Params) -> Json:
        code, until_ms = self._host.show_code()
        return {"code": code, "expires": fields.time(until_ms)}

    async def link_wait(self, params: Params) -> Json:
        return {"device": await self._host.code_used(params["code"])}

    async def revoke(self, params: Params) -> Json:
        told = await self._host.ask(lambda n: RevokeDevice(n, params["device"]))
        return await self._device(told["device"])

    async def rename(self, params: Params) -> Json:
        told = await self._host.ask(lambda n: RenameDevice(n, params["device"], params["name"]))
        return await self._device(told["device"])

    async def _device(self, device: str) -> Json:
        listed = (await self.devices({}))["devices"]
        return next(one for one in listed if one["device"] == device)

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
        await self._write_down(name, value)
        if not restart:
            self._changed.add(name)
        if name in own.SETTINGS:
            await self._host.ask(lambda n: OwnSetting(n, name, params["value"]))
        now = await self._heed(name)
        chosen = [one for one in settings_file.fields(now) if one["key"] == name]
        return {"settings": chosen, "restart": restart or (name == "name" and not value)}

    async def adopt(self, name: str, text: str) -> None:
        """Another machine of mine has set something that is mine and not the machine's: write it down.
        What a flag or the environment says here goes on to count here."""
        try:
            value = settings.parse(name, text, "another machine")
            user = await trio.to_thread.run_sync(settings_file.load, self._host.sources.config)
            # The name itself comes as everybody's does.
            if user.get(name) != value and not (name == "name" and name not in user):
                await self._write_down(name, value)
                await self._heed(name)
            await self._host.ask(lambda n: SettingTaken(n, name, text))
        except (CommandError, SettingsError) as error:
            log.warning("a setting of another machine of ours was not taken over: %s", error)

    async def _write_down(self, name: str, value: Setting) -> None:
        try:
            await trio.to_thread.run_sync(settings_file.write, self._host.sources.config, name, value)
        except OSError as error:
            where = os.fspath(self._host.sources.config)
            raise CommandError("archive", f"{where!r} cannot be written: {error.strerror}") from error

    async def _heed(self, name: str) -> list[settings_file.Effective]:
        """Have the engine go by a setting as it is now; all settings."""
        now = await self.settings()
        if name in ("read_receipts", "file_auto_max"):
            values = {one.key: one.value for one in now}
            receipts, auto_max = values["read_receipts"] is True, int(str(values["file_auto_max"]))
            await self._host.ask(lambda n: inputs.Configure(n, receipts, auto_max))
        if name == "quiet_hours":
            self._host.quiet_hours(next(str(one.value) for one in now if one.key == name))
        if name == "probe":
            wanted = {one.key: one.value for one in now}["probe"] is True
            await self._host.ask(lambda n: inputs.Search(n, wanted))
        return now


async def follow(
    tells: dict[object, Callable[[Tell], None]], adopt: Callable[[str, str], Awaitable[None]]
) -> None:
    """Write down what other machines of ours have set, as it is told."""
    send, receive = trio.open_memory_channel[tuple[str, str]](TOLD)

    def heard(tell: Tell) -> None:
        if tell.type == "setting" and isinstance(tell.subject, tuple):
            try:
                send.send_nowait(tell.subject)
            except trio.WouldBlock:
                log.warning("settings of another machine come too fast")

    tells[send] = heard
    try:
        async for name, text in receive:
            await adopt(name, text)
    finally:
        del tells[send]
