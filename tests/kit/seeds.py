"""All chance of the simulators: one seed means one history.

Decides: how every stream of chance follows from a seed and a name, how trio's scheduler is
made repeatable, what a trace is, and how a failure says how to play it again. Does not
know: what is simulated.

Nothing here depends on the hash seed of the process: strings seed through SHA-512
(CPython, `random.seed` version 2). The two private names of trio stand here and nowhere
else (python-trio/trio issue 2675); `tests/sim/test_seeds.py` fails if they are renamed.
"""

from __future__ import annotations

import functools
import hashlib
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

import trio

from p2pchat.crypto import primitives
from p2pchat.engine import accounts

ALLOW: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"
DICE: Final = "_r"
"""Private names of `trio._core._run`: the switch, and the dice that shuffle ready tasks."""

VERIFIED_AT_MOST: Final = 1 << 16
"""Signatures remembered at once; a simulated machine checks a few thousand."""
_REMEMBERED: Final = (
    (primitives, "ed25519_verify"),
    (primitives, "x25519_usable"),
    (accounts, "read_statement"),
)


def dice(seed: int, *names: object) -> random.Random:
    """The stream of chance called `names` under `seed`; others are not moved by using it."""
    return random.Random("/".join(map(str, (seed, *names))))


class SeededEntropy:
    """Randomness of one run of one machine; fits engine.ports.Entropy."""

    def __init__(self, seed: int, *names: object) -> None:
        self._dice = dice(seed, "entropy", *names)

    def bytes(self, count: int) -> bytes:
        """`count` bytes."""
        return self._dice.randbytes(count)

    def random(self) -> float:
        """A float in [0, 1)."""
        return self._dice.random()


# -- trio ------------------------------------------------------------------------------------


def trio_core() -> ModuleType:
    """The module that holds both private names; AttributeError if trio has renamed one."""
    core: ModuleType = trio._core._run  # type: ignore[attr-defined]
    if not isinstance(getattr(core, ALLOW), bool) or not isinstance(getattr(core, DICE), random.Random):
        raise AttributeError(f"trio {trio.__version__} no longer has {ALLOW} and {DICE} as they were")
    return core


@contextmanager
def repeatable_trio(seed: int) -> Iterator[None]:
    """Inside, `trio.run` wakes tasks in an order that follows from `seed`."""
    core = trio_core()
    before = getattr(core, ALLOW), getattr(core, DICE).getstate()
    setattr(core, ALLOW, True)
    getattr(core, DICE).seed(seed)
    try:
        yield
    finally:
        setattr(core, ALLOW, before[0])
        getattr(core, DICE).setstate(before[1])


# -- signatures ------------------------------------------------------------------------------


@contextmanager
def remembered_signatures() -> Iterator[None]:
    """Inside, a signature that was checked once is not checked again, nor a statement read or a public
    key tried.

    Right only where all machines live in one process: the answer is a function of byte strings,
    so that remembering it changes nothing but the time it takes.
    """
    replaced: list[tuple[ModuleType, str, object]] = []
    for home, name in _REMEMBERED:
        real = getattr(home, name)
        remembered = functools.lru_cache(VERIFIED_AT_MOST)(real)
        for where, module in sorted(sys.modules.items()):
            if where.startswith("p2pchat.") and getattr(module, name, None) is real:
                replaced.append((module, name, real))
                setattr(module, name, remembered)
    try:
        yield
    finally:
        for module, name, real in replaced:
            setattr(module, name, real)


# -- traces ----------------------------------------------------------------------------------


class Trace:
    """What happened, in order: a hash of all of it, told aloud if wished."""

    def __init__(self, *, loud: bool = False) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.lines = 0
        self.loud = loud

    def note(self, at: float, who: str, what: str, raw: bytes = b"") -> None:
        """`who` met `what` at virtual time `at`; `raw` are the bytes it came in."""
        line = f"{at:.6f} {who} {what}"
        self._hash.update(line.encode())
        self._hash.update(raw)
        self.lines += 1
        if self.loud:
            print(line, flush=True)

    def digest(self) -> str:
        """Equal for equal histories."""
        return self._hash.hexdigest()


def replay(kind: str, seed: int, *more: str) -> str:
    """The one command that plays a failure again."""
    return " ".join(("python -m tests.sim.replay", kind, "--seed", str(seed), *more))


def fresh_seeds(count: int) -> list[int]:
    """Seeds nobody has tried: for the long set, which prints them."""
    source = random.SystemRandom()
    return [source.randrange(1_000_000, 1 << 40) for _ in range(count)]
