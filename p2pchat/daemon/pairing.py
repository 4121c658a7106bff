"""Linking machines: the code that is shown, and who comes with it.

Decides: that one code is shown at a time, how long it holds, that it is tried once, and what
the new machine is given (docs/protocol.md, "A second machine"); and that who holds an account's
recovery key gets its statements. Does not know: the handshake (engine/pairing), or what
statements are written (engine/machines).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio

from p2pchat.crypto.pake import Code, make_code
from p2pchat.crypto.primitives import ed25519_verify, tag_bytes
from p2pchat.engine.accounts import Account
from p2pchat.engine.context import Context
from p2pchat.engine.device_inputs import AddDevice
from p2pchat.engine.frames import FRAME_BYTES
from p2pchat.engine.inputs import Command
from p2pchat.engine.links import Ended, Got
from p2pchat.engine.overview import hello
from p2pchat.engine.pairing import NO_CODE, WRONG_CODE, Opened, Pairing, Shown
from p2pchat.engine.ports import Entropy
from p2pchat.errors import CommandError, RemoteProtocolError
from p2pchat.net.lan import Stream
from p2pchat.wire.codec import encode, portions
from p2pchat.wire.limits import HANDSHAKE_S, MAX_PREAUTH_FRAME
from p2pchat.wire.messages.devices import TAG_JOIN, TAG_RECOVER, Admitted, Join, Joined, Recover
from p2pchat.wire.messages.statements import GENESIS, SignedStatement

E = TypeVar("E", Opened, Got)

log = logging.getLogger(__name__)

CODE_S: Final = 600.0
"""How long a code is shown."""
AFTERWARDS_S: Final = 30.0
"""What the new machine may take to write down who it is."""

RECOVERABLE: Final = 8
"""Accounts told of to who asks with a recovery key: one of them is his."""

AGAIN: Final = "show another: `p2pchat device link`"


class Linking:
    """A code that is shown, and how it ended."""

    def __init__(self, code: Code, until: float) -> None:
        self.shown = Shown(code, until)
        self.over = trio.Event()
        self.device = ""
        self.added = ""
        """The machine that was stated to be ours, before it is known whether it has heard."""
        self.error: CommandError | None = None

    def end(self, *, device: str = "", error: CommandError | None = None) -> None:
        """It was used, or cannot be any more; the first word counts. Whoever was linked and broke off is
        named all the same: he has what makes him one of us."""
        if not self.over.is_set():
            self.shown.spent = True
            if error is not None and self.added:
                short = self.added[:16]
                error = CommandError(
                    "failed",
                    f"machine {short} was linked, and broke off before it had said that it knows",
                    f"if it is not yours, or not up soon: `p2pchat device revoke {short}`",
                )
            self.device, self.error = device, error
            self.over.set()


class Pairings:
    """Codes and connections of one daemon."""

    def __init__(
        self,
        *,
        noise_secret: Callable[[], bytes],
        entropy: Entropy,
        mono: Callable[[], float],
        look: Callable[[], Context],
        ask: Callable[[Callable[[int], Command]], Awaitable[Any]],
    ) -> None:
        self._noise_secret = noise_secret
        self._entropy = entropy
        self._mono = mono
        self._look = look
        self._ask = ask
        self._linking: Linking | None = None

    # -- the person's side -----------------------------------------------------------------

    def show(self) -> Linking:
        """A new code; one that is shown already ends."""
        if self._linking is not None:
            self._linking.end(error=CommandError("failed", "another code was shown meanwhile", ""))
        self._linking = Linking(make_code(self._entropy.bytes), self._mono() + CODE_S)
        return self._linking

    async def wait(self, code: str) -> str:
        """Until the code that is shown was used; the new machine's id. CommandError if it was in vain.

        Who stops waiting takes the code back.
        """
        linking = self._linking
        if linking is None or linking.shown.code.text != code:
            raise CommandError("failed", "that code is not shown here", AGAIN)
        try:
            with trio.move_on_after(max(0.0, linking.shown.until - self._mono())):
                await linking.over.wait()
            if linking.shown.spent:  # somebody is at it
                with trio.move_on_after(HANDSHAKE_S + AFTERWARDS_S):
                    await linking.over.wait()
            linking.end(error=CommandError("timeout", "the code was not used in time", AGAIN))
        finally:
            linking.end(error=CommandError("failed", "the code was taken back", AGAIN))
            if self._linking is linking:
                self._linking = None
        if linking.error is not None:
            raise linking.error
        return linking.device

    # -- the other's side ------------------------------------------------------------------

    async def take(self, preface: bytes, rest: bytes, stream: Stream) -> None:
        """A connection by somebody who has no statements yet. The caller closes it."""
        linking = self._linking
        pairing = Pairing(self._noise_secret(), self._entropy)
        talk = Talk(pairing, stream, self._mono)
        try:
            with trio.fail_after(HANDSHAKE_S):
                shown = linking.shown if linking is not None else None
                pairing.answer(preface, encode(hello(self._look())), shown, rest, self._mono())
                opened = await talk.until(Opened)
                asked = await talk.until(Got)
            with trio.fail_after(AFTERWARDS_S):
                await self._serve(talk, opened, asked.message, linking)
        except trio.TooSlowError:
            log.info("a machine that wanted to be linked was too slow")
            self._ended(linking, pairing, "the other machine stopped answering")
        except RemoteProtocolError as error:
            log.info("a machine was not linked: %s", error.reason)
            wrong = "somebody tried another code" if error.reason == WRONG_CODE else error.reason
            self._ended(linking, pairing, wrong)
        except CommandError as error:
            if linking is not None and pairing.tried:
                linking.end(error=error)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._ended(linking, pairing, "the connection to the other machine broke")

    def _ended(self, linking: Linking | None, pairing: Pairing, why: str) -> None:
        if linking is not None and pairing.tried:  # what others do meanwhile ends nothing
            linking.end(
                error=CommandError("failed", f"{why}: the code is used up, nothing was linked", AGAIN)
            )

    async def _serve(self, talk: Talk, opened: Opened, message: object, linking: Linking | None) -> None:
        match message:
            case Join(signing, signature) if opened.by_code and linking is not None:
                if linking.over.is_set():  # taken back, or too late
                    raise RemoteProtocolError(NO_CODE)
                proof = tag_bytes(TAG_JOIN) + opened.handshake_hash
                if not ed25519_verify(signing, proof, signature):
                    raise RemoteProtocolError("a key its owner does not prove")
                told = await self._ask(lambda n: AddDevice(n, signing, opened.static))
                linking.added = told["device"]
                await talk.say(Admitted(told["statements"]))
                done = await talk.until(Got)
                if not isinstance(done.message, Joined):
                    raise RemoteProtocolError("frame out of place")
                linking.end(device=told["device"])
                await talk.close("linked")
            case Recover(recovery, signature) if not opened.by_code:
                proof = tag_bytes(TAG_RECOVER) + opened.handshake_hash
                if not ed25519_verify(recovery, proof, signature):
                    raise RemoteProtocolError("a key its owner does not prove")
                known = recoverable(self._look(), recovery)
                for signed in known:
                    await talk.say(Admitted(signed))
                await talk.close("told" if known else "unknown")
            case _:
                raise RemoteProtocolError("frame out of place")


def recoverable(ctx: Context, recovery: bytes) -> list[tuple[SignedStatement, ...]]:
    """Statements of accounts whose genesis names that key, a frame of each. Anybody can name it in a genesis
    of his own, so there may be several: those known longest come first."""
    found = [account for account in ctx.cache.accounts.values() if account.recovery == recovery]
    trust = ctx.cache.trust

    def known(account: Account) -> tuple[bool, int]:
        row = trust.get(account.id)
        return row is None or not row.verified, row.first_seen_ms if row is not None else ctx.now.wall_ms

    frames = []
    for account in sorted(found, key=known)[:RECOVERABLE]:
        first = sorted(account.acts, key=lambda act: act.kind != GENESIS and act.by != recovery)
        frames.append(next(portions((act.signed for act in first), FRAME_BYTES)))
    return frames


class Talk:
    """A pairing on its stream."""

    def __init__(self, pairing: Pairing, stream: Stream, mono: Callable[[], float]) -> None:
        self.pairing = pairing
        self._stream = stream
        self._mono = mono

    async def shown(self) -> None:
        """Until the other machine shows a code of this slot; RemoteProtocolError if it does not."""
        while self.pairing.state == "second":
            await self._hear()
        if self.pairing.state != "shown":
            raise RemoteProtocolError(NO_CODE)

    async def until(self, kind: type[E]) -> E:
        """The next event, which has to be of this kind; RemoteProtocolError if it is another."""
        while True:
            event = self.pairing.next_event()
            if isinstance(event, kind):
                return event
            if isinstance(event, Ended):
                await self._flush()
                raise RemoteProtocolError(event.reason)
            if event is not None:
                raise RemoteProtocolError("frame out of place")
            await self._hear()

    async def _hear(self) -> None:
        await self._flush()
        data = await self._stream.receive_some(MAX_PREAUTH_FRAME)
        if data:
            self.pairing.receive_data(data, self._mono())
        else:
            self.pairing.end_of_stream()

    async def say(self, message: Join | Recover | Admitted | Joined) -> None:
        """Send a record."""
        self.pairing.send(message)
        await self._flush()

    async def close(self, reason: str) -> None:
        """Say CLOSE."""
        self.pairing.close(reason)
        await self._flush()

    async def _flush(self) -> None:
        data = self.pairing.data_to_send()
        if data:
            await self._stream.send_all(data)
