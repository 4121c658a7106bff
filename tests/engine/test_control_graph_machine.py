"""Generated histories: any order of arrival comes to the same, and to what brute force says."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from p2pchat.engine.control_graph import Graph
from p2pchat.ids import EventId
from p2pchat.wire.messages import events as ev
from tests.engine.rooms_model import Model
from tests.engine.rooms_play import MACHINES, Play, Step, account, device, owner_of, proof_holds, step

STEPS: st.SearchStrategy[Step] = st.tuples(
    st.integers(0, len(MACHINES) - 1),
    st.integers(0, 11),
    st.integers(0, 4),
    st.integers(0, 8),
    st.integers(0, 6),
    st.lists(st.integers(0, 40), min_size=1, max_size=3).map(tuple),
    st.integers(0, 15),
    st.integers(0, 15),
)


def started(kind: str) -> Play:
    """A room with an owner more and two moderators, or a direct chat, or a lobby of two."""
    if kind == "direct":
        return Play("direct", ("ann", "bob"))
    if kind == "lobby":
        play = Play("lobby")
        play.join("ann", ())
        play.join("bob", ("join ann",))
        return play
    play = Play("room", ("ann",))
    for whom in ("bob", "cid", "dot"):
        play.add("ann", whom)
    play.role("ann", "bob", "owner")
    play.role("ann", "cid", "moderator")
    return play


def outcome(graph: Graph) -> tuple[object, ...]:
    return (
        graph.members,
        graph.former,
        graph.void,
        graph.settings,
        graph.revoked,
        graph.cuts,
        graph.cut_accounts,
        graph.heads,
    )


def verdicts(play: Play, graph: Graph | Model) -> list[str]:
    """Of something every machine says at several points of the history."""
    names = list(play.acts)
    points = [play.heads(), *((name,) for name in names[:: max(1, len(names) // 4)])]
    found = []
    for machine in MACHINES:
        for place, point in enumerate(points):
            auth = tuple(play.acts[name].id for name in point)
            seq = max(1, play.seqs.get(device(machine), 0) + 1 - place)
            event = EventId(f"said {machine} {seq}".encode().ljust(32, b"."))
            who = account(owner_of(machine))
            for kind in (ev.MESSAGE, ev.EDIT, ev.NAME):
                answer = graph.judge(device(machine), who, seq, event, auth, kind)
                found.append(answer if isinstance(answer, str) else answer.standing)
    return found


@st.composite
def orders(draw: st.DrawFn, play: Play) -> list[str]:
    """Some order in which each act comes after all it names."""
    left = list(play.acts)
    placed: set[bytes] = set()
    order: list[str] = []
    while left:
        ready = [name for name in left if all(parent in placed for parent in play.acts[name].auth)]
        name = ready[draw(st.integers(0, len(ready) - 1))]
        left.remove(name)
        placed.add(play.acts[name].id)
        order.append(name)
    return order


@given(st.data(), st.sampled_from(("room", "room", "room", "lobby", "direct")), st.lists(STEPS, max_size=14))
def test_any_order_of_arrival_comes_to_the_same(data: st.DataObject, kind: str, steps: list[Step]) -> None:
    play = started(kind)
    for numbers in steps:
        step(play, numbers)
    written = play.graph()
    late = play.graph(data.draw(orders(play)))
    asked = Graph(play.root, proof_holds, play.below)
    for name in data.draw(orders(play)):
        asked.add(play.acts[name])
        outcome(asked)  # asking in between changes nothing
    assert outcome(written) == outcome(late) == outcome(asked)
    assert verdicts(play, written) == verdicts(play, late) == verdicts(play, asked)


@given(st.sampled_from(("room", "room", "room", "lobby", "direct")), st.lists(STEPS, max_size=14))
def test_what_voids_an_act_is_an_act_that_is_known(kind: str, steps: list[Step]) -> None:
    play = started(kind)
    for numbers in steps:
        step(play, numbers)
    graph = play.graph()
    assert all(graph.knows(by) for by in graph.void.values())
    again = play.graph()
    again.reconsider()
    assert outcome(again) == outcome(graph)
    assert all(
        (graph.judge(act.device, act.account, act.seq, act.id, act.auth, act.kind).standing == "allowed")
        == (act.id not in graph.void)
        for act in play.acts.values()
    )


class AgainstBruteForce(RuleBasedStateMachine):
    """The graph and the model grow by the same acts and must always say the same."""

    @initialize(kind=st.sampled_from(("room", "room", "room", "lobby", "direct")))
    def start(self, kind: str) -> None:
        self.play = started(kind)
        self.graph = self.play.graph()
        self.model = Model(self.play.root, proof_holds, self.play.below)
        for act in self.play.acts.values():
            self.model.add(act)

    @rule(numbers=STEPS)
    def write(self, numbers: Step) -> None:
        act = step(self.play, numbers)
        self.graph.add(act)
        self.model.add(act)

    @rule(numbers=st.lists(STEPS, min_size=2, max_size=5))
    def write_unasked(self, numbers: list[Step]) -> None:
        for one in numbers:
            self.write(one)

    @invariant()
    def same(self) -> None:
        graph, model, play = self.graph, self.model, self.play
        told = model.outcome(model.all)
        assert set(graph.void) == told.void
        assert {who: member.role for who, member in graph.members.items()} == model.members()
        for key, value in (
            ("admission", graph.settings.admission),
            ("history", graph.settings.history),
            ("announce", str(int(graph.settings.announce))),
            ("retention", str(graph.settings.retention_days)),
        ):
            assert value == model.setting(key, model.all, told)
        machines = {device(machine) for machine in MACHINES}
        assert set(graph.revoked) == {d for d in machines if model.is_revoked(d, model.all, told)}
        assert verdicts(play, graph) == verdicts(play, model)
        point = tuple(play.acts[name].id for name in list(play.acts)[-2:])
        there = {who: member.role for who, member in graph.members_at(point).items()}
        assert there == model.members(model.reach(point))


# Brute force is slow: a few hundred of the full run's thousand are a minute.
AgainstBruteForce.TestCase.settings = settings(
    max_examples=min(settings.default.max_examples, 250), stateful_step_count=14
)
TestAgainstBruteForce = AgainstBruteForce.TestCase
