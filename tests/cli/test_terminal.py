"""Sessions on a real pseudo-terminal: prompts, colours, typing, and texts that attack."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from p2pchat_cli.text import columns

from tests.cli import samples
from tests.cli.contract import SENT
from tests.cli.hostile import STRINGS
from tests.cli.stage import FakeDaemon, daemon
from tests.cli.terminal import COLOUR, terminal


def test_colours_on_a_terminal_and_none_where_unwanted(tmp_path: Path) -> None:
    with daemon(tmp_path, status=samples.status()):
        with terminal(tmp_path, "status") as screen:
            assert screen.finish() == 0
        assert "\x1b[1mAnn\x1b[0m" in screen.seen
        for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            with terminal(tmp_path, "status", env=env) as screen:
                assert screen.finish() == 0
            assert "\x1b" not in screen.seen
        with terminal(tmp_path, "status", "--json") as screen:
            assert screen.finish() == 0
        assert "\x1b" not in screen.seen


@pytest.mark.parametrize(("typed", "erased"), [("yes", True), ("no", False), ("", False)])
def test_the_recovery_key_asks_before_it_is_erased(typed: str, erased: bool, tmp_path: Path) -> None:
    with daemon(
        tmp_path, device__recovery_key={"recovery_key": "KEY-WORDS"}, device__recovery_erase={"erased": True}
    ) as fake:
        with terminal(tmp_path, "device", "recovery-key") as screen:
            screen.expect("is it written down?")
            assert "KEY-WORDS" in screen.seen
            screen.type(typed + "\n")
            assert screen.finish() == 0
        assert ("device.recovery_erase" in [method for method, _ in fake.calls]) is erased
    assert ("not erased" in screen.seen) is not erased


def test_no_input_turns_a_prompt_into_an_error_naming_the_flag(tmp_path: Path) -> None:
    with daemon(tmp_path, device__recovery_key={"recovery_key": "KEY-WORDS"}):
        with terminal(tmp_path, "--no-input", "device", "recovery-key") as screen:
            assert screen.finish() == 2
        assert screen.lines()[-1] == "hint: answer with --yes"
        assert "KEY-WORDS" not in screen.seen


def test_verify_with_no_input_asks_nothing_and_verifies_nobody(tmp_path: Path) -> None:
    with daemon(tmp_path, trust__show=samples.TRUST, trust__verify=samples.TRUST) as fake:
        with terminal(tmp_path, "trust", "verify", "bob", "--no-input") as screen:
            assert screen.finish() == 2
        assert "trust.verify" not in [method for method, _ in fake.calls]
    assert screen.lines()[-1] == "hint: give --fingerprint F, --safety-number N or --sas"


@pytest.mark.parametrize(("typed", "code"), [("yes", 0), ("no", 6), ("", 6)])
def test_verify_shows_the_number_and_asks(typed: str, code: int, tmp_path: Path) -> None:
    with daemon(tmp_path, trust__show=samples.TRUST, trust__verify=samples.TRUST) as fake:
        with terminal(tmp_path, "trust", "verify", "bob") as screen:
            screen.expect("[yes/no]")
            assert "12345 12345" in screen.seen
            screen.type(typed + "\n")
            assert screen.finish() == code
        asked = [params for method, params in fake.calls if method == "trust.verify"]
        proof = {"target": "bob", "kind": "safety-number", "proof": samples.TRUST["safety_number"]}
        assert asked == ([proof] if code == 0 else [])


def test_sas_asks_for_the_digits_of_the_other_side(tmp_path: Path) -> None:
    with daemon(tmp_path, trust__sas={"sas": "123456"}, trust__sas_confirm=samples.TRUST) as fake:
        with terminal(tmp_path, "trust", "verify", "bob", "--sas") as screen:
            screen.expect("which digits does the other side show?")
            screen.type("123456\n")
            assert screen.finish() == 0
        assert fake.asked("trust.sas_confirm")["digits"] == "123456"


def test_chat_prints_what_arrives_and_sends_what_is_typed(tmp_path: Path) -> None:
    feed = [{"cursor": "8", "type": "message", "message": samples.message(8, "are you there?")}]
    with daemon(
        tmp_path,
        feed,
        history=samples.page(samples.view(1, "earlier")),
        read__open=samples.page(),
        read__confirm={"room": "", "read": 1},
        send=SENT,
        presence__active={},
    ) as fake:
        with terminal(tmp_path, "chat", "bob", "--plain") as screen:
            screen.expect("are you there?")
            screen.expect("ctrl-d ends")
            screen.type("typed by me\n")
            screen.type("\x04")
            assert screen.finish() == 0
        assert fake.asked("send")["text"] == "typed by me"
        assert [method for method, _ in fake.calls].count("presence.active") == 2  # came, and wrote
        confirmed = [one for method, p in fake.calls if method == "read.confirm" for one in p["ids"]]
        assert samples.view(8).id.hex() in confirmed
    said = [line[6:] for line in screen.lines() if line[2:3] == ":"]
    assert sorted(said) == ["Bob  are you there?", "Bob  earlier"]


def test_ctrl_c_ends_a_stream_quietly(tmp_path: Path) -> None:
    with daemon(tmp_path), terminal(tmp_path, "listen") as screen:
        screen.expect("listening from cursor")
        screen.process.send_signal(2)
        assert screen.finish() == 130
    assert "Traceback" not in screen.seen


def test_long_lines_are_broken_here_and_never_by_the_terminal(tmp_path: Path) -> None:
    text = "word " * 200 + "宽" * 200 + "x" * 400
    with (
        daemon(tmp_path, history=samples.page(samples.view(1, text))),
        terminal(tmp_path, "history", "bob", columns=50) as screen,
    ):
        assert screen.finish() == 0
    lines = screen.lines()
    assert len(lines) > 20
    assert all(columns(line) <= 50 for line in lines)
    assert all(line.startswith("         │ ") for line in lines[2:])


def test_the_short_id_is_dim_and_no_line_grows_too_long_for_it(tmp_path: Path) -> None:
    page = samples.page(samples.view(1, "short"), samples.view(2, "word " * 20), samples.view(3, "x" * 39))
    for wide in (80, 50, 40):
        with (
            daemon(tmp_path, history=page),
            terminal(tmp_path, "history", "bob", columns=wide) as screen,
        ):
            assert screen.finish() == 0
        lines = screen.lines()
        assert all(columns(line) <= wide for line in lines)
        heads = [line for line in lines if re.match(r"\d\d:\d\d ", line)]
        if wide > 40:
            assert [line[-10:] for line in heads] == [f"  {number:04d}{number:04d}" for number in (1, 2, 3)]
            assert "\x1b[2m  00010001\x1b[0m" in screen.seen
        else:
            assert [line for line in lines if "╰" in line] == [
                f"         ╰ {number:04d}{number:04d}" for number in (1, 2, 3)
            ]


def test_hostile_text_cannot_leave_its_lines(tmp_path: Path) -> None:
    """The screen model: our colours, printable characters and line ends are all that is written,
    no line is wider than the terminal, and column 0 of every line is ours."""
    texts = [text for text in STRINGS if text.encode("utf-8", "replace").decode() == text]
    messages = [samples.view(number + 1, text) for number, text in enumerate(texts)]
    page = samples.page(*messages)
    for entry, text in zip(page["messages"], texts, strict=True):
        entry["author_name"] = text
    with daemon(tmp_path, history=page), terminal(tmp_path, "history", "bob", "--tail", "500") as screen:
        assert screen.finish() == 0
    raw = screen.seen
    for found in re.findall(r"\x1b[^m]{0,10}m?", raw):
        assert COLOUR.fullmatch(found), found
    plain = COLOUR.sub("", raw).replace("\r\n", "\n")
    assert not [c for c in plain if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs")]
    own = re.compile(r"\d\d:\d\d |── [A-Z][a-z]{2} \d{4}-\d\d-\d\d ──$| {26}[│╰]")
    for line in plain.splitlines():
        assert columns(line) <= 80, line
        assert own.match(line), line
    heads = [line for line in plain.splitlines() if re.match(r"\d\d:\d\d ", line)]
    assert len(heads) == len(texts)


def test_a_killed_daemon_ends_a_chat_after_its_patience_only(tmp_path: Path) -> None:
    fake = FakeDaemon(
        tmp_path,
        {
            "history": samples.page(),
            "read.open": samples.page(),
            "read.confirm": {},
            "presence.active": {},
            "send": SENT,
        },
    )
    with fake, terminal(tmp_path, "chat", "bob") as screen:
        screen.expect("ctrl-d ends")
        fake.stop()
        screen.type("\x04")
        assert screen.finish() == 0


def test_files_on_their_way_are_drawn_in_place(tmp_path: Path) -> None:
    """Two bars, redrawn: each drawing goes up over the one before, and no line is longer than the screen."""
    steps = iter([(0, 0), (400_000, 0), (800_000, 600_000)])

    def wait(_: dict[str, Any]) -> dict[str, Any]:
        step = next(steps, None)
        found = []
        for number in (1, 2):
            more: dict[str, Any] = {"name": f"{number}" + "宽" * 40 + ".pdf", "incoming": False}
            if step is None:
                found.append(samples.transfer(number, state="done", **more))
            else:
                motion = samples.Motion(step[number - 1], 1e6)
                found.append(samples.transfer(number, state="active", motion=motion, **more))
        return {"transfers": found}

    offered = [samples.transfer(number, incoming=False) for number in (1, 2)]
    with daemon(tmp_path, files__wait=wait, files__send={**SENT, "transfers": offered}):
        with terminal(tmp_path, "file", "send", "bob", "/", "/", "--wait", columns=80) as screen:
            assert screen.finish() == 0
    drawings = screen.seen.replace("\r\n", "\n").split("\x1b[2A")
    assert len(drawings) == 5, "as offered, three steps, and the end"
    for drawing in drawings[1:]:
        one, two, rest = drawing.split("\x1b[K\n")
        assert all(columns(line.strip("\r")) <= 79 for line in (one, two))
        assert rest == ""
    assert "]  66 %  1.0 MB/s, 0 s left" in drawings[3]
    assert drawings[-1].count("100 %  done") == 2
    with daemon(tmp_path, files__wait=wait, files__send={**SENT, "transfers": offered}):
        with terminal(tmp_path, "file", "send", "bob", "/", "/", "--wait", env={"TERM": "dumb"}) as screen:
            assert screen.finish() == 0
    assert "\x1b" not in screen.seen
    assert screen.lines() == [one["id"] for one in offered]
