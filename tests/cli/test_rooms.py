"""`room` and `ack`: what each asks, prints, and how it ends."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli import samples
from tests.cli.contract import FIELDS, SENT, told
from tests.cli.stage import daemon, refusing, run


def one(**changes: Any) -> dict[str, Any]:
    return {"room": samples.room(**changes)}


def test_room_list(tmp_path: Path) -> None:
    rooms = [
        samples.room(unread=4),
        samples.direct_room(),
        samples.room(name="garden", membership="open", role="", admission="office", topic=""),
        samples.room(id=samples.LOBBY, kind="lobby", name="lobby", topic="", role="member", members=9),
    ]
    with daemon(tmp_path, rooms__list={"rooms": rooms}) as fake:
        found = told(run(tmp_path, "room", "list", "--json"))["rooms"]
        assert FIELDS["room"] <= set(found[0])
        assert set(found[1]["peer"]) == FIELDS["person"]
        assert fake.asked("rooms.list") == {"all": False, "member": ""}
        ran = run(tmp_path, "room", "list", "--all", "--member", "bob")
        assert fake.asked("rooms.list") == {"all": True, "member": "bob"}
    rows = [line.split(maxsplit=5) for line in ran.out.splitlines()]
    assert rows == [
        ["NAME", "KIND", "MEMBERS", "UNREAD", "ROLE", "TOPIC"],
        ["#launch", "private", "3", "4", "owner", "the first of May"],
        ["Bob", "direct", "2", "-", "owner"],
        ["#garden", "open", "3", "-", "(open)"],
        ["#lobby", "lobby", "9", "-", "member"],
    ]


def test_no_rooms_yet(tmp_path: Path) -> None:
    with daemon(tmp_path, rooms__list={"rooms": []}):
        ran = run(tmp_path, "room", "list")
    assert (ran.code, ran.out) == (0, "")
    assert "no rooms yet: " in ran.err


def test_room_show(tmp_path: Path) -> None:
    with daemon(tmp_path, rooms__show=one(rules="be kind", announce=True)) as fake:
        assert set(told(run(tmp_path, "room", "show", "launch", "--json"))["room"]) >= FIELDS["room"]
        assert fake.asked("rooms.show") == {"room": "launch"}
        ran = run(tmp_path, "room", "show", "launch")
    assert ran.out.splitlines() == [
        "#launch  private, 3 members, you are owner",
        "topic    the first of May",
        "history  a newcomer reads everything",
        "writing  owners and moderators only",
        "rules  │ be kind",
    ]


def test_room_create(tmp_path: Path) -> None:
    rules = tmp_path / "rules.txt"
    rules.write_text("be kind\nno files after six\n", encoding="utf-8")
    with daemon(tmp_path, rooms__create=one(rules="be kind\nno files after six", members=1)) as fake:
        ran = run(tmp_path, "room", "create", "#launch", "--json")
        assert set(told(ran)) == {"schema", "room"}
        assert fake.asked("rooms.create") == {
            "name": "launch", "topic": "", "admission": "invite", "announce": False, "history": "all",
            "rules": "",
        }  # fmt: skip
        words = ["--topic", "May", "--open", "--announce", "--history", "joined", "--rules", str(rules)]
        ran = run(tmp_path, "room", "create", "launch", *words)
        assert fake.asked("rooms.create") == {
            "name": "launch", "topic": "May", "admission": "office", "announce": True, "history": "joined",
            "rules": "be kind\nno files after six",
        }  # fmt: skip
    assert ran.out.splitlines() == [
        "#launch  private, 1 member, you are owner",
        "topic    the first of May",
        "history  a newcomer reads everything",
        "rules  │ be kind",
        "       │ no files after six",
    ]


def test_joining_shows_what_the_room_promises_and_asks_for(tmp_path: Path) -> None:
    joined = one(
        role="member", admission="office", history="joined", retention_days=30, announce=True, rules="be kind"
    )
    with daemon(tmp_path, rooms__join=joined) as fake:
        ran = run(tmp_path, "room", "join", "#launch")
        assert fake.asked("rooms.join") == {"room": "#launch"}
        assert told(run(tmp_path, "room", "join", "launch", "--json"))["room"]["rules"] == "be kind"
    assert ran.out.splitlines() == [
        "#launch  open, 3 members, you are member",
        "topic    the first of May",
        "history  a newcomer reads what is said from then on",
        "files    kept for 30 days",
        "writing  owners and moderators only",
        "rules  │ be kind",
    ]


ACTS: list[tuple[list[str], str, dict[str, Any], str]] = [
    (["leave", "launch"], "leave", {"room": "launch"}, "left #launch"),
    (
        ["remove", "launch", "bob"],
        "remove",
        {"room": "launch", "person": "bob"},
        "removed bob from #launch",
    ),
    (
        ["role", "launch", "bob", "moderator"],
        "role",
        {"room": "launch", "person": "bob", "role": "moderator"},
        "bob is moderator of #launch",
    ),
    (
        ["mute", "launch"],
        "mute",
        {"room": "launch", "until_ms": None, "mentions_only": False, "off": False},
        "#launch: notices are raised",
    ),
    (
        ["mute", "launch", "--mentions-only"],
        "mute",
        {"room": "launch", "until_ms": None, "mentions_only": True, "off": False},
        "#launch: notices are raised",
    ),
    (
        ["mute", "bob", "--off"],
        "mute",
        {"room": "bob", "until_ms": None, "mentions_only": False, "off": True},
        "#launch: notices are raised",
    ),
]


@pytest.mark.parametrize(("words", "verb", "asked", "said"), ACTS, ids=lambda x: str(x)[:20])
def test_acts(words: list[str], verb: str, asked: dict[str, Any], said: str, tmp_path: Path) -> None:
    with daemon(tmp_path, **{f"rooms__{verb}": one()}) as fake:
        ran = run(tmp_path, "room", *words)
        assert (ran.code, ran.out, ran.err) == (0, said + "\n", "")
        assert fake.asked(f"rooms.{verb}") == asked
        found = told(run(tmp_path, "room", *words, "--json"))
        assert FIELDS["room"] <= set(found["room"])


@pytest.mark.parametrize(
    ("added", "said"),
    [
        (["Bob", "Carl"], "added Bob, Carl to #launch: 3 members"),
        (["Carl"], "added Carl to #launch: 3 members"),
        ([], "all are in #launch already: 3 members"),
    ],
)
def test_of_the_invited_those_are_named_who_came_in(added: list[str], said: str, tmp_path: Path) -> None:
    people = [{"account": "ab", "device": None, "name": name} for name in added]
    with daemon(tmp_path, rooms__invite={**one(), "added": people}) as fake:
        ran = run(tmp_path, "room", "invite", "launch", "bob", "carl")
        assert (ran.code, ran.out, ran.err) == (0, said + "\n", "")
        assert fake.asked("rooms.invite") == {"room": "launch", "people": ["bob", "carl"]}
        found = told(run(tmp_path, "room", "invite", "launch", "bob", "carl", "--json"))
        assert found["added"] == people


def test_a_warning_stands_beside_the_answer(tmp_path: Path) -> None:
    with daemon(tmp_path, rooms__invite={**one(), "added": [], "warning": "another key uses the name"}):
        ran = run(tmp_path, "room", "invite", "launch", "bob")
    assert (ran.code, ran.err) == (0, "warning: another key uses the name\n")


@pytest.mark.parametrize("words", [["--everywhere", "bob"], ["bob", "--everywhere"]])
def test_removing_everywhere(words: list[str], tmp_path: Path) -> None:
    rooms = {"rooms": [samples.room(), samples.room(name="garden")]}
    with daemon(tmp_path, rooms__remove=lambda _: rooms) as fake:
        ran = run(tmp_path, "room", "remove", *words)
        assert fake.asked("rooms.remove") == {"room": "", "person": "bob"}
        assert ran.out.splitlines() == ["removed bob from #launch", "removed bob from #garden"]
        assert len(told(run(tmp_path, "room", "remove", *words, "--json"))["rooms"]) == 2
        rooms["rooms"] = []
        assert "in no room from which you may remove" in run(tmp_path, "room", "remove", *words).err


def test_room_members(tmp_path: Path) -> None:
    with daemon(tmp_path, rooms__members=samples.members()) as fake:
        found = told(run(tmp_path, "room", "members", "launch", "--json"))
        assert set(found["members"][0]) == FIELDS["member"]
        assert fake.asked("rooms.members") == {"room": "launch"}
        ran = run(tmp_path, "room", "members", "launch")
    assert [line.split() for line in ran.out.splitlines()] == [
        ["NAME", "ROLE", "MACHINES"], ["Ann", "owner", "0"], ["Bob", "member", "1"],
    ]  # fmt: skip


NOTHING = {
    "name": None, "topic": None, "rules": None, "admission": None, "announce": None, "history": None,
    "retention": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (["--name", "#garden", "--topic", ""], {"name": "garden", "topic": ""}),
        (["--open"], {"admission": "office"}),
        (["--private", "--announce"], {"admission": "invite", "announce": True}),
        (["--closed", "--no-announce"], {"admission": "closed", "announce": False}),
        (["--history", "joined", "--retention", "30d"], {"history": "joined", "retention": 30}),
        (["--retention", "45"], {"retention": 45}),
        (["--retention", "2w"], {"retention": 14}),
        (["--retention", "forever"], {"retention": 0}),
        (["--rules", "-"], {"rules": "from stdin\nand more"}),
    ],
    ids=str,
)
def test_room_set(words: list[str], changes: dict[str, Any], tmp_path: Path) -> None:
    with daemon(tmp_path, rooms__set=one()) as fake:
        ran = run(tmp_path, "room", "set", "launch", *words, stdin=b"from stdin\r\nand more\n")
        assert fake.asked("rooms.set") == {"room": "launch", **NOTHING, **changes}
    assert ran.out.splitlines()[0] == "#launch  private, 3 members, you are owner"


def test_mute_until(tmp_path: Path) -> None:
    until = samples.room_view(muted_until_ms=samples.NOON, mentions_only=True)
    with daemon(tmp_path, rooms__mute=one(muted_until_ms=until.muted_until_ms, mentions_only=True)) as fake:
        ran = run(tmp_path, "room", "mute", "launch", "--for", "2h", env={"TZ": "UTC"})
        assert abs(fake.asked("rooms.mute")["until_ms"] / 1000 - time.time() - 7200) < 5
        assert ran.out == "#launch: only mentions raise notices until 2026-11-23 12:00\n"
        fake.answers["rooms.mute"] = one(muted_until_ms=-1)
        assert run(tmp_path, "room", "mute", "launch").out == "#launch: no notices\n"


@pytest.mark.parametrize(
    ("words", "quoted"),
    [
        (["set", "launch"], "nothing to change"),
        (["set", "launch", "--open", "--closed"], "--open and --closed at once"),
        (["set", "launch", "--announce", "--no-announce"], "--announce and --no-announce at once"),
        (["set", "launch", "--retention", "soon"], "'soon'"),
        (["set", "launch", "--retention", "-1"], "'-1'"),
        (["set", "launch", "--retention", "0d"], "'0d'"),
        (["set", "launch", "--retention", "99999d"], "'99999d'"),
        (["set", "launch", "--retention", "²"], "²"),
        (["remove", "launch"], "needs PERSON"),
        (["remove", "launch", "bob", "--everywhere"], "'launch' 'bob'"),
        (["role", "launch", "bob", "king"], "'king'"),
        (["mute", "launch", "--for", "soon"], "'soon'"),
        (["mute", "launch", "--for", "2020-01-01"], "'2020-01-01' has passed"),
        (["mute", "launch", "--for", "0m"], "'0m' has passed"),
        (["mute", "launch", "--off", "--for", "2h"], "--off"),
        (["mute", "launch", "--off", "--mentions-only"], "--off"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_what_makes_no_sense_is_refused_here(words: list[str], quoted: str, tmp_path: Path) -> None:
    with daemon(tmp_path) as fake:
        ran = run(tmp_path, "room", *words, "--json")
        assert fake.calls == []
    error = told(ran)["error"]
    assert (ran.code, error["kind"], bool(error["hint"])) == (2, "usage", True)
    assert quoted in error["message"]


@pytest.mark.parametrize(
    ("content", "code", "kind"),
    [(b"x" * 16_385, 2, "too_long"), (b"\xff\xfe", 2, "usage"), (None, 9, "archive")],
    ids=["long", "bytes", "absent"],
)
def test_rules_that_cannot_be_are_refused_here(
    content: bytes | None, code: int, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "rules.txt"
    if content is not None:
        path.write_bytes(content)
    with daemon(tmp_path) as fake:
        for words in (["create", "launch"], ["set", "launch"]):
            ran = run(tmp_path, "room", *words, "--rules", str(path), "--json")
            assert (ran.code, told(ran)["error"]["kind"]) == (code, kind)
            assert "rules.txt" in told(ran)["error"]["message"]
        assert run(tmp_path, "room", "create", "launch", "--rules", str(tmp_path)).code == 9  # a folder
        assert fake.calls == []


def test_rules_of_just_the_size_go_through(tmp_path: Path) -> None:
    (tmp_path / "rules.txt").write_bytes(b"x" * 16_384)
    (tmp_path / "empty.txt").write_bytes(b"")
    with daemon(tmp_path, rooms__set=one()) as fake:
        assert run(tmp_path, "room", "set", "launch", "--rules", str(tmp_path / "rules.txt")).code == 0
        assert len(fake.asked("rooms.set")["rules"]) == 16_384
        assert run(tmp_path, "room", "set", "launch", "--rules", str(tmp_path / "empty.txt")).code == 0
        assert fake.asked("rooms.set")["rules"] == ""


@pytest.mark.parametrize(
    ("kind", "code"), [("no_such_target", 4), ("ambiguous_target", 4), ("policy", 7), ("no_right", 7)]
)
def test_refusals_of_the_daemon_keep_their_code_and_hint(kind: str, code: int, tmp_path: Path) -> None:
    hint = "p2pchat room role launch bob owner"
    with daemon(tmp_path, rooms__leave=refusing(kind, "you are the last owner of 'launch'", hint)):
        ran = run(tmp_path, "room", "leave", "launch")
        assert (ran.code, ran.out) == (code, "")
        error, advice = ran.err.splitlines()
        assert error == "error: you are the last owner of 'launch'"
        assert advice.startswith("hint: p2pchat room role")
        found = told(run(tmp_path, "room", "leave", "launch", "--json"))["error"]
        assert (found["kind"], found["hint"]) == (kind, hint)


# -- taking note ------------------------------------------------------------------------------


def test_receipts_of_each_machine(tmp_path: Path) -> None:
    devices = [
        {"account": "ab", "device": f"{n}c" * 32, "name": "Bob", "state": state}
        for n, state in enumerate(("delivered", "queued"))
    ]
    answer = {"id": "ab" * 32, "room": "1a" * 32, "state": "delivered", "devices": devices}
    with daemon(tmp_path, receipts={**answer, "progress": {"delivered": 1, "read": 0, "of": 2}}) as fake:
        found = told(run(tmp_path, "receipts", "abcdef", "--json"))
        assert FIELDS["progress"] <= set(found["progress"])
        assert FIELDS["person"] | {"state"} <= set(found["devices"][0])
        assert fake.asked("receipts") == {"id": "abcdef", "target": ""}
        ran = run(tmp_path, "receipts", "last", "--in", "launch")
        assert fake.asked("receipts") == {"id": "last", "target": "launch"}
        assert ran.out.splitlines() == ["delivered  Bob  0c0c0c0c0c0c", "queued     Bob  1c1c1c1c1c1c"]
        assert "delivered to 1 of 2, read by 0" in ran.err


def test_listen_says_who_has_taken_note(tmp_path: Path) -> None:
    bob, carl = ({"account": "", "device": None, "name": name} for name in ("Bob", "Carl"))
    ack = {"id": "ab" * 32, "room": "1a" * 32, "person": bob, "by_time": None}
    feed = [{"cursor": "1", "type": "ready"}]
    feed.append({"cursor": "2", "type": "ack", "ack": {**ack, "acked": [bob], "missing": [carl]}})
    with daemon(tmp_path, feed):
        ran = run(tmp_path, "listen", "--types", "ack", "--count", "1")
        assert ran.out == "· abababababab noted by Bob (1 of 2)\n"


def test_ack_list(tmp_path: Path) -> None:
    bob, carl = ({"account": "", "device": None, "name": name} for name in ("Bob", "Carl"))
    answer = {"id": "ab" * 32, "room": "1a" * 32, "by_time": "2026-11-23T12:00:00.000Z", "acked": [bob]}
    with daemon(tmp_path, acks={**answer, "missing": [carl]}) as fake:
        found = told(run(tmp_path, "ack", "abcdef", "--list", "--json"))
        assert FIELDS["ack"] <= set(found)
        assert fake.asked("acks") == {"id": "abcdef", "target": ""}
        ran = run(tmp_path, "ack", "last", "--list", "--in", "launch", env={"TZ": "UTC"})
        assert ran.out.splitlines() == ["until    Mon 2026-11-23 12:00", "noted    Bob", "missing  Carl"]
        fake.answers["acks"] = {**answer, "by_time": None, "acked": [], "missing": []}
        assert run(tmp_path, "ack", "abcdef", "--list").out == "noted    -\nmissing  -\n"


def test_send_asks_to_take_note(tmp_path: Path) -> None:
    with daemon(tmp_path, send=SENT) as fake:
        assert run(tmp_path, "send", "#launch", "read this", "--ack").code == 0
        assert (fake.asked("send")["ack"], fake.asked("send")["ack_by_ms"]) == (True, None)
        assert fake.asked("send")["target"] == "#launch"
        assert run(tmp_path, "send", "launch", "read this", "--ack", "--by", "2h").code == 0
        assert abs(fake.asked("send")["ack_by_ms"] / 1000 - time.time() - 7200) < 5
        fake.calls.clear()
        for words in (["--by", "2h"], ["--ack", "--by", "soon"], ["--ack", "--by", "2020-01-01"]):
            ran = run(tmp_path, "send", "launch", "read this", *words, "--json")
            assert (ran.code, told(ran)["error"]["kind"]) == (2, "usage")
        assert fake.calls == []
