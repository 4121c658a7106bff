"""Who may write what: every cell of the table in each sort of room, settings, bodies that cannot be."""

from __future__ import annotations

import pytest

from p2pchat.engine.control_graph import Act, Graph, RoomSettings, Root, check_body
from p2pchat.engine.graph_rights import RIGHTS
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import EventId, RoomId
from p2pchat.wire.codec import Record
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.rooms import Cut
from tests.engine.rooms_play import GOOD_PROOF, ZERO, Play, account, device, proof_holds

STAFF = {"owner", "moderator"}
EVERYONE = {"owner", "moderator", "member"}
SORTS = ("room", "announcement", "open", "closed", "direct", "lobby")
CONTENT = (
    ev.MESSAGE,
    ev.EDIT,
    ev.DELETE,
    ev.REACTION,
    ev.PIN,
    ev.NAME,
    ev.ACK,
    ev.FILE_ROOT,
    ev.RULES,
    99,
)
NAMES = {value: name for name, value in vars(ev).items() if isinstance(value, int) and name.isupper()}

# kind → sort of room → roles that may; "stranger" and "left" are nobody yet and gone by himself.
EXPECTED: dict[int, dict[str, set[str]]] = {
    ev.CREATE: {key: set() for key in SORTS},
    ev.ADD: {
        "room": STAFF,
        "announcement": STAFF,
        "open": STAFF,
        "closed": set(),
        "direct": set(),
        "lobby": set(),
    },
    ev.REMOVE: {
        "room": STAFF,
        "announcement": STAFF,
        "open": STAFF,
        "closed": STAFF,
        "direct": set(),
        "lobby": set(),
    },
    ev.JOIN: {
        "room": {"left"},
        "announcement": {"left"},
        "open": {"left", "stranger"},
        "closed": set(),
        "direct": set(),
        "lobby": {"left", "stranger"},
    },
    ev.LEAVE: {**dict.fromkeys(SORTS, EVERYONE), "direct": set()},
    ev.ROLE: {**{key: {"owner"} for key in SORTS}, "direct": set(), "lobby": set()},
    ev.SETTINGS: {**{key: {"owner"} for key in SORTS}, "lobby": set()},
    ev.REVOKE: dict.fromkeys(SORTS, EVERYONE),
    ev.EPOCH: dict.fromkeys(SORTS, EVERYONE),
    ev.SEAL: dict.fromkeys(SORTS, EVERYONE),
    ev.MESSAGE: {**dict.fromkeys(SORTS, EVERYONE), "announcement": STAFF},
    ev.EDIT: dict.fromkeys(SORTS, EVERYONE),
    ev.DELETE: dict.fromkeys(SORTS, EVERYONE),
    ev.REACTION: dict.fromkeys(SORTS, EVERYONE),
    ev.PIN: {**dict.fromkeys(SORTS, EVERYONE), "announcement": STAFF},
    ev.NAME: {**dict.fromkeys(SORTS, STAFF), "lobby": set()},
    ev.ACK: dict.fromkeys(SORTS, EVERYONE),
    ev.FILE_ROOT: {**dict.fromkeys(SORTS, EVERYONE), "announcement": STAFF},
    ev.RULES: dict.fromkeys(SORTS, EVERYONE),
    99: dict.fromkeys(SORTS, EVERYONE),
}
HERE = {
    "direct": {"owner": "ann", "stranger": "sam"},
    "lobby": {"member": "ann", "left": "lea", "stranger": "sam"},
}
USUAL = {
    "owner": "ann",
    "moderator": "mod",
    "member": "mem",
    "left": "lea",
    "removed": "rem",
    "stranger": "sam",
}


def stage(sort: str) -> tuple[Play, dict[str, str]]:
    """A room of that sort with somebody in each place there is, and who that is."""
    if sort == "direct":
        play = Play("direct", ("ann", "bob"))
        play.epoch("bob", ())
    elif sort == "lobby":
        play = Play("lobby")
        play.join("ann", ())
        play.join("lea")
        play.leave("lea")
    else:
        play = Play("room", ("ann",), announce=sort == "announcement")
        for who in ("mod", "mem", "lea", "rem"):
            play.add("ann", who)
        play.role("ann", "mod", "moderator")
        play.leave("lea")
        play.remove("ann", "rem")
        if sort in ("open", "closed"):
            play.set("ann", admission={"open": "office", "closed": "closed"}[sort])
    return play, HERE.get(sort, USUAL)


def bodies() -> dict[int, Record]:
    return {
        ev.CREATE: wire.Create(1, bytes(16), "invite", False, "all", ""),
        ev.ADD: wire.Add(1, account("new")),
        ev.REMOVE: wire.Remove(1, account("mem"), ()),
        ev.JOIN: wire.Join(1),
        ev.LEAVE: wire.Leave(1),
        ev.ROLE: wire.Role(1, account("mem"), "moderator", ()),
        ev.SETTINGS: wire.Settings(1, (wire.Setting("history", "joined"),)),
        ev.REVOKE: wire.Revoke(1, device("mem/2"), GOOD_PROOF, ()),
        ev.EPOCH: ev.Epoch(1, bytes(16), 1, ZERO, True),
        ev.SEAL: ev.Seal(1, bytes(16), (ev.SealedKey(device("mem"), 1, bytes(80)),)),
    }


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("kind", EXPECTED, ids=lambda kind: NAMES.get(kind, "UNKNOWN"))
def test_every_cell_of_the_table(kind: int, sort: str) -> None:
    for place in ("owner", "moderator", "member", "left", "removed", "stranger"):
        play, people = stage(sort)
        if place not in people:
            continue
        expected = place in EXPECTED[kind][sort]
        if kind in CONTENT:
            said = play.says(play.graph(), people[place], play.heads(), kind=kind)
            assert (said == "allowed") == expected, (place, said)
        else:
            act = play.write("tried", people[place], kind, bodies()[kind])
            graph = play.graph()
            assert ("tried" not in play.names(graph)) == expected, (place, play.names(graph))
            verdict = graph.judge(act.device, act.account, act.seq, act.id, act.auth, kind)
            assert (verdict.standing == "allowed") == expected
            assert (verdict.standing == "never") == (place == "stranger" and not expected)


def test_the_table_names_every_kind() -> None:
    assert set(RIGHTS) == set(EXPECTED) - {99}


def test_a_create_counts_only_as_the_root() -> None:
    play = Play("room", ("ann",))
    again = bodies()[ev.CREATE]
    play.write("again", "bob", ev.CREATE, again, auth=())
    play.write("linked", "ann", ev.CREATE, again)
    play.write("without links", "ann", ev.EPOCH, bodies()[ev.EPOCH], auth=())
    graph = play.graph()
    assert play.names(graph) == {name: name for name in ("again", "linked", "without links")}
    assert play.roles(graph) == {"ann": "owner"}


def test_settings_of_each_sort_of_room() -> None:
    assert Play("lobby").graph().settings == RoomSettings("office", False, "all", 30, "")
    direct = Play("direct", ("ann", "bob"))
    direct.set("bob", (), name="may", history="joined", retention="9")
    direct.set("ann", name="may not", announce="1", history="all")
    graph = direct.graph()
    assert graph.settings == RoomSettings("closed", False, "joined", 9, "")
    assert direct.names(graph) == {"may not": "may not"}
    room = Play("room", ("ann",), admission="office", announce=True, history="joined")
    assert room.graph().settings == RoomSettings("office", True, "joined", 0, "")
    room.set("ann", admission="closed", announce="0", title="Lunch", retention="30", history="all")
    graph = room.graph()
    assert graph.settings == RoomSettings("closed", False, "all", 30, "Lunch")
    assert graph.settings_at((room.acts["create"].id,)) == RoomSettings("office", True, "joined", 0, "")


def test_of_concurrent_settings_the_later_stamp_counts_and_who_knew_both_beats_both() -> None:
    play = Play("room", ("ann",))
    play.set("ann", ("create",), name="early", hlc=90, title="early", retention="1")
    play.set("ann", ("create",), name="late", hlc=91, title="late")
    assert play.graph().settings.title == "late"
    assert play.graph().settings.retention_days == 1
    play.set("ann", ("early", "late"), name="both", hlc=5, title="both")
    assert play.graph().settings.title == "both"


# -- bodies --------------------------------------------------------------------

SHORT = bytes(31)
GOOD_CUT = Cut(device("bob"), 1, ZERO)
BAD_BODIES: list[tuple[int, Record]] = [
    (ev.ADD, wire.Add(1, SHORT)),
    (ev.ADD, wire.Add(2, account("bob"))),
    (ev.ADD, wire.Join(1)),
    (ev.REMOVE, wire.Remove(1, bytes(33), ())),
    (ev.REMOVE, wire.Remove(1, account("bob"), (GOOD_CUT, GOOD_CUT))),
    (ev.REMOVE, wire.Remove(1, account("bob"), (Cut(device("bob"), 0, ZERO),))),
    (ev.REMOVE, wire.Remove(1, account("bob"), (Cut(device("bob"), 2**63, ZERO),))),
    (ev.REMOVE, wire.Remove(1, account("bob"), (Cut(device("bob"), 1, SHORT),))),
    (ev.REMOVE, wire.Remove(1, account("bob"), (Cut(SHORT, 1, ZERO),))),
    (ev.REMOVE, wire.Remove(1, account("bob"), (Cut(device("cid"), 1, ZERO), GOOD_CUT))),
    (ev.ROLE, wire.Role(1, account("bob"), "king", ())),
    (ev.ROLE, wire.Role(1, SHORT, "owner", ())),
    (ev.SETTINGS, wire.Settings(1, ())),
    (ev.SETTINGS, wire.Settings(1, (wire.Setting("colour", "red"),))),
    (ev.SETTINGS, wire.Settings(1, (wire.Setting("history", "all"), wire.Setting("history", "all")))),
    (ev.SETTINGS, wire.Settings(1, (wire.Setting("history", "all"), wire.Setting("announce", "1")))),
    (ev.SETTINGS, wire.Settings(1, (wire.Setting("admission", "all"),))),
    (ev.SETTINGS, wire.Settings(1, (wire.Setting("announce", "yes"),))),
    (ev.SETTINGS, wire.Settings(1, (wire.Setting("history", "none"),))),
    *(
        (ev.SETTINGS, wire.Settings(1, (wire.Setting("retention", value),)))
        for value in ("", "-1", "01", "1.5", "99999", "9" * 5000, "٣")
    ),
    (ev.SETTINGS, wire.Settings(1, (wire.Setting("title", "x" * 65),))),
    (ev.CREATE, wire.Create(1, bytes(15), "invite", False, "all", "")),
    (ev.CREATE, wire.Create(1, bytes(16), "all", False, "all", "")),
    (ev.CREATE, wire.Create(1, bytes(16), "invite", False, "some", "")),
    (ev.CREATE, wire.Create(1, bytes(16), "invite", False, "all", "Board")),
    (ev.REVOKE, wire.Revoke(1, SHORT, GOOD_PROOF, ())),
    (ev.REVOKE, wire.Revoke(1, device("bob"), (), ())),
    (ev.REVOKE, wire.Revoke(1, device("cid"), GOOD_PROOF, (GOOD_CUT,))),
    (ev.EPOCH, ev.Epoch(1, bytes(15), 1, ZERO, True)),
    (ev.EPOCH, ev.Epoch(1, bytes(16), 0, ZERO, True)),
    (ev.EPOCH, ev.Epoch(1, bytes(16), 1, SHORT, True)),
    (ev.SEAL, ev.Seal(1, bytes(16), ())),
    (ev.SEAL, ev.Seal(1, bytes(16), (ev.SealedKey(device("bob"), 1, bytes(79)),))),
    (ev.SEAL, ev.Seal(1, bytes(16), (ev.SealedKey(device("bob"), -1, bytes(80)),))),
    (ev.NAME, wire.Name(1, "colour", "red")),
    (ev.ACK, wire.Ack(1, SHORT)),
    (11, wire.Join(1)),
    (31, wire.Join(1)),
]


@pytest.mark.parametrize(("kind", "body"), BAD_BODIES)
def test_a_body_that_cannot_be_is_refused(kind: int, body: Record) -> None:
    with pytest.raises(RemoteProtocolError):
        check_body(kind, body)


@pytest.mark.parametrize("kind", bodies())
def test_a_body_that_can_be_passes_and_is_judged(kind: int) -> None:
    body = bodies()[kind]
    check_body(kind, body)
    graph = Graph(Root("room", RoomId(ZERO)), proof_holds, Play().below)
    act = Act(EventId(b"x" * 32), device("ann"), account("ann"), 1, 1, (), kind, body)
    graph.add(act)  # into a room it is not of: void, and nothing breaks
    assert graph.void == {act.id: act.id}
    assert graph.judge(act.device, act.account, 1, act.id, (), kind).standing == "never"
