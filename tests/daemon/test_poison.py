"""A throw at input k for every k, under the real node, archive and links.

The input is handled first, so that memory and transaction are half changed, and then it
fails. Whatever it was: nothing said is lost or doubled, and both talk on afterwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from p2pchat.daemon.core import Daemon
from p2pchat.engine import rooms
from p2pchat.engine.inputs import Change, Effect, FromPeer, Input
from p2pchat.engine.node import Node
from p2pchat.errors import ArchiveError, CommandError, LocalProtocolError, RemoteProtocolError
from p2pchat.model import Now
from p2pchat.store.ledger import Ledger, open_ledger
from p2pchat.wire.messages.link import Ping
from tests.daemon.house import House, clock, house

WORDS = {"ann": ("one", "two", "three"), "bob": ("four", "five")}


class Poison:
    """Throws once, at input number `at` of the nodes it is put into."""

    def __init__(self, at: int, error: Callable[[], Exception]) -> None:
        self.at = at
        self.error = error
        self.count = 0
        self.hit = False

    def into(self, node: Node) -> None:
        """From now on every input of `node` is counted."""
        honest = node.handle

        def handle(event: Input, now: Now) -> list[Effect]:
            effects = honest(event, now)
            self.count += 1
            if self.count == self.at and not self.hit:
                self.hit = True
                raise self.error()
            return effects

        node.handle = handle  # type: ignore[method-assign]

    def into_daemon(self, daemon: Daemon) -> None:
        """Its node, and those that are built after a failure."""
        make = daemon.runner._source

        def source() -> tuple[Node, Ledger]:
            node, ledger = make()
            self.into(node)
            return node, ledger

        daemon.runner._source = source
        self.into(daemon.runner.node)


async def say(h: House, who: str, whom: str, text: str) -> None:
    """As a command does it: under a key, again if the daemon met an error of its own."""
    for _ in range(40):
        try:
            await h.say(who, whom, text, key=f"key-{text}")
        except CommandError as error:
            if error.kind not in ("internal", "no_such_target", "disk_full"):
                raise
            await trio.sleep(0.5)
        else:
            return
    raise AssertionError(f"{who} could not say {text!r}")


def texts(h: House, who: str) -> list[str]:
    """Everything in somebody's archive, sorted."""
    rows = h.daemons[who].runner.ledger.connection.execute("SELECT text FROM message ORDER BY text")
    return [row[0] for row in rows]


async def talk(tmp_path: Path, poison: Poison) -> None:
    """Meet, speak, hear."""
    async with house() as h:
        await h.up("ann", lambda: open_ledger(tmp_path / "ann.db"))
        bob = await h.up("bob", lambda: open_ledger(tmp_path / "bob.db"))
        poison.into_daemon(bob)
        await h.until(lambda: h.connected("ann") == 1 and h.connected("bob") == 1, 60)
        for who, words in WORDS.items():
            for word in words:
                await say(h, who, "bob" if who == "ann" else "ann", word)
        everything = sorted(word for words in WORDS.values() for word in words)
        await h.until(lambda: texts(h, "ann") == texts(h, "bob") == everything, 120)
        await say(h, "bob", "ann", "six")
        await h.until(lambda: "six" in texts(h, "ann"), 120)
        assert texts(h, "bob") == sorted([*everything, "six"])
        remembers_what_the_archive_says(h.daemons["bob"])


def remembers_what_the_archive_says(daemon: Daemon) -> None:
    """Whatever was undone, the node's memory is what a fresh one reads."""
    node = daemon.runner.node
    fresh = Node(node.me, node.ledger, node.entropy, name=node.name).context(clock())
    ours = node.context(clock())
    for name in ("accounts", "owner", "prekeys", "profiles", "trust", "own_prekeys", "known_rooms", "texts"):
        assert getattr(ours.cache, name) == getattr(fresh.cache, name), name
    for room in fresh.cache.known_rooms:
        read, known = rooms.room(fresh, room), rooms.room(ours, room)
        for name in ("row", "accounts", "heads", "epochs", "have", "read", "their_have", "awaited", "forks"):
            assert getattr(known, name) == getattr(read, name), name


KINDS: dict[str, Callable[[], Exception]] = {
    "theirs": lambda: RemoteProtocolError("poison"),
    "ours": lambda: LocalProtocolError("poison"),
    "bug": lambda: ZeroDivisionError("poison"),
    "archive": lambda: ArchiveError("poison"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_throw_at_any_input_spoils_nothing_else(
    kind: str, tmp_path: Path, autojump_clock: MockClock, full: bool
) -> None:
    step = 1 if full or kind in ("theirs", "bug") else 4  # those two are undone like one of these
    for at in itertools.count(1, step):
        place = tmp_path / f"{kind}-{at}"
        place.mkdir()
        poison = Poison(at, KINDS[kind])
        await talk(place, poison)
        if not poison.hit:  # the talk was over before: how many receipts share an input differs
            break
    assert at > 10


async def test_what_is_refused_before_it_changes_anything_costs_no_memory(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with house() as h:
        await h.up("ann", lambda: open_ledger(tmp_path / "ann.db"))
        bob = await h.up("bob", lambda: open_ledger(tmp_path / "bob.db"))
        await h.until(lambda: h.connected("ann") == 1 and h.connected("bob") == 1, 60)
        await h.say("bob", "ann", "one")
        await h.until(lambda: texts(h, "ann") == ["one"], 60)
        memory, known = bob.runner.node.cache, bob.runner.node.cache.rooms
        with pytest.raises(CommandError, match="nobody"):
            await h.say("bob", "nobody", "two")
        with pytest.raises(CommandError):
            await bob.runner.ask(lambda r: Change(r, "edit", "abcdef", "three"))
        link = next(iter(bob.runner.node.live.links))
        bob.runner.post(FromPeer(link, Ping(1)))
        await h.until(lambda: h.connected("bob") == 0, 60)
        assert bob.runner.node.cache is memory
        assert bob.runner.node.cache.rooms is known
        remembers_what_the_archive_says(bob)
        await h.until(lambda: h.connected("bob") == 1, 600)
        await h.say("bob", "ann", "four")
        await h.until(lambda: texts(h, "ann") == ["four", "one"], 60)
