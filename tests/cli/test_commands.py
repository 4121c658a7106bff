"""Commands about me, people and what is said: what each asks, prints, and how it ends."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli import samples
from tests.cli.contract import CHANGED, FIELDS, SENT, told
from tests.cli.stage import HANG, FakeDaemon, daemon, refusing, run

# -- me and the daemon ------------------------------------------------------------------------


def test_status(tmp_path: Path) -> None:
    with daemon(tmp_path, status=samples.status()):
        ran = run(tmp_path, "status", "--json")
        assert (ran.code, ran.err) == (0, "")
        assert FIELDS["status"] <= set(told(ran))
        ran = run(tmp_path, "status")
    assert "me        Ann  " + samples.ANN.hex()[:32] in ran.out
    assert "1 waiting, 1 of them only here" in ran.out
    assert ran.err == "warning: the recovery key lies here (print it)\n"


def test_whoami(tmp_path: Path) -> None:
    with daemon(tmp_path, whoami=samples.status()):
        assert told(run(tmp_path, "--json", "whoami"))["me"]["name"] == "Ann"
        assert run(tmp_path, "whoami").out.splitlines()[0] == "Ann"


def test_down_waits_until_it_is_gone(tmp_path: Path) -> None:
    with daemon(tmp_path, down=samples.status()) as fake:
        threading.Timer(0.2, fake.stop).start()
        ran = run(tmp_path, "down", "--now")
        assert fake.asked("down") == {"now": True}
    assert (ran.code, ran.out) == (0, "stopped\n")
    assert "1 message still waiting, 1 only here" in ran.err
    assert run(tmp_path, "status").code == 3


def test_down_says_when_all_that_waits_is_held(tmp_path: Path) -> None:
    answer = {**samples.status(), "queue": {"waiting": 2, "only_here": 0}}
    with daemon(tmp_path, down=answer) as fake:
        threading.Timer(0.2, fake.stop).start()
        ran = run(tmp_path, "down")
    assert ran.err == "2 messages still waiting, held by others: delivered without you\n"


def test_up_with_a_running_daemon_says_so(tmp_path: Path) -> None:
    with daemon(tmp_path, status=samples.status(), config__set={"settings": [], "restart": False}) as fake:
        ran = run(tmp_path, "up", "--json", "--name", "Anna", "--port", "26705")
        assert fake.asked("config.set") == {"key": "name", "value": "Anna"}
    found = told(ran)
    assert ran.code == 0
    assert found["already_running"] is True
    assert FIELDS["status"] <= set(found)
    assert "--port counts from the next start" in ran.err


@pytest.mark.parametrize(
    "words", [["--port", "70000"], ["--peer", "host:0"], ["--name", "x" * 65], ["--interface", "a/b"]]
)
def test_up_refuses_what_no_daemon_could_use(words: list[str], tmp_path: Path) -> None:
    ran = run(tmp_path, "up", *words, "--json")
    assert ran.code == 2
    assert told(ran)["error"]["kind"] == "usage"
    assert not (tmp_path / "p2pchat.log").exists()


# -- people -----------------------------------------------------------------------------------


def test_peers(tmp_path: Path) -> None:
    with daemon(
        tmp_path, peers__list={"peers": [samples.peer(), samples.peer("Carl", connected=False)]}
    ) as fake:
        (bob, carl) = told(run(tmp_path, "peers", "--json"))["peers"]
        assert set(bob) == FIELDS["peer"]
        assert (carl["connected"], carl["address"], carl["presence"]) == (False, None, "offline")
        ran = run(tmp_path, "peers", "--all")
        assert fake.asked("peers.list") == {"all": True}
    head, first, _ = ran.out.splitlines()
    assert head.split() == ["NAME", "PRESENCE", "ADDRESS", "TRUST", "SEEN", "DEVICE"]
    assert first.split() == ["Bob", "available", "10.0.0.2:26700", "unverified", "now", "b2b2b2b2"]


def test_peers_wait(tmp_path: Path) -> None:
    late = refusing("timeout", result={"peers": []})
    with daemon(tmp_path, peers__wait={"peers": [samples.peer()]}) as fake:
        assert run(tmp_path, "peers", "--wait", "Bob", "--timeout", "2").code == 0
        assert fake.asked("peers.wait") == {"name": "Bob", "timeout_s": 2.0}
        fake.answers["peers.wait"] = late
        ran = run(tmp_path, "peers", "--wait", "Bob", "--json")
    assert ran.code == 5
    assert told(ran)["peers"] == []
    assert told(ran)["error"]["kind"] == "timeout"


def test_peers_add_and_forget(tmp_path: Path) -> None:
    good = {"address": "h", "connected": True, "reason": None, "peer": samples.peer()}
    bad = {"address": "h", "connected": False, "reason": "port_closed", "peer": None}
    with daemon(tmp_path, peers__add=good, peers__forget={"account": "ab", "name": "Bob"}) as fake:
        assert run(tmp_path, "peers", "add", "h").out == "connected to Bob\n"
        assert told(run(tmp_path, "peers", "add", "h", "--json"))["connected"] is True
        fake.answers["peers.add"] = bad
        ran = run(tmp_path, "peers", "add", "h")
        assert ran.out == "not connected: the machine is there, but p2pchat does not run on it\n"
        assert "remembered" in ran.err
        assert run(tmp_path, "peers", "forget", "Bob").out == "forgot Bob\n"


def test_nobody_seen_points_to_doctor(tmp_path: Path) -> None:
    with daemon(tmp_path, peers__list={"peers": []}):
        ran = run(tmp_path, "peers")
    assert ran.err == f"nobody seen yet: `p2pchat doctor --home {tmp_path}` says why\n"


# -- writing ----------------------------------------------------------------------------------


def test_send_prints_the_id(tmp_path: Path) -> None:
    with daemon(tmp_path, send=SENT) as fake:
        ran = run(tmp_path, "send", "bob", "hello", "--urgent", "--reply-to", "abcdef", "--key", "k")
        assert (ran.code, ran.out, ran.err) == (0, "ab" * 32 + "\n", "")
        assert fake.asked("send") == {
            "target": "bob", "text": "hello", "reply_to": "abcdef", "thread": "", "urgent": True, "key": "k",
            "at_ms": None, "wait": "", "timeout_s": 30.0, "ack": False, "ack_by_ms": None, "files": [],
        }  # fmt: skip
        assert set(told(run(tmp_path, "send", "bob", "hello", "--json"))) == {"schema", "id", "room", "state"}
        first = fake.asked("send")["key"]
        run(tmp_path, "send", "bob", "hello")
        assert len(first) == 32
        assert fake.asked("send")["key"] != first


def test_send_warns_of_a_second_key_under_the_name(tmp_path: Path) -> None:
    with daemon(tmp_path, send={**SENT, "warning": "another key uses the name"}):
        ran = run(tmp_path, "send", "bob", "hello")
    assert (ran.out, ran.err) == ("ab" * 32 + "\n", "warning: another key uses the name\n")


def test_a_wait_in_vain_prints_the_object_and_the_failure(tmp_path: Path) -> None:
    with daemon(tmp_path, send=refusing("timeout", "not delivered in time", result=SENT)) as fake:
        ran = run(tmp_path, "send", "bob", "x", "--wait", "delivered", "--timeout", "1", "--json")
        assert (fake.asked("send")["wait"], fake.asked("send")["timeout_s"]) == ("delivered", 1.0)
        assert ran.code == 5
        assert told(ran) == {
            "schema": 1,
            **SENT,
            "error": {"code": 5, "kind": "timeout", "message": "not delivered in time", "hint": "do this"},
        }
        ran = run(tmp_path, "send", "bob", "x", "--wait", "read")
    assert (ran.code, ran.out) == (5, "ab" * 32 + "\n")
    assert ran.err == "error: not delivered in time\nhint: do this\n"


def test_send_at(tmp_path: Path) -> None:
    with daemon(tmp_path, send={**SENT, "id": "draft-1"}) as fake:
        assert run(tmp_path, "send", "bob", "x", "--at", "10m").out == "draft-1\n"
        assert abs(fake.asked("send")["at_ms"] / 1000 - time.time() - 600) < 5
        ran = run(tmp_path, "send", "bob", "x", "--at", "soon", "--json")
    assert ran.code == 2
    assert "'soon'" in told(ran)["error"]["message"]


def test_send_asks_once_more_under_the_same_key_if_the_daemon_vanishes(tmp_path: Path) -> None:
    first = FakeDaemon(tmp_path, {"send": HANG})
    second = FakeDaemon(tmp_path, {"send": SENT})
    restart = threading.Timer(0.2, lambda: (first.stop(), second.__enter__()))
    with first:
        restart.start()
        ran = run(tmp_path, "send", "bob", "x", "--json")
    restart.join()
    second.stop()
    assert told(ran)["id"] == SENT["id"]
    assert second.asked("send") == first.asked("send")


@pytest.mark.parametrize(
    ("argv", "method", "params"),
    [
        (["edit", "abcdef", "new"], "edit", {"id": "abcdef", "text": "new", "target": ""}),
        (["edit", "last", "new", "--in", "bob"], "edit", {"id": "last", "text": "new", "target": "bob"}),
        (["delete", "abcdef"], "delete", {"id": "abcdef", "target": ""}),
        (["react", "abcdef", "👍"], "react", {"id": "abcdef", "emoji": "👍", "remove": False, "target": ""}),
        (["react", "a", "+", "--remove"], "react", {"id": "a", "emoji": "+", "remove": True, "target": ""}),
        (["ack", "last", "--in", "launch"], "ack", {"id": "last", "target": "launch"}),
        (["pin", "abcdef", "--remove"], "pin", {"id": "abcdef", "remove": True, "target": ""}),
    ],
    ids=str,
)
def test_changes(argv: list[str], method: str, params: dict[str, Any], tmp_path: Path) -> None:
    with daemon(tmp_path, **{method: CHANGED}) as fake:
        assert told(run(tmp_path, *argv, "--json")) == {"schema": 1, **CHANGED}
        assert fake.asked(method) == params
        assert run(tmp_path, *argv).out.split()[-1] == "cd" * 32


def test_queue(tmp_path: Path) -> None:
    cancelled = {"id": "ab" * 32, "room": "c0" * 32, "state": "cancelled"}
    with daemon(tmp_path, queue__list={"queue": [samples.queue_entry()]}, queue__cancel=cancelled) as fake:
        (entry,) = told(run(tmp_path, "queue", "--json"))["queue"]
        assert set(entry) == FIELDS["queue"]
        assert set(entry["to"][0]) == FIELDS["person"]
        assert told(run(tmp_path, "queue", "list", "--json"))["queue"] == [entry]
        assert run(tmp_path, "queue").out.splitlines()[1].split()[1:3] == ["Bob", "queued"]
        assert told(run(tmp_path, "queue", "cancel", "abcdef", "--json")) == {"schema": 1, **cancelled}
        fake.answers["queue.cancel"] = refusing("already_delivered")
        assert run(tmp_path, "queue", "cancel", "abcdef").code == 7
