"""Whole daemons on a fake LAN: they introduce each other, and look at each other from both ends."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from p2pchat.daemon import examiner as examining
from p2pchat.daemon import probing, verdicts
from p2pchat.daemon.sights import Case
from p2pchat.engine import inputs as happened
from p2pchat.engine import presence, search
from p2pchat.engine.inputs import Found
from p2pchat.engine.links import PROBE, LinkMachine
from p2pchat.engine.presence_inputs import SetPresence
from p2pchat.wire.codec import Record
from p2pchat.wire.limits import FIRST_PORT, MAX_ECHO
from p2pchat.wire.messages.network import Echo, Examine, Findings
from tests.daemon.house import House, house


def split(h: House, *groups: str) -> None:
    """Announcements stay within each group of names, such as "ab" and "cd"."""
    for one, other in combinations(groups, 2):
        for a in one:
            for b in other:
                h.lan.deafen(a, b)


def all_linked(h: House, names: str) -> bool:
    return all(h.connected(name) == len(names) - 1 for name in names)


def address(h: House, name: str) -> str:
    return h.lan.hosts[name].address


async def add(h: House, who: str, whom: str) -> None:
    await h.daemons[who].runner.ask(lambda r: happened.AddPeer(r, address(h, whom), FIRST_PORT))


async def person(h: House, who: str, whom: str) -> Case:
    return await h.daemons[who].examiner.person(h.identities[whom].me.account)


def troubles(checks: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(one["name"], one["cause"]) for one in checks if not one["ok"]}


async def up(h: House, names: str) -> None:
    for name in names:
        await h.up(name)


async def test_one_address_joins_all(autojump_clock: MockClock) -> None:
    """Three networks; Ann knows one address of the second, which knows one of the third."""
    async with house() as h:
        split(h, "ab", "cd", "ef")
        await up(h, "abcdef")
        await h.until(lambda: all(h.connected(name) == 1 for name in "abcdef"))
        await trio.sleep(30)
        await add(h, "a", "c")
        await add(h, "d", "e")
        took = await h.until(lambda: all_linked(h, "abcdef"), 60)
        assert took < 15


async def test_a_newcomer_is_introduced_to_the_other_network(autojump_clock: MockClock) -> None:
    async with house() as h:
        split(h, "abg", "cd")
        await up(h, "abcd")
        await add(h, "a", "c")
        await h.until(lambda: all_linked(h, "abcd"), 60)
        await h.up("g")
        took = await h.until(lambda: all_linked(h, "abcdg"), 60)
        assert took < 10


async def test_where_the_newcomer_may_not_call_he_is_called(autojump_clock: MockClock) -> None:
    async with house() as h:
        split(h, "abg", "cd")
        await up(h, "abcd")
        await add(h, "a", "c")
        await h.until(lambda: all_linked(h, "abcd"), 60)
        for name in "cd":
            h.lan.firewall("g", name)
        await h.up("g")
        await h.until(lambda: all_linked(h, "abcdg"), 300)


async def test_the_introducer_may_go_home(autojump_clock: MockClock) -> None:
    async with house() as h:
        split(h, "ab", "cd")
        await up(h, "abcd")
        await add(h, "a", "c")
        await h.until(lambda: all_linked(h, "abcd"), 60)
        for name in "ac":
            h.daemons[name].stop()
        await h.until(lambda: h.connected("b") == h.connected("d") == 1)
        assert (await h.say("b", "d", "we two", wait="delivered"))["state"] == "delivered"


async def test_search_finds_who_cannot_be_heard(autojump_clock: MockClock) -> None:
    async with house() as h:
        split(h, "a", "b")
        await up(h, "ab")
        await trio.sleep(20)
        assert h.connected("a") == 0
        h.daemons["a"].runner.post(happened.NetworkChanged((address(h, "a"),), (f"{address(h, 'a')}/24",)))
        await h.daemons["a"].runner.ask(lambda r: happened.Search(r, True))
        took = await h.until(lambda: h.connected("a") == 1, 120)
        assert took < 60
        await h.daemons["a"].runner.ask(lambda r: happened.Search(r, False))
        assert h.daemons["a"].runner.node.live.to_probe == ()


@pytest.mark.parametrize(
    ("addresses", "networks", "count", "first"),
    [
        (("10.0.0.9",), ("10.0.0.9/24",), 253, "10.0.0.1"),
        (("10.0.0.9",), ("10.0.0.9/16",), 253, "10.0.0.1"),
        (("10.0.0.9",), ("10.0.0.9/30",), 1, "10.0.0.10"),
        (("10.0.0.9",), ("10.0.0.9/32",), 0, ""),
        (("fe80::1%eth0", "fd00::1", "127.0.0.1"), ("fe80::1/64", "fd00::1/64", "127.0.0.1/8"), 0, ""),
        (tuple(f"10.0.{n}.1" for n in range(9)), tuple(f"10.0.{n}.1/24" for n in range(9)), 1024, "10.0.0.2"),
    ],
)
def test_what_is_searched(
    addresses: tuple[str, ...], networks: tuple[str, ...], count: int, first: str
) -> None:
    found = list(search.around(addresses, networks))
    assert len(found) == count
    assert found[:1] == ([first] if first else [])
    assert not set(found) & set(addresses)


# -- looking ------------------------------------------------------------------------------------


async def test_between_two_that_are_linked_nothing_is_wrong(autojump_clock: MockClock) -> None:
    async with house() as h:
        await up(h, "abc")
        await h.until(lambda: all_linked(h, "abc"))
        case = await person(h, "a", "b")
        assert case.through == "itself"
        assert case.findings is not None
        assert case.findings.dialled == ((address(h, "a"), ""),)
        assert case.probed[0].stuck == ""
        assert troubles([*verdicts.own(case.own), *verdicts.between(case)]) == set()
        by_address = await h.daemons["a"].examiner.place(address(h, "b"), None)
        assert troubles(verdicts.between(by_address)) == set()
        assert all_linked(h, "abc"), "and no link has been changed"
        await h.until(lambda: len(h.daemons["b"].pumps) == 2)  # the looks are over


async def test_one_direction_is_blocked(autojump_clock: MockClock) -> None:
    """Nobody gets in at B: B is told of himself, A of B."""
    async with house() as h:
        for name in "ac":
            h.lan.firewall(name, "b")
        await up(h, "abc")
        await h.until(lambda: all_linked(h, "abc"))
        assert troubles(verdicts.own(await h.daemons["b"].examiner.own())) == {
            ("tcp_in", "firewall_here"),
            ("firewall", "firewall_here"),
        }
        assert ("tcp_out", "firewall_there") in troubles(verdicts.between(await person(h, "a", "b")))


async def test_the_question_goes_through_a_third(autojump_clock: MockClock) -> None:
    """A and B no longer reach each other, C reaches both."""
    async with house() as h:
        await up(h, "abc")
        await h.until(lambda: all_linked(h, "abc"))
        h.lan.cut("a", "b")
        await h.until(lambda: h.connected("a") == h.connected("b") == 1)
        case = await person(h, "a", "b")
        assert case.through == "c"
        assert case.findings is not None
        assert case.findings.device == h.identities["b"].me.device
        assert [reason for _, reason in case.findings.dialled] == ["timeout"]
        away = await h.daemons["c"].examiner.place("10.0.0.250", None)
        assert troubles(verdicts.between(away)) == {("tcp_out", "host_down")}


async def test_who_is_not_there_is_not_asked_for(autojump_clock: MockClock) -> None:
    async with house() as h:
        await up(h, "abc")
        await h.until(lambda: all_linked(h, "abc"))
        h.daemons["b"].stop()
        await h.until(lambda: h.connected("a") == 1)
        began = trio.current_time()
        case = await person(h, "a", "b")
        assert trio.current_time() - began < 30
        assert case.findings is None
        assert troubles(verdicts.between(case)) == {("tcp_out", "port_closed")}


@pytest.mark.parametrize("whom", [("a",), ()], ids=["from one", "from all"])
async def test_who_hides_looks_like_one_who_is_off(whom: tuple[str, ...], autojump_clock: MockClock) -> None:
    async with house() as h:
        await up(h, "abc")
        await h.until(lambda: all_linked(h, "abc"))
        state = "available" if whom else "invisible"
        await h.daemons["b"].runner.ask(lambda r: SetPresence(r, state=state, hide_from=whom))
        await h.until(lambda: _hidden(h, "a", "b"))
        asker = h.daemons["a"].examiner
        hiding = verdicts.between(await person(h, "a", "b"))
        place = verdicts.between(await asker.place(address(h, "b"), FIRST_PORT))
        around = await asker.own()
        assert "b" not in {word.name for word in around.words}, "nor is he asked, or named, for another"
        h.daemons["b"].stop()
        await h.until(lambda: h.connected("a") == 1)
        assert hiding == verdicts.between(await person(h, "a", "b"))
        assert place == verdicts.between(await asker.place(address(h, "b"), FIRST_PORT))
        assert troubles(hiding) == {("tcp_out", "port_closed")}


def _hidden(h: House, who: str, whom: str) -> bool:
    return presence.hides(h.daemons[who].look(), h.identities[whom].me.device)


@pytest.mark.parametrize("side_by_side", [False, True])
async def test_somebody_uses_the_name_of_one_who_is_gone(
    side_by_side: bool, autojump_clock: MockClock
) -> None:
    """B's machine is set up anew: another key, the old name. Two of one name side by side are no trouble."""

    async def goes() -> None:
        before = h.connected("a")
        h.daemons["b"].stop()
        await h.until(lambda: h.connected("a") == before - 1)

    async with house() as h:
        await up(h, "ab")
        await h.until(lambda: all_linked(h, "ab"))
        if not side_by_side:
            await goes()
        await h.up("c")
        await h.daemons["c"].runner.ask(lambda r: happened.Rename(r, "b"))
        await h.until(lambda: h.connected("a") == (2 if side_by_side else 1))
        await trio.sleep(1)
        assert (await person(h, "a", "b")).heir == "" or not side_by_side, "b is here"
        if side_by_side:
            await goes()
        case = await person(h, "a", "b")
        heir = f"b~{h.identities['c'].me.account.hex()[:4]}"
        assert case.heir == ("" if side_by_side else heir)
        assert (("key", "key_changed") in troubles(verdicts.between(case))) is not side_by_side
        assert (await person(h, "a", "c")).heir == "", "he is here"


async def test_whom_one_blocks_learns_nothing(autojump_clock: MockClock) -> None:
    async with house() as h:
        await up(h, "ab")
        await h.until(lambda: all_linked(h, "ab"))
        await h.daemons["b"].runner.ask(lambda r: happened.SetTrust(r, "block", "a"))
        await h.until(lambda: h.connected("a") == 0)
        seen = await h.daemons["a"].examiner.probe(address(h, "b"), FIRST_PORT)
        assert seen.findings is None
        assert (seen.reason, seen.stuck) == ("refused", ""), "no word after the handshake"
        told = verdicts.between(await person(h, "a", "b"))
        assert troubles(told) == {("tcp_out", "other_office")}, "and no packet is blamed"


# -- what a stranger may make us do -------------------------------------------------------------


class Stranger:
    """A probe link opened by hand."""

    def __init__(self, h: House, who: str) -> None:
        self.h, self.who = h, who
        self.daemon = h.daemons[who]

    async def open(self, whom: str) -> tuple[LinkMachine, probing._Talk]:
        machine = self.daemon._machine(initiator=True, purpose=PROBE)
        stream = await self.daemon.parts.lan.dial(address(self.h, whom), FIRST_PORT)
        await probing.shake_hands(machine, stream)
        return machine, probing._Talk(machine, stream)

    def question(self, **more: Any) -> Examine:
        me, other = self.h.identities[self.who].me.device, self.h.identities["b"].me.device
        given: dict[str, Any] = {
            "number": 1, "device": other, "asker": me, "hosts": (), "port": FIRST_PORT, "label": "",
        }  # fmt: skip
        return Examine(**(given | more))


async def answered(talk: probing._Talk, question: Record, kind: type[Record]) -> Record | None:
    return await talk.asked(question, kind, 20.0)


async def test_nobody_makes_us_dial_another(autojump_clock: MockClock) -> None:
    """A asks B to look at it, and names C's address: only where the question comes from is dialled."""
    async with house() as h:
        await up(h, "abc")
        await h.until(lambda: all_linked(h, "abc"))
        stranger = Stranger(h, "a")
        _, talk = await stranger.open("b")
        found = await answered(talk, stranger.question(hosts=(address(h, "c"),)), Findings)
        assert isinstance(found, Findings)
        assert [where for where, _ in found.dialled] == [address(h, "a")]
        _, talk = await stranger.open("b")
        found = await answered(talk, stranger.question(port=22), Findings)
        assert isinstance(found, Findings)
        assert found.dialled == ()


@pytest.mark.parametrize(
    "message",
    [
        Echo(1, MAX_ECHO + 1, b""),
        Echo(1, -1, b""),
        Echo(1, 0, bytes(MAX_ECHO + 1)),
        "twice",
        "for another",
        "many",
    ],
    ids=str,
)
async def test_what_is_too_much_ends_the_probe(message: object, autojump_clock: MockClock) -> None:
    async with house() as h:
        await up(h, "ab")
        await h.until(lambda: all_linked(h, "ab"))
        stranger = Stranger(h, "a")
        _, talk = await stranger.open("b")
        match message:
            case "twice":
                assert await answered(talk, stranger.question(), Findings)
                assert await answered(talk, stranger.question(number=2), Findings) is None
            case "for another":
                other = stranger.question(asker=bytes(32))
                assert await answered(talk, other, Findings) is None
            case "many":
                said = [await answered(talk, Echo(n, 0, b""), Echo) for n in range(10)]
                assert said.count(None) == 2
            case Echo():
                assert await answered(talk, message, Echo) is None
        assert all_linked(h, "ab")


async def test_few_probes_at_once(autojump_clock: MockClock) -> None:
    async with house() as h:
        await up(h, "ab")
        await h.until(lambda: all_linked(h, "ab"))
        stranger = Stranger(h, "a")
        talks = [(await stranger.open("b"))[1] for _ in range(6)]
        said = [await answered(talk, Echo(1, 0, b""), Echo) for talk in talks]
        assert sum(one is not None for one in said) == probing.AT_ONCE
        await trio.sleep(probing.SERVED_S + 1)
        _, talk = await stranger.open("b")
        assert await answered(talk, Echo(1, 0, b""), Echo) is not None, "silent ones are put out"


async def test_who_hides_is_not_looked_at_as_if_he_were_here(autojump_clock: MockClock) -> None:
    """The link stays up, so that messages come; a doctor of the program as it is does not speak of it."""
    async with house() as h:
        await up(h, "abc")
        await h.until(lambda: all_linked(h, "abc"))
        await h.daemons["b"].runner.ask(lambda r: SetPresence(r, "invisible"))
        await trio.sleep(1)
        seen = await h.daemons["a"].examiner.own()
        assert [word.name for word in seen.words] == ["c"]
        case = await person(h, "a", "b")
        assert case.linked is None
        assert case.findings is None
        assert h.connected("a") == 2


async def test_who_is_told_to_nobody_does_not_tell_a_doctor(autojump_clock: MockClock) -> None:
    async with house() as h:
        await up(h, "ab")
        await h.until(lambda: all_linked(h, "ab"))
        case = await person(h, "a", "b")
        assert case.findings is not None
        assert case.findings.hosts == (address(h, "b"),)
        h.daemons["b"].runner.node.live.unlisted = True
        case = await person(h, "a", "b")
        assert case.findings is not None
        assert case.findings.hosts == ()


async def test_only_who_was_asked_answers(autojump_clock: MockClock) -> None:
    """Numbers of questions are no secret: another one who is linked sends findings under all of them."""
    async with house() as h:
        await up(h, "abc")
        await h.until(lambda: all_linked(h, "abc"))
        examiner = h.daemons["a"].examiner
        live = h.daemons["a"].runner.node.live
        link, liar = (live.links[live.by_device[h.identities[name].me.device]] for name in "bc")
        found: list[Findings | None] = []

        async def ask() -> None:
            found.append(await examiner.consult(link, link.device))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(20):
                lie = Findings(number, link.device, False, (), False, False, "a lie", (), 0, "", 0)
                examiner.heard(Found(liar.link, lie))
        (told,) = found
        assert told is not None
        assert told.discovery == ""


async def test_what_lies_near_and_that_one_looks_for_others_outlives_a_node(
    autojump_clock: MockClock,
) -> None:
    """A node is built anew after a failure or under a new id; the system tells of its networks only once."""
    async with house() as h:
        await up(h, "ab")
        runner = h.daemons["a"].runner
        networks = (f"{address(h, 'a')}/24",)
        runner.post(happened.NetworkChanged((address(h, "a"),), networks))
        await runner.ask(lambda r: happened.Search(r, True))
        before = runner.node
        runner.start_over()
        await h.until(lambda: runner.node is not before and runner.node.live.networks != ())
        assert runner.node.live.networks == networks
        assert runner.node.live.searching
        assert runner.node.live.to_probe


async def test_a_crowd_of_askers_does_not_take_all_sockets(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examining, "LOOKING", 2)
    async with house() as h:
        await up(h, "abc")
        await h.until(lambda: all_linked(h, "abc"))
        h.lan.firewall("b", "a")  # each look takes as long as a dial does
        links = {name: h.daemons[name].runner.node.live for name in "ac"}
        target = h.identities["b"].me.device
        found: list[Findings | None] = []

        async def ask() -> None:
            live = links["a"]
            found.append(await h.daemons["a"].examiner.consult(live.links[live.by_device[target]], target))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert sum(one is not None for one in found) == 2
