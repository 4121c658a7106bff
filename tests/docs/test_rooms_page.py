"""The page on rooms: its table is the module's, and its race is played as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from p2pchat.engine.graph_rights import RIGHTS
from p2pchat.wire.messages import events as ev
from tests.engine.rooms_play import Play

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rooms.md"
COLUMNS = ("room", "announcement", "direct", "lobby")


def test_the_table_of_rights_is_the_one_the_graph_uses() -> None:
    rows = re.findall(r"^\| ([A-Z_]+) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    printed = {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}
    names = {value: name for name, value in vars(ev).items() if isinstance(value, int) and name.isupper()}
    assert printed == {
        names[kind]: [" ".join(getattr(right, column)) or "-" for column in COLUMNS]
        for kind, right in RIGHTS.items()
    }


def play_of_the_page(**links: tuple[str, ...]) -> tuple[Play, dict[str, str], str]:
    """The race as it stands there, with other links for some acts; what the page says of each."""
    text = PAGE.read_text()
    block = text.split("act  author  what", 1)[1].split("```", 1)[0].splitlines()[1:]
    play = Play("room", ("ann",))
    play.acts.clear()
    play.seqs.clear()
    said: dict[str, str] = {}
    members = ""
    for line in block:
        if line.startswith("members: "):
            members = line.removeprefix("members: ")
            continue
        found = re.match(
            r"(\w\d) +(\w+) +(create|epoch|(add|remove|role) (\w+)( \w+)?) +(-|\w\d) +(.+)$", line
        )
        assert found, line
        name, who, what, verb, whom, role, parent, comes_to = found.groups()
        auth = links.get(name, (parent,))
        said[name] = comes_to
        match verb or what:
            case "create":
                made = Play("room", (who,)).acts["create"]
                play.acts[name] = made
                play.seqs[made.device] = 1
            case "add":
                play.add(who, whom, auth, name)
            case "remove":
                play.remove(who, whom, auth, name=name)
            case "role":
                play.role(who, whom, role.strip(), auth, name=name)
            case _:
                play.epoch(who, auth, name)
    return play, said, members


def test_the_race_of_the_page_comes_to_what_the_page_says() -> None:
    play, said, members = play_of_the_page()
    assert len(said) == 9
    for order in (list(play.acts), ["a1", "a2", "a3", "a4", "a5", "b1", "e1", "b2", "c1"]):
        graph = play.graph(order)
        void = play.names(graph)
        assert {name: f"void by {void[name]}" if name in void else "counts" for name in play.acts} == said
        assert ", ".join(f"{who} {role}" for who, role in sorted(play.roles(graph).items())) == members


def test_before_the_sides_meet_each_is_right_by_what_it_knows() -> None:
    play, _, _ = play_of_the_page()
    bobs = play.graph(["a1", "a2", "a3", "a4", "b1", "b2", "e1", "c1"])
    assert play.roles(bobs) == {"bob": "owner", "cid": "member", "eve": "member"}
    assert play.roles(play.graph(["a1", "a2", "a3", "a4", "a5"])) == {"ann": "owner", "cid": "member"}


def test_had_ann_seen_the_add_it_would_stand() -> None:
    play, _, _ = play_of_the_page(a5=("b1",))
    graph = play.graph()
    assert play.names(graph) == {"b2": "a5"}
    assert play.roles(graph) == {"ann": "owner", "cid": "member", "eve": "member"}


def test_who_is_unhappy_with_the_outcome_is_let_in_again() -> None:
    play, _, _ = play_of_the_page()
    play.add("ann", "bob", name="again")
    play.role("ann", "bob", "owner", name="owner again")
    play.add("bob", "eve", name="eve again")
    assert play.roles(play.graph()) == {"ann": "owner", "bob": "owner", "cid": "member", "eve": "member"}
