"""How much work the graph makes of a history, counted in evaluations, and how it keeps ancestors."""

from __future__ import annotations

from p2pchat.engine.graph_cuts import Place, Reach, effective, joined
from p2pchat.ids import EventId
from p2pchat.wire.messages.rooms import Cut
from tests.engine.rooms_play import Play, account, device


def owners(*names: str) -> Play:
    """A room of ann, who made it, with owners `names` in order of seniority."""
    play = Play("room", ("ann",))
    for name in names:
        play.add("ann", name)
        play.role("ann", name, "owner")
    return play


def long_history(length: int) -> Play:
    """One line of acts: people come, go and come again, and keys turn."""
    play = Play("room", ("ann",))
    last = "create"
    for number in range(length):
        name, who = f"n{number}", f"p{number // 12}"
        match number % 12:
            case 0:
                play.add("ann", who, (last,), name)
            case 5:
                play.remove("ann", who, (last,), name=name)
            case 8:
                play.add("ann", who, (last,), name)
            case _:
                play.epoch("ann", (last,), name)
        last = name
    return play


def test_a_line_of_acts_costs_one_evaluation_each_and_a_question_none() -> None:
    play = long_history(1200)
    graph = play.graph()
    assert graph.evaluations == len(play.acts)
    assert len(graph.members) == 101
    assert graph.void == {}
    assert play.says(graph, "ann", play.heads()) == "allowed"
    assert graph.evaluations == len(play.acts)


def test_one_removal_into_an_old_branch_costs_no_more_than_once_over() -> None:
    play = long_history(600)
    play.add("ann", "stale", ("n3",), name="old add")
    graph = play.graph()
    before = graph.evaluations
    play.epoch("p0", ("n3",), name="an old branch")
    graph.add(play.acts["an old branch"])
    assert play.names(graph) == {"an old branch": "n5"}
    assert graph.evaluations - before <= 2
    play.remove("ann", "stale", name="removed")
    graph.add(play.acts["removed"])
    assert graph.former[account("stale")] == "removed"
    assert graph.evaluations - before <= 2 * len(play.acts)


def test_who_floods_a_stale_branch_after_his_removal_has_nothing_judged_again() -> None:
    play = owners("bob")
    heads = play.heads()
    for number in range(200):
        play.epoch("ann", name=f"line {number}")
    play.remove("ann", "bob", cut=())
    graph = play.graph()
    last: tuple[str, ...] = heads
    for number in range(200):
        name = f"flood {number}"
        if number % 2:
            play.remove("bob", "ann", last, name=name)
        else:
            play.add("bob", f"puppet {number}", last, name=name)
        last = (name,)
        before = graph.evaluations
        graph.add(play.acts[name])
        assert set(play.roles(graph)) == {"ann"}
        assert graph.evaluations - before <= 4


def test_ancestors_of_a_line_are_one_number_and_concurrent_ones_are_bits() -> None:
    line = joined([(Reach(7, 0), 7)])
    assert (line.base, line.bits) == (8, 0)
    fork = joined([(Reach(3, 0), 9)])
    assert [fork.has(number) for number in (2, 3, 8, 9)] == [True, False, False, True]
    assert fork.common(0b1100000111) == 0b1000000111
    assert joined([(fork, 10), (Reach(8, 0), 8)]).mask() == 0b11111111111


def test_of_a_fork_among_the_removers_links_the_longer_branch_then_the_smaller_id_counts() -> None:
    machine = device("bob")
    low, a, b = (Place(seq, EventId(name * 32)) for seq, name in ((3, b"z"), (4, b"a"), (4, b"b")))
    for known in ([low, a, b], [b, a, low]):
        assert effective((), [(machine, place) for place in known]) == {machine: Cut(machine, 4, a.id)}
    named = Cut(machine, 4, b.id)
    assert effective([named], [(machine, a), (machine, b)]) == {machine: named}
