"""Each rule of a race as a small play, and how much work the graph makes of a history."""

from __future__ import annotations

import pytest

from p2pchat.engine.control_graph import Act, Graph
from p2pchat.errors import LocalProtocolError
from p2pchat.ids import EventId
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from tests.engine.rooms_play import BAD_PROOF, ZERO, Play, account, device

# -- races -----------------------------------------------------------------


def owners(*names: str) -> Play:
    """A room of ann, who made it, with owners `names` in order of seniority."""
    play = Play("room", ("ann",))
    for name in names:
        play.add("ann", name)
        play.role("ann", name, "owner")
    return play


def test_of_two_owners_who_remove_each_other_the_creator_stays() -> None:
    play = owners("bob")
    heads = play.heads()
    play.remove("bob", "ann", heads)
    play.remove("ann", "bob", heads)
    graph = play.graph()
    assert play.names(graph) == {"remove ann": "remove bob"}
    assert play.roles(graph) == {"ann": "owner"}
    assert graph.former == {account("bob"): "removed"}
    # who goes on as the winner is right by his own ancestors, and so is a later arrival of the race
    play.add("ann", "cid")
    assert play.roles(play.graph()) == {"ann": "owner", "cid": "member"}


def test_of_two_owners_who_remove_each_other_the_senior_stays() -> None:
    play = owners("zoe", "bob")  # zoe was added first, whatever the names say
    heads = play.heads()
    play.remove("bob", "zoe", heads)
    play.remove("zoe", "bob", heads)
    assert play.names(play.graph()) == {"remove zoe": "remove bob"}


def test_the_creator_is_senior_even_where_he_was_let_in_again() -> None:
    play = owners("bob", "cid")
    play.remove("bob", "ann")
    play.add("bob", "ann")
    play.role("bob", "ann", "owner")
    heads = play.heads()
    play.remove("cid", "ann", heads, name="against ann")
    play.remove("ann", "cid", heads, name="against cid")
    assert play.names(play.graph()) == {"against ann": "against cid"}


def test_a_moderator_never_removes_an_owner_and_loses_to_one() -> None:
    play = owners("bob")
    play.add("ann", "mod")
    play.role("ann", "mod", "moderator")
    play.add("ann", "mem")
    heads = play.heads()
    play.remove("mod", "bob", heads)
    play.remove("mod", "mem", heads)
    play.remove("bob", "mod", heads)
    graph = play.graph()
    assert play.names(graph) == {"remove bob": "remove bob", "remove mem": "remove mod"}
    assert play.roles(graph) == {"ann": "owner", "bob": "owner", "mem": "member"}


def test_what_a_removed_person_wrote_on_an_old_branch_is_void_above_the_cut() -> None:
    play = owners("bob")
    heads = play.heads()
    play.content("bob", 3)
    play.remove("ann", "bob", heads, play.cut(("bob", 2)))
    play.add("bob", "eve", heads)  # his fourth
    play.epoch("eve", ("add eve",), name="eve's epoch")
    graph = play.graph()
    assert play.names(graph) == {"add eve": "remove bob", "eve's epoch": "remove bob"}
    assert [play.says(graph, "bob", heads, seq) for seq in (1, 2, 3)] == ["allowed", "allowed", "remove bob"]
    assert play.says(graph, "bob/2", heads, 1) == "remove bob"  # a machine that is not named is cut at 0
    assert play.says(graph, "bob", play.heads()) == "remove bob"  # and who links to the removal is out by it
    assert play.says(graph, "eve", ("add eve",)) == "remove bob"
    assert play.says(graph, "zed", heads) == "never"
    assert graph.cut_names(EventId(play.cut(("bob", 2))[0].id))
    assert graph.cut_names(EventId(play.cut(("bob", 2))[0].id), account("bob"))
    assert not graph.cut_names(EventId(play.cut(("bob", 2))[0].id), account("eve"))
    assert not graph.cut_names(EventId(play.cut(("bob", 3))[0].id))
    (cut,) = graph.cuts[device("bob")]
    assert (cut.act, cut.sort, cut.seq) == (play.acts["remove bob"].id, "remove", 2)
    assert graph.cut_accounts == {account("bob"): (play.acts["remove bob"].id,)}


def test_who_is_let_in_again_writes_again_but_not_on_the_old_branch() -> None:
    play = owners("bob")
    heads = play.heads()
    play.content("bob", 3)
    play.remove("ann", "bob", heads, play.cut(("bob", 2)))
    play.add("ann", "bob", name="again")
    play.epoch("bob", ("again",), name="new")
    play.epoch("bob", heads, name="old")
    graph = play.graph()
    assert play.names(graph) == {"old": "remove bob"}
    assert play.roles(graph) == {"ann": "owner", "bob": "member"}
    assert graph.members[account("bob")].added_by == play.acts["again"].id
    assert play.says(graph, "bob", ("again",)) == "allowed"
    assert play.says(graph, "bob", heads, 2) == "allowed"
    assert play.says(graph, "bob", heads, 3) == "remove bob"


def test_an_add_that_did_not_know_the_removal_does_not_undo_it() -> None:
    play = owners("bob", "cid")
    heads = play.heads()
    play.remove("ann", "bob", heads)
    play.add("cid", "bob", heads, name="unaware", hlc=10_000)
    graph = play.graph()
    assert play.names(graph) == {}
    assert account("bob") not in graph.members
    assert play.says(graph, "bob", ("unaware",)) == "remove bob"


def test_a_demotion_voids_later_control_events_of_the_demoted_and_nothing_he_says() -> None:
    play = owners("bob")
    heads = play.heads()
    play.add("bob", "cid", heads, name="before")
    play.role("ann", "bob", "member", ("before",))
    play.add("bob", "dot", ("before",), name="after")
    play.add("cid", "eve", ("before",), name="by a member")
    graph = play.graph()
    assert play.names(graph) == {"after": "bob member", "by a member": "by a member"}
    assert play.roles(graph) == {"ann": "owner", "bob": "member", "cid": "member"}
    assert play.says(graph, "bob", heads, 9) == "allowed"
    assert play.says(graph, "bob", heads, 9, ev.NAME) == "allowed"  # content; the role it had there counts
    assert play.says(graph, "bob", play.heads(), 9, ev.NAME) == "itself"


def test_who_knows_his_demotion_writes_what_his_new_role_may() -> None:
    play = owners("bob")
    play.role("ann", "bob", "moderator")
    play.add("bob", "cid")
    play.set("bob", title="mine")
    assert play.names(play.graph()) == {"settings": "settings"}
    assert "cid" in play.roles(play.graph())


def test_a_promotion_that_did_not_know_the_demotion_does_not_undo_it() -> None:
    play = owners("bob", "cid")
    heads = play.heads()
    play.role("ann", "cid", "member", heads, name="down")
    play.role("bob", "cid", "moderator", heads, name="lower still", hlc=10_000)
    play.role("bob", "cid", "owner", heads, name="up", hlc=20_000)
    assert play.roles(play.graph())["cid"] == "member"
    play.role("ann", "cid", "owner", name="knowing all")
    play.set("cid", title="allowed again")
    assert play.names(play.graph()) == {}
    assert play.roles(play.graph())["cid"] == "owner"


def test_void_is_what_was_authorised_through_a_void_act_not_what_links_to_it() -> None:
    play = owners("bob", "cid")
    heads = play.heads()
    play.add("bob", "eve", heads)
    play.role("bob", "eve", "moderator", ("add eve",))
    play.add("eve", "fay", ("eve moderator",), name="through it")
    play.add("cid", "gus", ("through it",), name="linked to it")
    play.epoch("gus", ("linked to it",), name="of gus")
    play.remove("ann", "bob", heads)
    graph = play.graph()
    assert play.names(graph) == {name: "remove bob" for name in ("add eve", "eve moderator", "through it")}
    assert play.roles(graph) == {"ann": "owner", "cid": "owner", "gus": "member"}
    assert account("eve") not in graph.former
    assert graph.ever(account("eve"))


def test_a_removal_by_whom_only_a_void_act_let_in_is_void_too() -> None:
    play = owners("bob", "cid")
    heads = play.heads()
    play.add("bob", "eve", heads)
    play.role("bob", "eve", "owner", ("add eve",))
    play.remove("eve", "cid", ("eve owner",))
    play.remove("ann", "bob", heads)
    graph = play.graph()
    assert play.names(graph) == {name: "remove bob" for name in ("add eve", "eve owner", "remove cid")}
    assert play.roles(graph) == {"ann": "owner", "cid": "owner"}


def test_somebody_let_in_twice_is_in_while_one_of_the_two_counts() -> None:
    play = owners("bob", "cid")
    heads = play.heads()
    play.add("bob", "eve", heads, name="by bob")
    play.add("cid", "eve", heads, name="by cid")
    play.epoch("eve", ("by bob", "by cid"), name="eve's")
    play.remove("ann", "bob", heads)
    graph = play.graph()
    assert play.names(graph) == {"by bob": "remove bob"}
    assert graph.members[account("eve")].added_by == play.acts["by cid"].id


def test_a_cut_below_what_the_remover_links_to_counts_as_that() -> None:
    play = owners("bob")
    play.content("bob", 4)
    play.add("bob", "cid")  # his fifth
    play.remove("ann", "bob", cut=play.cut(("bob", 2)))
    graph = play.graph()
    assert play.names(graph) == {}
    assert "cid" in play.roles(graph)
    assert play.says(graph, "bob", ("bob owner",), 5) == "allowed"
    assert play.says(graph, "bob", ("bob owner",), 6) == "remove bob"
    (cut,) = graph.cuts[device("bob")]
    assert (cut.seq, cut.id) == (5, play.acts["add cid"].id)


def test_of_concurrent_cuts_the_highest_holds_and_a_later_one_lifts_nothing() -> None:
    play = owners("bob", "cid")
    heads = play.heads()
    play.remove("ann", "bob", heads, play.cut(("bob", 2)), name="low")
    play.add("bob", "eve", heads, name="fourth", seq=4)
    play.remove("cid", "bob", ("fourth",), name="high")
    play.remove("ann", "bob", ("low", "high"), play.cut(("bob", 9)), name="later")
    play.add("bob", "fay", heads, name="fifth", seq=5)
    graph = play.graph()
    assert play.names(graph) == {"fifth": "low"}
    assert [play.says(graph, "bob", heads, seq) for seq in (3, 4, 5)] == ["allowed", "allowed", "low"]


def test_a_revoke_cannot_lift_the_cut_of_a_removal() -> None:
    play = owners("bob")
    play.add("ann", "mem")
    heads = play.heads()
    play.remove("ann", "bob", heads)
    play.revoke("mem", "bob", heads, play.cut(("bob", 50)))
    play.add("bob", "eve", heads, name="his")
    graph = play.graph()
    assert play.names(graph) == {"his": "remove bob"}
    assert play.says(graph, "bob", heads, 40) == "remove bob"


def test_a_later_revoke_lifts_a_cut_somebody_set_too_low() -> None:
    play = owners("bob")
    play.add("ann", "mem")
    heads = play.heads()
    play.add("bob", "cid", heads, name="his")
    play.revoke("mem", "bob", heads, name="mean")
    graph = play.graph()
    assert play.names(graph) == {"his": "mean"}
    play.revoke("ann", "bob", cut=play.cut(("bob", 1)), name="fair")
    graph.add(play.acts["fair"])
    assert play.names(graph) == {}
    assert play.says(graph, "bob", heads, 1) == "allowed"
    assert play.says(graph, "bob", heads, 2) == "fair"


def test_a_revoke_needs_its_proof_and_no_rank_and_is_not_undone_by_an_add() -> None:
    play = owners("bob")
    play.add("ann", "mem")
    heads = play.heads()
    play.revoke("mem", "ann/2", proof=BAD_PROOF, name="unproved")
    play.revoke("mem", "bob", cut=play.cut(("bob", 2)))
    play.add("ann", "bob", name="again")
    play.epoch("bob", name="his")
    play.epoch("bob/2", name="his second")
    graph = play.graph()
    assert play.names(graph) == {"unproved": "unproved", "his": "revoke bob"}
    assert graph.revoked == {device("bob"): play.acts["revoke bob"].id}
    assert graph.revoked_at(tuple(play.acts[name].id for name in heads)) == {}
    assert play.says(graph, "bob", heads, 2) == "allowed"
    assert play.says(graph, "bob", heads, 3) == "revoke bob"
    assert play.says(graph, "bob", play.heads(), 3) == "revoke bob"
    assert play.says(graph, "bob/2", play.heads()) == "allowed"


def test_a_revoke_counts_before_what_the_same_person_does_with_the_stolen_machine() -> None:
    play = owners("bob")
    heads = play.heads()
    play.remove("ann", "bob", heads, name="the thief")
    play.revoke("ann/2", "ann", heads, play.cut(("ann", 3)), name="zero trust")
    assert play.names(play.graph()) == {"the thief": "zero trust"}
    assert play.roles(play.graph()) == {"ann": "owner", "bob": "owner"}


def test_an_act_that_the_remover_did_not_link_to_is_void_wherever_his_cut_lies() -> None:
    """Where a chain forks, only content would tell which branch an act is on; not everybody has it."""
    play = owners("bob")
    heads = play.heads()
    play.add("bob", "cid", heads, name="one", seq=5, branch=1)
    play.add("bob", "dot", heads, name="two", seq=5, branch=2)
    play.add("bob", "eve", heads, name="early", seq=3)
    play.remove("ann", "bob", ("two",), play.cut(("bob", 9)))
    graph = play.graph()
    assert play.names(graph) == {"one": "remove bob", "early": "remove bob"}
    assert set(play.roles(graph)) == {"ann", "dot"}
    assert [play.says(graph, "bob", heads, seq) for seq in (9, 10)] == ["allowed", "remove bob"]


def test_who_is_a_stranger_is_so_by_what_the_act_links_to() -> None:
    """Bob, who is out, opened the room, and Dan joins by that: void, and kept by everybody. Whoever
    heard of the removal first must not drop what others keep and link to."""
    play = owners("bob")
    heads = play.heads()
    play.set("bob", heads, admission=wire.OFFICE)
    play.remove("ann", "bob", heads)
    graph = play.graph()
    assert play.names(graph) == {"settings": "remove bob"}
    assert play.says(graph, "dan", ("settings",), kind=ev.JOIN) == "itself"
    assert play.says(graph, "dan", heads, kind=ev.JOIN) == "never"


def test_what_a_proof_shows_later_is_heard_after_reconsider() -> None:
    play = owners("bob")
    play.revoke("ann", "bob")
    known: list[str] = []
    graph = Graph(play.root, lambda body: bool(known), play.below)
    for one in play.acts.values():
        graph.add(one)
    version = graph.version
    assert play.names(graph) == {"revoke bob": "revoke bob"}
    known.append("the statement")
    graph.reconsider()
    assert play.names(graph) == {}
    assert set(graph.revoked) == {device("bob")}
    assert graph.version != version


def test_who_left_comes_back_by_himself_and_an_add_is_idle() -> None:
    play = owners("bob")
    play.leave("bob")
    play.add("ann", "bob", name="idle")
    graph = play.graph()
    assert play.names(graph) == {}
    assert graph.former == {account("bob"): "left"}
    assert play.says(graph, "bob", play.heads()) == "leave bob"
    play.join("bob")
    assert play.roles(play.graph()) == {"ann": "owner", "bob": "member"}
    assert play.graph().former == {}


def test_who_left_and_was_removed_then_stays_out_until_he_is_added() -> None:
    play = Play("room", ("ann",), admission="office")
    play.join("bob")
    play.leave("bob")
    heads = play.heads()
    play.remove("ann", "bob", cut=play.cut(("bob", 2)))
    play.join("bob", heads, name="old branch")
    play.join("bob", name="new")
    graph = play.graph()
    assert play.names(graph) == {"old branch": "remove bob", "new": "remove bob"}
    assert graph.former == {account("bob"): "removed"}
    play.add("ann", "bob")
    assert "bob" in play.roles(play.graph())


def test_a_leave_that_the_remover_did_not_know_is_void_and_he_is_let_in_again() -> None:
    play = owners("bob")
    heads = play.heads()
    play.leave("bob", heads)
    play.remove("ann", "bob", heads, play.cut(("bob", 1)))
    play.add("ann", "bob", ("remove bob",), name="unaware")
    graph = play.graph()
    assert play.names(graph) == {"leave bob": "remove bob"}
    assert play.roles(graph)["bob"] == "member"


def test_nobody_can_lock_out_who_was_never_in() -> None:
    play = owners()
    play.remove("ann", "bob")
    assert play.names(play.graph()) == {"remove bob": "remove bob"}


def test_two_owners_who_leave_at_once_leave_a_room_without_one() -> None:
    play = owners("bob")
    play.add("ann", "mem")
    heads = play.heads()
    play.leave("ann", heads)
    play.leave("bob", heads)
    graph = play.graph()
    assert play.names(graph) == {}
    assert play.roles(graph) == {"mem": "member"}
    assert graph.former == {account("ann"): "left", account("bob"): "left"}


def test_a_removal_decided_is_not_reopened_by_one_that_ranks_after_it() -> None:
    # zoe removes eve; bob, her junior, removes zoe and knows nothing of it
    play = owners("zoe", "bob")
    play.add("ann", "eve")
    heads = play.heads()
    play.remove("zoe", "eve", heads)
    play.add("zoe", "fay", heads)
    play.remove("bob", "zoe", heads)
    graph = play.graph()
    assert play.names(graph) == {"add fay": "remove zoe"}
    assert play.roles(graph) == {"ann": "owner", "bob": "owner"}


def test_what_is_void_lends_a_moderator_no_rank_over_an_owner() -> None:
    # by what mod links to, the promotion of tom is void; ann, who knew it, spares it
    play = owners("pam", "bob")
    for who in ("mod", "tom"):
        play.add("ann", who)
    play.role("ann", "mod", "moderator")
    heads = play.heads()
    play.role("pam", "tom", "owner", heads)
    play.remove("bob", "pam", heads, name="low")
    play.remove("mod", "tom", ("tom owner", "low"))
    graph = play.graph()
    assert play.names(graph) == {"tom owner": "low"}
    play.remove("ann", "pam", ("tom owner",), name="high")
    graph.add(play.acts["high"])
    assert play.names(graph) == {"remove tom": "remove tom"}
    assert play.roles(graph)["tom"] == "owner"


def test_who_won_a_race_he_knows_of_keeps_his_right_when_another_race_is_added() -> None:
    play = owners("amy", "dan", "bob", "eve")
    heads = play.heads()
    play.remove("bob", "amy", heads)  # void by dan's, as amy and dan see
    play.remove("dan", "bob", heads)
    play.add("eve", "fay", heads)
    play.remove("amy", "dan", ("remove amy", "remove bob", "add fay"))
    graph = play.graph()
    assert play.names(graph) == {"remove amy": "remove bob"}
    play.remove("ann", "eve", heads)
    graph.add(play.acts["remove eve"])
    assert play.names(graph) == {"remove amy": "remove bob", "add fay": "remove eve"}


def test_heads_are_what_nobody_names_and_of_many_those_that_reach_most() -> None:
    play = owners("bob")
    (last,) = play.heads()
    assert play.graph().heads == (play.acts[last].id,)
    for number in range(12):
        play.epoch("bob", ("create", "add bob"), name=f"flood {number}")
    play.add("stranger", "eve", ("create",), name="void")
    play.epoch("ann", (last,), name="main")
    heads = play.graph().heads
    assert len(heads) == 8
    assert list(heads) == sorted(heads)
    assert play.acts["main"].id in heads
    assert play.acts["void"].id not in heads


def test_a_known_act_changes_nothing_and_an_unknown_link_is_a_bug_of_the_caller() -> None:
    play = owners("bob")
    graph = play.graph()
    version, work = graph.version, graph.evaluations
    graph.add(play.acts["add bob"])
    assert (graph.version, graph.evaluations) == (version, work)
    assert graph.knows(play.acts["add bob"].id)
    assert not graph.knows(EventId(ZERO))
    with pytest.raises(LocalProtocolError):
        graph.add(
            Act(
                EventId(b"x" * 32),
                device("ann"),
                account("ann"),
                9,
                9,
                (EventId(ZERO),),
                ev.LEAVE,
                wire.Leave(1),
            )
        )


def test_role_and_members_at_a_point_leave_out_what_is_void() -> None:
    play = owners("bob")
    heads = play.heads()
    play.add("bob", "cid", heads)
    point = (play.acts["add cid"].id,)
    graph = play.graph()
    assert graph.role_at(point, account("cid")) == "member"
    play.remove("ann", "bob", heads)
    graph.add(play.acts["remove bob"])
    assert graph.role_at(point, account("cid")) is None
    assert {bytes(who)[:3] for who in graph.members_at(point)} == {b"ann", b"bob"}
