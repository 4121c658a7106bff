"""From names heard on zeroconf's threads to notices for the daemon, at a bounded pace.

Decides: how many names may wait, how many are read a second, when a sighting is news.
Does not know: zeroconf (mdns hands in two functions), what makes a sighting (sightings),
or who reads the notices. A flood of 50,000 fake services costs bounded memory, and the
one real machine among them is still seen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import islice
from typing import Final, NoReturn

import trio

from p2pchat.net.interfaces import LocalAddress
from p2pchat.net.lan import Gone, NoticeBox, Sighting
from p2pchat.net.sightings import Facts, Word, label_of, sighting_of

MAX_NAMES: Final = 1024
"""Names waiting to be read, and as many waiting to be asked for: 50,000 fake ones cost 200 KB."""

MAX_SEEN: Final = 2048
"""Last sighting per label, so that a repeat is not told twice: four times an office of 500."""

REPEAT_S: Final = 5.0
"""An announcement heard again after this long is told again, though nothing in it changed:
its sender has just found the network (back), which is the moment to dial. An announcement
is three packets in half a second."""

NAMES_PER_STEP: Final = 32
STEP_S: Final = 0.016
"""At most 2,000 names a second are read from the cache, 32 at a time (≤ 3 ms of the loop)."""


class Names:
    """Names between zeroconf's threads and trio: bounded, the newest word about each.

    `note` may be called from any thread. When full the oldest name goes and `lost` says
    so, for the reader to look through the cache and to clear.
    """

    def __init__(self, limit: int = MAX_NAMES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: dict[str, Word] = {}
        self.lost = False

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, name: str, word: Word) -> None:
        """Remember the newest word about `name`; "look" adds nothing to facts that wait."""
        with self._lock:
            if word == "look" and isinstance(self._waiting.get(name), Facts):
                return
            self._waiting.pop(name, None)
            if len(self._waiting) >= self._limit:
                del self._waiting[next(iter(self._waiting))]
                self.lost = True
            self._waiting[name] = word

    def take(self, most: int) -> list[tuple[str, Word]]:
        """Up to `most` names with the word about them, the oldest first."""
        with self._lock:
            names = list(islice(self._waiting, most))
            return [(name, self._waiting.pop(name)) for name in names]


class Reader:
    """Reads the names of one session. `own` is our label, which is nobody else."""

    def __init__(self, local: tuple[LocalAddress, ...], own: str | None, box: NoticeBox) -> None:
        self.heard_self = False
        self.names = Names()
        self._local = local
        self._own = own
        self._box = box
        self._token = trio.lowlevel.current_trio_token()
        self._wake = trio.Event()
        self._incomplete: dict[str, None] = {}
        self._ask = trio.Event()
        self._seen: dict[str, tuple[Sighting, float]] = {}

    def note(self, name: str, word: Word) -> None:
        """A word about a full service name in lower case. Called from any thread."""
        self.names.note(name, word)
        try:
            self._token.run_sync_soon(self._woken, idempotent=True)
        except trio.RunFinishedError:
            return  # the daemon is gone; zeroconf's thread outlived it by a moment

    def _woken(self) -> None:
        self._wake.set()

    async def run(
        self, facts_of: Callable[[str], Facts | None], all_names: Callable[[], list[str]]
    ) -> NoReturn:
        """Turn words into notices until cancelled.

        `facts_of` looks a name up without waiting, None when anything is missing;
        `all_names` lists every name known and may block for milliseconds.
        """
        while True:
            self._wake = trio.Event()
            batch = self.names.take(NAMES_PER_STEP)
            if batch:
                for name, word in batch:
                    self._consider(name, word, facts_of)
                await trio.sleep(STEP_S if len(batch) == NAMES_PER_STEP else 0)
            elif self.names.lost:
                # a flood overflowed the table: read every name there still is, once
                self.names.lost = False
                names = await trio.to_thread.run_sync(all_names, abandon_on_cancel=True)
                for start in range(0, len(names), NAMES_PER_STEP):
                    for name in names[start : start + NAMES_PER_STEP]:
                        self._consider(name.lower(), "look", facts_of)
                    await trio.sleep(STEP_S)
            else:
                await self._wake.wait()

    def _consider(self, name: str, word: Word, facts_of: Callable[[str], Facts | None]) -> None:
        label = label_of(name)
        if label is None:
            return
        if label == self._own:
            self.heard_self = word != "gone"
        elif word == "gone":
            self._seen.pop(label, None)
            self._incomplete.pop(name, None)
            self._box.put(Gone(label))
        else:
            facts = facts_of(name) if word == "look" else word
            if facts is not None:
                self.tell(name, facts, heard_now=word != "look")
            elif label not in self._seen:
                self._incomplete.pop(name, None)
                if len(self._incomplete) >= MAX_NAMES:
                    del self._incomplete[next(iter(self._incomplete))]
                self._incomplete[name] = None
                self._ask.set()

    async def next_incomplete(self) -> str:
        """A name whose records are missing, to be asked for; waits for one. Several may wait."""
        while not self._incomplete:
            if self._ask.is_set():
                self._ask = trio.Event()
            await self._ask.wait()
        name = next(iter(self._incomplete))
        del self._incomplete[name]
        return name

    def tell(self, name: str, facts: Facts, *, heard_now: bool = False) -> None:
        """Pass a sighting on if the facts make one and it is news, or a repeat worth telling."""
        self._incomplete.pop(name, None)
        label = label_of(name)
        sighting = sighting_of(label, facts, self._local) if label is not None else None
        if label is None or sighting is None:
            return
        now = trio.current_time()
        known, told_at = self._seen.get(label, (None, now))
        if known == sighting and not (heard_now and now - told_at >= REPEAT_S):
            return
        self._seen.pop(label, None)
        if len(self._seen) >= MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        self._seen[label] = sighting, now
        self._box.put(sighting)
