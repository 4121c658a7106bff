"""`file`, `send --file`, and files elsewhere: what each asks, prints, and how it ends."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from p2pchat_cli.progress import bar
from p2pchat_cli.text import columns

from tests.cli import samples
from tests.cli.contract import FIELDS, SENT, told
from tests.cli.hostile import STRINGS
from tests.cli.samples import Motion
from tests.cli.stage import HANG, daemon, refusing, run

REPORT = samples.transfer()["id"]
FAILED = {"error_kind": "disk_full", "error": "no space left"}


def out(number: int = 1, **changes: Any) -> dict[str, Any]:
    """Something I offer."""
    return samples.transfer(number, incoming=False, **changes)


def sent(*numbers: int) -> dict[str, Any]:
    return {**SENT, "transfers": [out(number) for number in numbers]}


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF")
    return path


# -- offering -------------------------------------------------------------------------------


def test_file_send(tmp_path: Path, report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with daemon(tmp_path, files__send=sent(1)) as fake:
        ran = run(tmp_path, "file", "send", "bob", "report.pdf", "./")
        assert (ran.code, ran.out, ran.err) == (0, REPORT + "\n", "")
        asked = fake.asked("files.send")
        assert asked["paths"] == [os.fspath(report), os.fspath(tmp_path)]
        assert (asked["target"], asked["text"], asked["spool"], asked["name"]) == ("bob", "", "", "")
        assert len(asked["key"]) == 32
        found = told(run(tmp_path, "file", "send", "bob", "report.pdf", "--json"))
    assert set(found) == {"schema", "transfers"}
    assert FIELDS["transfer"] <= set(found["transfers"][0])


def test_more_files_than_a_message_takes_go_in_several(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number:02d}" for number in range(20)]
    for path in paths:
        path.touch()
    with daemon(tmp_path, files__send=sent(1)) as fake:
        assert run(tmp_path, "file", "send", "bob", *map(str, paths)).out == (REPORT + "\n") * 2
        asked = [params for method, params in fake.calls if method == "files.send"]
    assert [len(params["paths"]) for params in asked] == [16, 4]
    assert asked[0]["paths"] + asked[1]["paths"] == [str(path) for path in paths]
    assert asked[0]["key"] != asked[1]["key"]


def test_what_was_offered_before_a_failure_is_told_with_it(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number:02d}" for number in range(17)]
    for path in paths:
        path.touch()

    def answer(params: dict[str, Any]) -> Any:
        return sent(1) if len(params["paths"]) == 16 else refusing("unsafe_path", "cannot read '16'")

    with daemon(tmp_path, files__send=answer):
        found = told(ran := run(tmp_path, "file", "send", "bob", *map(str, paths), "--json"))
        assert (ran.code, found["error"]["kind"]) == (9, "unsafe_path")
        assert [one["id"] for one in found["transfers"]] == [REPORT]
        assert run(tmp_path, "file", "send", "bob", *map(str, paths)).out == REPORT + "\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere.txt"], 4, "no file 'nowhere.txt'"),
        (["report.pdf", "nowhere.txt"], 4, "no file 'nowhere.txt'"),
        ([""], 2, "'' is no path"),
        (["report.pdf/x"], 9, "cannot read 'report.pdf/x': not a directory"),
        (["report.pdf", "--name", "x"], 2, "--name goes with '-' alone"),
        (["-"], 2, "what is piped in has no name"),
        (["-", "report.pdf", "--name", "x"], 2, "'-' goes with no other path"),
        (["report.pdf", "--timeout", "3"], 2, "--timeout without --wait"),
        (["caf\udce9"], 2, "the name 'caf\\udce9' is not UTF-8"),
    ],
    ids=str,
)
def test_what_cannot_be_offered_asks_no_daemon(
    words: list[str], code: int, message: str, tmp_path: Path, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("caf\udce9").touch()
    with daemon(tmp_path) as fake:
        error = told(ran := run(tmp_path, "file", "send", "bob", *words, "--json"))["error"]
        assert (ran.code, error["message"], bool(error["hint"])) == (code, message, True)
        assert fake.calls == []


def test_standard_input_is_piped_in_piece_by_piece(tmp_path: Path) -> None:
    data = bytes(range(256)) * 400
    answers = {"files__spool": {"spool": "s1"}, "files__spool_add": {"bytes": 1}, "files__send": sent(1)}
    with daemon(tmp_path, **answers) as fake:
        ran = run(tmp_path, "file", "send", "bob", "-", "--name", "build.log", stdin=data)
        assert (ran.code, ran.out) == (0, REPORT + "\n")
        parts = [params["data"] for method, params in fake.calls if method == "files.spool_add"]
        asked = fake.asked("files.send")
    assert [len(base64.b64decode(part)) for part in parts] == [49152, 49152, 102400 - 2 * 49152]
    assert b"".join(map(base64.b64decode, parts)) == data
    assert (asked["spool"], asked["name"], asked["paths"]) == ("s1", "build.log", [])


def test_what_was_piped_in_is_dropped_when_it_is_not_sent(tmp_path: Path) -> None:
    answers = {
        "files__spool": {"spool": "s1"},
        "files__spool_add": {"bytes": 1},
        "files__send": refusing("no_such_target", "nobody called 'bob'"),
        "files__spool_drop": {"spool": "s1"},
    }
    with daemon(tmp_path, **answers) as fake:
        ran = run(tmp_path, "file", "send", "bob", "-", "--name", "x", stdin=b"data")
        assert (ran.code, ran.err.splitlines()[0]) == (4, "error: nobody called 'bob'")
        assert fake.asked("files.spool_drop") == {"spool": "s1"}


def test_what_of_a_folder_does_not_go_along_is_told(tmp_path: Path) -> None:
    left = [{"path": "/home/ann/plans", "links": 2, "special": 0, "closed": 1}]
    said = "warning: not all of /home/ann/plans goes along: 2 links, 1 that may not be read left out\n"
    with daemon(tmp_path, files__send={**sent(1), "left": left}, send={**sent(1), "left": left}):
        assert run(tmp_path, "file", "send", "bob", "/").err == said
        assert run(tmp_path, "send", "bob", "--file", "/").err == said


def test_send_with_files(tmp_path: Path, report: Path) -> None:
    with daemon(tmp_path, send={**SENT, "transfers": [out()]}) as fake:
        ran = run(tmp_path, "send", "bob", "--file", str(report), "--file", str(tmp_path), stdin=b"not read")
        assert (ran.code, ran.out) == (0, SENT["id"] + "\n")
        assert fake.asked("send")["files"] == [str(report), str(tmp_path)]
        assert fake.asked("send")["text"] == ""
        assert run(tmp_path, "send", "bob", "-", "--file", str(report), stdin=b"look\n").code == 0
        assert fake.asked("send")["text"] == "look"
        found = told(run(tmp_path, "send", "bob", "look", "--file", str(report), "--json"))
    assert [one["id"] for one in found["transfers"]] == [REPORT]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--file", "/nowhere/x"], 4),
        (["x", "--file", "/", "--at", "10m"], 2),
        (["x", *["--file", "/"] * 17], 2),
        ([" ", "--file", ""], 2),
    ],
    ids=str,
)
def test_send_refuses_files_that_cannot_go(words: list[str], code: int, tmp_path: Path) -> None:
    with daemon(tmp_path) as fake:
        ran = run(tmp_path, "send", "bob", *words)
        assert ran.code == code
        assert ran.err.splitlines()[1].startswith("hint: ")
        assert fake.calls == []


# -- waiting --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "code", "kind"),
    [
        ({"state": "done"}, 0, None),
        ({"state": "declined"}, 8, "declined"),
        ({"state": "cancelled"}, 1, "failed"),
        ({"state": "failed", **FAILED}, 9, "disk_full"),
        ({"state": "failed", "error_kind": "source_changed", "error": "x"}, 9, "source_changed"),
        ({"state": "failed", "error_kind": "internal", "error": "x"}, 1, "internal"),
        ({"state": "failed", "error_kind": "bogus", "error": "x"}, 1, "failed"),
    ],
    ids=str,
)
def test_wait_ends_as_the_transfer_does(
    end: dict[str, Any], code: int, kind: str | None, tmp_path: Path, report: Path
) -> None:
    with daemon(tmp_path, files__send=sent(1), files__wait={"transfers": [out(**end)]}) as fake:
        ran = run(tmp_path, "file", "send", "bob", str(report), "--wait")
        assert (ran.code, ran.out) == (code, REPORT + "\n")
        assert fake.asked("files.wait")["ids"] == [REPORT]
        ran = run(tmp_path, "file", "send", "bob", str(report), "--wait", "--json")
        found = told(ran)
    assert (ran.code, found["transfers"][0]["state"]) == (code, end["state"])
    assert found.get("error", {}).get("kind") == kind


def test_wait_that_is_too_long_ends_with_5_and_says_how_it_stands(tmp_path: Path, report: Path) -> None:
    waiting = out(state="active", error_kind="disk_full", error="'Bob' has no room for it just now")
    with daemon(tmp_path, files__send=sent(1), files__wait={"transfers": [waiting]}) as fake:
        ran = run(tmp_path, "file", "send", "bob", str(report), "--wait", "--timeout", "0.2", "--json")
        assert fake.asked("files.wait")["timeout_s"] <= 0.2
        found = told(ran)
        assert (ran.code, found["error"]["kind"]) == (5, "timeout")
        assert found["transfers"][0]["state"] == "waiting"
        ran = run(tmp_path, "file", "send", "bob", str(report), "--wait", "--timeout", "0")
    assert ran.err.splitlines()[0] == "error: 'report.pdf' is not there yet (offered)"


def test_the_worst_of_several_is_the_answer(tmp_path: Path, report: Path) -> None:
    ends_of = [out(1, state="declined"), out(2, state="done"), out(3, state="failed", **FAILED)]
    with daemon(tmp_path, files__send=sent(1, 2, 3), files__wait={"transfers": ends_of}):
        ran = run(tmp_path, "file", "send", "bob", str(report), "--wait")
    assert ran.code == 9
    assert ran.err.splitlines()[0] == "error: 'report.pdf' has failed: no space left"


def test_json_tells_progress_on_stderr_and_one_object_on_stdout(tmp_path: Path) -> None:
    stands = iter([0, 400_000, 400_000, 800_000])

    def wait(params: dict[str, Any]) -> Any:
        done = next(stands, None)
        if done is None:
            return {"transfers": [samples.transfer(state="done", path="/in/report.pdf")]}
        return {"transfers": [samples.transfer(state="active", motion=Motion(done, 1e6))]}

    with daemon(tmp_path, files__wait=wait, files__accept={"transfer": samples.transfer(state="active")}):
        ran = run(tmp_path, "file", "accept", REPORT, "--wait", "--json")
    assert (ran.code, told(ran)["transfer"]["path"]) == (0, "/in/report.pdf")
    events = [json.loads(line) for line in ran.err.splitlines()]
    assert {(one["schema"], one["type"]) for one in events} == {(1, "progress")}
    assert [(one["transfer"]["state"], one["transfer"]["bytes_done"]) for one in events] == [
        ("waiting", 0),
        ("active", 400_000),
        ("active", 800_000),
        ("done", 1_200_000),
    ]
    assert ran.err.isascii()


def test_off_a_terminal_nothing_is_drawn_and_little_is_asked(tmp_path: Path, report: Path) -> None:
    with daemon(tmp_path, files__send=sent(1), files__wait={"transfers": [out(state="done")]}) as fake:
        ran = run(tmp_path, "file", "send", "bob", str(report), "--wait")
        assert fake.asked("files.wait")["timeout_s"] > 60
    assert ran.err == ""


def test_waiting_outlives_a_restart_of_the_daemon(tmp_path: Path, report: Path) -> None:
    answers: dict[str, Any] = {"files__send": sent(1), "files__wait": HANG}
    ran: list[Any] = []
    with daemon(tmp_path, **answers) as fake:
        words = ("file", "send", "bob", str(report), "--wait", "--timeout", "30", "--json")
        thread = threading.Thread(target=lambda: ran.append(run(tmp_path, *words)))
        thread.start()
        while not any(method == "files.wait" for method, _ in fake.calls):
            time.sleep(0.01)
    with daemon(tmp_path, files__wait={"transfers": [out(state="done")]}):
        thread.join(20)
    assert ran
    assert (ran[0].code, told(ran[0])["transfers"][0]["state"]) == (0, "done")


# -- looking --------------------------------------------------------------------------------


def test_file_list(tmp_path: Path) -> None:
    found = [
        samples.transfer(1, state="active", motion=Motion(540_000, 12e6)),
        samples.transfer(2, name="invoice.pdf.exe", flags=("double_extension", "executable")),
        out(3, state="failed", room=samples.LAUNCH, error_kind="source_changed", error="it was changed"),
        samples.transfer(4, state="done", path="/in/plans", name="plans", files=14, room=samples.LAUNCH),
        out(5, state="done", have=(samples.BOB,)),
    ]
    with daemon(tmp_path, files__list={"transfers": found, "has_more": False}) as fake:
        ran = run(tmp_path, "file", "list")
        assert fake.asked("files.list") == {"have": False, "limit": 500, "before": ""}
        have = run(tmp_path, "file", "list", "--have")
        assert fake.asked("files.list")["have"] is True
        assert told(run(tmp_path, "file", "list", "--json"))["transfers"] == found
        assert fake.asked("files.list")["have"] is True, "programs get every field"
    rows = [line.split("  ") for line in ran.out.splitlines()]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows] == [
        ["ID", "WHO", "STATE", "SIZE", "NAME"],
        ["f1f1f1f1f1f1", "from Bob", "active, 45 %, 12.0 MB/s", "1.2 MB", "report.pdf"],
        ["f2f2f2f2f2f2", "from Bob", "offered", "1.2 MB", "[executable, double extension] invoice.pdf.exe"],
        ["f3f3f3f3f3f3", "to #launch", "failed", "1.2 MB", "report.pdf"],
        ["f4f4f4f4f4f4", "from Bob in #launch", "done", "1.2 MB", "/in/plans"],
        ["f5f5f5f5f5f5", "to Bob", "done", "1.2 MB", "report.pdf"],
    ]
    assert ran.err == "f3f3f3f3f3f3: it was changed\n"
    assert [cell for cell in have.out.splitlines()[5].split("  ") if cell][-2] == "Bob"


def test_a_long_list_is_asked_for_page_by_page(tmp_path: Path) -> None:
    def answer(params: dict[str, Any]) -> Any:
        number = {"": 1, "f1" * 16: 2}[params["before"]]
        return {"transfers": [samples.transfer(number)], "has_more": number == 1}

    with daemon(tmp_path, files__list=answer):
        found = told(run(tmp_path, "file", "list", "--json"))
    assert [one["id"][:2] for one in found["transfers"]] == ["f1", "f2"]
    assert set(found) == {"schema", "transfers"}


def test_no_files_yet(tmp_path: Path) -> None:
    with daemon(tmp_path, files__list={"transfers": [], "has_more": False}):
        ran = run(tmp_path, "file", "list")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == f"no files yet: `p2pchat file send --home {tmp_path} TARGET PATH`\n"


# -- deciding -------------------------------------------------------------------------------


def test_accept_says_where_it_lands_and_warns_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bad = {"name": "invoice.pdf.exe", "flags": ("double_extension", "executable", "renamed")}
    with daemon(
        tmp_path,
        files__wait={"transfers": [samples.transfer(**bad)]},
        files__accept={"transfer": samples.transfer(state="active", to="/srv/in", **bad)},
    ) as fake:
        ran = run(tmp_path, "file", "accept", "f1f1f1", "--to", "in", "--conflict", "overwrite")
        assert fake.calls == [
            ("files.wait", {"ids": ["f1f1f1"], "timeout_s": 0.0}),
            ("files.accept", {"id": REPORT, "to": str(tmp_path / "in"), "conflict": "overwrite"}),
        ]
        assert (ran.code, ran.out) == (0, "invoice.pdf.exe (1.2 MB) from Bob: it lands in /srv/in\n")
        assert ran.err == (
            "warning: invoice.pdf.exe: it may run when it is opened, "
            "and its name pretends to be of another kind\n"
        )
        found = told(quiet := run(tmp_path, "file", "accept", "f1f1f1", "--json"))
        assert fake.asked("files.accept") == {"id": REPORT, "to": "", "conflict": "rename"}
    assert (quiet.err, found["transfer"]["flags"][0]) == ("", "double_extension")


def test_accept_and_wait_prints_the_path(tmp_path: Path) -> None:
    done = samples.transfer(state="done", path="/home/ann/inbox/report (2).pdf")
    with daemon(
        tmp_path,
        files__wait={"transfers": [done]},
        files__accept={"transfer": samples.transfer(state="active")},
    ):
        ran = run(tmp_path, "file", "accept", REPORT, "--wait")
    assert (ran.code, ran.out) == (0, "/home/ann/inbox/report (2).pdf\n")
    assert ran.err == "report.pdf (1.2 MB) from Bob: it lands in /home/ann/inbox\n"


@pytest.mark.parametrize(
    ("verb", "said"),
    [("decline", "declined"), ("pause", "paused"), ("resume", "goes on"), ("cancel", "cancelled")],
)
def test_acts(verb: str, said: str, tmp_path: Path) -> None:
    with daemon(tmp_path, **{f"files__{verb}": {"transfer": samples.transfer()}}) as fake:
        ran = run(tmp_path, "file", verb, "f1f1f1")
        assert (ran.code, ran.out, ran.err) == (0, f"report.pdf (1.2 MB) from Bob: {said}\n", "")
        assert fake.asked(f"files.{verb}") == {"id": "f1f1f1"}
        assert set(told(run(tmp_path, "file", verb, "f1f1f1", "--json"))) == {"schema", "transfer"}
        assert run(tmp_path, "file", verb, " ").code == 2


def test_a_refusal_is_told_with_its_code(tmp_path: Path) -> None:
    with daemon(tmp_path, files__pause=refusing("no_such_target", "no file 'abcdef' is offered here")):
        ran = run(tmp_path, "file", "pause", "abcdef")
    assert (ran.code, ran.err.splitlines()[0]) == (4, "error: no file 'abcdef' is offered here")


def test_auto(tmp_path: Path) -> None:
    answer = {"account": "b0" * 32, "name": "Bob", "auto": True, "max_bytes": 10_000_000}
    with daemon(tmp_path, files__auto=lambda params: {**answer, "auto": params["on"]}) as fake:
        assert run(tmp_path, "file", "auto", "bob", "on").out == (
            "files of Bob of at most 10.0 MB are taken without being asked for\n"
        )
        assert fake.asked("files.auto") == {"person": "bob", "on": True}
        off = run(tmp_path, "file", "auto", "bob", "off")
        assert off.out == "files of Bob are taken only when you accept them\n"
        assert told(run(tmp_path, "file", "auto", "bob", "on", "--json")) == {"schema": 1, **answer}
        assert run(tmp_path, "file", "auto", "bob", "maybe").code == 2
    with daemon(tmp_path, files__auto={**answer, "max_bytes": 0}):
        ran = run(tmp_path, "file", "auto", "bob", "on")
    assert ran.err.endswith("file_auto_max 100MB`\n")
    with daemon(tmp_path, files__auto=refusing("policy", "'Bob' is not verified")):
        assert run(tmp_path, "file", "auto", "bob", "on").code == 7


# -- elsewhere ------------------------------------------------------------------------------


def test_files_in_history(tmp_path: Path) -> None:
    from p2pchat.model import FileBrief

    files = (FileBrief(b"\xf1" * 16, "report.pdf", 1_200_000), FileBrief(b"\xf2" * 16, "plans", 3))
    page = samples.page(samples.view(1, "", files=files))
    with daemon(tmp_path, history=page):
        ran = run(tmp_path, "history", "bob")
        (message,) = told(run(tmp_path, "history", "bob", "--json"))["messages"]
    assert [one["name"] for one in message["files"]] == ["report.pdf", "plans"]
    assert [line.split("╰ ")[1] for line in ran.out.splitlines() if "╰" in line] == [
        "file report.pdf (1.2 MB) f1f1f1f1",
        "file plans (3 B) f2f2f2f2",
    ]


def test_files_in_the_inbox(tmp_path: Path) -> None:
    answer = {"unread": [], "requests": [], "files": [samples.transfer()], "acks": []}
    with daemon(tmp_path, inbox=answer):
        ran = run(tmp_path, "inbox")
        assert told(run(tmp_path, "inbox", "--json"))["files"] == [samples.transfer()]
    assert [line.split(maxsplit=3) for line in ran.out.splitlines()] == [
        ["OFFERED", "WHO", "SIZE", "NAME"],
        ["f1f1f1f1f1f1", "from", "Bob", "1.2 MB  report.pdf"],
    ]
    assert ran.err.startswith("take it: `p2pchat file accept")


def test_listen_tells_people_of_changes_and_programs_of_every_step(tmp_path: Path) -> None:
    stands = [
        samples.transfer(),
        samples.transfer(state="active", motion=Motion(1)),
        samples.transfer(state="active", motion=Motion(600_000)),
        samples.transfer(state="done", path="/in/report.pdf"),
    ]
    feed = [{"cursor": str(n), "type": "file", "file": one} for n, one in enumerate(stands, 1)]
    with daemon(tmp_path, feed):
        ran = run(tmp_path, "listen", "--since", "0", "--count", "4")
        lines = run(tmp_path, "listen", "--since", "0", "--count", "4", "--json").out.splitlines()
    assert [json.loads(line)["file"]["bytes_done"] for line in lines[1:]] == [0, 1, 600_000, 1_200_000]
    assert ran.out.splitlines() == [
        "· report.pdf (1.2 MB) from Bob: offered f1f1f1f1f1f1",
        "· report.pdf (1.2 MB) from Bob: active f1f1f1f1f1f1",
        "· report.pdf (1.2 MB) from Bob: done, in /in/report.pdf f1f1f1f1f1f1",
    ]


@pytest.mark.parametrize("text", STRINGS, ids=range(len(STRINGS)))
def test_names_of_files_reach_no_terminal_unescaped(text: str, tmp_path: Path) -> None:
    one = samples.transfer(
        name=text, bob=text, launch=text, room=samples.LAUNCH, state="failed", error_kind="failed", error=text
    )
    inbox = {"unread": [], "requests": [], "files": [one], "acks": []}
    feed = [{"cursor": "1", "type": "file", "file": one}]
    with daemon(
        tmp_path, feed, files__list={"transfers": [one], "has_more": False}, inbox=inbox,
        files__decline={"transfer": one}, files__wait={"transfers": [one]}, files__accept={"transfer": one},
    ):  # fmt: skip
        shown = [
            run(tmp_path, *words)
            for words in (
                ("file", "list", "--have"),
                ("file", "decline", REPORT),
                ("file", "accept", REPORT, "--wait"),
                ("inbox",),
                ("listen", "--since", "0", "--count", "1"),
            )
        ]
    for ran in shown:
        assert ran.out or ran.err
        for line in (ran.out + ran.err).split("\n"):
            assert line.isprintable(), line
    assert all(len(ran.out.splitlines()) <= 2 for ran in shown)
    drawn = bar(one, 79)
    assert drawn.isprintable()
    assert columns(drawn) <= 79
