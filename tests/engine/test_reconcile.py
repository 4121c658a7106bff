"""Two sides that compare their sets end up knowing exactly the difference."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.engine.items import WEEK_MS, Item, Items, VectorItems, WeekCache, WeekItems, salted
from p2pchat.engine.reconcile import LIST_BELOW, MIN_FRAME_BYTES, Reconciler, fingerprint
from p2pchat.engine.sync import LISTED
from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.wire.limits import MAX_RECONCILE_FRAME, MAX_RECONCILE_WORK
from p2pchat.wire.negentropy import INFINITY, Bound, Fingerprint, IdList, Skip, decode, encode
from tests.engine.weeks import rows_of

Maker = Callable[[list[Item]], Items]
FEW = MIN_FRAME_BYTES


def weekly(items: list[Item]) -> Items:
    rows, packed = rows_of(items)
    return WeekItems(rows, packed.__getitem__, WeekCache(), "room")


def item(n: int, ms: int) -> Item:
    return ms, hashlib.sha256(b"%d" % n).digest()


def some(seed: int, count: int, span_ms: int, start_ms: int = 0) -> list[Item]:
    draw = random.Random(seed)
    return [(start_ms + draw.randrange(span_ms), draw.randbytes(32)) for _ in range(count)]


def run(
    ours: list[Item],
    theirs: list[Item],
    make: Maker = VectorItems,
    limit: int = 0,
    work: int = MAX_RECONCILE_WORK,
    span: tuple[int, int] = (0, INFINITY.ms),
    listed: tuple[int, int] = (LIST_BELOW, LIST_BELOW),
) -> tuple[list[bytes], set[bytes], set[bytes]]:
    """All messages, and what the asking side has and needs. A new machine for every message."""

    def side(items: list[Item], initiator: bool) -> Reconciler:
        list_below = listed[0] if initiator else listed[1]
        return Reconciler(make(items), limit, initiator=initiator, work=work, list_below=list_below)

    have: set[bytes] = set()
    need: set[bytes] = set()
    message: bytes | None = side(ours, True).initiate(*span)
    messages = []
    while message is not None:
        answer = side(theirs, False).respond(message)
        step = side(ours, True).reconcile(answer)
        messages += [message, answer]
        have |= set(step.have)
        need |= set(step.need)
        message = step.reply
        assert len(messages) < 1000
    return messages, have, need


def difference(ours: list[Item], theirs: list[Item]) -> tuple[set[bytes], set[bytes]]:
    mine, other = {id for _, id in ours}, {id for _, id in theirs}
    return mine - other, other - mine


sizes = st.sampled_from([0, 1, 2, 31, 32, 33, 100, 400])
spans = st.sampled_from([1, 2, 1000, 5 * WEEK_MS])


@given(st.integers(0, 2**32), sizes, sizes, sizes, spans, st.sampled_from([0, FEW, FEW + 1, 60_000]))
def test_any_two_sets_reconcile_exactly(
    seed: int, common: int, only_ours: int, only_theirs: int, span: int, limit: int
) -> None:
    shared = some(seed, common, span)
    ours = shared + some(seed + 1, only_ours, span)
    theirs = shared + some(seed + 2, only_theirs, span)
    messages, have, need = run(ours, theirs, limit=limit)
    assert (have, need) == difference(ours, theirs)
    assert not limit or max(map(len, messages)) <= limit
    assert run(ours, theirs, weekly, limit)[0] == messages


@given(
    st.integers(0, 2**32),
    sizes,
    sizes,
    sizes,
    st.tuples(st.sampled_from([2, 32, 64]), st.sampled_from([2, 64])),
)
def test_peers_need_not_agree_on_what_is_listed(
    seed: int, common: int, only_ours: int, only_theirs: int, listed: tuple[int, int]
) -> None:
    shared = some(seed, common, 5 * WEEK_MS)
    ours = shared + some(seed + 1, only_ours, 5 * WEEK_MS)
    theirs = shared + some(seed + 2, only_theirs, 5 * WEEK_MS)
    _, have, need = run(ours, theirs, limit=60_000, listed=listed)
    assert (have, need) == difference(ours, theirs)


@pytest.mark.parametrize("lacks", ["asks", "answers"])
@pytest.mark.parametrize("lost", ["newest", "scattered"])
def test_twenty_of_a_hundred_thousand_are_found_in_four_messages(lost: str, lacks: str) -> None:
    many = sorted(some(7, 100_020, 26 * WEEK_MS))
    gone = (
        set(range(100_000, 100_020)) if lost == "newest" else set(random.Random(9).sample(range(100_020), 20))
    )
    fewer = [item for at, item in enumerate(many) if at not in gone]
    ours, theirs = (fewer, many) if lacks == "asks" else (many, fewer)
    cache = {id(items): VectorItems(items) for items in (ours, theirs)}
    messages, have, need = run(
        ours, theirs, lambda items: cache[id(items)], MAX_RECONCILE_FRAME, listed=(LISTED, LISTED)
    )
    assert (have, need) == difference(ours, theirs)
    assert len(messages) == 4
    assert sum(map(len, messages)) <= (4096 if lost == "newest" else 32 * 1024)


@given(st.integers(0, 2**32), st.integers(0, 200), st.integers(0, 200), st.sampled_from([1, 50, 400]))
def test_work_put_off_to_later_messages_loses_nothing(seed: int, mine: int, other: int, work: int) -> None:
    """What is needed may name ids that are here; everything missing is named."""
    shared = some(seed, 100, 4 * WEEK_MS)
    ours, theirs = shared + some(seed + 1, mine, WEEK_MS), shared + some(seed + 2, other, WEEK_MS)
    messages, have, need = run(ours, theirs, weekly, FEW, work)
    lacking, wanted = difference(ours, theirs)
    assert have == lacking
    assert need - {id for _, id in ours} == wanted
    assert max(map(len, messages)) <= FEW


def test_a_newcomer_does_not_make_the_other_read_everything() -> None:
    """An empty list stands for all we have: what is compared per message is bounded."""
    everything = some(1, 20_000, 4 * WEEK_MS)
    steps = 0
    message: bytes | None = Reconciler(VectorItems(everything), initiator=True).initiate()
    have: set[bytes] = set()
    while message is not None:
        answer = Reconciler(VectorItems([]), initiator=False).respond(message)
        step = Reconciler(VectorItems(everything), initiator=True, work=100).reconcile(answer)
        assert len(step.have) <= 2 * 4096
        have |= set(step.have)
        message = step.reply
        steps += 1
    assert have == {id for _, id in everything}
    assert steps > 3


def test_hostile_ranges_are_put_off_before_they_cost_much() -> None:
    rows, packed = rows_of(some(3, 40_000, 40 * WEEK_MS))
    items = WeekItems(rows, packed.__getitem__, WeekCache(), "room")
    cuts = [Bound(n * 40 * WEEK_MS // 3000, b"") for n in range(1, 3000)]
    for message in (
        encode(Fingerprint(cut, bytes(16)) for cut in cuts),
        encode(IdList(cut, ()) for cut in cuts),
        encode(Skip(cut) for cut in cuts),
    ):
        before = items.work
        answer = Reconciler(items, initiator=False, work=5000).respond(message)
        assert items.work - before < 5000 + 20 * 1000  # one range more: a split touches ≤ 17 weeks
        assert len(answer) <= 60_000


def test_only_the_asked_weeks_are_compared() -> None:
    shared = some(5, 500, 10 * WEEK_MS)
    early, late = item(1, 2 * WEEK_MS + 5), item(2, 7 * WEEK_MS + 5)
    ours, theirs = [*shared, early], [*shared, late]
    week = (7 * WEEK_MS, 8 * WEEK_MS)
    assert run(ours, theirs, weekly, span=week)[1:] == (set(), {late[1]})
    assert run(ours, theirs, weekly, span=(2 * WEEK_MS, 3 * WEEK_MS))[1:] == ({early[1]}, set())
    assert run(ours, theirs, weekly, span=(9 * WEEK_MS, INFINITY.ms))[1:] == (set(), set())
    assert run(ours, theirs, weekly)[1:] == ({early[1]}, {late[1]})


def test_a_salted_run_finds_the_same_difference() -> None:
    shared = some(6, 100, WEEK_MS)
    ours, theirs = [*shared, item(1, 5)], [*shared, item(2, 6)]
    mine, real = salted(ours, b"salt")
    other, _ = salted(theirs, b"salt")
    asking, answering = Reconciler(mine, initiator=True), Reconciler(other, initiator=False)
    have: list[bytes] = []
    message: bytes | None = asking.initiate()
    while message is not None:
        step = asking.reconcile(answering.respond(message))
        have += step.have
        message = step.reply
    assert [real[id] for id in have] == [item(1, 5)[1]]


def test_an_end_that_does_not_fit_is_never_called_empty() -> None:
    """The other side has nothing after its last bound; what we have there does not fit any more.

    To answer with the fingerprint of nothing, as the reference does, would end the run.
    """
    listed = some(7, 120, 1000)
    beyond = some(8, 600, 1000, start_ms=2000)
    message = encode([IdList(Bound(1500, b""), ()), Fingerprint(INFINITY, fingerprint(0, 0))])
    answer = decode(Reconciler(VectorItems(listed + beyond), FEW, initiator=False).respond(message))
    assert [type(part) for part in answer] == [IdList, Fingerprint]
    tail = answer[1]
    assert isinstance(tail, Fingerprint)
    assert tail.upper == INFINITY
    total = sum(int.from_bytes(id, "little") for _, id in beyond) % 2**256
    assert tail.digest == fingerprint(total, len(beyond)) != fingerprint(0, 0)


def test_other_versions() -> None:
    answering = Reconciler(VectorItems([]), initiator=False)
    asking = Reconciler(VectorItems([]), initiator=True)
    assert answering.respond(b"\x62 whatever it says") == b"\x61"
    assert answering.respond(b"\x60") == b"\x61"
    with pytest.raises(RemoteProtocolError, match="unsupported"):
        asking.reconcile(b"\x62")
    for junk in (b"", b"\x59", b"\x70", b"GET / HTTP/1.1"):
        with pytest.raises(RemoteProtocolError):
            answering.respond(junk)


def test_the_roles_and_limits_are_kept() -> None:
    asking, answering = (Reconciler(VectorItems([]), initiator=side) for side in (True, False))
    with pytest.raises(LocalProtocolError):
        answering.initiate()
    with pytest.raises(LocalProtocolError):
        answering.reconcile(b"\x61")
    with pytest.raises(LocalProtocolError):
        asking.respond(b"\x61")
    with pytest.raises(LocalProtocolError, match="4095"):
        Reconciler(VectorItems([]), 4095, initiator=True)


@given(st.binary(max_size=300))
def test_any_bytes_are_answered_or_refused(junk: bytes) -> None:
    items = VectorItems(some(9, 100, 1000))
    for message in (junk, b"\x61" + junk):
        try:
            Reconciler(items, initiator=False).respond(message)
            Reconciler(items, initiator=True).reconcile(message)
        except RemoteProtocolError:
            continue
