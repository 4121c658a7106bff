"""A new machine looks for its person: by a code that another one shows, or by the recovery key.

Decides: whom it asks, in which order and how often, what it believes of the answer, and what is
said where nobody answers. Does not know: files (main writes the identity down), or the handshake
(engine/pairing). Nothing here makes another person.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

import trio

from p2pchat.crypto.identity import SigningKey, bound_to, device_id, parse_bound_recovery
from p2pchat.crypto.pake import Code, parse_code
from p2pchat.crypto.primitives import ed25519_keypair, ed25519_sign, tag_bytes, x25519_public
from p2pchat.daemon.identity import IdentityFile
from p2pchat.daemon.pairing import Talk
from p2pchat.daemon.replacing import give_up
from p2pchat.engine import accounts, stating
from p2pchat.engine.links import Got
from p2pchat.engine.pairing import Opened, Pairing
from p2pchat.engine.ports import Entropy
from p2pchat.errors import CommandError, DialError, RemoteProtocolError
from p2pchat.net import lan as network
from p2pchat.net.lan import Lan
from p2pchat.paths import Profile
from p2pchat.platform import write_private_file
from p2pchat.wire.codec import decode, encode
from p2pchat.wire.limits import HANDSHAKE_S
from p2pchat.wire.messages.devices import TAG_JOIN, TAG_RECOVER, Admitted, Join, Joined, Recover
from p2pchat.wire.messages.link import Hello
from p2pchat.wire.messages.statements import DeviceKeys, SignedStatement

LOOK_S: Final = 30.0
"""How long machines are looked for. Announcements are heard within a second; a named one at once."""
AT_ONCE: Final = 8
"""Connections tried side by side: an office of 50 is asked in a few seconds."""

Place = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class Found:
    """Who this machine is from now on, and where the one was that said so."""

    identity: IdentityFile
    host: str
    port: int


class Looking:
    """One search. `kept`: writes the identity down; called before the other side is told."""

    def __init__(
        self,
        lan: Lan,
        entropy: Entropy,
        mono: Callable[[], float],
        *,
        code: Code | None = None,
        recovery: tuple[SigningKey, str] | None = None,
        keep: Callable[[IdentityFile], None],
    ) -> None:
        self._lan = lan
        self._entropy = entropy
        self._mono = mono
        self._code = code
        self._recovery = recovery
        self._keep = keep
        self._seed, self._secret = entropy.bytes(32), entropy.bytes(32)
        self._asked: dict[tuple[str, int], None] = {}
        self._answered = 0
        self._limit = trio.Semaphore(AT_ONCE)
        self._attempt = trio.Lock()
        """A machine with four addresses is asked on four connections, and the code tried on one."""
        self._found: Found | None = None
        self._refused: CommandError | None = None
        self._over = trio.Event()

    async def search(self, peers: Sequence[Place], timeout_s: float = LOOK_S) -> Found:
        """Ask those named first, and everybody who announces himself. CommandError if it was in vain."""
        with trio.move_on_after(timeout_s):
            async with trio.open_nursery() as nursery:
                for host, port in peers:
                    for one in (port,) if port is not None else tuple(network.PORTS):
                        nursery.start_soon(self._try, host, one)
                send, receive = trio.open_memory_channel[network.Notice](network.MAX_WAITING_NOTICES)
                await nursery.start(self._lan.discover, send, None)
                nursery.start_soon(self._sighted, receive, nursery)
                await self._over.wait()
                nursery.cancel_scope.cancel()
        if self._found is not None:
            return self._found
        if self._refused is not None:
            raise self._refused
        raise self._nobody()

    async def _sighted(
        self, notices: trio.MemoryReceiveChannel[network.Notice], nursery: trio.Nursery
    ) -> None:
        async for notice in notices:
            if isinstance(notice, network.Sighting):
                for host in notice.addresses:
                    nursery.start_soon(self._try, host, notice.port)

    async def _try(self, host: str, port: int) -> None:
        if (host, port) in self._asked:
            return
        self._asked[host, port] = None
        async with self._limit:
            try:
                stream = await self._lan.dial(host, port)
            except DialError:
                return
            self._answered += 1
            pairing = Pairing(self._secret, self._entropy)
            try:
                with trio.move_on_after(HANDSHAKE_S) as patience:
                    await self._ask(Talk(pairing, stream, self._mono), host, port)
                if patience.cancelled_caught:
                    self._failed(pairing)
            except (trio.BrokenResourceError, trio.ClosedResourceError, RemoteProtocolError):
                self._failed(pairing)
            finally:
                with trio.CancelScope(shield=True):
                    await stream.aclose()

    async def _ask(self, talk: Talk, host: str, port: int) -> None:
        talk.pairing.dial(self._code)
        if self._code is None:
            return await self._prove(talk, host, port)
        await talk.shown()
        async with self._attempt:
            if not self._over.is_set():
                talk.pairing.try_code()
                await self._prove(talk, host, port)

    def _failed(self, pairing: Pairing) -> None:
        """It is not the one: most are not. Where the code was tried it was the one attempt, however it
        ended: who may break connections would else have a guess on each."""
        if not pairing.tried:
            return
        if self._found is not None:
            self._over.set()
        elif pairing.reached == "answer":
            self._refuse(
                "key_mismatch",
                "the code was not accepted: it is mistyped, or not the one shown now",
                "show a new one there: `p2pchat device link`",
            )
        else:
            self._refuse(
                "failed",
                "the machine that shows the code hung up: the code is used up, nothing was linked",
                "show a new one there: `p2pchat device link`",
            )

    async def _prove(self, talk: Talk, host: str, port: int) -> None:
        opened = await talk.until(Opened)
        hello = decode(Hello, opened.hello)
        account = accounts.verify_hello(hello, opened.static)
        if self._recovery is not None:
            key = self._recovery[0]
            proof = ed25519_sign(key.expanded, tag_bytes(TAG_RECOVER) + opened.handshake_hash)
            await talk.say(Recover(key.public, proof))
        else:
            public, expanded = ed25519_keypair(self._seed)
            proof = ed25519_sign(expanded, tag_bytes(TAG_JOIN) + opened.handshake_hash)
            await talk.say(Join(public, proof))
        identity = None
        while identity is None:
            said = (await talk.until(Got)).message
            if not isinstance(said, Admitted):
                raise RemoteProtocolError("frame out of place")
            if self._recovery is None:
                identity = self._joined(said.statements, account)
            else:  # of several accounts that name this key one fits the paper
                identity = self._recovered(said.statements, *self._recovery)
        if self._found is not None:
            return
        self._keep(identity)
        self._found = Found(identity, host, port)
        try:
            if self._recovery is None:
                await talk.say(Joined())
            await talk.close("thanks")
        finally:
            self._over.set()

    def _joined(self, signed: tuple[SignedStatement, ...], teller: accounts.Account) -> IdentityFile:
        """The identity that these statements prove; of the account of who gave them."""
        account = accounts.fold([accounts.read_statement(one) for one in signed])
        public, _ = ed25519_keypair(self._seed)
        mine = account.devices.get(device_id(account.id, public))
        if (
            account.id != teller.id
            or mine is None
            or mine.revoked
            or mine.noise != x25519_public(self._secret)
        ):
            raise RemoteProtocolError("statements that do not make this machine one of theirs")
        return IdentityFile(1, self._seed, self._secret, b"", accounts.leading(signed, mine.id))

    def _recovered(
        self, signed: tuple[SignedStatement, ...], recovery: SigningKey, bound: str
    ) -> IdentityFile | None:
        """An identity added by the recovery key itself: whoever told the statements only told them. Somebody
        may have made up an account of his own that names this key; it will not fit the paper: None."""
        account = accounts.fold([accounts.read_statement(one) for one in signed])
        if account.recovery != recovery.public or bound_to(recovery, account.id) != bound:
            return None
        public, _ = ed25519_keypair(self._seed)
        keys = DeviceKeys(public, x25519_public(self._secret))
        added = stating.recovered(recovery.seed, account, keys)
        mine = device_id(account.id, public)
        return IdentityFile(
            1, self._seed, self._secret, b"", accounts.leading((*account.signed, added), mine)
        )

    def _refuse(self, kind: str, message: str, hint: str) -> None:
        if self._refused is None:
            self._refused = CommandError(kind, message, hint)
        self._over.set()

    def _nobody(self) -> CommandError:
        if not self._answered:
            return CommandError(
                "timeout",
                "no machine with p2pchat answered on this network",
                "name one that can be reached: --peer HOST",
            )
        if self._recovery is not None:
            return CommandError(
                "timeout",
                "nobody who answered knows a person with this recovery key",
                "one that has met you has to be up; name it: --peer HOST",
            )
        return CommandError(
            "timeout",
            "no machine that answered shows this code",
            "is it still shown there? on another network name the machine: --peer HOST",
        )


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a fresh profile was asked to become."""

    where: Profile
    code: Code | None
    recovery: tuple[SigningKey, str] | None
    replaces: bool = False

    @staticmethod
    def asked(args: Namespace, where: Profile, stdin: TextIO) -> Arrival | None:
        """What was asked for; its secret is the first line of `stdin`. CommandError `policy` where there
        is somebody already, `usage` if the secret has another form."""
        if not args.join and not args.recover:
            return None
        replaces = where.identity.exists()
        if replaces and not args.replace:
            raise CommandError(
                "policy",
                "this profile is somebody already",
                "name another folder with --home, or give this person up with --replace",
            )
        line = stdin.readline().strip()
        if args.join:
            return Arrival(where, parse_code(line), None, replaces)
        return Arrival(where, None, parse_bound_recovery(line), replaces)

    async def search(
        self, lan: Lan, entropy: Entropy, mono: Callable[[], float], peers: Sequence[Place]
    ) -> Found:
        """Look for the person, and write down who this machine is."""

        def keep(identity: IdentityFile) -> None:
            if self.replaces:
                give_up(self.where, accounts.read_statement(identity.statements[0]).account)
            write_private_file(self.where.identity, encode(identity))

        looking = Looking(lan, entropy, mono, code=self.code, recovery=self.recovery, keep=keep)
        return await looking.search(peers)
