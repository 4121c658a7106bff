"""Operations on a real engine and a real archive: what each asks, answers and refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
import trio

from p2pchat.control.endpoint import ClientInfo
from p2pchat.control.framing import ControlProtocolError
from p2pchat.control.operations import all_operations
from p2pchat.daemon import health
from p2pchat.daemon.health import Facts
from p2pchat.daemon.looks import Looks, NodeLooks
from p2pchat.daemon.probing import Probed
from p2pchat.daemon.queries import Queries, Sources
from p2pchat.daemon.sights import Case, Own
from p2pchat.engine import inputs
from p2pchat.engine.inputs import Tell
from p2pchat.errors import ArchiveError, CommandError
from p2pchat.ids import AccountId, DeviceId
from p2pchat.model import Gap
from p2pchat.net.lan import Address
from p2pchat.store.ledger import MEMORY, Ledger, open_ledger
from p2pchat.store.reader import Reader, open_reader
from tests.daemon.false_bulk import FalseBulk
from tests.engine.play import Actor, Stage

T = TypeVar("T")
ME = ClientInfo("unix", 1000)


NOTHING_SEEN = Own(True, False, True, (), (), None, None, ("eth0",), (), (), (), 26700)


class FalseLooker:
    """A doctor who sees nothing wrong here, and nothing at all there."""

    def __init__(self, me: DeviceId) -> None:
        self.looked: list[object] = []
        self.me = me

    async def own(self) -> Own:
        return NOTHING_SEEN

    async def person(self, account: AccountId) -> Case:
        self.looked.append(account)
        return Case("bob", account, None, None, (), "", None, True, False, None, "", NOTHING_SEEN, 0)

    async def place(self, host: str, port: int | None) -> Case:
        self.looked.append((host, port))
        if host == "10.0.0.7":
            me = (Probed(Address(host, 26700), "", device=self.me),)
            return Case(host, None, self.me, None, me, "", None, True, False, None, "", NOTHING_SEEN, 0)
        return Case(host, None, None, None, (), "", None, True, False, None, "", NOTHING_SEEN, 0)


class StagedHost:
    """A daemon whose engine is an actor of a play: everything happens at once."""

    def __init__(self, actor: Actor, config: Path) -> None:
        self.actor = actor
        self.looks: Looks = NodeLooks(lambda: actor.node, actor.now)
        self.feed_changed = trio.Event()
        self.tells: dict[object, Callable[[Tell], None]] = {}
        self.sources = Sources(config, {"port": 26701, "name": "Ann"}, {"P2PCHAT_INTERFACE": "eth0"})
        self.reader: Reader = open_reader(actor.ledger)
        self.bulk = FalseBulk()
        self.doctor = FalseLooker(actor.device)
        self.inbox = "/home/ann/inbox"
        self.key: str | None = "recover-me"
        self.stopped: bool | None = None
        self.hours: str | None = None
        self.facts_now = Facts("0.1.0", 5.0, ("192.0.2.3:26700",), 10**10, ("192.0.2.3",))

    async def ask(self, make: Callable[[int], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        answer = self.actor.ask(make)
        self.poke()
        if isinstance(answer, CommandError):
            raise answer
        return answer

    async def read(self, question: Callable[[Reader], T]) -> T:
        await trio.lowlevel.checkpoint()
        return question(self.reader)

    def poke(self) -> None:
        """The feed may have grown, and things may have been told."""
        told, self.actor.told = self.actor.told, []
        for tell in told:
            for listener in list(self.tells.values()):
                listener(tell)
        self.feed_changed.set()
        self.feed_changed = trio.Event()

    def facts(self) -> Facts:
        return self.facts_now

    def stop(self, now: bool) -> None:
        self.stopped = now

    def quiet_hours(self, hours: str) -> None:
        self.hours = hours

    def recovery_key(self) -> str | None:
        return self.key

    def erase_recovery_key(self) -> None:
        self.key = None


class Scene:
    """Ann and Bob, linked, and Ann's operations."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.ann, self.bob = stage.actor("Ann"), stage.actor("Bob")
        stage.join(self.ann, self.bob)
        self.ann.told.clear()
        self.host = StagedHost(self.ann, folder / "config.toml")
        self.queries = Queries(self.host)

    async def call(self, method: str, **params: Any) -> Any:
        return await self.queries.call(method, params, ME)

    async def refused(self, method: str, **params: Any) -> CommandError:
        with pytest.raises(CommandError) as caught:
            await self.call(method, **params)
        return caught.value


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    opened: list[Ledger] = []

    def fresh() -> Ledger:
        opened.append(open_ledger(MEMORY))
        return opened[-1]

    yield Scene(Stage(fresh), tmp_path)
    for ledger in opened:
        ledger.close()


async def test_every_operation_of_the_tables_is_carried_out(scene: Scene) -> None:
    for method in all_operations():
        if method == "listen":
            continue
        assert method in scene.queries._methods
    with pytest.raises(ControlProtocolError, match="no method 'bogus'"):
        await scene.call("bogus")


async def test_parameters_are_checked_before_anything_happens(scene: Scene) -> None:
    assert (await scene.refused("send", target="Bob")).kind == "usage"
    assert (await scene.refused("send", target="Bob", text=3)).kind == "usage"
    assert (await scene.refused("send", target="Bob", text="x", bogus=1)).kind == "usage"
    assert (await scene.refused("history", target="Bob", tail=0)).kind == "usage"
    assert (await scene.call("queue.list")) == {"queue": []}


async def test_status_counts_what_there_is(scene: Scene) -> None:
    scene.bob.say(scene.ann, "hi")
    scene.stage.cut()
    await scene.call("send", target="Bob", text="later")
    found = await scene.call("status")
    assert found["me"]["name"] == "Ann"
    assert found["me"]["fingerprint"] == scene.ann.account.hex()[:32]
    assert found["unread"] == 1
    assert found["queue"] == {"waiting": 1, "only_here": 1}
    assert found["peers"] == {"connected": 0, "known": 1}
    assert found["daemon"]["listen"] == ["192.0.2.3:26700"]
    assert {warning["kind"] for warning in found["warnings"]} == {"recovery_key", "not_encrypted"}
    assert await scene.call("whoami") == {**await scene.call("status")}


async def test_down_answers_and_stops(scene: Scene) -> None:
    assert (await scene.call("down", now=True))["me"]["name"] == "Ann"
    assert scene.host.stopped is True


async def test_peers_are_listed_blocked_ones_on_demand(scene: Scene) -> None:
    (bob,) = (await scene.call("peers.list"))["peers"]
    assert (bob["name"], bob["connected"], bob["trust"]) == ("Bob", True, "unverified")
    assert bob["presence"] == "available"
    await scene.call("trust.block", target="Bob")
    assert (await scene.call("peers.list"))["peers"] == []
    (bob,) = (await scene.call("peers.list", all=True))["peers"]
    assert (bob["trust"], bob["presence"], bob["address"]) == ("blocked", "offline", None)


async def test_a_message_is_sent_seen_read_and_found(scene: Scene) -> None:
    sent = await scene.call("send", target="Bob", text="shall we say ten?")
    assert set(sent) == {"id", "room", "state"}
    scene.bob.say(scene.ann, "ten is fine")
    page = await scene.call("history", target="Bob")
    assert [message["text"] for message in page["messages"]] == ["shall we say ten?", "ten is fine"]
    assert page["room"] == {"id": sent["room"], "name": "Bob", "kind": "direct"}
    assert page["messages"][0]["state"] == "delivered"
    assert page["messages"][0]["delivered_to"][0]["name"] == "Bob"
    assert (await scene.call("inbox"))["unread"] == [
        {"room": sent["room"], "name": "Bob", "count": 1, "mentions": 0}
    ]
    unread = await scene.call("read.open", target="Bob")
    ids = [message["id"] for message in unread["messages"]]
    assert len(ids) == 1
    assert (await scene.call("inbox"))["unread"] != []
    assert await scene.call("read.confirm", room=unread["room"]["id"], ids=ids) == {
        "room": sent["room"],
        "read": 1,
    }
    assert (await scene.call("inbox"))["unread"] == []
    (hit,) = (await scene.call("search", query="fine", person="Bob"))["results"]
    assert hit["text"] == "ten is fine"
    assert "fine" in hit["snippet"]
    assert [m["text"] for m in (await scene.call("search", query="ten", person="Ann"))["results"]] == [
        "shall we say ten?"
    ]


async def test_search_says_where_it_could_not_look(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.bob.say(scene.ann, "ten is fine")
    assert (await scene.call("search", query="ten"))["incomplete"] == []
    gap = Gap(scene.bob.device, 3, 5)
    monkeypatch.setattr(Reader, "gaps", lambda _self, _room: [gap])
    (missing,) = (await scene.call("search", query="ten"))["incomplete"]
    assert (missing["name"], missing["why"]) == ("Bob", "3 messages of it not here yet")
    assert (await scene.call("search", query="ten", target="Bob"))["incomplete"] == [missing]
    (told,) = (await scene.call("read.open", target="Bob"))["gaps"]
    (holder,) = told.pop("holders")
    assert told == {"device": scene.bob.device.hex(), "name": "Bob", "from": 3, "to": 5, "earlier": False}
    assert (holder["device"], holder["name"]) == (told["device"], "Bob"), "he is here"


async def test_history_takes_ids_times_and_pages(scene: Scene) -> None:
    ids = []
    for number in range(5):
        ids.append((await scene.call("send", target="Bob", text=f"number {number}"))["id"])
        scene.stage.wait(60.0)
    page = await scene.call("history", target="Bob", tail=2)
    assert [message["id"] for message in page["messages"]] == ids[3:]
    assert page["has_more"] is True
    page = await scene.call("history", target="Bob", tail=2, before_id=ids[3][:12])
    assert [message["id"] for message in page["messages"]] == ids[1:3]
    page = await scene.call("history", target="Bob", after_id=ids[2])
    assert [message["id"] for message in page["messages"]] == ids[3:]
    await scene.call("pin", id=ids[0])
    assert [m["id"] for m in (await scene.call("history", target="Bob", pinned=True))["messages"]] == ids[:1]
    assert (await scene.refused("history", target="Bob", before_id="ffffff")).kind == "no_such_target"
    error = await scene.refused("history", target="Bob", before_id=ids[0], before_ms=3)
    assert error.kind == "usage"
    assert (await scene.refused("history", target="Nobody")).kind == "no_such_target"


async def test_changes_name_message_and_change(scene: Scene) -> None:
    sent = await scene.call("send", target="Bob", text="won")
    changed = await scene.call("edit", id="last", text="one", target="Bob")
    assert changed["target"] == sent["id"] != changed["id"]
    await scene.call("react", id=sent["id"][:8], emoji="👍")
    (message,) = (await scene.call("history", target="Bob"))["messages"]
    assert (message["text"], message["edited"]) == ("one", True)
    assert message["reactions"][0]["by"][0]["name"] == "Ann"
    await scene.call("react", id=sent["id"], emoji="👍", remove=True)
    await scene.call("delete", id=sent["id"])
    (message,) = (await scene.call("history", target="Bob"))["messages"]
    assert (message["text"], message["deleted"], message["reactions"]) == (None, True, [])


async def test_what_waits_is_listed_and_taken_back(scene: Scene) -> None:
    scene.stage.cut()
    sent = await scene.call("send", target="Bob", text="never mind")
    (entry,) = (await scene.call("queue.list"))["queue"]
    assert (entry["id"], entry["state"], entry["to"][0]["name"]) == (sent["id"], "queued", "Bob")
    taken = await scene.call("queue.cancel", id=sent["id"][:10])
    assert taken == {"id": sent["id"], "room": sent["room"], "state": "cancelled"}
    assert (await scene.call("history", target="Bob"))["messages"] == []
    draft = await scene.call("send", target="Bob", text="at ten", at_ms=4_000_000_000_000)
    assert draft["id"].startswith("draft-")
    (entry,) = (await scene.call("queue.list"))["queue"]
    assert (entry["id"], entry["at"]) == (draft["id"], "2096-10-02T07:06:40.000Z")
    assert (await scene.call("queue.cancel", id=draft["id"]))["state"] == "cancelled"


async def test_trust_is_shown_and_decided(scene: Scene) -> None:
    shown = await scene.call("trust.show", target="Bob")
    assert shown["fingerprint"] == scene.bob.account.hex()[:32]
    assert len(shown["safety_number"].replace(" ", "")) == 60
    wrong = await scene.refused("trust.verify", target="Bob", kind="fingerprint", proof="0" * 32)
    assert wrong.kind == "key_mismatch"
    empty = await scene.refused("trust.verify", target="Bob", kind="fingerprint", proof="")
    assert empty.kind == "key_mismatch"
    right = await scene.call("trust.verify", target="Bob", kind="safety-number", proof=shown["safety_number"])
    assert right["trust"] == "verified"
    assert right["devices"][0]["device"] == scene.bob.device.hex()
    assert (await scene.call("trust.block", target="Bob"))["trust"] == "blocked"
    assert (await scene.call("trust.unblock", target="Bob"))["trust"] == "verified"
    assert (await scene.refused("trust.accept", target="Bob")).kind == "usage"


async def test_the_recovery_key_is_shown_until_erased(scene: Scene) -> None:
    assert (await scene.call("device.recovery_key")) == {"recovery_key": "recover-me"}
    assert (await scene.call("device.recovery_erase")) == {"erased": True}
    assert (await scene.refused("device.recovery_key")).kind == "failed"
    kinds = {warning["kind"] for warning in (await scene.call("status"))["warnings"]}
    assert "recovery_key" not in kinds
    (device,) = (await scene.call("device.list"))["devices"]
    assert (device["device"], device["this"]) == (scene.ann.device.hex(), True)


async def test_settings_are_shown_with_their_origin_and_heeded(scene: Scene) -> None:
    found = {entry["key"]: entry for entry in (await scene.call("config.show"))["settings"]}
    assert (found["port"]["value"], found["port"]["origin"]) == (26701, "flag")
    assert (found["interface"]["value"], found["interface"]["origin"]) == (["eth0"], "environment")
    set_name = await scene.call("config.set", key="name", value="Anna")
    assert set_name["settings"][0]["origin"] == "user"
    assert scene.host.looks.me().name == "Anna"
    assert scene.bob.look().cache.profiles[scene.ann.account] is not None
    port = await scene.call("config.set", key="port", value="26702")
    assert (port["restart"], port["settings"][0]["origin"]) == (True, "flag")
    assert (await scene.call("config.set", key="read_receipts", value="on"))["restart"] is False
    assert scene.ann.look().cache.read_receipts is True
    assert (await scene.refused("config.set", key="port", value="many")).kind == "usage"
    assert (await scene.refused("config.set", key="bogus", value="1")).kind == "usage"


async def test_adding_a_peer_says_why_not(scene: Scene) -> None:
    scene.stage.dials.clear()
    refused = await scene.refused("peers.add", address="not an address")
    assert refused.kind == "usage"


async def test_waiting_for_somebody_ends_with_who_is_there(scene: Scene) -> None:
    assert (await scene.call("peers.wait", name="Bob"))["peers"][0]["connected"] is True
    error = await scene.refused("peers.wait", name="Carl", timeout_s=0.01)
    assert (error.kind, error.result) == ("timeout", {"peers": []})


async def test_waiting_for_somebody_who_comes(scene: Scene) -> None:
    carl = scene.stage.actor("Carl")
    found: list[Any] = []

    async def wait() -> None:
        found.append(await scene.call("peers.wait", name="carl", timeout_s=30))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        scene.stage.join(scene.ann, carl)
        scene.host.poke()
    assert found[0]["peers"][0]["name"] == "Carl"


# -- facts ---------------------------------------------------------------------------------


def test_troubles_have_a_cause_and_a_fix() -> None:
    bad = Facts("0.1.0", 60.0, (), 1000, (), "no multicast route", 0, (3_600_000, 3_590_000), True)
    found = {one["name"]: one for one in health.checks(bad, ["page 3 is torn"])}
    assert all(not one["ok"] and one["cause"] and one["fix"] for one in found.values())
    assert found["archive"]["detail"] == "page 3 is torn"
    early = bad._replace(uptime_s=0.5, discovery="starting")
    soon = [warning["kind"] for warning in health.warnings(early, recovery_key_here=False)]
    troubles = ["port_closed", "clock", "disk_full", "strangers_full"]
    assert soon == [*troubles, "not_encrypted"]
    kinds = [warning["kind"] for warning in health.warnings(bad, recovery_key_here=False)]
    assert kinds == ["no_multicast", "no_network", *troubles, "not_encrypted"]
    (key,) = [one for one in health.checks(bad._replace(revoked=True), []) if one["name"] == "key"]
    assert (key["ok"], key["cause"]) == (False, "revoked")
    good = Facts("0.1.0", 1.0, ("192.0.2.1:26700",), 10**12, ("192.0.2.1",), "", 2, (15,))
    assert all(one["ok"] and one["cause"] is None and one["fix"] == "" for one in health.checks(good, []))


def test_a_machine_of_mine_that_is_linked_is_seen_now() -> None:
    stage = Stage(lambda: open_ledger(MEMORY))
    pc = stage.actor("pc")
    laptop = stage.actor("laptop", of=pc)
    stage.join(pc, laptop)
    stage.wait(90)
    seen = {one.device: one.last_seen_ms for one in NodeLooks(lambda: pc.node, pc.now).own_devices()}
    assert seen == {pc.device: pc.now().wall_ms, laptop.device: pc.now().wall_ms}
    stage.cut()
    left = pc.now().wall_ms
    stage.wait(90)
    seen = {one.device: one.last_seen_ms for one in NodeLooks(lambda: pc.node, pc.now).own_devices()}
    assert seen[laptop.device] == left
    for one in (pc, laptop):
        one.ledger.close()


async def test_doctor_names_an_archive_that_not_even_answers(scene: Scene) -> None:
    def torn(question: object) -> NoReturn:
        raise ArchiveError("the archive cannot be read: database disk image is malformed", "p2pchat doctor")

    scene.host.read = torn  # type: ignore[method-assign, assignment]
    found = await scene.call("doctor")
    (archive,) = (one for one in found["checks"] if one["name"] == "archive")
    assert (found["ok"], archive["cause"]) == (False, "archive_damaged")
    assert "malformed" in archive["detail"]


async def test_doctor_reads_the_archive(scene: Scene) -> None:
    found = await scene.call("doctor")
    assert found["ok"] is True
    assert [one["name"] for one in found["checks"]] == [
        "discovery", "address", "tcp_out", "tcp_in", "clock", "version", "interface", "firewall", "strangers",
        "disk", "archive",
    ]  # fmt: skip


async def test_doctor_takes_a_person_or_an_address(scene: Scene) -> None:
    looked = scene.host.doctor.looked
    found = await scene.call("doctor", target="Bob")
    assert looked == [scene.bob.account]
    assert found["ok"] is False
    (trouble,) = [one for one in found["checks"] if not one["ok"]]
    assert (trouble["name"], trouble["cause"]) == ("address", "host_down")
    await scene.call("doctor", target="[fd77::2]:26701")
    await scene.call("doctor", target="printer.example")
    assert looked[1:] == [("fd77::2", 26701), ("printer.example", None)]
    assert (await scene.refused("doctor", target="nobody")).code == 4
    wrong = await scene.refused("doctor", target="10.0.0.1:x")
    assert (wrong.kind, wrong.hint.startswith("`p2pchat doctor 192.168.1.20`")) == ("usage", True)
    wrong = await scene.refused("peers.add", address="fd77:0:0:0::26701:x")
    assert "[fd77:0:0:0::26701]:PORT" in wrong.message
    itself = await scene.refused("doctor", target="10.0.0.7")
    assert (itself.code, itself.message) == (4, "'10.0.0.7' is this machine itself")


async def test_an_address_is_forgotten_as_it_was_added(scene: Scene) -> None:
    scene.host.actor.feed(inputs.AddPeer(900, "10.9.9.9", None))
    assert await scene.call("peers.forget", target="10.9.9.9") == {"account": None, "name": "10.9.9.9"}
    assert "'10.9.9.9'" in (await scene.refused("peers.forget", target="10.9.9.9")).message
    assert (await scene.refused("peers.forget", target="nobody")).code == 4


async def test_a_command_names_what_is_wrong(scene: Scene) -> None:
    error = await scene.refused("send", target="Bob", text="x" * 20_000)
    assert error.kind == "too_long"
