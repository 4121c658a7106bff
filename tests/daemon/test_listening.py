"""What `listen` tells, from a false archive: what was kept, what comes, and what is lost."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from p2pchat.engine.inputs import Tell
from p2pchat.errors import CommandError
from tests.daemon.test_queries import ME, Scene, scene

__all__ = ["scene"]

# -- listen -------------------------------------------------------------------------------


async def take(lines: Any, count: int) -> list[dict[str, Any]]:
    with trio.fail_after(5):
        return [await anext(lines) for _ in range(count)]


async def test_listen_is_ready_first_and_misses_nothing(scene: Scene) -> None:
    lines = scene.queries.subscribe({}, ME)
    (ready,) = await take(lines, 1)
    assert set(ready) == {"cursor", "type"}
    scene.bob.say(scene.ann, "hello")
    scene.host.poke()
    (line,) = await take(lines, 1)
    assert (line["type"], line["message"]["text"]) == ("message", "hello")
    assert int(line["cursor"]) > int(ready["cursor"])
    await lines.aclose()  # type: ignore[attr-defined]
    assert scene.host.tells == {}


async def test_listen_resumes_after_any_cursor(scene: Scene) -> None:
    texts = [f"number {n}" for n in range(6)]
    for text in texts:
        scene.bob.say(scene.ann, text)
    lines = scene.queries.subscribe({"since": 0, "types": ["message"]}, ME)
    first = await take(lines, 4)
    assert [line["message"]["text"] for line in first[1:]] == texts[:3]
    await lines.aclose()  # type: ignore[attr-defined]
    again = scene.queries.subscribe({"since": int(first[-1]["cursor"]), "types": ["message"]}, ME)
    rest = await take(again, 4)
    assert [line["message"]["text"] for line in rest[1:]] == texts[3:]
    await again.aclose()  # type: ignore[attr-defined]


async def test_an_old_cursor_gets_one_warning_and_goes_on_at_the_oldest(scene: Scene) -> None:
    for number in range(4):
        scene.bob.say(scene.ann, f"number {number}")
    scene.ann.ledger.begin()
    scene.ann.ledger.outbox.prune_feed(scene.ann.now().wall_ms + 1)
    scene.ann.ledger.commit()
    scene.bob.say(scene.ann, "the oldest kept")
    lines = scene.queries.subscribe({"since": 1, "types": ["message", "warning"]}, ME)
    ready, warning, message = await take(lines, 3)
    assert (ready["type"], warning["type"]) == ("ready", "warning")
    assert warning["warning"]["kind"] == "cursor"
    assert message["message"]["text"] == "number 3"  # the newest row is never pruned
    await lines.aclose()  # type: ignore[attr-defined]
    oldest = scene.queries.subscribe({"since": 0, "types": ["message", "warning"]}, ME)
    assert [line["type"] for line in await take(oldest, 2)] == ["ready", "message"]
    await oldest.aclose()  # type: ignore[attr-defined]


async def test_listen_tells_of_state_changes_receipts_and_peers(scene: Scene) -> None:
    lines = scene.queries.subscribe({}, ME)
    await take(lines, 1)
    sent = await scene.call("send", target="Bob", text="ten")
    message, receipt = await take(lines, 2)
    assert message["message"]["mine"] is True
    assert receipt["receipt"] == {
        "id": sent["id"],
        "room": sent["room"],
        "state": "delivered",
        "person": {"account": scene.bob.account.hex(), "device": None, "name": "Bob"},
    }
    await scene.call("edit", id=sent["id"], text="eleven")
    edit = (await take(lines, 1))[0]
    assert (edit["type"], edit["edit"]["text"], edit["edit"]["edited"]) == ("edit", "eleven", True)
    scene.stage.cut()
    scene.host.poke()
    while (line := (await take(lines, 1))[0])["type"] != "peer":
        assert line["type"] == "receipt"
    assert (line["peer"]["name"], line["peer"]["connected"]) == ("Bob", False)
    await lines.aclose()  # type: ignore[attr-defined]


async def test_listen_tells_who_has_taken_note(scene: Scene) -> None:
    sent = await scene.call("send", target="Bob", text="stop at noon", ack=True)
    scene.ann.write(lambda ctx: ctx.feed("receipt", bytes.fromhex(sent["id"])))  # as notes were told once
    lines = scene.queries.subscribe({"types": ["ack"]}, ME)
    await take(lines, 1)
    scene.bob.change("ack", sent["id"])
    scene.stage.settle()
    scene.host.poke()
    (line,) = await take(lines, 1)
    bob = {"account": scene.bob.account.hex(), "device": None, "name": "Bob"}
    assert line["type"] == "ack"
    assert line["ack"] == {
        "id": sent["id"],
        "room": sent["room"],
        "person": bob,
        "by_time": None,
        "acked": [bob],
        "missing": [],
    }
    await lines.aclose()  # type: ignore[attr-defined]
    everything = scene.queries.subscribe({"since": 0, "types": ["receipt", "ack"]}, ME)
    told = await take(everything, 3)
    assert [one["type"] for one in told] == ["ready", "receipt", "ack"]
    assert told[1]["receipt"]["state"] == "delivered"
    await everything.aclose()  # type: ignore[attr-defined]


async def test_receipts_are_listed_machine_by_machine(scene: Scene) -> None:
    second = scene.stage.actor("Bob's phone", of=scene.bob)
    scene.stage.join(scene.bob, second)
    scene.stage.join(scene.bob, scene.ann)
    sent = await scene.call("send", target="Bob", text="ten")
    scene.stage.wait(1)
    found = await scene.call("receipts", id=sent["id"][:12])
    assert (found["id"], found["room"], found["state"]) == (sent["id"], sent["room"], "delivered")
    assert found["progress"] == {"delivered": 1, "read": 0, "of": 1}
    assert {(one["device"], one["account"], one["state"]) for one in found["devices"]} == {
        (scene.bob.device.hex(), scene.bob.account.hex(), "delivered"),
        (second.device.hex(), scene.bob.account.hex(), "queued"),
    }
    assert await scene.call("receipts", id="last", target="Bob") == found
    theirs = scene.bob.say(scene.ann, "hi")
    assert (await scene.refused("receipts", id=theirs)).kind == "usage"
    assert (await scene.refused("receipts", id="ffffff")).kind == "no_such_target"


async def test_listen_takes_targets_types_and_mentions(scene: Scene) -> None:
    carl = scene.stage.actor("Carl")
    scene.stage.join(scene.ann, carl)
    scene.bob.say(scene.ann, "from bob")
    carl.say(scene.ann, "from carl")
    carl.say(scene.ann, "hey @Ann")
    lines = scene.queries.subscribe({"since": 0, "targets": ["Carl"], "types": ["message"]}, ME)
    assert [line["message"]["text"] for line in (await take(lines, 3))[1:]] == ["from carl", "hey @Ann"]
    await lines.aclose()  # type: ignore[attr-defined]
    lines = scene.queries.subscribe({"since": 0, "mentions": True}, ME)
    assert [line["message"]["text"] for line in (await take(lines, 2))[1:]] == ["hey @Ann"]
    await lines.aclose()  # type: ignore[attr-defined]
    for bad in ({"types": ["bogus"]}, {"since": -1}, {"targets": ["Nobody"]}):
        with pytest.raises(CommandError):
            await anext(scene.queries.subscribe(bad, ME))  # type: ignore[arg-type]


async def test_a_subscriber_that_reads_nothing_holds_little(scene: Scene) -> None:
    from p2pchat.daemon.listening import MAX_TOLD

    lines = scene.queries.subscribe({}, ME)
    await take(lines, 1)
    for _ in range(3 * MAX_TOLD):
        for listener in scene.host.tells.values():
            listener(Tell("peer", scene.bob.account))
    line = (await take(lines, 1))[0]
    assert (line["type"], line["warning"]["kind"]) == ("warning", "overflow")
    await lines.aclose()  # type: ignore[attr-defined]
