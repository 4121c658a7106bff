"""Two link machines back to back, for tests: bytes go where the test sends them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pchat.crypto.primitives import ed25519_keypair, x25519_public
from p2pchat.engine.accounts import device_id, make_genesis, read_statement
from p2pchat.engine.links import OPEN_OFFICE_KEY, Established, Event, Got, LinkMachine
from p2pchat.ids import AccountId, DeviceId
from p2pchat.wire.codec import Record, encode
from p2pchat.wire.messages.link import Hello
from tests.engine.play import Dice

T0 = 98.0  # one of the moments at which all links of a daemon ping


@dataclass(frozen=True)
class Person:
    """Keys of one machine, and the hello that proves them."""

    name: str
    account: AccountId
    device: DeviceId
    noise_secret: bytes
    hello: Hello


def person(name: str) -> Person:
    """Always the same machine for the same name."""
    dice = Dice(f"person {name}")
    signing, noise, recovery = dice.bytes(32), dice.bytes(32), dice.bytes(32)
    public, _ = ed25519_keypair(signing)
    genesis = make_genesis(signing, x25519_public(noise), ed25519_keypair(recovery)[0])
    account = read_statement(genesis).account
    device = device_id(account, public)
    return Person(name, account, device, noise, Hello(1, device, (genesis,), (), 26700, 1_700_000_000_000))


def machine(
    who: Person,
    *,
    initiator: bool,
    psks: Sequence[bytes] = (OPEN_OFFICE_KEY,),
    now: float = T0,
    raw_hello: bytes | None = None,
    purpose: str = "chat",
    **changed: object,
) -> LinkMachine:
    """A machine of `who`; `changed` replaces fields of its hello."""
    hello = replace_hello(who.hello, **changed)
    return LinkMachine(
        initiator=initiator,
        noise_secret=who.noise_secret,
        hello=encode(hello) if raw_hello is None else raw_hello,
        psks={"office": tuple(psks)},
        entropy=Dice(f"{who.name} {initiator}"),
        now=now,
        purpose=purpose,
    )


def replace_hello(hello: Hello, **changed: object) -> Hello:
    """`hello` with other fields."""
    fields = {name: getattr(hello, name) for name in hello.__struct_fields__}
    return Hello(**{**fields, **changed})  # type: ignore[arg-type]


def events(of: LinkMachine) -> list[Event]:
    """Everything that happened since the last call."""
    found: list[Event] = []
    while (event := of.next_event()) is not None:
        found.append(event)
    return found


def got(of: LinkMachine) -> list[Record]:
    """The records among `events`."""
    return [event.message for event in events(of) if isinstance(event, Got)]


class Pair:
    """Alice dials Bob. `tape` holds what each has said so far, in pieces."""

    def __init__(self, alice: LinkMachine | None = None, bob: LinkMachine | None = None) -> None:
        self.alice = alice or machine(person("alice"), initiator=True)
        self.bob = bob or machine(person("bob"), initiator=False)
        self.tape: list[tuple[str, bytes]] = []

    def carry(self, now: float = T0) -> None:
        """Until neither has anything more to say."""
        moved = True
        while moved:
            moved = False
            for name, end, far in (("alice", self.alice, self.bob), ("bob", self.bob, self.alice)):
                data = end.data_to_send()
                if data:
                    moved = True
                    self.tape.append((name, data))
                    far.receive_data(data, now)

    def meet(self) -> tuple[Established, Established]:
        """The handshake; what each learned of the other."""
        self.alice.start()
        self.carry()
        (of_alice,), (of_bob,) = events(self.alice), events(self.bob)
        assert isinstance(of_alice, Established)
        assert isinstance(of_bob, Established)
        return of_alice, of_bob


def met() -> Pair:
    """A pair whose handshake is over."""
    pair = Pair()
    pair.meet()
    return pair


__all__ = ["T0", "Pair", "Person", "events", "got", "machine", "met", "person", "replace_hello"]
