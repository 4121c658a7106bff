"""Two peers find out which items only one of them has.

Decides: what to say first, what to answer, and which ids the asking side has or
needs: range-based set reconciliation as negentropy version 1 has it, and with the
same `list_below` byte for byte what its reference says. Does not know: the bytes of
messages (wire/negentropy), where items come from (items), what is then done about a
difference (sync), or who may ask.

A range whose fingerprints differ is split into 16 parts of equal count, or listed if
it has few items: fewer than 32 in the first message, as in the reference, and than
`list_below` in answers (sync takes 64). Each message stands alone: the machine keeps nothing
between two, and items may change in between.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Final

from p2pchat.engine.items import Items
from p2pchat.errors import LocalProtocolError
from p2pchat.ids import ID_BYTES
from p2pchat.wire.limits import MAX_RECONCILE_FRAME, MAX_RECONCILE_WORK
from p2pchat.wire.negentropy import (
    FINGERPRINT_BYTES,
    INFINITY,
    VERSION,
    Bound,
    Fingerprint,
    IdList,
    Range,
    Skip,
    Writer,
    decode,
    varint,
    version,
)

BUCKETS: Final = 16
LIST_BELOW: Final = 2 * BUCKETS
"""Ranges with fewer items are listed, not split."""
MIN_FRAME_BYTES: Final = 4096
_FRAME_RESERVE: Final = 200  # the reference stops this far before the limit; the tail range fits in it
_LEAST_COMPARED: Final = 4096  # items of a list that are always compared, so that every message leads on


@dataclass(frozen=True, slots=True)
class Step:
    """What one answer told the asking side.

    `reply` is the next message, None when all is known (`done`). `have` are ids only
    we have, `need` ids only they have; over a run an id can come twice, and where a
    step was cut short `need` can name ids that are here: check before asking for them.
    """

    reply: bytes | None
    have: tuple[bytes, ...]
    need: tuple[bytes, ...]

    @property
    def done(self) -> bool:
        return self.reply is None


def fingerprint(total: int, count: int) -> bytes:
    """16 bytes standing for `count` ids of sum `total` (mod 2^256)."""
    return hashlib.sha256(total.to_bytes(ID_BYTES, "little") + varint(count)).digest()[:FINGERPRINT_BYTES]


class Reconciler:
    """One side of a reconciliation over `items`."""

    def __init__(
        self,
        items: Items,
        frame_limit: int = MAX_RECONCILE_FRAME,
        *,
        initiator: bool,
        work: int = MAX_RECONCILE_WORK,
        list_below: int = LIST_BELOW,
    ) -> None:
        """`frame_limit`: greatest message in bytes, 0 (none) or at least 4096.

        `list_below`: in answers, ranges with fewer items are listed; more than the reference's
        saves a round where one side has a few items more, and peers need not agree on it.

        `work`: items read per message after which the rest of the range is put off to
        the next message; at least one range is always dealt with.
        """
        if frame_limit and frame_limit < MIN_FRAME_BYTES:
            raise LocalProtocolError(f"a negentropy frame limit of {frame_limit} bytes is too small")
        self.items = items
        self.frame_limit = frame_limit
        self.initiator = initiator
        self.work = work
        self.list_below = list_below

    def initiate(self, since_ms: int = 0, until_ms: int = INFINITY.ms) -> bytes:
        """The first message, about items of `since_ms` ≤ time < `until_ms`."""
        if not self.initiator:
            raise LocalProtocolError("the answering side cannot initiate")
        first = _Answer(self, LIST_BELOW)  # mostly both are equal: no more than the reference says
        since = Bound(since_ms, b"")
        until = INFINITY if until_ms >= INFINITY.ms else Bound(until_ms, b"")
        if since_ms:
            first.out.skip(since)
        first.split(self.items.lower_bound(since), self.items.lower_bound(until), until)
        return first.out.message()

    def reconcile(self, message: bytes) -> Step:
        """What the other side's answer tells us; RemoteProtocolError if it is malformed."""
        if not self.initiator:
            raise LocalProtocolError("the answering side only responds")
        answer = _Answer(self, self.list_below).answer(decode(message))
        said = answer.out.message()
        return Step(said if len(said) > 1 else None, tuple(answer.have), tuple(answer.need))

    def respond(self, message: bytes) -> bytes:
        """The answer to the asking side; RemoteProtocolError if its message is malformed.

        To another version of the protocol the answer is the version byte of ours.
        """
        if self.initiator:
            raise LocalProtocolError("the asking side does not respond")
        if version(message) != VERSION:
            return Writer().message()
        return _Answer(self, self.list_below).answer(decode(message)).out.message()


class _Answer:
    """The answer to one message, range by range: what to say, and what was learned."""

    def __init__(self, side: Reconciler, list_below: int) -> None:
        self.out = Writer()
        self.have: list[bytes] = []
        self.need: list[bytes] = []
        self._items = side.items
        self._initiator = side.initiator
        self._frame_limit = side.frame_limit
        self._list_below = list_below
        self._stop_at = side.items.work + side.work
        self._start = 0  # index of the first item of the next range
        self._said = 0  # index up to which the bounds written so far reach
        self._skipped: Bound | None = None  # end of a skip that is not written yet

    def answer(self, ranges: list[Range]) -> _Answer:
        """Deal with ranges until all are done, or the rest is put off by a tail."""
        for part, following in zip_longest(ranges, ranges[1:]):
            if isinstance(part, Skip):
                # only the last of several counts; a skip alone leads nowhere, so never stop there
                if not isinstance(following, Skip):
                    self._pass(self._items.lower_bound(part.upper), part.upper)
            elif self._range(part):
                break
            elif following is not None and self._items.work > self._stop_at:
                self._put_off()
                break
        return self

    def _range(self, part: Fingerprint | IdList) -> bool:
        """Deal with one range; True if a tail was said and nothing may follow."""
        end = self._items.lower_bound(part.upper)
        match part:
            case Fingerprint(upper, digest):
                if digest == self._digest(self._start, end):
                    self._pass(end, upper)
                else:
                    return self._differ(end, upper, digest)
            case IdList(upper, ids) if self._initiator:
                return self._compare(end, upper, ids)
            case IdList(upper, _):
                return self._list(end, upper)
        return False

    def _pass(self, end: int, upper: Bound) -> None:
        self._start = end
        self._skipped = upper

    def _say_skip(self) -> None:
        if self._skipped is not None:
            self.out.skip(self._skipped)
            self._skipped = None
            self._said = self._start

    def _differ(self, end: int, upper: Bound, digest: bytes) -> bool:
        """Their fingerprint is not ours: say more, or put it off if the message is full."""
        size, said = len(self.out), self._said
        self._say_skip()
        self.split(self._start, end, upper)
        if self._full(len(self.out)):
            self.out.cut(size)
            # As the reference does: the tail starts at the last bound kept, its fingerprint
            # after this range, so that it differs and the other side splits it again. But if
            # that is just what they said of this range (an empty end), they would take both
            # for equal and end with our items unknown to them: then say what is really there.
            tail = self._digest(end, len(self._items))
            if tail == digest:
                tail = self._digest(said, len(self._items))
            self.out.fingerprint(INFINITY, tail)
            return True
        self._start = self._said = end
        return False

    def _compare(self, end: int, upper: Bound, ids: tuple[bytes, ...]) -> bool:
        """Hold our items against their list, as far as the work allows."""
        allowed = max(self._stop_at - self._items.work, _LEAST_COMPARED)
        stop = min(end, self._start + allowed)
        theirs = dict.fromkeys(ids)  # a set that keeps their order
        for id in self._items.ids(self._start, stop):
            if id in theirs:
                del theirs[id]
            else:
                self.have.append(id)
        self.need += theirs
        if stop == end:
            self._pass(end, upper)
            return False
        self._pass(stop, Bound(*self._items.item(stop)))
        return self._put_off()

    def _list(self, end: int, upper: Bound) -> bool:
        """List what we have in a range, cut where the message is full."""
        size = len(self.out)
        self._say_skip()
        listed = self._items.ids(self._start, end)
        if self._frame_limit:
            room = self._frame_limit - _FRAME_RESERVE - size
            listed = islice(listed, max(0, room // ID_BYTES + 1))
        ids = list(listed)
        if self._start + len(ids) < end:
            end = self._start + len(ids)
            upper = Bound(*self._items.item(end))
        self.out.id_list(upper, ids)
        self._start = self._said = end
        return self._full(len(self.out)) and self._put_off()

    def _put_off(self) -> bool:
        """Say one fingerprint for all that is left; the other side splits it if it differs."""
        self._say_skip()
        self.out.fingerprint(INFINITY, self._digest(self._start, len(self._items)))
        return True

    def _full(self, size: int) -> bool:
        return self._frame_limit > 0 and size > self._frame_limit - _FRAME_RESERVE

    def _digest(self, start: int, end: int) -> bytes:
        return fingerprint(self._items.sum(start, end), end - start)

    def split(self, start: int, end: int, upper: Bound) -> None:
        """Say what is in [start, end): a list of few items, fingerprints of many."""
        count = end - start
        if count < self._list_below:
            self.out.id_list(upper, list(self._items.ids(start, end)))
            return
        size, larger = divmod(count, BUCKETS)
        for bucket in range(BUCKETS):
            stop = start + size + (bucket < larger)
            self.out.fingerprint(upper if stop == end else self._between(stop), self._digest(start, stop))
            start = stop

    def _between(self, index: int) -> Bound:
        """The shortest bound that parts item `index` from the one before it."""
        before_ms, before = self._items.item(index - 1)
        ms, id = self._items.item(index)
        if ms != before_ms:
            return Bound(ms, b"")
        shared = next(i for i in range(ID_BYTES) if before[i] != id[i])
        return Bound(ms, id[: shared + 1])
