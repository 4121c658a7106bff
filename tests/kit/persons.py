"""Simulated people: accounts and the keys of their machines, from a seed and a name.

Decides: how keys follow from chance. Does not know: what machines do with them.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pchat.crypto.identity import generate_device, generate_recovery
from p2pchat.engine.accounts import device_id, make_genesis, make_statement, read_statement
from p2pchat.engine.context import Me
from p2pchat.ids import AccountId
from p2pchat.wire.messages.statements import ADD, DeviceKeys, SignedStatement
from tests.kit.seeds import SeededEntropy


@dataclass(frozen=True, slots=True)
class Person:
    """An account and its machines' keys."""

    name: str
    machines: tuple[Me, ...]
    noise_secrets: tuple[bytes, ...]

    @property
    def account(self) -> AccountId:
        return self.machines[0].account


def make_person(seed: int, name: str, machines: int) -> Person:
    """Keys of a person; every further machine is added by the first, before time begins."""
    entropy = SeededEntropy(seed, "keys", name)
    first, recovery = generate_device(entropy.bytes), generate_recovery(entropy.bytes)
    genesis = make_genesis(first.signing_seed, first.noise.public, recovery.public)
    act = read_statement(genesis)
    signed: tuple[SignedStatement, ...] = (genesis,)
    keys, last = [first], act.id
    for _ in range(1, machines):
        one = generate_device(entropy.bytes)
        subject = DeviceKeys(one.signing.public, one.noise.public)
        added = make_statement(first.signing_seed, act.account, (last,), ADD, subject)
        last = read_statement(added).id
        signed = (*signed, added)
        keys.append(one)
    return Person(
        name,
        tuple(
            Me(
                act.account, device_id(act.account, one.signing.public), one.signing_seed,
                one.signing.expanded, one.noise.public, signed,
            )
            for one in keys
        ),
        tuple(one.noise_secret for one in keys),
    )  # fmt: skip
